//! Recovery: where the records above the checkpoints went, by the journal and never by the routing.
//!
//! A pending delivery whose object exists is settled. One whose object is known not to exist is cancelled if the
//! configuration has changed, and its records are new. Every other one is formed again from the same records, under its old
//! key. Records of a settled delivery have had their fate and are skipped; every record that nobody holds is new.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::destination::retry::{AttemptObserver, RetryLimits, exists_until_answered};
use crate::destination::{AttemptError, Existence, Put};
use crate::journal::{DeliveryRow, DeliveryRowId, Intent, JournalError, Kind, StreamRow};
use crate::output::{DESTINATION, Locator, Outputs, Place, Room};
use crate::positions::RecordSet;
use crate::record::{PartitionId, Position, PositionRange};
use crate::status::StreamStatus;

/// A request that a killed process had sent may still be on its way: so long an object is not known not to exist.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// Who holds a record that the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It has had its fate, or its copy is made.
    Settled,
    /// It belongs into this delivery again.
    Pending(DeliveryRowId),
}

/// What of a record a delivery holds. A record that processing made several of may have gone to both the destination and
/// the error output, and each asks on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Delivered,
    Failed,
    Copied,
    /// Of a record that became several, those that passed; the others went elsewhere.
    PartlyDelivered,
    PartlyFailed,
}

impl Part {
    const ALL: [Self; 5] = [Self::Delivered, Self::Failed, Self::Copied, Self::PartlyDelivered, Self::PartlyFailed];

    fn of(intent: &Intent) -> Self {
        match intent.kind {
            Kind::Copy => Self::Copied,
            Kind::Fate if intent.output == DESTINATION => Self::Delivered,
            Kind::Fate => Self::Failed,
        }
    }

    fn partly(self) -> Self {
        match self {
            Self::Delivered | Self::PartlyDelivered => Self::PartlyDelivered,
            Self::Failed | Self::PartlyFailed => Self::PartlyFailed,
            Self::Copied => Self::Copied,
        }
    }
}

/// The owners of all records above the checkpoints. Pure.
#[derive(Debug, Default)]
pub struct Owners {
    /// For each partition, by the first position of a range: its end and its owner. Ranges do not overlap.
    ranges: HashMap<(Part, PartitionId), BTreeMap<u64, (u64, Owner)>>,
}

impl Owners {
    pub fn add(&mut self, part: Part, set: &RecordSet, owner: Owner) {
        for (partition, ranges) in set.iter() {
            let known = self.ranges.entry((part, partition)).or_default();
            known.extend(ranges.iter().map(|range| (range.start.0, (range.end.0, owner))));
        }
    }

    /// The owner of the record at `position`, and the position up to which that holds.
    pub fn at(&self, part: Part, partition: PartitionId, position: Position) -> (Option<Owner>, Position) {
        let never = Position(u64::MAX);
        let Some(known) = self.ranges.get(&(part, partition)) else { return (None, never) };
        if let Some((_, &(end, owner))) = known.range(..=position.0).next_back()
            && position.0 < end
        {
            return (Some(owner), Position(end));
        }
        let next = known.range(position.0..).next().map_or(never, |(&start, _)| Position(start));
        (None, next)
    }

    /// Nothing before `position` is asked for any more.
    pub fn forget_before(&mut self, partition: PartitionId, position: Position) {
        for part in Part::ALL {
            let Some(known) = self.ranges.get_mut(&(part, partition)) else { continue };
            while known.first_key_value().is_some_and(|(_, (end, _))| *end <= position.0) {
                known.pop_first();
            }
            if known.is_empty() {
                self.ranges.remove(&(part, partition));
            }
        }
    }

    /// What lay at `from` and behind it is gone; what comes there now is new.
    pub fn truncate(&mut self, partition: PartitionId, from: Position) {
        for part in Part::ALL {
            let Some(known) = self.ranges.get_mut(&(part, partition)) else { continue };
            known.retain(|&start, (end, _)| {
                *end = (*end).min(from.0);
                start < *end
            });
        }
    }

