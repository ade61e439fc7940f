//! Open buffers, and what seals one: its hints, memory that is short, checkpoints that it holds back, the end.
//!
//! Always true: sealing takes the buffer with its lane and its holder as they are; from there on it is a delivery.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::info;

use crate::buffer::Buffer;
use crate::config::model::DeliveryStreamConfig;
use crate::delivery::{Plan, Shipment};
use crate::encode::codec::Codec;
use crate::encode::lane::Lane;
use crate::journal::{Intent, Kind};
use crate::ledger::HolderId;
use crate::memory::Permit;
use crate::output::{DESTINATION, Output};
use crate::partition::{Partition, Partitioner};
use crate::record::{PartitionId, Position};

use super::Stream;

/// Bytes of rows that are worth a row group when memory is short.
const ROWS_MIN: u64 = 64 << 10;
/// When memory is short, rows leave it until this part of what the stream is guaranteed is free.
const RELIEF: u64 = 16;
/// Firehose's, where keys come from transforms alone and nothing is configured.
const ACTIVE_DEFAULT: usize = 500;

/// What goes into one buffer at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Route {
    /// Name of the output.
    pub(super) output: &'static str,
    /// Of the destination, where it has such.
    pub(super) partition: Option<Partition>,
}

/// What dynamic partitioning says about buffers.
pub(super) struct Partitioning {
    pub(super) partitioner: Arc<Partitioner>,
    /// Partitions that may have an open buffer at a time.
    pub(super) active_max: usize,
    /// How much longer a buffer waits whose records belong to another time than now.
    pub(super) grace: Duration,
}

impl Partitioning {
    pub(super) fn new(config: &DeliveryStreamConfig, partitioner: Arc<Partitioner>) -> Self {
        let config = config.partitioning.as_ref();
        Self {
            partitioner,
            active_max: config.map_or(ACTIVE_DEFAULT, |config| config.active_max),
            grace: config.map_or(Duration::ZERO, |config| config.grace),
        }
    }
}

/// The buffer that collects records of one output at this moment.
pub(super) struct OpenBuffer {
    pub(super) holder: HolderId,
    pub(super) uuid: String,
    pub(super) buffer: Buffer,
    pub(super) lane: Lane,
    /// Memory of the ranges in which its records lie.
    pub(super) ranges: Permit,
    /// Arrival of the oldest record.
    pub(super) arrival: Timestamp,
    pub(super) output: Arc<Output>,
    /// When it was last pushed to, in pushes of this life.
    pub(super) used: u64,
}

/// How much longer some buffers wait: those whose partitions are not of these times.
#[derive(Default)]
struct Grace {
    times: Vec<Option<String>>,
    millis: u64,
}

impl OpenBuffer {
    /// When it has to be sealed for its age.
    fn due_ms(&self, route: &Route, grace: &Grace) -> Option<u64> {
        let is_late = route.partition.as_ref().is_some_and(|partition| partition.is_of_another_time(&grace.times));
        Some(self.buffer.due_ms()? + if is_late { grace.millis } else { 0 })
    }

    /// Bytes of memory that sealing would set free sooner or later.
    fn held(&self) -> u64 {
        self.lane.held() + self.ranges.bytes()
    }
}

impl Stream {
    /// Settled deliveries pile up behind the oldest holder. If that is an open buffer, one failed record in it would stop
    /// reading until its interval is over: it is sealed early. One that is on its way already is waited for.
    pub(super) fn free_checkpoints(&mut self) {
        if !self.backlog.is_half_full() {
            return;
        }
        let oldest = self.ledger.oldest_holder();
        let Some((route, _)) = self.open.iter().find(|(_, open)| Some(open.holder) == oldest) else { return };
        let route = route.clone();
        info!(stream = %self.name, output = route.output, waiting = self.backlog.deliveries(), "a buffer holds many deliveries back: sealed early");
        self.seal(&route);
    }

    /// Says what sealing would set free: nothing while no more deliveries may be under way.
    pub(super) fn say_sealable(&self, may_go_on: bool) {
        let held = self.open.values().map(OpenBuffer::held).sum();
        self.budget.set_sealable(if may_go_on { held } else { 0 });
    }

