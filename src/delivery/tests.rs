//! Deliveries to a receiver that judges each record, through lives that end in the middle, against a naive index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use std::sync::Mutex;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::sending::Sending;
use super::*;
use crate::config;
use crate::destination::outage::Outage;
use crate::destination::receiver::{Grounds, Judged, Judgement, Misfit, Patience, Receiver, RequestError, Verdict};
use crate::destination::{AttemptError, BoxFuture, ErrorClass};
use crate::encode::frames::{self, Frame};
use crate::encode::payload::Payload;
use crate::journal::{NewPartition, Opened, Sent};
use crate::memory::MemoryBudget;
use crate::output::{Outputs, Room};
use crate::positions::{RecordSet, put_varint};
use crate::record::{PartitionId, PositionRange};
use crate::requests::{Limits, Reason, RequestState};

const INDEX: &str = "web-2026-11-21";
const GRANULE: u64 = 400;
const BATCH: u64 = 1500;

/// How it behaves.
#[derive(Clone, Copy)]
struct Manners {
    /// Of so many documents one is refused for good.
    fatal: u64,
    /// Of a hundred attempts so many fail as a whole, some after a part of them was taken.
    failing: u64,
    /// Of a hundred documents so many may be taken later.
    later: u64,
    /// Bytes of a body that it takes.
    body_max: usize,
    /// Numbers that begin with a seven do not fit.
    has_misfits: bool,
    /// One attempt at a time is made.
    is_alone: bool,
    /// Attempts after which the life ends before its answer.
    dies_after: u64,
}

const GOOD: Manners = Manners {
    fatal: u64::MAX,
    failing: 0,
    later: 0,
    body_max: usize::MAX,
    has_misfits: false,
    is_alone: false,
    dies_after: u64::MAX,
};

/// An index, and what was said of it by others.
struct Index {
    manners: Manners,
    state: Mutex<State>,
    dies: Notify,
    journal: Journal,
    stream: i64,
}

#[derive(Default)]
struct State {
    dice: u64,
    documents: BTreeMap<u64, String>,
    /// Taken in an attempt of which the answer, or its end, was lost.
    unsure: BTreeSet<u64>,
    /// What earlier answers of this life have decided.
    decided: BTreeSet<u64>,
    attempts: u64,
    /// Records, and bytes of records, of each attempt.
    sizes: Vec<(u64, u64)>,
    wrong: Vec<String>,
}

impl State {
    fn below(&mut self, n: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % n
    }

    fn has_chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn grounds(code: &str) -> Grounds {
    Grounds { code: code.to_owned(), message: format!("because of {code}") }
}

/// Each record is its number, and some padding.
fn number(frame: &Frame<'_>) -> u64 {
    let text = std::str::from_utf8(frame.data).unwrap();
    text.trim_end_matches('.').parse().unwrap()
}

impl Index {
    fn answer(&self, to: &str, body: &[u8], records: u64) -> Option<Result<Verdict, RequestError>> {
        // What is decided in the journal may not come again.
        let sent = self.journal.requests(self.stream).unwrap();
        let mut state = self.state.lock().unwrap();
        let numbers: Vec<u64> = frames::each(&[body]).map(|frame| number(&frame)).collect();
        assert_eq!(numbers.len() as u64, records);
        assert!(numbers.is_sorted());
        if let Some(again) = numbers.iter().find(|n| is_decided(&sent, **n)) {
            state.wrong.push(format!("{again} was decided and is sent again"));
        }
        let undecided = state.decided.iter().find(|n| self.manners.is_alone && !is_decided(&sent, **n)).copied();
        if let Some(n) = undecided {
            let wrong = format!("the delivery has gone on before it was journalled what became of {n}");
            state.wrong.push(wrong);
        }
        if self.manners.has_misfits && numbers.iter().any(|n| n.to_string().starts_with('7')) {
            state.wrong.push("a record that does not fit was sent".to_owned());
        }
        if to != INDEX {
            state.wrong.push(format!("sent to `{to}`"));
        }
        state.attempts += 1;
        state.sizes.push((records, body.len() as u64));
        let is_last = state.attempts >= self.manners.dies_after;
        if body.len() > self.manners.body_max && !is_last {
            return Some(Ok(Verdict::TooLarge));
        }
        if is_last || state.has_chance(self.manners.failing) {
            for n in numbers {
                if !self.is_fatal(n) && state.has_chance(50) {
                    state.documents.entry(n).or_insert_with(|| to.to_owned());
                    state.unsure.insert(n);
                }
            }
            let class = if state.has_chance(50) { ErrorClass::Throttled } else { ErrorClass::Transient };
            let error = AttemptError { class, code: "503".into(), message: "away".into(), ambiguous: true };
            return (!is_last).then_some(Err(RequestError { error, retry_after: None }));
        }
        let is_cut_short = state.has_chance(self.manners.failing / 4);
        let answered = if is_cut_short { state.below(records) as usize } else { numbers.len() };
        let mut judged = Vec::new();
        for (index, n) in numbers.into_iter().enumerate() {
            let judgement = self.judge(&mut state, to, n);
            if index < answered {
                judged.push(Judged { records: 1, judgement });
            } else {
                state.decided.remove(&n);
                state.unsure.insert(n);
            }
        }
        Some(Ok(Verdict::Each(judged)))
    }

