//! Source partitions in the journal: first sight, where they are, what they are known by, and their end.
//!
//! Always true: a partition is here before anything of it is read; what a copy shares with its original is read from one of
//! them alone (`copy_of`); what was never read of it (`skipped_to`), and what another one has to settle (`shared_to`), stays
//! known; a file that is gone is remembered for a while, as its copy or compressed twin may come late.

use std::sync::atomic::Ordering;

use rusqlite::{Row, Transaction, params};

use crate::record::{PartitionId, PlacedEvidence, Position};

use super::{Journal, Result};

/// A source partition: one file of one delivery stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRow {
    pub id: PartitionId,
    pub uuid: String,
    /// The path under which it was seen last.
    pub place: String,
    pub device: u64,
    pub inode: u64,
    pub checkpoint: Position,
    /// What the source stored to know the partition by; see `SourcePartition::evidence`.
    pub evidence: String,
    /// What was read of it when the last delivery was journalled.
    pub read_to: Option<ReadTo>,
    /// While it is not known whether this file is more than a copy of another one.
    pub copy_of: Option<PartitionId>,
    /// Milliseconds since 1970 when it was found to be gone for good.
    pub gone_since: Option<i64>,
    pub beginning: Beginning,
}

/// What a partition does not read itself, at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beginning {
    /// Nobody reads what lies before this position: `initial_position: latest`.
    pub skipped_to: Position,
    /// What lies between that and this position was read by another partition and had not been settled there yet. 0 where
    /// nothing is owed.
    pub shared_to: Position,
    /// That other partition; `None` where it is not known.
    pub shared_with: Option<PartitionId>,
}

/// How much of a partition was read, and the hash by which a copy of that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadTo {
    pub position: Position,
    pub hash: String,
}

/// What a partition is known by, stored with a delivery before that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBy {
    pub partition: PartitionId,
    /// Stored while the checkpoint is 0: a file that was journalled while it was empty is known by what it has got since.
    pub evidence: Option<PlacedEvidence>,
    pub read_to: Option<ReadTo>,
}

/// A source partition that is seen for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    pub place: String,
    pub device: u64,
    pub inode: u64,
    pub checkpoint: Position,
    pub evidence: String,
    pub copy_of: Option<PartitionId>,
}

