//! What a redrive has done so far.
//!
//! Always true: its size is bounded, whatever the error objects hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::envelope::Failed;
use crate::account::Account;

/// Codes that are counted each on its own.
const CODES_MAX: usize = 1000;
/// Lines and objects that are named; more are only counted.
const NAMED_MAX: usize = 100;
/// Characters of a code.
const CODE_CHARS_MAX: usize = 100;
/// Runs of one code that are remembered, to take back what was read in vain.
const RUNS_MAX: usize = 1 << 16;
/// Objects of which is remembered that something was wrong with them.
const REMEMBERED_MAX: usize = 10_000;
/// Stands for the codes that come when there are too many.
const OTHER_CODES: &str = "(other codes)";

/// The figures of one redrive, counted by whoever does the thing.
#[derive(Debug, Default)]
pub struct Progress {
    /// Found by the listing, and of the stream and the time that were asked for.
    pub objects: AtomicU64,
    pub object_bytes: AtomicU64,
    /// Read to their end.
    pub objects_done: AtomicU64,
    /// Read to their end by an earlier redrive.
    pub objects_before: AtomicU64,
    /// Of the objects that were found, as they are stored.
    pub bytes_done: AtomicU64,
    /// Delivered to the stream's destination.
    pub delivered: AtomicU64,
    /// Back in the error output.
    pub failed_again: AtomicU64,
    /// Dropped by a processor.
    pub dropped: AtomicU64,
    /// Lines that an earlier redrive has settled.
    pub skipped: AtomicU64,
    named: Mutex<Named>,
}

#[derive(Debug, Default)]
struct Named {
    /// Which of the counts is that of a code.
    codes: BTreeMap<(String, String), usize>,
    counts: Vec<u64>,
    /// The codes of the records that were read last, in their order: one count, so many times.
    runs: VecDeque<(usize, u64)>,
    /// What has become of the records of lives that have ended.
    past: Account,
    /// The last line of an object that was named, and objects that were: a new life comes across them again.
    named_to: BTreeMap<String, u64>,
    left: BTreeSet<String>,
    unreadable: Vec<Problem>,
    unreadable_count: u64,
    objects: Vec<Problem>,
    objects_count: u64,
    problem: Option<String>,
}

/// The figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub objects: u64,
    pub object_bytes: u64,
    pub objects_done: u64,
    /// Of those that were found: an earlier redrive has sent their records.
    pub objects_before: u64,
    pub bytes_done: u64,
    /// Failed records that were read, those that were skipped not among them.
    pub read: u64,
    pub delivered: u64,
    pub failed_again: u64,
    pub dropped: u64,
    pub skipped: u64,
    /// The records that were read, by type and code of their failure.
    pub codes: Vec<CodeCount>,
    /// Lines that are no failed records, or cannot be sent again. They stay where they are.
    pub unreadable: u64,
    /// The first of them.
    pub unreadable_lines: Vec<Problem>,
    /// Objects that could not be read, or not to their end.
    pub objects_left: u64,
    /// The first of them.
    pub objects_left_named: Vec<Problem>,
    /// What is in the way at present.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeCount {
    pub error_type: String,
    pub code: String,
    pub records: u64,
}

/// A line or an object with which something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub object: String,
    /// Of the line's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub reason: String,
}

impl Summary {
    /// Whether nothing is left that was asked for.
    pub fn is_whole(&self) -> bool {
        self.failed_again == 0 && self.unreadable == 0 && self.objects_left == 0
    }
}