    fn is_fatal(&self, n: u64) -> bool {
        (n + 1).is_multiple_of(self.manners.fatal)
    }

    fn judge(&self, state: &mut State, to: &str, n: u64) -> Judgement {
        if self.is_fatal(n) {
            state.decided.insert(n);
            return Judgement::Refused(grounds("400"));
        }
        if !state.documents.contains_key(&n) && state.has_chance(self.manners.later) {
            return Judgement::Later(grounds(if state.has_chance(50) { "429" } else { "403" }));
        }
        state.documents.entry(n).or_insert_with(|| to.to_owned());
        state.decided.insert(n);
        Judgement::Accepted
    }
}

/// Whether the journal has it that record `n` of a delivery is acknowledged, or has failed for good.
fn is_decided(sent: &HashMap<DeliveryRowId, Sent>, n: u64) -> bool {
    let mut requests = sent.values().flat_map(|sent| &sent.requests);
    requests.any(|request| request.state != RequestState::Planned && (request.first..request.end).contains(&n))
}

/// As a receiver, with the retry duration and the requests under way of a life.
struct Bulk {
    index: Arc<Index>,
    patience: Patience,
}

impl Receiver for Bulk {
    fn name(&self) -> String {
        String::from("index")
    }

    fn limits(&self) -> Limits {
        Limits {
            records_max: 10,
            record_bytes_max: 1 << 20,
            body_bytes_max: 1 << 20,
            several_bytes_max: GRANULE,
            body_bytes_min: 0,
            counts_old_names: false,
            sized: |bytes| bytes,
        }
    }

    fn patience(&self) -> Patience {
        self.patience
    }

    fn misfits(&self) -> Option<Misfit> {
        let misfits: Misfit = Arc::new(|data| data.starts_with(b"7").then_some("seven"));
        self.index.manners.has_misfits.then_some(misfits)
    }

    fn addressee(&self, _: Timestamp, _: &[String]) -> String {
        INDEX.to_owned()
    }

    fn batch_bytes(&self) -> Option<u64> {
        Some(BATCH)
    }

    fn body(&self, _: &str, _: &str, frames: &[&[u8]], _: Timestamp) -> Bytes {
        Bytes::from(frames.concat())
    }

    fn send<'a>(
        &'a self,
        _: &'a str,
        to: &'a str,
        body: Bytes,
        records: u64,
    ) -> BoxFuture<'a, Result<Verdict, RequestError>> {
        Box::pin(async move {
            match self.index.answer(to, &body, records) {
                Some(answer) => answer,
                None => {
                    self.index.dies.notify_one();
                    std::future::pending().await
                }
            }
        })
    }

    fn too_large(&self) -> Grounds {
        grounds("413")
    }

    fn envelope(&self, to: &str, frame: &Frame<'_>, reason: &Reason) -> Bytes {
        Bytes::from(format!("{to} {} {} {}\n", number(frame), reason.code, reason.attempts))
    }

    fn error_type(&self) -> &'static str {
        "index-failed"
    }
}

/// All that a life needs, and outlives it.
struct World {
    folder: tempfile::TempDir,
    shipping: Shipping,
    outputs: Outputs,
    partition: PartitionId,
    records: u64,
}

