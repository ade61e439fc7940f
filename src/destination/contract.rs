//! What every destination has to do, run against each of them.

pub(crate) mod s3_server;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::directory::DirectoryDestination;
use super::s3::S3Destination;
use super::{Destination, Existence, Object, Put};
use crate::config::model::DirectoryConfig;
use crate::encode::payload::{Payload, PayloadWriter};
use s3_server::S3Server;

/// Reads an object back, past the destination.
type Read = Box<dyn Fn(&str) -> Option<Vec<u8>>>;

/// A destination, a look at what it holds, and what it needs to live.
struct Fixture {
    destination: Arc<dyn Destination>,
    read: Read,
    /// For payloads of destinations without a staging folder.
    state: tempfile::TempDir,
    _keep: Box<dyn Any>,
}

async fn directory() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("out");
    let destination =
        Arc::new(DirectoryDestination::open(&DirectoryConfig { path: path.clone() }, "instance", TaskTracker::new()));
    let read = Box::new(move |key: &str| std::fs::read(path.join(key)).ok());
    Fixture { destination, read, state: tempfile::tempdir().unwrap(), _keep: Box::new(root) }
}

async fn s3() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let server = Arc::new(S3Server::start(root.path(), "127.0.0.1:0").await);
    server.create_bucket("lake");
    let config = super::s3::tests::config(&server.url());
    let destination = Arc::new(S3Destination::open_with(&config, super::s3::tests::loader).await);
    let reader = Arc::clone(&server);
    let read = Box::new(move |key: &str| reader.object("lake", key));
    Fixture { destination, read, state: tempfile::tempdir().unwrap(), _keep: Box::new((server, root)) }
}

impl Fixture {
    async fn put(&self, object: &Object, may_exist: bool) -> Put {
        self.destination.put(object, may_exist).await.unwrap()
    }

    async fn exists(&self, key: &str) -> Existence {
        self.destination.exists(key).await.unwrap()
    }

    /// A payload of these blocks, in a file once it is longer than `memory_max`.
    fn payload(&self, name: &str, memory_max: u64, blocks: &[Bytes]) -> Payload {
        let folder: &Path = self.destination.staging().unwrap_or(self.state.path());
        let mut writer = PayloadWriter::new(folder, name, memory_max);
        blocks.iter().for_each(|block| writer.append(block).unwrap());
        writer.finish()
    }
}

fn object(key: &str, payload: Payload) -> Object {
    Object { key: key.to_owned(), payload: Arc::new(payload), content_encoding: None }
}

fn small(key: &str, content: &'static str) -> Object {
    object(key, Payload::from_bytes(content))
}

async fn a_put_creates_and_the_first_object_stays(fixture: Fixture) {
    assert_eq!(fixture.put(&small("a/b/c", "first"), false).await, Put::Created);
    assert_eq!(fixture.put(&small("a/b/c", "second"), true).await, Put::AlreadyThere);
    assert_eq!(fixture.put(&small("a/b/c", "third"), false).await, Put::AlreadyThere);
    assert_eq!((fixture.read)("a/b/c").unwrap(), b"first");
}

async fn existence_is_known_before_and_after(fixture: Fixture) {
    assert_eq!(fixture.exists("x/y").await, Existence::Absent);
    fixture.put(&small("x/y", "1"), false).await;
    assert_eq!(fixture.exists("x/y").await, Existence::Present);
    assert_eq!(fixture.exists("x/z").await, Existence::Absent);
    assert_eq!(fixture.exists("x/y/z").await, Existence::Absent);
}

async fn an_empty_payload_is_an_object(fixture: Fixture) {
    assert_eq!(fixture.put(&small("empty", ""), false).await, Put::Created);
    assert_eq!(fixture.put(&object("no-parts", fixture.payload("p", 10, &[])), false).await, Put::Created);
    assert_eq!((fixture.read)("empty").unwrap(), b"");
    assert_eq!((fixture.read)("no-parts").unwrap(), b"");
    assert_eq!(fixture.put(&small("empty", ""), true).await, Put::AlreadyThere);
}

async fn payloads_in_memory_and_in_files_arrive_whole(fixture: Fixture) {
    let blocks: Vec<Bytes> = (0..40_u8).map(|i| Bytes::from(vec![i; 70_001])).collect();
    let content = blocks.concat();
    for (key, memory_max) in [("in-memory", u64::MAX), ("in-a-file", 0), ("moved-to-a-file", 1_000_000)] {
        let object = object(key, fixture.payload(key, memory_max, &blocks));
        assert_eq!(object.payload.file().is_some(), memory_max < u64::MAX);
        assert_eq!(fixture.put(&object, false).await, Put::Created);
        assert!((fixture.read)(key).unwrap() == content, "{key}");
        // The same object once more, as after a lost answer: its file may have become the object.
        assert_eq!(fixture.put(&object, true).await, Put::AlreadyThere);
        drop(object);
        assert!((fixture.read)(key).unwrap() == content, "{key}");
    }
}

async fn keys_may_hold_unusual_characters(fixture: Fixture) {
    for key in ["day=2026-01-02/a+b c.gz", "ü/日本語/ñ", "a'b\"c(d)*!~", "100%/x&y;z?q#f,@$:", "back\\slash"] {
        assert_eq!(fixture.exists(key).await, Existence::Absent, "{key}");
        assert_eq!(fixture.put(&small(key, "content"), false).await, Put::Created, "{key}");
        assert_eq!(fixture.exists(key).await, Existence::Present, "{key}");
        assert_eq!((fixture.read)(key).unwrap(), b"content", "{key}");
    }
}

async fn of_concurrent_puts_of_one_key_one_creates(fixture: Fixture) {
    let mut puts = JoinSet::new();
    for i in 0..16_usize {
        let destination = Arc::clone(&fixture.destination);
        let blocks = [Bytes::from(vec![b'a' + i as u8; 100_000])];
        let object = object("one", fixture.payload(&format!("p{i}"), if i % 2 == 0 { 0 } else { u64::MAX }, &blocks));
        puts.spawn(async move { (i, destination.put(&object, false).await.unwrap()) });
    }
    let outcomes = puts.join_all().await;
    let created: Vec<usize> = outcomes.iter().filter(|(_, put)| *put == Put::Created).map(|(i, _)| *i).collect();
    assert_eq!(created.len(), 1, "{outcomes:?}");
    assert!((fixture.read)("one").unwrap() == vec![b'a' + created[0] as u8; 100_000]);
}

macro_rules! contract {
    ($($behaviour:ident),+ $(,)?) => {
        mod of_directory {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour(super::directory().await).await; })+
        }
        mod of_s3 {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour(super::s3().await).await; })+
        }
    };
}

contract!(
    a_put_creates_and_the_first_object_stays,
    existence_is_known_before_and_after,
    an_empty_payload_is_an_object,
    payloads_in_memory_and_in_files_arrive_whole,
    keys_may_hold_unusual_characters,
    of_concurrent_puts_of_one_key_one_creates,
);
