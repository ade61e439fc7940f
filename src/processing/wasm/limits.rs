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
    /// What has been granted last.
    last_growth: usize,
    table_elements: usize,
    refusal: Option<Refusal>,
}

/// What a guest has asked for and may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Memory,
    Table,
    /// Memory that it may have, and that the system has not.
    System,
}

impl MemoryLimit {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, last_growth: 0, table_elements: 0, refusal: None }
    }

    /// The last refusal since somebody asked.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// In use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an instance that began with so many bytes has grown so much that it should be made anew: past half of the limit,
    /// or, where it began there, past half of what was left.
    pub fn is_spent(&self, begun_with: usize) -> bool {
        let half = self.bytes_max / 2;
        let spent = if begun_with <= half { half } else { begun_with + (self.bytes_max - begun_with) / 2 };
        self.bytes > spent
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
        self.last_growth = desired.saturating_sub(current);
        let fits = maximum.is_none_or(|maximum| desired <= maximum)
            && Self::grow(&mut self.bytes, self.bytes_max, self.last_growth);
        self.refusal = if fits { self.refusal } else { Some(Refusal::Memory) };
        Ok(fits)
    }

    /// The system has no memory for what was granted, or the memory's type allows no more.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if is_of_the_system(&error) {
            self.bytes = self.bytes.saturating_sub(self.last_growth);
            self.refusal = Some(Refusal::System);
        } else {
            self.refusal = Some(Refusal::Memory);
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum)
            && Self::grow(&mut self.table_elements, TABLE_ELEMENTS_MAX, desired.saturating_sub(current));
        self.refusal = if fits { self.refusal } else { Some(Refusal::Table) };
        Ok(fits)
    }
}

/// Whether a system call has failed.
pub(super) fn is_of_the_system(error: &wasmtime::Error) -> bool {
    error.is::<std::io::Error>() || error.is::<rustix::io::Errno>()
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
        assert!(limit.memory_growing(0, 40, Some(40)).unwrap());
        assert!(!limit.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn memory_that_the_system_has_not_is_not_in_use() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        limit.memory_grow_failed(wasmtime::Error::msg("more than its type allows")).unwrap();
        assert_eq!((limit.bytes(), limit.take_refusal()), (60, Some(Refusal::Memory)));
        limit.memory_grow_failed(rustix::io::Errno::NOMEM.into()).unwrap();
        assert_eq!((limit.bytes(), limit.take_refusal()), (0, Some(Refusal::System)));
    }

    #[test]
    fn an_instance_is_spent_past_half_of_what_it_may_have() {
        let with = |bytes| MemoryLimit { bytes, ..MemoryLimit::new(100) };
        assert!(!with(50).is_spent(10) && with(51).is_spent(10));
        assert!(!with(60).is_spent(60) && !with(80).is_spent(60) && with(81).is_spent(60));
        assert!(!with(100).is_spent(100));
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
