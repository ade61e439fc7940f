//! The journal as others may read it: while the daemon runs and while it does not.
//!
//! Always true: a view is the state of one moment, taken in one read transaction, and taking it changes nothing and keeps
//! nobody waiting. What is settled in a view stays settled; everything else in it may have moved on since.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};

use super::open::{DATABASE, beside, broken};
use super::{Beginning, JournalError, Kind, OpenError, schema};
use crate::positions::decode_ranges;
use crate::record::{PartitionId, Position, PositionRange};

/// All files of all delivery streams, with what their deliveries hold of them.
#[derive(Debug, Default)]
pub struct JournalView {
    /// By device and inode, in the order in which they were first seen.
    files: HashMap<(u64, u64), Vec<FileRow>>,
}

/// One file of one delivery stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub partition: PartitionId,
    /// The delivery stream's name.
    pub stream: String,
    pub checkpoint: Position,
    /// Nothing before it was ever read.
    pub skipped: Position,
    /// What lies between that and this was another partition's, and is not known to be settled there; else 0.
    pub owed: Position,
    /// What the source stored to know the file by.
    pub evidence: String,
    /// What deliveries hold that are pending, or settled and not passed by the checkpoint.
    pub held: Vec<Held>,
}

/// What one delivery holds of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub kind: Kind,
    pub settled: bool,
    pub ranges: Vec<PositionRange>,
}

impl JournalView {
    /// The journal in `state_dir` as it is now; `None` where there is none that was ever made ready. Blocks.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, OpenError> {
        view(state_dir, &Self::take)
    }

    /// The file of this delivery stream, the one that was seen first last if its inode number was used again.
    pub fn file(&self, stream: &str, device: u64, inode: u64) -> Option<&FileRow> {
        self.files.get(&(device, inode))?.iter().rfind(|row| row.stream == stream)
    }

    fn take(transaction: &Transaction<'_>, version: i64) -> Result<Self, JournalError> {
        let mut held = held(transaction)?;
        // Version 1, which no daemon has brought up to date yet, knows nothing of them.
        let debts = if version == 1 { Debts(HashMap::new()) } else { Debts::read(transaction)? };
        let mut view = Self::default();
        let mut statement = transaction.prepare(
            "SELECT file.id, file.device, file.inode, stream.name, file.checkpoint, file.evidence
             FROM source_partition AS file JOIN stream ON stream.id = file.stream ORDER BY file.id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let partition = PartitionId(row.get(0)?);
            let key = (row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
            let checkpoint = Position::at(row.get::<_, i64>(4)? as u64);
            view.files.entry(key).or_default().push(FileRow {
                partition,
                stream: row.get(3)?,
                checkpoint,
                skipped: debts.skipped(partition).unwrap_or(checkpoint),
                owed: debts.owed(partition),
                evidence: row.get(5)?,
                held: held.remove(&partition).unwrap_or_default(),
            });
        }
        Ok(view)
    }
}

/// What the journal knows of one object of a delivery stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// What the source stored to know it by.
    pub evidence: String,
    pub checkpoint: Position,
    /// It was read to its end, and all of it is settled.
    pub is_done: bool,
}

/// The objects of a delivery stream, by their places; several may have been at one, one after the other. Empty where no journal was
/// ever made ready. Blocks.
pub fn objects_of(state_dir: &Path, stream: &str) -> Result<HashMap<String, Vec<ObjectRow>>, OpenError> {
    let take = |transaction: &Transaction<'_>, version: i64| {
        let mut found = HashMap::<String, Vec<ObjectRow>>::new();
        // Before version 3 there was no redrive.
        if version < 3 {
            return Ok(found);
        }
        let mut statement = transaction.prepare(
            "SELECT object.place, object.evidence, object.checkpoint, object.gone_since IS NOT NULL
             FROM source_partition AS object JOIN stream ON stream.id = object.stream WHERE stream.name = ?1
             ORDER BY object.id",
        )?;
        let mut rows = statement.query([stream])?;
        while let Some(row) = rows.next()? {
            let checkpoint = Position::at(row.get::<_, i64>(2)? as u64);
            let object = ObjectRow { evidence: row.get(1)?, checkpoint, is_done: row.get(3)? };
            found.entry(row.get(0)?).or_default().push(object);
        }
        Ok(found)
    };
    Ok(view(state_dir, &take)?.unwrap_or_default())
}