const CONFIG: &str = "
delivery_streams:
  - name: web
    source: { file: { paths: /nowhere/*.log } }
    destination: { http_endpoint: { url: 'http://127.0.0.1:9/' } }
    backup: { directory: { path: FOLDER, error_output_prefix: '!{firehose:error-output-type}/' } }
";

impl World {
    async fn new(records: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = CONFIG.replace("FOLDER", folder.path().join("out").to_str().unwrap());
        let path = folder.path().join("hydrant.yaml");
        std::fs::write(&path, text).unwrap();
        let config = config::load_to_look(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let Opened { journal, .. } = Journal::open(&folder.path().join("state")).unwrap();
        let stream = journal.stream("web", "one").unwrap().id;
        let new = NewPartition {
            place: "/a".into(),
            device: 1,
            inode: 1,
            checkpoint: Position::BEGINNING,
            evidence: String::new(),
            copy_of: None,
        };
        let partition = journal.register(stream, &[new]).unwrap()[0];
        let (budget, tasks) = (MemoryBudget::new(1 << 20).join(), TaskTracker::new());
        let room = Room { stream: "web", journal: &journal, memory_share: budget.share(), tasks: &tasks };
        let outputs = Outputs::open(&config.delivery_streams[0], None, room).await.unwrap();
        let shipping = Shipping {
            stream,
            stream_name: "web".into(),
            object_name: "web".into(),
            journal,
            limits: RetryLimits { delay_max: Some(Duration::from_millis(1)), speed: None },
            cancel: CancellationToken::new(),
            tasks,
            status: StreamStatus::new("web"),
            pool: ComputePool::new(),
            budget,
            child: outputs.child.clone(),
            version: 1,
        };
        Self { folder, shipping, outputs, partition, records }
    }

    fn payload(&self) -> Formed {
        let mut bytes = Vec::new();
        for n in 0..self.records {
            let data = format!("{n}{}", ".".repeat((n * 7 % 90) as usize));
            for number in [data.len() as u64, self.partition.0.unsigned_abs(), n * 100, 100, 0, 0, 0] {
                put_varint(&mut bytes, number);
            }
            bytes.extend_from_slice(data.as_bytes());
        }
        Formed { payload: Payload::from_bytes(bytes), records: self.records }
    }

    fn index(&self, manners: Manners, state: State) -> Arc<Index> {
        let (journal, stream) = (self.shipping.journal.clone(), self.shipping.stream);
        Arc::new(Index { manners, state: Mutex::new(state), dies: Notify::new(), journal, stream })
    }

    fn new_plan(&self) -> Plan {
        let mut set = RecordSet::default();
        set.add(self.partition, PositionRange::new(0, self.records * 100));
        let intent = Intent {
            uuid: uuid::Uuid::new_v4().to_string(),
            kind: Kind::Fate,
            output: crate::output::DESTINATION.to_owned(),
            partition: Vec::new(),
            destination: String::new(),
            addressee: INDEX.to_owned(),
            format: String::new(),
            key: "the delivery".to_owned(),
            version: 1,
            processing: String::new(),
            arrival_ms: 0,
            records: self.records,
            set,
            partial: RecordSet::default(),
            batches: Default::default(),
        };
        Plan::New { intent: Box::new(intent), partitions: Vec::new(), ranges: self.shipping.budget.overdraw(0) }
    }

    /// As recovery does it.
    fn plan_again(&self) -> Plan {
        let Some(row) = self.shipping.journal.deliveries(self.shipping.stream).unwrap().pop() else {
            return self.new_plan();
        };
        let sent = self.shipping.journal.requests(self.shipping.stream).unwrap();
        let sent: Sent = sent.get(&row.id).cloned().unwrap_or_default();
        let child_place = sent.child.as_ref().map(|_| self.outputs.child.place.clone());
        let (key, intent) = (row.intent.key.clone(), row.intent);
        let before = Box::new(Before { intent, sent, is_as_journalled: true, child_place });
        Plan::Again { row: row.id, key, before: Some(before) }
    }

    /// One life; `None` of one that has ended in the middle.
    async fn live(&self, index: &Arc<Index>, retry: Duration, in_flight: usize) -> Option<Fates> {
        let patience = Patience { retry, counts_attempts: true, in_flight };
        let receiver = Arc::new(Bulk { index: index.clone(), patience });
        let (plan, formed) = (self.plan_again(), self.payload());
        let life = async {
            let outage = Arc::new(Outage::new(in_flight));
            let sending = Sending::begin(self.shipping.clone(), receiver, outage, formed, plan).await.unwrap();
            sending.unwrap().run().await.unwrap().unwrap().fates
        };
        tokio::select! {
            fates = life => Some(fates),
            () = index.dies.notified() => None,
        }
    }

    /// The envelopes: the record's number, and the code with the attempts.
    fn child(&self) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        let folder = self.folder.path().join("out/index-failed");
        for file in std::fs::read_dir(folder).into_iter().flatten() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            lines.extend(text.lines().map(|line| {
                let (to, rest) = line.split_once(' ').unwrap();
                let (number, reason) = rest.split_once(' ').unwrap();
                assert_eq!(to, INDEX);
                (number.parse().unwrap(), reason.to_owned())
            }));
        }
        lines
    }

    /// Every record is in the index or in the child, and none twice that was not both taken and unanswered.
    fn check(&self, index: &Index, seed: u64) {
        let state = index.state.lock().unwrap();
        assert!(state.wrong.is_empty(), "seed {seed}: {:?}", state.wrong);
        let child = self.child();
        let failed: BTreeSet<u64> = child.iter().map(|(n, _)| *n).collect();
        assert_eq!(failed.len(), child.len(), "seed {seed}: no record is in the child twice");
        assert!(child.is_sorted_by_key(|(n, _)| *n), "seed {seed}: in their order");
        for (n, reason) in child.iter().filter(|(n, _)| index.manners.has_misfits && n.to_string().starts_with('7')) {
            assert_eq!(reason, "Hydrant.RecordMisfits 0", "seed {seed}: {n}");
        }
        for n in 0..self.records {
            let (is_taken, is_failed) = (state.documents.contains_key(&n), failed.contains(&n));
            assert!(is_taken || is_failed, "seed {seed}: {n} is lost");
            assert!(!(is_taken && is_failed) || state.unsure.contains(&n), "seed {seed}: {n} is doubled");
        }
    }
}

#[tokio::test]
async fn every_record_is_taken_or_in_the_child_however_lives_end() {
    for seed in 0..40 {
        let mut state = State { dice: seed, ..State::default() };
        let world = World::new(1 + state.below(150)).await;
        let (retry, in_flight) = (Duration::from_millis(state.below(6)), 1 + state.below(3) as usize);
        let body_max = if state.has_chance(50) { usize::MAX } else { 20 + state.below(2000) as usize };
        let (failing, later, fatal) = (state.below(40), state.below(40), 3 + state.below(50));
        let (is_alone, has_misfits) = (in_flight == 1, state.has_chance(50));
        let mut manners = Manners { fatal, failing, later, body_max, has_misfits, is_alone, dies_after: u64::MAX };
        let fates = loop {
            manners.dies_after = if state.has_chance(60) { state.attempts + 1 + state.below(6) } else { u64::MAX };
            let index = world.index(manners, std::mem::take(&mut state));
            let ended = world.live(&index, retry, in_flight).await;
            // What was under way in it has ended.
            world.shipping.tasks.close();
            world.shipping.tasks.wait().await;
            world.shipping.tasks.reopen();
            if let Some(fates) = ended {
                world.check(&index, seed);
                break fates;
            }
            state = std::mem::take(&mut *index.state.lock().unwrap());
            state.decided.clear();
            // An answer may have come that nobody was there for any more.
            let sent = world.shipping.journal.requests(world.shipping.stream).unwrap();
            state.unsure.extend(state.documents.keys().filter(|n| !is_decided(&sent, **n)));
        };
        assert_eq!(fates.delivered + fates.failed + fates.skipped, world.records, "seed {seed}: {fates:?}");
        assert_eq!(fates.failed, world.child().len() as u64, "seed {seed}");
    }
}

#[tokio::test]
async fn an_attempt_carries_several_requests_and_a_receiver_that_takes_all_is_journalled_once() {
    let world = World::new(100).await;
    let index = world.index(GOOD, State::default());
    let fates = world.live(&index, Duration::ZERO, 1).await.unwrap();
    assert_eq!(fates, Fates { delivered: 100, ..Fates::default() });
    let sizes = index.state.lock().unwrap().sizes.clone();
    assert!(sizes.len() <= 6, "{sizes:?}");
    assert!(sizes.iter().all(|&(_, bytes)| bytes <= BATCH), "{sizes:?}");
    assert!(sizes[0].0 > 10, "more than one request: {sizes:?}");
    world.check(&index, 0);
}

#[tokio::test]
async fn what_is_refused_for_good_is_tried_once_and_what_may_be_taken_later_until_it_is_given_up() {
    let world = World::new(40).await;
    let index = world.index(Manners { fatal: 10, ..GOOD }, State::default());
    world.live(&index, Duration::from_secs(300), 1).await.unwrap();
    let expected: Vec<_> = [9, 19, 29, 39].map(|n| (n, "400 1".to_owned())).to_vec();
    assert_eq!(world.child(), expected);
    world.check(&index, 0);

    let world = World::new(40).await;
    let index = world.index(Manners { later: 100, ..GOOD }, State::default());
    let fates = world.live(&index, Duration::ZERO, 1).await.unwrap();
    assert_eq!(fates, Fates { failed: 40, ..Fates::default() });
    assert!(world.child().iter().all(|(_, reason)| reason == "429 1" || reason == "403 1"), "{:?}", world.child());
}

#[tokio::test]
async fn what_is_too_large_goes_in_smaller_attempts_and_then_in_halves() {
    let world = World::new(100).await;
    let index = world.index(Manners { body_max: 200, ..GOOD }, State::default());
    let fates = world.live(&index, Duration::ZERO, 2).await.unwrap();
    assert_eq!(fates, Fates { delivered: 100, ..Fates::default() });
    world.check(&index, 0);

    // A single record that is too large alone.
    let world = World::new(100).await;
    let index = world.index(Manners { body_max: 90, ..GOOD }, State::default());
    let fates = world.live(&index, Duration::from_secs(300), 2).await.unwrap();
    assert!(fates.failed > 0 && fates.delivered > 50, "{fates:?}");
    assert!(world.child().iter().all(|(_, reason)| reason.starts_with("413 ")), "{:?}", world.child());
    world.check(&index, 0);
}
