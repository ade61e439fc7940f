//! Error objects read once more, from wherever an earlier life has left them.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::batches::{Batches, ToldOf};
use crate::config::model::ObjectStoreConfig;
use crate::config::{self};
use crate::journal::{Checkpoint, Journal};
use crate::memory::MemoryBudget;
use crate::redrive::{Job, derived};
use crate::source::SourceCounters;

/// What a line is.
#[derive(Debug, Clone)]
enum Kind {
    /// Of a record that comes in before or behind processing.
    Failed {
        is_processed: bool,
        raw: Vec<u8>,
    },
    Unreadable,
    Blank,
}

fn kind() -> impl Strategy<Value = Kind> {
    let failed = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        6 => failed.prop_map(|(is_processed, raw)| Kind::Failed { is_processed, raw }),
        1 => Just(Kind::Unreadable),
        1 => Just(Kind::Blank),
    ]
}

fn line(kind: &Kind) -> String {
    match kind {
        Kind::Failed { is_processed, raw } => {
            let code = if *is_processed { "HttpEndpoint.RequestTimeout" } else { "Lambda.FunctionError" };
            let raw = STANDARD.encode(raw);
            format!(r#"{{"rawData":"{raw}","errorCode":"{code}","attemptsMade":2,"arrivalTimestamp":1700000000000}}"#)
        }
        Kind::Unreadable => "{\"rawData\":1}".to_owned(),
        Kind::Blank => " \r".to_owned(),
    }
}

/// One record as it left the source: where its line begins and ends, its stage and its bytes.
type Record = (u64, u64, bool, Vec<u8>);

/// What came of one object in one life.
#[derive(Debug, Default)]
struct Life {
    opened: Option<u64>,
    records: Vec<Record>,
    /// Of each chunk, its range.
    chunks: Vec<(u64, u64)>,
    end: u64,
    is_gone: bool,
}

struct World {
    folder: tempfile::TempDir,
    journal: Journal,
    stream: i64,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("state")).unwrap().journal;
        let stream = journal.stream("web:redrive", "one").unwrap().id;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { folder, journal, stream, runtime }
    }

    /// An object with these bytes, old enough to be read.
    fn put(&self, number: usize, bytes: &[u8]) {
        let name = format!("web-1-2026-11-21-22-58-{number:02}-0f8fad5b-d9cb-469f-a165-70867728950e");
        let folder = self.folder.path().join("backup/http-endpoint-failed");
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = std::fs::File::create(folder.join(name)).unwrap();
        file.write_all(bytes).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }

    /// One life of a source with chunks of about so many bytes.
    fn live(&self, chunk: u64, told: ToldOf) -> HashMap<PartitionId, Life> {
        let budget = MemoryBudget::new(64 << 20).join();
        let (events, mut received) = mpsc::channel(4);
        let context = SourceContext {
            stream_name: "web:redrive".to_owned(),
            stream: self.stream,
            scanned: true,
            journal: self.journal.clone(),
            budget,
            copies: 1,
            cuts: HashMap::new(),
            told,
            events,
            stop: CancellationToken::new(),
            drain: true,
            counters: Arc::new(SourceCounters::default()),
        };
        let guard = self.runtime.enter();
        let source = RedriveSource { chunk, ..RedriveSource::new(config_of(self.folder.path()), context) };
        drop(guard);
        let reading = std::thread::spawn(move || Box::new(source).run());
        let mut lives = HashMap::<PartitionId, Life>::new();
        let mut has_ended = false;
        while let Some(event) = received.blocking_recv() {
            match event {
                SourceEvent::Opened { partition, checkpoint } => {
                    let life = lives.entry(partition.id()).or_default();
                    assert!(life.opened.replace(checkpoint.offset()).is_none());
                    life.end = checkpoint.offset();
                }
                SourceEvent::Chunk(chunk) => lives.get_mut(&chunk.partition.id()).expect("opened").take(&chunk),
                SourceEvent::Skipped { partition, range } => {
                    let life = lives.get_mut(&partition).expect("opened");
                    assert_eq!(life.end, range.start.offset());
                    life.end = range.end.offset();
                }
                SourceEvent::Gone(partition) => lives.get_mut(&partition).expect("opened").is_gone = true,
                SourceEvent::End => has_ended = true,
                SourceEvent::Refused(_)
                | SourceEvent::Awaited(_)
                | SourceEvent::Unreadable { .. }
                | SourceEvent::WaitsForRoom => {
                    panic!("nothing of the kind")
                }
            }
        }
        reading.join().unwrap().unwrap();
        assert!(has_ended);
        lives
    }

    fn settle(&self, partition: PartitionId, at: u64) {
        let moved = Checkpoint { partition, position: Position::at(at), evidence: None };
        self.journal.settle(self.stream, &[], &[moved]).unwrap();
    }
}

impl Life {
    fn take(&mut self, chunk: &Chunk) {
        let range = chunk.range(0, chunk.records());
        assert_eq!(self.end, range.start.offset(), "no gap");
        for index in 0..chunk.records() {
            let (range, earlier) = (chunk.range(index, index + 1), chunk.earlier(index).expect("a failed record"));
            assert_eq!((earlier.attempts, earlier.arrival_ms), (2, 1_700_000_000_000));
            self.records.push((
                range.start.offset(),
                range.end.offset(),
                chunk.is_processed,
                chunk.record(index).to_vec(),
            ));
        }
        self.chunks.push((range.start.offset(), range.end.offset()));
        self.end = range.end.offset();
    }
}

