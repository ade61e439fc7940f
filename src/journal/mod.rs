//! The journal: checkpoints and deliveries, durable in one embedded SQLite database.
//!
//! Always true: before a payload leaves, its delivery is here; a checkpoint moves only in the transaction that settles
//! what it passes; a settled delivery stays until the checkpoints have passed all its records. Every change is one
//! transaction, synced to disk before the call returns (`WAL`, `synchronous=FULL`).
//!
//! ```text
//!   sealed ──intend──▶ pending ──settle──▶ settled ──checkpoints pass it──▶ forgotten
//!                         └──cancel (no object, new configuration)──▶ gone, its records are new
//! ```
//!
//! All calls block; callers on async workers go through [`Journal::run`].

mod copy;
mod jobs;
mod open;
mod partitions;
mod place;
mod read;
mod requests;
mod schema;
mod shards;
#[cfg(test)]
mod tests;

pub use copy::CheckpointCopy;
pub use open::{OpenError, Opened, Start};
pub use partitions::{Beginning, KnownBy, NewPartition, PartitionRow, ReadTo};
pub use read::{FileRow, Held, JournalView, ObjectRow, objects_of};
pub use requests::Sent;
pub use shards::PlacedPartition;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use crate::batches::Batches;
use crate::log_limit::LogLimit;
use crate::positions::{RecordSet, decode_ranges, encode_ranges};
use crate::record::{PartitionId, PlacedEvidence, Position, PositionRange};
use crate::requests::Request;

/// The open journal of one daemon. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    connection: Mutex<Connection>,
    state_dir: PathBuf,
    instance: String,
    /// Grows with every change of a checkpoint, so that the copy is written only when there is something new.
    changes: AtomicU64,
    /// Held while the copy is written: there is one file that becomes it.
    copying: Mutex<()>,
    /// Of calls that the disk does not let.
    log: LogLimit,
    /// Held as long as the journal is: one daemon at a time.
    _lock: std::fs::File,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk of `state_dir` is full, or the file system failed; the same call may be made again.
    #[error("the state database could not be written")]
    Disk(#[source] rusqlite::Error),
    /// The database is damaged. The next start sets it aside.
    #[error("the state database is damaged")]
    Corrupt(#[source] rusqlite::Error),
    #[error("the state database refused a statement")]
    Sqlite(#[source] rusqlite::Error),
    #[error("the state database holds {what} that this program cannot read")]
    Content { what: String },
}

impl JournalError {
    /// A file beside the database fails as the database itself would.
    fn of_file(path: &Path, error: &std::io::Error) -> Self {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        Self::Disk(rusqlite::Error::SqliteFailure(code, Some(format!("{}: {error}", path.display()))))
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory,
            ) => Self::Disk(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error),
            _ => Self::Sqlite(error),
        }
    }
}

type Result<T, E = JournalError> = std::result::Result<T, E>;

/// A delivery stream as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    pub id: i64,
    /// Counts the configurations of this stream from 1; part of every object's key.
    pub version: u64,
    /// Whether the first scan of its sources has been journalled: what is seen from now on is new.
    pub scanned: bool,
}

/// What of a record a delivery holds: its one fate (destination or error output), or its copy in the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Fate,
    Copy,
}

/// A delivery before its payload leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The delivery id, part of the key.
    pub uuid: String,
    pub kind: Kind,
    /// `destination`, `backup`, or an error output type such as `processing-failed`.
    pub output: String,
    /// Values of the prefix's dynamic expressions, escaped; empty without partitioning.
    pub partition: Vec<String>,
    /// Where the object goes, as JSON: enough to ask for it after the configuration has changed.
    pub destination: String,
    /// Whom it is addressed to there: the index. Empty where there is nobody.
    pub addressee: String,
    /// How the payload is formed, as JSON: enough to form it again.
    pub format: String,
    pub key: String,
    pub version: u64,
    /// Fingerprint of the processing that made the records: only what the same processing makes of a record again are the
    /// parts of it that this delivery holds.
    pub processing: String,
    pub arrival_ms: i64,
    /// How many; 0 in the journal once some were taken out, as nobody knows then how many are left.
    pub records: u64,
    pub set: RecordSet,
    /// The records of `set` of which this is only a part: processing made several of them, and some went elsewhere.
    pub partial: RecordSet,
    /// In which the records of `set` were processed, where what became of them follows from that. The journal lets go of them
    /// when the delivery is settled.
    pub batches: Batches,
}

impl Intent {
    /// The output with its partition: what goes to one of them is in one buffer at a time. As it stands in the journal.
    pub fn route(&self) -> String {
        route(&self.output, &self.partition)
    }

