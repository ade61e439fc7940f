//! What an instance may take: memory, tables, time.
//!
//! Always true: all linear memories of an instance together stay within the limit, and a guest that runs on past its deadline
//! is stopped at the next tick. Time is the thread's own CPU time, so that no record fails because the machine is busy.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use super::super::patient;

/// Elements that all tables of an instance may have together.
pub(super) const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// The sum of an instance's linear memories.
pub(super) struct MemoryLimit {
    bytes_max: usize,
    bytes: usize,
    table_elements: usize,
    refusal: Option<Refusal>,
}

/// What a guest has asked for and may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Memory,
    Table,
}

impl MemoryLimit {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, table_elements: 0, refusal: None }
    }

    /// The last refusal since somebody asked.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Whether so much is in use that an instance that is used again should be made anew.
    pub fn is_past_half(&self) -> bool {
        self.bytes > self.bytes_max / 2
    }

    fn grow(in_use: &mut usize, limit: usize, by: usize) -> bool {
        let fits = in_use.checked_add(by).is_some_and(|sum| sum <= limit);
        if fits {
            *in_use += by;
        }
        fits
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum)
            && Self::grow(&mut self.bytes, self.bytes_max, desired.saturating_sub(current));
        self.refusal = if fits { self.refusal } else { Some(Refusal::Memory) };
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum)
            && Self::grow(&mut self.table_elements, TABLE_ELEMENTS_MAX, desired.saturating_sub(current));
        self.refusal = if fits { self.refusal } else { Some(Refusal::Table) };
        Ok(fits)
    }
}

/// When a call has to be over, in CPU time of the thread that runs it.
#[derive(Default)]
pub(super) struct Deadline {
    at: Duration,
    was_passed: bool,
}

impl Deadline {
    pub fn set(&mut self, after: Duration) {
        *self = Self { at: thread_time().saturating_add(after), was_passed: false };
    }

    /// Whether it has passed by now, or nobody waits for the result any more.
    pub fn look(&mut self) -> bool {
        self.was_passed |= thread_time() >= self.at || patient::is_abandoned();
        self.was_passed
    }

    /// Whether somebody has looked too late.
    pub fn was_passed(&self) -> bool {
        self.was_passed
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(!limit.memory_growing(0, 41, None).unwrap());
        assert_eq!((limit.take_refusal(), limit.take_refusal()), (Some(Refusal::Memory), None));
        assert!(!limit.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
        assert_eq!(limit.take_refusal(), Some(Refusal::Table));
        assert!(limit.memory_growing(0, 40, Some(40)).unwrap() && limit.is_past_half());
        assert!(!limit.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn a_deadline_that_was_passed_stays_so() {
        let mut deadline = Deadline::default();
        deadline.set(Duration::from_secs(3600));
        assert!(!deadline.look() && !deadline.was_passed());
        deadline.set(Duration::ZERO);
        assert!(deadline.look() && deadline.was_passed());
    }
}
