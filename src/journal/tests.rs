use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batches::Batch;

pub(super) fn open(folder: &Path) -> Opened {
    Journal::open(folder).unwrap()
}

pub(super) fn new_file(name: &str, inode: u64) -> NewPartition {
    NewPartition {
        place: name.into(),
        device: 1,
        inode,
        checkpoint: Position::BEGINNING,
        evidence: String::from("e"),
        copy_of: None,
    }
}

pub(super) fn set(ranges: &[(PartitionId, u64, u64)]) -> RecordSet {
    let mut set = RecordSet::default();
    for &(partition, start, end) in ranges {
        set.add(partition, PositionRange::new(start, end));
    }
    set
}

pub(super) fn intent(uuid: &str, set: RecordSet) -> Intent {
    Intent {
        uuid: uuid.into(),
        kind: Kind::Fate,
        output: String::from("destination"),
        destination: String::from("{}"),
        addressee: String::new(),
        format: String::from("{}"),
        key: format!("k/{uuid}"),
        version: 1,
        processing: String::from("p"),
        arrival_ms: 1_700_000_000_000,
        records: 3,
        set,
        partial: RecordSet::default(),
        partition: Vec::new(),
        batches: Batches::default(),
    }
}

fn checkpoint(partition: PartitionId, position: u64) -> Checkpoint {
    Checkpoint { partition, position: Position::at(position), evidence: None }
}

#[test]
fn what_was_journalled_is_there_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (stream, files, row);
    {
        let Opened { journal, start } = open(folder.path());
        assert_eq!(start, Start::First);
        stream = journal.stream("s", "one").unwrap();
        assert_eq!((stream.version, stream.scanned), (1, false));
        files = journal.register(stream.id, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
        let scattered = set(&[(files[0], 0, 10), (files[0], 20, 30), (files[1], 5, 9)]);
        row = journal.intend(stream.id, &intent("u1", scattered), &[]).unwrap();
        let again = journal.intend(stream.id, &intent("u1", RecordSet::default()), &[]).unwrap();
        assert_eq!(again, row, "a repetition");
    }
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Journal);
    assert_eq!(journal.stream("s", "one").unwrap(), StreamRow { scanned: true, ..stream.clone() });
    assert_eq!(journal.stream("s", "two").unwrap().version, 2);
    assert_eq!(journal.stream("s", "two").unwrap().version, 2);
    let deliveries = journal.deliveries(stream.id).unwrap();
    let scattered = set(&[(files[0], 0, 10), (files[0], 20, 30), (files[1], 5, 9)]);
    assert_eq!(deliveries, [DeliveryRow { id: row, settled: false, intent: intent("u1", scattered) }]);
    let places: Vec<_> = journal.partitions(stream.id).unwrap().into_iter().map(|row| (row.place, row.inode)).collect();
    assert_eq!(places, [(String::from("/a"), 10), (String::from("/b"), 11)]);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    assert!(matches!(Journal::open(folder.path()), Err(OpenError::InUse { .. })));
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let connection = Connection::open(folder.path().join("hydrant.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Journal::open(folder.path()), Err(OpenError::FromTheFuture { found: 99, .. })));
    assert!(folder.path().join("hydrant.db").exists());
}

fn damage(folder: &Path) {
    std::fs::write(folder.join("hydrant.db"), vec![0x5a; 20_000]).unwrap();
}

#[test]
fn a_damaged_database_is_set_aside_and_the_copy_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap();
        let files = journal.register(stream.id, &[new_file("/a", 10)]).unwrap();
        journal.settle(stream.id, &[], &[checkpoint(files[0], 500)]).unwrap();
        journal.stream("s", "two").unwrap();
        journal.write_copy().unwrap();
    }
    damage(folder.path());
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Copy);
    assert!(journal.is_from_beginning().unwrap(), "the copy may not know all");
    assert!(journal.loss_notice().is_some());
    let stream = journal.stream("s", "two").unwrap();
    assert_eq!((stream.version, stream.scanned), (2, true));
    let rows = journal.partitions(stream.id).unwrap();
    assert_eq!((rows[0].checkpoint, rows[0].inode), (Position::at(500), 10));
    assert!(folder.path().join("hydrant.db.damaged-1").exists());
    drop(journal);
    // The next start is an ordinary one; the notice stays until somebody removes it.
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Journal);
    assert!(journal.loss_notice().is_some());
}

