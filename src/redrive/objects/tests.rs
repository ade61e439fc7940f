//! Both kinds of place hold the same objects: listings and readers against a model, and what happens meanwhile.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::testing::InMemory;
use super::*;
use crate::destination::contract::s3_server::S3Server;
use crate::destination::s3::tests as s3_tests;

const LIMITS: RetryLimits = RetryLimits { delay_max: Some(Duration::from_millis(1)), speed: None };

/// A place, and the folder in which its objects lie as files.
struct Fixture {
    objects: Arc<dyn Objects>,
    root: PathBuf,
    _keep: Box<dyn Any>,
}

impl Fixture {
    fn put(&self, key: &str, content: &[u8]) {
        write(&self.root, key, content);
    }

    async fn keys(&self, prefixes: &[&str]) -> Vec<String> {
        keys(self.objects.clone(), prefixes).await
    }

    async fn find(&self, key: &str) -> ErrorObject {
        Listing::new(self.objects.clone(), vec![key.to_owned()], LIMITS).next().await.unwrap().unwrap()
    }

    async fn read(&self, object: &ErrorObject, from: u64) -> Result<Vec<u8>, ObjectError> {
        let mut reader = ObjectReader::open(self.objects.clone(), object.clone(), from, LIMITS).await?;
        let mut content = Vec::new();
        while let Some(bytes) = reader.next().await? {
            assert!(!bytes.is_empty());
            content.extend_from_slice(&bytes);
        }
        Ok(content)
    }
}

fn write(root: &Path, key: &str, content: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn keys(objects: Arc<dyn Objects>, prefixes: &[&str]) -> Vec<String> {
    let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
    let mut listing = Listing::new(objects, prefixes, LIMITS);
    let mut keys = Vec::new();
    while let Some(object) = listing.next().await.unwrap() {
        keys.push(object.key);
    }
    keys
}

async fn places() -> Vec<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let directory = Fixture { objects: Arc::new(Directory::new(&root)), root, _keep: Box::new(folder) };
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), "127.0.0.1:0").await;
    server.create_bucket("lake");
    let config = s3_tests::config(&server.url());
    let objects = Arc::new(S3Destination::open_with(&config, s3_tests::loader).await);
    let bucket = Fixture { objects, root: folder.path().join("lake"), _keep: Box::new((server, folder)) };
    vec![directory, bucket]
}

#[tokio::test]
async fn objects_come_in_the_order_of_their_keys() {
    for place in places().await {
        assert!(place.keys(&[""]).await.is_empty());
        // A slash comes after `-` and before `0`, whatever folders say.
        for key in ["errors/a/1", "errors/a-1", "errors/a0", "errors/b", "other/x", "errors2"] {
            place.put(key, b"x");
        }
        assert_eq!(place.keys(&["errors/"]).await, ["errors/a-1", "errors/a/1", "errors/a0", "errors/b"]);
        assert_eq!(place.keys(&["errors/a"]).await, ["errors/a-1", "errors/a/1", "errors/a0"]);
        assert_eq!(place.keys(&["other/", "errors/b"]).await, ["errors/b", "other/x"]);
        assert!(place.keys(&["none/at/all"]).await.is_empty());
        assert!(place.keys(&[]).await.is_empty());
    }
}

#[tokio::test]
async fn more_objects_than_a_page_holds_are_all_found() {
    let Ok([_, bucket]) = <[Fixture; 2]>::try_from(places().await) else { panic!("two places") };
    let all: Vec<_> = (0..1100).map(|number| format!("errors/{number:04}")).collect();
    for key in &all {
        bucket.put(key, b"x");
    }
    assert_eq!(bucket.keys(&["errors/"]).await, all);
}

