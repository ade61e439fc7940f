//! Deliveries of earlier lives: their records are read again and put under their old keys.
//!
//! Always true: what a delivery is formed without has left it in the journal before its payload leaves. Else a later life would
//! find it settled with records that it does not hold.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::{error, info};

use crate::delivery::{Before, Plan, Shipment};
use crate::encode::codec::Codec;
use crate::encode::lane::Lane;
use crate::journal::{DeliveryRow, DeliveryRowId, Intent, Kind};
use crate::ledger::HolderId;
use crate::output::{DESTINATION, Format};
use crate::positions::RecordSet;
use crate::record::{PartitionId, PositionRange};
use crate::recovery::{Pending, Recovered};

use super::backlog::BATCHES_IN_RANGE;
use super::{Stream, StreamError};

/// A delivery of an earlier life whose records are being read again.
pub(super) struct Reforming {
    pub holder: HolderId,
    pub pending: Pending,
    pub lane: Lane,
    pub records: u64,
    /// Some of its records cannot be read again.
    pub is_shrunk: bool,
    /// Records that are new: what is made of them now has no place in it.
    pub left_out: RecordSet,
}

impl Stream {
    /// Takes over what earlier lives have left.
    pub(super) fn resume(&mut self, recovered: Recovered) {
        self.owners = recovered.owners;
        self.settled = recovered.settled;
        for pending in recovered.pending {
            let holder = self.new_holder();
            let intent = &pending.row.intent;
            let at = Timestamp::from_millisecond(intent.arrival_ms).unwrap_or_default();
            // An unreadable format is that of another version; the output's own is then as good as any.
            let format =
                serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
            let own = self.output(&intent.output).format();
            // Rows are rows of the present schema, and what has become rows is no JSON any more.
            let is_table = own.table.is_some() || format.table.is_some();
            let forming = if is_table || *own == format {
                self.output(&intent.output).forming(&intent.uuid, at)
            } else {
                format.forming(&pending.place, false, &intent.uuid, at)
            };
            info!(stream = %self.name, key = intent.key, records = intent.records, "a delivery is formed again");
            let lane = Lane::open(forming, self.pool.clone());
            self.makes_copies |= intent.kind == Kind::Copy;
            let reforming =
                Reforming { holder, lane, records: 0, is_shrunk: false, left_out: RecordSet::default(), pending };
            self.reforming.insert(reforming.pending.row.id, reforming);
        }
        self.cover_remembered();
    }

    /// Accounts for what earlier lives have left, as far as it is still needed. It takes no more than half of what this stream is
    /// guaranteed, so that reading, which alone makes it less, goes on however much there is.
    pub(super) fn cover_remembered(&mut self) {
        if self.remembered.bytes() == 0 && self.settled.is_empty() && self.owners.is_empty() {
            return;
        }
        let stored = &self.stored;
        let is_passed = |set: &RecordSet| {
            set.iter().all(|(id, _)| stored.get(&id).is_some_and(|at| set.end(id).is_none_or(|end| end <= *at)))
        };
        self.settled.retain(|(_, set)| !is_passed(set));
        let settled = self.settled.iter().map(|(_, set)| set.len());
        let pending = self.reforming.values().map(|again| {
            let intent = &again.pending.row.intent;
            let requests = again.pending.sent.requests.len();
            intent.set.len() + again.left_out.len() + intent.batches.len() / BATCHES_IN_RANGE + requests
        });
        let in_sets: usize = settled.chain(pending).sum();
        // A range's bytes are those in a set and among the owners together: most ranges are in both.
        let ranges = in_sets.max(self.owners.ranges()) as u64;
        self.budget.cover(&self.remembered, (ranges * self.backlog.range_bytes()).min(self.budget.share() / 2));
    }

    /// These deliveries go on without the records of `range`.
    pub(super) fn leave_out(&mut self, rows: &[DeliveryRowId], partition: PartitionId, range: PositionRange) {
        for row in rows {
            if let Some(reforming) = self.reforming.get_mut(row) {
                reforming.left_out.add(partition, range);
            }
        }
    }

    /// Ships the deliveries of earlier lives whose records have all been read again.
    pub(super) async fn ship_reformed(&mut self) -> Result<(), StreamError> {
        let complete = |reforming: &Reforming| {
            let set = &reforming.pending.row.intent.set;
            set.iter().all(|(partition, _)| set.end(partition).is_none_or(|end| self.ledger.read_to(partition) >= end))
        };
        let rows: Vec<_> = self.reforming.iter().filter(|(_, r)| complete(r)).map(|(&row, _)| row).collect();
        for row in rows {
            self.ship_one_reformed(row).await?;
        }
        Ok(())
    }

    async fn ship_one_reformed(&mut self, row: DeliveryRowId) -> Result<(), StreamError> {
        let Some(reforming) = self.reforming.get(&row) else { return Ok(()) };
        if reforming.records == 0 {
            // All of it is dropped now, is new, or has had its fate elsewhere: there is nothing to be put.
            return self.cancel_reforming(row).await;
        }
        let left = reforming.pending.row.intent.set.without(&reforming.left_out);
        if !reforming.left_out.is_empty() {
            let left = left.clone();
            self.shipping.journal("shrink", move |journal| journal.shrink(row, &left)).await?;
        }
        let Some(reforming) = self.reforming.remove(&row) else { return Ok(()) };
        let is_as_journalled = self.check_count(&reforming);
        let Pending { row: DeliveryRow { intent, .. }, place, sent, child_place, .. } = reforming.pending;
        let intent = Intent { set: left, ..intent };
        let format: Format =
            serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
        let before = place
            .target
            .is_receiver()
            .then(|| Box::new(Before { intent: intent.clone(), sent, is_as_journalled, child_place }));
        self.ship(Shipment {
            holder: reforming.holder,
            kind: intent.kind,
            is_error_output: intent.output != DESTINATION && intent.kind == Kind::Fate,
            target: place.target,
            content_encoding: Codec::new(format.compression).content_encoding(),
            lane: reforming.lane,
            records: reforming.records,
            plan: Plan::Again { row, key: intent.key, before },
            turn: None,
        });
        Ok(())
    }

    /// A delivery that holds nothing any more will never be put.
    pub(super) async fn cancel_reforming(&mut self, row: DeliveryRowId) -> Result<(), StreamError> {
        self.shipping.journal("cancel", move |journal| journal.cancel(row)).await?;
        if let Some(reforming) = self.reforming.remove(&row) {
            info!(stream = %self.name, key = reforming.pending.row.intent.key, "a delivery of an earlier life holds nothing any more");
            self.ledger.settle(reforming.holder);
            self.may_have_moved = true;
        }
        Ok(())
    }

    /// The same records make as many as before, where processing is the same and none is missing. Whether that is so.
    fn check_count(&self, reforming: &Reforming) -> bool {
        let is_as_journalled =
            reforming.pending.is_made_as_now && !reforming.is_shrunk && reforming.left_out.is_empty();
        let intent = &reforming.pending.row.intent;
        let is_counted = intent.records > 0;
        if is_as_journalled && is_counted && reforming.records != intent.records {
            let (stream, key, journalled, found) = (&self.name, &intent.key, intent.records, reforming.records);
            error!(%stream, key, journalled, found, "a delivery does not hold the records that it was journalled with");
            self.status.imbalances.fetch_add(1, Ordering::Relaxed);
        }
        is_as_journalled && is_counted && reforming.records == intent.records
    }
}
