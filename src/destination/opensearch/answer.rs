//! What the cluster says of each document of a bulk.
//!
//! Always true: a document counts as taken only where its own item says so, by its status and without an error, or where the
//! cluster refuses it because the document under its derived id is there already. An answer that does not name the very documents
//! that were sent, in their order and number, counts for nothing. It is read in one pass, without a tree.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::bulk::{NO_ID, hash};
use crate::destination::receiver::{Grounds, Judged, Judgement, Verdict};

/// An answer may have so many bytes in any case, for each document, and at all.
const ANSWER_BYTES_MIN: u64 = 1 << 20;
const ANSWER_BYTES_EACH: u64 = 1 << 10;
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Of the cluster's own words.
const MESSAGE_BYTES_MAX: usize = 1024;
/// So many causes of an error are told.
const CAUSES_MAX: usize = 3;
/// Where an item says nothing.
const NO_ANSWER: &str = "OS.NoAnswer";

/// What was sent.
pub struct Sent<H> {
    pub records: u64,
    /// Hashes of the ids, in order; none where the cluster makes ids, and [`NO_ID`] where it makes that one.
    pub hashes: H,
    /// Whether a document that is there under its id is this very document.
    pub are_derived: bool,
    /// Whether a pipeline may give documents other ids.
    pub may_change_ids: bool,
}

/// Judges the body of a 200; an error says why it is no answer to what was sent.
pub fn judge<H: Iterator<Item = u64>>(answer: &[u8], sent: Sent<H>) -> Result<Verdict, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(answer);
    let mut judging = Judging { sent, judged: Vec::new(), records: 0 };
    let said = Answer(&mut judging).deserialize(&mut deserializer).and_then(|said| deserializer.end().map(|()| said));
    let said = said.map_err(|error| shortened(error.to_string()))?;
    if let Some(error) = said.error {
        return Err(describe(&error));
    }
    if !said.has_items {
        return Err("it has no items".to_owned());
    }
    if judging.records != judging.sent.records {
        return Err(format!("it has {} items for {} documents", judging.records, judging.sent.records));
    }
    Ok(match judging.judged.as_slice() {
        [Judged { judgement: Judgement::Accepted, .. }] => Verdict::Accepted,
        _ => Verdict::Each(judging.judged),
    })
}

/// A longer answer is not read: fewer documents at a time have shorter ones.
pub fn bytes_max(records: u64) -> u64 {
    records.saturating_mul(ANSWER_BYTES_EACH).clamp(ANSWER_BYTES_MIN, ANSWER_BYTES_MAX)
}

/// The cluster's words for an error, short enough for a log and an envelope.
pub fn describe(error: &Value) -> String {
    let text = |value: &Value, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let one = |error: &Value| match (text(error, "type"), text(error, "reason")) {
        (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
    };
    let mut message = one(error);
    let mut cause = error.get("caused_by");
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause.filter(|error| error.is_object()) else { break };
        message.push_str("; caused by ");
        message.push_str(&one(error));
        cause = error.get("caused_by");
    }
    shortened(message)
}

/// At most 1 KB of a text.
pub fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}

/// The type of an error; older clusters say it in a text.
pub fn kind(error: &Value) -> &str {
    error.get("type").and_then(Value::as_str).or(error.as_str()).unwrap_or_default()
}

struct Judging<H> {
    sent: Sent<H>,
    judged: Vec<Judged>,
    records: u64,
}

/// One item as far as it is read.
#[derive(Deserialize)]
struct Item {
    #[serde(default, rename = "_id")]
    id: Id,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    error: Option<Box<Value>>,
}

/// The hash of an id, if there is one.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Id(Option<u64>);