#[test]
fn without_a_usable_copy_everything_is_read_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    damage(folder.path());
    std::fs::write(folder.path().join("checkpoints.json"), b"{ not json").unwrap();
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Beginning);
    assert!(journal.is_from_beginning().unwrap());
    assert!(folder.path().join("checkpoints.json.damaged-1").exists());
    // It lasts across further starts, until it is acknowledged.
    drop(journal);
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Journal);
    assert!(journal.is_from_beginning().unwrap());
    std::fs::remove_file(journal.loss_notice().unwrap()).unwrap();
    assert!(!journal.is_from_beginning().unwrap());
}

#[test]
fn a_database_that_was_removed_is_replaced_by_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = open(folder.path()).journal;
        journal.stream("s", "one").unwrap();
        journal.write_copy().unwrap();
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("hydrant.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    // As after a crash in the middle of setting a database aside: its log alone is left.
    std::fs::write(folder.path().join("hydrant.db-wal"), b"left over").unwrap();
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Copy);
    assert!(journal.loss_notice().is_some());
    assert!(folder.path().join("hydrant.db.damaged-1-wal").exists());
}

#[test]
fn a_database_that_was_never_made_ready_counts_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hydrant.db");
    let unready = || {
        let connection = Connection::open(&database).unwrap();
        connection.execute("DELETE FROM meta WHERE name = 'ready'", []).unwrap();
    };
    std::fs::write(&database, b"").unwrap();
    assert_eq!(open(folder.path()).start, Start::Beginning);
    assert!(folder.path().join("JOURNAL-WAS-LOST.txt").exists());
    assert_eq!(open(folder.path()).start, Start::Journal);
    unready();
    assert_eq!(open(folder.path()).start, Start::Beginning);

    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    journal.register(stream, &[new_file("/a", 10)]).unwrap();
    drop(journal);
    unready();
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Copy);
    assert_eq!(journal.partitions(journal.stream("s", "one").unwrap().id).unwrap().len(), 1);
}

#[test]
fn a_start_that_failed_leaves_nothing_that_would_count_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    // In the way of the copy, so that a database that was made cannot become ready.
    std::fs::write(folder.path().join("checkpoints.json"), COPY_WITH_A_STREAM_TWICE).unwrap();
    std::fs::write(folder.path().join("JOURNAL-WAS-LOST.txt"), b"").unwrap();
    let error = Journal::open(folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Journal(JournalError::Sqlite(_))) && !error.is_disk_full(), "{error:?}");
    assert!(!folder.path().join("hydrant.db").exists());
    for file in ["checkpoints.json", "JOURNAL-WAS-LOST.txt"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    assert_eq!(open(folder.path()).start, Start::First);
}

#[test]
fn a_first_start_that_was_interrupted_is_a_first_start_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hydrant.db.new"), b"half a database").unwrap();
    std::fs::write(folder.path().join("hydrant.db.new-wal"), b"and its log").unwrap();
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::First);
    assert!(journal.loss_notice().is_none());
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains(".new")));
}

const COPY_WITH_A_STREAM_TWICE: &str = r#"{ "format": 1, "streams": [
    { "name": "s", "version": 1, "scanned": true, "partitions": [] },
    { "name": "s", "version": 1, "scanned": true, "partitions": [] }
] }"#;

#[test]
fn a_full_disk_is_told_from_other_failures_of_an_opening() {
    let sqlite =
        |code| OpenError::Journal(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into());
    let folder = |kind: std::io::ErrorKind| OpenError::Folder { path: PathBuf::from("/state"), source: kind.into() };
    assert!(sqlite(rusqlite::ffi::SQLITE_FULL).is_disk_full());
    assert!(sqlite(rusqlite::ffi::SQLITE_IOERR_SHMSIZE).is_disk_full());
    assert!(!sqlite(rusqlite::ffi::SQLITE_IOERR).is_disk_full());
    assert!(folder(std::io::ErrorKind::StorageFull).is_disk_full());
    assert!(!folder(std::io::ErrorKind::PermissionDenied).is_disk_full());
}

