//! Requests of deliveries in the journal: where each begins and ends, and what has become of it.
//!
//! Always true: a request is here before it is sent, its halves before one of them is, and the key of what has failed before that
//! is put. All of it goes with its delivery, and is deleted when that is settled.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use rusqlite::{Transaction, params};

use crate::positions::RecordSet;
use crate::requests::{Child, Reason, Request, RequestState, Whole};

use super::{DeliveryRowId, Intent, Journal, JournalError, Result};

/// What a delivery to a receiver has in the journal besides its row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sent {
    /// In order; none of a delivery of objects.
    pub requests: Vec<Request>,
    pub child: Option<Child>,
}

impl Journal {
    /// The requests of all deliveries of a stream.
    pub fn requests(&self, stream: i64) -> Result<HashMap<DeliveryRowId, Sent>> {
        let connection = self.connection();
        let mut sent = HashMap::<DeliveryRowId, Sent>::new();
        let mut statement = connection.prepare_cached(
            "SELECT delivery, first_record, end_record, state, records FROM delivery_request
             WHERE delivery IN (SELECT id FROM delivery WHERE stream = ?1) ORDER BY delivery, first_record",
        )?;
        let mut rows = statement.query([stream])?;
        while let Some(row) = rows.next()? {
            let delivery: i64 = row.get(0)?;
            let unreadable = || JournalError::Content { what: format!("the requests of delivery {delivery}") };
            let records = row.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default();
            let records = Whole::from_bytes(records).ok_or_else(unreadable)?;
            let state = match row.get::<_, String>(3)?.as_str() {
                "acknowledged" => RequestState::Acknowledged(records),
                "failed" => RequestState::Failed(None, records),
                _ => RequestState::Planned,
            };
            let request = Request { first: row.get(1)?, end: row.get(2)?, state };
            sent.entry(DeliveryRowId(delivery)).or_default().requests.push(request);
        }
        let mut statement = connection.prepare_cached(
            "SELECT delivery, uuid, key, destination FROM delivery_child
             WHERE delivery IN (SELECT id FROM delivery WHERE stream = ?1)",
        )?;
        let mut rows = statement.query([stream])?;
        while let Some(row) = rows.next()? {
            let child = Child { uuid: row.get(1)?, key: row.get(2)?, destination: row.get(3)? };
            sent.entry(DeliveryRowId(row.get(0)?)).or_default().child = Some(child);
        }
        Ok(sent)
    }

    /// Why requests have failed whose first records are among these, by that record.
    pub fn reasons(&self, delivery: DeliveryRowId, firsts: RangeInclusive<u64>) -> Result<HashMap<u64, Reason>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT first_record, reason FROM delivery_request
             WHERE delivery = ?1 AND first_record BETWEEN ?2 AND ?3 AND state = 'failed'",
        )?;
        let mut rows = statement.query(params![delivery.0, firsts.start(), firsts.end()])?;
        let mut reasons = HashMap::new();
        while let Some(row) = rows.next()? {
            let unreadable = |_| JournalError::Content { what: format!("a reason of delivery {}", delivery.0) };
            let reason = serde_json::from_str(&row.get::<_, String>(1)?).map_err(unreadable)?;
            reasons.insert(row.get(0)?, reason);
        }
        Ok(reasons)
    }

    /// What has become of requests, in one transaction: these stand in the place of those that they were or were cut from, and
    /// hold all records of them.
    pub fn replace_requests(&self, delivery: DeliveryRowId, requests: &[Request]) -> Result<()> {
        self.change(|transaction| insert_all(transaction, delivery, requests))
    }

    /// What has failed of a delivery leaves under this key.
    pub fn intend_child(&self, delivery: DeliveryRowId, child: &Child) -> Result<()> {
        self.change(|transaction| {
            let insert =
                "INSERT OR IGNORE INTO delivery_child (delivery, uuid, key, destination) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(insert, params![delivery.0, child.uuid, child.key, child.destination])?;
            Ok(())
        })
    }

    /// The delivery goes no further: it is settled with the records that are `done`, and the others are new.
    pub fn keep_done(&self, delivery: DeliveryRowId, done: &RecordSet) -> Result<()> {
        self.change(|transaction| keep_done(transaction, delivery, done))
    }

    /// The same, and what is not done is a delivery of its own in the same transaction.
    pub fn replace(
        &self,
        stream: i64,
        delivery: DeliveryRowId,
        done: &RecordSet,
        intent: &Intent,
        requests: &[Request],
    ) -> Result<DeliveryRowId> {
        self.change(|transaction| {
            keep_done(transaction, delivery, done)?;
            super::insert(transaction, stream, intent, requests)
        })
    }
}

pub(super) fn insert_all(transaction: &Transaction<'_>, delivery: DeliveryRowId, requests: &[Request]) -> Result<()> {
    requests.iter().try_for_each(|request| put(transaction, delivery, request))
}

/// A settled delivery needs them no longer.
pub(super) fn forget(transaction: &Transaction<'_>, delivery: DeliveryRowId) -> Result<()> {
    transaction.prepare_cached("DELETE FROM delivery_request WHERE delivery = ?1")?.execute([delivery.0])?;
    transaction.prepare_cached("DELETE FROM delivery_child WHERE delivery = ?1")?.execute([delivery.0])?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, delivery: DeliveryRowId, request: &Request) -> Result<()> {
    let (state, reason, records) = match &request.state {
        RequestState::Planned => ("planned", None, None),
        RequestState::Acknowledged(records) => ("acknowledged", None, Some(records.as_bytes())),
        // Texts and numbers always serialize.
        RequestState::Failed(reason, records) => {
            let reason = reason.as_deref().map(|reason| serde_json::to_string(reason).unwrap_or_default());
            ("failed", reason, Some(records.as_bytes()))
        }
    };
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO delivery_request (delivery, first_record, end_record, state, reason, records)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![delivery.0, request.first, request.end, state, reason, records])?;
    Ok(())
}

