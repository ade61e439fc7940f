//! Recovery: where the records above the checkpoints went, by the journal and never by the routing.
//!
//! A pending delivery whose object exists is settled. One whose object is known not to exist is cancelled if the
//! configuration has changed, and its records are new. Every other one is formed again from the same records, under its old
//! key. A receiver cannot be asked: what it has acknowledged stays settled, and the rest is sent again in the requests that are
//! journalled, or is new if processing has changed or the receiver is another one now. Records of a settled delivery have had their fate and are skipped; every
//! record that nobody holds is new. What that means for records that became several, and after processing has changed,
//! [`Held::decide`] says.

mod held;
#[cfg(test)]
mod model;
mod owners;

pub use held::{Claim, Decision, Held, HeldPart, MadeBy, Outcome, Owner};
pub use owners::{Owners, Part};

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::batches::ToldOf;
use crate::destination::retry::{AttemptObserver, RetryLimits, exists_until_answered};
use crate::destination::{AttemptError, Existence, Put};
use crate::journal::{DeliveryRow, DeliveryRowId, Intent, JournalError, Kind, Sent, StreamRow};
use crate::output::{DESTINATION, Locator, Outputs, Place, Room, Target};
use crate::positions::RecordSet;
use crate::record::{PartitionId, Position, PositionRange};
use crate::requests::{self, Child};
use crate::status::StreamStatus;

/// Fingerprints of processing begin with it whose parts of records may go to more than two outputs.
pub const MORE_OUTPUTS: &str = "more-outputs:";

/// A request that a killed process had sent may still be on its way: so long an object is not known not to exist.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// What a stream finds in the journal when it starts.
#[derive(Default)]
pub struct Recovered {
    pub owners: Owners,
    makers: Makers,
    /// To be formed again.
    pub pending: Vec<Pending>,
    /// Settled, but not yet passed by the checkpoints.
    pub settled: Vec<(DeliveryRowId, RecordSet)>,
    /// Where records have to end when they are read again.
    pub cuts: HashMap<PartitionId, Vec<Position>>,
    /// In which batches they are processed then.
    pub told: ToldOf,
}

/// A delivery that has to be formed again, with the place that the journal names.
pub struct Pending {
    pub row: DeliveryRow,
    pub place: Place,
    /// Its records are processed now as they were when it was journalled.
    pub is_made_as_now: bool,
    /// What has become of its requests, where it has such.
    pub sent: Sent,
    /// Where its child goes, if there is one.
    pub child_place: Option<Place>,
}

/// How a stream is configured in this life.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// Of the whole configuration.
    pub version: u64,
    /// Fingerprint of what decides over what becomes of a record.
    pub processing: &'a str,
}

impl Present<'_> {
    /// Whether a delivery whose object is known not to exist is cancelled rather than formed again. Of one that holds nothing
    /// any more there is nothing to be formed.
    pub fn cancels(&self, intent: &Intent) -> bool {
        intent.version != self.version || intent.processing != self.processing || intent.set.is_empty()
    }
}

/// The fingerprints of all processing that the journal knows, by their numbers in this life.
#[derive(Default)]
struct Makers(Vec<String>);

impl Makers {
    fn number(&mut self, fingerprint: &str) -> MadeBy {
        let index = self.0.iter().position(|known| known == fingerprint).unwrap_or_else(|| {
            self.0.push(fingerprint.to_owned());
            self.0.len() - 1
        });
        MadeBy { number: index as u32, has_two_outputs: !fingerprint.starts_with(MORE_OUTPUTS) }
    }
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
    sent: Sent,
    child_place: Option<Place>,
}

/// The place that a locator in the journal names; `None` for a receiver that the configuration no longer knows.
async fn place_of(
    locator: &str,
    row: &DeliveryRow,
    outputs: &Outputs,
    room: Room<'_>,
) -> Result<Option<Place>, RecoveryError> {
    let locator: Locator = serde_json::from_str(locator)
        .map_err(|source| RecoveryError::Locator { uuid: row.intent.uuid.clone(), source })?;
    outputs.place(&locator, room).await.map_err(RecoveryError::Destination)
}

