//! The checkpoint copy: a second file beside the database, from which a start is possible when the database is lost.
//!
//! It is written whole beside the old one, synced and renamed, so that there is always a complete one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Journal, JournalError};

/// Name of the copy in `state_dir`.
pub const FILE: &str = "checkpoints.json";

/// Every checkpoint of a daemon at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointCopy {
    /// 1.
    format: u32,
    streams: Vec<StreamCopy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StreamCopy {
    name: String,
    version: u64,
    scanned: bool,
    partitions: Vec<PartitionCopy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionCopy {
    uuid: String,
    place: String,
    device: u64,
    inode: u64,
    checkpoint: u64,
    /// As the database has it; empty in files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sequence_number: String,
    evidence: String,
    #[serde(default)]
    read_to: u64,
    #[serde(default)]
    read_hash: String,
    /// The uuid of the original.
    #[serde(default)]
    copy_of: Option<String>,
    #[serde(default)]
    gone_since: Option<i64>,
    /// A copy without it does not know what was skipped: all before the checkpoint counts as that.
    #[serde(default)]
    skipped_to: Option<u64>,
    #[serde(default)]
    shared_to: u64,
    /// A uuid, too.
    #[serde(default)]
    shared_with: Option<String>,
}

impl PartitionCopy {
    /// A text that is none means the beginning.
    fn sequence_number_or_none(&self) -> &str {
        super::place::position(0, &self.sequence_number).map_or("", |_| &self.sequence_number)
    }
}

impl CheckpointCopy {
    /// The copy in `state_dir`: `None` where there is none, an error where there is one that cannot be used.
    pub fn load(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(state_dir.join(FILE)) {
            Ok(bytes) => {
                let copy: Self = serde_json::from_slice(&bytes)?;
                if copy.format == 1 { Ok(Some(copy)) } else { Err(io::Error::other("a copy of an unknown format")) }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fills an empty database with the copy's streams and partitions.
    pub(super) fn restore(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for stream in &self.streams {
            transaction.execute(
                "INSERT INTO stream (name, version, configuration, scanned) VALUES (?1, ?2, '', ?3)",
                params![stream.name, stream.version, stream.scanned],
            )?;
            let id = transaction.last_insert_rowid();
            for partition in &stream.partitions {
                transaction.execute(
                    "INSERT INTO source_partition
                     (stream, uuid, place, device, inode, checkpoint, evidence, read_to, read_hash, gone_since,
                      skipped_to, shared_to, sequence_number)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                    params![
                        id,
                        partition.uuid,
                        partition.place,
                        partition.device as i64,
                        partition.inode as i64,
                        partition.checkpoint as i64,
                        partition.evidence,
                        partition.read_to as i64,
                        partition.read_hash,
                        partition.gone_since,
                        partition.skipped_to.unwrap_or(partition.checkpoint) as i64,
                        partition.shared_to as i64,
                        partition.sequence_number_or_none()
                    ],
                )?;
            }
            // Numbers are given anew, so copies name their originals by what stays.
            for partition in &stream.partitions {
                transaction.execute(
                    "UPDATE source_partition SET copy_of = (SELECT id FROM source_partition WHERE uuid = ?2),
                         shared_with = (SELECT id FROM source_partition WHERE uuid = ?3)
                     WHERE uuid = ?1",
                    params![partition.uuid, partition.copy_of, partition.shared_with],
                )?;
            }
        }
        Ok(())
    }
}

impl Journal {
    /// A number that grows whenever there is something new to copy.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Writes the copy.
    pub fn write_copy(&self) -> Result<(), JournalError> {
        let _copying = self.0.copying.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = self.copy()?;
        let path = self.state_dir().join(FILE);
        write_whole(&path, &serde_json::to_vec_pretty(&copy).unwrap_or_default())
            .map_err(|error| JournalError::of_file(&path, &error))
    }

    fn copy(&self) -> Result<CheckpointCopy, JournalError> {
        let names: Vec<(i64, String, u64, bool)> = {
            let connection = self.connection();
            let mut statement =
                connection.prepare_cached("SELECT id, name, version, scanned FROM stream ORDER BY id")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut streams = Vec::with_capacity(names.len());
        for (id, name, version, scanned) in names {
            let rows = self.partitions(id)?;
            let uuids: HashMap<_, _> = rows.iter().map(|row| (row.id, row.uuid.clone())).collect();
            let partitions = rows.into_iter().map(|row| PartitionCopy {
                uuid: row.uuid,
                place: row.place,
                device: row.device,
                inode: row.inode,
                checkpoint: row.checkpoint.offset(),
                sequence_number: super::place::columns(row.checkpoint).1,
                evidence: row.evidence,
                read_to: row.read_to.as_ref().map_or(0, |read| read.position.offset()),
                read_hash: row.read_to.map_or_else(String::new, |read| read.hash),
                copy_of: row.copy_of.and_then(|original| uuids.get(&original).cloned()),
                gone_since: row.gone_since,
                skipped_to: Some(row.beginning.skipped_to.offset()),
                shared_to: row.beginning.shared_to.offset(),
                shared_with: row.beginning.shared_with.and_then(|other| uuids.get(&other).cloned()),
            });
            streams.push(StreamCopy { name, version, scanned, partitions: partitions.collect() });
        }
        Ok(CheckpointCopy { format: 1, streams })
    }
}

/// Replaces the file at `path` by one with `bytes`, durably: a crash leaves the old one or the new one.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
