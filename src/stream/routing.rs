//! Each record to whoever holds it, and those that nobody holds into the buffer of their output.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::trace;

use crate::batches::Batch;
use crate::buffer::Buffer;
use crate::encode::lane::Lane;
use crate::envelope;
use crate::error_type::PROCESSING_FAILED;
use crate::journal::{self, DeliveryRowId, Kind};
use crate::ledger::HolderId;
use crate::memory::Permit;
use crate::output::{DESTINATION, Output};
use crate::partition::Partition;
use crate::processing::{Apart, ErrorType, Goal};
use crate::record::{self, Chunk, Content, PartitionId, PositionRange, RefusedRecord};
use crate::recovery::{Claim, Held, Outcome, Owner, Part};

use super::sealing::{OpenBuffer, Route};
use super::{Stream, StreamError};

/// What of one source record leaves apart from its chunk.
struct Whole {
    goal: Goal,
    partition: PartitionId,
    range: PositionRange,
    content: Content,
    records: u64,
    /// Nothing in the source may say that the record ends there.
    is_cut: bool,
    /// Something of the record goes elsewhere.
    is_partial: bool,
    /// Where it has to be known with which others the record was processed, and when it arrived.
    batch: Option<Batch>,
    arrival: Timestamp,
    permit: Arc<Permit>,
}

impl Stream {
    /// Positions have been read and handed on; deliveries of earlier lives may be complete again.
    pub(super) async fn read(&mut self, partition: PartitionId, range: PositionRange) -> Result<(), StreamError> {
        self.hand_over().await;
        self.ledger.read(partition, range)?;
        self.may_have_moved = true;
        self.owners.forget_before(partition, range.end);
        self.ship_reformed().await
    }

    /// What has gathered of a chunk goes on, in one piece for each output.
    async fn hand_over(&mut self) {
        for open in self.open.values_mut() {
            open.lane.hand_over().await;
            let bytes = open.buffer.ranges_bytes() + open.buffer.batches_bytes();
            self.budget.cover(&open.ranges, bytes);
        }
        for reforming in self.reforming.values_mut() {
            reforming.lane.hand_over().await;
        }
    }

    /// Hands each record of a chunk to whoever holds it, and those that nobody holds to their buffer. `apart` is what does not
    /// leave with the chunk, ascending.
    pub(super) async fn route(&mut self, chunk: &Chunk, mut apart: &[Apart]) {
        self.count_read(chunk, apart);
        let mut from = 0;
        while from < chunk.records() {
            let (held, until) = self.owners.held(chunk.partition.id(), chunk.position(from));
            let run_end = from + chunk.records_until(from, until);
            let next_apart = apart.first().map_or(usize::MAX, |apart| apart.index);
            let to = run_end.min(next_apart);
            if to > from {
                self.route_passed(&held, chunk, from, to).await;
                from = to;
            } else {
                let of_this = apart.iter().take_while(|apart| apart.index == from).count();
                let (these, others) = apart.split_at(of_this);
                self.route_apart(&held, chunk, from, these).await;
                apart = others;
                from += 1;
            }
        }
    }

    /// Hands the copies of all records of a chunk to whoever holds them, and the others to the backup's buffer.
    pub(super) async fn route_copies(&mut self, chunk: &Chunk) {
        self.copy.read += chunk.records() as u64;
        let mut from = 0;
        while from < chunk.records() {
            let (owner, until) = self.owners.at(&Part::Copied, chunk.partition.id(), chunk.position(from));
            let to = from + chunk.records_until(from, until);
            match (owner, self.outputs.backup.clone()) {
                (None, Some(backup)) => self.buffer(&backup, false, chunk, from, to).await,
                (Some(Owner::Pending(row)), _) => self.reform(row, chunk, from, to).await,
                (None, None) | (Some(Owner::Settled), _) => self.copy.skipped += (to - from) as u64,
            }
            from = to;
        }
    }

    /// A record over the limit goes to the error output in Firehose's envelope; it has no copy in the backup.
    pub(super) async fn route_refused(&mut self, record: RefusedRecord) {
        self.fate.read += 1;
        if self.makes_copies {
            self.copy.read += 1;
            self.copy.failed += 1;
        }
        let (partition, range) = (record.partition.id(), record.range);
        let (held, _) = self.owners.held(partition, range.start);
        let decision = held.decide(Outcome::Fails);
        self.leave_out(&decision.left_out_of, partition, range);
        let claim = decision.claim(PROCESSING_FAILED, true);
        if claim == Claim::Settled {
            self.fate.skipped += 1;
            return;
        }
        let failed_at = record.failed_at.unwrap_or_else(record::now);
        let record = RefusedRecord { failed_at: Some(failed_at), ..record };
        let batch = self.keeps_batches.then(|| Batch::of_refused(&record));
        let (arrival, permit) = (record.arrival, record.permit.clone());
        let line = self.pool.spawn(move || envelope::refused(&record, failed_at));
        let lines = crate::pool::join(line).await;
        let whole = Whole {
            goal: Goal::Failed(ErrorType::Processing),
            partition,
            range,
            content: Content::Bytes(lines),
            records: 1,
            is_cut: true,
            is_partial: false,
            batch,
            arrival,
            permit,
        };
        self.hand(claim, whole).await;
    }

