//! One delivery stream, from its source to its checkpoints: the whole data path.
//!
//! ```text
//!   source ──chunks──▶ route ──▶ buffer + lane ──seal──▶ ship (journal, put) ──▶ settle ──▶ checkpoints
//!                        │ held by a settled delivery: skipped
//!                        └ held by a pending one: into its own lane again ──all read──▶ ship
//! ```
//!
//! One task owns buffers, ledger and account, and never does I/O itself; it reads no further while as many deliveries are
//! under way as may be. That, and the memory budget in which the source waits, is the backpressure.

mod backlog;
mod fingerprint;
mod reforming;
mod routing;
mod settling;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use crate::account::Account;
use crate::buffer::Buffer;
use crate::config::model::{DeliveryStreamConfig, SourceConfig};
use crate::delivery::{Plan, Shipment, Shipped, Shipping};
use crate::destination::AttemptError;
use crate::destination::retry::RetryLimits;
use crate::encode::codec::Codec;
use crate::encode::lane::Lane;
use crate::failpoint;
use crate::journal::{DeliveryRowId, Intent, Journal, JournalError, Kind, StreamRow};
use crate::ledger::{HolderId, Ledger, OutOfOrder};
use crate::memory::{MemoryBudget, Permit, StreamBudget};
use crate::output::{DESTINATION, Output, Outputs, Room};
use crate::pool::ComputePool;
use crate::positions::RecordSet;
use crate::processing::{self, Arrival, Processed, Processing, Stage};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::recovery::{Asking, Owners, RecoveryError, recover};
use crate::source::file::FileSource;
use crate::source::{SourceContext, SourceError, SourceEvent};
use crate::status::StreamStatus;
use backlog::{Backlog, DELIVERIES_MAX};
use reforming::Reforming;