#[test]
fn the_first_scan_of_a_stream_is_in_the_copy_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    journal.register(stream, &[new_file("/a", 10)]).unwrap();
    let copied = || std::fs::read_to_string(folder.path().join("checkpoints.json")).unwrap();
    assert!(copied().contains("/a"));
    journal.register(stream, &[new_file("/b", 11)]).unwrap();
    assert!(!copied().contains("/b"));
    let second = journal.stream("t", "one").unwrap().id;
    // In the way of the copy.
    std::fs::create_dir(folder.path().join("checkpoints.json.new")).unwrap();
    journal.register(second, &[new_file("/c", 12)]).unwrap();
    assert!(!copied().contains("/c"));
}

fn evidence_of(place: &str, inode: u64, text: &str) -> PlacedEvidence {
    PlacedEvidence { text: text.into(), place: place.into(), device: 1, inode }
}

#[test]
fn evidence_that_was_taken_before_the_partition_went_on_elsewhere_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let file = journal.register(stream, &[new_file("/a", 10)]).unwrap()[0];
    journal.goes_on(file, &NewPartition { evidence: String::from("copy"), ..new_file("/a.1", 11) }, None).unwrap();
    for (place, inode) in [("/a", 10), ("/a.1", 10), ("/a", 11)] {
        let late = Checkpoint { evidence: Some(evidence_of(place, inode, "late")), ..checkpoint(file, 5) };
        journal.settle(stream, &[], &[late]).unwrap();
        let row = journal.partitions(stream).unwrap().remove(0);
        assert_eq!((row.checkpoint, row.evidence.as_str()), (Position::at(5), "copy"));
    }
    let own = Checkpoint { evidence: Some(evidence_of("/a.1", 11, "own")), ..checkpoint(file, 6) };
    journal.settle(stream, &[], &[own]).unwrap();
    assert_eq!(journal.partitions(stream).unwrap()[0].evidence, "own");
}

#[test]
fn evidence_is_stored_with_the_delivery_that_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let files = journal.register(stream, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
    let changes = journal.changes();
    let held = set(&[(files[0], 0, 9)]);
    let known = |position, hash: &str| {
        let read_to = ReadTo { position: Position::at(position), hash: hash.into() };
        [KnownBy { partition: files[0], evidence: Some(evidence_of("/a", 10, "head")), read_to: Some(read_to) }]
    };
    journal.intend(stream, &intent("u1", held), &known(9, "nine")).unwrap();
    assert!(journal.changes() > changes);
    // One that was sealed earlier is journalled later: what was read of the file stays.
    journal.intend(stream, &intent("u2", set(&[(files[0], 0, 5)])), &known(5, "five")).unwrap();
    let rows = journal.partitions(stream).unwrap();
    assert_eq!([rows[0].evidence.as_str(), rows[1].evidence.as_str()], ["head", "e"]);
    assert_eq!(rows[0].read_to, Some(ReadTo { position: Position::at(9), hash: String::from("nine") }));
    assert_eq!(rows[1].read_to, None);
}

#[test]
fn settling_says_how_many_deliveries_and_ranges_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let (stream, other) = (journal.stream("s", "one").unwrap().id, journal.stream("t", "one").unwrap().id);
    let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
    let scattered = set(&[(files[0], 0, 3), (files[0], 5, 9)]);
    let first = journal.intend(stream, &intent("u1", scattered), &[]).unwrap();
    let partial = set(&[(files[0], 9, 10)]);
    let second = Intent { partial, ..intent("u2", set(&[(files[0], 9, 12)])) };
    let second = journal.intend(stream, &second, &[]).unwrap();
    let left = |deliveries, ranges| Left { deliveries, ranges };
    assert_eq!(journal.settle(stream, &[second], &[]).unwrap(), left(2, 4));
    assert_eq!(journal.settle(stream, &[first], &[checkpoint(files[0], 9)]).unwrap(), left(1, 2));
    assert_eq!(journal.settle(other, &[], &[]).unwrap(), left(0, 0));
    assert_eq!(journal.settle(stream, &[], &[checkpoint(files[0], 12)]).unwrap(), left(0, 0));
}