impl Progress {
    /// A failed record was read.
    pub fn count_read(&self, failed: &Failed) {
        let code = failed.code.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CODE_CHARS_MAX).collect();
        let mut named = self.named();
        let mut of = (failed.error_type.to_owned(), code);
        if named.codes.len() >= CODES_MAX && !named.codes.contains_key(&of) {
            of.1 = OTHER_CODES.to_owned();
        }
        let next = named.counts.len();
        let count = *named.codes.entry(of).or_insert(next);
        if count == next {
            named.counts.push(0);
        }
        named.counts[count] += 1;
        match named.runs.back_mut() {
            Some((last, times)) if *last == count => *times += 1,
            _ => named.runs.push_back((count, 1)),
        }
        if named.runs.len() > RUNS_MAX {
            named.runs.pop_front();
        }
    }

    /// A line that stays where it is.
    pub fn add_unreadable(&self, object: &str, offset: u64, reason: &dyn std::fmt::Display) {
        let mut named = self.named();
        if named.named_to.get(object).is_some_and(|&last| offset <= last) {
            return;
        }
        if named.named_to.len() < REMEMBERED_MAX || named.named_to.contains_key(object) {
            named.named_to.insert(object.to_owned(), offset);
        }
        named.unreadable_count += 1;
        if named.unreadable.len() < NAMED_MAX {
            let reason = reason.to_string();
            tracing::warn!(object, offset, reason, "this line of an error object cannot be sent again; it stays there");
            named.unreadable.push(Problem { object: object.to_owned(), offset: Some(offset), reason });
        }
    }

    /// An object that is not read, or not to its end.
    pub fn add_object_left(&self, object: &str, reason: &dyn std::fmt::Display) {
        let mut named = self.named();
        if named.left.contains(object) {
            return;
        }
        if named.left.len() < REMEMBERED_MAX {
            named.left.insert(object.to_owned());
        }
        named.objects_count += 1;
        if named.objects.len() < NAMED_MAX {
            let reason = reason.to_string();
            tracing::warn!(object, reason, "this error object is not read any further");
            named.objects.push(Problem { object: object.to_owned(), offset: None, reason });
        }
    }

    pub fn set_problem(&self, problem: Option<String>) {
        self.named().problem = problem;
    }

    /// A life of the stream begins: its objects are counted anew.
    pub fn begin_life(&self) {
        for figure in [&self.objects, &self.object_bytes, &self.objects_done, &self.objects_before, &self.bytes_done] {
            figure.store(0, Ordering::Relaxed);
        }
    }

    /// What has become of the records so far, by the account of the life that is under way.
    pub fn set_fates(&self, account: &Account) {
        let all = self.named().past.plus(*account);
        self.store_fates(&all);
    }

    /// A life has ended: its account counts on, and what was in flight is read again in the next one.
    pub fn end_life(&self, ended: &Account) {
        let mut named = self.named();
        named.past = named.past.plus(*ended);
        let settled = named.past.read;
        named.take_back_to(settled);
        let all = named.past;
        drop(named);
        self.store_fates(&all);
    }

    fn store_fates(&self, account: &Account) {
        for (figure, value) in [
            (&self.delivered, account.delivered),
            (&self.failed_again, account.failed),
            (&self.dropped, account.dropped),
            (&self.skipped, account.skipped),
        ] {
            figure.store(value, Ordering::Relaxed);
        }
    }

    pub fn summary(&self) -> Summary {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let named = self.named();
        let codes = named.codes.iter().map(|((error_type, code), &count)| CodeCount {
            error_type: error_type.clone(),
            code: code.clone(),
            records: named.counts[count],
        });
        Summary {
            objects: load(&self.objects),
            object_bytes: load(&self.object_bytes),
            objects_done: load(&self.objects_done),
            objects_before: load(&self.objects_before),
            bytes_done: load(&self.bytes_done),
            read: named.counts.iter().sum(),
            delivered: load(&self.delivered),
            failed_again: load(&self.failed_again),
            dropped: load(&self.dropped),
            skipped: load(&self.skipped),
            codes: codes.filter(|code| code.records > 0).collect(),
            unreadable: named.unreadable_count,
            unreadable_lines: named.unreadable.clone(),
            objects_left: named.objects_count,
            objects_left_named: named.objects.clone(),
            problem: named.problem.clone(),
        }
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    /// Takes back what was read last, until so many records are left.
    fn take_back_to(&mut self, settled: u64) {
        let mut excess = self.counts.iter().sum::<u64>().saturating_sub(settled);
        while excess > 0 {
            // More runs than are remembered: of whichever code has some.
            let all =
                || self.counts.iter().enumerate().max_by_key(|(_, count)| **count).map(|(of, count)| (of, *count));
            let Some((of, times)) = self.runs.pop_back().or_else(all) else { break };
            let taken = times.min(excess).min(self.counts[of]);
            self.counts[of] -= taken;
            excess -= taken;
        }
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redrive::envelope::Entry;

    #[test]
    fn its_size_is_bounded_and_its_sums_are_whole() {
        let progress = Progress::default();
        for number in 0..5000 {
            let code = format!("code\n{number}{}", "x".repeat(1000));
            let (entry, error_type) = (Entry::Processing, "processing-failed");
            let raw = Vec::new();
            progress.count_read(&Failed { entry, error_type, code, attempts: 1, arrival_ms: 1, raw, old: None });
            progress.add_unreadable("errors/a", number, &"no");
            progress.add_object_left(&format!("errors/{number}"), &"no");
        }
        let summary = progress.summary();
        assert_eq!((summary.read, summary.unreadable, summary.objects_left), (5000, 5000, 5000));
        assert_eq!(summary.codes.iter().map(|code| code.records).sum::<u64>(), 5000);
        assert_eq!(summary.codes.len(), CODES_MAX + 1);
        assert!(summary.codes.iter().all(|code| code.code.len() <= 100 && !code.code.contains('\n')));
        assert_eq!((summary.unreadable_lines.len(), summary.objects_left_named.len()), (NAMED_MAX, NAMED_MAX));
        assert_eq!(summary.unreadable_lines[7].offset, Some(7));
    }

    #[test]
    fn a_life_that_ends_gives_back_what_was_in_flight_and_the_next_one_counts_on() {
        let progress = Progress::default();
        let read = |code: &str, times| {
            for _ in 0..times {
                let (entry, error_type, code) = (Entry::Processing, "processing-failed", code.to_owned());
                let raw = Vec::new();
                progress.count_read(&Failed { entry, error_type, code, attempts: 1, arrival_ms: 1, raw, old: None });
            }
        };
        read("a", 5);
        read("b", 3);
        progress.set_fates(&Account { read: 7, delivered: 4, failed: 2, in_flight: 1, ..Account::default() });
        progress.end_life(&Account { read: 6, delivered: 4, failed: 2, ..Account::default() });
        assert_eq!((progress.summary().read, progress.summary().failed_again), (6, 2));
        progress.begin_life();
        read("b", 4);
        progress.add_unreadable("errors/a", 7, &"no");
        progress.add_unreadable("errors/a", 7, &"no");
        progress.set_fates(&Account { read: 4, delivered: 4, ..Account::default() });
        let summary = progress.summary();
        assert_eq!((summary.read, summary.delivered, summary.failed_again, summary.unreadable), (10, 8, 2, 1));
        assert_eq!(summary.codes.iter().map(|code| code.records).collect::<Vec<_>>(), [5, 5]);
    }
}
