//! Fuzzing: records are mutated, what leads to something new is kept and mutated further, and whatever is made of them has to
//! please every oracle.
//!
//! Two seconds of it are a test. `HYDRANT_FUZZ_SECONDS=900 cargo test --lib convert::tests::fuzz` is the long run;
//! `HYDRANT_FUZZ_SEED` repeats one, as far as it comes in its time.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::generate::{columns, records};
use super::oracles::{ArrowJson, model_agrees, shown, slow_path_agrees};
use super::*;

const SECONDS: u64 = 2;
/// Groups of records that are made at the start, and records that are kept at most.
const SEEDS: usize = 60;
const KEPT_MAX: usize = 20_000;
/// Bytes of a record at most.
const RECORD_MAX: usize = 4_000;
/// Put into records as they are.
const TOKENS: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "\\uD83D",
    "\\uDE00",
    "\\ud83d\\ude00",
    "\\\"",
    "\u{7f}",
    "\n",
    "\r\n",
    "\t",
    " ",
    "null",
    "true",
    "false",
    "nul",
    "-",
    "-0",
    "0",
    "00",
    "1.",
    ".5",
    "1e5",
    "1E-400",
    "1e999",
    "9223372036854775808",
    "2147483648",
    "0.1234567890123456789",
    "NaN",
    "\"id\":",
    "\"n\":",
    "\"x\":1e0",
    "\"s\":\"",
    "\"ts\":\"2026-10-01T12:00:00.123Z\"",
    "2026-02-29",
    "\"tags\":[",
    "é",
    "\u{feff}",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Decoders by one set of options: the fast one learns from all that it has read so far.
struct Pair {
    fast: Decoder,
    slow: Decoder,
}

struct Fuzzer {
    random: Random,
    kept: Vec<Vec<u8>>,
    seen: HashSet<u64>,
    pairs: Vec<Pair>,
    of_the_model: Decoder,
    arrow_json: ArrowJson,
    /// Records that arrow-json had a say in.
    compared: u64,
}