#[test]
fn a_pending_delivery_shrinks_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
    let partial = set(&[(files[0], 8, 9), (files[0], 9, 12)]);
    let journalled = Intent { partial: partial.clone(), ..intent("u3", set(&[(files[0], 5, 12)])) };
    let pending = journal.intend(stream, &journalled, &[]).unwrap();
    assert_eq!(journal.deliveries(stream).unwrap()[0].intent, journalled);
    journal.shrink(pending, &set(&[(files[0], 5, 10)])).unwrap();
    let shrunk = journal.deliveries(stream).unwrap().remove(0).intent;
    assert_eq!((shrunk.set, shrunk.partial), (set(&[(files[0], 5, 10)]), set(&[(files[0], 8, 10)])));
    assert_eq!(shrunk.records, 0, "nobody knows any more how many there are");
    journal.cancel(pending).unwrap();
    assert_eq!(journal.deliveries(stream).unwrap(), []);
}

#[test]
fn gone_files_are_forgotten_in_time_and_living_ones_never() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let names = ["/held", "/original", "/old", "/new", "/back", "/living"];
    let files: Vec<_> = names.iter().zip(1..).map(|(name, inode)| new_file(name, inode)).collect();
    let files = journal.register(stream, &files).unwrap();
    let copy = NewPartition { copy_of: Some(files[1]), ..new_file("/copy", 20) };
    journal.register(stream, &[copy]).unwrap();
    let held = journal.intend(stream, &intent("u1", set(&[(files[0], 0, 9)])), &[]).unwrap();
    journal.mark_gone(&files[..3], 1_000, false).unwrap();
    journal.mark_gone(&files[3..5], 5_000, false).unwrap();
    journal.mark_gone(&files[3..4], 9_000, false).unwrap();
    let left = || -> Vec<_> { journal.partitions(stream).unwrap().into_iter().map(|row| row.place).collect() };

    assert_eq!(journal.forget_gone(stream, &files[4..5], 5_000, 100).unwrap(), [files[2]]);
    assert_eq!(left(), ["/held", "/original", "/new", "/back", "/living", "/copy"]);
    let rows = journal.partitions(stream).unwrap();
    assert_eq!((rows[2].gone_since, rows[3].gone_since), (Some(5_000), None), "first mark stays; it is back");

    journal.settle(stream, &[held], &[checkpoint(files[0], 9)]).unwrap();
    journal.mark_gone(&files[..1], 1_000, true).unwrap();
    assert_eq!(journal.forget_gone(stream, &[], 5_000, 100).unwrap(), [files[0]]);
    assert_eq!(journal.forget_gone(stream, &[], 0, 1).unwrap(), [], "its copy still needs the original");
    let rows = journal.partitions(stream).unwrap();
    let read_to = Some(ReadTo { position: Position::at(3), hash: String::from("three") });
    let alone = KnownBy { partition: rows.last().unwrap().id, evidence: None, read_to };
    journal.stands_alone(&alone, Position::at(3), "e").unwrap();
    assert_eq!(journal.forget_gone(stream, &[], 0, 1).unwrap(), [], "nor is what they share settled");
    journal.settle(stream, &[], &[checkpoint(files[1], 3)]).unwrap();
    assert_eq!(journal.forget_gone(stream, &[], 0, 1).unwrap(), [files[1]], "only so many are remembered");
    assert_eq!(left(), ["/new", "/back", "/living", "/copy"]);
}

#[test]
fn a_partition_goes_on_in_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
    let copy = NewPartition { copy_of: Some(files[0]), ..new_file("/a.1", 11) };
    let copies = journal.register(stream, std::slice::from_ref(&copy)).unwrap();
    journal.settle(stream, &[], &[checkpoint(files[0], 5)]).unwrap();
    journal.mark_gone(&files, 1_000, true).unwrap();
    journal.goes_on(files[0], &copy, Some(copies[0])).unwrap();
    let rows = journal.partitions(stream).unwrap();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.id, row.place.as_str(), row.inode, row.checkpoint), (files[0], "/a.1", 11, Position::at(5)));
    assert_eq!(row.gone_since, None);
}

