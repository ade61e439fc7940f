//! A delivery to a receiver: cut into requests, and what has become of each of them.
//!
//! Always true: what is sent was journalled before, with these very records; and a delivery comes to its end only when each of its
//! records is acknowledged or in the child, and the child is there.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::destination::Existence;
use crate::destination::outage::{Outage, Tries};
use crate::destination::receiver::Receiver;
use crate::destination::retry::exists_until_answered;
use crate::encode::frames::Layout;
use crate::encode::lane::Formed;
use crate::encode::payload::Payload;
use crate::failpoint;
use crate::journal::{DeliveryRowId, Intent, Journal, JournalError};
use crate::output::{Place, Target};
use crate::requests::{self, Child, Request, RequestState};

use super::judging::{Decided, Rejected};
use super::parts::{self, Part};
use super::waiting::{self, Queue, Waiting};
use super::{Arrived, Before, Fates, Observer, Plan, Shipping};

/// A delivery on its way to a receiver.
pub(super) struct Sending {
    pub(super) way: Arc<Way>,
    /// In the order of their records.
    parts: Vec<Part>,
    /// Journalled in an earlier life, and where it goes.
    child: Option<(Child, Place)>,
    /// Records that need nothing any more and are not among the parts.
    skipped: u64,
}

/// What all requests of one delivery need.
pub(super) struct Way {
    pub(super) shipping: Shipping,
    pub(super) receiver: Arc<dyn Receiver>,
    pub(super) outage: Arc<Outage>,
    pub(super) row: DeliveryRowId,
    pub(super) uuid: String,
    pub(super) key: String,
    /// Whom of the receiver it is addressed to.
    pub(super) to: String,
    /// Of its oldest record.
    pub(super) arrival: Timestamp,
    pub(super) payload: Arc<Payload>,
    pub(super) layout: Arc<Layout>,
    pub(super) records: u64,
}

impl Sending {
    /// Cuts the delivery and journals that, or takes up what earlier lives have journalled. `None` when cancelled.
    pub(super) async fn begin(
        shipping: Shipping,
        receiver: Arc<dyn Receiver>,
        outage: Arc<Outage>,
        formed: Formed,
        plan: Plan,
    ) -> Result<Option<Self>, JournalError> {
        let (row, before) = match plan {
            Plan::New { intent, partitions, ranges } => {
                let mut way = Way::of(&shipping, receiver, outage, &intent, formed).await;
                let parts = parts::cut(&way).await;
                way.row = shipping.intend(*intent, partitions, ranges, requests_of(&parts)).await?;
                failpoint::pass("intent-committed");
                return Ok(Some(Self { way: Arc::new(way), parts, child: None, skipped: 0 }));
            }
            Plan::Again { row, before, .. } => (row, before),
        };
        // Only a delivery of objects has nothing of the kind.
        let Some(before) = before else { return Ok(None) };
        let way = Way { row, ..Way::of(&shipping, receiver, outage, &before.intent, formed).await };
        if before.is_as_journalled && requests::is_plan_of(&before.sent.requests, way.records) {
            let parts = parts::find(&way, before.sent.requests).await;
            let child = before.sent.child.zip(before.child_place);
            return Ok(Some(Self { way: Arc::new(way), parts, child, skipped: 0 }));
        }
        Self::anew(way, *before).await
    }

    /// A delivery that holds other records than were journalled: what is done of it is left out, and the rest goes under ids of
    /// its own.
    async fn anew(way: Way, before: Before) -> Result<Option<Self>, JournalError> {
        let Before { intent, sent, child_place, .. } = before;
        let is_child_there = match sent.child.zip(child_place) {
            None => false,
            Some((child, place)) => match way.shipping.exists(&child.key, &place).await {
                Some(existence) => existence == Existence::Present,
                None => return Ok(None),
            },
        };
        let done = Arc::new(requests::done_of(&sent.requests, is_child_there));
        let all = way.records;
        let payload = parts::without(&way, done.clone()).await;
        let (records, payload) = (payload.records, Arc::new(payload.payload));
        let layout = parts::layout(&way.shipping.pool, &payload).await;
        let mut way = Way { records, payload, layout, ..way };
        let skipped = all - way.records;
        if way.records == 0 {
            return Ok(Some(Self { way: Arc::new(way), parts: Vec::new(), child: None, skipped }));
        }
        let set = intent.set.without(&done);
        let partial = intent.partial.split(&set).1;
        let uuid = uuid::Uuid::new_v4().to_string();
        let left = Intent { uuid: uuid.clone(), records: way.records, set, partial, ..intent };
        way.uuid = uuid;
        let parts = parts::cut(&way).await;
        let (stream, row, requests) = (way.shipping.stream, way.row, requests_of(&parts));
        let call = move |journal: &Journal| journal.replace(stream, row, &done, &left, &requests);
        way.row = way.shipping.journal("replace", call).await?;
        Ok(Some(Self { way: Arc::new(way), parts, child: None, skipped }))
    }

