//! Each record to whoever holds it, and those that nobody holds into the buffer of their output.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::trace;

use crate::buffer::Buffer;
use crate::encode::lane::{Lane, Piece};
use crate::envelope;
use crate::journal::DeliveryRowId;
use crate::ledger::HolderId;
use crate::memory::Permit;
use crate::output::Output;
use crate::processing::FailedRecord;
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, PositionRange};
use crate::recovery::{Owner, Part};

use super::{OpenBuffer, Stream, StreamError};

/// Who holds the records of a run. A record that has become several may be held twice.
#[derive(Clone, Copy)]
struct Held {
    delivered: Option<Owner>,
    failed: Option<Owner>,
    /// Deliveries that hold only a part of each record: alone, they speak for their own output.
    partly_delivered: Option<Owner>,
    partly_failed: Option<Owner>,
}

/// What the journal says about what goes to one output.
enum Claim {
    Nobody,
    Settled,
    Pending(DeliveryRowId),
    /// Passes now, and failed as a whole under an earlier configuration.
    PendingFailure(DeliveryRowId),
}

impl From<Option<Owner>> for Claim {
    fn from(owner: Option<Owner>) -> Self {
        match owner {
            None => Self::Nobody,
            Some(Owner::Settled) => Self::Settled,
            Some(Owner::Pending(row)) => Self::Pending(row),
        }
    }
}

impl Held {
    /// For what passes. A part excuses what passes beside a failure; of a record that passes as a whole now, its one part
    /// says nothing about the others, and only both parts together are all of it.
    fn passing(self, is_split: bool) -> Claim {
        match (self.delivered, self.failed) {
            (Some(owner), _) => return Some(owner).into(),
            (None, Some(Owner::Settled)) => return Claim::Settled,
            (None, Some(Owner::Pending(row))) => return Claim::PendingFailure(row),
            (None, None) => {}
        }
        match (self.partly_delivered, self.partly_failed) {
            (own, _) if is_split => own.into(),
            (Some(Owner::Pending(row)), _) => Claim::Pending(row),
            (Some(Owner::Settled), Some(Owner::Settled)) => Claim::Settled,
            (Some(Owner::Settled) | None, _) => Claim::Nobody,
        }
    }

    /// The same for what fails.
    fn failing(self, is_split: bool) -> Claim {
        match (self.failed, self.delivered) {
            (Some(owner), _) => return Some(owner).into(),
            (None, Some(Owner::Settled)) => return Claim::Settled,
            (None, Some(Owner::Pending(row))) if !is_split => return Claim::Pending(row),
            (None, Some(Owner::Pending(_)) | None) => {}
        }
        match (self.partly_failed, self.partly_delivered) {
            (own, _) if is_split => own.into(),
            (Some(Owner::Pending(row)), _) => Claim::Pending(row),
            (Some(Owner::Settled), Some(Owner::Settled)) => Claim::Settled,
            (Some(Owner::Settled) | None, _) => Claim::Nobody,
        }
    }
}

/// Lines for the error output, made of one source record.
struct Failed {
    partition: PartitionId,
    range: PositionRange,
    lines: Bytes,
    records: u64,
    /// Nothing in the source may say that the record ends there.
    is_cut: bool,
    /// Something of the record has passed.
    is_partial: bool,
    arrival: Timestamp,
    permit: Arc<Permit>,
}

impl Stream {
    /// Positions have been read and handed on; deliveries of earlier lives may be complete again.
    pub(super) fn read(&mut self, partition: PartitionId, range: PositionRange) -> Result<(), StreamError> {
        self.ledger.read(partition, range)?;
        if !self.owners.is_empty() {
            self.owners.forget_before(partition, range.end);
        }
        self.ship_reformed();
        Ok(())
    }

    /// Hands each record of a chunk to whoever holds it, and those that nobody holds to their buffer. `failed` are the
    /// records that processing has refused, ascending.
    pub(super) async fn route(&mut self, chunk: &Chunk, failed: &[FailedRecord]) {
        self.count_read(chunk, failed);
        let mut failed = failed.iter().peekable();
        let mut from = 0;
        while from < chunk.records() {
            let (held, until) = self.held(chunk.partition.id(), chunk.position(from));
            let run_end = from + chunk.records_until(from, until);
            let next_failed = failed.peek().map_or(usize::MAX, |failed| failed.index);
            let to = run_end.min(next_failed);
            if to > from {
                self.route_run(held, false, chunk, from, to).await;
                from = to;
            } else if let Some(failed) = failed.next() {
                self.route_failed(held, chunk, failed).await;
                from += 1;
            }
        }
    }

