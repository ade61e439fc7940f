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

mod accounts;
mod backlog;
mod converting;
mod fingerprint;
mod life;
mod reforming;
mod routing;
mod sealing;
mod settling;

pub use converting::{ConvertingError, decoder, input_options, record_time_formats};
pub use life::{Ended, Environment, Life, StreamError, run, shape_to_look};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::config::model::DeliveryStreamConfig;
use crate::delivery::{Shipment, Shipped, Shipping, Turn};
use crate::failpoint;
use crate::journal::{DeliveryRowId, JournalError, Kind, StreamRow};
use crate::ledger::{HolderId, Ledger};
use crate::memory::{Permit, StreamBudget};
use crate::output::{Output, Outputs, Target};
use crate::pool::ComputePool;
use crate::positions::RecordSet;
use crate::processing::{Arrival, Processed, Stage};
use crate::record::{PartitionId, Position, SourcePartition};
use crate::recovery::Owners;
use crate::source::SourceEvent;
use crate::status::StreamStatus;
use accounts::InFlight;
use backlog::{Backlog, DELIVERIES_MAX};
use reforming::Reforming;
use sealing::{OpenBuffer, Partitioning, Route};

/// Deliveries of one stream that may be under way at the same time.
const IN_FLIGHT_MAX: usize = 8;
/// How often the account is compared and moved checkpoints are stored when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

struct Stream {
    name: Arc<str>,
    /// After which its objects are called.
    object_name: Arc<str>,
    row: StreamRow,
    /// Fingerprint of the processing of this life.
    processing: String,
    drain: bool,
    pool: ComputePool,
    outputs: Outputs,
    /// With a backup of all records, or while copies of an earlier configuration are being formed again.
    makes_copies: bool,
    /// What processing makes of records follows from their batches: the journal keeps them.
    keeps_batches: bool,
    budget: Arc<StreamBudget>,
    shipping: Shipping,
    stop: CancellationToken,
    status: Arc<StreamStatus>,
    ledger: Ledger,
    partitions: HashMap<PartitionId, Arc<dyn SourcePartition>>,
    /// Read to their end for good; marked in the journal when they are settled.
    gone: HashSet<PartitionId>,
    owners: Owners,
    /// With dynamic partitioning.
    partitioning: Option<Partitioning>,
    /// At most one for each partition of an output.
    open: BTreeMap<Route, OpenBuffer>,
    reforming: BTreeMap<DeliveryRowId, Reforming>,
    settled: Vec<(DeliveryRowId, RecordSet)>,
    /// The checkpoints that are in the journal, as far as this life has stored them.
    stored: HashMap<PartitionId, Position>,
    /// Checkpoints may have moved that are not in the journal.
    may_have_moved: bool,
    /// What is in the journal after the last settlement.
    backlog: Backlog,
    /// Memory of what earlier lives have left.
    remembered: Permit,
    /// With `drain`: the source has said that there is nothing more.
    has_read_all: bool,
    shipping_now: JoinSet<Result<Option<Shipped>, JournalError>>,
    in_flight: InFlight,
    /// Of the deliveries that leave in order.
    last_turn: Option<oneshot::Receiver<()>>,
    next_holder: u64,
    /// How often something was put into a buffer.
    pushes: u64,
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
        let object_name: Arc<str> = config.object_name().into();
        let Identity { row, processing } = identity;
        Self {
            drain: environment.drain,
            pool: environment.pool.clone(),
            shipping: Shipping {
                stream: row.id,
                stream_name: name.clone(),
                object_name: object_name.clone(),
                journal: environment.journal.clone(),
                limits: environment.limits,
                cancel: life.abandon.clone(),
                tasks: life.tasks.clone(),
                status: status.clone(),
                pool: environment.pool.clone(),
                budget: budget.clone(),
                child: outputs.child.clone(),
                version: row.version,
            },
            name,
            object_name,
            row,
            processing,
            makes_copies: outputs.backup.is_some(),
            keeps_batches: config.processing.iter().any(|step| step.processor.depends_on_batch()),
            outputs,
            remembered: budget.overdraw(0),
            budget,
            stop: life.stop.clone(),
            ledger: Ledger::default(),
            partitions: HashMap::new(),
            gone: HashSet::new(),
            owners: Owners::default(),
            partitioning: None,
            open: BTreeMap::new(),
            reforming: BTreeMap::new(),
            settled: Vec::new(),
            stored: HashMap::new(),
            may_have_moved: false,
            backlog: Backlog::new(failpoint::at_most(DELIVERIES_MAX), &config.source),
            has_read_all: false,
            shipping_now: JoinSet::new(),
            in_flight: InFlight::default(),
            last_turn: None,
            next_holder: 0,
            pushes: 0,
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
                    if let Some(needed) = reforming.pending.row.intent.needed(partition.id(), checkpoint) {
                        self.ledger.hold(reforming.holder, partition.id(), needed);
                    }
                }
                self.stored.insert(partition.id(), checkpoint);
                self.partitions.insert(partition.id(), partition);
            }
            SourceEvent::Chunk(chunk) => {
                self.take_processed(Processed { source: chunk.clone(), chunk, apart: Vec::new() }).await?;
            }
            SourceEvent::Refused(record) => {
                let (partition, range) = (record.partition.id(), record.range);
                self.route_refused(record).await;
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
            SourceEvent::Awaited(partition) => self.seal_with(partition),
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
        let Processed { source, chunk, apart } = processed;
        self.route(&chunk, &apart).await;
        if self.makes_copies {
            self.route_copies(&source).await;
        }
        self.read(source.partition.id(), source.range(0, source.records())).await
    }

    fn ship(&mut self, mut shipment: Shipment) {
        if let Target::Requests(receiver, _) = &shipment.target
            && receiver.patience().in_flight == 1
        {
            shipment.turn = Some(Turn::behind(&mut self.last_turn));
        }
        match shipment.kind {
            Kind::Fate => self.in_flight.fate += shipment.records,
            Kind::Copy => self.in_flight.copy += shipment.records,
        }
        self.shipping_now.spawn(self.shipping.clone().ship(shipment));
    }

    /// The output of that name; one that this configuration does not have is taken for the destination.
    fn output(&self, name: &str) -> &Arc<Output> {
        let outputs = &self.outputs;
        outputs.all().find(|output| output.name == name).unwrap_or(&outputs.destination)
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
