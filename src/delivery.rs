//! The way of one delivery: formed, journalled, put, acknowledged.
//!
//! Always true: the intent is durable before the first byte leaves, and what a delivery reports as put is the number of
//! records that its lane wrote. Settling is the stream's business, as it moves checkpoints.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::destination::retry::{AttemptObserver, RetryLimits, put_until_done};
use crate::destination::{AttemptError, Destination, ErrorClass, Object, Put};
use crate::encode::lane::Lane;
use crate::failpoint;
use crate::journal::{DeliveryRowId, Intent, Journal, JournalError, Kind, KnownBy, ReadTo};
use crate::ledger::HolderId;
use crate::memory::Permit;
use crate::record::{Position, SourcePartition};
use crate::status::StreamStatus;

/// A sealed buffer, or a delivery of an earlier life with all its records together again.
pub struct Shipment {
    pub holder: HolderId,
    pub kind: Kind,
    /// Whether it holds failed records.
    pub is_error_output: bool,
    pub destination: Arc<dyn Destination>,
    pub content_encoding: Option<&'static str>,
    pub lane: Lane,
    /// What the buffer counted.
    pub records: u64,
    pub plan: Plan,
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
    },
}

/// A delivery whose object is there.
pub struct Shipped {
    pub holder: HolderId,
    pub kind: Kind,
    pub is_error_output: bool,
    pub row: DeliveryRowId,
    /// What the lane wrote, and what the buffer had counted.
    pub written: u64,
    pub counted: u64,
    pub object_bytes: u64,
}

/// What every delivery of a stream needs.
#[derive(Clone)]
pub struct Shipping {
    pub stream: i64,
    pub stream_name: Arc<str>,
    pub journal: Journal,
    pub limits: RetryLimits,
    pub cancel: CancellationToken,
    /// What must have ended before the stream's next life asks the journal.
    pub tasks: TaskTracker,
    pub status: Arc<StreamStatus>,
}

fn known_by((partition, is_unread): &(Arc<dyn SourcePartition>, bool)) -> KnownBy {
    let read_to = partition.read_so_far().map(|(position, hash)| ReadTo { position, hash });
    let evidence = if *is_unread { partition.evidence(Position(0)) } else { None };
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
        let Shipment { holder, kind, is_error_output, destination, content_encoding, lane, records, plan } = shipment;
        let formed = lane.finish().await;
        failpoint::pass("sealed");
        let (row, key, may_exist) = match plan {
            Plan::Again { row, key } => (row, key, true),
            Plan::New { intent, partitions, ranges } => {
                let (stream, key) = (self.stream, intent.key.clone());
                let call = move |journal: &Journal| {
                    let known: Vec<_> = partitions.iter().map(known_by).collect();
                    journal.intend(stream, &intent, &known)
                };
                let row = self.journal("intend", call).await?;
                drop(ranges);
                (row, key, false)
            }
        };
        let object = Object { key, payload: Arc::new(formed.payload), content_encoding };
        failpoint::dump(&object.key, &object.payload);
        failpoint::pass("intent-committed");
        let observer =
            Observer { stream: &self.stream_name, key: &object.key, to: destination.name(), status: &self.status };
        failpoint::pass_soon("upload-started");
        let put = put_until_done(destination.as_ref(), &object, may_exist, self.limits, &self.cancel, &observer).await;
        if put.is_none() {
            return Ok(None);
        }
        failpoint::pass("object-complete");
        Ok(Some(Shipped {
            holder,
            kind,
            is_error_output,
            row,
            written: formed.records,
            counted: records,
            object_bytes: object.payload.len(),
        }))
    }
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