/// What is taken out of a database of some version.
type Take<'a, T> = &'a dyn Fn(&Transaction<'_>, i64) -> Result<T, JournalError>;

fn view<T>(state_dir: &Path, take: Take<'_, T>) -> Result<Option<T>, OpenError> {
    let path = state_dir.join(DATABASE);
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(source) => return Err(OpenError::Folder { path: state_dir.to_owned(), source }),
    }
    match view_with(&path, &path, OpenFlags::empty(), take) {
        // Who may not write beside the database cannot share it, but can read one that nobody uses.
        Err(OpenError::Journal(JournalError::Disk(_))) if is_at_rest(&path) => {
            let view = view_with(&path, &immutable(&path), OpenFlags::SQLITE_OPEN_URI, take)?;
            // A daemon that has begun meanwhile may have changed it under our hands.
            if is_at_rest(&path) { Ok(view) } else { view_with(&path, &path, OpenFlags::empty(), take) }
        }
        read => read,
    }
}

fn view_with<T>(path: &Path, name: &Path, flags: OpenFlags, take: Take<'_, T>) -> Result<Option<T>, OpenError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut connection = Connection::open_with_flags(name, flags).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    let transaction = connection.transaction().map_err(broken)?;
    let found = schema::version(&transaction).map_err(broken)?;
    if found > schema::VERSION {
        return Err(OpenError::FromTheFuture { path: path.to_owned(), found });
    }
    if found == 0 {
        return Ok(None);
    }
    take(&transaction, found).map(Some).map_err(OpenError::Journal)
}

/// Partitions whose beginning another one reads may owe it still.
struct Debts(HashMap<PartitionId, Debt>);

struct Debt {
    checkpoint: Position,
    copy_of: Option<PartitionId>,
    beginning: Beginning,
}

impl Debts {
    /// Longer chains of copies of copies count as not settled.
    const CHAIN_MAX: usize = 64;

    fn read(transaction: &Transaction<'_>) -> Result<Self, JournalError> {
        let mut statement = transaction
            .prepare("SELECT id, checkpoint, copy_of, skipped_to, shared_to, shared_with FROM source_partition")?;
        let rows = statement.query_map([], |row| {
            let position = |column| Ok::<_, rusqlite::Error>(Position::at(row.get::<_, i64>(column)? as u64));
            let partition = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(PartitionId));
            let beginning = Beginning { skipped_to: position(3)?, shared_to: position(4)?, shared_with: partition(5)? };
            Ok((PartitionId(row.get(0)?), Debt { checkpoint: position(1)?, copy_of: partition(2)?, beginning }))
        })?;
        Ok(Self(rows.collect::<rusqlite::Result<_>>()?))
    }

    /// `None` where that is not known.
    fn skipped(&self, partition: PartitionId) -> Option<Position> {
        self.0.get(&partition).map(|debt| debt.beginning.skipped_to)
    }

    fn owed(&self, partition: PartitionId) -> Position {
        let Some(debt) = self.0.get(&partition).filter(|_| !self.is_settled(partition)) else {
            return Position::BEGINNING;
        };
        // A copy is settled to its checkpoint where its original is.
        if debt.copy_of.is_some() { debt.checkpoint } else { debt.beginning.shared_to }
    }

    /// Whether what others read of a partition is settled there. A partition that is not there any more is no proof.
    fn is_settled(&self, mut partition: PartitionId) -> bool {
        for _ in 0..Self::CHAIN_MAX {
            let Some(debt) = self.0.get(&partition) else { return false };
            let Beginning { shared_to, shared_with, .. } = debt.beginning;
            partition = match (debt.copy_of, shared_with) {
                (Some(original), _) => original,
                (None, _) if shared_to == Position::BEGINNING => return true,
                (None, Some(other)) if self.0.get(&other).is_some_and(|other| other.checkpoint >= shared_to) => other,
                (None, _) => return false,
            };
        }
        false
    }
}

