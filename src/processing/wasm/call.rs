//! One call of a component: an instance, a batch, its outcomes.
//!
//! Always true: a call ends within its time and memory whatever the guest does, and leaves nothing behind. Its world is the
//! seed's and nothing else's, so the same batch meets the same world again.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::memory::blocks;
use crate::record::{Origins, Position};

use super::super::patient;
use super::bindings::{Fate, Transform, TransformPre};
use super::engine::{Ticking, engine};
use super::inputs::Inputs;
use super::limits::{MemoryLimit, Refusal, TABLE_ELEMENTS_MAX, is_of_the_system};
use super::log::{GuestLog, printable};
use super::outcomes;
use super::world::{Guest, Seed};

/// So many bytes of answer are read for each byte that a batch may have. Lambda's response is as large as its request may be.
const ANSWER_FACTOR: u64 = 6;
/// Room in the answer for what is no data.
const ANSWER_BYTES_FOR_A_RECORD: u64 = 256;
/// How much of a guest's message is kept.
const MESSAGE_BYTES_MAX: usize = 1000;
/// Names of the guest's functions that are said of a trap.
const FRAMES_MAX: usize = 5;

/// Why a call has given no outcomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("the component took longer than {limit_ms} ms of CPU time")]
    TimedOut { limit_ms: u64 },
    #[error("the component needed more than {limit_mb} MB of memory{}", said(.trap))]
    MemoryOverrun { limit_mb: u64, trap: String },
    #[error("the component needed tables of more than {TABLE_ELEMENTS_MAX} elements{}", said(.trap))]
    TableOverrun { trap: String },
    #[error("the component trapped: {0}")]
    Trapped(String),
    #[error("the component's answer is malformed: {0}")]
    Malformed(String),
    #[error("what the component's `realloc` returned is malformed: {0}")]
    Realloc(String),
    #[error("the component gave {given} outcomes for {expected} records")]
    WrongCount { given: usize, expected: usize },
    #[error("the component's {what} is larger than {ANSWER_FACTOR} times `batch_mb`")]
    TooLarge { what: &'static str },
    #[error("the system gave the component no more memory{}", said(.trap))]
    MemoryRefused { trap: String },
    /// What `init` itself has said.
    #[error("{0}")]
    InitRefused(String),
    /// Whatever the records are, it fails.
    #[error("the component's `init` failed: {0}")]
    Init(Box<CallError>),
    #[error("no instance of the component can be made: {0}")]
    NoInstance(Box<CallError>),
    #[error("components cannot be run: {0}")]
    NoEngine(String),
    /// There is no place or no memory for it just now: neither the component's fault nor the records'.
    #[error("there is no room for another instance: {0}")]
    NoRoom(String),
    /// Nobody waits for the outcomes any more.
    #[error("the delivery stream has been stopped")]
    Abandoned,
}

impl CallError {
    /// Whether it says nothing about the component and the records.
    pub fn is_nobodys_fault(&self) -> bool {
        matches!(self, Self::NoRoom(_) | Self::Abandoned)
    }

    /// As what a failure counts before a batch has been there.
    fn unless_nobodys_fault(self, so: impl FnOnce(Box<Self>) -> Self) -> Self {
        if self.is_nobodys_fault() { self } else { so(Box::new(self)) }
    }
}

fn said(trap: &str) -> String {
    if trap.is_empty() { String::new() } else { format!(": {trap}") }
}

/// What all calls of one `wasm` step have in common.
pub(super) struct Calling {
    pub code: std::sync::Arc<TransformPre<Guest>>,
    /// JSON.
    pub config: String,
    pub memory_bytes_max: u64,
    pub timeout: Duration,
    pub batch_bytes_max: u64,
    pub log: GuestLog,
}

/// One record on its way into a component.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub data: &'a [u8],
    /// Of the source record that it was made from.
    pub position: Position,
    /// Which of the chunk's that record is.
    pub source: u32,
}

/// The batch that a record belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub place: Place<'a>,
    pub seed: Seed,
}

/// Where the records of a batch come from.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    File {
        path: &'a str,
    },
    Shard {
        shard_id: &'a str,
        /// Of all records of the chunk.
        origins: &'a Origins,
    },
}

/// What a component has made of a batch.
pub(super) struct Answer {
    /// One for each record.
    pub fates: Vec<Fate>,
    /// Where the [`Data`](outcomes::Data) of all of them is.
    pub data: Vec<u8>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        blocks::give_back(std::mem::take(&mut self.data));
    }
}

/// An instance after `init`.
pub(super) struct Instance {
    store: Store<Guest>,
    exports: Transform,
    /// Bytes of memory after `init`.
    begun_with: usize,
}

impl Instance {
    /// Whether it has grown so much that it should not be used again.
    pub fn is_spent(&self) -> bool {
        self.store.data().memory.is_spent(self.begun_with)
    }
}