impl<H: Iterator<Item = u64>> Judging<H> {
    /// Judges the next item; an error if it is none of what was sent.
    fn item(&mut self, item: Option<&Item>) -> Result<(), &'static str> {
        if self.records == self.sent.records {
            return Err("it has more items than there were documents");
        }
        let sent = self.sent.hashes.next().filter(|hash| *hash != NO_ID);
        let answered = item.and_then(|item| item.id.0);
        let is_other = sent.is_some() && answered.is_some() && sent != answered;
        if is_other && !self.sent.may_change_ids {
            return Err("it names other documents, or names them in another order");
        }
        // An id that is not named is that of the place in the order, unless something may have changed it.
        let is_own = sent.is_some() && (answered == sent || (answered.is_none() && !self.sent.may_change_ids));
        let judgement = item.map_or_else(unanswered, |item| item.judge(self.sent.are_derived && is_own));
        self.records += 1;
        match self.judged.last_mut().filter(|last| last.judgement == judgement) {
            Some(last) => last.records += 1,
            None => self.judged.push(Judged { records: 1, judgement }),
        }
        Ok(())
    }
}

impl Item {
    /// `is_own`: a document that is there already under this id is this one.
    fn judge(&self, is_own: bool) -> Judgement {
        let error = self.error.as_deref();
        let kind = error.map(kind).unwrap_or_default();
        match self.status {
            Some(200..=299) if error.is_none() => Judgement::Accepted,
            Some(409) if is_own && is_of_existing(kind) => Judgement::Accepted,
            Some(403) if kind == "cluster_block_exception" => Judgement::Later(self.grounds()),
            Some(408 | 429 | 500..) => Judgement::Later(self.grounds()),
            Some(400..=499) => Judgement::Refused(self.grounds()),
            Some(_) => Judgement::Later(self.grounds()),
            None => unanswered(),
        }
    }

    fn grounds(&self) -> Grounds {
        let code = self.status.unwrap_or_default().to_string();
        let message = self.error.as_deref().map_or_else(|| String::from("the cluster gives no reason"), describe);
        Grounds { code, message }
    }
}

/// Whether an error of the status 409 is about a document that is there.
fn is_of_existing(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase().replace('_', "");
    kind.is_empty() || kind.contains("versionconflict") || kind.contains("documentalreadyexists")
}

fn unanswered() -> Judgement {
    let message = String::from("the answer does not say what has become of the document");
    Judgement::Later(Grounds { code: NO_ANSWER.to_owned(), message })
}

/// What an answer says besides its items.
#[derive(Default)]
struct Said {
    has_items: bool,
    error: Option<Value>,
}

struct Answer<'j, H>(&'j mut Judging<H>);

impl<'de, H: Iterator<Item = u64>> DeserializeSeed<'de> for Answer<'_, H> {
    type Value = Said;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Said, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, H: Iterator<Item = u64>> Visitor<'de> for Answer<'_, H> {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a bulk request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Key {
            Items,
            Error,
            #[serde(other)]
            Other,
        }
        let mut said = Said::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Items if said.has_items => return Err(A::Error::duplicate_field("items")),
                Key::Items => {
                    map.next_value_seed(Items(self.0))?;
                    said.has_items = true;
                }
                Key::Error => said.error = map.next_value()?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(said)
    }
}

struct Items<'j, H>(&'j mut Judging<H>);

impl<'de, H: Iterator<Item = u64>> DeserializeSeed<'de> for Items<'_, H> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, H: Iterator<Item = u64>> Visitor<'de> for Items<'_, H> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item for each document")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(OneItem(item)) = items.next_element()? {
            self.0.item(item.as_ref()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// `{"create":{…}}`; nothing of `null`, `{}` and `{"create":null}`.
struct OneItem(Option<Item>);

impl<'de> Deserialize<'de> for OneItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfOneItem).map(Self)
    }
}

struct OfOneItem;

impl<'de> Visitor<'de> for OfOneItem {
    type Value = Option<Item>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what has become of a document")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Action {
            Create,
            Index,
        }
        let Some(Action::Create | Action::Index) = map.next_key()? else { return Ok(None) };
        let item = map.next_value()?;
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("an item is about one document")),
            None => Ok(item),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(OfId)
    }
}

struct OfId;

impl<'de> Visitor<'de> for OfId {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a document")
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<Id, E> {
        Ok(Id(Some(hash(id))))
    }

    fn visit_unit<E: Error>(self) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_none<E: Error>(self) -> Result<Id, E> {
        Ok(Id(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_str(self)
    }
}

#[cfg(test)]
mod tests;
