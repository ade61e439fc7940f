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

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
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
use crate::encode::lane::{Lane, Piece};
use crate::envelope;
use crate::failpoint;
use crate::journal::{Checkpoint, DeliveryRowId, Intent, Journal, JournalError, Kind, StreamRow};
use crate::ledger::{HolderId, Ledger, OutOfOrder};
use crate::memory::{MemoryBudget, StreamBudget};
use crate::output::{Format, Output, Outputs, Room};
use crate::pool::ComputePool;
use crate::positions::RecordSet;
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, SourcePartition};
use crate::recovery::{Asking, Owner, Owners, Pending, Recovered, RecoveryError, recover};
use crate::source::file::FileSource;
use crate::source::{SourceContext, SourceError, SourceEvent};
use crate::status::StreamStatus;

/// Deliveries of one stream that may be under way at the same time.
const IN_FLIGHT_MAX: usize = 8;
/// Events that may wait between the source and the stream; their memory is bounded by the budget.
const CHANNEL: usize = 4;
/// How often the account is compared when nothing else happens.
const COMPARE: Duration = Duration::from_secs(1);

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
    #[error("a glob of the source cannot be used")]
    Glob(#[from] globset::Error),
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
    let (name, fingerprint) = (config.name.clone(), fingerprint(config));
    let row = journal.run("stream", move |journal| journal.stream(&name, &fingerprint)).await?;
    let budget = environment.budget.join();
    let outputs = Outputs::open(config, journal, budget.share()).await?;
    let is_first_life = status.restarts.load(Ordering::Relaxed) == 0;
    let asking = Asking { limits: *limits, cancel: &life.abandon, status: &status, is_first_life };
    let room = Room { stream: &config.name, journal, memory_share: budget.share() };
    let recovered = recover(&row, &outputs, room, &asking).await?;
    let Some(recovered) = recovered else { return Ok(()) };

    let (events, receiver) = mpsc::channel(CHANNEL);
    let context = SourceContext {
        stream_name: config.name.clone(),
        stream: row.id,
        scanned: row.scanned,
        journal: journal.clone(),
        budget: budget.clone(),
        copies: outputs.copies(),
        cuts: recovered.cuts.clone(),
        events,
        stop: life.stop.clone(),
        drain: environment.drain,
        counters: status.source.clone(),
    };
    let mut stream = Stream::new(config, environment, life, row, outputs, budget, status);
    stream.resume(recovered);
    let SourceConfig::File(file) = &config.source;
    let source = FileSource::new(file.clone(), context)?;
    let waker = source.waker();
    let stop = life.stop.clone();
    life.tasks.spawn(async move {
        stop.cancelled().await;
        waker.call();
    });
    let source = life.tasks.spawn_blocking(move || source.run());
    let result = stream.run(receiver).await;
    life.stop.cancel();
    let source = crate::pool::join(source).await;
    result?;
    source?;
    Ok(())
}