    /// Seals the open buffer of an output: from here on it is a delivery.
    pub(super) fn seal(&mut self, route: &Route) {
        let Some(mut open) = self.open.remove(route) else { return };
        let Some(sealed) = open.buffer.seal() else { return };
        let output = &open.output;
        // By the journal's account: a hole that was skipped moves the ledger's checkpoint alone.
        let is_unread = |id| self.stored.get(&id).is_none_or(|&stored| stored == Position::BEGINNING);
        let handle = |id| Some((self.partitions.get(&id)?.clone(), is_unread(id)));
        let partitions = sealed.set.iter().filter_map(|(id, _)| handle(id)).collect();
        let values = route.partition.as_ref().map_or(&[][..], Partition::values);
        let intent = Intent {
            key: output.key(&self.object_name, self.row.version, open.arrival, &open.uuid, values),
            uuid: open.uuid,
            kind: output.kind,
            output: output.name.to_owned(),
            partition: values.to_vec(),
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
            addressee: output.place.target.addressee(open.arrival, values),
            format: serde_json::to_string(output.format()).unwrap_or_default(),
            version: self.row.version,
            processing: self.processing.clone(),
            arrival_ms: open.arrival.as_millisecond(),
            records: sealed.records,
            set: sealed.set,
            partial: sealed.partial,
            batches: sealed.batches,
        };
        let shipment = Shipment {
            holder: open.holder,
            kind: output.kind,
            is_error_output: output.name != DESTINATION && output.kind == Kind::Fate,
            target: output.place.target.clone(),
            content_encoding: Codec::new(output.format().compression).content_encoding(),
            lane: open.lane,
            records: sealed.records,
            plan: Plan::New { intent: Box::new(intent), partitions, ranges: open.ranges },
            turn: None,
        };
        self.ship(shipment);
    }

    pub(super) fn seal_all(&mut self) {
        for route in self.open.keys().cloned().collect::<Vec<_>>() {
            self.seal(&route);
        }
    }

    /// Others wait for what is buffered of this partition.
    pub(super) fn seal_with(&mut self, partition: PartitionId) {
        let holds = |(_, open): &(&Route, &OpenBuffer)| open.buffer.holds(partition);
        for route in self.open.iter().filter(holds).map(|(route, _)| route.clone()).collect::<Vec<_>>() {
            self.seal(&route);
        }
    }

    pub(super) fn seal_due(&mut self) {
        let (now_ms, grace) = (self.now_ms(), self.grace());
        let due = |(route, open): &(&Route, &OpenBuffer)| open.due_ms(route, &grace).is_some_and(|due| due <= now_ms);
        for route in self.open.iter().filter(due).map(|(route, _)| route.clone()).collect::<Vec<_>>() {
            self.seal(&route);
        }
    }

    /// One more partition needs a buffer: if as many have one as may, the one that was used least recently is sealed early.
    pub(super) fn make_room_for(&mut self, route: &Route) {
        let Some(partitioning) = &self.partitioning else { return };
        if route.partition.is_none() || self.open.contains_key(route) {
            return;
        }
        let partitions = || self.open.iter().filter(|(route, _)| route.partition.is_some());
        if partitions().count() < partitioning.active_max {
            return;
        }
        let oldest = partitions().min_by_key(|(_, open)| open.used).map(|(route, _)| route.clone());
        if let Some(oldest) = oldest {
            self.seal(&oldest);
        }
    }

    fn grace(&self) -> Grace {
        let partitioning = self.partitioning.as_ref().filter(|partitioning| !partitioning.grace.is_zero());
        partitioning.map_or_else(Grace::default, |partitioning| Grace {
            times: partitioning.partitioner.times(Timestamp::now()),
            millis: partitioning.grace.as_millis() as u64,
        })
    }

    /// Memory is short: the largest buffer is sealed early. If that is one of rows, the largest of these go to the disk instead, as
    /// row groups of the files that they are going to be, as long as there are some worth it.
    pub(super) fn relieve(&mut self) {
        let Some((route, largest)) = self.open.iter().max_by_key(|(_, open)| open.held()) else { return };
        if largest.output.is_tabular() && self.move_rows() {
            return;
        }
        let route = route.clone();
        self.seal(&route);
    }

    /// False if there are none worth it.
    fn move_rows(&self) -> bool {
        let wanted = self.budget.share() / RELIEF;
        let rows = |open: &&OpenBuffer| open.output.is_tabular() && open.lane.movable() > ROWS_MIN;
        let mut lanes: Vec<_> = self.open.values().filter(rows).map(|open| (open.lane.movable(), &open.lane)).collect();
        lanes.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let mut moved = 0;
        for (bytes, lane) in &lanes {
            if moved >= wanted {
                break;
            }
            // Nobody waits for a lane that is busy, as memory is what it may wait for.
            moved += if lane.leave_memory() { *bytes } else { 0 };
        }
        !lanes.is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let grace = self.grace();
        let due = self.open.iter().filter_map(|(route, open)| open.due_ms(route, &grace)).min()?;
        Some(self.epoch + Duration::from_millis(due))
    }
}
