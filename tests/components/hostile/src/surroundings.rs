//! What a guest can find out about where it runs.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::{insecure, insecure_seed, random};

use crate::Input;
use crate::behaviour::sleep;
use crate::hydrant::transform::types::Source;

pub fn clocks(seconds: u64) -> Value {
    let (wall, start) = (milliseconds(), Instant::now());
    let first = start.elapsed().as_nanos() as u64;
    sleep(seconds);
    let slept = start.elapsed().as_nanos() as u64;
    // Two of them: the keys of the second one count on from the first one's.
    let random = [RandomState::new().build_hasher().finish(), RandomState::new().build_hasher().finish()];
    json!({ "wall_ms": wall, "wall_later_ms": milliseconds(), "first_ns": first, "slept_ns": slept, "random": random })
}

pub fn stamp(record: &Input) -> Value {
    let wall = wall_clock::now();
    json!({
        "data": String::from_utf8_lossy(&record.data),
        "arrival_ms": record.approximate_arrival_timestamp,
        "wall": [wall.seconds, u64::from(wall.nanoseconds)],
        "monotonic_ns": monotonic_clock::now(),
        "random": random::get_random_bytes(8),
        "random_number": random::get_random_u64(),
        "insecure": insecure::get_insecure_random_bytes(8),
        "insecure_number": insecure::get_insecure_random_u64(),
        "seed": insecure_seed::insecure_seed(),
    })
}

fn milliseconds() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
}

pub fn world() -> Value {
    json!({
        "environment": std::env::vars_os().count(),
        "arguments": std::env::args_os().count(),
        "current_folder": std::fs::read_dir(".").is_ok(),
        "root_folder": std::fs::read_dir("/").is_ok(),
        "file": std::fs::File::open("/etc/passwd").is_ok(),
        "write": std::fs::write("hydrant-was-here", b"x").is_ok(),
        "stdin": std::io::stdin().lines().count(),
        "connect": TcpStream::connect("127.0.0.1:9600").is_ok(),
        "resolve": ("localhost", 80).to_socket_addrs().is_ok(),
    })
}

pub fn source(record: &Input) -> Value {
    let source = match &record.source {
        Source::File(file) => json!({ "path": file.path, "offset": file.offset }),
        Source::Kinesis(kinesis) => json!({
            "shard_id": kinesis.shard_id,
            "partition_key": kinesis.partition_key,
            "sequence_number": kinesis.sequence_number,
            "subsequence_number": kinesis.subsequence_number,
        }),
    };
    let data = String::from_utf8_lossy(&record.data);
    json!({ "data": data, "arrival_ms": record.approximate_arrival_timestamp, "source": source })
}
