//! The source: which shards of the stream are read now, and by whom.
//!
//! Always true: a shard is in the journal before anything of it is read, and what lineage decides is in the journal before it takes
//! effect. Only this task changes lineage; shards are read by tasks of their own.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::model::{Consumer, KinesisSourceConfig};
use crate::log_limit::LogLimit;
use crate::pool::join;
use crate::record::{PartitionId, Position};
use crate::source::{ShardCounts, Source, SourceContext, SourceError, SourceEvent};

use super::client::KinesisClient;
use super::cutting::{Cutter, Cutting};
use super::fan_out::FanOutReader;
use super::lineage::{Begin, Changes, Lineage, Start, State, Wanted};
use super::memory::Gate;
use super::page::{ChildShard, StartingPosition};
use super::patience::Patience;
use super::polling::{PollingOptions, PollingReader, ShardLimits};
use super::reading::{Outlet, Reader, Reading, Shared, Told};
use super::registration::Registration;
use super::rows::{self, Places};
use super::shard::{Settled, Shard};
use super::shards::{ShardFilter, ShardInfo};
use super::summary::StreamSummary;

/// How often the shards are listed, and how often while something waits for a listing.
const LIST_INTERVAL: Duration = Duration::from_secs(60);
const LIST_INTERVAL_WANTED: Duration = Duration::from_secs(2);
/// How far a listing may be behind what the stream has told already.
const LAG_MAX: Duration = Duration::from_secs(10);
/// Largest chunk, and the smallest that a small `memory_limit_mb` leads to.
const CHUNK_MAX: u64 = 1 << 20;
const CHUNK_MIN: u64 = 64 << 10;
const SECOND: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// Reads the shards of one stream, with checkpoints in the journal.
pub struct KinesisSource {
    config: KinesisSourceConfig,
    context: SourceContext,
    runtime: Handle,
}

/// One life of the source, once the stream was found.
struct Life<'a> {
    config: KinesisSourceConfig,
    context: SourceContext,
    client: KinesisClient,
    places: Places,
    /// `initial_position`, as it was at first sight.
    initial: Start,
    lineage: Lineage,
    shards: HashMap<String, Known>,
    /// Of shards whose reader has stopped before their end.
    stopped: HashMap<String, Cutter>,
    readers: JoinSet<()>,
    shared: Arc<Shared>,
    told: mpsc::UnboundedReceiver<Told>,
    settled: (mpsc::UnboundedSender<Settled>, mpsc::UnboundedReceiver<Settled>),
    drained: HashSet<String>,
    /// With enhanced fan-out.
    registration: Option<&'a mut Registration>,
    patience: Patience,
    /// Named shards that are not in the stream, once that was said.
    unknown: HashSet<String>,
    began: Instant,
}

/// What is known of a shard beside its lineage.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: PartitionId,
    checkpoint: Position,
    /// Up to where it was read, once there is nothing more to read.
    end: Option<Position>,
}

impl Source for KinesisSource {
    fn run(self: Box<Self>) -> Result<(), SourceError> {
        let (runtime, stop) = (self.runtime.clone(), self.context.stop.clone());
        runtime.block_on(async {
            let mut registration = None;
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                result = self.read(&mut registration) => result,
            };
            if let Some(registration) = registration {
                registration.end().await;
            }
            result
        })
    }
}

impl KinesisSource {
    /// Nothing is read yet. Called within the async runtime.
    pub fn new(config: KinesisSourceConfig, context: SourceContext) -> Self {
        Self { config, context, runtime: Handle::current() }
    }

    async fn read(self: Box<Self>, registration: &mut Option<Registration>) -> Result<(), SourceError> {
        let Self { config, context, .. } = *self;
        let client = KinesisClient::open(config.service(), config.stream.clone());
        let patience = Patience { stream: context.stream_name.clone() };
        let summary = patience.ask("the stream cannot be described", || client.summary()).await;
        if let Consumer::EnhancedFanOut { name, deregisters } = &config.consumer {
            let (client, name) = (client.clone(), name.clone());
            let begin = Registration::begin(client, summary.arn.clone(), name, *deregisters, &patience);
            *registration = Some(begin.await);
        }
        let mut life = Life::begin(config, context, client, &summary, (registration.as_mut(), patience)).await?;
        life.run().await
    }
}