#[tokio::test]
async fn objects_are_read_from_any_offset() {
    let content: Vec<u8> = (0..300_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    for place in places().await {
        place.put("a", &content);
        place.put("empty", b"");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&content[..1000]).unwrap();
        let mut members = gzip.finish().unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&content[1000..]).unwrap();
        members.extend(gzip.finish().unwrap());
        place.put("z", &members);
        let (plain, gzip) = (place.find("a").await, place.find("z").await);
        let all = content.len();
        for from in [0, 1, 999, 1000, 1001, 150_000, all - 1, all] {
            assert!(place.read(&plain, from as u64).await.unwrap() == content[from..], "{from}");
            assert!(place.read(&gzip, from as u64).await.unwrap() == content[from..], "{from} of gzip");
        }
        assert!(place.read(&plain, all as u64 + 1).await.unwrap().is_empty());
        assert!(place.read(&place.find("empty").await, 0).await.unwrap().is_empty());
        members.truncate(members.len() - 100);
        place.put("cut", &members);
        let cut = place.find("cut").await;
        assert!(matches!(place.read(&cut, 0).await, Err(ObjectError::Damaged(_))));
    }
}

#[tokio::test]
async fn an_object_that_is_another_one_by_now_is_not_read() {
    for place in places().await {
        place.put("a", b"first");
        let first = place.find("a").await;
        place.put("a", b"other and longer");
        assert!(matches!(place.read(&first, 0).await, Err(ObjectError::Changed)));
        std::fs::remove_file(place.root.join("a")).unwrap();
        assert!(matches!(place.read(&first, 0).await, Err(ObjectError::Gone)));
    }
}

#[tokio::test]
async fn a_folder_shows_only_objects() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "errors/a", b"x");
    write(root, ".hydrant/instance/payload", b"x");
    std::os::unix::fs::symlink(root.join("errors"), root.join("errors/circle")).unwrap();
    std::os::unix::fs::symlink(root.join("errors/a"), root.join("errors/link")).unwrap();
    let objects: Arc<dyn Objects> = Arc::new(Directory::new(root));
    assert_eq!(keys(objects.clone(), &[""]).await, ["errors/a", "errors/link"]);
    for prefix in ["../", "/etc/", "errors/../../"] {
        let error = objects.page(prefix, "").await.err().unwrap();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Denied, "InvalidPrefix"), "{prefix}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), "127.0.0.1:0").await;
    let config = s3_tests::config(&server.url());
    let objects = Arc::new(S3Destination::open_with(&config, s3_tests::loader).await);
    let error = Listing::new(objects, vec![String::new()], LIMITS).next().await.unwrap_err();
    assert_eq!(error.code, "NoSuchBucket", "{error}");
}

#[tokio::test]
async fn a_reader_goes_on_where_the_connection_broke() {
    let content: Vec<u8> = (0..50_000_u32).map(|number| number as u8).collect();
    let (mut objects, object) = InMemory::new(&content);
    objects.piece = 7_777;
    let mut reader = ObjectReader::open(Arc::new(objects), object, 3, LIMITS).await.unwrap();
    let mut found = Vec::new();
    while let Some(bytes) = reader.next().await.unwrap() {
        found.extend_from_slice(&bytes);
    }
    assert!(found == content[3..]);
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "-", "0", "ab"]), 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_of_any_size_show_each_key_once(all in prop::collection::vec(key(), 0..20), size in 1_usize..5, prefix in "[ab/]{0,3}") {
        let folder = tempfile::tempdir().unwrap();
        let mut model = BTreeSet::new();
        for key in all {
            let path = folder.path().join(&key);
            // A name is either a file's or a folder's.
            if std::fs::create_dir_all(path.parent().unwrap()).is_ok() && std::fs::write(&path, b"x").is_ok() {
                model.insert(key);
            }
        }
        prop_assume!(!prefix.starts_with('/') && !prefix.contains("//"));
        let objects: Arc<dyn Objects> = Arc::new(Directory::with_pages_of(folder.path(), size));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(keys(objects, &[&prefix]));
        let expected: Vec<_> = model.into_iter().filter(|key| key.starts_with(&prefix)).collect();
        prop_assert_eq!(found, expected);
    }
}
