//! `wasm`: a batch through a component, with a fate for each record whatever the component does.
//!
//! Always true: each record that is given leaves as outputs of the component, as nothing because it says so, or as a failure
//! with the reason. A record on which the component dies fails alone.
//!
//! ```text
//!   quick ──fails──▶ patient: again, as often as the error's kind says ──fails──▶ bisected, part by part
//!                                                        └ fails for every batch ──▶ waits, or is diverted
//! ```
//!
//! What is quick takes a place of the compute pool; what is patient runs where it takes no core from other streams.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::{error, info, warn};

use crate::processing::passing::{FailedPart, PartitionKeys, Passing, merged};
use crate::processing::{Down, ErrorCode, Failure, patient};
use crate::record::Position;

use super::ComponentError;
use super::bindings::{Fate, MadeRecord};
use super::call::{Answer, Batch, CallError, Calling, Given, Instance};
use super::config::{IDLE_MAX, Instances, OnFailure, WasmConfig};
use super::health::Health;
use super::isolate::{Tried, isolate};
use super::log::{GuestLog, printable};
use super::world::Seed;

/// A batch of small records ends here, so that what a guest needs for each of them stays in proportion to its memory.
pub const BATCH_RECORDS_MAX: usize = 10_000;
/// A part of a batch gets its share of the time, but at least so much: what a new instance does first takes the same for all.
const SHARE_MIN: Duration = Duration::from_millis(50);
/// Taking a batch apart without one success ends after so many times `timeout_ms`.
const GIVE_UP_AFTER: u32 = 10;
/// So many records of a batch are tried alone before it is given up.
const SAMPLES: usize = 16;
/// Partition keys that a component may set for one record.
const PARTITION_KEYS_MAX: usize = 50;
/// Bytes of their names and values together: an S3 key has 1024 at most.
const PARTITION_KEY_BYTES_MAX: usize = 4096;
/// How much of a component's reason is kept.
const REASON_BYTES_MAX: usize = 2000;
/// How long a batch waits for a place for its instance.
const ROOM_DELAY: Duration = Duration::from_millis(100);
/// See [`Transform::quick_timeout`].
const QUICK_MIN: Duration = Duration::from_millis(100);
const QUICK_FACTOR: u32 = 4;
/// How often it is said that there is no room.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// All steps of the process, whose idle instances make room when there is none.
static ALL: Mutex<Vec<Weak<Transform>>> = Mutex::new(Vec::new());
static SAID: Mutex<Option<Instant>> = Mutex::new(None);
/// How long a diverted batch is held up: a component that is down slows its stream.
const DIVERT_DELAY: Duration = Duration::from_secs(1);

/// Where a batch is tried: on the compute pool, or where it may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Quick,
    Patient,
}

/// Why a slice of a chunk has not passed yet. Nothing has become of it: it comes again as a whole.
pub enum Stop {
    /// It failed, or may fail, and has to come again patiently.
    Patience(Option<FirstFailure>),
    /// More has been made of it than may be held: it comes again in smaller slices.
    TooLarge,
    /// The component is down, or there is no room for it.
    Wait { transform: Arc<Transform>, delay: Duration, down: Down },
}

/// The first attempt of a batch has been made already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFailure {
    /// The step's.
    step: usize,
    /// Its first record among those that the step was given.
    batch: usize,
    error: CallError,
}

/// A record for the component.
pub struct Record<'a> {
    pub data: &'a [u8],
    pub source: u32,
    /// Of its source record.
    pub position: Position,
    pub keys: Option<&'a Arc<PartitionKeys>>,
}

impl<'a> Record<'a> {
    fn given(&self) -> Given<'a> {
        Given { data: self.data, position: self.position, source: self.source }
    }
}

/// How a slice is to be handled.
pub struct Handling<'a> {
    pub pace: Pace,
    pub first_failure: Option<&'a FirstFailure>,
    /// It has been held up already because the component is down.
    pub has_waited: bool,
    /// In an earlier life some of these records failed alone while the component worked: should they all fail now, they are at
    /// fault again, and nothing has passed yet that would say so.
    pub had_failed: bool,
}

/// Where outcomes go.
pub struct Sink<'a> {
    pub passing: &'a mut Passing,
    pub failed: &'a mut Vec<FailedPart>,
}

