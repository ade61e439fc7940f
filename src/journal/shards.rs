//! Shards in the journal: source partitions that are known by their places alone, and whose evidence changes as they come to their end.

use std::sync::atomic::Ordering;

use rusqlite::params;

use super::partitions::{NewPartition, insert};
use super::{Journal, Result};
use crate::record::{PartitionId, Position};

/// What the journal is to know of a source partition from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPartition {
    pub place: String,
    pub evidence: String,
}

impl Journal {
    /// One transaction: each place of `put` has its evidence, and is a partition of the stream, a new one if there was none; and those
    /// of `forget` are no more, as far as no delivery names them. Gives the partitions of `put`, in their order.
    pub fn put_placed(&self, stream: i64, put: &[PlacedPartition], forget: &[String]) -> Result<Vec<PartitionId>> {
        let ids = self.change(|transaction| {
            transaction.execute("UPDATE stream SET scanned = 1 WHERE id = ?1 AND scanned = 0", [stream])?;
            let mut update = transaction.prepare_cached(
                "UPDATE source_partition SET evidence = ?3 WHERE stream = ?1 AND place = ?2 RETURNING id",
            )?;
            let mut ids = Vec::with_capacity(put.len());
            for PlacedPartition { place, evidence } in put {
                let known = update.query_map(params![stream, place, evidence], |row| row.get(0))?.next().transpose()?;
                ids.push(match known {
                    Some(id) => PartitionId(id),
                    None => insert(transaction, stream, &new(place, evidence))?,
                });
            }
            let mut delete = transaction.prepare_cached(
                "DELETE FROM source_partition WHERE stream = ?1 AND place = ?2
                 AND NOT EXISTS (SELECT 1 FROM delivery_records AS held WHERE held.partition = source_partition.id)",
            )?;
            for place in forget {
                delete.execute(params![stream, place])?;
            }
            Ok(ids)
        })?;
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        Ok(ids)
    }
}

fn new(place: &str, evidence: &str) -> NewPartition {
    NewPartition {
        place: place.to_owned(),
        device: 0,
        inode: 0,
        checkpoint: Position::BEGINNING,
        evidence: evidence.to_owned(),
        copy_of: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Checkpoint;
    use super::super::tests::{intent, open, set};
    use super::*;

    fn placed(place: &str, evidence: &str) -> PlacedPartition {
        PlacedPartition { place: place.to_owned(), evidence: evidence.to_owned() }
    }

    #[test]
    fn shards_keep_their_numbers_and_checkpoints_while_their_evidence_changes() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let first = journal.put_placed(stream, &[placed("a", "1"), placed("b", "1")], &[]).unwrap();
        let at = Position::behind("77".parse().unwrap(), 0);
        journal.settle(stream, &[], &[Checkpoint { partition: first[0], position: at, evidence: None }]).unwrap();
        let again = journal.put_placed(stream, &[placed("c", "1"), placed("a", "2")], &["b".to_owned()]).unwrap();
        assert_eq!(again[1], first[0]);
        let rows = journal.partitions(stream).unwrap();
        let shown: Vec<_> =
            rows.iter().map(|row| (row.place.as_str(), row.evidence.as_str(), row.checkpoint)).collect();
        assert_eq!(shown, [("a", "2", at), ("c", "1", Position::BEGINNING)]);
    }

    #[test]
    fn what_a_delivery_names_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let shard = journal.put_placed(stream, &[placed("a", "1")], &[]).unwrap()[0];
        let row = journal.intend(stream, &intent("u", set(&[(shard, 0, 9)])), &[]).unwrap();
        journal.put_placed(stream, &[], &["a".to_owned()]).unwrap();
        assert_eq!(journal.partitions(stream).unwrap().len(), 1);
        journal.cancel(row).unwrap();
        journal.put_placed(stream, &[], &["a".to_owned()]).unwrap();
        assert_eq!(journal.partitions(stream).unwrap(), []);
    }
}