    /// From where `partition` has to be read, at its checkpoint or behind it, so that the same is made of its records again.
    pub fn needed(&self, partition: PartitionId, checkpoint: Position) -> Option<PositionRange> {
        let first = self.set.ranges(partition).first()?;
        let start = self.batches.needed_for(partition, first).start;
        Some(PositionRange { start: start.max(checkpoint.min(first.start)), ..first })
    }
}

/// `destination`, or with values `destination ["acme","2026/11/21"]`.
pub fn route(output: &str, partition: &[String]) -> String {
    match partition {
        [] => output.to_owned(),
        values => format!("{output} {}", serde_json::Value::from(values)),
    }
}

/// The output and the values of a [`route`].
fn output_of(route: String) -> (String, Vec<String>) {
    match route.split_once(' ') {
        Some((output, values)) => (output.to_owned(), serde_json::from_str(values).unwrap_or_default()),
        None => (route, Vec::new()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryRowId(pub i64);

/// A delivery found in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRow {
    pub id: DeliveryRowId,
    pub settled: bool,
    pub intent: Intent,
}

/// A checkpoint to be stored, with the source's evidence if there is new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub partition: PartitionId,
    pub position: Position,
    pub evidence: Option<PlacedEvidence>,
}

/// What the journal holds of a stream after a settlement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Those that are not settled, or not passed by the checkpoints.
    pub deliveries: u64,
    /// In how many ranges the records of those lie, batches in pairs: so much has to be remembered after the next start.
    pub ranges: u64,
}

