//! Opening the state database, whatever state it is in.
//!
//! A lock file lets one daemon at a time write. A database that is damaged, or was never finished, is set aside under another
//! name and not deleted, and the start goes on from the checkpoint copy, else from the beginning of all sources: records may
//! be doubled, none is skipped. A notice beside it says so until a person removes it. Nothing here can make the daemon crash
//! again and again.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::copy::{self, CheckpointCopy};
use super::{Inner, Journal, JournalError, schema};
use crate::failpoint;
use crate::log_limit::LogLimit;

/// Name of the database in `state_dir`.
pub(super) const DATABASE: &str = "hydrant.db";
/// What is appended to it while it is not ready.
const UNREADY: &str = ".new";
/// What is appended to it for the files that SQLite keeps.
const FILES: [&str; 3] = ["", "-wal", "-shm"];
const LOCK: &str = "lock";
/// There while nobody has acknowledged that the journal was lost.
const NOTICE: &str = "JOURNAL-WAS-LOST.txt";

/// From where the daemon starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With an empty journal, because there was never one.
    First,
    /// From the journal.
    Journal,
    /// The journal was lost: from the checkpoint copy, and from the beginning of what the copy does not know.
    Copy,
    /// Journal and copy were lost: from the beginning, whatever `initial_position` says.
    Beginning,
}

pub struct Opened {
    pub journal: Journal,
    pub start: Start,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`state_dir` {} cannot be used", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("`state_dir` {} is in use by another hydrant: stop it first, or give this one a folder of its own", path.display())]
    InUse { path: PathBuf },
    #[error("the state database {} has schema version {found}, and this hydrant knows {}: run the hydrant that wrote it, or a newer one", path.display(), schema::VERSION)]
    FromTheFuture { path: PathBuf, found: i64 },
    #[error(transparent)]
    Journal(JournalError),
}

impl OpenError {
    /// Whether there was no room for what opening has to write; it may be tried again.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Folder { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Journal(JournalError::Disk(error)) => {
                let code = error.sqlite_error();
                code.is_some_and(|error| {
                    error.code == ErrorCode::DiskFull || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
                })
            }
            Self::Journal(JournalError::Corrupt(_) | JournalError::Sqlite(_) | JournalError::Content { .. })
            | Self::InUse { .. }
            | Self::FromTheFuture { .. } => false,
        }
    }
}

impl Journal {
    /// Opens or makes the journal in `state_dir`. Blocks.
    pub fn open(state_dir: &Path) -> Result<Opened, OpenError> {
        let folder = |source| OpenError::Folder { path: state_dir.to_owned(), source };
        std::fs::create_dir_all(state_dir).map_err(folder)?;
        let lock = File::create(state_dir.join(LOCK)).map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: state_dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(folder(error)),
        }
        let path = state_dir.join(DATABASE);
        let (connection, start) = match existing(state_dir, &path)? {
            Some(connection) => (connection, Start::Journal),
            None => make(state_dir, &path)?,
        };
        let query = "SELECT value FROM meta WHERE name = 'instance'";
        let instance = connection.query_row(query, [], |row| row.get(0)).map_err(|e| OpenError::Journal(e.into()))?;
        let inner = Inner {
            connection: Mutex::new(connection),
            state_dir: state_dir.to_owned(),
            instance,
            changes: AtomicU64::new(0),
            copying: Mutex::default(),
            log: LogLimit::default(),
            _lock: lock,
        };
        Ok(Opened { journal: Journal(Arc::new(inner)), start })
    }

    /// Whether the journal was lost and nobody has acknowledged it: what is seen for the first time is read from its
    /// beginning, whatever `initial_position` says, as the copy may be older than its first sight.
    pub fn is_from_beginning(&self) -> Result<bool, JournalError> {
        let path = self.0.state_dir.join(NOTICE);
        path.try_exists().map_err(|error| JournalError::of_file(&path, &error))
    }

    /// The notice that the journal was lost, if nobody has acknowledged it by removing the file.
    pub fn loss_notice(&self) -> Option<PathBuf> {
        let path = self.0.state_dir.join(NOTICE);
        path.exists().then_some(path)
    }
}

/// The database at `path` if it can be gone on with; else there is none there any more.
fn existing(state_dir: &Path, path: &Path) -> Result<Option<Connection>, OpenError> {
    if path.exists() {
        let path_shown = path.display();
        match usable(path) {
            Ok(Some(connection)) => return Ok(Some(connection)),
            // Somebody emptied it: nothing may be skipped.
            Ok(None) => tracing::error!(path = %path_shown, "the state database is not complete and is set aside"),
            Err(OpenError::Journal(JournalError::Corrupt(error))) => {
                tracing::error!(%error, path = %path_shown, "the state database is damaged and is set aside");
            }
            Err(error) => return Err(error),
        }
    } else if !beside(path, "-wal").exists() {
        return Ok(None);
    }
    // Without its database a write-ahead log would be replayed into the next one: the end of an interrupted `lose`.
    lose(state_dir, path).map_err(|source| OpenError::Folder { path: state_dir.to_owned(), source })?;
    Ok(None)
}

