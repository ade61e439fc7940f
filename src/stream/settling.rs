//! What moves checkpoints: settlements, and the admission that something can never be read again.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::{error, warn};

use crate::failpoint;
use crate::journal::{Checkpoint, DeliveryRowId, Journal, Kind};
use crate::record::{PartitionId, Position};

use super::{Finished, Stream, StreamError};

impl Stream {
    /// One transaction for all deliveries that have arrived by now: they are settled and the checkpoints move.
    pub(super) async fn settle(&mut self, first: Finished) -> Result<(), StreamError> {
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
            let fates = delivery.fates;
            account.delivered += fates.delivered;
            account.failed += fates.failed;
            account.skipped += fates.skipped;
            self.status.objects.fetch_add(delivery.objects, Ordering::Relaxed);
            self.status.object_bytes.fetch_add(delivery.object_bytes, Ordering::Relaxed);
            if delivery.kind == Kind::Fate && !delivery.is_error_output {
                self.status.records_delivered.fetch_add(fates.delivered, Ordering::Relaxed);
            }
        }
        self.forget_gone().await?;
        self.compare();
        Ok(())
    }

    /// Settles `deliveries` and stores the checkpoints of `partitions` in one transaction.
    async fn store(&mut self, deliveries: Vec<DeliveryRowId>, partitions: Vec<PartitionId>) -> Result<(), StreamError> {
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
        let left = self.shipping.journal("settle", call).await?;
        self.backlog.set(left, self.budget.share());
        for (id, position, handle) in moved {
            self.stored.insert(id, position);
            if let Some(handle) = handle {
                handle.settled(position);
            }
        }
        Ok(())
    }

    /// Stores the checkpoints that have moved without a delivery: over records that were only skipped.
    pub(super) async fn store_checkpoints(&mut self) -> Result<(), StreamError> {
        if !std::mem::take(&mut self.may_have_moved) {
            return Ok(()); // Settlements store what they have moved.
        }
        let has_moved = |&id: &PartitionId| {
            self.partitions.contains_key(&id) && self.stored.get(&id) != Some(&self.ledger.checkpoint(id))
        };
        let moved: Vec<_> = self.ledger.partitions().filter(has_moved).collect();
        if !moved.is_empty() {
            self.store(Vec::new(), moved).await?;
            self.forget_gone().await?;
        }
        Ok(())
    }

    /// A drain has read everything there was: what pending deliveries still wait for is lost.
    pub(super) async fn lose_what_is_missing(&mut self) -> Result<(), StreamError> {
        let wanted: HashSet<_> =
            self.reforming.values().flat_map(|r| r.pending.row.intent.set.iter().map(|(id, _)| id)).collect();
        for partition in wanted {
            let found = self.partitions.get(&partition);
            let name = found.map_or_else(|| String::from("?"), |handle| handle.name());
            self.lose(partition, &name, self.ledger.read_to(partition), found.is_some()).await?;
        }
        Ok(())
    }

    /// Positions at `from` and behind it cannot be read again: the pending deliveries that hold some of them go on without.
    /// `is_cut` says that the partition ends there; else it was not found, and may come back as it was.
    pub(super) async fn lose(
        &mut self,
        partition: PartitionId,
        name: &str,
        from: Position,
        is_cut: bool,
    ) -> Result<(), StreamError> {
        let mut empty = Vec::new();
        for (&row, reforming) in &mut self.reforming {
            let set = &mut reforming.pending.row.intent.set;
            let Some(lost) = set.truncate(partition, from) else { continue };
            reforming.is_shrunk = true;
            let (stream, key) = (&self.name, &reforming.pending.row.intent.key);
            if self.status.source.redrive.is_some() {
                warn!(%stream, key, object = name, bytes = lost, "failed records that were being redriven are not delivered: \
                    their error object cannot be read now; they are still in it");
            } else {
                error!(%stream, key, path = name, lost_bytes = lost, "records of a pending delivery cannot be read again");
                self.status.source.lost_bytes.fetch_add(lost, Ordering::Relaxed);
            }
            let left = set.clone();
            self.shipping.journal("shrink", move |journal| journal.shrink(row, &left)).await?;
            if set.is_empty() {
                empty.push(row);
            }
        }
        for row in empty {
            self.cancel_reforming(row).await?;
        }
        if is_cut {
            self.owners.truncate(partition, from);
            for (row, set) in &mut self.settled {
                if set.truncate(partition, from).is_some() {
                    let (row, left) = (*row, set.clone());
                    self.shipping.journal("shrink", move |journal| journal.shrink(row, &left)).await?;
                }
            }
        } else {
            self.owners.forget_pending(partition);
        }
        self.ship_reformed().await
    }

    /// Closes partitions that are read to their end and owe nothing. The journal remembers for a while that they were there.
    pub(super) async fn forget_gone(&mut self) -> Result<(), StreamError> {
        let done: Vec<_> = self.gone.iter().copied().filter(|&id| self.ledger.is_settled(id)).collect();
        if done.is_empty() {
            return Ok(());
        }
        // What is remembered must be all that was settled: a late twin goes on from there.
        let has_moved = |&id: &PartitionId| self.stored.get(&id) != Some(&self.ledger.checkpoint(id));
        let moved: Vec<_> = done.iter().copied().filter(has_moved).collect();
        if !moved.is_empty() {
            self.store(Vec::new(), moved).await?;
        }
        let (marked, now_ms) = (done.clone(), Timestamp::now().as_millisecond());
        self.shipping.journal("mark gone", move |journal| journal.mark_gone(&marked, now_ms, true)).await?;
        for id in done {
            self.gone.remove(&id);
            self.ledger.close(id);
            self.partitions.remove(&id);
            self.stored.remove(&id);
        }
        Ok(())
    }
}
