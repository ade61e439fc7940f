//! The state database, read as anybody may read it while Hydrant runs.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::scratch::Scratch;

pub fn journal_path(scratch: &Scratch) -> PathBuf {
    scratch.state().join("hydrant.db")
}

/// Deliveries that are on their way, or that the checkpoints have not passed yet.
pub fn deliveries(scratch: &Scratch) -> u64 {
    number(scratch, "SELECT count(*) FROM delivery", [])
}

/// The checkpoint of the file that was last seen under this name in `logs`.
pub fn checkpoint(scratch: &Scratch, name: &str) -> u64 {
    let place = scratch.logs().join(name);
    let query = "SELECT max(checkpoint) FROM source_partition WHERE place = ?1";
    number(scratch, query, [place.to_str().expect("names here are UTF-8")])
}

/// Source partitions of which this SQL condition holds.
pub fn partitions(scratch: &Scratch, condition: &str) -> u64 {
    number(scratch, &format!("SELECT count(*) FROM source_partition WHERE {condition}"), [])
}

fn number(scratch: &Scratch, query: &str, parameters: impl rusqlite::Params) -> u64 {
    let connection = Connection::open_with_flags(journal_path(scratch), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the journal can be opened");
    connection.busy_timeout(Duration::from_secs(10)).expect("a deadline");
    connection.query_row(query, parameters, |row| row.get(0)).expect("a number from the documented tables")
}