/// Deliveries of one stream that may be under way at the same time.
const IN_FLIGHT_MAX: usize = 8;
/// Events that may wait between the source and the stream; their memory is bounded by the budget.
const CHANNEL: usize = 4;
/// How often the account is compared and moved checkpoints are stored when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

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
    let Some(recovered) = recover(&row, &made_by, &outputs, room, &asking).await? else { return Ok(()) };

    let SourceConfig::File(file) = &config.source;
    let steps = file.encodings().into_iter().map(|encoding| (encoding, config.steps(encoding))).collect();
    let processing = Processing::open(&config.name, steps, &config.output_delimiter).await?.map(Arc::new);
    let (events, receiver) = mpsc::channel(CHANNEL);
    let context = SourceContext {
        stream_name: config.name.clone(),
        stream: row.id,
        scanned: row.scanned,
        journal: journal.clone(),
        budget: budget.clone(),
        copies: outputs.copies() + u64::from(processing.is_some()),
        cuts: recovered.cuts.clone(),
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

struct Stream {
    name: Arc<str>,
    row: StreamRow,
    /// Fingerprint of the processing of this life.
    processing: String,
    drain: bool,
    pool: ComputePool,
    outputs: Outputs,
    /// With a backup of all records, or while copies of an earlier configuration are being formed again.
    makes_copies: bool,
    budget: Arc<StreamBudget>,
    shipping: Shipping,
    stop: CancellationToken,
    status: Arc<StreamStatus>,
    ledger: Ledger,
    partitions: HashMap<PartitionId, Arc<dyn SourcePartition>>,
    /// Read to their end for good; marked in the journal when they are settled.
    gone: HashSet<PartitionId>,
    owners: Owners,
    /// At most one for each output.
    open: BTreeMap<&'static str, OpenBuffer>,
    reforming: BTreeMap<DeliveryRowId, Reforming>,
    settled: Vec<(DeliveryRowId, RecordSet)>,
    /// The checkpoints that are in the journal, as far as this life has stored them.
    stored: HashMap<PartitionId, Position>,
    /// What is in the journal after the last settlement.
    backlog: Backlog,
    /// Memory of what earlier lives have left.
    remembered: Permit,
    /// With `drain`: the source has said that there is nothing more.
    has_read_all: bool,
    shipping_now: JoinSet<Result<Option<Shipped>, JournalError>>,
    in_flight: InFlight,
    next_holder: u64,
    epoch: Instant,
    fate: Account,
    copy: Account,
    /// Records the source had counted before this life.
    read_before: u64,
}

/// What this stream is to the journal.
struct Identity {
    row: StreamRow,
    processing: String,
}

/// Records in sealed deliveries that are not settled.
#[derive(Default)]
struct InFlight {
    fate: u64,
    copy: u64,
}

/// The buffer that collects records of one output at this moment.
struct OpenBuffer {
    holder: HolderId,
    uuid: String,
    buffer: Buffer,
    lane: Lane,
    /// Memory of the ranges in which its records lie.
    ranges: Permit,
    /// Arrival of the oldest record.
    arrival: Timestamp,
    output: Arc<Output>,
}

impl OpenBuffer {
    /// Bytes of memory that sealing would set free sooner or later.
    fn held(&self) -> u64 {
        self.lane.held() + self.ranges.bytes()
    }
}

impl Stream {
    fn new(
        config: &DeliveryStreamConfig,
        environment: &Environment,
        life: &Life,
        identity: Identity,
        outputs: Outputs,
        budget: Arc<StreamBudget>,
        status: Arc<StreamStatus>,
    ) -> Self {
        let name: Arc<str> = config.name.as_str().into();
        let Identity { row, processing } = identity;
        Self {
            drain: environment.drain,
            pool: environment.pool.clone(),
            shipping: Shipping {
                stream: row.id,
                stream_name: name.clone(),
                journal: environment.journal.clone(),
                limits: environment.limits,
                cancel: life.abandon.clone(),
                tasks: life.tasks.clone(),
                status: status.clone(),
            },
            name,
            row,
            processing,
            makes_copies: outputs.backup.is_some(),
            outputs,
            remembered: budget.overdraw(0),
            budget,
            stop: life.stop.clone(),
            ledger: Ledger::default(),
            partitions: HashMap::new(),
            gone: HashSet::new(),
            owners: Owners::default(),
            open: BTreeMap::new(),
            reforming: BTreeMap::new(),
            settled: Vec::new(),
            stored: HashMap::new(),
            backlog: Backlog::new(failpoint::at_most(DELIVERIES_MAX)),
            has_read_all: false,
            shipping_now: JoinSet::new(),
            in_flight: InFlight::default(),
            next_holder: 0,
            epoch: Instant::now(),
            fate: Account::default(),
            copy: Account::default(),
            read_before: status.source.records.load(Ordering::Relaxed),
            status,
        }
    }

    /// The stream from its first event to its end. When it is abandoned, whatever it waits for is dropped.
    async fn run(&mut self, arrivals: Stage) -> Result<(), StreamError> {
        let cancel = self.shipping.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            result = self.drive(arrivals) => result,
        }
    }

    async fn drive(&mut self, mut arrivals: Stage) -> Result<(), StreamError> {
        let mut is_source_done = false;
        let mut tick = tokio::time::interval(TICK);
        loop {
            let may_go_on = self.shipping_now.len() < IN_FLIGHT_MAX;
            // Deliveries of earlier lives settle only when all their records have been read again.
            let has_room = self.backlog.has_room() || !self.reforming.is_empty();
            let may_read = may_go_on && !is_source_done && has_room;
            self.say_sealable(may_go_on);
            if may_go_on {
                self.free_checkpoints();
            }
            if is_source_done && may_go_on && !self.open.is_empty() {
                self.seal_all();
            }
            if is_source_done && self.shipping_now.is_empty() && self.open.is_empty() {
                break;
            }
            let due = self.next_due();
            tokio::select! {
                biased; // what is finished first, then what is due, and only then something new
                Some(done) = self.shipping_now.join_next() => self.settle(done).await?,
                () = self.budget.relief_wanted(), if may_go_on => self.relieve(),
                () = sleep_until(due.unwrap_or(self.epoch)), if may_go_on && due.is_some() => self.seal_due(),
                _ = tick.tick() => {
                    self.compare();
                    self.store_checkpoints().await?;
                    self.cover_remembered();
                }
                arrival = arrivals.next(), if may_read => match arrival {
                    Some(Arrival::Event(event)) => self.take(event).await?,
                    Some(Arrival::Processed(processed)) => self.take_processed(processed).await?,
                    None if self.drain && !self.has_read_all && !self.stop.is_cancelled() => {
                        return Err(StreamError::SourceEnded);
                    }
                    None => is_source_done = true,
                },
            }
        }
        self.store_checkpoints().await?;
        self.compare();
        Ok(())
    }

    async fn take(&mut self, event: SourceEvent) -> Result<(), StreamError> {
        match event {
            SourceEvent::Opened { partition, checkpoint } => {
                // A file that was gone may be back as its compressed twin.
                self.gone.remove(&partition.id());
                self.ledger.open(partition.id(), checkpoint);
                for reforming in self.reforming.values() {
                    let set = &reforming.pending.row.intent.set;
                    if let Some(first) = set.ranges(partition.id()).first() {
                        self.ledger.hold(reforming.holder, partition.id(), *first);
                    }
                }
                self.stored.insert(partition.id(), checkpoint);
                self.partitions.insert(partition.id(), partition);
            }
            SourceEvent::Chunk(chunk) => {
                self.take_processed(Processed { source: chunk.clone(), chunk, failed: Vec::new() }).await?;
            }
            SourceEvent::Oversize(record) => {
                let (partition, range) = (record.partition.id(), record.range);
                self.route_oversize(record).await;
                self.read(partition, range).await?;
            }
            SourceEvent::Skipped { partition, range } => self.read(partition, range).await?,
            SourceEvent::Unreadable { partition, name, from, is_cut } => {
                self.lose(partition, &name, from, is_cut).await?;
            }
            SourceEvent::Gone(partition) => {
                self.gone.insert(partition);
                self.forget_gone().await?;
            }
            SourceEvent::WaitsForRoom => self.seal_all(),
            SourceEvent::End => {
                self.has_read_all = true;
                self.lose_what_is_missing().await?;
            }
        }
        Ok(())
    }

    async fn take_processed(&mut self, processed: Processed) -> Result<(), StreamError> {
        failpoint::panic_in(&self.name);
        let Processed { source, chunk, failed } = processed;
        self.route(&chunk, &failed).await;
        if self.makes_copies {
            self.route_copies(&source).await;
        }
        self.read(source.partition.id(), source.range(0, source.records())).await
    }

    /// Settled deliveries pile up behind the oldest holder. If that is an open buffer, one failed record in it would stop
    /// reading until its interval is over: it is sealed early. One that is on its way already is waited for.
    fn free_checkpoints(&mut self) {
        if !self.backlog.is_half_full() {
            return;
        }
        let oldest = self.ledger.oldest_holder();
        let Some((&name, _)) = self.open.iter().find(|(_, open)| Some(open.holder) == oldest) else { return };
        info!(stream = %self.name, output = name, waiting = self.backlog.deliveries(), "a buffer holds many deliveries back: sealed early");
        self.seal(name);
    }

    /// Says what sealing would set free: nothing while no more deliveries may be under way.
    fn say_sealable(&self, may_go_on: bool) {
        let held = self.open.values().map(OpenBuffer::held).sum();
        self.budget.set_sealable(if may_go_on { held } else { 0 });
    }

    /// Seals the open buffer of an output: from here on it is a delivery.
    fn seal(&mut self, name: &'static str) {
        let Some(mut open) = self.open.remove(name) else { return };
        let Some(sealed) = open.buffer.seal() else { return };
        let output = &open.output;
        // By the journal's account: a hole that was skipped moves the ledger's checkpoint alone.
        let is_unread = |id| self.stored.get(&id).is_none_or(|&stored| stored == Position(0));
        let handle = |id| Some((self.partitions.get(&id)?.clone(), is_unread(id)));
        let partitions = sealed.set.iter().filter_map(|(id, _)| handle(id)).collect();
        let intent = Intent {
            key: output.key(&self.name, self.row.version, open.arrival, &open.uuid),
            uuid: open.uuid,
            kind: output.kind,
            output: output.name.to_owned(),
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
            format: serde_json::to_string(output.format()).unwrap_or_default(),
            version: self.row.version,
            processing: self.processing.clone(),
            arrival_ms: open.arrival.as_millisecond(),
            records: sealed.records,
            set: sealed.set,
            partial: sealed.partial,
        };
        let shipment = Shipment {
            holder: open.holder,
            kind: output.kind,
            is_error_output: output.name != DESTINATION && output.kind == Kind::Fate,
            destination: output.place.destination.clone(),
            content_encoding: Codec::new(output.format().compression).content_encoding(),
            lane: open.lane,
            records: sealed.records,
            plan: Plan::New { intent: Box::new(intent), partitions, ranges: open.ranges },
        };
        self.ship(shipment);
    }

    fn seal_all(&mut self) {
        for name in self.open.keys().copied().collect::<Vec<_>>() {
            self.seal(name);
        }
    }

    fn seal_due(&mut self) {
        let now_ms = self.now_ms();
        let due = |open: &OpenBuffer| open.buffer.due_ms().is_some_and(|due| due <= now_ms);
        for name in self.open.iter().filter(|(_, open)| due(open)).map(|(&name, _)| name).collect::<Vec<_>>() {
            self.seal(name);
        }
    }

    /// Memory is short: the largest buffer is sealed early.
    fn relieve(&mut self) {
        let largest = self.open.iter().max_by_key(|(_, open)| open.held()).map(|(&name, _)| name);
        if let Some(name) = largest {
            self.seal(name);
        }
    }

    fn ship(&mut self, shipment: Shipment) {
        match shipment.kind {
            Kind::Fate => self.in_flight.fate += shipment.records,
            Kind::Copy => self.in_flight.copy += shipment.records,
        }
        self.shipping_now.spawn(self.shipping.clone().ship(shipment));
    }

    /// Compares the account: every record that was read must have a fate or be in flight.
    fn compare(&mut self) {
        let open =
            |kind| self.open.values().filter(move |o| o.output.kind == kind).map(|o| o.buffer.records()).sum::<u64>();
        let reforming = |kind| {
            self.reforming.values().filter(move |r| r.pending.row.intent.kind == kind).map(|r| r.records).sum::<u64>()
        };
        let fate = open(Kind::Fate) + reforming(Kind::Fate) + self.in_flight.fate;
        let copy = open(Kind::Copy) + reforming(Kind::Copy) + self.in_flight.copy;
        self.fate.in_flight = fate;
        self.copy.in_flight = copy;
        for (what, account) in [("records", self.fate), ("copies", self.copy)] {
            if account.difference() != 0 {
                self.status.imbalances.fetch_add(1, Ordering::Relaxed);
                let difference = account.difference();
                error!(stream = %self.name, what, difference, %account, "the account of records does not balance");
            }
        }
        // What the source has counted and the stream has not taken yet waits in the channel.
        let waiting = self.status.source.records.load(Ordering::Relaxed) - self.read_before - self.fate.read;
        let with_waiting = |account: Account| Account {
            read: account.read + waiting,
            in_flight: account.in_flight + waiting,
            ..account
        };
        let copy = if self.makes_copies { with_waiting(self.copy) } else { self.copy };
        self.status.set_accounts(with_waiting(self.fate), copy);
    }

    /// The output of that name; one that this configuration does not have is taken for the destination.
    fn output(&self, name: &str) -> &Arc<Output> {
        match (name, &self.outputs.backup) {
            (crate::output::PROCESSING_FAILED, _) => &self.outputs.processing_failed,
            ("backup", Some(backup)) => backup,
            _ => &self.outputs.destination,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.open.values().filter_map(|open| open.buffer.due_ms()).min()?;
        Some(self.epoch + Duration::from_millis(due))
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn new_holder(&mut self) -> HolderId {
        self.next_holder += 1;
        HolderId(self.next_holder - 1)
    }
}

type Finished = Result<Result<Option<Shipped>, JournalError>, tokio::task::JoinError>;