impl Journal {
    /// Random, and the same for the life of the database: it names what belongs to this daemon in shared folders.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    pub fn state_dir(&self) -> &Path {
        &self.0.state_dir
    }

    /// Runs `call` on a blocking thread, again and again while the disk does not let it: a full disk pauses the stream.
    pub async fn run<T, F>(&self, what: &'static str, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Journal) -> Result<T> + Send + Sync + 'static,
    {
        let call = Arc::new(call);
        let mut delay = Duration::from_millis(100);
        loop {
            let (journal, attempt) = (self.clone(), call.clone());
            match crate::pool::join(tokio::task::spawn_blocking(move || attempt(&journal))).await {
                Err(JournalError::Disk(error)) => {
                    self.say(&error, what);
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(10));
                }
                result => return result,
            }
        }
    }

    /// The disk did not let a call: whoever made it waits, and makes it again.
    pub fn say(&self, error: &rusqlite::Error, what: &str) {
        if let Some(failures) = self.0.log.failed() {
            tracing::error!(%error, what, failures, "the state database cannot be written; waiting");
        }
    }

    /// The row of the stream `name`, made or moved to the next version if `configuration` is not the one it had.
    pub fn stream(&self, name: &str, configuration: &str) -> Result<StreamRow> {
        self.change(|transaction| {
            let found: Option<(i64, u64, String, bool)> = transaction
                .query_row("SELECT id, version, configuration, scanned FROM stream WHERE name = ?1", [name], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((id, version, stored, scanned)) = found else {
                transaction.execute(
                    "INSERT INTO stream (name, version, configuration) VALUES (?1, 1, ?2)",
                    params![name, configuration],
                )?;
                return Ok(StreamRow { id: transaction.last_insert_rowid(), version: 1, scanned: false });
            };
            // A row that was restored from the checkpoint copy has no configuration: it keeps its version.
            let version = if stored.is_empty() || stored == configuration { version } else { version + 1 };
            transaction.execute(
                "UPDATE stream SET version = ?2, configuration = ?3 WHERE id = ?1",
                params![id, version, configuration],
            )?;
            Ok(StreamRow { id, version, scanned })
        })
    }

    /// All deliveries of a stream that are not forgotten yet, in the order in which they were journalled.
    pub fn deliveries(&self, stream: i64) -> Result<Vec<DeliveryRow>> {
        let connection = self.connection();
        let mut sets = std::collections::HashMap::<i64, (RecordSet, RecordSet, Batches)>::new();
        let mut statement = connection.prepare_cached(
            "SELECT delivery, partition, first_position, end_position, ranges, partial, batches FROM delivery_records
             WHERE delivery IN (SELECT id FROM delivery WHERE stream = ?1)",
        )?;
        let mut rows = statement.query([stream])?;
        while let Some(row) = rows.next()? {
            let (delivery, partition) = (row.get::<_, i64>(0)?, PartitionId(row.get(1)?));
            let (first, end) = (row.get::<_, i64>(2)? as u64, row.get::<_, i64>(3)? as u64);
            let ranges = match row.get::<_, Option<Vec<u8>>>(4)? {
                Some(bytes) => decode_ranges(&bytes),
                None => (first < end).then(|| vec![PositionRange::new(first, end)]),
            };
            let unreadable = || JournalError::Content { what: format!("the records of delivery {delivery}") };
            let partly = row.get::<_, Option<Vec<u8>>>(5)?.map_or(Some(Vec::new()), |bytes| decode_ranges(&bytes));
            let (set, partial, batches) = sets.entry(delivery).or_default();
            set.add_kept(partition, ranges.ok_or_else(unreadable)?);
            for range in partly.ok_or_else(unreadable)? {
                partial.add(partition, range);
            }
            if let Some(bytes) = row.get::<_, Option<Vec<u8>>>(6)?
                && !batches.add_kept(partition, bytes)
            {
                // The records themselves are known: they are read again in whatever batches.
                tracing::warn!(
                    delivery,
                    "the batches of a delivery are unreadable: what is made of it again may differ"
                );
            }
        }
        let mut statement = connection.prepare_cached(
            "SELECT id, settled, uuid, kind, output, destination, format, key, version, arrival_ms, records, processing,
                 addressee
             FROM delivery WHERE stream = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([stream], |row| {
            let id = row.get::<_, i64>(0)?;
            let (set, partial, batches) = sets.remove(&id).unwrap_or_default();
            let (output, partition) = output_of(row.get(4)?);
            Ok(DeliveryRow {
                id: DeliveryRowId(id),
                settled: row.get(1)?,
                intent: Intent {
                    uuid: row.get(2)?,
                    kind: if row.get::<_, String>(3)? == "copy" { Kind::Copy } else { Kind::Fate },
                    output,
                    partition,
                    destination: row.get(5)?,
                    format: row.get(6)?,
                    key: row.get(7)?,
                    version: row.get(8)?,
                    arrival_ms: row.get(9)?,
                    records: row.get(10)?,
                    processing: row.get(11)?,
                    addressee: row.get(12)?,
                    set,
                    partial,
                    batches,
                },
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Journals a delivery: from here on a crash leads to this key and these records, or to a cancellation.
    ///
    /// What its partitions are known by is stored with it: a file must be known again with everything that leaves.
    pub fn intend(&self, stream: i64, intent: &Intent, known: &[KnownBy]) -> Result<DeliveryRowId> {
        self.intend_requests(stream, intent, known, &[])
    }

    /// The same of a delivery to a receiver, with what it is cut into.
    pub fn intend_requests(
        &self,
        stream: i64,
        intent: &Intent,
        known: &[KnownBy],
        requests: &[Request],
    ) -> Result<DeliveryRowId> {
        let delivery = self.change(|transaction| {
            partitions::store_known(transaction, known)?;
            insert(transaction, stream, intent, requests)
        })?;
        if !known.is_empty() {
            self.0.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(delivery)
    }

    /// Some records of a pending delivery can never be read again, or are new: it goes on with those of `set`.
    pub fn shrink(&self, delivery: DeliveryRowId, set: &RecordSet) -> Result<()> {
        self.change(|transaction| {
            let partial = partial(transaction, delivery)?.split(set).1;
            let batches = batches(transaction, delivery)?;
            transaction.execute("DELETE FROM delivery_records WHERE delivery = ?1", [delivery.0])?;
            transaction.execute("UPDATE delivery SET records = 0 WHERE id = ?1", [delivery.0])?;
            insert_records(transaction, delivery.0, set, &partial, &batches)
        })
    }

    /// The delivery will never be made: its object is known not to exist, and its records are new again.
    pub fn cancel(&self, delivery: DeliveryRowId) -> Result<()> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM delivery WHERE id = ?1", [delivery.0])?;
            Ok(())
        })
    }

    /// One transaction: the deliveries are settled, the checkpoints move, and the settled deliveries that the checkpoints
    /// have passed are forgotten. Says what of the stream is left in the journal.
    pub fn settle(&self, stream: i64, deliveries: &[DeliveryRowId], checkpoints: &[Checkpoint]) -> Result<Left> {
        let left = self.change(|transaction| {
            let settle = "UPDATE delivery SET settled = 1, batches = 0 WHERE id = ?1";
            let mut settle = transaction.prepare_cached(settle)?;
            let forget = "UPDATE delivery_records SET batches = NULL WHERE delivery = ?1 AND batches IS NOT NULL";
            let mut forget = transaction.prepare_cached(forget)?;
            for delivery in deliveries {
                settle.execute([delivery.0])?;
                forget.execute([delivery.0])?;
                requests::forget(transaction, *delivery)?;
            }
            let mut statement = transaction
                .prepare_cached("UPDATE source_partition SET checkpoint = ?2, sequence_number = ?3 WHERE id = ?1 AND (sequence_number, checkpoint) < (?3, ?2)")?;
            for checkpoint in checkpoints {
                if let Some(evidence) = &checkpoint.evidence {
                    partitions::store_evidence(transaction, checkpoint.partition, evidence)?;
                }
                let (offset, sequence_number) = place::columns(checkpoint.position);
                statement.execute(params![checkpoint.partition.0, offset, sequence_number])?;
            }
            transaction.prepare_cached(FORGET_PASSED)?.execute([stream])?;
            let query = "SELECT count(*), coalesce(sum(ranges + batches / 2), 0) FROM delivery WHERE stream = ?1";
            let mut statement = transaction.prepare_cached(query)?;
            Ok(statement.query_row([stream], |row| Ok(Left { deliveries: row.get(0)?, ranges: row.get(1)? }))?)
        })?;
        if !checkpoints.is_empty() {
            self.0.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(left)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a call rolls its transaction back, so the connection stays good.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

const FORGET_PASSED: &str = "
    DELETE FROM delivery WHERE stream = ?1 AND settled = 1 AND NOT EXISTS (
        SELECT 1 FROM delivery_records AS held JOIN source_partition AS source ON source.id = held.partition
        WHERE held.delivery = delivery.id AND (held.end_sequence, held.end_position) > (source.sequence_number, source.checkpoint))";

fn insert(transaction: &Transaction<'_>, stream: i64, intent: &Intent, requests: &[Request]) -> Result<DeliveryRowId> {
    let kind = match intent.kind {
        Kind::Fate => "fate",
        Kind::Copy => "copy",
    };
    // A repetition after an error whose transaction had succeeded all the same finds its row.
    let known = transaction
        .query_row("SELECT id FROM delivery WHERE uuid = ?1", [&intent.uuid], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(DeliveryRowId(id));
    }
    transaction
        .prepare_cached(
            "INSERT INTO delivery
             (stream, uuid, kind, output, destination, format, key, version, arrival_ms, records, processing, ranges,
              batches, addressee)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            stream,
            intent.uuid,
            kind,
            intent.route(),
            intent.destination,
            intent.format,
            intent.key,
            intent.version,
            intent.arrival_ms,
            intent.records,
            intent.processing,
            (intent.set.len() + intent.partial.len()) as u64,
            intent.batches.len() as u64,
            intent.addressee
        ])?;
    let id = transaction.last_insert_rowid();
    insert_records(transaction, id, &intent.set, &intent.partial, &intent.batches)?;
    requests::insert_all(transaction, DeliveryRowId(id), requests)?;
    Ok(DeliveryRowId(id))
}

/// The records of which a journalled delivery holds only a part.
fn partial(transaction: &Transaction<'_>, delivery: DeliveryRowId) -> Result<RecordSet> {
    let query = "SELECT partition, partial FROM delivery_records WHERE delivery = ?1 AND partial IS NOT NULL";
    let mut statement = transaction.prepare_cached(query)?;
    let mut rows = statement.query([delivery.0])?;
    let mut partial = RecordSet::default();
    while let Some(row) = rows.next()? {
        let unreadable = || JournalError::Content { what: format!("the records of delivery {}", delivery.0) };
        for range in decode_ranges(&row.get::<_, Vec<u8>>(1)?).ok_or_else(unreadable)? {
            partial.add(PartitionId(row.get(0)?), range);
        }
    }
    Ok(partial)
}

/// The batches of a journalled delivery, as far as they can be read.
fn batches(transaction: &Transaction<'_>, delivery: DeliveryRowId) -> Result<Batches> {
    let query = "SELECT partition, batches FROM delivery_records WHERE delivery = ?1 AND batches IS NOT NULL";
    let mut statement = transaction.prepare_cached(query)?;
    let mut rows = statement.query([delivery.0])?;
    let mut batches = Batches::default();
    while let Some(row) = rows.next()? {
        let _ = batches.add_kept(PartitionId(row.get(0)?), row.get(1)?);
    }
    Ok(batches)
}

fn insert_records(
    transaction: &Transaction<'_>,
    delivery: i64,
    set: &RecordSet,
    partial: &RecordSet,
    batches: &Batches,
) -> Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO delivery_records
             (delivery, partition, first_position, end_position, ranges, partial, batches, end_sequence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (partition, ranges) in set.iter() {
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { continue };
        let several = (ranges.len() > 1 || !last.end.is_offset()).then(|| encode_ranges(ranges));
        let partly = Some(partial.ranges(partition)).filter(|ranges| !ranges.is_empty()).map(encode_ranges);
        let (first, (end, sequence)) = (first.start.offset() as i64, place::columns(last.end));
        let batches = batches.coded(partition);
        statement.execute(params![delivery, partition.0, first, end, several, partly, batches, sequence])?;
    }
    Ok(())
}
