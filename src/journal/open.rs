//! Opening the state database, whatever state it is in.
//!
//! A lock file lets one daemon at a time write. A database that is damaged is set aside under another name, never deleted,
//! and the start goes on from the checkpoint copy, else from the beginning of all sources: records may be doubled, none is
//! skipped. A notice beside it says so until a person removes it. Nothing here can make the daemon crash again and again.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use super::copy::{self, CheckpointCopy};
use super::{Inner, Journal, JournalError, schema};

/// Name of the database in `state_dir`.
const DATABASE: &str = "hydrant.db";
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
    /// The journal was lost: from the checkpoint copy.
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
        // Without its database a write-ahead log would be replayed into the next one: the end of an interrupted `set_aside`.
        if !path.exists() && beside(&path, "-wal").exists() {
            lose(state_dir, &path).map_err(folder)?;
        }
        let connection = match connect(&path) {
            Err(OpenError::Journal(JournalError::Corrupt(error))) => {
                tracing::error!(%error, path = %path.display(), "the state database is damaged and is set aside");
                lose(state_dir, &path).map_err(folder)?;
                connect(&path)?
            }
            other => other?,
        };
        let (connection, start) = begin(state_dir, connection)?;
        let query = "SELECT value FROM meta WHERE name = 'instance'";
        let instance = connection.query_row(query, [], |row| row.get(0)).map_err(|e| OpenError::Journal(e.into()))?;
        let inner = Inner {
            connection: Mutex::new(connection),
            state_dir: state_dir.to_owned(),
            instance,
            changes: AtomicU64::new(0),
            _lock: lock,
        };
        Ok(Opened { journal: Journal(Arc::new(inner)), start })
    }

    /// Whether journal and copy were lost and nobody has acknowledged it: sources that are seen for the first time are read
    /// from their beginning, whatever `initial_position` says.
    pub fn is_from_beginning(&self) -> Result<bool, JournalError> {
        let query = "SELECT value = 'beginning' FROM meta WHERE name = 'ready'";
        Ok(self.loss_notice().is_some() && self.connection().query_row(query, [], |row| row.get(0))?)
    }

    /// The notice that the journal was lost, if nobody has acknowledged it by removing the file.
    pub fn loss_notice(&self) -> Option<PathBuf> {
        let path = self.0.state_dir.join(NOTICE);
        path.exists().then_some(path)
    }
}

/// Opens the database and makes sure that it is whole.
fn connect(path: &Path) -> Result<Connection, OpenError> {
    let broken = |error: rusqlite::Error| OpenError::Journal(error.into());
    let mut connection = Connection::open(path).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(broken)?;
    if verdict != "ok" {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(11), Some(verdict));
        return Err(OpenError::Journal(JournalError::Corrupt(error)));
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(broken)?;
    match schema::prepare(&mut connection).map_err(broken)? {
        Ok(()) => Ok(connection),
        Err(found) => Err(OpenError::FromTheFuture { path: path.to_owned(), found }),
    }
}

/// Makes a database ready that is not yet: of a first start, or in place of one that was lost. Ends with one transaction, so
/// that a crash on the way leads here again.
fn begin(state_dir: &Path, mut connection: Connection) -> Result<(Connection, Start), OpenError> {
    let broken = |error: rusqlite::Error| OpenError::Journal(error.into());
    let ready = "SELECT count(*) FROM meta WHERE name = 'ready'";
    if connection.query_row(ready, [], |row| row.get::<_, i64>(0)).map_err(broken)? > 0 {
        return Ok((connection, Start::Journal));
    }
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
    let from = if start == Start::Beginning { "beginning" } else { "" };
    transaction.execute("INSERT INTO meta (name, value) VALUES ('ready', ?1)", [from]).map_err(broken)?;
    transaction.commit().map_err(broken)?;
    Ok((connection, start))
}

/// Sets a database aside that cannot be used, and leaves a notice of it first.
fn lose(state_dir: &Path, database: &Path) -> io::Result<()> {
    let aside = numbered(database);
    give_notice(state_dir, Some(&aside))?;
    for suffix in ["", "-wal", "-shm"] {
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
        "The state database in this folder was lost or damaged at {}.\n{kept}\
         Reading goes on from the checkpoint copy (checkpoints.json, at most some minutes old) if there is one,\n\
         else from the beginning of every source.\n\
         No record was skipped; some may have been delivered twice.\n\
         Remove this file to acknowledge it; until then the log repeats it.\n",
        jiff::Timestamp::now()
    );
    copy::write_whole(&state_dir.join(NOTICE), text.as_bytes())
}

/// The file that SQLite keeps beside its database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", database.display()))
}

/// A name beside `path` that nothing has yet.
fn numbered(path: &Path) -> PathBuf {
    let candidate = |n: u32| PathBuf::from(format!("{}.damaged-{n}", path.display()));
    (1..).map(candidate).find(|candidate| !candidate.exists()).unwrap_or_else(|| candidate(0))
}