/// A `wasm` step.
pub struct Transform {
    /// Among the stream's steps.
    step: usize,
    calling: Calling,
    retries: u32,
    on_failure: OnFailure,
    instances: Instances,
    health: Health,
    /// For `instances: reuse`.
    idle: Mutex<Vec<Instance>>,
    /// CPU time of the longest quick call that gave an answer, in microseconds.
    longest_call: AtomicU64,
    stream: String,
    name: String,
    arn: Arc<str>,
}

impl Transform {
    pub fn new(step: usize, stream: &str, config: WasmConfig) -> Result<Self, ComponentError> {
        let (name, arn) = (config.component.name(), config.component.arn());
        let code = config.component.code().ok_or_else(|| ComponentError {
            message: format!("the component `{name}` has not been compiled"),
            help: None,
        })?;
        let log = GuestLog::new(stream, &name);
        let calling = Calling {
            code,
            config: config.config,
            memory_bytes_max: config.memory_bytes_max,
            timeout: config.timeout,
            batch_bytes_max: config.batch_bytes_max,
            log,
        };
        Ok(Self {
            step,
            calling,
            retries: config.retries,
            on_failure: config.on_failure,
            instances: config.instances,
            health: Health::default(),
            idle: Mutex::default(),
            longest_call: AtomicU64::new(0),
            stream: stream.to_owned(),
            name,
            arn: arn.into(),
        })
    }

    /// Makes its idle instances give way to others'.
    pub fn register(self: &Arc<Self>) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|transform| transform.strong_count() > 0);
        all.push(Arc::downgrade(self));
    }

    /// Bytes of records that one call takes.
    pub fn batch_bytes_max(&self) -> u64 {
        self.calling.batch_bytes_max
    }

    /// `records` through the component, batch by batch. After a [`Stop`] what is in the sink means nothing. Burns CPU.
    pub fn run(
        self: &Arc<Self>,
        of: Batch<'_>,
        records: &[Record<'_>],
        handling: &Handling<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Stop> {
        let mut start = 0;
        while start < records.len() {
            let end = self.batch_end(records, start);
            let seed = Seed { step: self.step as u32, ..of.seed }.moved(start, &records[start]);
            let batch = Trial {
                transform: self,
                of: Batch { seed, ..of },
                records: &records[start..end],
                given: records[start..end].iter().map(Record::given).collect(),
            };
            let first = handling.first_failure.filter(|first| (first.step, first.batch) == (self.step, start));
            match handling.pace {
                Pace::Quick => batch.quickly(start, sink)?,
                Pace::Patient => batch.patiently(first, handling, sink)?,
            }
            if sink.passing.is_too_large() {
                return Err(Stop::TooLarge);
            }
            start = end;
        }
        Ok(())
    }

    /// The component's file name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns when it is time to try again. Cancel-safe.
    pub async fn wait(&self, delay: Duration) {
        self.health.wait(delay).await;
    }

    fn batch_end(&self, records: &[Record<'_>], start: usize) -> usize {
        let mut bytes = 0;
        let mut fits = |record: &Record<'_>| {
            bytes += record.data.len() as u64;
            bytes <= self.calling.batch_bytes_max
        };
        let fitting = records[start..].iter().take(BATCH_RECORDS_MAX).take_while(|record| fits(record)).count();
        start + fitting.max(1)
    }

    /// In an instance that other batches may have met, if the step says so.
    fn attempt(&self, batch: Batch<'_>, given: &[Given<'_>]) -> Result<Answer, CallError> {
        let mut instance = match self.lock_idle().pop() {
            Some(instance) => instance,
            None => self.calling.instance(batch.seed)?,
        };
        let begun = thread_time();
        let answer = self.calling.transform(&mut instance, batch, given, self.quick_timeout())?;
        self.longest_call.fetch_max(thread_time().saturating_sub(begun).as_micros() as u64, Ordering::Relaxed);
        let mut idle = self.lock_idle();
        if self.instances == Instances::Reuse && !instance.is_spent() && idle.len() < IDLE_MAX {
            idle.push(instance);
        }
        Ok(answer)
    }

    /// Time for a call where it keeps a core from other streams: several times what the longest one has taken, but a component
    /// that loops is found out soon, and has its whole time where it disturbs nobody.
    fn quick_timeout(&self) -> Duration {
        let longest = Duration::from_micros(self.longest_call.load(Ordering::Relaxed));
        (longest * QUICK_FACTOR).max(QUICK_MIN).min(self.calling.timeout)
    }

    /// In a new one: what failed before may have been the fault of an old instance.
    fn attempt_afresh(&self, batch: Batch<'_>, given: &[Given<'_>], timeout: Duration) -> Result<Answer, CallError> {
        let mut instance = self.calling.instance(batch.seed)?;
        self.calling.transform(&mut instance, batch, given, timeout)
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a whole batch is tried before it is taken apart.
    fn attempts_max(&self, error: &CallError) -> u32 {
        match error {
            CallError::TimedOut { .. }
            | CallError::MemoryOverrun { .. }
            | CallError::TableOverrun { .. }
            | CallError::MemoryRefused { .. } => 1 + self.retries,
            CallError::Trapped(_)
            | CallError::Malformed(_)
            | CallError::Realloc(_)
            | CallError::InitRefused(_)
            | CallError::NoEngine(_) => 2,
            CallError::Init(cause) | CallError::NoInstance(cause) => self.attempts_max(cause),
            CallError::WrongCount { .. } | CallError::TooLarge { .. } | CallError::NoRoom(_) | CallError::Abandoned => {
                1
            }
        }
    }

    /// Whether `records` that fail are at fault, and not the component: a record that has passed before still does. For so many
    /// records in a row, no more; a component that passes nothing else is down all the same.
    fn passes_probe(&self, records: usize) -> bool {
        let Some(probe) = self.health.probe().filter(|_| self.health.may_spare(records)) else { return false };
        let (batch, given) = probe.batch();
        self.attempt_afresh(batch, &[given], self.calling.timeout).is_ok()
    }

    fn succeeded(&self) {
        if self.health.succeeded() {
            info!(stream = %self.stream, component = %self.name, "the transform works again");
        }
    }

    fn failure(&self, code: ErrorCode, message: &str, attempts: u32) -> Failure {
        Failure::of_transform(format!("`{}`: {message}", self.name), code, attempts, self.arn.clone())
    }
}