/// Takes out of the database what that version did not have.
fn make_old(folder: &Path, version: i64) {
    let connection = Connection::open(folder.join("hydrant.db")).unwrap();
    connection.execute("ALTER TABLE source_partition DROP COLUMN sequence_number", []).unwrap();
    connection.execute("ALTER TABLE delivery_records DROP COLUMN end_sequence", []).unwrap();
    if version == 6 {
        connection.pragma_update(None, "user_version", version).unwrap();
        return;
    }
    connection.execute("ALTER TABLE delivery DROP COLUMN addressee", []).unwrap();
    if version == 5 {
        connection.pragma_update(None, "user_version", version).unwrap();
        return;
    }
    for table in ["delivery_request", "delivery_child"] {
        connection.execute(&format!("DROP TABLE {table}"), []).unwrap();
    }
    if version == 4 {
        connection.pragma_update(None, "user_version", version).unwrap();
        return;
    }
    for table in ["delivery", "delivery_records"] {
        connection.execute(&format!("ALTER TABLE {table} DROP COLUMN batches"), []).unwrap();
    }
    if version == 3 {
        connection.pragma_update(None, "user_version", version).unwrap();
        return;
    }
    for column in ["processing", "ranges"] {
        connection.execute(&format!("ALTER TABLE delivery DROP COLUMN {column}"), []).unwrap();
    }
    if version == 1 {
        for column in ["read_to", "read_hash", "copy_of", "gone_since", "skipped_to", "shared_to", "shared_with"] {
            connection.execute(&format!("ALTER TABLE source_partition DROP COLUMN {column}"), []).unwrap();
        }
        connection.execute("ALTER TABLE delivery_records DROP COLUMN partial", []).unwrap();
    }
    connection.pragma_update(None, "user_version", version).unwrap();
}

/// A shard's checkpoint is behind a record: later sequence numbers have more digits, or larger ones.
#[test]
fn checkpoints_of_a_shard_are_ordered_by_value_and_pass_its_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let at = |number: &str, sub| Position::behind(number.parse().unwrap(), sub);
    let new = NewPartition { inode: 0, device: 0, ..new_file("shardId-000000000000", 0) };
    let shard = journal.register(stream, std::slice::from_ref(&new)).unwrap()[0];
    let set = |start, end| {
        let mut set = RecordSet::default();
        set.add(shard, PositionRange { start, end });
        set
    };
    let places = [Position::BEGINNING, at("99", 3), at("99", 12), at("100", 0), at(&"9".repeat(129), 1)];
    let settle = |rows: &[DeliveryRowId], position| {
        journal.settle(stream, rows, &[Checkpoint { partition: shard, position, evidence: None }]).unwrap();
    };
    let mut rows = Vec::new();
    for (n, two) in places.windows(2).enumerate() {
        rows.push(journal.intend(stream, &intent(&format!("u{n}"), set(two[0], two[1])), &[]).unwrap());
    }
    let held: Vec<_> = journal.deliveries(stream).unwrap().into_iter().map(|row| row.intent.set).collect();
    assert_eq!(held, places.windows(2).map(|two| set(two[0], two[1])).collect::<Vec<_>>());
    for (n, two) in places.windows(2).enumerate().take(3) {
        settle(&rows[n..=n], two[1]);
        settle(&[], two[0]);
        assert_eq!(journal.partitions(stream).unwrap()[0].checkpoint, two[1], "it never moves back");
        assert_eq!(journal.deliveries(stream).unwrap().len(), 3 - n, "and passes what is settled");
    }
    journal.write_copy().unwrap();
    drop(journal);
    std::fs::remove_file(folder.path().join("hydrant.db")).unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    assert_eq!(journal.partitions(stream).unwrap()[0].checkpoint, places[3], "the copy knows it");
}

