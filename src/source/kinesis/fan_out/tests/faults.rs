//! A shard behind a server that breaks off, lies and refuses at random, and a caller that gives up waiting at random:
//! every record comes once, in order, and no call comes too soon.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::fake::{Answer, Fake, Part, Request, event, exception, initial_response, unmodeled};
use super::{DEADLINE, LIMITS, reader};
use crate::source::kinesis::page::ReadError;

const RECORDS: u64 = 60;
/// Faults of a run; behind them the server is sound, so that every run ends.
const FAULTS: usize = 12;

#[derive(Debug, Clone)]
enum Fault {
    Refuse(u16, &'static str),
    /// After so many events, this happens.
    After(usize, Within),
}

#[derive(Debug, Clone)]
enum Within {
    Close,
    Break,
    /// In the middle of a frame, at this share of its bytes.
    Cut(prop::sample::Index),
    /// One byte of a frame is another one.
    Corrupt(prop::sample::Index),
    Exception(&'static str),
    Unmodeled,
}

fn fault() -> impl Strategy<Value = Fault> {
    let within = prop_oneof![
        Just(Within::Close),
        Just(Within::Break),
        any::<prop::sample::Index>().prop_map(Within::Cut),
        any::<prop::sample::Index>().prop_map(Within::Corrupt),
        prop::sample::select(vec!["ResourceInUseException", "InternalFailureException", "KMSThrottlingException"])
            .prop_map(Within::Exception),
        Just(Within::Unmodeled),
    ];
    prop_oneof![
        1 => prop::sample::select(vec![
            (400, "LimitExceededException"),
            (400, "ResourceInUseException"),
            (500, "InternalFailureException"),
            (400, "KMSDisabledException"),
        ])
        .prop_map(|(status, code)| Fault::Refuse(status, code)),
        4 => (0usize..4, within).prop_map(|(events, within)| Fault::After(events, within)),
    ]
}

/// Sizes of the events that a subscription has, one after the other; some have no records.
fn sizes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0u64..6, 1..8)
}

#[derive(Default)]
struct Seen {
    accepted: Option<Instant>,
    too_soon: usize,
}

/// A shard of records 10, 20, 30, … whose continuations lie between them.
struct Shard {
    faults: Vec<Fault>,
    sizes: Vec<u64>,
    seen: Arc<Mutex<Seen>>,
}

impl Shard {
    fn answer(&mut self, request: &Request) -> Answer {
        if request.operation != "subscribetoshard" {
            return super::description("ACTIVE");
        }
        let fault = self.faults.pop();
        let mut seen = self.seen.lock().unwrap();
        if seen.accepted.is_some_and(|accepted| accepted.elapsed() < LIMITS.interval) {
            seen.too_soon += 1;
        }
        if let Some(Fault::Refuse(status, code)) = fault {
            return Answer::Error(status, code);
        }
        seen.accepted = Some(Instant::now());
        let position = &request.body["StartingPosition"];
        let from = match position["Type"].as_str() {
            Some("TRIM_HORIZON") => 0,
            Some("AFTER_SEQUENCE_NUMBER") => position["SequenceNumber"].as_str().unwrap().parse::<u64>().unwrap() / 10,
            other => panic!("{other:?}"),
        };
        Answer::Stream(self.stream(from, fault))
    }

    fn stream(&self, mut from: u64, fault: Option<Fault>) -> Vec<Part> {
        let mut parts = vec![Part::Bytes(initial_response())];
        let (events, within) = match fault {
            Some(Fault::After(events, within)) => (events, Some(within)),
            Some(Fault::Refuse(..)) | None => (usize::MAX, None),
        };
        for size in self.sizes.iter().cycle().take(events.min(200)) {
            let to = (from + size).min(RECORDS);
            parts.push(Part::Bytes(self.event(from, to)));
            from = to;
            if from == RECORDS {
                return parts;
            }
        }
        let mut bytes = self.event(from, (from + 3).min(RECORDS));
        match within {
            None | Some(Within::Close) => return parts,
            Some(Within::Break) => bytes.clear(),
            Some(Within::Cut(at)) => bytes.truncate(at.index(bytes.len())),
            Some(Within::Corrupt(at)) => {
                // Not the length, with which a frame might never end.
                let at = 8 + at.index(bytes.len() - 8);
                bytes[at] ^= 0x20;
            }
            Some(Within::Exception(code)) => bytes = exception(code),
            Some(Within::Unmodeled) => bytes = unmodeled("InternalError"),
        }
        parts.extend([Part::Bytes(bytes).filled(), Some(Part::Break)].into_iter().flatten());
        parts
    }

    fn event(&self, from: u64, to: u64) -> Vec<u8> {
        let numbers = (from..to).map(|index| (index + 1) * 10);
        if to == RECORDS {
            event(numbers, None, &["shardId-000000000001"])
        } else {
            event(numbers, Some(to * 10 + 5), &[])
        }
    }
}

impl Part {
    /// A chunk without bytes would be the end of the body.
    fn filled(self) -> Option<Self> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => None,
            part => Some(part),
        }
    }
}

async fn run(faults: Vec<Fault>, sizes: Vec<u64>, patience_ms: Vec<u64>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut shard = Shard { faults, sizes, seen: seen.clone() };
    let fake = Fake::start(move |request| shard.answer(&request)).await;
    let mut reader = reader(&fake, LIMITS);
    let mut read = Vec::new();
    let mut patience = patience_ms.iter().cycle();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < DEADLINE, "{} records", read.len());
        // A caller that waits for something else, too.
        let patience = Duration::from_millis(*patience.next().unwrap());
        let Ok(outcome) = tokio::time::timeout(patience, reader.next()).await else { continue };
        match outcome {
            Ok(page) => {
                read.extend(page.records.iter().map(|record| record.sequence_number.to_string()));
                if page.ended.is_some() {
                    break;
                }
            }
            Err(ReadError::NotFound { message }) => panic!("{message}"),
            Err(_) => {}
        }
    }
    assert_eq!(read, (1..=RECORDS).map(|index| (index * 10).to_string()).collect::<Vec<_>>());
    assert_eq!(seen.lock().unwrap().too_soon, 0);
}

#[test]
fn every_record_comes_once_whatever_breaks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let faults = prop::collection::vec(fault(), 0..FAULTS);
    let patience = prop::collection::vec(prop_oneof![0u64..5, Just(1000)], 1..6);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(faults, sizes(), patience), |(faults, sizes, patience)| {
            // One that never waits, and events that are all empty, would never come to an end.
            let patience = [patience, vec![1000]].concat();
            let sizes = [sizes, vec![1]].concat();
            runtime.block_on(run(faults, sizes, patience));
            Ok(())
        })
        .unwrap();
}