impl<'a> Life<'a> {
    async fn begin(
        config: KinesisSourceConfig,
        context: SourceContext,
        client: KinesisClient,
        summary: &StreamSummary,
        (registration, patience): (Option<&'a mut Registration>, Patience),
    ) -> Result<Self, SourceError> {
        let (places, stream) = (Places::of(summary), context.stream);
        let (mut known, mut shards, mut initial) = (Vec::new(), HashMap::new(), None);
        for row in context.journal.run("shards", move |journal| journal.partitions(stream)).await? {
            let shard = places.shard(&row.place).and_then(|shard| rows::read(shard, &row));
            let Some((shard, first)) = shard else {
                // Of another stream: what pending deliveries hold of it is read by nobody.
                let lost =
                    SourceEvent::Unreadable { partition: row.id, name: row.place, from: row.checkpoint, is_cut: false };
                // Nobody listens when the stream has ended.
                let _ = context.events.send(lost).await;
                continue;
            };
            initial = Some(first);
            shards.insert(shard.id.clone(), Known { id: row.id, checkpoint: row.checkpoint, end: None });
            known.push(shard);
        }
        let initial = initial.unwrap_or_else(|| first_sight(&config, &context, summary));
        let wanted = match config.shards.as_slice() {
            [] => Wanted::All,
            ids => Wanted::Named(ids.iter().cloned().collect::<BTreeSet<_>>()),
        };
        // Readers of an earlier life were not asked when they ended.
        context.counters.forget_shards();
        let (told_sender, told) = mpsc::unbounded_channel();
        let gate = Gate::new(context.budget.clone(), context.copies, context.stop.clone(), context.events.clone());
        let shared = Shared {
            stream_name: context.stream_name.clone(),
            gate,
            events: context.events.clone(),
            told: told_sender,
            counters: context.counters.clone(),
            // The service's time has whole seconds, rounded down.
            drain_from: context.drain.then_some(summary.asked_at.saturating_add(SECOND).unwrap_or(summary.asked_at)),
            troubles: LogLimit::default(),
            absences: LogLimit::default(),
            drops: LogLimit::default(),
        };
        Ok(Self {
            lineage: Lineage::new(wanted, initial, known, LAG_MAX),
            config,
            context,
            client,
            places,
            initial,
            shards,
            stopped: HashMap::new(),
            readers: JoinSet::new(),
            shared: Arc::new(shared),
            told,
            settled: mpsc::unbounded_channel(),
            drained: HashSet::new(),
            registration,
            patience,
            unknown: HashSet::new(),
            began: Instant::now(),
        })
    }

    async fn run(&mut self) -> Result<(), SourceError> {
        let mut next_listing = Instant::now();
        loop {
            if Instant::now() >= next_listing {
                self.list().await?;
                let interval = if self.lineage.wants_listing() { LIST_INTERVAL_WANTED } else { LIST_INTERVAL };
                next_listing = Instant::now() + interval;
            }
            self.begin_shards();
            self.count_shards();
            if self.is_over() {
                // Nobody listens when the stream has ended.
                let _ = self.context.events.send(SourceEvent::End).await;
                return Ok(());
            }
            if self.lineage.wants_listing() {
                next_listing = next_listing.min(Instant::now() + LIST_INTERVAL_WANTED);
            }
            tokio::select! {
                () = tokio::time::sleep_until(next_listing.into()) => {}
                () = self.context.events.closed() => return Ok(()),
                Some(told) = self.told.recv() => self.take(told).await?,
                Some(settled) = self.settled.1.recv() => self.take_settled(settled).await?,
                Some(ended) = self.readers.join_next(), if !self.readers.is_empty() => {
                    // Its panic is ours.
                    join(std::future::ready(ended)).await;
                }
            }
        }
    }

    async fn list(&mut self) -> Result<(), SourceError> {
        let asked_at = self.began.elapsed();
        let filter = match self.initial {
            Start::AtTimestamp(time) => ShardFilter::FromTimestamp(time),
            Start::TrimHorizon | Start::At(_) | Start::After(_) => ShardFilter::All,
        };
        let client = &self.client;
        let listed = self.patience.ask("the shards cannot be listed", || client.list_shards(&filter)).await;
        let listed: Vec<_> = listed.into_iter().map(child_shard).collect();
        let changes = self.lineage.listed(&listed, asked_at);
        self.keep(changes).await?;
        self.say_unknown();
        Ok(())
    }

    /// Once for each of them: it may come yet.
    fn say_unknown(&mut self) {
        let stream = &self.context.stream_name;
        for shard in self.lineage.unknown() {
            if self.unknown.insert(shard.to_owned()) {
                warn!(
                    stream,
                    shard,
                    "a shard of `shards` is not in the stream, or has expired: `hydrant check --online` names those that are there"
                );
            }
        }
    }

    fn count_shards(&self) {
        let mut counts = ShardCounts::default();
        for (_, state) in self.lineage.states() {
            let count = match state {
                State::Reading => &mut counts.reading,
                State::Waiting | State::Ready | State::Missing { .. } => &mut counts.waiting,
                State::Ended(_) | State::Finished(_) => &mut counts.finished,
            };
            *count += 1;
        }
        self.context.counters.set_shards(counts);
    }

    /// Journals what has changed.
    async fn keep(&mut self, changes: Changes) -> Result<(), SourceError> {
        if changes.is_empty() {
            return Ok(());
        }
        let Changes { put, forget, lost } = changes;
        let rows: Vec<_> = put.iter().map(|row| self.places.put(row, self.initial)).collect();
        let forgotten: Vec<_> = forget.iter().map(|shard| self.places.of_shard(shard)).collect();
        let stream = self.context.stream;
        let call = move |journal: &crate::journal::Journal| journal.put_placed(stream, &rows, &forgotten);
        let ids = self.context.journal.run("shards", call).await?;
        for (row, id) in put.into_iter().zip(ids) {
            self.shards.entry(row.id).or_insert(Known { id, checkpoint: Position::BEGINNING, end: None });
        }
        for shard in forget {
            self.shards.remove(&shard);
        }
        for shard in lost {
            self.lose(&shard).await?;
        }
        Ok(())
    }

    async fn lose(&mut self, shard: &str) -> Result<(), SourceError> {
        let stream = &self.context.stream_name;
        error!(stream, shard, "a shard has expired before it was read to its end: its records are lost");
        let waits = self.stopped.remove(shard).filter(Cutter::waits_for_more);
        if let (Some(cutter), Some(known)) = (waits, self.shards.get(shard)) {
            let (name, from) = (format!("{}/{shard}", self.config.stream_name()), cutter.position());
            let lost = SourceEvent::Unreadable { partition: known.id, name, from, is_cut: true };
            // Nobody listens when the stream has ended.
            let _ = self.context.events.send(lost).await;
        }
        self.has_ended(shard).await
    }

    fn begin_shards(&mut self) {
        for begin in self.lineage.begin() {
            if let Some(known) = self.shards.get(&begin.id).copied() {
                let reading = self.reading(&begin, known);
                self.readers.spawn(reading.run());
            }
        }
    }

    fn reading(&mut self, begin: &Begin, known: Known) -> Reading {
        let (names, place) = ((self.config.stream_name(), begin.id.as_str()), self.places.of_shard(&begin.id));
        let shard = Shard::new(known.id, names, &place, self.settled.0.clone());
        // Who has read it before in this life has come further than the journal.
        let cutter = self.stopped.remove(&begin.id).unwrap_or_else(|| self.cutter(begin, known));
        if let Some(known) = self.shards.get_mut(&begin.id) {
            known.end = None;
        }
        let position = cutter.position();
        let from = match position.record() {
            Some((sequence_number, _)) => StartingPosition::At(sequence_number),
            None => begin.start.into(),
        };
        Reading {
            outlet: Outlet { shared: self.shared.clone(), shard: Arc::new(shard) },
            reader: self.reader(&begin.id, from),
            cutter: Some(cutter),
            checkpoint: known.checkpoint,
            behind: position,
            caught_up: None,
        }
    }

    fn cutter(&mut self, begin: &Begin, known: Known) -> Cutter {
        let cutting = Cutting {
            hash_keys: begin.hash_keys,
            on_misrouted: self.config.on_misrouted,
            bytes_max: (self.context.budget.share() / 16 / self.context.copies).clamp(CHUNK_MIN, CHUNK_MAX) as usize,
        };
        let cuts = self.context.cuts.remove(&known.id).unwrap_or_default();
        Cutter::new(known.checkpoint, cuts, self.context.told.take(known.id), cutting)
    }

    fn reader(&self, shard: &str, from: StartingPosition) -> Reader {
        let (client, shard) = (self.client.clone(), shard.to_owned());
        match &self.config.consumer {
            Consumer::Polling { records_max, interval } => {
                let limits = ShardLimits::default();
                let options = PollingOptions { max_records: *records_max, poll_interval: *interval, limits };
                Reader::Polling(PollingReader::new(client, shard, from, options))
            }
            Consumer::EnhancedFanOut { .. } => {
                let consumer_arn =
                    self.registration.as_ref().map(|it| it.consumer_arn().to_owned()).unwrap_or_default();
                Reader::FanOut(FanOutReader::new(client, consumer_arn, shard, from))
            }
        }
    }

    async fn take(&mut self, told: Told) -> Result<(), SourceError> {
        match told {
            Told::ReadToEnd { shard_id, read_to, children } => {
                let gave_records = read_to != Position::BEGINNING;
                let changes = self.lineage.read_to_end(&shard_id, children, gave_records);
                self.set_end(&shard_id, read_to);
                self.keep(changes).await?;
                self.has_ended(&shard_id).await?;
            }
            Told::NotFound { shard_id, cutter } => {
                let read_to = cutter.position();
                self.set_end(&shard_id, read_to);
                self.lineage.not_found(&shard_id, read_to != Position::BEGINNING);
                self.stopped.insert(shard_id, *cutter);
            }
            Told::NoConsumer { shard_id, consumer_arn, cutter } => {
                self.stopped.insert(shard_id.clone(), *cutter);
                if let Some(registration) = &mut self.registration {
                    registration.renew(&consumer_arn, &self.patience).await;
                }
                self.lineage.stopped(&shard_id);
            }
            Told::Drained { shard_id } => drop(self.drained.insert(shard_id)),
        }
        Ok(())
    }

    fn set_end(&mut self, shard: &str, read_to: Position) {
        if let Some(known) = self.shards.get_mut(shard) {
            known.end = Some(read_to);
        }
    }

    async fn take_settled(&mut self, settled: Settled) -> Result<(), SourceError> {
        if let Some(known) = self.shards.get_mut(&settled.shard_id) {
            known.checkpoint = known.checkpoint.max(settled.checkpoint);
        }
        self.has_ended(&settled.shard_id).await
    }

    /// A shard may be over: it was read to its end, and all of that is settled.
    async fn has_ended(&mut self, shard: &str) -> Result<(), SourceError> {
        let Some(known) = self.shards.get(shard).copied() else { return Ok(()) };
        if known.end.is_none_or(|end| known.checkpoint < end) {
            return Ok(());
        }
        let changes = self.lineage.settled(shard);
        if changes.is_empty() {
            return Ok(());
        }
        Box::pin(self.keep(changes)).await?;
        if !self.config.shards.is_empty() && !self.context.drain {
            let stream = &self.context.stream_name;
            info!(stream, shard, "a shard of `shards` is read to its end and settled; nothing more will come from it");
        }
        // Nobody listens when the stream has ended.
        let _ = self.context.events.send(SourceEvent::Gone(known.id)).await;
        Ok(())
    }

    /// Whether nothing will ever come any more, or everything was read that a drain reads.
    fn is_over(&self) -> bool {
        let is_read = |(shard, state): (&str, State)| match state {
            State::Finished(_) => true,
            State::Reading => self.drained.contains(shard),
            // They wait for one of the others.
            State::Waiting => true,
            State::Ready | State::Missing { .. } | State::Ended(_) => false,
        };
        let is_drained = self.context.drain && !self.lineage.wants_listing() && self.lineage.states().all(is_read);
        is_drained || (self.context.drain && self.lineage.is_done())
    }
}

/// `initial_position` at the moment at which the stream is seen for the first time.
fn first_sight(config: &KinesisSourceConfig, context: &SourceContext, summary: &StreamSummary) -> Start {
    // After the journal was lost, what is seen first may have been there before.
    let is_lost = context.journal.is_from_beginning().unwrap_or(true);
    match config.initial_position {
        _ if is_lost => Start::TrimHorizon,
        StartingPosition::TrimHorizon => Start::TrimHorizon,
        StartingPosition::Latest => Start::AtTimestamp(summary.asked_at),
        StartingPosition::AtTimestamp(time) => Start::AtTimestamp(time),
        StartingPosition::At(number) => Start::At(number),
        StartingPosition::After(number) => Start::After(number),
    }
}

fn child_shard(info: ShardInfo) -> ChildShard {
    let parents = info.parent.into_iter().chain(info.adjacent_parent).collect();
    ChildShard { id: info.id, parents, hash_keys: info.hash_keys }
}