    /// What pending deliveries held of `partition` is new, should it come back.
    pub fn forget_pending(&mut self, partition: PartitionId) {
        for part in Part::ALL {
            if let Some(known) = self.ranges.get_mut(&(part, partition)) {
                known.retain(|_, (_, owner)| *owner == Owner::Settled);
            }
        }
    }

    /// Whether every record is new.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// What a stream finds in the journal when it starts.
#[derive(Default)]
pub struct Recovered {
    pub owners: Owners,
    /// To be formed again.
    pub pending: Vec<Pending>,
    /// Settled, but not yet passed by the checkpoints.
    pub settled: Vec<(DeliveryRowId, RecordSet)>,
    /// Where records have to end when they are read again.
    pub cuts: HashMap<PartitionId, Vec<Position>>,
}

/// A delivery that has to be formed again, with the place that the journal names.
pub struct Pending {
    pub row: DeliveryRow,
    pub place: Place,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the destination of a pending delivery cannot be opened")]
    Destination(#[source] AttemptError),
    #[error("the journalled destination of delivery `{uuid}` is unreadable")]
    Locator { uuid: String, source: serde_json::Error },
}

/// How destinations are asked.
pub struct Asking<'a> {
    pub limits: RetryLimits,
    pub cancel: &'a CancellationToken,
    pub status: &'a StreamStatus,
}

/// A delivery that was not settled, and whether its object is there.
struct Asked {
    row: DeliveryRow,
    place: Place,
    existence: Existence,
}

/// Asks the journal and the destinations what became of the deliveries of earlier lives. `None` when cancelled.
pub async fn recover(
    stream: &StreamRow,
    outputs: &Outputs,
    room: Room<'_>,
    asking: &Asking<'_>,
) -> Result<Option<Recovered>, RecoveryError> {
    let (id, journal) = (stream.id, room.journal);
    let rows = journal.run("deliveries", move |journal| journal.deliveries(id)).await?;
    let mut recovered = Recovered::default();
    let mut asked = Vec::new();
    for row in rows {
        if row.settled {
            recovered.note(&row, Owner::Settled);
            recovered.settled.push((row.id, row.intent.set));
            continue;
        }
        let locator: Locator = serde_json::from_str(&row.intent.destination)
            .map_err(|source| RecoveryError::Locator { uuid: row.intent.uuid.clone(), source })?;
        let place = outputs.place(&locator, room).await.map_err(RecoveryError::Destination)?;
        let Some(existence) = asking.exists(room.stream, &place, &row).await else { return Ok(None) };
        asked.push(Asked { row, place, existence });
    }
    if !asking.make_sure(room.stream, stream.version, &mut asked).await {
        return Ok(None);
    }
    for Asked { row, place, existence } in asked {
        let (delivery, key) = (row.id, &row.intent.key);
        let may_be_cancelled = row.intent.version != stream.version || row.intent.set.is_empty();
        match existence {
            Existence::Present => {
                info!(stream = room.stream, key, "a delivery of an earlier life had arrived");
                journal.run("settle", move |journal| journal.settle(id, &[delivery], &[])).await?;
                recovered.note(&row, Owner::Settled);
                recovered.settled.push((row.id, row.intent.set));
            }
            Existence::Absent if may_be_cancelled => {
                info!(stream = room.stream, key, "a delivery of an earlier life is cancelled: its records are new");
                journal.run("cancel", move |journal| journal.cancel(delivery)).await?;
            }
            Existence::Absent | Existence::Unknown => {
                if existence == Existence::Unknown {
                    warn!(
                        stream = room.stream,
                        key, "whether an object exists cannot be asked: it is put on condition"
                    );
                }
                recovered.note(&row, Owner::Pending(row.id));
                recovered.pending.push(Pending { row, place });
            }
        }
    }
    Ok(Some(recovered))
}

impl Asking<'_> {
    /// Whether a delivery's object is there; `None` when cancelled.
    async fn exists(&self, stream: &str, place: &Place, row: &DeliveryRow) -> Option<Existence> {
        let destination = place.destination.as_ref();
        let key = row.intent.key.as_str();
        let observer = AskingObserver { stream, key, to: destination.name(), status: self.status };
        let existence = exists_until_answered(destination, key, self.limits, self.cancel, &observer).await;
        self.status.clear_problem(key);
        existence
    }

