//! The requests of one delivery and what has become of each, as the journal has it.
//!
//! Pure. A request's id follows from the delivery's uuid and the numbers of its records: whoever sends it again, in whatever
//! life, sends the same id.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::positions::RecordSet;

use super::Whole;

/// One request, by the numbers of its records in the delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub first: u64,
    pub end: u64,
    pub state: RequestState,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RequestState {
    Planned,
    /// With the source records that it holds whole.
    Acknowledged(Whole),
    /// Will not be sent any more: its records belong into the child. The reason is here until it is journalled: there may be as many
    /// of them as records.
    Failed(Option<Arc<Reason>>, Whole),
}

/// Why the records of a request go to the error output, as each of their envelopes says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `HttpEndpoint.DestinationException`
    pub code: String,
    pub message: String,
    /// 0 for what was never sent.
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub ended_ms: i64,
}

/// The object that holds what has failed of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub uuid: String,
    pub key: String,
    /// As in a delivery's row.
    pub destination: String,
}

impl Request {
    pub fn planned(first: u64, end: u64) -> Self {
        Self { first, end, state: RequestState::Planned }
    }

    /// Both halves; `None` of a single record.
    pub fn halves(&self) -> Option<(Self, Self)> {
        let middle = self.first + (self.end - self.first) / 2;
        (middle > self.first).then(|| (Self::planned(self.first, middle), Self::planned(middle, self.end)))
    }
}

/// The id of a request: a UUID of version 5, made from the delivery's.
pub fn id(delivery: &str, first: u64, end: u64) -> String {
    let namespace = Uuid::parse_str(delivery).unwrap_or(Uuid::NAMESPACE_OID);
    Uuid::new_v5(&namespace, format!("{first}-{end}").as_bytes()).to_string()
}

/// Whether the requests are those of a delivery of so many records.
pub fn is_plan_of(requests: &[Request], records: u64) -> bool {
    let mut at = 0;
    for request in requests {
        if request.first != at || request.end <= at {
            return false;
        }
        at = request.end;
    }
    at == records && records > 0
}

/// The source records that need nothing any more: whole in acknowledged requests or, if the child is there, in it. One that is
/// spread over several requests is not among them.
pub fn done_of(requests: &[Request], is_child_there: bool) -> RecordSet {
    let mut done = Vec::new();
    for request in requests {
        match &request.state {
            RequestState::Acknowledged(records) => done.extend(records.ranges()),
            RequestState::Failed(_, records) if is_child_there => done.extend(records.ranges()),
            RequestState::Failed(..) | RequestState::Planned => {}
        }
    }
    RecordSet::of_ranges(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{PartitionId, PositionRange};

    const DELIVERY: &str = "6f1e8f0e-3c5e-4f25-9d6d-1f0a6a7b8c9d";

    #[test]
    fn an_id_follows_from_the_delivery_and_the_records() {
        let one = id(DELIVERY, 0, 10);
        assert_eq!(one, id(DELIVERY, 0, 10));
        assert_eq!(Uuid::parse_str(&one).unwrap().get_version_num(), 5);
        let others = [id(DELIVERY, 0, 5), id(DELIVERY, 5, 10), id("6f1e8f0e-3c5e-4f25-9d6d-1f0a6a7b8c9e", 0, 10)];
        assert!(!others.contains(&one));
    }

    #[test]
    fn halves_hold_what_the_whole_did_and_one_record_has_none() {
        let halves = Request::planned(3, 8).halves().unwrap();
        assert_eq!(((halves.0.first, halves.0.end), (halves.1.first, halves.1.end)), ((3, 5), (5, 8)));
        assert_eq!(Request::planned(3, 4).halves(), None);
    }

    #[test]
    fn a_plan_is_whole_and_in_order() {
        let plan =
            |ends: &[(u64, u64)]| ends.iter().map(|&(first, end)| Request::planned(first, end)).collect::<Vec<_>>();
        assert!(is_plan_of(&plan(&[(0, 3), (3, 9)]), 9));
        for (ends, records) in [(vec![(0, 3), (4, 9)], 9), (vec![(0, 3)], 9), (vec![(3, 9)], 9), (vec![], 0)] {
            assert!(!is_plan_of(&plan(&ends), records), "{ends:?}");
        }
    }

    #[test]
    fn what_failed_is_done_only_with_its_child() {
        let set = |start, end| {
            let mut set = RecordSet::default();
            set.add(PartitionId(1), PositionRange::new(start, end));
            set
        };
        let reason = Arc::new(Reason { code: String::new(), message: String::new(), attempts: 1, ended_ms: 0 });
        let whole = |start, end| Whole::of(&set(start, end));
        let requests = [
            Request { state: RequestState::Failed(Some(reason), whole(20, 30)), ..Request::planned(2, 3) },
            Request { state: RequestState::Acknowledged(whole(0, 10)), ..Request::planned(0, 1) },
            Request::planned(1, 2),
        ];
        assert_eq!(done_of(&requests, false), set(0, 10));
        assert_eq!(
            done_of(&requests, true).ranges(PartitionId(1)),
            [PositionRange::new(0, 10), PositionRange::new(20, 30)]
        );
    }
}
