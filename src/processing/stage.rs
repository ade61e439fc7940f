//! The stage between source and buffers: chunks are processed side by side on the compute pool and leave in order.
//!
//! Always true: events leave in the order in which they came, and each chunk leaves exactly once. At most one chunk for each
//! core and one more wait here, with the memory that was granted for them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::memory::StreamBudget;
use crate::partition::Partition;
use crate::pool::ComputePool;
use crate::record::{Chunk, Content};
use crate::source::SourceEvent;

use super::wasm::Pace;
use super::{ErrorType, Next, Processing, Progress, Work, patient};

/// What arrives at the buffers.
pub enum Arrival {
    /// Anything but a chunk, or a chunk of a stream without processing.
    Event(SourceEvent),
    Processed(Processed),
}

/// A chunk of the source, and what processing has made of it.
pub struct Processed {
    pub source: Chunk,
    /// What leaves, for each record of `source`; nothing for those that failed or were dropped.
    pub chunk: Chunk,
    /// Ascending by index, and within it by goal.
    pub apart: Vec<Apart>,
}

/// What of one source record does not leave with its chunk.
#[derive(Debug, Clone)]
pub struct Apart {
    /// In its chunk.
    pub index: usize,
    pub goal: Goal,
    pub content: Content,
    /// Lines of the error output, or records or rows of the destination.
    pub records: u64,
}

/// Where something leaves apart from its chunk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// Another partition of the destination than that of the record's first part.
    Partition(Partition),
    /// It has failed.
    Failed(ErrorType),
}

/// The receiving end of a source's events.
pub struct Stage {
    events: mpsc::Receiver<SourceEvent>,
    /// `None`: chunks pass as they are.
    processing: Option<Arc<Processing>>,
    pool: ComputePool,
    budget: Arc<StreamBudget>,
    waiting: VecDeque<Waiting>,
    has_ended: bool,
}

enum Waiting {
    Event(SourceEvent),
    /// A component may keep it waiting for ever: it ends with the stage.
    Chunk(AbortOnDropHandle<(Processed, Option<Chunk>)>),
}

impl Stage {
    pub fn new(
        events: mpsc::Receiver<SourceEvent>,
        processing: Option<Arc<Processing>>,
        pool: ComputePool,
        budget: Arc<StreamBudget>,
    ) -> Self {
        Self { events, processing, pool, budget, waiting: VecDeque::new(), has_ended: false }
    }

    /// How many chunks of a stream are processed side by side.
    pub fn chunks_at_a_time(pool: &ComputePool) -> usize {
        pool.cores() + 1
    }

    /// The next arrival; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arrival> {
        loop {
            if let Some(Waiting::Event(_)) = self.waiting.front()
                && let Some(Waiting::Event(event)) = self.waiting.pop_front()
            {
                return Some(Arrival::Event(event));
            }
            let may_take = !self.has_ended && self.waiting.len() < Self::chunks_at_a_time(&self.pool);
            tokio::select! {
                biased;
                (processed, rest) = first(&mut self.waiting), if !self.waiting.is_empty() => {
                    self.waiting.pop_front();
                    if let Some(rest) = rest {
                        self.waiting.push_front(self.begin(SourceEvent::Chunk(rest)));
                    }
                    return Some(Arrival::Processed(processed));
                }
                event = self.events.recv(), if may_take => match event {
                    Some(event) => self.waiting.push_back(self.begin(event)),
                    None => self.has_ended = true,
                },
                else => return None,
            }
        }
    }

    fn begin(&self, event: SourceEvent) -> Waiting {
        match (event, &self.processing) {
            (SourceEvent::Chunk(chunk), Some(processing)) => {
                let (processing, pool, budget) = (processing.clone(), self.pool.clone(), self.budget.clone());
                Waiting::Chunk(AbortOnDropHandle::new(tokio::spawn(process(chunk, processing, pool, budget))))
            }
            (event, _) => Waiting::Event(event),
        }
    }
}

/// One chunk through all steps, or as much of it as may be held, however long a component keeps it waiting.
async fn process(
    chunk: Chunk,
    processing: Arc<Processing>,
    pool: ComputePool,
    budget: Arc<StreamBudget>,
) -> (Processed, Option<Chunk>) {
    let (mut work, mut next) = (Work::new(chunk), Next::Quick);
    loop {
        let (processing, budget) = (processing.clone(), budget.clone());
        let progress = match next {
            Next::Quick => crate::pool::join(pool.spawn(move || processing.run(work, Pace::Quick, &budget))).await,
            Next::Patient => patient::run(move || processing.run(work, Pace::Patient, &budget)).await,
            Next::Wait { transform, delay } => {
                transform.wait(delay).await;
                next = Next::Patient;
                continue;
            }
        };
        match progress {
            Progress::Done(done) => return *done,
            Progress::Later(later) => (work, next) = *later,
        }
    }
}

/// The outcome of the first chunk that waits. Cancel-safe: a handle that was not ready is awaited again.
async fn first(waiting: &mut VecDeque<Waiting>) -> (Processed, Option<Chunk>) {
    match waiting.front_mut() {
        Some(Waiting::Chunk(task)) => crate::pool::join(task).await,
        Some(Waiting::Event(_)) | None => std::future::pending().await,
    }
}
