//! A shard as the rest of the code sees it: a source partition.

use tokio::sync::mpsc::UnboundedSender;
use xxhash_rust::xxh3::xxh3_64;

use crate::record::{PartitionId, PlacedEvidence, Position, ShardNames, SourcePartition};

/// One shard that is being read.
pub struct Shard {
    id: PartitionId,
    /// The stream's name, and the shard's.
    name: String,
    names: ShardNames,
    /// A hash of its place, which is the same in every journal.
    identity: u64,
    /// Who wants to know when its checkpoint has moved.
    settled: UnboundedSender<Settled>,
}

/// The checkpoint of a shard has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub shard_id: String,
    pub checkpoint: Position,
}

impl Shard {
    /// `place` is the shard's in the journal: it tells the shard from all others.
    pub fn new(
        id: PartitionId,
        (stream, shard_id): (&str, &str),
        place: &str,
        settled: UnboundedSender<Settled>,
    ) -> Self {
        let names = ShardNames { stream: stream.to_owned(), shard_id: shard_id.to_owned() };
        Self { id, name: format!("{stream}/{shard_id}"), names, identity: xxh3_64(place.as_bytes()), settled }
    }

    pub fn shard_id(&self) -> &str {
        &self.names.shard_id
    }
}

impl SourcePartition for Shard {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn shard(&self) -> Option<&ShardNames> {
        Some(&self.names)
    }

    fn identity(&self) -> Option<u64> {
        Some(self.identity)
    }

    fn evidence(&self, _: Position) -> Option<PlacedEvidence> {
        None
    }

    fn settled(&self, checkpoint: Position) {
        // Nobody listens when the source has ended before its stream.
        let _ = self.settled.send(Settled { shard_id: self.names.shard_id.clone(), checkpoint });
    }
}