#[test]
fn a_database_of_version_6_keeps_its_rows_and_takes_shards() {
    let folder = tempfile::tempdir().unwrap();
    let held;
    {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("files", "one").unwrap();
        let files = journal.register(stream.id, &[new_file("/a", 10)]).unwrap();
        journal.settle(stream.id, &[], &[checkpoint(files[0], 500)]).unwrap();
        held = Intent { version: stream.version, ..intent("u1", set(&[(files[0], 500, 900)])) };
        journal.intend(stream.id, &held, &[]).unwrap();
    }
    make_old(folder.path(), 6);
    let journal = open(folder.path()).journal;
    let files = journal.stream("files", "one").unwrap().id;
    assert_eq!(journal.partitions(files).unwrap()[0].checkpoint, Position::at(500));
    assert_eq!(journal.deliveries(files).unwrap()[0].intent, held);

    let shards = journal.stream("clicks", "one").unwrap().id;
    let put = PlacedPartition { place: String::from("clicks/shardId-000000000000"), evidence: String::from("{}") };
    let shard = journal.put_placed(shards, &[put], &[]).unwrap()[0];
    let at = |number: &str| Position::behind(number.parse().unwrap(), 0);
    let mut set = RecordSet::default();
    set.add(shard, PositionRange { start: at("99"), end: at("100") });
    let row = journal.intend(shards, &intent("u2", set.clone()), &[]).unwrap();
    assert_eq!(journal.deliveries(shards).unwrap()[0].intent.set, set);
    let behind = Checkpoint { partition: shard, position: at("100"), evidence: None };
    journal.settle(shards, &[row], &[behind]).unwrap();
    assert_eq!(journal.partitions(shards).unwrap()[0].checkpoint, at("100"));
    assert!(journal.deliveries(shards).unwrap().is_empty(), "the checkpoint has passed it");
}

#[test]
fn a_database_of_version_1_is_brought_up_to_date_with_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let held;
    {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap();
        let files = journal.register(stream.id, &[new_file("/a", 10)]).unwrap();
        journal.settle(stream.id, &[], &[checkpoint(files[0], 500)]).unwrap();
        held = Intent { version: stream.version, ..intent("u1", set(&[(files[0], 500, 900)])) };
        journal.intend(stream.id, &held, &[]).unwrap();
    }
    make_old(folder.path(), 1);
    let skipped = || JournalView::read(folder.path()).unwrap().unwrap().file("s", 1, 10).unwrap().skipped;
    assert_eq!(skipped(), Position::at(500), "a view of version 1 does not know where the file was begun");
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Journal);
    assert_eq!(skipped(), Position::at(500), "nor does anybody later");
    let stream = journal.stream("s", "one").unwrap().id;
    let row = journal.partitions(stream).unwrap().remove(0);
    assert_eq!((row.place.as_str(), row.checkpoint, row.evidence.as_str()), ("/a", Position::at(500), "e"));
    assert_eq!((row.read_to, row.copy_of, row.gone_since), (None, None, None));
    let expected = Intent { processing: String::from("version 1"), ..held };
    assert_eq!(journal.deliveries(stream).unwrap()[0].intent, expected);
}

#[test]
fn the_deliveries_of_a_database_of_version_2_are_told_apart_by_their_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let journalled: Vec<_> = {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
        let partial = set(&[(files[0], 0, 4)]);
        let intents = [(1, "u1"), (1, "u2"), (7, "u3")].map(|(version, uuid)| Intent {
            version,
            partial: partial.clone(),
            ..intent(uuid, set(&[(files[0], 0, 9)]))
        });
        intents.into_iter().map(|intent| (journal.intend(stream, &intent, &[]).unwrap(), intent)).collect()
    };
    make_old(folder.path(), 2);
    let journal = open(folder.path()).journal;
    let rows = journal.deliveries(journal.stream("s", "one").unwrap().id).unwrap();
    let as_version = |(id, intent): (DeliveryRowId, Intent)| {
        let processing = format!("version {}", intent.version);
        DeliveryRow { id, settled: false, intent: Intent { processing, ..intent } }
    };
    assert_eq!(rows, journalled.into_iter().map(as_version).collect::<Vec<_>>());
    let left = journal.settle(journal.stream("s", "one").unwrap().id, &[], &[]).unwrap();
    assert!(left.deliveries == 3 && left.ranges >= 6, "{left:?}");
}

