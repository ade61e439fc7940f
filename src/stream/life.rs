//! One life of a delivery stream: what it needs is opened, what earlier lives have left is recovered, and its source is started.
//!
//! Always true: everything that a life has started is among its tasks, which the next life waits for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::chain::chain;
use crate::config::model::{DeliveryStreamConfig, DestinationConfig, ObjectStoreConfig};
use crate::destination::AttemptError;
use crate::destination::retry::RetryLimits;
use crate::journal::{Journal, JournalError};
use crate::ledger::OutOfOrder;
use crate::memory::MemoryBudget;
use crate::output::{Outputs, Room, Tabular};
use crate::partition::{COMPONENT_BYTES_MAX, Partitioner, Query, QueryError, RecordTime};
use crate::pool::ComputePool;
use crate::processing::{self, Processing, Shape, Stage};
use crate::recovery::{Asking, RecoveryError, recover};
use crate::schema::Watch;
use crate::source::{self, Source, SourceContext, SourceError};
use crate::status::StreamStatus;

use super::converting::{self, Converting, ConvertingError, record_time_formats};
use super::sealing::Partitioning;
use super::{Identity, Stream, fingerprint};

/// Of a key behind the stream's name: version, time and delivery id, with dashes; and of the longest extension that a compression
/// has.
const SUFFIX_BYTES: usize = 1 + 20 + 1 + 19 + 1 + 36;
const EXTENSION_BYTES: usize = 7;

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
    #[error(transparent)]
    SourceOpen(#[from] source::OpenError),
    #[error("a processor cannot be used")]
    Processing(#[from] processing::ConfigError),
    #[error("a destination cannot be opened")]
    Destination(#[from] AttemptError),
    #[error("records cannot be converted")]
    Converting(#[from] ConvertingError),
    #[error("a partition key cannot be used")]
    PartitionKey(#[from] QueryError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// Why a life has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has been told to, or has read everything.
    Done,
    /// Its schema has another version; the next life begins with it at once.
    SchemaChanged,
}

/// Runs one life of a delivery stream, to its end.
pub async fn run(
    config: &DeliveryStreamConfig,
    environment: &Environment,
    life: &Life,
    status: Arc<StreamStatus>,
) -> Result<Ended, StreamError> {
    let Environment { journal, limits, .. } = environment;
    let (name, fingerprint) = (config.name.clone(), fingerprint::of_configuration(config));
    let row = journal.run("stream", move |journal| journal.stream(&name, &fingerprint)).await?;
    let budget = environment.budget.join();
    let converting = match &config.format_conversion {
        Some(conversion) => Some(Converting::open(conversion, config, journal.state_dir(), budget.clone()).await?),
        None => None,
    };
    let made_by = fingerprint::of_processing(config, converting.as_ref().map(|converting| &converting.schema));
    let (tabular, conversion, watch) = match converting {
        Some(Converting { table, format, conversion, watch, .. }) => {
            (Some(Tabular { table, format }), Some(conversion), watch)
        }
        None => (None, None, None),
    };
    let partitioner = partitioner(config)?.map(Arc::new);
    let room = Room { stream: &config.name, journal, memory_share: budget.share(), tasks: &life.tasks };
    let outputs = Outputs::open(config, tabular, room).await?;
    let asking = Asking { limits: *limits, cancel: &life.abandon, status: &status };
    let Some(mut recovered) = recover(&row, &made_by, &outputs, room, &asking).await? else { return Ok(Ended::Done) };

    let steps = config.source.encodings().into_iter().map(|encoding| (encoding, config.steps(encoding))).collect();
    let keeps_ends = outputs.destination.place.target.is_receiver();
    let shape = Shape { partitioner: partitioner.clone(), conversion, keeps_ends };
    let processing = Processing::open(&config.name, steps, &config.output_delimiter, shape).await?.map(Arc::new);
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
    let identity = Identity { row, processing: made_by };
    let mut stream = Stream::new(config, environment, life, identity, outputs, budget, status);
    stream.partitioning = partitioner.map(|partitioner| Partitioning::new(config, partitioner));
    let schema_changed = watch.filter(|_| !environment.drain).map(|watch| follow(watch, config.clone(), life));
    stream.resume(recovered);
    let source = source::open(&config.source, context)?;
    let (wake, stop) = (source.waker(), life.stop.clone());
    life.tasks.spawn(async move {
        stop.cancelled().await;
        wake();
    });
    let ended = spawn_source(source, life)?;
    let result = stream.run(arrivals).await;
    life.stop.cancel();
    // Its end is waited for by whoever began this life; here its own error counts only if there is no other, or if it is why the
    // stream has ended.
    let may_be_the_source = matches!(result, Ok(()) | Err(StreamError::SourceEnded));
    if may_be_the_source && !life.abandon.is_cancelled() {
        ended.await.map_err(|_| StreamError::SourcePanicked)??;
    }
    result?;
    let has_changed = schema_changed.is_some_and(|changed| changed.load(Ordering::Relaxed));
    Ok(if has_changed { Ended::SchemaChanged } else { Ended::Done })
}

/// What is done with the records of a stream after all steps, for whoever only looks: nothing is kept.
pub async fn shape_to_look(config: &DeliveryStreamConfig, state_dir: &Path) -> Result<Shape, StreamError> {
    let conversion = match &config.format_conversion {
        Some(conversion) => Some(converting::to_look(conversion, config, state_dir).await?),
        None => None,
    };
    Ok(Shape { partitioner: partitioner(config)?.map(Arc::new), conversion, keeps_ends: false })
}

/// Looks for another version of the schema; with one that fits the stream, this life reads no further.
fn follow(mut watch: Watch, config: DeliveryStreamConfig, life: &Life) -> Arc<AtomicBool> {
    let has_changed = Arc::new(AtomicBool::new(false));
    let (flag, stop) = (has_changed.clone(), life.stop.clone());
    life.tasks.spawn(async move {
        let stream = config.name.as_str();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(watch.interval()) => {}
            }
            let schema = match watch.poll().await {
                Ok(None) => continue,
                Ok(Some(schema)) => schema,
                Err(error) => {
                    warn!(stream, %error, "a new version of the schema cannot be had; the last one stays");
                    continue;
                }
            };
            if let Err(error) = converting::check_fits(&config, &schema) {
                let error = chain(&error);
                warn!(stream, refused = %schema, error, "a version of the schema does not fit the stream's options; the last good one stays");
                continue;
            }
            watch.take(schema.clone());
            info!(stream, %schema, "a new version of the schema: it counts once all that was read is delivered");
            flag.store(true, Ordering::Relaxed);
            stop.cancel();
            return;
        }
    });
    has_changed
}

/// What tells the partition of a record; `None` where the prefix asks nothing of them.
fn partitioner(config: &DeliveryStreamConfig) -> Result<Option<Partitioner>, StreamError> {
    let (mut queries, mut record_time) = (Vec::new(), None);
    if let Some(partitioning) = &config.partitioning {
        for (name, program) in &partitioning.keys {
            queries.push((name.clone(), Query::compile(program)?));
        }
        if let Some(time) = &partitioning.record_time {
            record_time = Some(RecordTime::new(&time.field, record_time_formats(&time.formats)?)?);
        }
    }
    let store = match &config.destination {
        DestinationConfig::Objects(store) => store,
        DestinationConfig::OpenSearch(cluster) => {
            return Ok(Partitioner::of_index(&cluster.index, queries, record_time.as_ref()));
        }
        DestinationConfig::HttpEndpoint(_) => return Ok(None),
    };
    let layout = store.layout();
    let component_bytes_max = match store {
        ObjectStoreConfig::Directory(..) => COMPONENT_BYTES_MAX,
        ObjectStoreConfig::S3(..) => usize::MAX,
    };
    let extension = layout.file_extension.as_ref().map_or(EXTENSION_BYTES, String::len);
    let suffix_bytes = config.object_name().len() + SUFFIX_BYTES + extension;
    let partitioner = Partitioner::new(
        &layout.prefix,
        queries,
        record_time.as_ref(),
        &layout.time_zone,
        suffix_bytes,
        component_bytes_max,
    );
    Ok(partitioner)
}

/// A source has a thread of its own: it waits for most of its life, and there may be more sources than the pool has threads.
fn spawn_source(
    source: Box<dyn Source>,
    life: &Life,
) -> Result<oneshot::Receiver<Result<(), StreamError>>, StreamError> {
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
