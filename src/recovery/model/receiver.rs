//! A destination that takes requests: what the journal knows of them, and one step of sending.
//!
//! The receiver takes each request once, by its id, and what it has taken it never refuses; whether it finds one too large, or does
//! not take it at all, may be otherwise the next time. How many records a request may hold changes from life to life.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::*;
use crate::requests::{Cutter, Item, Limits, RequestState, Whole, done_of, is_plan_of};

/// The receiver, and what the journal has of requests.
#[derive(Default)]
pub(super) struct Received {
    /// By request id.
    pub(super) taken: BTreeMap<String, Vec<Formed>>,
    /// Of one that judges each record, what it has.
    pub(super) index: Option<Index>,
    pub(super) journal: BTreeMap<i64, Sent>,
    /// Requests of which some life has journalled that they are acknowledged.
    answered: BTreeSet<String>,
    /// Records that were in those with all that was made of them.
    done: BTreeSet<(usize, u64)>,
    children: u64,
}

#[derive(Default, Clone)]
pub(super) struct Sent {
    pub(super) requests: Vec<Request>,
    /// The key of what has failed.
    child: Option<String>,
}

impl Received {
    pub(super) fn new(judges_each: bool) -> Self {
        Self { index: judges_each.then(Index::default), ..Self::default() }
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = &Formed> {
        self.index.iter().flat_map(Index::documents)
    }
}

fn id_of(key: &str, request: &Request) -> String {
    format!("{key}: {}-{}", request.first, request.end)
}

pub(super) fn of(payload: &[Formed], request: &Request) -> Vec<Formed> {
    payload[request.first as usize..request.end as usize].to_vec()
}

/// Whether part `index` is the first of its record.
fn begins(payload: &[Formed], index: usize) -> bool {
    let record = |index: usize| (payload[index].0.0, payload[index].0.1);
    index == 0 || record(index) != record(index - 1)
}

/// The records that a request holds whole.
pub(super) fn whole(payload: &[Formed], request: &Request) -> RecordSet {
    let (first, end) = (request.first as usize, request.end as usize);
    let mut set = RecordSet::default();
    for index in (first..end).filter(|&index| begins(payload, index)) {
        let next = (index + 1..payload.len()).find(|&next| begins(payload, next)).unwrap_or(payload.len());
        if next <= end {
            let (file, record, _) = payload[index].0;
            set.add(id(file), PositionRange::new(record, record + 1));
        }
    }
    set
}

impl Process<'_> {
    pub(super) fn is_received(&self, row: &DeliveryRow) -> bool {
        self.world.receiver.is_some() && row.intent.output == DESTINATION
    }

    pub(super) fn received(&mut self) -> &mut Received {
        self.world.receiver.as_mut().expect("there is a receiver")
    }

    /// The order in which the records of a delivery are counted.
    pub(super) fn number(&self, payload: &mut [Formed]) {
        if self.world.rules.numbers_alike {
            payload.sort_by_key(|((file, record, part), _)| (*file, *record, *part));
        }
    }

    /// Cut, and journalled with the delivery.
    pub(super) fn plan(&mut self, row: i64, payload: &[Formed]) -> Vec<Request> {
        let limits = Limits {
            records_max: self.records_max,
            record_bytes_max: 1,
            body_bytes_max: u64::MAX,
            several_bytes_max: u64::MAX,
            body_bytes_min: 0,
            counts_old_names: false,
            sized: |bytes| bytes,
        };
        let mut cutter = Cutter::new(limits);
        let item = Item { bytes: 1, old_name: 0, begins: true, is_refused: false, length: 1 };
        (0..payload.len()).for_each(|n| cutter.push(Item { begins: begins(payload, n), ..item }));
        let cuts = cutter.finish();
        let requests: Vec<_> = cuts.iter().map(|cut| Request::planned(cut.first, cut.end)).collect();
        if self.world.rules.plans_first {
            self.received().journal.insert(row, Sent { requests: requests.clone(), child: None });
        }
        requests
    }

    /// Those of a delivery that is formed again.
    pub(super) fn requests_again(&mut self, row: i64, payload: &[Formed]) -> Option<Vec<Request>> {
        if !self.is_received(&self.world.journal[&row]) {
            return None;
        }
        let journalled = self.received().journal.get(&row).map(|sent| sent.requests.clone()).unwrap_or_default();
        if is_plan_of(&journalled, payload.len() as u64) {
            return Some(journalled);
        }
        assert!(self.world.rules != ALL_RULES, "the same processing makes the same records");
        Some(self.plan(row, payload))
    }

    /// Processing or the receiver has changed: what is done is settled, the rest is new. The row that is left, if there is one.
    pub(super) fn keep_done(&mut self, row: i64) -> Option<DeliveryRow> {
        let sent = self.received().journal.remove(&row).unwrap_or_default();
        let is_there = sent.child.as_ref().is_some_and(|key| self.world.objects.contains_key(key));
        let done = done_of(&sent.requests, is_there && self.world.may_ask);
        let mut kept = self.world.journal.remove(&row)?;
        if done.is_empty() || !self.world.rules.keeps_done {
            return None;
        }
        kept.settled = true;
        kept.intent.partial = kept.intent.partial.split(&done).1;
        kept.intent.batches = Batches::default();
        kept.intent.set = done;
        self.world.journal.insert(row, kept.clone());
        Some(kept)
    }

