//! Each record to whoever holds it, and those that nobody holds into the buffer of their output.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::trace;

use crate::buffer::Buffer;
use crate::encode::lane::{Lane, Piece};
use crate::envelope;
use crate::journal::Kind;
use crate::ledger::HolderId;
use crate::output::Output;
use crate::record::{Chunk, OversizeRecord, PartitionId, Position, PositionRange};
use crate::recovery::Owner;

use super::{OpenBuffer, Stream, StreamError};

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

    /// Hands each record of a chunk to whoever holds it, and those that nobody holds to their buffer.
    pub(super) async fn route(&mut self, kind: Kind, chunk: &Chunk) {
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
                trace!(path = chunk.partition.name(), end = %range.end.0, "records entered a buffer");
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
    pub(super) async fn route_oversize(&mut self, record: OversizeRecord) {
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
        let (range, arrival, permit) = (record.range, record.arrival, record.permit.clone());
        let line = self.pool.spawn(move || envelope::record_too_large(&record, Timestamp::now()));
        let line = crate::pool::join(line).await;
        let bytes = line.len() as u64;
        let piece = Piece::Ready { bytes: line, permit };
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
        let open = self.open_buffer(&output, arrival);
        open.buffer.push(now_ms, partition, range, 1, bytes);
        open.lane.push(piece).await;
        let (holder, is_full) = (open.holder, open.buffer.is_full());
        self.ledger.hold(holder, partition, range);
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
}