#[test]
fn mutated_records_please_every_oracle() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("HYDRANT_FUZZ_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("HYDRANT_FUZZ_SEED={seed}");
    let mut fuzzer = Fuzzer::new(seed);
    let end = Instant::now() + Duration::from_secs(number("HYDRANT_FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut runs = 0_u64;
    while Instant::now() < end {
        fuzzer.step();
        runs += 1;
    }
    println!(
        "{runs} runs, {} ways to be read, {} records compared with arrow-json",
        fuzzer.seen.len(),
        fuzzer.compared
    );
    assert!(fuzzer.compared > 0, "arrow-json has a say in some");
}

impl Fuzzer {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let kept = (0..SEEDS).flat_map(|_| records().new_tree(&mut runner).unwrap().current()).collect();
        let pair = |(options, required): (InputOptions, Option<usize>)| {
            let mut schema = columns();
            if let Some(column) = required.and_then(|index| schema.get_mut(index)) {
                column.is_required = true;
            }
            let fast = Decoder::new(&schema, options).unwrap();
            Pair { slow: fast.clone().without_speculation(), fast }
        };
        Self {
            random: Random(seed),
            kept,
            seen: HashSet::new(),
            pairs: variants().into_iter().map(pair).collect(),
            of_the_model: Decoder::new(&columns(), InputOptions::default()).unwrap(),
            arrow_json: ArrowJson::new(),
            compared: 0,
        }
    }

    /// Some records, one of them mutated, together.
    fn step(&mut self) {
        let count = 1 + self.random.below(3);
        let mut records: Vec<Vec<u8>> = (0..count).map(|_| self.random.pick(&self.kept).clone()).collect();
        let at = self.random.below(count);
        for _ in 0..=self.random.below(4) {
            let other = self.random.pick(&self.kept).clone();
            mutate(&mut self.random, &mut records[at], &other);
        }
        records[at].truncate(RECORD_MAX);
        if let Err(difference) = self.check(&records) {
            let records = self.smallest(records);
            let shown: Vec<_> = records.iter().map(|record| record.escape_ascii().to_string()).collect();
            panic!("{shown:#?}: {:?}\nfirst seen: {difference}", self.check(&records));
        }
        let (rows, failures) = decode(&mut self.of_the_model, &[&records[at]]);
        if self.seen.insert(way(&rows, &failures)) {
            match self.kept.len() {
                KEPT_MAX => {
                    let place = self.random.below(KEPT_MAX);
                    self.kept[place] = records.swap_remove(at);
                }
                _ => self.kept.push(records.swap_remove(at)),
            }
        }
    }

    fn check(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let together: Vec<_> = records.iter().map(Vec::as_slice).collect();
        let pair = records.iter().map(Vec::len).sum::<usize>() % self.pairs.len();
        let Pair { fast, slow } = &mut self.pairs[pair];
        slow_path_agrees(fast, slow, &together).map_err(|difference| format!("options {pair}: {difference}"))?;
        for record in together {
            model_agrees(&mut self.of_the_model, record)?;
            self.compared += u64::from(self.arrow_json.agrees(record)?);
        }
        Ok(())
    }

    /// Fewer and shorter records that are wrong as well.
    fn smallest(&mut self, mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        for index in (0..records.len()).rev() {
            let mut fewer = records.clone();
            fewer.remove(index);
            if !fewer.is_empty() && self.check(&fewer).is_err() {
                records = fewer;
            }
        }
        for index in 0..records.len() {
            let mut length = records[index].len() / 2;
            while length > 0 {
                let mut at = 0;
                while at + length <= records[index].len() {
                    let mut shorter = records.clone();
                    shorter[index].drain(at..at + length);
                    match self.check(&shorter) {
                        Err(_) => records = shorter,
                        Ok(()) => at += length,
                    }
                }
                length /= 2;
            }
        }
        records
    }
}

fn variants() -> Vec<(InputOptions, Option<usize>)> {
    let plain = InputOptions::default;
    let hive = || InputOptions { deserializer: Deserializer::Hive, ..plain() };
    let with_formats = |formats: &[TimestampFormat]| InputOptions { timestamp_formats: formats.to_vec(), ..plain() };
    let unknown = |on_unknown_field| InputOptions { on_unknown_field, ..plain() };
    vec![
        (plain(), None),
        (plain(), Some(0)),
        (plain(), Some(10)),
        (hive(), None),
        (InputOptions { case_insensitive: false, ..plain() }, None),
        (InputOptions { convert_dots_in_json_keys_to_underscores: true, ..plain() }, None),
        (InputOptions { case_insensitive: false, ..hive() }, Some(3)),
        (unknown(OnUnknownField::ErrorOutput), None),
        (unknown(OnUnknownField::Rescue(String::from("s"))), None),
        (with_formats(&[TimestampFormat::EpochMillis]), None),
        (with_formats(&[TimestampFormat::Sql, TimestampFormat::Iso8601, TimestampFormat::EpochSeconds]), None),
        (with_formats(&[TimestampFormat::Pattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'".parse().unwrap())]), None),
    ]
}

fn mutate(random: &mut Random, record: &mut Vec<u8>, other: &[u8]) {
    let length = record.len();
    let (from, to) = (random.below(length + 1), random.below(length + 1));
    let (from, to) = (from.min(to), from.max(to));
    match random.below(10) {
        0 if length > 0 => record[random.below(length)] = random.next() as u8,
        1 if length > 0 => record[random.below(length)] ^= 1 << random.below(8),
        2 => record.insert(from, random.next() as u8),
        3 => drop(record.drain(from..to.min(from + 8))),
        4 => drop(record.splice(from..from, random.pick(&TOKENS).bytes())),
        5 => drop(record.splice(from..to.min(from + 8), random.pick(&TOKENS).bytes())),
        6 => {
            let part = record[from..to].to_vec();
            drop(record.splice(to..to, part));
        }
        7 => record.truncate(to),
        8 => {
            // The rest of another record.
            record.truncate(from);
            record.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        _ => {
            let value = random.below(other.len() + 1);
            let end = (value + random.below(40)).min(other.len());
            drop(record.splice(from..from, other[value..end].iter().copied()));
        }
    }
}

/// In which way a record was read: which columns have something, and what was wrong, without the values.
fn way(rows: &Columns, failures: &[Failure]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in shown(rows).into_iter().take(3) {
        for (_, value) in row.as_object().into_iter().flatten() {
            shape(value).hash(&mut hasher);
        }
    }
    for failure in failures.iter().take(3) {
        let is_of_the_rule = |byte: &u8| !byte.is_ascii_digit();
        let text: Vec<_> = failure.message.bytes().take(90).filter(is_of_the_rule).collect();
        text.hash(&mut hasher);
    }
    hasher.finish()
}

fn shape(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::Bool(_) => 1,
        Json::Number(number) if number.is_f64() => 2,
        Json::Number(number) => 3 + u8::from(number.as_i64().is_none_or(|number| number.unsigned_abs() > 1 << 31)),
        Json::String(text) => 5 + text.len().min(3) as u8 + 4 * u8::from(!text.is_ascii()),
        Json::Array(items) => 16 + items.len().min(3) as u8,
        Json::Object(members) => 20 + members.len().min(3) as u8,
    }
}