/// Asks the journal and the destinations what became of the deliveries of earlier lives. `None` when cancelled.
pub async fn recover(
    stream: &StreamRow,
    processing: &str,
    outputs: &Outputs,
    room: Room<'_>,
    asking: &Asking<'_>,
) -> Result<Option<Recovered>, RecoveryError> {
    let (id, journal) = (stream.id, room.journal);
    let rows = journal.run("deliveries", move |journal| journal.deliveries(id)).await?;
    let mut sent = journal.run("requests", move |journal| journal.requests(id)).await?;
    let present = Present { version: stream.version, processing };
    let mut recovered = Recovered::of(processing);
    let mut asked = Vec::new();
    for row in rows {
        if row.settled {
            recovered.note(&row, Owner::Settled);
            recovered.settled.push((row.id, row.intent.set));
            continue;
        }
        let place = place_of(&row.intent.destination, &row, outputs, room).await?;
        let sent = sent.remove(&row.id).unwrap_or_default();
        let child_place = match &sent.child {
            Some(child) => place_of(&child.destination, &row, outputs, room).await?,
            None => None,
        };
        let is_as_before = row.intent.processing == processing;
        let Some(place) = place.filter(|place| is_as_before || !place.target.is_receiver()) else {
            // What was acknowledged has had its fate. The rest would be other requests now, or go elsewhere: it is new.
            let child = sent.child.as_ref().zip(child_place.as_ref());
            let Some(is_there) = asking.child_exists(room.stream, child).await else { return Ok(None) };
            let done = requests::done_of(&sent.requests, is_there);
            recovered.keep_done(row, done, room).await?;
            continue;
        };
        let Some(existence) = asking.exists(room.stream, &place, &row.intent.key).await else { return Ok(None) };
        asked.push(Asked { row, place, existence, sent, child_place });
    }
    if !asking.make_sure(room.stream, present, &mut asked).await {
        return Ok(None);
    }
    for Asked { row, place, existence, sent, child_place } in asked {
        let (delivery, key) = (row.id, &row.intent.key);
        match existence {
            Existence::Present => {
                info!(stream = room.stream, key, "a delivery of an earlier life had arrived");
                journal.run("settle", move |journal| journal.settle(id, &[delivery], &[])).await?;
                recovered.note(&row, Owner::Settled);
                recovered.settled.push((row.id, row.intent.set));
            }
            Existence::Absent if present.cancels(&row.intent) => {
                info!(stream = room.stream, key, "a delivery of an earlier life is cancelled: its records are new");
                journal.run("cancel", move |journal| journal.cancel(delivery)).await?;
            }
            Existence::Absent | Existence::Unknown => {
                if existence == Existence::Unknown && !place.target.is_receiver() {
                    warn!(
                        stream = room.stream,
                        key, "whether an object exists cannot be asked: it is put on condition"
                    );
                }
                recovered.note(&row, Owner::Pending(row.id));
                let is_made_as_now = row.intent.processing == processing;
                if is_made_as_now {
                    recovered.told.add(&row.intent.batches);
                }
                recovered.pending.push(Pending { row, place, is_made_as_now, sent, child_place });
            }
        }
    }
    Ok(Some(recovered))
}

impl Asking<'_> {
    /// Whether a delivery's object is there; `None` when cancelled. A receiver cannot be asked what it has taken.
    async fn exists(&self, stream: &str, place: &Place, key: &str) -> Option<Existence> {
        let destination = match &place.target {
            Target::Objects(destination) => destination.as_ref(),
            Target::Requests(..) => return Some(Existence::Unknown),
        };
        let observer = AskingObserver { stream, key, to: destination.name(), status: self.status };
        let existence = exists_until_answered(destination, key, self.limits, self.cancel, &observer).await;
        self.status.clear_problem(key);
        existence
    }

    /// Whether the object with what has failed of a delivery is known to be there; `None` when cancelled.
    async fn child_exists(&self, stream: &str, child: Option<(&Child, &Place)>) -> Option<bool> {
        let Some((child, place)) = child else { return Some(false) };
        Some(self.exists(stream, place, &child.key).await? == Existence::Present)
    }

    /// Asks again for the objects whose absence ends their deliveries, once nothing can be on its way any more. False when
    /// cancelled.
    async fn make_sure(&self, stream: &str, present: Present<'_>, asked: &mut [Asked]) -> bool {
        let is_doubtful = |asked: &Asked| {
            // What this process puts into a folder has ended with the life that did it.
            let may_be_on_its_way = matches!(asked.place.locator, Locator::S3 { .. });
            asked.existence == Existence::Absent && present.cancels(&asked.row.intent) && may_be_on_its_way
        };
        if !asked.iter().any(is_doubtful) {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(IN_FLIGHT) => {}
            () = self.cancel.cancelled() => return false,
        }
        for asked in asked.iter_mut().filter(|asked| is_doubtful(asked)) {
            let Some(existence) = self.exists(stream, &asked.place, &asked.row.intent.key).await else { return false };
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
    fn of(processing: &str) -> Self {
        let mut recovered = Self::default();
        let now = recovered.makers.number(processing);
        debug_assert!(now.is_now());
        recovered
    }

    /// A delivery to a receiver that goes no further: what is `done` of it is settled, the rest is new.
    async fn keep_done(&mut self, mut row: DeliveryRow, done: RecordSet, room: Room<'_>) -> Result<(), JournalError> {
        let (delivery, key) = (row.id, &row.intent.key);
        info!(
            stream = room.stream,
            key, "a delivery of an earlier life goes no further: what was not acknowledged is new"
        );
        let kept = done.clone();
        room.journal.run("keep done", move |journal| journal.keep_done(delivery, &kept)).await?;
        if !done.is_empty() {
            row.intent.partial = row.intent.partial.split(&done).1;
            row.intent.set = done;
            self.note(&row, Owner::Settled);
            self.settled.push((row.id, row.intent.set));
        }
        Ok(())
    }

    fn note(&mut self, row: &DeliveryRow, owner: Owner) {
        let made_by = self.makers.number(&row.intent.processing);
        let partly = || Part::Partly(made_by, row.intent.route().into());
        let (whole, partly) = match (row.intent.kind, row.intent.output == DESTINATION) {
            (Kind::Copy, _) => (Part::Copied, Part::Copied),
            (Kind::Fate, true) => (Part::Delivered, partly()),
            (Kind::Fate, false) => (Part::Failed, partly()),
        };
        let (in_whole, in_part) = row.intent.set.split(&row.intent.partial);
        self.owners.add(whole, &in_whole, owner);
        self.owners.add(partly, &in_part, owner);
        for (partition, ranges) in row.intent.set.iter() {
            let ends = |range: PositionRange| [range.start, range.end];
            self.cuts.entry(partition).or_default().extend(ranges.iter().flat_map(ends));
        }
    }
}
