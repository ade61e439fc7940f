//! Redrives in the journal: which are under way, and which error objects they have registered.
//!
//! Always true: a redrive is here from before its first record is read until its last one is settled, so that the next daemon
//! finishes what this one has begun. Error objects are source partitions that are never forgotten: what was sent again once is
//! known for ever.

use std::collections::HashMap;

use rusqlite::params;

use super::partitions::{PARTITION_COLUMNS, partition_row};
use super::{Journal, PartitionRow, Result};

/// Rows of redrives in `meta` are called so, with the delivery stream's name behind it.
const PREFIX: &str = "redrive ";

impl Journal {
    /// A redrive of the delivery stream begins, or one that was interrupted is replaced. `job` is a JSON text.
    pub fn begin_job(&self, stream: &str, job: &str) -> Result<()> {
        self.change(|transaction| {
            let insert = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
            transaction.execute(insert, params![format!("{PREFIX}{stream}"), job])?;
            Ok(())
        })
    }

    /// All of it is delivered.
    pub fn end_job(&self, stream: &str) -> Result<()> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM meta WHERE name = ?1", [format!("{PREFIX}{stream}")])?;
            Ok(())
        })
    }

    /// The redrives that have not come to their end: delivery stream and job.
    pub fn jobs(&self) -> Result<Vec<(String, String)>> {
        let connection = self.connection();
        let query = "SELECT substr(name, length(?1) + 1), value FROM meta WHERE substr(name, 1, length(?1)) = ?1";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([PREFIX], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The source partitions of a stream that are not read to their end, in the order in which they were registered.
    pub fn unfinished(&self, stream: i64) -> Result<Vec<PartitionRow>> {
        let connection = self.connection();
        let query = format!(
            "SELECT {PARTITION_COLUMNS} FROM source_partition WHERE stream = ?1 AND gone_since IS NULL ORDER BY id"
        );
        let mut statement = connection.prepare_cached(&query)?;
        let rows = statement.query_map([stream], partition_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Those of a stream's source partitions that were seen at one of these places, by place; several objects may have been there
    /// one after the other. Looks at all of the stream's rows, so it is asked for many places at once.
    pub fn at_places(&self, stream: i64, places: &[String]) -> Result<HashMap<String, Vec<PartitionRow>>> {
        let connection = self.connection();
        let query = format!(
            "SELECT {PARTITION_COLUMNS} FROM source_partition
             WHERE stream = ?1 AND place IN (SELECT value FROM json_each(?2)) ORDER BY id"
        );
        let mut statement = connection.prepare_cached(&query)?;
        let rows = statement.query_map(params![stream, serde_json::Value::from(places).to_string()], partition_row)?;
        let mut found = HashMap::<String, Vec<PartitionRow>>::new();
        for row in rows {
            let row = row?;
            found.entry(row.place.clone()).or_default().push(row);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{new_file, open};
    use super::super::{Checkpoint, Opened};
    use crate::record::Position;

    #[test]
    fn a_redrive_is_known_until_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { journal, .. } = open(folder.path());
        assert_eq!(journal.jobs().unwrap(), []);
        journal.begin_job("web", "{}").unwrap();
        journal.begin_job("app", "{\"rate\":1}").unwrap();
        journal.begin_job("web", "{\"rate\":2}").unwrap();
        drop(journal);
        let Opened { journal, .. } = open(folder.path());
        let both = [("app".to_owned(), "{\"rate\":1}".to_owned()), ("web".to_owned(), "{\"rate\":2}".to_owned())];
        let mut found = journal.jobs().unwrap();
        found.sort();
        assert_eq!(found, both);
        journal.end_job("app").unwrap();
        journal.end_job("app").unwrap();
        assert_eq!(journal.jobs().unwrap(), both[1..]);
    }

    #[test]
    fn objects_are_found_at_their_places_and_finished_ones_stay_known() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { journal, .. } = open(folder.path());
        let stream = journal.stream("web:redrive", "one").unwrap().id;
        let other = journal.stream("web", "one").unwrap().id;
        let objects = journal.register(stream, &["/a", "/b", "/c", "/a"].map(|place| new_file(place, 0))).unwrap();
        journal.register(other, &[new_file("/a", 0)]).unwrap();
        let moved = Checkpoint { partition: objects[1], position: Position::at(7), evidence: None };
        journal.settle(stream, &[], &[moved]).unwrap();
        journal.mark_gone(&objects[..1], 5, true).unwrap();
        let unfinished: Vec<_> =
            journal.unfinished(stream).unwrap().iter().map(|row| (row.id, row.checkpoint.offset())).collect();
        assert_eq!(unfinished, [(objects[1], 7), (objects[2], 0), (objects[3], 0)]);
        let found = journal.at_places(stream, &["/a".to_owned(), "/c".to_owned(), "/\"d'".to_owned()]).unwrap();
        let ids = |place: &str| found[place].iter().map(|row| (row.id, row.gone_since)).collect::<Vec<_>>();
        assert_eq!(ids("/a"), [(objects[0], Some(5)), (objects[3], None)]);
        assert_eq!((ids("/c"), found.len()), (vec![(objects[2], None)], 2));
    }
}