    /// What was read, and what processing has added and taken away.
    fn count_read(&mut self, chunk: &Chunk, apart: &[Apart]) {
        let read = chunk.records() as u64;
        self.fate.read += read;
        let Some(made) = &chunk.made else { return };
        let leaving = chunk.made(0, chunk.records()) + apart.iter().map(|apart| apart.records).sum::<u64>();
        let without = made.iter().filter(|&&made| made == 0).count();
        let mut only_apart: Vec<_> = apart.iter().map(|apart| apart.index).filter(|&index| made[index] == 0).collect();
        only_apart.dedup();
        let dropped = (without - only_apart.len()) as u64;
        self.fate.dropped += dropped;
        self.fate.created += leaving + dropped - read;
    }

    /// Records that processing has let through, or dropped.
    async fn route_passed(&mut self, held: &Held, chunk: &Chunk, from: usize, to: usize) {
        let decision = held.decide(Outcome::Passes);
        self.leave_out(&decision.left_out_of, chunk.partition.id(), chunk.range(from, to));
        self.pass(decision.claim(DESTINATION, false), false, chunk, from, to).await;
    }

    /// A record of which something leaves apart from the chunk, or all of it; at least one such part.
    async fn route_apart(&mut self, held: &Held, chunk: &Chunk, index: usize, apart: &[Apart]) {
        let after = index + 1;
        let passes = chunk.made(index, after) > 0;
        let is_partial = passes || apart.len() > 1;
        let outcome = match apart {
            _ if is_partial => Outcome::Splits,
            [Apart { goal: Goal::Failed(_), .. }] => Outcome::Fails,
            _ => Outcome::Passes,
        };
        let decision = held.decide(outcome);
        let (partition, range) = (chunk.partition.id(), chunk.range(index, after));
        self.leave_out(&decision.left_out_of, partition, range);
        if passes {
            let to = chunk.partition_of(index, after).0;
            let claim = decision.claim(&journal::route(DESTINATION, to.map_or(&[], Partition::values)), false);
            self.pass(claim, is_partial, chunk, index, after).await;
        }
        for apart in apart {
            let claim = match &apart.goal {
                Goal::Failed(error_type) => decision.claim(error_type.name(), true),
                Goal::Partition(to) => decision.claim(&journal::route(DESTINATION, to.values()), false),
            };
            if let (Goal::Partition(_), Claim::PendingFailure(row)) = (&apart.goal, claim) {
                self.reform_one_as_failed(row, chunk, index, apart.records).await;
                continue;
            }
            let whole = Whole {
                goal: apart.goal.clone(),
                partition,
                range,
                content: apart.content.clone(),
                records: apart.records,
                is_cut: chunk.is_cut(after),
                is_partial,
                batch: self.keeps_batches.then(|| Batch::of(chunk)),
                arrival: chunk.arrival,
                permit: chunk.permit.clone(),
            };
            self.hand(claim, whole).await;
        }
    }

    /// Puts what passes to its owner, or into the destination's buffer when it is new. `is_partial`: some of what was made of
    /// the records has failed.
    async fn pass(&mut self, claim: Claim, is_partial: bool, chunk: &Chunk, from: usize, to: usize) {
        match claim {
            Claim::Settled => self.fate.skipped += chunk.made(from, to),
            Claim::Pending(row) => self.reform(row, chunk, from, to).await,
            Claim::PendingFailure(row) => self.reform_as_failed(row, chunk, from, to).await,
            Claim::Nobody => {
                let destination = self.outputs.destination.clone();
                self.buffer(&destination, is_partial, chunk, from, to).await;
            }
        }
    }

    /// Puts what leaves apart to its owner, or into the buffer of its output when it is new.
    async fn hand(&mut self, claim: Claim, whole: Whole) {
        match claim {
            Claim::Settled => self.fate.skipped += whole.records,
            Claim::Pending(row) | Claim::PendingFailure(row) => {
                self.reform_ready(row, whole.content, whole.records, &whole.permit).await;
            }
            Claim::Nobody => self.buffer_whole(whole).await,
        }
    }