/// One batch of a step.
struct Trial<'a> {
    transform: &'a Arc<Transform>,
    of: Batch<'a>,
    records: &'a [Record<'a>],
    given: Vec<Given<'a>>,
}

impl Trial<'_> {
    fn quickly(&self, start: usize, sink: &mut Sink<'_>) -> Result<(), Stop> {
        let transform = self.transform;
        if transform.health.is_doubtful() {
            return Err(Stop::Patience(None));
        }
        match transform.attempt(self.of, &self.given) {
            Ok(answer) => self.pass(0, answer, sink),
            // It was not given all its time, or there was no room: that is no failure.
            Err(CallError::TimedOut { limit_ms }) if u128::from(limit_ms) < transform.calling.timeout.as_millis() => {
                return Err(Stop::Patience(None));
            }
            Err(error) if error.is_nobodys_fault() => return Err(Stop::Patience(None)),
            Err(error) => {
                let first = FirstFailure { step: transform.step, batch: start, error };
                return Err(Stop::Patience(Some(first)));
            }
        }
        Ok(())
    }

    fn patiently(
        &self,
        first: Option<&FirstFailure>,
        handling: &Handling<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Stop> {
        let transform = self.transform;
        let was_down = transform.health.is_down();
        let (mut last, mut attempts) = (first.map(|first| first.error.clone()), u32::from(first.is_some()));
        let error = loop {
            if let Some(error) = last
                && (was_down || attempts >= transform.attempts_max(&error))
            {
                break error;
            }
            match transform.attempt_afresh(self.of, &self.given, transform.calling.timeout) {
                Ok(answer) => {
                    self.pass(0, answer, sink);
                    return Ok(());
                }
                Err(error) => (last, attempts) = (Some(error), attempts + 1),
            }
        };
        if error.is_nobodys_fault() {
            return Err(self.later(&error));
        }
        if matches!(error, CallError::Init(_) | CallError::NoInstance(_) | CallError::NoEngine(_)) {
            transform.health.is_broken();
        }
        if transform.health.is_down() && !handling.had_failed && !transform.passes_probe(self.records.len()) {
            return self.component_is_down(&error, attempts, handling.has_waited, sink);
        }
        self.take_apart(error, attempts, handling, sink)
    }

    fn take_apart(
        &self,
        error: CallError,
        attempts: u32,
        handling: &Handling<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Stop> {
        let transform = self.transform;
        let (begun, mut has_success, mut is_spared) = (thread_time(), false, handling.had_failed);
        let mut poison = Vec::new();
        let give_up_after = transform.calling.timeout * GIVE_UP_AFTER;
        let records = self.given.len();
        let attempt = |part: Range<usize>| {
            let share = transform.calling.timeout.mul_f64(part.len() as f64 / records as f64);
            let share = share.max(SHARE_MIN.min(transform.calling.timeout));
            match transform.attempt_afresh(self.of_part(&part), &self.given[part.clone()], share) {
                Ok(answer) => {
                    has_success = true;
                    self.pass(part.start, answer, sink);
                    Tried::Succeeded
                }
                Err(error) if error.is_nobodys_fault() => Tried::GivenUp(error),
                Err(error) if !has_success && thread_time().saturating_sub(begun) > give_up_after => {
                    is_spared = is_spared || self.finds_one_that_passes();
                    if is_spared { Tried::Failed(error) } else { Tried::GivenUp(error) }
                }
                Err(error) => Tried::Failed(error),
            }
        };
        let result =
            isolate(records, (error, attempts), attempt, |at, error, attempts| poison.push((at, error, attempts)));
        if let Err(error) = result {
            if error.is_nobodys_fault() {
                return Err(self.later(&error));
            }
            transform.health.failed(records);
            return self.component_is_down(&error, attempts + 1, handling.has_waited, sink);
        }
        for (at, error, attempts) in poison {
            self.fail(at, ErrorCode::TransformFailed, &error.to_string(), attempts, sink);
        }
        if !has_success && !handling.had_failed {
            transform.health.failed(records);
        }
        Ok(())
    }

    /// The batch comes again, and nothing is said against the component. If it was for want of room, the places that all steps
    /// hold without need are given back, and the stream waits for others to do so.
    fn later(&self, error: &CallError) -> Stop {
        if patient::is_abandoned() {
            return Stop::Patience(None);
        }
        for transform in ALL.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            transform.lock_idle().clear();
        }
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
            *said = Some(Instant::now());
            let (stream, component) = (&self.transform.stream, &self.transform.name);
            warn!(%stream, %component, %error, "no instance of the transform can be made now: the stream waits");
        }
        let down = Down::NoRoom { component: self.transform.name.clone(), reason: error.to_string() };
        Stop::Wait { transform: self.transform.clone(), delay: ROOM_DELAY, down }
    }

    /// Whether taking the batch apart is worth its time although nothing has passed yet: a record that has passed before still
    /// does, or one of some that are spread over the batch.
    fn finds_one_that_passes(&self) -> bool {
        let passes = |at: usize| {
            let given = &self.given[at..=at];
            self.transform.attempt_afresh(self.of_part(&(at..at + 1)), given, SHARE_MIN).is_ok()
        };
        let step = self.given.len().div_ceil(SAMPLES);
        self.transform.passes_probe(self.given.len()) || (0..self.given.len()).rev().step_by(step).any(passes)
    }

    /// A part's world begins with its own first record.
    fn of_part(&self, part: &Range<usize>) -> Batch<'_> {
        let seed = self.records.get(part.start).map_or(self.of.seed, |first| self.of.seed.moved(part.start, first));
        Batch { seed, ..self.of }
    }

    fn component_is_down(
        &self,
        error: &CallError,
        attempts: u32,
        has_waited: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), Stop> {
        let transform = self.transform;
        if patient::is_abandoned() {
            return Err(Stop::Patience(None)); // Whatever failed then says nothing.
        }
        if transform.health.may_shout() {
            let what = match transform.on_failure {
                OnFailure::Wait => "the transform fails for every batch: the delivery stream waits",
                OnFailure::Backup => "the transform fails for every batch: its records go to the error output",
            };
            error!(stream = %transform.stream, component = %transform.name, %error, "{what}");
        }
        let delay = match transform.on_failure {
            OnFailure::Wait => transform.health.next_delay(),
            OnFailure::Backup if !has_waited => DIVERT_DELAY,
            OnFailure::Backup => {
                let message = error.to_string();
                for at in 0..self.records.len() {
                    self.fail(at, ErrorCode::TransformFailed, &message, attempts, sink);
                }
                return Ok(());
            }
        };
        let down = Down::Fails { component: transform.name.clone(), reason: error.to_string() };
        Err(Stop::Wait { transform: transform.clone(), delay, down })
    }

    /// Outcomes of the records from `start` on.
    fn pass(&self, start: usize, mut answer: Answer, sink: &mut Sink<'_>) {
        self.transform.succeeded();
        if let Some(record) = self.records.get(start) {
            let seed = self.of.seed.moved(start, record);
            self.transform.health.passed(&record.given(), Batch { seed, ..self.of });
        }
        let fates = std::mem::take(&mut answer.fates);
        if start == 0
            && sink.passing.records.is_empty()
            && let Some(ends) = plain_ends(&fates)
        {
            let named = self.records.iter().map(|record| (record.source, record.keys.cloned()));
            return sink.passing.begin_with(std::mem::take(&mut answer.data), ends, named.take(fates.len()));
        }
        sink.passing.reserve(self.records);
        for (at, fate) in (start..).zip(fates) {
            match fate {
                Fate::Ok(made) => self.pass_made(at, [made], &answer.data, sink),
                Fate::Many(made) => self.pass_made(at, made, &answer.data, sink),
                Fate::Dropped => {}
                Fate::ProcessingFailed(reason) => {
                    let reason = printable(&reason, REASON_BYTES_MAX);
                    self.fail(at, ErrorCode::TransformRefused, &reason, 1, sink);
                }
            }
        }
    }

    fn pass_made(&self, at: usize, made: impl IntoIterator<Item = MadeRecord>, data: &[u8], sink: &mut Sink<'_>) {
        let (record, mark) = (&self.records[at], sink.passing.mark());
        for made in made {
            if sink.passing.is_too_large() {
                return; // The slice comes again, in parts.
            }
            if let Some(message) = refused_keys(&made.partition_keys) {
                sink.passing.truncate(mark);
                return self.fail(at, ErrorCode::TransformFailed, &message, 1, sink);
            }
            let has_keys = !made.partition_keys.is_empty();
            let keys = merged(record.keys, made.partition_keys);
            if let Some(keys) = keys.as_ref().filter(|_| has_keys) {
                sink.passing.add_key_bytes(keys);
            }
            if let Err(failure) = sink.passing.push(&data[made.data.range()], record.source, keys) {
                sink.passing.truncate(mark);
                sink.failed.push(FailedPart { source: record.source, data: record.data.to_vec(), failure });
                return;
            }
        }
    }

    fn fail(&self, at: usize, code: ErrorCode, message: &str, attempts: u32, sink: &mut Sink<'_>) {
        let record = &self.records[at];
        let failure = self.transform.failure(code, message, attempts);
        sink.failed.push(FailedPart { source: record.source, data: record.data.to_vec(), failure });
    }
}