fn batches(list: &[(PartitionId, u64, u64)]) -> Batches {
    let mut batches = Batches::default();
    for &(partition, start, end) in list {
        let batch = Batch { range: PositionRange::new(start, end), arrival_ms: 1_700_000_000_123, failed_ms: None };
        batches.add(partition, batch);
    }
    batches
}

#[test]
fn the_deliveries_of_a_database_of_version_4_have_no_requests_and_new_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let files = {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
        journal.intend(stream, &intent("u1", set(&[(files[0], 0, 9)])), &[]).unwrap();
        files
    };
    make_old(folder.path(), 4);
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    assert!(journal.requests(stream).unwrap().is_empty());
    let plan = [crate::requests::Request::planned(0, 1)];
    let held = intent("u2", set(&[(files[0], 9, 12)]));
    let delivery = journal.intend_requests(stream, &held, &[], &plan).unwrap();
    assert_eq!(journal.requests(stream).unwrap()[&delivery].requests, plan);
    assert_eq!(journal.deliveries(stream).unwrap().len(), 2);
}

#[test]
fn the_deliveries_of_a_database_of_version_5_are_addressed_to_nobody_and_new_ones_to_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let addressed = |uuid: &str, file, end: u64| Intent {
        addressee: String::from("web-2026-11-21"),
        ..intent(uuid, set(&[(file, end - 3, end)]))
    };
    let plan = [crate::requests::Request::planned(0, 3)];
    let (file, old) = {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let file = journal.register(stream, &[new_file("/a", 10)]).unwrap()[0];
        (file, journal.intend_requests(stream, &addressed("u1", file, 9), &[], &plan).unwrap())
    };
    make_old(folder.path(), 5);
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let new = journal.intend_requests(stream, &addressed("u2", file, 12), &[], &plan).unwrap();
    let found: Vec<_> =
        journal.deliveries(stream).unwrap().into_iter().map(|row| (row.id, row.intent.addressee)).collect();
    assert_eq!(found, [(old, String::new()), (new, String::from("web-2026-11-21"))]);
    assert_eq!(journal.requests(stream).unwrap()[&old].requests, plan, "and they keep their requests");
}

#[test]
fn the_deliveries_of_a_database_of_version_3_have_no_batches_and_new_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let (files, held);
    {
        let journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
        held = Intent { batches: batches(&[(files[0], 0, 20)]), ..intent("u1", set(&[(files[0], 5, 9)])) };
        journal.intend(stream, &held, &[]).unwrap();
        assert_eq!(journal.deliveries(stream).unwrap()[0].intent, held);
    }
    make_old(folder.path(), 3);
    let Opened { journal, start } = open(folder.path());
    assert_eq!(start, Start::Journal);
    let stream = journal.stream("s", "one").unwrap().id;
    let without = Intent { batches: Batches::default(), ..held.clone() };
    assert_eq!(journal.deliveries(stream).unwrap()[0].intent, without);
    let new = Intent { uuid: String::from("u2"), ..held };
    journal.intend(stream, &new, &[]).unwrap();
    assert_eq!(journal.deliveries(stream).unwrap()[1].intent, new);
}

#[test]
fn batches_stay_with_what_is_pending_and_go_with_its_settlement() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let files = journal.register(stream, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
    let both = batches(&[(files[0], 0, 5), (files[0], 5, 20), (files[1], 3, 4), (files[1], 9, 30)]);
    let held = set(&[(files[0], 2, 12), (files[1], 3, 4), (files[1], 9, 10)]);
    let row = journal.intend(stream, &Intent { batches: both.clone(), ..intent("u1", held) }, &[]).unwrap();
    assert_eq!(journal.settle(stream, &[], &[]).unwrap(), Left { deliveries: 1, ranges: 3 + 4 / 2 });
    journal.shrink(row, &set(&[(files[0], 2, 12), (files[1], 3, 4)])).unwrap();
    assert_eq!(journal.deliveries(stream).unwrap()[0].intent.batches, both);
    journal.shrink(row, &set(&[(files[0], 2, 12)])).unwrap();
    let left = journal.deliveries(stream).unwrap().remove(0).intent;
    assert_eq!(left.batches, batches(&[(files[0], 0, 5), (files[0], 5, 20)]));
    assert_eq!(left.needed(files[0], Position::BEGINNING).map(|needed| needed.start), Some(Position::BEGINNING));
    assert_eq!(left.needed(files[0], Position::at(1)).map(|needed| needed.start), Some(Position::at(1)));
    assert_eq!(left.needed(files[1], Position::BEGINNING), None);
    assert_eq!(journal.settle(stream, &[row], &[]).unwrap(), Left { deliveries: 1, ranges: 3 });
    assert!(journal.deliveries(stream).unwrap()[0].intent.batches.is_empty());
}

