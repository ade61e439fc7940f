//! One life of a delivery stream: what it needs is opened, what earlier lives have left is recovered, and its source is started.
//!
//! Always true: everything that a life has started is among its tasks, which the next life waits for.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::model::{DeliveryStreamConfig, SourceConfig};
use crate::destination::AttemptError;
use crate::destination::retry::RetryLimits;
use crate::journal::{Journal, JournalError};
use crate::ledger::OutOfOrder;
use crate::memory::MemoryBudget;
use crate::output::{Outputs, Room};
use crate::pool::ComputePool;
use crate::processing::{self, Processing, Shape, Stage};
use crate::recovery::{Asking, RecoveryError, recover};
use crate::source::file::FileSource;
use crate::source::{SourceContext, SourceError};
use crate::status::StreamStatus;

use super::{Identity, Stream, fingerprint};

/// Events that may wait between the source and the stream; their memory is bounded by the budget.
const CHANNEL: usize = 4;

/// What a delivery stream shares with the rest of the daemon.
#[derive(Clone)]
pub struct Environment {
    pub journal: Journal,
    pub budget: MemoryBudget,
    pub pool: ComputePool,
    pub limits: RetryLimits,
    /// Read to the present end, then finish.
    pub drain: bool,
}

/// One life of a stream: cancelled tokens, and the tasks that must have ended before the next life begins.
pub struct Life {
    /// Stop reading, deliver what is there, finish.
    pub stop: CancellationToken,
    /// Finish at once; what is not settled comes next time.
    pub abandon: CancellationToken,
    pub tasks: TaskTracker,
}

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the source panicked")]
    SourcePanicked,
    #[error("the source ended before it had read everything")]
    SourceEnded,
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("a glob of the source cannot be used")]
    Glob(#[from] globset::Error),
    #[error("a processor cannot be used")]
    Processing(#[from] processing::ConfigError),
    #[error("a destination cannot be opened")]
    Destination(#[from] AttemptError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// Runs one life of a delivery stream, to its end.
pub async fn run(
    config: &DeliveryStreamConfig,
    environment: &Environment,
    life: &Life,
    status: Arc<StreamStatus>,
) -> Result<(), StreamError> {
    let Environment { journal, limits, .. } = environment;
    let (name, fingerprint) = (config.name.clone(), fingerprint::of_configuration(config));
    let made_by = fingerprint::of_processing(config);
    let row = journal.run("stream", move |journal| journal.stream(&name, &fingerprint)).await?;
    let budget = environment.budget.join();
    let room = Room { stream: &config.name, journal, memory_share: budget.share(), tasks: &life.tasks };
    let outputs = Outputs::open(config, room).await?;
    let asking = Asking { limits: *limits, cancel: &life.abandon, status: &status };
    let Some(mut recovered) = recover(&row, &made_by, &outputs, room, &asking).await? else { return Ok(()) };

    let SourceConfig::File(file) = &config.source;
    let steps = file.encodings().into_iter().map(|encoding| (encoding, config.steps(encoding))).collect();
    let processing =
        Processing::open(&config.name, steps, &config.output_delimiter, Shape::default()).await?.map(Arc::new);
    let (events, receiver) = mpsc::channel(CHANNEL);
    let context = SourceContext {
        stream_name: config.name.clone(),
        stream: row.id,
        scanned: row.scanned,
        journal: journal.clone(),
        budget: budget.clone(),
        copies: outputs.copies() + u64::from(processing.is_some()),
        cuts: std::mem::take(&mut recovered.cuts),
        told: std::mem::take(&mut recovered.told),
        events,
        stop: life.stop.clone(),
        drain: environment.drain,
        counters: status.source.clone(),
    };
    let arrivals = Stage::new(receiver, processing, environment.pool.clone(), budget.clone());
    let mut stream =
        Stream::new(config, environment, life, Identity { row, processing: made_by }, outputs, budget, status);
    stream.resume(recovered);
    let source = FileSource::new(file.clone(), context)?;
    let waker = source.waker();
    let stop = life.stop.clone();
    life.tasks.spawn(async move {
        stop.cancelled().await;
        waker.call();
    });
    let ended = spawn_source(source, life)?;
    let result = stream.run(arrivals).await;
    life.stop.cancel();
    // Its end is waited for by whoever began this life; here its own error counts only if there is no other.
    result?;
    if life.abandon.is_cancelled() { Ok(()) } else { ended.await.map_err(|_| StreamError::SourcePanicked)? }
}

/// A source has a thread of its own: it waits for most of its life, and there may be more sources than the pool has threads.
fn spawn_source(source: FileSource, life: &Life) -> Result<oneshot::Receiver<Result<(), StreamError>>, StreamError> {
    let (sender, ended) = oneshot::channel();
    let token = life.tasks.token();
    let thread = std::thread::Builder::new().name(String::from("source"));
    let run = move || {
        // Nobody listens when the stream has ended before its source.
        let _ = sender.send(source.run().map_err(StreamError::Source));
        drop(token);
    };
    thread.spawn(run).map_err(StreamError::Thread)?;
    Ok(ended)
}