fn config_of(folder: &Path) -> RedriveSourceConfig {
    let yaml = format!(
        "
state_dir: {0}/state
delivery_streams:
  - name: web
    source: {{ file: {{ paths: [\"{0}/*.log\"] }} }}
    destination: {{ directory: {{ path: \"{0}/out\" }} }}
    backup: {{ directory: {{ path: \"{0}/backup\", error_output_prefix: \"!{{firehose:error-output-type}}/\" }} }}
",
        folder.display()
    );
    let path = folder.join("hydrant.yaml");
    std::fs::write(&path, yaml).unwrap();
    let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    let began = record::now();
    let job = Job { stream: "web".to_owned(), prefix: None, written_by: None, since: None, rate: None, began };
    match derived(&config.delivery_streams[0], &job).source {
        crate::config::model::SourceConfig::Redrive(redrive) => {
            assert!(matches!(redrive.error_output, ObjectStoreConfig::Directory(..)));
            *redrive
        }
        crate::config::model::SourceConfig::File(_) | crate::config::model::SourceConfig::Kinesis(_) => {
            panic!("error objects are read")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_any_line_on_the_same_records_come_in_the_same_batches(
        kinds in prop::collection::vec(kind(), 1..40),
        has_last_end in any::<bool>(),
        is_gzip in any::<bool>(),
        chunks in (20u64..2_000, 20u64..2_000),
        cut in 0.0..1.0,
    ) {
        let world = World::new();
        let (mut text, mut expected) = (String::new(), Vec::new());
        for (number, kind) in kinds.iter().enumerate() {
            let start = text.len() as u64;
            text.push_str(&line(kind));
            if has_last_end || number + 1 < kinds.len() {
                text.push('\n');
            }
            if let Kind::Failed { is_processed, raw } = kind {
                expected.push((start, text.len() as u64, *is_processed, raw.clone()));
            }
        }
        let bytes = match is_gzip {
            true => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            false => text.into_bytes(),
        };
        world.put(1, &bytes);
        let mut first = world.live(chunks.0, ToldOf::default());
        prop_assert_eq!(first.len(), 1);
        let (partition, first) = first.drain().next().unwrap();
        prop_assert_eq!(&first.records, &expected);
        prop_assert!(first.is_gone && first.opened == Some(0));

        // It was killed, and nothing but the checkpoint is known; or everything is.
        let borders: Vec<_> = first.chunks.iter().map(|chunk| chunk.0).collect();
        let checkpoint = borders.get((cut * borders.len() as f64) as usize).copied().unwrap_or(0);
        world.settle(partition, checkpoint);
        let (mut batches, mut told) = (Batches::default(), ToldOf::default());
        for &(start, end) in first.chunks.iter().filter(|chunk| chunk.0 >= checkpoint) {
            batches.add(partition, Batch { range: PositionRange::new(start, end), arrival_ms: 5, failed_ms: None });
        }
        told.add(&batches);
        let mut second = world.live(chunks.1, told);
        let second = second.remove(&partition).unwrap();
        let left: Vec<_> = expected.into_iter().filter(|record| record.0 >= checkpoint).collect();
        prop_assert_eq!(second.opened, Some(checkpoint));
        prop_assert_eq!(&second.records, &left);
        let batches: Vec<_> = first.chunks.into_iter().filter(|chunk| chunk.0 >= checkpoint).collect();
        prop_assert_eq!(second.chunks, batches);

        world.journal.mark_gone(&[partition], 1, true).unwrap();
        prop_assert!(world.live(chunks.0, ToldOf::default()).is_empty(), "it was read to its end");
    }
}

#[test]
fn objects_of_many_pages_are_each_read_once_and_what_was_begun_comes_first() {
    let world = World::new();
    for number in 0..(REGISTERED + 7) {
        let kind = Kind::Failed { is_processed: true, raw: number.to_string().into_bytes() };
        let name = format!("web-1-2026-11-21-22-58-00-0f8fad5b-d9cb-469f-a165-{number:012}");
        let folder = world.folder.path().join("backup/http-endpoint-failed");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&name), line(&kind)).unwrap();
        let file = std::fs::File::options().write(true).open(folder.join(&name)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }
    let first = world.live(1000, ToldOf::default());
    assert_eq!(first.len(), REGISTERED + 7);
    let raw = |life: &Life| String::from_utf8(life.records[0].3.clone()).unwrap().parse::<usize>().unwrap();
    let mut found: Vec<_> = first.values().map(raw).collect();
    found.sort_unstable();
    assert_eq!(found, (0..REGISTERED + 7).collect::<Vec<_>>());
    let (&unfinished, _) = first.iter().max_by_key(|(_, life)| raw(life)).unwrap();
    let finished: Vec<_> = first.keys().copied().filter(|id| *id != unfinished).collect();
    world.journal.mark_gone(&finished, 1, true).unwrap();
    let second = world.live(1000, ToldOf::default());
    assert_eq!(second.keys().collect::<Vec<_>>(), [&unfinished]);
}
