//! The tables of the state database, and how an older one becomes the current one.
//!
//! Documented for people in `docs/state-database.md`; both change together. `PRAGMA user_version` holds the version.

use rusqlite::Connection;

/// The version that this program writes.
pub const VERSION: i64 = 7;

const TABLES: &str = "
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE stream (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    version       INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    scanned       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE source_partition (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    stream     INTEGER NOT NULL REFERENCES stream (id) ON DELETE CASCADE,
    uuid       TEXT NOT NULL UNIQUE,
    place      TEXT NOT NULL,
    device     INTEGER NOT NULL,
    inode      INTEGER NOT NULL,
    checkpoint INTEGER NOT NULL,
    sequence_number TEXT NOT NULL DEFAULT '',
    evidence   TEXT NOT NULL DEFAULT '',
    read_to    INTEGER NOT NULL DEFAULT 0,
    read_hash  TEXT NOT NULL DEFAULT '',
    copy_of    INTEGER,
    gone_since INTEGER,
    skipped_to  INTEGER NOT NULL DEFAULT 0,
    shared_to   INTEGER NOT NULL DEFAULT 0,
    shared_with INTEGER
) STRICT;
CREATE INDEX source_partition_of_stream ON source_partition (stream, place);

CREATE TABLE delivery (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    stream       INTEGER NOT NULL REFERENCES stream (id) ON DELETE CASCADE,
    uuid         TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL CHECK (kind IN ('fate', 'copy')),
    output       TEXT NOT NULL,
    destination  TEXT NOT NULL,
    format       TEXT NOT NULL,
    key          TEXT NOT NULL,
    version      INTEGER NOT NULL,
    arrival_ms   INTEGER NOT NULL,
    records      INTEGER NOT NULL,
    settled      INTEGER NOT NULL DEFAULT 0,
    processing   TEXT NOT NULL DEFAULT '',
    ranges       INTEGER NOT NULL DEFAULT 0,
    batches      INTEGER NOT NULL DEFAULT 0,
    addressee    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX delivery_of_stream ON delivery (stream, settled);

CREATE TABLE delivery_records (
    delivery       INTEGER NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    partition      INTEGER NOT NULL REFERENCES source_partition (id) ON DELETE CASCADE,
    first_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL,
    end_sequence   TEXT NOT NULL DEFAULT '',
    ranges         BLOB,
    partial        BLOB,
    batches        BLOB,
    PRIMARY KEY (delivery, partition)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_records_of_partition ON delivery_records (partition);

CREATE TABLE delivery_request (
    delivery     INTEGER NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    first_record INTEGER NOT NULL,
    end_record   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('planned', 'acknowledged', 'failed')),
    reason       TEXT,
    records      BLOB,
    PRIMARY KEY (delivery, first_record)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery_child (
    delivery    INTEGER PRIMARY KEY REFERENCES delivery (id) ON DELETE CASCADE,
    uuid        TEXT NOT NULL UNIQUE,
    key         TEXT NOT NULL,
    destination TEXT NOT NULL
) STRICT;
";

/// From version 1: what was read of a partition at least, which copies wait for their original, which files are gone, and where
/// they were begun (that was not stored: what lies before the checkpoint may have been skipped, so it counts as that); of which
/// records a delivery holds only a part.
const FROM_1: &str = "
ALTER TABLE source_partition ADD COLUMN read_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_partition ADD COLUMN read_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE source_partition ADD COLUMN copy_of INTEGER;
ALTER TABLE source_partition ADD COLUMN gone_since INTEGER;
ALTER TABLE source_partition ADD COLUMN skipped_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_partition ADD COLUMN shared_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source_partition ADD COLUMN shared_with INTEGER;
UPDATE source_partition SET skipped_to = checkpoint;
ALTER TABLE delivery_records ADD COLUMN partial BLOB;
";

/// From version 2: how the records of a delivery were processed. That was not stored, but it was the same for all deliveries of
/// one configuration; no fingerprint looks like that, so it counts as another processing than any of now. And in how many ranges
/// its records lie, of which each takes two bytes at least.
const FROM_2: &str = "
ALTER TABLE delivery ADD COLUMN processing TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery ADD COLUMN ranges INTEGER NOT NULL DEFAULT 0;
UPDATE delivery SET processing = 'version ' || version, ranges = (
    SELECT count(*) + coalesce(sum(coalesce(length(ranges), 0) + coalesce(length(partial), 0)), 0) / 2
    FROM delivery_records WHERE delivery_records.delivery = delivery.id);
";

/// From version 3: in which batches records were processed. Where that is not known, they are read again in whatever batches.
const FROM_3: &str = "
ALTER TABLE delivery ADD COLUMN batches INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery_records ADD COLUMN batches BLOB;
";

/// From version 4: what deliveries to receivers are cut into, and what has failed of them.
const FROM_4: &str = "
CREATE TABLE delivery_request (
    delivery     INTEGER NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    first_record INTEGER NOT NULL,
    end_record   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('planned', 'acknowledged', 'failed')),
    reason       TEXT,
    records      BLOB,
    PRIMARY KEY (delivery, first_record)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery_child (
    delivery    INTEGER PRIMARY KEY REFERENCES delivery (id) ON DELETE CASCADE,
    uuid        TEXT NOT NULL UNIQUE,
    key         TEXT NOT NULL,
    destination TEXT NOT NULL
) STRICT;
";

/// From version 5: whom a delivery is addressed to at its destination. There was nobody.
const FROM_5: &str = "ALTER TABLE delivery ADD COLUMN addressee TEXT NOT NULL DEFAULT '';";

/// From version 6: sequence numbers, which only shards of Kinesis streams have; and an object is found by its place.
const FROM_6: &str = "
ALTER TABLE source_partition ADD COLUMN sequence_number TEXT NOT NULL DEFAULT '';
ALTER TABLE delivery_records ADD COLUMN end_sequence TEXT NOT NULL DEFAULT '';
DROP INDEX IF EXISTS source_partition_of_stream;
CREATE INDEX source_partition_of_stream ON source_partition (stream, place);
";

/// What leads from one version to the next, from version 1 on.
const STEPS: [&str; VERSION as usize - 1] = [FROM_1, FROM_2, FROM_3, FROM_4, FROM_5, FROM_6];

/// 0 for a database in which there is nothing yet.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes the tables where there are none, and brings older ones up to date. `Err(found)` is a version of the future.
pub fn prepare(connection: &mut Connection) -> rusqlite::Result<Result<(), i64>> {
    match version(connection)? {
        VERSION => Ok(Ok(())),
        0 => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            let instance = uuid::Uuid::new_v4().to_string();
            transaction.execute("INSERT INTO meta (name, value) VALUES ('instance', ?1)", [instance])?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(Ok(()))
        }
        older @ 1..VERSION => {
            let transaction = connection.transaction()?;
            for step in &STEPS[older as usize - 1..] {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(Ok(()))
        }
        newer => Ok(Err(newer)),
    }
}
