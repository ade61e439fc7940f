//! What may be done to a batch or to a record.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::hydrant::transform::host::{self, Level};
use crate::hydrant::transform::types::Output;
use crate::surroundings;
use crate::{Input, Outcome};

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Every record goes on unchanged.
    #[default]
    Pass,

    // To the whole batch, if it holds a record that is meant:
    /// The last record's outcome is left out.
    TooFew,
    /// One outcome more than there are records.
    TooMany,
    /// No outcome at all.
    Nothing,
    /// `amount` bytes are allocated, written and never given back.
    Leak,

    // To each record that is meant:
    Drop,
    /// `processing-failed`, with a reason of `amount` bytes, or "no good".
    Fail,
    /// Becomes `amount` records: `{"part":0,"of":<the record>}` and so on.
    Split,
    /// Becomes `amount` empty records.
    Flood,
    /// Becomes `amount` bytes.
    Huge,
    /// Gets `amount` partition keys.
    Keys,
    /// Gets a partition key `key` of `amount` bytes.
    LongKey,
    Trap,
    /// Asks WASI to end the process.
    Exit,
    Loop,
    /// Memory is taken until there is none, then it traps.
    Memory,
    /// Memory is taken until there is none, then it goes on as if nothing had been.
    MemoryThenPass,
    /// Recurses until the stack is used up.
    Stack,
    /// Logs `amount` lines, without end if 0, then passes.
    Log,
    /// Logs one line of `amount` bytes, then passes.
    LongLog,
    /// Writes `amount` lines to standard output and standard error, without end if 0, then passes.
    Print,
    /// Sleeps `amount` seconds, then passes.
    Sleep,
    /// Becomes a JSON object of both clocks, before and after a sleep of `amount` seconds, and of random numbers.
    Clocks,
    /// Becomes a JSON object of the record and of everything in its world that is said to follow from the batch: arrival, both
    /// clocks, and all three kinds of random numbers.
    Stamp,
    /// Becomes a JSON object that counts what of the world can be seen: environment, arguments, files, addresses.
    World,
    /// Becomes a JSON object with the number of calls that this instance has had.
    Calls,
    /// Becomes a JSON object with all that the record came with.
    Source,
}

impl Behaviour {
    pub fn transform(self, records: Vec<Input>, is_meant: impl Fn(&Input) -> bool, amount: u64) -> Vec<Outcome> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let one = |record: Input| if is_meant(&record) { self.outcome(record, amount, calls) } else { pass(record) };
        let mut outcomes: Vec<_> = records.into_iter().map(one).collect();
        match self {
            Self::TooFew => drop(outcomes.pop()),
            Self::TooMany => outcomes.push(Outcome::Dropped),
            Self::Nothing => outcomes.clear(),
            Self::Leak => std::mem::forget(black_box(vec![1_u8; amount as usize])),
            _ => {}
        }
        outcomes
    }

    fn outcome(self, record: Input, amount: u64, calls: u64) -> Outcome {
        let count = amount as usize;
        match self {
            Self::Pass | Self::TooFew | Self::TooMany | Self::Nothing | Self::Leak => {}
            Self::Drop => return Outcome::Dropped,
            Self::Fail if count > 0 => return Outcome::ProcessingFailed("x".repeat(count)),
            Self::Fail => return Outcome::ProcessingFailed(String::from("no good")),
            Self::Split => return Outcome::Many((0..amount).map(|part| split(part, &record.data)).collect()),
            Self::Flood => return Outcome::Many((0..amount).map(|_| output(Vec::new())).collect()),
            Self::Huge => return Outcome::Ok(output(vec![b'x'; count])),
            Self::Keys => return with_keys(record, (0..amount).map(|key| (format!("k{key}"), key.to_string()))),
            Self::LongKey => return with_keys(record, [(String::from("key"), "x".repeat(count))]),
            Self::Trap => panic!("poison"),
            Self::Exit => std::process::exit(0),
            Self::Loop => spin(),
            Self::Memory => eat_memory(),
            Self::MemoryThenPass => take_all_memory(),
            Self::Stack => drop(black_box(recurse(&[0; 64]))),
            Self::Log => log(amount),
            Self::LongLog => host::log(Level::Warn, &"x".repeat(count)),
            Self::Print => print(amount),
            Self::Sleep => sleep(amount),
            Self::Clocks => return json(surroundings::clocks(amount)),
            Self::Stamp => return json(surroundings::stamp(&record)),
            Self::World => return json(surroundings::world()),
            Self::Calls => return json(serde_json::json!({ "calls": calls })),
            Self::Source => return json(surroundings::source(&record)),
        }
        pass(record)
    }
}

pub fn pass(record: Input) -> Outcome {
    Outcome::Ok(output(record.data))
}

fn output(data: Vec<u8>) -> Output {
    Output { data, partition_keys: Vec::new() }
}

fn with_keys(record: Input, keys: impl IntoIterator<Item = (String, String)>) -> Outcome {
    Outcome::Ok(Output { data: record.data, partition_keys: keys.into_iter().collect() })
}

fn json(value: serde_json::Value) -> Outcome {
    Outcome::Ok(output(value.to_string().into_bytes()))
}

fn split(part: u64, whole: &[u8]) -> Output {
    let of = String::from_utf8_lossy(whole);
    output(serde_json::json!({ "part": part, "of": of }).to_string().into_bytes())
}

pub fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// What cannot be allocated aborts.
pub fn eat_memory() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn take_all_memory() {
    let mut all = Vec::new();
    let mut part = Vec::<u8>::new();
    while part.try_reserve_exact(1 << 20).is_ok() {
        part.resize(1 << 20, 1);
        all.push(std::mem::take(&mut part));
    }
    black_box(all);
}

fn recurse(above: &[u64; 64]) -> u64 {
    let here = black_box([above[0] + 1; 64]);
    // Never comes to it.
    if here[0] == u64::MAX { 0 } else { recurse(&here) + here[1] }
}

/// Without end if `lines` is 0.
fn repeat(lines: u64, line: impl Fn(u64)) {
    (0..if lines == 0 { u64::MAX } else { lines }).for_each(line);
}

pub fn log(lines: u64) {
    repeat(lines, |line| host::log(Level::Info, &format!("line {line}\nof many")));
}

fn print(lines: u64) {
    repeat(lines, |line| {
        println!("out {line}");
        eprintln!("err {line}");
    });
}

pub fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}