impl Seed {
    /// That of a batch which begins `by` records behind this one, with `first`.
    fn moved(self, by: usize, first: &Record<'_>) -> Self {
        Self { position: first.position.fold(), index: self.index + by as u32, ..self }
    }
}

/// Where each record ends in the answer's data, if every outcome is `ok` and sets no keys, as most answers are.
fn plain_ends(fates: &[Fate]) -> Option<Vec<u32>> {
    let end = |fate: &Fate| match fate {
        Fate::Ok(made) if made.partition_keys.is_empty() => Some(made.data.end),
        Fate::Ok(_) | Fate::Many(_) | Fate::Dropped | Fate::ProcessingFailed(_) => None,
    };
    fates.iter().map(end).collect()
}

/// What is wrong with the keys that a component has set for one record: each one costs as often as the record is split later.
fn refused_keys(keys: &[(String, String)]) -> Option<String> {
    let bytes: usize = keys.iter().map(|(name, value)| name.len() + value.len()).sum();
    if keys.len() <= PARTITION_KEYS_MAX && bytes <= PARTITION_KEY_BYTES_MAX {
        return None;
    }
    let limits = format!("at most {PARTITION_KEYS_MAX} of together {PARTITION_KEY_BYTES_MAX} bytes are allowed");
    Some(format!("the component set {} partition keys of together {bytes} bytes; {limits}", keys.len()))
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