#[test]
fn a_delivery_whose_batches_are_damaged_is_known_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).journal;
    let stream = journal.stream("s", "one").unwrap().id;
    let files = journal.register(stream, &[new_file("/a", 10)]).unwrap();
    let held = Intent { batches: batches(&[(files[0], 0, 20)]), ..intent("u1", set(&[(files[0], 5, 9)])) };
    journal.intend(stream, &held, &[]).unwrap();
    let connection = Connection::open(folder.path().join("hydrant.db")).unwrap();
    for damaged in ["X''", "X'00'", "X'8080'", "X'5000FF'"] {
        connection.execute(&format!("UPDATE delivery_records SET batches = {damaged}"), []).unwrap();
        let found = journal.deliveries(stream).unwrap().remove(0).intent;
        assert_eq!(found, Intent { batches: Batches::default(), ..held.clone() }, "{damaged}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// (file, length) parts of one new delivery, each behind what was taken of that file before.
    Intend(Vec<(usize, u64)>),
    Settle(prop::sample::Index),
    /// A file's checkpoint goes to this part of what was taken of it.
    Move(usize, f64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec((0usize..2, 1u64..9), 1..4).prop_map(Step::Intend),
        4 => any::<prop::sample::Index>().prop_map(Step::Settle),
        3 => (0usize..2, 0.0f64..=1.0).prop_map(|(file, part)| Step::Move(file, part)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A settled delivery is there until the checkpoints have passed all it holds; nothing else ever goes.
    #[test]
    fn only_what_is_settled_and_passed_is_forgotten(steps in proptest::collection::vec(step(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path()).journal;
        let stream = journal.stream("s", "one").unwrap().id;
        let files = journal.register(stream, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
        let (mut taken, mut checkpoints) = ([0u64; 2], [0u64; 2]);
        let mut known: BTreeMap<DeliveryRowId, (RecordSet, bool)> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Intend(parts) => {
                    let mut held = RecordSet::default();
                    for (file, length) in parts {
                        held.add(files[file], PositionRange::new(taken[file], taken[file] + length));
                        taken[file] += length;
                    }
                    let row = journal.intend(stream, &intent(&format!("u{number}"), held.clone()), &[]).unwrap();
                    known.insert(row, (held, false));
                }
                Step::Settle(which) => {
                    if known.is_empty() {
                        continue;
                    }
                    let row = *known.keys().nth(which.index(known.len())).unwrap();
                    known.get_mut(&row).unwrap().1 = true;
                    journal.settle(stream, &[row], &[]).unwrap();
                }
                Step::Move(file, part) => {
                    let to = (taken[file] as f64 * part) as u64;
                    checkpoints[file] = checkpoints[file].max(to);
                    journal.settle(stream, &[], &[checkpoint(files[file], to)]).unwrap();
                }
                Step::Reopen => {
                    drop(journal);
                    journal = open(folder.path()).journal;
                }
            }
            known.retain(|_, (held, settled)| {
                !*settled || (0..2).any(|file| held.end(files[file]).is_some_and(|end| end.offset() > checkpoints[file]))
            });
            let found: BTreeMap<_, _> = journal
                .deliveries(stream)
                .unwrap()
                .into_iter()
                .map(|row| (row.id, (row.intent.set, row.settled)))
                .collect();
            prop_assert_eq!(&found, &known);
            let stored: Vec<_> = journal.partitions(stream).unwrap().iter().map(|row| row.checkpoint.offset()).collect();
            prop_assert_eq!(stored, checkpoints);
        }
    }
}
