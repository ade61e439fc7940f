//! Open buffers, and what seals one: its hints, memory that is short, checkpoints that it holds back, the end.
//!
//! Always true: sealing takes the buffer with its lane and its holder as they are; from there on it is a delivery.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::info;

use crate::buffer::Buffer;
use crate::delivery::{Plan, Shipment};
use crate::encode::codec::Codec;
use crate::encode::lane::Lane;
use crate::journal::{Intent, Kind};
use crate::ledger::HolderId;
use crate::memory::Permit;
use crate::output::{DESTINATION, Output};
use crate::record::Position;

use super::Stream;

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
}

impl OpenBuffer {
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
        let Some((&name, _)) = self.open.iter().find(|(_, open)| Some(open.holder) == oldest) else { return };
        info!(stream = %self.name, output = name, waiting = self.backlog.deliveries(), "a buffer holds many deliveries back: sealed early");
        self.seal(name);
    }

    /// Says what sealing would set free: nothing while no more deliveries may be under way.
    pub(super) fn say_sealable(&self, may_go_on: bool) {
        let held = self.open.values().map(OpenBuffer::held).sum();
        self.budget.set_sealable(if may_go_on { held } else { 0 });
    }

    /// Seals the open buffer of an output: from here on it is a delivery.
    pub(super) fn seal(&mut self, name: &'static str) {
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
            partition: Vec::new(),
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
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
            destination: output.place.destination.clone(),
            content_encoding: Codec::new(output.format().compression).content_encoding(),
            lane: open.lane,
            records: sealed.records,
            plan: Plan::New { intent: Box::new(intent), partitions, ranges: open.ranges },
        };
        self.ship(shipment);
    }

    pub(super) fn seal_all(&mut self) {
        for name in self.open.keys().copied().collect::<Vec<_>>() {
            self.seal(name);
        }
    }

    pub(super) fn seal_due(&mut self) {
        let now_ms = self.now_ms();
        let due = |open: &OpenBuffer| open.buffer.due_ms().is_some_and(|due| due <= now_ms);
        for name in self.open.iter().filter(|(_, open)| due(open)).map(|(&name, _)| name).collect::<Vec<_>>() {
            self.seal(name);
        }
    }

    /// Memory is short: the largest buffer is sealed early.
    pub(super) fn relieve(&mut self) {
        let largest = self.open.iter().max_by_key(|(_, open)| open.held()).map(|(&name, _)| name);
        if let Some(name) = largest {
            self.seal(name);
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.open.values().filter_map(|open| open.buffer.due_ms()).min()?;
        Some(self.epoch + Duration::from_millis(due))
    }
}
