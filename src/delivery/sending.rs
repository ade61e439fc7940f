//! A delivery to a receiver: cut into requests, and what has become of each of them.
//!
//! Always true: what is sent was journalled before, with these very records; and a delivery comes to its end only when each of its
//! records is acknowledged or in the child, and the child is there.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::destination::Existence;
use crate::destination::outage::Outage;
use crate::destination::receiver::Receiver;
use crate::destination::retry::exists_until_answered;
use crate::encode::frames::Layout;
use crate::encode::lane::Formed;
use crate::encode::payload::Payload;
use crate::failpoint;
use crate::journal::{DeliveryRowId, Intent, Journal, JournalError};
use crate::output::{Place, Target};
use crate::requests::{self, Child, Request, RequestState};

use super::parts::{self, Part};
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
        let Some(decided) = send_all(&way, parts).await? else { return Ok(None) };
        let mut arrived =
            Arrived { row: way.row, fates: Fates { skipped, ..Fates::default() }, objects: 0, object_bytes: 0 };
        for part in &decided {
            arrived.objects += u64::from(part.sent_bytes > 0);
            arrived.object_bytes += part.sent_bytes;
            match part.request.state {
                RequestState::Acknowledged(_) if part.is_of_before => arrived.fates.skipped += part.records(),
                RequestState::Acknowledged(_) => arrived.fates.delivered += part.records(),
                RequestState::Failed(..) | RequestState::Planned => arrived.fates.failed += part.records(),
            }
        }
        if arrived.fates.failed > 0 {
            let Some(bytes) = way.put_child(decided, child).await? else { return Ok(None) };
            arrived.objects += 1;
            arrived.object_bytes += bytes;
        }
        Ok(Some(arrived))
    }
}

/// Every part to its decision, as many at a time as may be under way; those of earlier lives are decided already. `None` when
/// cancelled. In order.
async fn send_all(way: &Arc<Way>, parts: Vec<Part>) -> Result<Option<Vec<Part>>, JournalError> {
    let in_flight = way.receiver.patience().in_flight.max(1);
    let (mut under_way, mut decided) = (JoinSet::new(), Vec::new());
    let (planned, others): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| part.request.state == RequestState::Planned);
    decided.extend(others);
    let mut planned = planned.into_iter();
    loop {
        while under_way.len() < in_flight
            && let Some(part) = planned.next()
        {
            under_way.spawn(way.clone().decide(part));
        }
        match under_way.join_next().await {
            None => break,
            Some(Ok(done)) => match done? {
                Some(more) => decided.extend(more),
                None => return Ok(None),
            },
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only the end of the runtime cancels them.
            Some(Err(_)) => return Ok(None),
        }
    }
    decided.sort_by_key(|part: &Part| part.request.first);
    Ok(Some(decided))
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
            arrival: Timestamp::from_millisecond(intent.arrival_ms).unwrap_or_default(),
            layout: parts::layout(&shipping.pool, &payload).await,
            payload,
            records: formed.records,
        }
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