/// `None` is a database that was never made ready.
fn usable(path: &Path) -> Result<Option<Connection>, OpenError> {
    let mut connection = connect(path)?;
    if schema::version(&connection).map_err(broken)? == 0 {
        return Ok(None);
    }
    prepare(&mut connection, path)?;
    let query = "SELECT count(*) FROM meta WHERE name = 'ready'";
    let ready: i64 = connection.query_row(query, [], |row| row.get(0)).map_err(broken)?;
    Ok((ready > 0).then_some(connection))
}

/// Makes a database where there is none: of a first start, or in place of one that was lost. Until it is ready it has another
/// name: what a crash leaves behind would count as lost.
fn make(state_dir: &Path, path: &Path) -> Result<(Connection, Start), OpenError> {
    let unready = beside(path, UNREADY);
    let remove = || FILES.iter().for_each(|suffix| drop(std::fs::remove_file(beside(&unready, suffix))));
    remove();
    let made = connect(&unready).and_then(|mut connection| {
        prepare(&mut connection, &unready)?;
        let (connection, start) = begin(state_dir, connection)?;
        // With the last connection SQLite's other files go.
        connection.close().map_err(|(_, error)| broken(error))?;
        failpoint::pass("database-made");
        put_in_place(&unready, path).map_err(|source| OpenError::Folder { path: state_dir.to_owned(), source })?;
        Ok(start)
    });
    if made.is_err() {
        remove();
    }
    made.and_then(|start| Ok((connect(path)?, start)))
}

/// Gives a database that is ready its name.
fn put_in_place(unready: &Path, path: &Path) -> io::Result<()> {
    let log = beside(unready, "-wal");
    if log.exists() {
        return Err(io::Error::other(format!("{} is still there", log.display())));
    }
    std::fs::rename(unready, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Opens a database file and makes sure that it is whole.
fn connect(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open(path).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(broken)?;
    if verdict != "ok" {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(11), Some(verdict));
        return Err(OpenError::Journal(JournalError::Corrupt(error)));
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(broken)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let future = |found| OpenError::FromTheFuture { path: path.to_owned(), found };
    schema::prepare(connection).map_err(broken)?.map_err(future)
}

pub(super) fn broken(error: rusqlite::Error) -> OpenError {
    OpenError::Journal(error.into())
}

/// Makes an empty database ready, with one transaction.
fn begin(state_dir: &Path, mut connection: Connection) -> Result<(Connection, Start), OpenError> {
    let copy = CheckpointCopy::load(state_dir).unwrap_or_else(|error| {
        let unusable = state_dir.join(copy::FILE);
        tracing::error!(%error, path = %unusable.display(), "the checkpoint copy cannot be used and is set aside");
        let _ = std::fs::rename(&unusable, numbered(&unusable));
        None
    });
    let lost = state_dir.join(NOTICE).exists();
    let start = match (&copy, lost) {
        (Some(_), _) => Start::Copy,
        (None, true) => Start::Beginning,
        (None, false) => Start::First,
    };
    if start == Start::Copy && !lost {
        // Somebody removed the database: the copy alone is left.
        give_notice(state_dir, None).map_err(|source| OpenError::Folder { path: state_dir.to_owned(), source })?;
    }
    let transaction = connection.transaction().map_err(broken)?;
    if let Some(copy) = &copy {
        copy.restore(&transaction).map_err(broken)?;
    }
    transaction.execute("INSERT INTO meta (name, value) VALUES ('ready', '')", []).map_err(broken)?;
    transaction.commit().map_err(broken)?;
    Ok((connection, start))
}

/// Sets a database aside that cannot be used, and leaves a notice of it first.
fn lose(state_dir: &Path, database: &Path) -> io::Result<()> {
    let aside = numbered(database);
    give_notice(state_dir, Some(&aside))?;
    for suffix in FILES {
        let from = beside(database, suffix);
        if from.exists() {
            std::fs::rename(&from, beside(&aside, suffix))?;
        }
    }
    Ok(())
}

fn give_notice(state_dir: &Path, aside: Option<&Path>) -> io::Result<()> {
    let kept = aside.map_or(String::new(), |aside| format!("It was kept as {}.\n", aside.display()));
    let text = format!(
        "The state database in this folder was found lost or damaged at {}.\n{kept}\
         Reading goes on from the checkpoint copy (checkpoints.json, at most some minutes old) if there is one.\n\
         What the copy does not know is read from its beginning, until this file is removed.\n\
         No record was skipped; some may have been delivered twice.\n\
         Remove this file to acknowledge it; until then the log repeats it.\n",
        jiff::Timestamp::now()
    );
    copy::write_whole(&state_dir.join(NOTICE), text.as_bytes())
}

/// The file that SQLite keeps beside its database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", database.display()))
}

/// A name beside `path` that nothing has yet.
fn numbered(path: &Path) -> PathBuf {
    let candidate = |n: u32| PathBuf::from(format!("{}.damaged-{n}", path.display()));
    (1..).map(candidate).find(|candidate| !candidate.exists()).unwrap_or_else(|| candidate(0))
}