fn keep_done(transaction: &Transaction<'_>, delivery: DeliveryRowId, done: &RecordSet) -> Result<()> {
    if done.is_empty() {
        transaction.execute("DELETE FROM delivery WHERE id = ?1", [delivery.0])?;
        return Ok(());
    }
    let partial = super::partial(transaction, delivery)?.split(done).1;
    transaction.execute("DELETE FROM delivery_records WHERE delivery = ?1", [delivery.0])?;
    let settle = "UPDATE delivery SET settled = 1, records = 0, batches = 0 WHERE id = ?1";
    if transaction.execute(settle, [delivery.0])? > 0 {
        super::insert_records(transaction, delivery.0, done, &partial, &Default::default())?;
    }
    forget(transaction, delivery)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{intent, new_file, open, set};
    use super::super::{Checkpoint, Opened};
    use std::sync::Arc;

    use super::*;
    use crate::record::Position;

    fn reason() -> Reason {
        Reason {
            code: "HttpEndpoint.RequestTimeout".to_owned(),
            message: "no \"answer\"".to_owned(),
            attempts: 7,
            ended_ms: 5,
        }
    }

    #[test]
    fn requests_come_back_as_they_were_decided() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { journal, .. } = open(folder.path());
        let stream = journal.stream("s", "one").unwrap().id;
        let files = journal.register(stream, &[new_file("/a", 10), new_file("/b", 11)]).unwrap();
        let plan = [Request::planned(0, 4), Request::planned(4, 7), Request::planned(7, 9)];
        let records = set(&[(files[0], 0, 90), (files[1], 0, 50)]);
        let delivery = journal.intend_requests(stream, &intent("u1", records), &[], &plan).unwrap();
        assert_eq!(journal.requests(stream).unwrap()[&delivery], Sent { requests: plan.to_vec(), child: None });

        let halves = plan[0].halves().unwrap();
        let acknowledged = Request {
            state: RequestState::Acknowledged(Whole::of(&set(&[(files[0], 0, 10), (files[1], 5, 9)]))),
            ..halves.1.clone()
        };
        let of_failed = Whole::of(&set(&[(files[1], 9, 20)]));
        let with_reason = RequestState::Failed(Some(Arc::new(reason())), of_failed.clone());
        let failed = Request { state: with_reason, ..plan[2].clone() };
        let child = Child { uuid: "c".to_owned(), key: "errors/c".to_owned(), destination: "{}".to_owned() };
        for _ in 0..2 {
            // A repetition changes nothing.
            journal.replace_requests(delivery, &[halves.0.clone(), halves.1.clone()]).unwrap();
            journal.replace_requests(delivery, &[acknowledged.clone(), failed.clone()]).unwrap();
            journal.intend_child(delivery, &child).unwrap();
        }
        let without_reason = Request { state: RequestState::Failed(None, of_failed), ..failed };
        let expected = vec![halves.0, acknowledged, plan[1].clone(), without_reason];
        assert_eq!(journal.reasons(delivery, 3..=7).unwrap(), HashMap::from([(7, reason())]));
        assert!(journal.reasons(delivery, 0..=6).unwrap().is_empty());
        assert_eq!(journal.requests(stream).unwrap()[&delivery], Sent { requests: expected, child: Some(child) });
        journal.settle(stream, &[delivery], &[]).unwrap();
        assert!(journal.requests(stream).unwrap().is_empty());
    }

    #[test]
    fn what_is_done_of_a_delivery_is_settled_and_the_rest_goes_on_under_another_id() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { journal, .. } = open(folder.path());
        let stream = journal.stream("s", "one").unwrap().id;
        let file = journal.register(stream, &[new_file("/a", 10)]).unwrap()[0];
        let (whole, done, rest) = (set(&[(file, 0, 90)]), set(&[(file, 0, 30)]), set(&[(file, 30, 90)]));
        let plan = [Request::planned(0, 4)];
        let first = journal.intend_requests(stream, &intent("u1", whole), &[], &plan).unwrap();
        let more = [Request::planned(0, 2), Request::planned(2, 3)];
        let second = journal.replace(stream, first, &done, &intent("u2", rest.clone()), &more).unwrap();
        assert_eq!(journal.replace(stream, first, &done, &intent("u2", rest.clone()), &more).unwrap(), second);
        let rows = journal.deliveries(stream).unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.id, row.settled, row.intent.set.clone())).collect();
        assert_eq!(found, [(first, true, done), (second, false, rest)]);
        assert_eq!(journal.requests(stream).unwrap()[&second].requests, more);

        journal.keep_done(second, &RecordSet::default()).unwrap();
        let passed = Checkpoint { partition: file, position: Position::at(30), evidence: None };
        journal.settle(stream, &[], &[passed]).unwrap();
        assert_eq!(journal.deliveries(stream).unwrap(), []);
        assert!(journal.requests(stream).unwrap().is_empty());
    }
}
