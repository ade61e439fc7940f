//! Shards as the journal keeps them: a place that tells this stream from another of its name, and what lineage has to know, as JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::{PartitionRow, PlacedPartition};
use crate::sequence_number::SequenceNumber;

use super::lineage::{End, Row, RowState, Start};
use super::page::HashKeyRange;
use super::summary::StreamSummary;

/// The places of one stream's shards: its ARN, when it was made, and the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    prefix: String,
}

/// As it stands in the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    parents: Vec<String>,
    hash_keys: (String, String),
    start: KeptStart,
    state: KeptState,
    /// `initial_position` as it was when the stream was first seen.
    initial: KeptStart,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptStart {
    TrimHorizon,
    AtTimestampMs(i64),
    AtSequenceNumber(String),
    AfterSequenceNumber(String),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptState {
    Waiting,
    Ready,
    Finished { gave_records: bool, is_lost: bool },
}

impl Places {
    pub fn of(stream: &StreamSummary) -> Self {
        Self { prefix: format!("{}:{}/", stream.arn, stream.created.as_millisecond()) }
    }

    pub fn of_shard(&self, shard: &str) -> String {
        format!("{}{shard}", self.prefix)
    }

    /// The shard, if the place is one of this stream.
    pub fn shard<'a>(&self, place: &'a str) -> Option<&'a str> {
        place.strip_prefix(&self.prefix)
    }

    /// What the journal is to know of a shard.
    pub fn put(&self, row: &Row, initial: Start) -> PlacedPartition {
        PlacedPartition { place: self.of_shard(&row.id), evidence: text(row, initial) }
    }
}

fn text(row: &Row, initial: Start) -> String {
    let kept = Kept {
        parents: row.parents.clone(),
        hash_keys: (row.hash_keys.start.to_string(), row.hash_keys.end.to_string()),
        start: row.start.into(),
        state: match row.state {
            RowState::Waiting => KeptState::Waiting,
            RowState::Ready => KeptState::Ready,
            RowState::Finished(End { gave_records, is_lost }) => KeptState::Finished { gave_records, is_lost },
        },
        initial: initial.into(),
    };
    // Texts and numbers always serialize.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// A row of the journal, and the initial position that it was registered with. `None` where the evidence cannot be read: somebody else
/// has written it.
pub fn read(shard: &str, row: &PartitionRow) -> Option<(Row, Start)> {
    let kept: Kept = serde_json::from_str(&row.evidence).ok()?;
    let hash_keys = HashKeyRange { start: kept.hash_keys.0.parse().ok()?, end: kept.hash_keys.1.parse().ok()? };
    let state = match kept.state {
        KeptState::Waiting => RowState::Waiting,
        KeptState::Ready => RowState::Ready,
        KeptState::Finished { gave_records, is_lost } => RowState::Finished(End { gave_records, is_lost }),
    };
    let (id, parents, start) = (shard.to_owned(), kept.parents, kept.start.read()?);
    Some((Row { id, parents, hash_keys, start, state }, kept.initial.read()?))
}

impl From<Start> for KeptStart {
    fn from(start: Start) -> Self {
        match start {
            Start::TrimHorizon => Self::TrimHorizon,
            Start::AtTimestamp(time) => Self::AtTimestampMs(time.as_millisecond()),
            Start::At(number) => Self::AtSequenceNumber(number.to_string()),
            Start::After(number) => Self::AfterSequenceNumber(number.to_string()),
        }
    }
}

impl KeptStart {
    fn read(&self) -> Option<Start> {
        let number = |text: &str| text.parse::<SequenceNumber>().ok();
        Some(match self {
            Self::TrimHorizon => Start::TrimHorizon,
            Self::AtTimestampMs(ms) => Start::AtTimestamp(Timestamp::from_millisecond(*ms).ok()?),
            Self::AtSequenceNumber(text) => Start::At(number(text)?),
            Self::AfterSequenceNumber(text) => Start::After(number(text)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::Beginning;
    use crate::record::{PartitionId, Position};

    fn row_with(place: String, evidence: String) -> PartitionRow {
        PartitionRow {
            id: PartitionId(1),
            uuid: String::new(),
            place,
            device: 0,
            inode: 0,
            checkpoint: Position::BEGINNING,
            evidence,
            read_to: None,
            copy_of: None,
            gone_since: None,
            beginning: Beginning::default(),
        }
    }

    #[test]
    fn shards_survive_the_journal_and_other_streams_are_not_taken_for_theirs() {
        let summary = |created| StreamSummary {
            name: "clicks".to_owned(),
            arn: "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks".to_owned(),
            created: Timestamp::from_millisecond(created).unwrap(),
            status: "ACTIVE".to_owned(),
            retention: Duration::ZERO,
            open_shards: 1,
            consumers: 0,
            asked_at: Timestamp::UNIX_EPOCH,
        };
        let (places, recreated) = (Places::of(&summary(5)), Places::of(&summary(6)));
        let number: SequenceNumber = "9".repeat(129).parse().unwrap();
        let time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let finished = RowState::Finished(End { gave_records: true, is_lost: false });
        for (start, state) in [
            (Start::TrimHorizon, RowState::Waiting),
            (Start::AtTimestamp(time), RowState::Ready),
            (Start::At(number), finished),
            (Start::After(number), RowState::Ready),
        ] {
            let row = Row {
                id: "shardId-000000000001".to_owned(),
                parents: vec!["shardId-000000000000".to_owned()],
                hash_keys: HashKeyRange { start: 7, end: u128::MAX },
                start,
                state,
            };
            let put = places.put(&row, Start::AtTimestamp(time));
            let kept = row_with(put.place, put.evidence);
            let shard = places.shard(&kept.place).unwrap();
            assert_eq!(read(shard, &kept), Some((row, Start::AtTimestamp(time))));
            assert_eq!(recreated.shard(&kept.place), None);
        }
        assert_eq!(read("s", &row_with(String::new(), String::from("{}"))), None);
    }
}