/// Tells configurations of one stream apart.
fn fingerprint(config: &DeliveryStreamConfig) -> String {
    use sha2::Digest;
    let text = serde_json::to_vec(config).unwrap_or_default();
    sha2::Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Stream {
    name: Arc<str>,
    row: StreamRow,
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
    /// Read to their end for good; forgotten when they are settled.
    gone: HashSet<PartitionId>,
    owners: Owners,
    /// At most one for each output.
    open: BTreeMap<&'static str, OpenBuffer>,
    reforming: BTreeMap<DeliveryRowId, Reforming>,
    settled: Vec<(DeliveryRowId, RecordSet)>,
    shipping_now: JoinSet<Result<Option<Shipped>, JournalError>>,
    in_flight: InFlight,
    next_holder: u64,
    epoch: Instant,
    fate: Account,
    copy: Account,
    /// Records the source had counted before this life.
    read_before: u64,
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
    /// Arrival of the oldest record.
    arrival: Timestamp,
    output: Arc<Output>,
}

/// A delivery of an earlier life whose records are being read again.
struct Reforming {
    holder: HolderId,
    pending: Pending,
    lane: Lane,
    records: u64,
}

impl Stream {
    fn new(
        config: &DeliveryStreamConfig,
        environment: &Environment,
        life: &Life,
        row: StreamRow,
        outputs: Outputs,
        budget: Arc<StreamBudget>,
        status: Arc<StreamStatus>,
    ) -> Self {
        let name: Arc<str> = config.name.as_str().into();
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
            makes_copies: outputs.backup.is_some(),
            outputs,
            budget,
            stop: life.stop.clone(),
            ledger: Ledger::default(),
            partitions: HashMap::new(),
            gone: HashSet::new(),
            owners: Owners::default(),
            open: BTreeMap::new(),
            reforming: BTreeMap::new(),
            settled: Vec::new(),
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

    /// Takes over what earlier lives have left.
    fn resume(&mut self, recovered: Recovered) {
        self.owners = recovered.owners;
        self.settled = recovered.settled;
        for pending in recovered.pending {
            let holder = self.new_holder();
            let intent = &pending.row.intent;
            let at = Timestamp::from_millisecond(intent.arrival_ms).unwrap_or_default();
            // An unreadable format is that of another version; the output's own is then as good as any.
            let format =
                serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
            let is_plain = self.output(&intent.output).format() == &format;
            let forming = if is_plain {
                self.output(&intent.output).forming(&intent.uuid, at)
            } else {
                format.forming(&pending.place, false, &intent.uuid, at)
            };
            info!(stream = %self.name, key = intent.key, records = intent.records, "a delivery is formed again");
            let lane = Lane::open(forming, self.pool.clone());
            self.makes_copies |= intent.kind == Kind::Copy;
            let reforming = Reforming { holder, lane, records: 0, pending };
            self.reforming.insert(reforming.pending.row.id, reforming);
        }
    }

    async fn run(&mut self, mut events: mpsc::Receiver<SourceEvent>) -> Result<(), StreamError> {
        let cancel = self.shipping.cancel.clone();
        let mut is_source_done = false;
        let mut compare = tokio::time::interval(COMPARE);
        loop {
            let may_go_on = self.shipping_now.len() < IN_FLIGHT_MAX;
            if is_source_done && may_go_on && !self.open.is_empty() {
                self.seal_all();
            }
            if is_source_done && self.shipping_now.is_empty() && self.open.is_empty() {
                break;
            }
            let due = self.next_due();
            tokio::select! {
                biased; // what is finished first, then what is due, and only then something new
                () = cancel.cancelled() => return Ok(()),
                Some(done) = self.shipping_now.join_next() => self.settle(done).await?,
                () = self.budget.relief_wanted(), if may_go_on => self.relieve(),
                () = sleep_until(due.unwrap_or(self.epoch)), if may_go_on && due.is_some() => self.seal_due(),
                _ = compare.tick() => self.compare(),
                event = events.recv(), if may_go_on && !is_source_done => match event {
                    Some(event) => self.take(event).await?,
                    None => {
                        is_source_done = true;
                        self.source_done().await?;
                    }
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
                self.ledger.open(partition.id(), checkpoint);
                for reforming in self.reforming.values() {
                    let set = &reforming.pending.row.intent.set;
                    if let Some(first) = set.ranges(partition.id()).first() {
                        self.ledger.hold(reforming.holder, partition.id(), *first);
                    }
                }
                self.partitions.insert(partition.id(), partition);
            }
            SourceEvent::Chunk(chunk) => {
                failpoint::panic_in(&self.name);
                self.route(Kind::Fate, &chunk).await;
                if self.makes_copies {
                    self.route(Kind::Copy, &chunk).await;
                }
                let range = chunk.range(0, chunk.records());
                self.read(chunk.partition.id(), range)?;
            }
            SourceEvent::Oversize(record) => {
                self.route_oversize(&record).await;
                self.read(record.partition.id(), record.range)?;
            }
            SourceEvent::Unreadable { partition, name, from } => self.lose(partition, &name, from).await?,
            SourceEvent::Gone(partition) => {
                self.gone.insert(partition);
                self.forget_gone().await?;
            }
        }
        self.budget.set_sealable(self.open.values().map(|open| open.lane.held()).sum());
        Ok(())
    }

    /// Positions have been read and handed on; deliveries of earlier lives may be complete again.
    fn read(&mut self, partition: PartitionId, range: crate::record::PositionRange) -> Result<(), StreamError> {
        self.ledger.read(partition, range)?;
        if !self.owners.is_empty() {
            self.owners.forget_before(partition, range.end);
        }
        self.ship_reformed();
        Ok(())
    }

    /// Hands each record of a chunk to whoever holds it, and those that nobody holds to their buffer.
    async fn route(&mut self, kind: Kind, chunk: &Chunk) {
        let account = self.account(kind);
        account.read += chunk.records() as u64;
        let partition = chunk.partition.id();
        let mut from = 0;
        while from < chunk.records() {
            let position = Position(chunk.start.0 + u64::from(chunk.record_start(from)));
            let (owner, until) = self.owners.at(kind, partition, position);
            let until = until.0 - chunk.start.0;
            let same = chunk.ends[from..].partition_point(|&end| u64::from(end) <= until).max(1);
            let to = from + same;
            match owner {
                None if kind == Kind::Copy && self.outputs.backup.is_none() => self.copy.skipped += same as u64,
                None => self.buffer(kind, chunk, from, to).await,
                Some(Owner::Settled) => self.account(kind).skipped += same as u64,
                Some(Owner::Pending(row)) => {
                    if let Some(reforming) = self.reforming.get_mut(&row) {
                        reforming.records += same as u64;
                        reforming.lane.push(Piece::Records { chunk: chunk.clone(), from, to }).await;
                    }
                }
            }
            from = to;
        }
    }

    /// Puts new records into the open buffer of their output, sealing it whenever it is full.
    async fn buffer(&mut self, kind: Kind, chunk: &Chunk, mut from: usize, to: usize) {
        let output = match (kind, &self.outputs.backup) {
            (Kind::Copy, Some(backup)) => backup.clone(),
            _ => self.outputs.destination.clone(),
        };
        while from < to {
            let now_ms = self.now_ms();
            let open = self.open_buffer(&output, chunk.arrival);
            let base = chunk.record_start(from);
            let fit = open.buffer.room(base, &chunk.ends[from..to]);
            if fit > 0 {
                let range = chunk.range(from, from + fit);
                let bytes = u64::from(chunk.ends[from + fit - 1] - base);
                open.buffer.push(now_ms, chunk.partition.id(), range, fit as u64, bytes);
                let holder = open.holder;
                open.lane.push(Piece::Records { chunk: chunk.clone(), from, to: from + fit }).await;
                let is_full = open.buffer.is_full();
                self.ledger.hold(holder, chunk.partition.id(), range);
                from += fit;
                if !is_full {
                    continue;
                }
            }
            self.seal(output.name);
        }
    }

    /// A record over the limit goes to the error output in Firehose's envelope; it has no copy in the backup.
    async fn route_oversize(&mut self, record: &OversizeRecord) {
        self.fate.read += 1;
        let partition = record.partition.id();
        if self.makes_copies {
            self.copy.read += 1;
            self.copy.failed += 1;
        }
        let (owner, _) = self.owners.at(Kind::Fate, partition, record.range.start);
        if owner == Some(Owner::Settled) {
            self.fate.skipped += 1;
            return;
        }
        let line = envelope::record_too_large(record, Timestamp::now());
        let bytes = line.len() as u64;
        let piece = Piece::Ready { bytes: line, permit: record.permit.clone() };
        if let Some(Owner::Pending(row)) = owner {
            if let Some(reforming) = self.reforming.get_mut(&row) {
                reforming.records += 1;
                reforming.lane.push(piece).await;
            }
            return;
        }
        let output = self.outputs.processing_failed.clone();
        let now_ms = self.now_ms();
        if self.open.get(output.name).is_some_and(|open| open.buffer.room(0, &[bytes as u32]) == 0) {
            self.seal(output.name);
        }
        let open = self.open_buffer(&output, record.arrival);
        open.buffer.push(now_ms, partition, record.range, 1, bytes);
        open.lane.push(piece).await;
        let (holder, is_full) = (open.holder, open.buffer.is_full());
        self.ledger.hold(holder, partition, record.range);
        if is_full {
            self.seal(output.name);
        }
    }

    fn open_buffer(&mut self, output: &Arc<Output>, arrival: Timestamp) -> &mut OpenBuffer {
        let next_holder = &mut self.next_holder;
        let pool = &self.pool;
        self.open.entry(output.name).or_insert_with(|| {
            let holder = HolderId(*next_holder);
            *next_holder += 1;
            let uuid = uuid::Uuid::new_v4().to_string();
            let lane = Lane::open(output.forming(&uuid, arrival), pool.clone());
            OpenBuffer { holder, uuid, buffer: Buffer::new(output.hints), lane, arrival, output: output.clone() }
        })
    }

    /// Seals the open buffer of an output: from here on it is a delivery.
    fn seal(&mut self, name: &'static str) {
        let Some(mut open) = self.open.remove(name) else { return };
        let Some(sealed) = open.buffer.seal() else { return };
        let output = &open.output;
        let intent = Intent {
            key: output.key(&self.name, self.row.version, open.arrival, &open.uuid),
            uuid: open.uuid,
            kind: output.kind,
            output: output.name.to_owned(),
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
            format: serde_json::to_string(output.format()).unwrap_or_default(),
            version: self.row.version,
            arrival_ms: open.arrival.as_millisecond(),
            records: sealed.records,
            set: sealed.set,
        };
        let shipment = Shipment {
            holder: open.holder,
            kind: output.kind,
            is_error_output: output.name != "destination" && output.kind == Kind::Fate,
            destination: output.place.destination.clone(),
            content_encoding: Codec::new(output.format().compression).content_encoding(),
            lane: open.lane,
            records: sealed.records,
            plan: Plan::New(intent),
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
        let largest = self.open.iter().max_by_key(|(_, open)| open.lane.held()).map(|(&name, _)| name);
        if let Some(name) = largest {
            self.seal(name);
        }
        self.budget.set_sealable(self.open.values().map(|open| open.lane.held()).sum());
    }

    fn ship(&mut self, shipment: Shipment) {
        match shipment.kind {
            Kind::Fate => self.in_flight.fate += shipment.records,
            Kind::Copy => self.in_flight.copy += shipment.records,
        }
        self.shipping_now.spawn(self.shipping.clone().ship(shipment));
    }

    /// Ships the deliveries of earlier lives whose records have all been read again.
    fn ship_reformed(&mut self) {
        let complete = |reforming: &Reforming| {
            let set = &reforming.pending.row.intent.set;
            set.iter().all(|(partition, _)| set.end(partition).is_none_or(|end| self.ledger.read_to(partition) >= end))
        };
        let rows: Vec<_> = self.reforming.iter().filter(|(_, r)| complete(r)).map(|(&row, _)| row).collect();
        for row in rows {
            let Some(reforming) = self.reforming.remove(&row) else { continue };
            let intent = reforming.pending.row.intent;
            let format: Format =
                serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
            let shipment = Shipment {
                holder: reforming.holder,
                kind: intent.kind,
                is_error_output: intent.output != "destination" && intent.kind == Kind::Fate,
                destination: reforming.pending.place.destination.clone(),
                content_encoding: Codec::new(format.compression).content_encoding(),
                lane: reforming.lane,
                records: reforming.records,
                plan: Plan::Again { row, key: intent.key },
            };
            self.ship(shipment);
        }
    }

    /// One transaction for all deliveries that have arrived by now: they are settled and the checkpoints move.
    async fn settle(&mut self, first: Finished) -> Result<(), StreamError> {
        let mut finished = vec![first];
        while let Some(more) = self.shipping_now.try_join_next() {
            finished.push(more);
        }
        let mut shipped = Vec::new();
        for done in finished {
            match done {
                Ok(result) => shipped.extend(result?),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        if shipped.is_empty() {
            return Ok(());
        }
        failpoint::pass("answer-received");
        let mut moved = HashSet::new();
        for delivery in &shipped {
            moved.extend(self.ledger.settle(delivery.holder));
        }
        self.store(shipped.iter().map(|delivery| delivery.row).collect(), moved.into_iter().collect()).await?;
        failpoint::pass("settlement-committed");
        for delivery in shipped {
            let (account, in_flight) = match delivery.kind {
                Kind::Fate => (&mut self.fate, &mut self.in_flight.fate),
                Kind::Copy => (&mut self.copy, &mut self.in_flight.copy),
            };
            *in_flight -= delivery.counted;
            if delivery.is_error_output {
                account.failed += delivery.written;
            } else {
                account.delivered += delivery.written;
            }
            self.status.objects.fetch_add(1, Ordering::Relaxed);
            self.status.object_bytes.fetch_add(delivery.object_bytes, Ordering::Relaxed);
            self.status.records_delivered.fetch_add(delivery.written, Ordering::Relaxed);
        }
        self.forget_gone().await?;
        self.compare();
        Ok(())
    }

    /// Settles `deliveries` and stores the checkpoints of `partitions` in one transaction.
    async fn store(&self, deliveries: Vec<DeliveryRowId>, partitions: Vec<PartitionId>) -> Result<(), StreamError> {
        let moved: Vec<_> = partitions
            .into_iter()
            .map(|id| (id, self.ledger.checkpoint(id), self.partitions.get(&id).cloned()))
            .collect();
        let stream = self.row.id;
        let stored = moved.clone();
        let call = move |journal: &Journal| {
            let checkpoints: Vec<_> = stored
                .iter()
                .map(|(id, position, handle)| Checkpoint {
                    partition: *id,
                    position: *position,
                    evidence: handle.as_ref().and_then(|handle| handle.evidence(*position)),
                })
                .collect();
            journal.settle(stream, &deliveries, &checkpoints)
        };
        self.shipping.journal.run("settle", call).await?;
        for (_, position, handle) in moved {
            if let Some(handle) = handle {
                handle.settled(position);
            }
        }
        Ok(())
    }

    /// Stores where everything is, so that the next start reads nothing twice that was only skipped in this life.
    async fn store_checkpoints(&self) -> Result<(), StreamError> {
        let all: Vec<_> = self.ledger.partitions().filter(|id| self.partitions.contains_key(id)).collect();
        if all.is_empty() { Ok(()) } else { self.store(Vec::new(), all).await }
    }

    /// The source has come to its end. With `--drain` that is the end of everything there is: what is missing now is lost.
    async fn source_done(&mut self) -> Result<(), StreamError> {
        if !self.drain || self.stop.is_cancelled() {
            self.reforming.clear();
            return Ok(());
        }
        let wanted: HashSet<_> =
            self.reforming.values().flat_map(|r| r.pending.row.intent.set.iter().map(|(id, _)| id)).collect();
        for partition in wanted {
            let name = self.partitions.get(&partition).map_or_else(|| String::from("?"), |handle| handle.name());
            self.lose(partition, &name, self.ledger.read_to(partition)).await?;
        }
        Ok(())
    }

    /// Positions at `from` and behind it are gone: the deliveries that hold some of them go on without.
    async fn lose(&mut self, partition: PartitionId, name: &str, from: Position) -> Result<(), StreamError> {
        self.owners.truncate(partition, from);
        let mut empty = Vec::new();
        for (&row, reforming) in &mut self.reforming {
            let set = &mut reforming.pending.row.intent.set;
            let lost = set.truncate(partition, from);
            if lost == 0 {
                continue;
            }
            let (stream, key) = (&self.name, &reforming.pending.row.intent.key);
            error!(%stream, key, path = name, lost_bytes = lost, "records of a pending delivery cannot be read again");
            self.status.source.lost_bytes.fetch_add(lost, Ordering::Relaxed);
            let left = set.clone();
            self.shipping.journal.run("shrink", move |journal| journal.shrink(row, &left)).await?;
            if set.is_empty() {
                empty.push((row, reforming.holder));
            }
        }
        for (row, holder) in empty {
            self.shipping.journal.run("cancel", move |journal| journal.cancel(row)).await?;
            self.reforming.remove(&row);
            self.ledger.settle(holder);
        }
        for (row, set) in &mut self.settled {
            if set.truncate(partition, from) > 0 {
                let (row, left) = (*row, set.clone());
                self.shipping.journal.run("shrink", move |journal| journal.shrink(row, &left)).await?;
            }
        }
        self.ship_reformed();
        Ok(())
    }

    /// Forgets partitions that will never be there again and owe nothing.
    async fn forget_gone(&mut self) -> Result<(), StreamError> {
        let done: Vec<_> = self.gone.iter().copied().filter(|&id| self.ledger.is_settled(id)).collect();
        for id in done {
            self.shipping.journal.run("forget", move |journal| journal.forget(id)).await?;
            self.gone.remove(&id);
            self.ledger.close(id);
            self.partitions.remove(&id);
        }
        Ok(())
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

    fn account(&mut self, kind: Kind) -> &mut Account {
        match kind {
            Kind::Fate => &mut self.fate,
            Kind::Copy => &mut self.copy,
        }
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