    /// Sends what is not decided and puts what has failed into the child. `None` when cancelled.
    pub(super) async fn run(self) -> Result<Option<Arrived>, JournalError> {
        let Self { way, parts, child, skipped } = self;
        let mut fates = Fates { skipped, ..Fates::default() };
        let (mut queue, mut decided) = (Queue::default(), Decided::default());
        for part in parts {
            match &part.request.state {
                RequestState::Planned => queue.push(Waiting::new(part, way.tries())),
                RequestState::Acknowledged(_) => fates.skipped += part.records(),
                RequestState::Failed(..) => decided.rejected.push(Rejected::of(&part)),
            }
        }
        let Some(mut decided) = send_all(&way, queue, decided).await? else { return Ok(None) };
        way.shipping.status.clear_problem(&way.key);
        decided.rejected.sort_by_key(|rejected| rejected.first);
        fates.delivered = decided.delivered;
        fates.failed = decided.rejected.iter().map(|rejected| rejected.records).sum();
        let mut arrived = Arrived { row: way.row, fates, objects: decided.attempts, object_bytes: decided.bytes };
        if fates.failed > 0 {
            let Some(bytes) = way.put_child(decided.rejected, child).await? else { return Ok(None) };
            arrived.objects += 1;
            arrived.object_bytes += bytes;
        }
        Ok(Some(arrived))
    }
}

/// Every request to its decision, as many attempts at a time as may be under way. `None` when cancelled.
async fn send_all(way: &Arc<Way>, mut queue: Queue, mut all: Decided) -> Result<Option<Decided>, JournalError> {
    let in_flight = way.receiver.patience().in_flight.max(1);
    let (mut under_way, budget) = (JoinSet::new(), &way.shipping.budget);
    let covered = budget.overdraw(0);
    loop {
        budget.cover(&covered, (queue.len() + all.rejected.len()) as u64 * waiting::BYTES);
        let now = Instant::now();
        while under_way.len() < in_flight {
            let group = queue.take(now, way.batch_bytes());
            if group.is_empty() {
                break;
            }
            under_way.spawn(way.clone().decide(group));
        }
        let due = queue.due_in(now).filter(|_| under_way.len() < in_flight);
        if under_way.is_empty() && due.is_none() {
            return Ok(Some(all));
        }
        let joined = tokio::select! {
            joined = under_way.join_next(), if !under_way.is_empty() => joined,
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => continue,
            // What is under way hears of it, too.
            () = way.shipping.cancel.cancelled(), if under_way.is_empty() => return Ok(None),
        };
        match joined {
            None => {}
            Some(Ok(decided)) => match decided? {
                Some(decided) => all.add(decided),
                None => return Ok(None),
            },
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only the end of the runtime cancels them.
            Some(Err(_)) => return Ok(None),
        }
        all.back.drain(..).for_each(|waiting| queue.push(waiting));
    }
}

impl Way {
    async fn of(
        shipping: &Shipping,
        receiver: Arc<dyn Receiver>,
        outage: Arc<Outage>,
        intent: &Intent,
        formed: Formed,
    ) -> Self {
        let payload = Arc::new(formed.payload);
        Self {
            shipping: shipping.clone(),
            receiver,
            outage,
            row: DeliveryRowId(0),
            uuid: intent.uuid.clone(),
            key: intent.key.clone(),
            to: intent.addressee.clone(),
            arrival: Timestamp::from_millisecond(intent.arrival_ms).unwrap_or_default(),
            layout: parts::layout(&shipping.pool, &payload).await,
            payload,
            records: formed.records,
        }
    }

    /// Of a request that has not been tried.
    pub(super) fn tries(&self) -> Tries {
        Tries::new(self.receiver.patience().retry, self.shipping.limits)
    }

    /// Bytes that go into one attempt as things are; `None` where each request is one.
    pub(super) fn batch_bytes(&self) -> Option<u64> {
        let wanted = self.receiver.batch_bytes()?;
        Some(self.outage.bytes(wanted.min(parts::body_bytes(self))))
    }
}

impl Shipping {
    /// Whether an object is there; `None` when cancelled.
    async fn exists(&self, key: &str, place: &Place) -> Option<Existence> {
        let destination = match &place.target {
            Target::Objects(destination) => destination.as_ref(),
            Target::Requests(..) => return Some(Existence::Unknown),
        };
        let observer = Observer { stream: &self.stream_name, key, to: destination.name(), status: &self.status };
        let existence = exists_until_answered(destination, key, self.limits, &self.cancel, &observer).await;
        self.status.clear_problem(key);
        existence
    }
}

fn requests_of(parts: &[Part]) -> Vec<Request> {
    parts.iter().map(|part| part.request.clone()).collect()
}