/// Whether all there is stands in the database itself: no daemon uses it, and the last one has ended well.
fn is_at_rest(database: &Path) -> bool {
    match std::fs::metadata(beside(database, "-wal")) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The name by which SQLite reads a database without its lock and its log.
fn immutable(database: &Path) -> PathBuf {
    let mut uri = OsString::from("file:");
    for &byte in database.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.push(format!("%{byte:02x}")),
            _ => uri.push(OsStr::from_bytes(&[byte])),
        }
    }
    uri.push("?immutable=1");
    uri.into()
}

fn held(transaction: &Transaction<'_>) -> Result<HashMap<PartitionId, Vec<Held>>, JournalError> {
    let mut held = HashMap::<PartitionId, Vec<Held>>::new();
    let mut statement = transaction.prepare(
        "SELECT records.partition, delivery.kind, delivery.settled, records.first_position, records.end_position,
                records.ranges, delivery.id
         FROM delivery_records AS records JOIN delivery ON delivery.id = records.delivery ORDER BY delivery.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (first, end) = (row.get::<_, i64>(3)? as u64, row.get::<_, i64>(4)? as u64);
        let ranges = match row.get::<_, Option<Vec<u8>>>(5)? {
            Some(bytes) => decode_ranges(&bytes),
            None => (first < end).then(|| vec![PositionRange::new(first, end)]),
        };
        let delivery: i64 = row.get(6)?;
        let unreadable = || JournalError::Content { what: format!("the records of delivery {delivery}") };
        held.entry(PartitionId(row.get(0)?)).or_default().push(Held {
            kind: if row.get::<_, String>(1)? == "copy" { Kind::Copy } else { Kind::Fate },
            settled: row.get(2)?,
            ranges: ranges.ok_or_else(unreadable)?,
        });
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{intent, new_file, open, set};
    use super::super::{Checkpoint, Intent, KnownBy, NewPartition, Opened};
    use super::*;

    #[test]
    fn a_view_shows_what_the_daemon_has_journalled_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(JournalView::read(folder.path()).unwrap().is_none(), "no database");
        let Opened { journal, .. } = open(folder.path());
        let stream = journal.stream("s", "one").unwrap().id;
        let other = journal.stream("t", "one").unwrap().id;
        let files = journal.register(stream, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
        journal.register(other, &[new_file("/a", 10)]).unwrap();
        let scattered = set(&[(files[0], 0, 10), (files[0], 20, 30)]);
        let first = journal.intend(stream, &intent("u1", scattered), &[]).unwrap();
        let copy = Intent { kind: Kind::Copy, ..intent("u2", set(&[(files[0], 0, 30)])) };
        journal.intend(stream, &copy, &[]).unwrap();
        journal.settle(stream, &[first], &[]).unwrap();

        let view = JournalView::read(folder.path()).unwrap().unwrap();
        let held = |kind, settled, ranges: &[(u64, u64)]| Held {
            kind,
            settled,
            ranges: ranges.iter().map(|&(start, end)| PositionRange::new(start, end)).collect(),
        };
        let row = view.file("s", 1, 10).unwrap();
        assert_eq!((row.partition, row.checkpoint), (files[0], Position::BEGINNING));
        assert_eq!(row.held, [held(Kind::Fate, true, &[(0, 10), (20, 30)]), held(Kind::Copy, false, &[(0, 30)])]);
        assert_eq!(view.file("t", 1, 10).unwrap().held, []);
        assert!(view.file("t", 1, 11).is_none() && view.file("s", 2, 10).is_none() && view.file("u", 1, 10).is_none());
    }

    #[test]
    fn a_database_that_nobody_uses_is_read_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("50%?#");
        let Opened { journal, .. } = open(&state_dir);
        let stream = journal.stream("s", "one").unwrap().id;
        journal.register(stream, &[new_file("/a", 10)]).unwrap();
        let path = state_dir.join(DATABASE);
        assert!(!is_at_rest(&path), "the daemon runs");
        drop(journal);
        assert!(is_at_rest(&path));
        let view =
            view_with(&path, &immutable(&path), OpenFlags::SQLITE_OPEN_URI, &JournalView::take).unwrap().unwrap();
        assert!(view.file("s", 1, 10).is_some());
        assert!(!beside(&path, "-wal").exists() && !beside(&path, "-shm").exists());
    }

    /// What of a file was skipped, and what of it another one owes.
    fn beginning(folder: &Path, inode: u64) -> (u64, u64) {
        let view = JournalView::read(folder).unwrap().unwrap();
        let row = view.file("s", 1, inode).unwrap();
        (row.skipped.offset(), row.owed.offset())
    }

    #[test]
    fn what_a_copy_shares_is_owed_until_its_original_has_settled_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let latest = NewPartition { checkpoint: Position::at(4), ..new_file("/a", 10) };
        let original = journal.register(stream, &[latest]).unwrap()[0];
        let copy = |place, inode| NewPartition { copy_of: Some(original), ..new_file(place, inode) };
        let copies = journal.register(stream, &[copy("/a.1", 11), copy("/a.2", 12), copy("/a.3", 13)]).unwrap();
        let settle = |position| {
            let moved = Checkpoint { partition: original, position: Position::at(position), evidence: None };
            journal.settle(stream, &[], &[moved]).unwrap();
        };
        let stands_alone = |n: usize, from| {
            let known = KnownBy { partition: copies[n], evidence: None, read_to: None };
            // A repetition changes nothing.
            journal.stands_alone(&known, Position::at(from), "e").unwrap();
            journal.stands_alone(&known, Position::at(from), "e").unwrap();
        };
        stands_alone(0, 9);
        stands_alone(1, 0);
        assert_eq!(beginning(folder.path(), 10), (4, 0));
        assert_eq!(beginning(folder.path(), 11), (4, 9), "read, and not settled");
        assert_eq!(beginning(folder.path(), 12), (0, 0), "no copy at all");
        settle(8);
        assert_eq!(beginning(folder.path(), 11), (4, 9));
        journal.mark_gone(&[original], 1, true).unwrap();
        assert_eq!(journal.forget_gone(stream, &[], 9, 0).unwrap(), [], "who owes something is remembered");
        settle(9);
        assert_eq!(beginning(folder.path(), 11), (4, 0));
        stands_alone(2, 9);
        assert_eq!(beginning(folder.path(), 13), (4, 0), "settled before");
        assert_eq!(journal.forget_gone(stream, &[], 9, 0).unwrap(), [original]);
        assert_eq!(beginning(folder.path(), 11), (4, 0), "what was settled stays settled");
    }

    #[test]
    fn what_one_that_is_not_there_any_more_owes_is_never_settled() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let original = journal.register(stream, &[new_file("/a", 10)]).unwrap()[0];
        let copy = NewPartition { copy_of: Some(original), ..new_file("/a.1", 11) };
        let copies = journal.register(stream, &[copy]).unwrap();
        let known = KnownBy { partition: copies[0], evidence: None, read_to: None };
        journal.stands_alone(&known, Position::at(9), "e").unwrap();
        drop(journal);
        let connection = Connection::open(folder.path().join(DATABASE)).unwrap();
        connection.execute("DELETE FROM source_partition WHERE inode = 10", []).unwrap();
        drop(connection);
        assert_eq!(beginning(folder.path(), 11), (0, 9));
    }

    #[test]
    fn of_an_inode_that_was_used_again_the_newest_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { journal, .. } = open(folder.path());
        let stream = journal.stream("s", "one").unwrap().id;
        let old = journal.register(stream, &[new_file("/a", 10)]).unwrap()[0];
        let moved = Checkpoint { partition: old, position: Position::at(7), evidence: None };
        journal.settle(stream, &[], &[moved]).unwrap();
        let new = journal.register(stream, &[new_file("/b", 10)]).unwrap()[0];
        drop(journal);
        let view = JournalView::read(folder.path()).unwrap().unwrap();
        let row = view.file("s", 1, 10).unwrap();
        assert_eq!((row.partition, row.checkpoint), (new, Position::BEGINNING));
    }
}
