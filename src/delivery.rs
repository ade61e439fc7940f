//! The way of one delivery: formed, journalled, put or sent, acknowledged.
//!
//! Always true: the intent is durable before the first byte leaves, and what a delivery reports is the number of records that its
//! lane wrote. Settling is the stream's business, as it moves checkpoints.

mod attempt;
mod child;
mod judging;
mod parts;
mod sending;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::destination::retry::{AttemptObserver, RetryLimits, put_until_done};
use crate::destination::{AttemptError, Destination, ErrorClass, Object, Put};
use crate::encode::lane::{Formed, Lane};
use crate::failpoint;
use crate::journal::{DeliveryRowId, Intent, Journal, JournalError, Kind, KnownBy, ReadTo, Sent};
use crate::ledger::HolderId;
use crate::memory::{Permit, StreamBudget};
use crate::output::{Output, Place, Target};
use crate::pool::ComputePool;
use crate::record::{Position, SourcePartition};
use crate::requests::Request;
use crate::status::StreamStatus;
use sending::Sending;

/// A sealed buffer, or a delivery of an earlier life with all its records together again.
pub struct Shipment {
    pub holder: HolderId,
    pub kind: Kind,
    /// Whether it holds failed records.
    pub is_error_output: bool,
    pub target: Target,
    pub content_encoding: Option<&'static str>,
    pub lane: Lane,
    /// What the buffer counted.
    pub records: u64,
    pub plan: Plan,
    /// Where deliveries leave in order.
    pub turn: Option<Turn>,
}

/// A place in a row: it is one's turn when the one before has gone.
pub struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _after: oneshot::Sender<()>,
}

impl Turn {
    /// The next place behind `last`, which it becomes.
    pub fn behind(last: &mut Option<oneshot::Receiver<()>>) -> Self {
        let (after, next) = oneshot::channel();
        Self { before: last.replace(next), _after: after }
    }

    async fn comes(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: its end is what counts.
            let _ = before.await;
        }
    }
}

/// Whether the delivery is in the journal already.
pub enum Plan {
    New {
        intent: Box<Intent>,
        /// The partitions of its records, and whether the journal has no checkpoint of them yet: what they are known by is journalled
        /// with the intent, so that they are known again with everything that leaves.
        partitions: Vec<(Arc<dyn SourcePartition>, bool)>,
        /// Memory of the intent's ranges, which are let go of once they are journalled.
        ranges: Permit,
    },
    Again {
        row: DeliveryRowId,
        key: String,
        /// Of a delivery to a receiver.
        before: Option<Box<Before>>,
    },
}

/// How far a delivery to a receiver had come in earlier lives.
pub struct Before {
    pub intent: Intent,
    pub sent: Sent,
    /// It holds the records that it was journalled with.
    pub is_as_journalled: bool,
    pub child_place: Option<Place>,
}

/// A delivery whose object is there.
pub struct Shipped {
    pub holder: HolderId,
    pub kind: Kind,
    pub is_error_output: bool,
    pub row: DeliveryRowId,
    /// What the lane wrote.
    pub fates: Fates,
    /// What the buffer had counted.
    pub counted: u64,
    pub objects: u64,
    pub object_bytes: u64,
}

/// What has become of the records of a delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fates {
    pub delivered: u64,
    /// They are in the error output.
    pub failed: u64,
    /// An earlier life had an acknowledgement of them.
    pub skipped: u64,
}

/// What every delivery of a stream needs.
#[derive(Clone)]
pub struct Shipping {
    pub stream: i64,
    pub stream_name: Arc<str>,
    /// After which objects are called.
    pub object_name: Arc<str>,
    pub journal: Journal,
    pub limits: RetryLimits,
    pub cancel: CancellationToken,
    /// What must have ended before the stream's next life asks the journal.
    pub tasks: TaskTracker,
    pub status: Arc<StreamStatus>,
    pub pool: ComputePool,
    pub budget: Arc<StreamBudget>,
    /// Where goes what a receiver does not take, and the version in its key.
    pub child: Arc<Output>,
    pub version: u64,
}

fn known_by((partition, is_unread): &(Arc<dyn SourcePartition>, bool)) -> KnownBy {
    let read_to = partition.read_so_far().map(|(position, hash)| ReadTo { position, hash });
    let evidence = if *is_unread { partition.evidence(Position::BEGINNING) } else { None };
    KnownBy { partition: partition.id(), evidence, read_to }
}