    /// Hands the copies of all records of a chunk to whoever holds them, and the others to the backup's buffer.
    pub(super) async fn route_copies(&mut self, chunk: &Chunk) {
        self.copy.read += chunk.records() as u64;
        let mut from = 0;
        while from < chunk.records() {
            let (owner, until) = self.owners.at(Part::Copied, chunk.partition.id(), chunk.position(from));
            let to = from + chunk.records_until(from, until);
            match (owner, self.outputs.backup.clone()) {
                (None, Some(backup)) => self.buffer(&backup, false, chunk, from, to).await,
                (Some(Owner::Pending(row)), _) => self.reform(row, records(chunk, from, to)).await,
                (None, None) | (Some(Owner::Settled), _) => self.copy.skipped += (to - from) as u64,
            }
            from = to;
        }
    }

    /// A record over the limit goes to the error output in Firehose's envelope; it has no copy in the backup.
    pub(super) async fn route_oversize(&mut self, record: OversizeRecord) {
        self.fate.read += 1;
        if self.makes_copies {
            self.copy.read += 1;
            self.copy.failed += 1;
        }
        let (partition, range) = (record.partition.id(), record.range);
        let (held, _) = self.held(partition, range.start);
        let owner = held.failed.or(held.delivered);
        if owner == Some(Owner::Settled) {
            self.fate.skipped += 1;
            return;
        }
        let (arrival, permit) = (record.arrival, record.permit.clone());
        let line = self.pool.spawn(move || envelope::record_too_large(&record, Timestamp::now()));
        let lines = crate::pool::join(line).await;
        let failed = Failed { partition, range, lines, records: 1, is_cut: true, is_partial: false, arrival, permit };
        self.fail(owner.into(), failed).await;
    }

    /// What was read, and what processing has added and taken away.
    fn count_read(&mut self, chunk: &Chunk, failed: &[FailedRecord]) {
        let read = chunk.records() as u64;
        self.fate.read += read;
        let Some(made) = &chunk.made else { return };
        let leaving = chunk.made(0, chunk.records()) + failed.iter().map(|failed| failed.records).sum::<u64>();
        let without = made.iter().filter(|&&made| made == 0).count();
        let failed_whole = failed.iter().filter(|failed| made[failed.index] == 0).count();
        let dropped = (without - failed_whole) as u64;
        self.fate.dropped += dropped;
        self.fate.created += leaving + dropped - read;
    }

    fn held(&self, partition: PartitionId, position: Position) -> (Held, Position) {
        let mut until = Position(u64::MAX);
        let mut owner = |part| {
            let (owner, part_until) = self.owners.at(part, partition, position);
            until = until.min(part_until);
            owner
        };
        let held = Held {
            delivered: owner(Part::Delivered),
            failed: owner(Part::Failed),
            partly_delivered: owner(Part::PartlyDelivered),
            partly_failed: owner(Part::PartlyFailed),
        };
        (held, until)
    }

    /// Records that processing has let through; `is_split` says that some of what was made of them has failed.
    async fn route_run(&mut self, held: Held, is_split: bool, chunk: &Chunk, from: usize, to: usize) {
        if !is_split {
            self.leave_out(held.partly_failed);
        }
        match held.passing(is_split) {
            Claim::Settled => self.fate.skipped += chunk.made(from, to),
            Claim::Pending(row) => self.reform(row, records(chunk, from, to)).await,
            Claim::PendingFailure(row) => self.reform_as_failed(row, chunk, from, to).await,
            Claim::Nobody => {
                let destination = self.outputs.destination.clone();
                self.buffer(&destination, is_split, chunk, from, to).await;
            }
        }
    }