    /// One attempt for the first request that is not decided; after the last the child, and the settlement.
    pub(super) fn send(&mut self, index: usize) -> Result<(), Crash> {
        let is_judged_each = self.received().index.is_some();
        let requests = self.uploads[index].requests.as_ref().expect("it goes to the receiver");
        let Some(number) = requests.iter().position(|request| request.state == RequestState::Planned) else {
            return self.finish(index);
        };
        if is_judged_each {
            return self.bulk(index);
        }
        let Upload { row, key, payload, .. } = &self.uploads[index];
        let (row, request, id) = (*row, requests[number].clone(), id_of(key, &requests[number]));
        let (contents, whole) = (of(payload, &request), whole(payload, &request));
        let is_taken = self.received().taken.contains_key(&id);
        let decided = match self.world.rng.below(8) {
            0 if request.end - request.first > 1 && !is_taken => return self.split(index, number),
            1 if !is_taken => RequestState::Failed(None, Whole::of(&whole)),
            2 | 3 => {
                self.take(&id, contents);
                return Ok(()); // The answer is lost.
            }
            _ => {
                self.take(&id, contents);
                RequestState::Acknowledged(Whole::of(&whole))
            }
        };
        self.world.maybe_crash()?;
        let rules = self.world.rules;
        let is_journalled = match &decided {
            RequestState::Acknowledged(_) => {
                self.received().answered.insert(id);
                self.note_done(row, &whole);
                rules.journals_answers
            }
            _ => rules.journals_failures,
        };
        let decided = Request { state: decided, ..request };
        if is_journalled && let Some(sent) = self.received().journal.get_mut(&row) {
            sent.requests
                .iter_mut()
                .filter(|known| known.first == decided.first)
                .for_each(|known| *known = decided.clone());
        }
        self.uploads[index].requests.as_mut().expect("it has requests")[number] = decided;
        self.world.maybe_crash()
    }

    /// Records of which nothing may be sent any more, whatever becomes of the delivery.
    pub(super) fn note_done(&mut self, row: i64, whole: &RecordSet) {
        let whole_fates = whole.split(&self.world.journal[&row].intent.partial).0;
        let received = self.received();
        for (file, ranges) in whole_fates.iter() {
            let records = ranges.iter().flat_map(|range| range.start.offset()..range.end.offset());
            received.done.extend(records.map(|record| (file.0 as usize, record)));
        }
    }

    pub(super) fn is_done(&mut self, (file, record, _): Content) -> bool {
        self.received().done.contains(&(file, record))
    }

    fn take(&mut self, id: &str, contents: Vec<Formed>) {
        let received = self.received();
        let is_new = !received.taken.contains_key(id);
        let again = contents.iter().find(|((file, record, _), _)| is_new && received.done.contains(&(*file, *record)));
        let wrong = match (received.answered.contains(id), again) {
            (true, _) => Some(format!("{id} is sent again after its acknowledgement was journalled")),
            (false, Some(content)) => {
                Some(format!("{content:?} is in {id} after it was acknowledged in another request"))
            }
            (false, None) => None,
        };
        let before = received.taken.entry(id.to_owned()).or_insert_with(|| contents.clone());
        let wrong = wrong.or((*before != contents).then(|| format!("{id} comes again with other records")));
        self.world.unequal = self.world.unequal.take().or(wrong);
    }

    pub(super) fn split(&mut self, index: usize, number: usize) -> Result<(), Crash> {
        let Upload { row, requests, .. } = &mut self.uploads[index];
        let (row, requests) = (*row, requests.as_mut().expect("it has requests"));
        let (first, second) = requests[number].halves().expect("it has two records");
        requests.splice(number..=number, [first.clone(), second.clone()]);
        if self.world.rules.journals_splits
            && let Some(sent) = self.received().journal.get_mut(&row)
        {
            let known =
                sent.requests.iter().position(|request| request.first == first.first).expect("it is journalled");
            sent.requests.splice(known..=known, [first, second]);
        }
        self.world.maybe_crash()
    }

    fn finish(&mut self, index: usize) -> Result<(), Crash> {
        let Upload { row, payload, requests, .. } = &self.uploads[index];
        let row = *row;
        let is_failed = |request: &&Request| matches!(request.state, RequestState::Failed(..));
        let failed = requests.iter().flatten().filter(is_failed).flat_map(|request| of(payload, request));
        let failed: Vec<Formed> = failed.collect();
        if !failed.is_empty() {
            let intends = self.world.rules.intends_children;
            let received = self.received();
            received.children += 1;
            let new = format!("failed/{row}/{}", received.children);
            let sent = received.journal.entry(row).or_default();
            let key = if intends { sent.child.get_or_insert(new).clone() } else { new };
            self.world.maybe_crash()?;
            if !self.world.rules.waits_for_children {
                self.world.journal.get_mut(&row).expect("it is journalled").settled = true;
                self.world.maybe_crash()?;
            }
            self.world.objects.entry(key).or_insert(failed);
            if self.world.rng.below(5) == 0 {
                return Ok(()); // The answer is lost: it is put again.
            }
            self.world.maybe_crash()?;
        }
        let Upload { holder, row, .. } = self.uploads.remove(index);
        self.received().journal.remove(&row);
        self.settle(holder, row)
    }
}
