//! Which document a record is: its id, its routing, and whether it is one at all.
//!
//! Always true: a derived id depends on nothing but the journal, the delivery stream and the record's place in its source, so that
//! the same record has the same id at each attempt and in each life, and no other record has it.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use xxhash_rust::xxh3::xxh3_128;

use crate::config::model::DocumentId;
use crate::destination::receiver::Misfit;
use crate::encode::frames::Frame;
use crate::partition::Query;
use crate::record::{Earlier, OldId};

/// The cluster's own limit; a longer one would make it refuse all of a bulk.
pub const ID_BYTES_MAX: usize = 512;
/// 128 bits in the alphabet that the cluster stores most tightly.
pub const DERIVED_ID_BYTES: usize = 22;

/// Tells the ids of documents.
#[derive(Clone)]
pub enum Ids {
    /// With a hash of the journal and the delivery stream.
    Derived([u8; 16]),
    None,
    FromField(Arc<Query>),
}

/// What a record was that was sent before and is redriven; nothing of any other record.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Old {
    pub id: Option<String>,
    pub index: Option<String>,
}

impl Old {
    pub fn of(frame: &Frame<'_>) -> Self {
        if frame.earlier.is_empty() {
            return Self::default();
        }
        match Earlier::decode(frame.earlier).and_then(|earlier| earlier.id) {
            Some(OldId::Document { id, index }) => Self { id, index: Some(index).filter(|index| !index.is_empty()) },
            Some(OldId::Endpoint { .. }) | None => Self::default(),
        }
    }
}

impl Ids {
    /// `instance` is the journal's, and `stream` the delivery stream's name. Partitions are numbered from 1 again in another journal.
    pub fn new(config: &DocumentId, instance: &str, stream: &str) -> Self {
        match config {
            DocumentId::Derived => Self::Derived(origin(instance, stream)),
            DocumentId::None => Self::None,
            DocumentId::FromField(field) => match query(field) {
                Some(query) => Self::FromField(Arc::new(query)),
                // It was compiled when the configuration was read.
                None => Self::Derived(origin(instance, stream)),
            },
        }
    }

    /// The id of one document; `None` where the cluster makes it. What was sent before under an id of ours keeps it.
    pub fn of<'b>(
        &self,
        frame: &Frame<'_>,
        old: Option<String>,
        room: &'b mut [u8; DERIVED_ID_BYTES],
    ) -> Option<Cow<'b, str>> {
        match self {
            Self::Derived(_) | Self::None if old.is_some() => old.map(Cow::Owned),
            Self::Derived(origin) => Some(Cow::Borrowed(derived(origin, frame, room))),
            Self::None => None,
            // What has none is no document, and is not sent: see `misfits`.
            Self::FromField(query) => Some(Cow::Owned(query.value(frame.data).unwrap_or_default())),
        }
    }

    /// Whether an id tells one record from all others.
    pub fn are_derived(&self) -> bool {
        matches!(self, Self::Derived(_))
    }

    /// What tells of a record that it is no document.
    pub fn misfits(&self) -> Misfit {
        match self.clone() {
            Self::Derived(_) | Self::None => Arc::new(no_object),
            Self::FromField(query) => Arc::new(move |record| no_object(record).or_else(|| no_id(&query, record))),
        }
    }
}

/// The value of a field, or of one inside of another.
pub fn query(field: &str) -> Option<Query> {
    Query::compile(&format!(".{field}")).ok()
}

fn origin(instance: &str, stream: &str) -> [u8; 16] {
    // No name has a NUL in it.
    xxh3_128(format!("{instance}\0{stream}").as_bytes()).to_le_bytes()
}

fn derived<'b>(origin: &[u8; 16], frame: &Frame<'_>, room: &'b mut [u8; DERIVED_ID_BYTES]) -> &'b str {
    let mut place = [0; 40];
    place[..16].copy_from_slice(origin);
    place[16..24].copy_from_slice(&frame.partition.0.to_le_bytes());
    place[24..32].copy_from_slice(&frame.range.record().fold().to_le_bytes());
    place[32..].copy_from_slice(&frame.ordinal.to_le_bytes());
    // The room is exactly what 16 bytes take.
    let written = URL_SAFE_NO_PAD.encode_slice(xxh3_128(&place).to_be_bytes(), room).unwrap_or_default();
    std::str::from_utf8(&room[..written]).unwrap_or_default()
}

fn no_object(record: &[u8]) -> Option<&'static str> {
    let begins = record.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_object = begins == Some(&b'{')
        && std::str::from_utf8(record).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    (!is_object).then_some("the record is no single JSON object, and no document could be made of it")
}

