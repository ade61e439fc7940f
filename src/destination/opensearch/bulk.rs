//! Bodies of bulk requests: a line that says what to do, and the document on a line of its own.
//!
//! Always true: a body has two lines for each record, in their order, whatever stands in it. Behind the body, which is all that is
//! sent, stand hashes of the documents' ids: the answer has to name the same ones. A document that was sent before and is redriven
//! goes to the index that it was meant for then.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::document::{DERIVED_ID_BYTES, Ids, Old};
use crate::config::model::DocumentsConfig;
use crate::encode::frames;
use crate::partition::Query;

const HASH_BYTES: usize = size_of::<u64>();
/// In the place of a hash: of this document the cluster makes the id.
pub const NO_ID: u64 = 0;

/// How documents are written.
pub struct Form {
    pub ids: Ids,
    pub routing: Option<Query>,
    /// With a comma before it.
    type_name: String,
    action: &'static str,
}

/// A body, and what the answer to it has to name.
pub struct Sealed {
    pub body: Bytes,
    hashes: Bytes,
}

impl Form {
    pub fn new(ids: Ids, routing: Option<Query>, documents: &DocumentsConfig) -> Self {
        let type_name = documents.type_name.as_ref().map(|name| format!(r#","_type":{}"#, quoted(name)));
        let action = if ids.are_derived() || documents.data_stream { "create" } else { "index" };
        Self { ids, routing, type_name: type_name.unwrap_or_default(), action }
    }

    /// Bytes of a line before a document at most, where ids and routings are as long as they usually are.
    pub fn action_bytes(&self, index_bytes_max: usize) -> u64 {
        let id = match &self.ids {
            Ids::Derived(_) => DERIVED_ID_BYTES,
            Ids::None => 0,
            Ids::FromField(_) => 64,
        };
        let routing = if self.routing.is_some() { 64 } else { 0 };
        let keys = r#"{"create":{"_index":"","_id":"","routing":""}}"#.len() + 2;
        (keys + self.type_name.len() + index_bytes_max + id + routing) as u64
    }

    /// The body with the records of these frames, compressed where a level is given, and the hashes behind it.
    pub fn body(&self, index: &str, frames: &[&[u8]], compress: impl FnOnce(&[u8]) -> Option<Bytes>) -> Bytes {
        let bytes: usize = frames.iter().map(|piece| piece.len()).sum();
        let mut body = Vec::with_capacity(bytes + bytes / 2);
        let (mut hashes, mut records) = (Vec::new(), 0);
        let begin = self.begin(index);
        let mut room = [0; DERIVED_ID_BYTES];
        for frame in frames::each(frames) {
            let old = Old::of(&frame);
            match &old.index {
                None => body.extend_from_slice(begin.as_bytes()),
                Some(index) => body.extend_from_slice(self.begin(index).as_bytes()),
            }
            if let Some(id) = self.ids.of(&frame, old.id, &mut room) {
                body.extend_from_slice(br#","_id":"#);
                put_quoted(&mut body, &id);
                hashes.resize(records, NO_ID);
                hashes.push(hash(&id));
            }
            records += 1;
            let routing = self.routing.as_ref().and_then(|field| field.value(frame.data).ok());
            if let Some(routing) = routing.filter(|routing| !routing.is_empty()) {
                body.extend_from_slice(br#","routing":"#);
                put_quoted(&mut body, &routing);
            }
            body.extend_from_slice(b"}}\n");
            put_line(&mut body, frame.data);
        }
        if !hashes.is_empty() {
            hashes.resize(records, NO_ID);
        }
        seal(compress(&body), body, &hashes)
    }

    /// How the line before a document begins.
    fn begin(&self, index: &str) -> String {
        format!(r#"{{"{}":{{"_index":{}{}"#, self.action, quoted(index), self.type_name)
    }
}

impl Sealed {
    /// What [`Form::body`] has made.
    pub fn open(sealed: Bytes) -> Self {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default() as usize;
        let behind = sealed.len().saturating_sub(HASH_BYTES);
        let length = number(&sealed[behind..]).min(behind);
        Self { body: sealed.slice(..length), hashes: sealed.slice(length..behind) }
    }

    /// Of the documents' ids, in their order; none where the cluster makes all of them, and [`NO_ID`] where it makes some.
    pub fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes.as_chunks().0.iter().map(|hash| u64::from_le_bytes(*hash))
    }
}

/// A hash of an id as an answer names it, which is never [`NO_ID`].
pub fn hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes()).max(NO_ID + 1)
}

fn seal(compressed: Option<Bytes>, body: Vec<u8>, hashes: &[u64]) -> Bytes {
    let mut sealed = compressed.map_or(body, Vec::from);
    let length = sealed.len() as u64;
    sealed.reserve_exact((hashes.len() + 1) * HASH_BYTES);
    hashes.iter().chain([&length]).for_each(|number| sealed.extend_from_slice(&number.to_le_bytes()));
    Bytes::from(sealed)
}

/// A document on one line: line feeds between its parts mean nothing, and inside of a string there are none.
fn put_line(body: &mut Vec<u8>, document: &[u8]) {
    let document = document.trim_ascii();
    let start = body.len();
    body.extend_from_slice(document);
    if memchr::memchr(b'\n', document).is_some() {
        body[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
    body.push(b'\n');
}

fn put_quoted(body: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if is_plain {
        body.push(b'"');
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
    } else {
        body.extend_from_slice(quoted(text).as_bytes());
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::DocumentId;
    use crate::destination::opensearch::document::query;
    use crate::positions::put_varint;
    use crate::record::{Earlier, OldId};
    use proptest::prelude::*;

    /// Records, each with what is known of it from earlier.
    fn framed(records: &[(Option<Earlier>, &[u8])]) -> Vec<u8> {
        let mut frames = Vec::new();
        for (number, (earlier, data)) in records.iter().enumerate() {
            let earlier = earlier.as_ref().map(Earlier::encode).unwrap_or_default();
            for number in [data.len() as u64, 1, number as u64 * 10, 1, 0, 0, earlier.len() as u64] {
                put_varint(&mut frames, number);
            }
            frames.extend_from_slice(&earlier);
            frames.extend_from_slice(data);
        }
        frames
    }

    fn documents(id: DocumentId) -> DocumentsConfig {
        DocumentsConfig { id, data_stream: false, type_name: None }
    }

    fn form(config: &DocumentsConfig, routing: Option<&str>) -> Form {
        let ids = Ids::new(&config.id, "2d1a4c1e-0000-4000-8000-000000000001", "web");
        Form::new(ids, routing.and_then(query), config)
    }

    fn text(form: &Form, records: &[&[u8]]) -> String {
        sealed_text(form, &records.iter().map(|data| (None, *data)).collect::<Vec<_>>()).0
    }

    /// The body, and the hashes behind it.
    fn sealed_text(form: &Form, records: &[(Option<Earlier>, &[u8])]) -> (String, Vec<u64>) {
        let frames = framed(records);
        let sealed = Sealed::open(form.body("web-2026-11-21", &[&frames], |_| None));
        (String::from_utf8(sealed.body.to_vec()).unwrap(), sealed.hashes().collect())
    }

    fn sent_before(id: Option<&str>, index: &str) -> Option<Earlier> {
        let id = Some(OldId::Document { id: id.map(str::to_owned), index: index.to_owned() });
        Some(Earlier { attempts: 3, arrival_ms: 7, id })
    }

    #[test]
    fn a_body_with_derived_ids() {
        let form = form(&documents(DocumentId::Derived), None);
        assert_eq!(
            text(&form, &[b"{\"a\":1}", b" {\n  \"a\": \"x\\ny\"\r\n}\n"]),
            include_str!("golden/derived.ndjson")
        );
    }

    #[test]
    fn a_body_with_ids_and_routing_from_fields_and_a_type() {
        let config = DocumentsConfig {
            type_name: Some("event".to_owned()),
            ..documents(DocumentId::FromField("id".to_owned()))
        };
        let form = form(&config, Some("user.name"));
        let records: [&[u8]; 3] =
            [br#"{"id":7,"user":{"name":"a\"b"}}"#, br#"{"id":"x\\y"}"#, r#"{"id":"é","user":{"name":""}}"#.as_bytes()];
        assert_eq!(text(&form, &records), include_str!("golden/from-field.ndjson"));
    }

    #[test]
    fn a_body_without_ids_and_one_for_a_data_stream() {
        let none = form(&documents(DocumentId::None), None);
        assert_eq!(text(&none, &[b"{}"]), "{\"index\":{\"_index\":\"web-2026-11-21\"}}\n{}\n");
        let stream = DocumentsConfig { data_stream: true, ..documents(DocumentId::None) };
        assert_eq!(text(&form(&stream, None), &[b"{}"]), "{\"create\":{\"_index\":\"web-2026-11-21\"}}\n{}\n");
    }

    #[test]
    fn what_was_sent_before_keeps_its_id_and_its_index() {
        let failed_in_processing = Some(Earlier { attempts: 3, arrival_ms: 7, id: None });
        let records: [(Option<Earlier>, &[u8]); 5] = [
            (None, br#"{"id":0}"#),
            (sent_before(Some("o\"ld\n"), "web-2025"), br#"{"id":1}"#),
            (sent_before(None, "web-2024"), br#"{"id":2}"#),
            (sent_before(Some("x"), ""), br#"{"id":3}"#),
            (failed_in_processing, br#"{"id":4}"#),
        ];
        let field = DocumentId::FromField("id".to_owned());
        let kinds = [
            (DocumentId::Derived, include_str!("golden/redriven-derived.ndjson"), [true; 5]),
            (DocumentId::None, include_str!("golden/redriven-none.ndjson"), [false, true, false, true, false]),
            (field, include_str!("golden/redriven-from-field.ndjson"), [true; 5]),
        ];
        for (kind, expected, have_ids) in kinds {
            let (text, hashes) = sealed_text(&form(&documents(kind), None), &records);
            assert_eq!(text, expected);
            assert_eq!(hashes.iter().map(|hash| *hash != NO_ID).collect::<Vec<_>>(), have_ids);
        }
    }

    proptest! {
        #[test]
        fn two_lines_for_each_record_and_its_hash_behind_them(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            old in prop::option::of((prop::option::of(".{0,80}"), ".{1,300}")),
            cut in 0usize..10,
            level in prop::option::of(1u8..3),
        ) {
            let form = form(&documents(DocumentId::Derived), None);
            let (first, second) = records.split_at(cut.min(records.len()));
            let old = old.and_then(|(id, index)| sent_before(id.as_deref(), &index));
            let slices = |some: &[Vec<u8>]| {
                framed(&some.iter().map(|data| (old.clone(), data.as_slice())).collect::<Vec<_>>())
            };
            let old_name = old.as_ref().map_or(0, |old| old.encode().len() as u64);
            let (first, second) = (slices(first), slices(second));
            let mut plain = Vec::new();
            let sealed = form.body("i", &[&first, &second], |body| {
                plain = body.to_vec();
                level.map(|_| Bytes::copy_from_slice(&body[body.len() / 2..]))
            });
            let opened = Sealed::open(sealed);
            let from = if level.is_some() { plain.len() / 2 } else { 0 };
            prop_assert_eq!(&opened.body[..], &plain[from..]);
            prop_assert_eq!(opened.hashes().count(), records.len());
            prop_assert_eq!(memchr::memchr_iter(b'\n', &plain).count(), records.len() * 2);
            prop_assert!(plain.len() as u64 <= records.iter().map(|record| record.len() as u64 + 1 + form.action_bytes(1) + old_name).sum());
        }
    }
}