impl Journal {
    pub fn partitions(&self, stream: i64) -> Result<Vec<PartitionRow>> {
        let connection = self.connection();
        let query = format!("SELECT {PARTITION_COLUMNS} FROM source_partition WHERE stream = ?1 ORDER BY id");
        let mut statement = connection.prepare_cached(&query)?;
        let rows = statement.query_map([stream], partition_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// First sight: all of `new` in one transaction, before anything of them is read. From now on the stream counts as
    /// scanned, and after its first scan the copy knows it too.
    pub fn register(&self, stream: i64, new: &[NewPartition]) -> Result<Vec<PartitionId>> {
        let (ids, is_first) = self.change(|transaction| {
            let marked = "UPDATE stream SET scanned = 1 WHERE id = ?1 AND scanned = 0";
            let is_first = transaction.execute(marked, [stream])? > 0;
            let ids = new.iter().map(|partition| insert(transaction, stream, partition)).collect::<Result<_>>()?;
            Ok((ids, is_first))
        })?;
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        if is_first && let Err(error) = self.write_copy() {
            tracing::warn!(%error, "the checkpoint copy could not be written");
        }
        Ok(ids)
    }

    /// The partition is found under another path now. The names that it had before are put into its evidence at once: copies
    /// were made of it under them.
    pub fn moved(&self, partition: PartitionId, place: &str, former: &[String]) -> Result<()> {
        let former = serde_json::Value::from(former).to_string();
        self.change_partitions(|transaction| {
            let statement = "
                UPDATE source_partition SET place = ?2, gone_since = NULL,
                    evidence = CASE WHEN json_valid(evidence) THEN json_set(evidence, '$.names', json(?3)) ELSE evidence END
                WHERE id = ?1";
            transaction.execute(statement, params![partition.0, place, former])?;
            Ok(())
        })
    }

    /// The partition goes on in another file that holds the same up to where it was read. `copy` is that file's own row, if
    /// it had one: nothing was read of it, so it is deleted.
    pub fn goes_on(&self, partition: PartitionId, to: &NewPartition, copy: Option<PartitionId>) -> Result<()> {
        self.change_partitions(|transaction| {
            if let Some(copy) = copy {
                transaction.execute("DELETE FROM source_partition WHERE id = ?1", [copy.0])?;
            }
            transaction.execute(
                "UPDATE source_partition SET place = ?2, device = ?3, inode = ?4, evidence = ?5, gone_since = NULL
                 WHERE id = ?1",
                params![partition.0, to.place, to.device as i64, to.inode as i64, to.evidence],
            )?;
            Ok(())
        })
    }

    /// A file is a copy of another original than it seemed to be.
    pub fn copies(&self, partition: PartitionId, original: PartitionId, evidence: &str) -> Result<()> {
        self.change_partitions(|transaction| {
            let statement = "
                UPDATE source_partition SET copy_of = ?2, checkpoint = 0, evidence = ?3,
                    skipped_to = coalesce((SELECT skipped_to FROM source_partition WHERE id = ?2), 0)
                WHERE id = ?1";
            transaction.execute(statement, params![partition.0, original.0, evidence])?;
            Ok(())
        })
    }

    /// A copy holds the same as its original up to where its `evidence` was taken, and up to `checkpoint` all that is settled.
    pub fn still_copy(&self, partition: PartitionId, checkpoint: Position, evidence: &str) -> Result<()> {
        self.change_partitions(|transaction| {
            let statement = "UPDATE source_partition SET checkpoint = max(checkpoint, ?2), evidence = ?3 WHERE id = ?1";
            transaction.execute(statement, params![partition.0, checkpoint.offset() as i64, evidence])?;
            Ok(())
        })
    }

    /// A copy is a file of its own from `checkpoint` on: everything before it is its original's, which owes it until it has
    /// settled it.
    pub fn stands_alone(&self, copy: &KnownBy, checkpoint: Position, evidence: &str) -> Result<()> {
        self.change_partitions(|transaction| {
            // A repetition after an error whose transaction had succeeded all the same finds that it is no copy any more.
            let statement = "
                UPDATE source_partition AS own SET
                    skipped_to = min(skipped_to, ?2),
                    shared_to = CASE WHEN EXISTS (
                        SELECT 1 FROM source_partition AS original WHERE original.id = own.copy_of
                        AND original.shared_to = 0 AND ?2 <= max(original.checkpoint, own.checkpoint)) THEN 0 ELSE ?2 END,
                    shared_with = copy_of, copy_of = NULL, checkpoint = ?2, evidence = ?3
                WHERE id = ?1 AND copy_of IS NOT NULL";
            transaction.execute(statement, params![copy.partition.0, checkpoint.offset() as i64, evidence])?;
            store_known(transaction, std::slice::from_ref(copy))
        })
    }

    /// What the source knows a partition by, from now on.
    pub fn set_evidence(&self, partition: PartitionId, evidence: &str) -> Result<()> {
        self.change_partitions(|transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE source_partition SET evidence = ?2 WHERE id = ?1")?;
            statement.execute(params![partition.0, evidence])?;
            Ok(())
        })
    }

    /// The partitions' files are gone for good at `now_ms`. They are remembered, see [`Journal::forget_gone`]. Where `is_seen`
    /// their end was seen: an equal file with the same inode number is another one. Else they were only not found.
    pub fn mark_gone(&self, partitions: &[PartitionId], now_ms: i64, is_seen: bool) -> Result<()> {
        self.change_partitions(|transaction| {
            let mut gone = transaction
                .prepare_cached("UPDATE source_partition SET gone_since = ?2 WHERE id = ?1 AND gone_since IS NULL")?;
            let mut ended =
                transaction.prepare_cached("UPDATE source_partition SET device = 0, inode = 0 WHERE id = ?1")?;
            for partition in partitions {
                gone.execute(params![partition.0, now_ms])?;
                if is_seen {
                    ended.execute([partition.0])?;
                }
            }
            Ok(())
        })
    }

    /// Forgets the partitions of a stream that were gone before `before_ms`, and of the others that are gone all but the
    /// last `keep`. Those that a delivery or a copy still names are kept, and those that are `living` again are not gone.
    /// Says which were forgotten.
    pub fn forget_gone(
        &self,
        stream: i64,
        living: &[PartitionId],
        before_ms: i64,
        keep: u32,
    ) -> Result<Vec<PartitionId>> {
        self.change_partitions(|transaction| {
            let back = "UPDATE source_partition SET gone_since = NULL WHERE id = ?1 AND gone_since IS NOT NULL";
            let mut statement = transaction.prepare_cached(back)?;
            for partition in living {
                statement.execute([partition.0])?;
            }
            transaction.prepare_cached(FORGIVE)?.execute([stream])?;
            let mut statement = transaction.prepare_cached(
                "DELETE FROM source_partition WHERE stream = ?1 AND gone_since IS NOT NULL
                 AND (gone_since < ?2 OR gone_since < (SELECT gone_since FROM source_partition
                      WHERE stream = ?1 AND gone_since IS NOT NULL ORDER BY gone_since DESC LIMIT 1 OFFSET ?3 - 1))
                 AND NOT EXISTS (SELECT 1 FROM delivery_records AS held WHERE held.partition = source_partition.id)
                 AND NOT EXISTS (SELECT 1 FROM source_partition AS copy WHERE copy.copy_of = source_partition.id
                                 OR (copy.shared_with = source_partition.id AND copy.shared_to > 0))
                 RETURNING id",
            )?;
            let forgotten =
                statement.query_map(params![stream, before_ms, keep], |row| Ok(PartitionId(row.get(0)?)))?;
            Ok(forgotten.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn change_partitions<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let value = self.change(work)?;
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        Ok(value)
    }
}

/// As [`partition_row`] takes them.
pub(super) const PARTITION_COLUMNS: &str = "id, uuid, place, device, inode, checkpoint, evidence, read_to, read_hash, copy_of, \
     gone_since, skipped_to, shared_to, shared_with, sequence_number";

/// What another partition has settled by now is owed no longer.
const FORGIVE: &str = "
    UPDATE source_partition AS own SET shared_to = 0, shared_with = NULL
    WHERE stream = ?1 AND shared_to > 0 AND EXISTS (
        SELECT 1 FROM source_partition AS other
        WHERE other.id = own.shared_with AND other.checkpoint >= own.shared_to AND other.shared_to = 0)";

pub(super) fn store_known(transaction: &Transaction<'_>, known: &[KnownBy]) -> Result<()> {
    let mut unread = transaction
        .prepare_cached("SELECT 1 FROM source_partition WHERE id = ?1 AND checkpoint = 0 AND sequence_number = ''")?;
    let mut read_to = transaction
        .prepare_cached("UPDATE source_partition SET read_to = ?2, read_hash = ?3 WHERE id = ?1 AND read_to < ?2")?;
    for known in known {
        if let Some(evidence) = &known.evidence
            && unread.exists([known.partition.0])?
        {
            store_evidence(transaction, known.partition, evidence)?;
        }
        if let Some(read) = &known.read_to {
            read_to.execute(params![known.partition.0, read.position.offset() as i64, read.hash])?;
        }
    }
    Ok(())
}

/// Evidence is taken before the transaction begins. If the partition has another name or another file by now, what is stored
/// says more of it: its former names, and when that file was made.
pub(super) fn store_evidence(
    transaction: &Transaction<'_>,
    partition: PartitionId,
    evidence: &PlacedEvidence,
) -> Result<()> {
    let mut statement = transaction.prepare_cached(
        "UPDATE source_partition SET evidence = ?2 WHERE id = ?1 AND place = ?3 AND device = ?4 AND inode = ?5",
    )?;
    let PlacedEvidence { text, place, device, inode } = evidence;
    statement.execute(params![partition.0, text, place, *device as i64, *inode as i64])?;
    Ok(())
}

pub(super) fn insert(transaction: &Transaction<'_>, stream: i64, new: &NewPartition) -> Result<PartitionId> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO source_partition
             (stream, uuid, place, device, inode, checkpoint, evidence, copy_of, skipped_to, sequence_number)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
                 coalesce((SELECT skipped_to FROM source_partition WHERE id = ?8), ?6), ?9)",
    )?;
    let uuid = uuid::Uuid::new_v4().to_string();
    let (device, inode, (checkpoint, sequence_number)) =
        (new.device as i64, new.inode as i64, super::place::columns(new.checkpoint));
    let copy_of = new.copy_of.map(|id| id.0);
    statement.execute(params![
        stream,
        uuid,
        new.place,
        device,
        inode,
        checkpoint,
        new.evidence,
        copy_of,
        sequence_number
    ])?;
    Ok(PartitionId(transaction.last_insert_rowid()))
}

/// A text that is no sequence number.
fn unreadable(column: usize) -> rusqlite::Error {
    let reason = Box::new(crate::sequence_number::NotASequenceNumber);
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, reason)
}

pub(super) fn partition_row(row: &Row<'_>) -> rusqlite::Result<PartitionRow> {
    let read_to = ReadTo { position: Position::at(row.get::<_, i64>(7)? as u64), hash: row.get(8)? };
    Ok(PartitionRow {
        id: PartitionId(row.get(0)?),
        uuid: row.get(1)?,
        place: row.get(2)?,
        device: row.get::<_, i64>(3)? as u64,
        inode: row.get::<_, i64>(4)? as u64,
        checkpoint: super::place::position(row.get(5)?, &row.get::<_, String>(14)?).ok_or(unreadable(14))?,
        evidence: row.get(6)?,
        read_to: (!read_to.hash.is_empty()).then_some(read_to),
        copy_of: row.get::<_, Option<i64>>(9)?.map(PartitionId),
        gone_since: row.get(10)?,
        beginning: Beginning {
            skipped_to: Position::at(row.get::<_, i64>(11)? as u64),
            shared_to: Position::at(row.get::<_, i64>(12)? as u64),
            shared_with: row.get::<_, Option<i64>>(13)?.map(PartitionId),
        },
    })
}
