//! Where requests begin and end: the rule by which the records of a delivery are cut.
//!
//! Pure. Always true: the same records under the same limits are cut at the same places; no request is larger than the limits
//! allow; and what was made of one source record is in one request, unless that is too large for it. Records that no request may hold
//! are cut out.

use super::Request;

/// Refused records that follow each other are told together up to so many bytes of a payload.
const REFUSED_BYTES: u64 = 1 << 20;

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub records_max: u64,
    /// Bytes of one record.
    pub record_bytes_max: u64,
    /// Bytes of the body before compression.
    pub body_bytes_max: u64,
    /// The same where there is more than one record.
    pub several_bytes_max: u64,
    /// Bytes of a body without records.
    pub body_bytes_min: u64,
    /// Whether what is known of a redriven record, its old name, takes bytes of the body beside those.
    pub counts_old_names: bool,
    /// Bytes that a record of so many takes in the body.
    pub sized: fn(u64) -> u64,
}

/// A record as far as cutting is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    pub bytes: u64,
    /// Of its old name, if it is redriven.
    pub old_name: u64,
    /// Whether it is the first that was made of its source record.
    pub begins: bool,
    /// Whether no request may hold it, whatever its size.
    pub is_refused: bool,
    /// Its length in the payload.
    pub length: u64,
}

/// One request, by the numbers of its records in the delivery and by their place in the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub first: u64,
    pub end: u64,
    pub payload: std::ops::Range<u64>,
    /// It is no request: records that none may hold, alone.
    pub is_refused: bool,
    /// More of its last source record follows in the next request.
    pub is_continued: bool,
}

/// Cuts while records go by.
pub struct Cutter {
    limits: Limits,
    cuts: Vec<Cut>,
    /// Where the request under way begins, the source record under way, and the next record.
    first: Mark,
    source: Mark,
    next: Mark,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    record: u64,
    payload: u64,
    /// Bytes of all records before it in bodies.
    bytes: u64,
}

impl Limits {
    fn is_too_large(&self, item: Item) -> bool {
        item.bytes > self.record_bytes_max || self.body_bytes_min + self.in_body(item) > self.body_bytes_max
    }

    /// Bytes that a record takes in the body.
    fn in_body(&self, item: Item) -> u64 {
        (self.sized)(item.bytes) + if self.counts_old_names { item.old_name } else { 0 }
    }
}

impl Cutter {
    pub fn new(limits: Limits) -> Self {
        let start = Mark::default();
        Self { limits, cuts: Vec::new(), first: start, source: start, next: start }
    }

    pub fn push(&mut self, item: Item) {
        if item.begins {
            self.source = self.next;
        }
        let is_refused = item.is_refused || self.limits.is_too_large(item);
        if is_refused {
            self.close_at(self.next, false);
        } else if !self.fits(item) {
            self.close_at(self.source, false);
            if !self.fits(item) {
                self.close_at(self.next, false);
            }
        }
        if self.first.record == self.next.record
            && !item.begins
            && let Some(before) = self.cuts.last_mut()
        {
            before.is_continued = true;
        }
        self.next.record += 1;
        self.next.payload += item.length;
        self.next.bytes += self.limits.in_body(item);
        if is_refused {
            self.close_at(self.next, true);
        }
    }

    pub fn finish(mut self) -> Vec<Cut> {
        self.close_at(self.next, false);
        self.cuts
    }

    fn fits(&self, item: Item) -> bool {
        let (records, bytes) = (self.next.record - self.first.record, self.next.bytes - self.first.bytes);
        let body = self.limits.body_bytes_min + bytes + self.limits.in_body(item);
        let bytes_max = self.limits.several_bytes_max.min(self.limits.body_bytes_max);
        records == 0 || (records < self.limits.records_max && body <= bytes_max)
    }

    fn close_at(&mut self, end: Mark, is_refused: bool) {
        if end.record <= self.first.record {
            return;
        }
        let joins = |last: &&mut Cut| last.is_refused && end.payload - last.payload.start <= REFUSED_BYTES;
        if let Some(last) = self.cuts.last_mut().filter(|_| is_refused).filter(joins) {
            (last.end, last.payload.end, last.is_continued) = (end.record, end.payload, false);
            self.first = end;
            return;
        }
        self.cuts.push(Cut {
            first: self.first.record,
            end: end.record,
            payload: self.first.payload..end.payload,
            is_refused,
            is_continued: false,
        });
        self.first = end;
    }
}

/// Finds requests that are known in a payload again, while its records go by.
pub struct Finder<'a> {
    requests: &'a [Request],
    found: Vec<Cut>,
    record: u64,
    payload: u64,
}

impl<'a> Finder<'a> {
    /// `requests` follow each other from the first record on.
    pub fn new(requests: &'a [Request]) -> Self {
        Self { requests, found: Vec::new(), record: 0, payload: 0 }
    }