impl Shipping {
    /// A call of the journal that the stream's next life waits for, even when nobody here waits any more.
    pub async fn journal<T, F>(&self, what: &'static str, call: F) -> Result<T, JournalError>
    where
        T: Send + 'static,
        F: Fn(&Journal) -> Result<T, JournalError> + Send + Sync + 'static,
    {
        let token = self.tasks.token();
        let call = move |journal: &Journal| {
            let _ = &token;
            call(journal)
        };
        self.journal.run(what, call).await
    }

    /// Brings one delivery to its destination. `None` when cancelled: it is in the journal and comes next time.
    pub async fn ship(self, shipment: Shipment) -> Result<Option<Shipped>, JournalError> {
        let Shipment { holder, kind, is_error_output, target, content_encoding, lane, records, plan, turn } = shipment;
        let formed = lane.finish().await;
        failpoint::pass("sealed");
        let arrived = match target {
            Target::Objects(destination) => {
                self.put(destination.as_ref(), formed, content_encoding, plan, is_error_output).await?
            }
            Target::Requests(receiver, outage) => {
                let Some(sending) = Sending::begin(self, receiver, outage, formed, plan).await? else {
                    return Ok(None);
                };
                let mut turn = turn;
                if let Some(turn) = &mut turn {
                    turn.comes().await;
                }
                sending.run().await?
            }
        };
        Ok(arrived.map(|Arrived { row, fates, objects, object_bytes }| Shipped {
            holder,
            kind,
            is_error_output,
            row,
            fates,
            counted: records,
            objects,
            object_bytes,
        }))
    }

    /// As one object.
    async fn put(
        self,
        destination: &dyn Destination,
        formed: Formed,
        content_encoding: Option<&'static str>,
        plan: Plan,
        is_error_output: bool,
    ) -> Result<Option<Arrived>, JournalError> {
        let (row, key, may_exist) = match plan {
            Plan::Again { row, key, .. } => (row, key, true),
            Plan::New { intent, partitions, ranges } => {
                let key = intent.key.clone();
                (self.intend(*intent, partitions, ranges, Vec::new()).await?, key, false)
            }
        };
        let object = Object { key, payload: Arc::new(formed.payload), content_encoding };
        failpoint::dump(&object.key, &object.payload);
        failpoint::pass("intent-committed");
        failpoint::pass_soon("upload-started");
        let put = self.put_object(destination, &object, may_exist).await;
        if put.is_none() {
            return Ok(None);
        }
        failpoint::pass("object-complete");
        let written = formed.records;
        let fates = match is_error_output {
            true => Fates { failed: written, ..Fates::default() },
            false => Fates { delivered: written, ..Fates::default() },
        };
        Ok(Some(Arrived { row, fates, objects: 1, object_bytes: object.payload.len() }))
    }

    async fn put_object(&self, destination: &dyn Destination, object: &Object, may_exist: bool) -> Option<Put> {
        let observer =
            Observer { stream: &self.stream_name, key: &object.key, to: destination.name(), status: &self.status };
        put_until_done(destination, object, may_exist, self.limits, &self.cancel, &observer).await
    }

    /// Journals a delivery, with what it is cut into where it goes to a receiver.
    async fn intend(
        &self,
        intent: Intent,
        partitions: Vec<(Arc<dyn SourcePartition>, bool)>,
        ranges: Permit,
        requests: Vec<Request>,
    ) -> Result<DeliveryRowId, JournalError> {
        let stream = self.stream;
        let call = move |journal: &Journal| {
            let known: Vec<_> = partitions.iter().map(known_by).collect();
            journal.intend_requests(stream, &intent, &known, &requests)
        };
        let row = self.journal("intend", call).await?;
        drop(ranges);
        Ok(row)
    }
}

/// A delivery that has come to its end.
struct Arrived {
    row: DeliveryRowId,
    fates: Fates,
    objects: u64,
    object_bytes: u64,
}

/// Tells log and status of attempts.
struct Observer<'a> {
    stream: &'a str,
    key: &'a str,
    to: String,
    status: &'a StreamStatus,
}

impl AttemptObserver for Observer<'_> {
    fn failed(&self, attempt: u32, error: &AttemptError, retry_in: Duration) {
        let (stream, key, to) = (self.stream, self.key, &self.to);
        self.status.set_problem(self.key, format!("{to}: {error}"));
        if error.class == ErrorClass::Denied {
            error!(stream, key, %to, code = error.code, %error, attempt, ?retry_in, "delivery refused: a person must act");
        } else {
            warn!(stream, key, %to, code = error.code, %error, attempt, ?retry_in, "delivery failed; it is tried again");
        }
    }

    fn succeeded(&self, attempt: u32, put: Put) {
        self.status.clear_problem(self.key);
        let (stream, key) = (self.stream, self.key);
        match put {
            Put::Created => debug!(stream, key, attempt, "delivered"),
            Put::AlreadyThere => debug!(stream, key, attempt, "delivered: the object was there already"),
        }
    }
}