    /// Asks again for the objects whose absence ends their deliveries, once nothing can be on its way any more. False when
    /// cancelled.
    async fn make_sure(&self, stream: &str, version: u64, asked: &mut [Asked]) -> bool {
        let is_doubtful = |asked: &Asked| {
            // What this process puts into a folder has ended with the life that did it.
            let may_be_on_its_way = matches!(asked.place.locator, Locator::S3 { .. });
            asked.existence == Existence::Absent && asked.row.intent.version != version && may_be_on_its_way
        };
        if !asked.iter().any(is_doubtful) {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(IN_FLIGHT) => {}
            () = self.cancel.cancelled() => return false,
        }
        for asked in asked.iter_mut().filter(|asked| is_doubtful(asked)) {
            let Some(existence) = self.exists(stream, &asked.place, &asked.row).await else { return false };
            asked.existence = existence;
        }
        true
    }
}

/// Says that a stream cannot begin because a destination does not answer.
struct AskingObserver<'a> {
    stream: &'a str,
    key: &'a str,
    to: String,
    status: &'a StreamStatus,
}

impl AttemptObserver for AskingObserver<'_> {
    fn failed(&self, attempt: u32, error: &AttemptError, retry_in: Duration) {
        let (stream, key, to) = (self.stream, self.key, &self.to);
        self.status.set_problem(key, format!("{to} does not say whether an earlier delivery arrived: {error}"));
        error!(
            stream,
            key,
            %to,
            code = error.code,
            %error,
            attempt,
            ?retry_in,
            "whether a delivery of an earlier life arrived is not known; the stream waits for the answer"
        );
    }

    fn succeeded(&self, _: u32, _: Put) {}
}

impl Recovered {
    fn note(&mut self, row: &DeliveryRow, owner: Owner) {
        let part = Part::of(&row.intent);
        let (whole, partial) = row.intent.set.split(&row.intent.partial);
        self.owners.add(part, &whole, owner);
        self.owners.add(part.partly(), &partial, owner);
        for (partition, ranges) in row.intent.set.iter() {
            let ends = |range: &PositionRange| [range.start, range.end];
            self.cuts.entry(partition).or_default().extend(ranges.iter().flat_map(ends));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_has_the_owner_that_was_added(
            steps in proptest::collection::vec((0u64..5, 1u64..6, any::<bool>()), 0..12),
            forget in 0u64..80,
            truncate in 0u64..80,
        ) {
            let file = PartitionId(3);
            let mut owners = Owners::default();
            let mut naive = vec![None; 200];
            let mut at = 0;
            for (index, (gap, length, is_settled)) in steps.into_iter().enumerate() {
                let range = PositionRange::new(at + gap, at + gap + length);
                at = range.end.0;
                let owner = if is_settled { Owner::Settled } else { Owner::Pending(DeliveryRowId(index as i64)) };
                let mut set = RecordSet::default();
                set.add(file, range);
                owners.add(Part::Delivered, &set, owner);
                naive[range.start.0 as usize..range.end.0 as usize].fill(Some(owner));
            }
            owners.forget_before(file, Position(forget));
            owners.truncate(file, Position(truncate));
            naive[truncate as usize..].fill(None);
            let mut position = forget;
            while position < 150 {
                let (owner, until) = owners.at(Part::Delivered, file, Position(position));
                prop_assert!(until.0 > position);
                for p in position..until.0.min(150) {
                    prop_assert_eq!(owner, naive[p as usize], "at {}", p);
                }
                position = until.0;
            }
            prop_assert_eq!(owners.at(Part::Copied, file, Position(0)).0, None);
        }
    }
}