    async fn buffer_whole(&mut self, whole: Whole) {
        let Whole { goal, partition, range, content, records, is_cut, is_partial, batch, arrival, permit } = whole;
        let bytes = content.len();
        let (output, to) = match goal {
            Goal::Failed(error_type) => (self.outputs.failed(error_type).clone(), None),
            Goal::Partition(to) => (self.outputs.destination.clone(), Some(to)),
        };
        let route = Route { output: output.name, partition: to };
        let now_ms = self.now_ms();
        if self.open.get(&route).is_some_and(|open| open.buffer.room(0, &[bytes as u32]) == 0) {
            self.seal(&route);
        }
        let open = self.open_buffer(&route, &output, arrival);
        open.buffer.push(now_ms, partition, range, records, bytes);
        if is_cut {
            open.buffer.cut(partition);
        }
        if is_partial {
            open.buffer.partial(partition, range);
        }
        let needed = open.buffer.processed_in(partition, range, batch);
        open.lane.push_ready(content, records, &permit).await;
        let (holder, is_full) = (open.holder, open.buffer.is_full());
        self.ledger.hold(holder, partition, needed);
        if is_full {
            self.seal(&route);
        }
    }

    /// Puts records into the delivery of an earlier life that holds them.
    async fn reform(&mut self, row: DeliveryRowId, chunk: &Chunk, from: usize, to: usize) {
        if let Some(reforming) = self.reforming.get_mut(&row) {
            reforming.records += chunk.made(from, to);
            reforming.lane.push(chunk, from, to).await;
        }
    }

    /// The same with lines that are complete.
    async fn reform_ready(&mut self, row: DeliveryRowId, content: Content, records: u64, permit: &Arc<Permit>) {
        if let Some(reforming) = self.reforming.get_mut(&row) {
            reforming.records += records;
            reforming.lane.push_ready(content, records, permit).await;
        }
    }

    /// Records that failed in an earlier life, pass now, and whose error object may or may not be there.
    async fn reform_as_failed(&mut self, row: DeliveryRowId, chunk: &Chunk, from: usize, to: usize) {
        for index in from..to {
            let records = chunk.made(index, index + 1);
            if records > 0 {
                self.reform_one_as_failed(row, chunk, index, records).await;
            }
        }
    }

    async fn reform_one_as_failed(&mut self, row: DeliveryRowId, chunk: &Chunk, index: usize, records: u64) {
        let line = envelope::failed_before(chunk, index, Timestamp::now());
        self.reform_ready(row, Content::Bytes(line), records, &chunk.permit).await;
    }

    /// Puts new records into the open buffer of their output, sealing it whenever it is full.
    async fn buffer(&mut self, output: &Arc<Output>, is_partial: bool, chunk: &Chunk, mut from: usize, to: usize) {
        // A copy is as it was read.
        let batch = (self.keeps_batches && output.kind == Kind::Fate).then(|| Batch::of(chunk));
        while from < to {
            if chunk.made(from, from + 1) == 0 {
                from += 1; // Processing has dropped it: nobody needs its position.
                continue;
            }
            let now_ms = self.now_ms();
            let (partition, run_end) = chunk.partition_of(from, to);
            let partition = partition.filter(|_| output.kind == Kind::Fate).cloned();
            let route = Route { output: output.name, partition };
            let open = self.open_buffer(&route, output, chunk.arrival);
            let fit = open.buffer.room(chunk.record_start(from), &chunk.ends[from..run_end]);
            if fit > 0 {
                let until = from + fit;
                let range = chunk.range(from, until);
                open.buffer.push(now_ms, chunk.partition.id(), range, chunk.made(from, until), chunk.len(from, until));
                trace!(path = chunk.partition.name(), end = %range.end.offset(), "records entered a buffer");
                if chunk.is_cut(until) {
                    open.buffer.cut(chunk.partition.id());
                }
                if is_partial {
                    open.buffer.partial(chunk.partition.id(), range);
                }
                let needed = open.buffer.processed_in(chunk.partition.id(), range, batch);
                let holder = open.holder;
                open.lane.push(chunk, from, until).await;
                let is_full = open.buffer.is_full();
                self.ledger.hold(holder, chunk.partition.id(), needed);
                from = until;
                if !is_full {
                    continue;
                }
            }
            self.seal(&route);
        }
    }

    fn open_buffer(&mut self, route: &Route, output: &Arc<Output>, arrival: Timestamp) -> &mut OpenBuffer {
        self.make_room_for(route);
        self.pushes += 1;
        let (next_holder, pushes) = (&mut self.next_holder, self.pushes);
        let (pool, budget) = (&self.pool, &self.budget);
        let open = self.open.entry(route.clone()).or_insert_with(|| {
            let holder = HolderId(*next_holder);
            *next_holder += 1;
            let uuid = uuid::Uuid::new_v4().to_string();
            let lane = Lane::open(output.forming(&uuid, arrival), pool.clone());
            let (buffer, ranges) = (Buffer::new(output.hints), budget.overdraw(0));
            OpenBuffer { holder, uuid, buffer, lane, ranges, arrival, output: output.clone(), used: pushes }
        });
        open.used = pushes;
        open
    }
}