    /// A record that processing has refused, or of several that it became some.
    async fn route_failed(&mut self, held: Held, chunk: &Chunk, failed: &FailedRecord) {
        let (index, after) = (failed.index, failed.index + 1);
        let is_split = chunk.made(index, after) > 0;
        if is_split {
            self.route_run(held, is_split, chunk, index, after).await;
        } else {
            self.leave_out(held.partly_delivered);
        }
        let failed = Failed {
            partition: chunk.partition.id(),
            range: chunk.range(index, after),
            lines: failed.lines.clone(),
            records: failed.records,
            is_cut: chunk.is_cut(after),
            is_partial: is_split,
            arrival: chunk.arrival,
            permit: chunk.permit.clone(),
        };
        self.fail(held.failing(is_split), failed).await;
    }

    /// The pending delivery may go without a record: the configuration has changed, and what was a part of the record
    /// there is now in another output.
    fn leave_out(&mut self, owner: Option<Owner>) {
        if let Some(Owner::Pending(row)) = owner
            && let Some(reforming) = self.reforming.get_mut(&row)
        {
            reforming.is_shrunk = true;
        }
    }

    /// Puts lines for the error output to their owner, or into its buffer when they are new.
    async fn fail(&mut self, claim: Claim, failed: Failed) {
        let Failed { partition, range, lines, records, is_cut, is_partial, arrival, permit } = failed;
        let bytes = lines.len() as u64;
        let piece = Piece::Ready { bytes: lines, records, permit };
        match claim {
            Claim::Settled => self.fate.skipped += records,
            Claim::Pending(row) | Claim::PendingFailure(row) => self.reform(row, piece).await,
            Claim::Nobody => {
                let output = self.outputs.processing_failed.clone();
                let now_ms = self.now_ms();
                if self.open.get(output.name).is_some_and(|open| open.buffer.room(0, &[bytes as u32]) == 0) {
                    self.seal(output.name);
                }
                let open = self.open_buffer(&output, arrival);
                open.buffer.push(now_ms, partition, range, records, bytes);
                if is_cut {
                    open.buffer.cut(partition);
                }
                if is_partial {
                    open.buffer.partial(partition, range);
                }
                open.lane.push(piece).await;
                let (holder, is_full) = (open.holder, open.buffer.is_full());
                self.ledger.hold(holder, partition, range);
                if is_full {
                    self.seal(output.name);
                }
            }
        }
    }

    /// Puts records into the delivery of an earlier life that holds them.
    async fn reform(&mut self, row: DeliveryRowId, piece: Piece) {
        if let Some(reforming) = self.reforming.get_mut(&row) {
            reforming.records += piece.records();
            reforming.lane.push(piece).await;
        }
    }

    /// Records that failed under an earlier configuration and whose error object may or may not be there.
    async fn reform_as_failed(&mut self, row: DeliveryRowId, chunk: &Chunk, from: usize, to: usize) {
        for index in from..to {
            let records = chunk.made(index, index + 1);
            if records > 0 {
                let bytes = envelope::failed_before(chunk, index, Timestamp::now());
                self.reform(row, Piece::Ready { bytes, records, permit: chunk.permit.clone() }).await;
            }
        }
    }

    /// Puts new records into the open buffer of their output, sealing it whenever it is full.
    async fn buffer(&mut self, output: &Arc<Output>, is_partial: bool, chunk: &Chunk, mut from: usize, to: usize) {
        while from < to {
            if chunk.made(from, from + 1) == 0 {
                from += 1; // Processing has dropped it: nobody needs its position.
                continue;
            }
            let now_ms = self.now_ms();
            let open = self.open_buffer(output, chunk.arrival);
            let fit = open.buffer.room(chunk.record_start(from), &chunk.ends[from..to]);
            if fit > 0 {
                let until = from + fit;
                let range = chunk.range(from, until);
                open.buffer.push(now_ms, chunk.partition.id(), range, chunk.made(from, until), chunk.len(from, until));
                trace!(path = chunk.partition.name(), end = %range.end.0, "records entered a buffer");
                if chunk.is_cut(until) {
                    open.buffer.cut(chunk.partition.id());
                }
                if is_partial {
                    open.buffer.partial(chunk.partition.id(), range);
                }
                let holder = open.holder;
                open.lane.push(records(chunk, from, until)).await;
                let is_full = open.buffer.is_full();
                self.ledger.hold(holder, chunk.partition.id(), range);
                from = until;
                if !is_full {
                    continue;
                }
            }
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
}

fn records(chunk: &Chunk, from: usize, to: usize) -> Piece {
    Piece::Records { chunk: chunk.clone(), from, to }
}
