//! A shard as the rest of the code sees it: a source partition.

use tokio::sync::mpsc::UnboundedSender;

use crate::record::{PartitionId, PlacedEvidence, Position, SourcePartition};

/// One shard that is being read.
pub struct Shard {
    id: PartitionId,
    /// The stream's name, and the shard's.
    name: String,
    shard_id: String,
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
    pub fn new(id: PartitionId, stream: &str, shard_id: &str, settled: UnboundedSender<Settled>) -> Self {
        Self { id, name: format!("{stream}/{shard_id}"), shard_id: shard_id.to_owned(), settled }
    }

    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }
}

impl SourcePartition for Shard {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn evidence(&self, _: Position) -> Option<PlacedEvidence> {
        None
    }

    fn settled(&self, checkpoint: Position) {
        // Nobody listens when the source has ended before its stream.
        let _ = self.settled.send(Settled { shard_id: self.shard_id.clone(), checkpoint });
    }
}
