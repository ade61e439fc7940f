//! Kinesis streams by polling, through the real binary: every record of every shard is in the objects, once and in its order.

mod kills;
mod records;
mod resharding;
mod starting;
mod troubles;

use serde_json::{Value, json};

use crate::support::kinesis::KinesisStream;
use crate::support::{Finished, Hydrant, Objects, Scratch, config, directory, fast_buffering, wait_until};

const FIRST: &str = "shardId-000000000000";
const SECOND: &str = "shardId-000000000001";

/// A Kinesis stream → a destination, in small and early objects.
fn delivery_stream(name: &str, stream: &KinesisStream, endpoint: &str, destination: Value) -> Value {
    json!({
        "name": name,
        "source": { "kinesis": {
            "stream": stream.name(),
            "region": "eu-west-1",
            "endpoint_url": endpoint,
            "poll_interval_ms": 200,
        } },
        "buffering": fast_buffering(),
        "destination": destination,
    })
}

/// One delivery stream that reads one Kinesis stream into `out`.
struct Clicks {
    scratch: Scratch,
    config: Value,
}

impl Clicks {
    fn of(stream: &KinesisStream, endpoint: &str) -> Self {
        let scratch = Scratch::new();
        let destination = directory(&scratch.out());
        let config = config(&scratch, [delivery_stream("s", stream, endpoint, destination)]);
        Self { scratch, config }
    }

    /// With this key of the source.
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.delivery_stream()["source"]["kinesis"][key] = value.into();
        self
    }

    fn delivery_stream(&mut self) -> &mut Value {
        &mut self.config["delivery_streams"][0]
    }

    fn run(&self) -> Hydrant {
        Hydrant::run(&self.scratch, &self.config)
    }

    fn drain(&self) -> Finished {
        Hydrant::drain(&self.scratch, &self.config)
    }

    fn lines(&self) -> Vec<String> {
        Objects::read(&self.scratch.out()).lines()
    }

    /// These are delivered, and nothing besides.
    #[track_caller]
    fn arrive(&self, expected: &[String]) {
        let mut objects = Objects::of(&self.scratch.out());
        wait_until("everything is delivered", || {
            objects.look();
            objects.lines_total() >= expected.len()
        });
        assert_once(&objects.lines(), expected);
    }

    /// Two drains make it these, and nothing besides.
    #[track_caller]
    fn drains_to(&self, expected: &[String]) {
        for _ in 0..2 {
            self.drain();
            assert_once(&self.lines(), expected);
        }
    }
}

/// What [`KinesisStream::put_numbers`] puts.
fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{{\"n\":{n}}}")).collect()
}

/// Each of the expected is there once, and nothing besides.
#[track_caller]
fn assert_once(lines: &[String], expected: &[String]) {
    let (mut lines, mut expected) = (lines.to_vec(), expected.to_vec());
    lines.sort_unstable();
    expected.sort_unstable();
    if lines == expected {
        return;
    }
    let (count, wanted) = (lines.len(), expected.len());
    let doubled: Vec<_> = lines.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    let missing: Vec<_> = expected.iter().filter(|line| lines.binary_search(line).is_err()).collect();
    let strange: Vec<_> = lines.iter().filter(|line| expected.binary_search(line).is_err()).collect();
    panic!("{count} for {wanted}; doubled: {doubled:?}; missing: {missing:?}; strange: {strange:?}");
}