    pub fn push(&mut self, item: Item) {
        if let Some(request) = self.requests.get(self.found.len()).filter(|request| request.first == self.record) {
            if let Some(before) = self.found.last_mut().filter(|_| !item.begins) {
                before.is_continued = true;
            }
            self.found.push(Cut {
                first: request.first,
                end: request.end,
                payload: self.payload..self.payload,
                is_refused: false,
                is_continued: false,
            });
        }
        self.record += 1;
        self.payload += item.length;
        if let Some(last) = self.found.last_mut() {
            last.payload.end = self.payload;
        }
    }

    pub fn finish(self) -> Vec<Cut> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(records_max: u64, body_bytes_max: u64) -> Limits {
        Limits {
            records_max,
            record_bytes_max: 40,
            body_bytes_max,
            several_bytes_max: 120,
            body_bytes_min: 10,
            counts_old_names: true,
            sized: |bytes| bytes + 2,
        }
    }

    fn cut(items: &[Item], limits: Limits) -> Vec<Cut> {
        let mut cutter = Cutter::new(limits);
        items.iter().for_each(|&item| cutter.push(item));
        cutter.finish()
    }

    proptest! {
        #[test]
        fn requests_hold_every_record_once_within_the_limits(
            sizes in prop::collection::vec((0u64..60, prop::bool::weighted(0.7)), 0..60),
            records_max in 1u64..8,
            body_bytes_max in 20u64..150,
        ) {
            let limits = limits(records_max, body_bytes_max);
            let item = |(index, &(bytes, begins)): (usize, &(u64, bool))| Item {
                bytes: bytes - bytes / 5,
                old_name: bytes / 5,
                begins: begins || index == 0,
                is_refused: bytes == 7,
                length: bytes + 3,
            };
            let items: Vec<Item> = sizes.iter().enumerate().map(item).collect();
            let in_body = |item: &Item| item.bytes + item.old_name + 2;
            let several_bytes_max = body_bytes_max.min(120);
            let cuts = cut(&items, limits);
            prop_assert_eq!(&cuts, &cut(&items, limits), "deterministic");
            let (mut at, mut payload) = (0, 0);
            for (n, cut) in cuts.iter().enumerate() {
                prop_assert_eq!((cut.first, cut.payload.start), (at, payload));
                prop_assert!(cut.end > cut.first);
                let held = &items[cut.first as usize..cut.end as usize];
                let bytes = 10 + held.iter().map(in_body).sum::<u64>();
                let is_refused = |item: &Item| item.is_refused || item.bytes > 40 || in_body(item) + 10 > body_bytes_max;
                prop_assert!(held.iter().all(|item| is_refused(item) == cut.is_refused));
                let is_small = bytes <= several_bytes_max && held.len() as u64 <= records_max;
                prop_assert!(cut.is_refused || held.len() == 1 || is_small);
                prop_assert!(!cut.is_refused || !cuts.get(n + 1).is_some_and(|next| next.is_refused), "told together");
                let next = items.get(cut.end as usize);
                prop_assert_eq!(cut.is_continued, next.is_some_and(|item| !item.begins));
                // Cut within a source record only where all of that would not fit.
                if let Some(after) = cuts.get(n + 1).filter(|after| cut.is_continued && !after.is_refused && !cut.is_refused) {
                    let from = (0..=after.first as usize).rev().find(|&i| items[i].begins).unwrap();
                    let whole = &items[from..=after.first as usize];
                    let needed = 10 + whole.iter().map(in_body).sum::<u64>();
                    prop_assert!(cut.first as usize >= from || needed > several_bytes_max || whole.len() as u64 > records_max);
                }
                (at, payload) = (cut.end, cut.payload.end);
            }
            let requests: Vec<_> = cuts.iter().map(|cut| Request::planned(cut.first, cut.end)).collect();
            let mut finder = Finder::new(&requests);
            items.iter().for_each(|&item| finder.push(item));
            let found: Vec<_> = cuts.iter().map(|cut| Cut { is_refused: false, ..cut.clone() }).collect();
            prop_assert_eq!(finder.finish(), found, "found again");
            prop_assert_eq!(at, items.len() as u64);
            prop_assert_eq!(payload, items.iter().map(|item| item.length).sum::<u64>());
        }
    }

    #[test]
    fn what_was_made_of_one_record_stays_together_where_it_fits() {
        let item = |begins| Item { bytes: 8, old_name: 0, begins, is_refused: false, length: 8 };
        let items = [true, true, false, false, true, true, false, false, false, false].map(item);
        let ends: Vec<_> = cut(&items, limits(4, 1000)).iter().map(|cut| (cut.end, cut.is_continued)).collect();
        assert_eq!(ends, [(4, false), (5, false), (9, true), (10, false)]);
    }
}