impl Calling {
    /// A new instance, initialized. `init` has the whole `timeout_ms` for itself.
    pub fn instance(&self, seed: Seed) -> Result<Instance, CallError> {
        if patient::is_abandoned() {
            return Err(CallError::Abandoned);
        }
        let engine = engine().map_err(|error| CallError::NoEngine(format!("{error:#}")))?;
        let _ticking = Ticking::begin(engine).map_err(|error| CallError::NoRoom(error.to_string()))?;
        let guest = Guest::new(MemoryLimit::new(self.memory_bytes_max as usize), self.log.clone());
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(|mut guest| {
            let is_over = guest.data_mut().deadline.look();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        store.set_hostcall_fuel(self.answer_bytes_max(0));
        self.prepare(&mut store, seed, self.timeout);
        let exports = match self.code.instantiate(&mut store) {
            Ok(exports) => exports,
            Err(error) if is_no_room(&error) => return Err(CallError::NoRoom(described(&error))),
            Err(error) => {
                let error = self.classify(&mut store, &error, self.timeout);
                return Err(error.unless_nobodys_fault(CallError::NoInstance));
            }
        };
        let error = match exports.call_init(&mut store, &self.config) {
            Ok(Ok(())) => {
                let begun_with = store.data().memory.bytes();
                return Ok(Instance { store, exports, begun_with });
            }
            Ok(Err(message)) => CallError::InitRefused(printable(&message, MESSAGE_BYTES_MAX)),
            Err(error) => self.classify(&mut store, &error, self.timeout),
        };
        Err(error.unless_nobodys_fault(CallError::Init))
    }

    /// The outcomes of `records`, one for each. After an error the instance must not be used again.
    pub fn transform(
        &self,
        instance: &mut Instance,
        batch: Batch<'_>,
        records: &[Given<'_>],
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let Instance { store, exports, .. } = instance;
        let engine = engine().map_err(|error| CallError::NoEngine(format!("{error:#}")))?;
        let _ticking = Ticking::begin(engine).map_err(|error| CallError::NoRoom(error.to_string()))?;
        self.prepare(store, batch.seed, timeout);
        store.set_hostcall_fuel(self.answer_bytes_max(records.len()));
        outcomes::begin(blocks::take(records.iter().map(|record| record.data.len()).sum()));
        let called = exports.call(&mut *store, Inputs { batch, records });
        let mut answer = Answer { fates: Vec::new(), data: outcomes::end() };
        match called {
            Ok(fates) => answer.fates = fates,
            Err(error) => return Err(self.classify(store, &error, timeout)),
        }
        if answer.fates.len() != records.len() {
            return Err(CallError::WrongCount { given: answer.fates.len(), expected: records.len() });
        }
        Ok(answer)
    }

    fn prepare(&self, store: &mut Store<Guest>, seed: Seed, timeout: Duration) {
        let guest = store.data_mut();
        guest.set(seed);
        guest.deadline.set(timeout);
        guest.memory.take_refusal();
        store.set_epoch_deadline(1);
    }

    /// What may be copied out of a guest in one call: elements that all point to the same bytes count each time.
    fn answer_bytes_max(&self, records: usize) -> usize {
        (self.batch_bytes_max * ANSWER_FACTOR + (records as u64 + 1) * ANSWER_BYTES_FOR_A_RECORD) as usize
    }

    fn classify(&self, store: &mut Store<Guest>, error: &wasmtime::Error, timeout: Duration) -> CallError {
        let guest = store.data_mut();
        let text = described(error);
        if guest.deadline.was_passed() {
            if patient::is_abandoned() {
                return CallError::Abandoned;
            }
            return CallError::TimedOut { limit_ms: timeout.as_millis() as u64 };
        }
        match guest.memory.take_refusal() {
            Some(Refusal::Memory) => {
                return CallError::MemoryOverrun { limit_mb: self.memory_bytes_max >> 20, trap: text };
            }
            Some(Refusal::Table) => return CallError::TableOverrun { trap: text },
            Some(Refusal::System) => return CallError::MemoryRefused { trap: text },
            None => {}
        }
        // Wasmtime keeps the type of this error to itself. While an answer is read, no function of the guest is running.
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            let what = if error.is::<WasmBacktrace>() { "log line" } else { "answer" };
            return CallError::TooLarge { what };
        }
        // Of `realloc` as of an answer it is the library that finds fault.
        if text.starts_with("realloc return") {
            return CallError::Realloc(text);
        }
        let has_trapped = error.is::<Trap>() || error.is::<WasmBacktrace>();
        if has_trapped { CallError::Trapped(text) } else { CallError::Malformed(text) }
    }
}

/// Whether the pool has no place for an instance, or the system no memory.
fn is_no_room(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>() || is_of_the_system(error)
}

/// What went wrong, and in which functions of the guest.
fn described(error: &wasmtime::Error) -> String {
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .into_iter()
        .flat_map(|backtrace| backtrace.frames())
        .filter_map(|frame| frame.func_name())
        .take(FRAMES_MAX)
        .collect();
    let place = if names.is_empty() { String::new() } else { format!(", in {}", names.join(" < ")) };
    printable(&format!("{cause}{place}"), MESSAGE_BYTES_MAX)
}