fn no_id(query: &Query, record: &[u8]) -> Option<&'static str> {
    match query.value(record) {
        Ok(id) if id.is_empty() => Some("the field of the document's id is empty"),
        Ok(id) if id.len() > ID_BYTES_MAX => {
            Some("the value in the field of the document's id has more than 512 bytes")
        }
        Ok(_) => None,
        Err(_) => Some("the field of the document's id is not there, or holds neither text nor a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{PartitionId, PositionRange};
    use proptest::prelude::*;

    fn frame(partition: i64, start: u64, ordinal: u64, data: &[u8]) -> Frame<'_> {
        let range = PositionRange::new(start, start + 1);
        Frame { partition: PartitionId(partition), range, ordinal, arrival_ms: 7, earlier: b"", data }
    }

    fn id(ids: &Ids, frame: &Frame<'_>) -> String {
        ids.of(frame, None, &mut [0; DERIVED_ID_BYTES]).unwrap().into_owned()
    }

    #[test]
    fn a_derived_id_is_the_same_for_ever() {
        // Documents are in indexes under these: whoever changes them doubles what is sent again after an update.
        let ids = Ids::new(&DocumentId::Derived, "2d1a4c1e-0000-4000-8000-000000000001", "web");
        assert_eq!(id(&ids, &frame(1, 0, 0, b"{}")), "QemnGbouuXtJjw6qLOGIxg");
        assert_eq!(id(&ids, &frame(7, 4096, 2, b"{}")), "mvlaKMiycspdJ_tFz2_iGw");
    }

    #[test]
    fn whatever_tells_a_record_from_another_changes_its_id() {
        let ids = |instance, stream| Ids::new(&DocumentId::Derived, instance, stream);
        let all = [
            id(&ids("a", "b"), &frame(1, 2, 3, b"{}")),
            id(&ids("a", "c"), &frame(1, 2, 3, b"{}")),
            id(&ids("c", "b"), &frame(1, 2, 3, b"{}")),
            id(&ids("a", "b"), &frame(2, 2, 3, b"{}")),
            id(&ids("a", "b"), &frame(1, 3, 3, b"{}")),
            id(&ids("a", "b"), &frame(1, 2, 4, b"{}")),
        ];
        assert!((1..all.len()).all(|n| !all[..n].contains(&all[n])), "{all:?}");
        assert_eq!(id(&ids("a", "b"), &frame(1, 2, 3, b"{\"x\":1}")), all[0], "not what it holds");
    }

    #[test]
    fn only_one_json_object_is_a_document() {
        for (record, is_document) in [
            (&b"{}"[..], true),
            (b" {\"a\":\n[1, \"x\"]} \n", true),
            (b"{\"a\":1} {\"b\":2}", false),
            (b"{\"a\":1}x", false),
            (b"[{}]", false),
            (b"5", false),
            (b"", false),
            (b"{\"a\":", false),
            (b"{\"a\":\"\xff\"}", false),
            (b"{\"a\":\"line\nfeed\"}", false),
        ] {
            assert_eq!(no_object(record).is_none(), is_document, "{record:?}");
        }
    }

    #[test]
    fn an_id_from_a_field_is_text_or_a_number_that_the_cluster_takes() {
        let ids = Ids::new(&DocumentId::FromField("user.id".to_owned()), "a", "b");
        let misfits = ids.misfits();
        for (record, expected) in [
            (r#"{"user":{"id":"x y"}}"#.to_owned(), Some("x y")),
            (r#"{"user":{"id":12345678901234567890}}"#.to_owned(), Some("12345678901234567890")),
            (r#"{"user":{"id":""}}"#.to_owned(), None),
            (r#"{"user":{"id":null}}"#.to_owned(), None),
            (r#"{"user":{"id":[1]}}"#.to_owned(), None),
            (r#"{"user":{}}"#.to_owned(), None),
            (r#"{"user":5}"#.to_owned(), None),
            (format!(r#"{{"user":{{"id":"{}"}}}}"#, "x".repeat(513)), None),
        ] {
            let found = misfits(record.as_bytes()).is_none().then(|| id(&ids, &frame(1, 1, 0, record.as_bytes())));
            assert_eq!(found.as_deref(), expected, "{record}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_document_or_none(record in prop::collection::vec(any::<u8>(), 0..50)) {
            let ids = Ids::new(&DocumentId::FromField("id".to_owned()), "a", "b");
            let _ = ids.misfits()(&record);
            let _ = id(&ids, &frame(1, 1, 0, &record));
        }
    }
}
