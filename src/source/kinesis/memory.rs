//! The memory in which shards are read: granted to one after the other, in the order in which they ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::memory::{Permit, StreamBudget};
use crate::pool::join;
use crate::source::SourceEvent;

/// How long a thread waits until it looks whether anybody still wants the memory.
const STEP: Duration = Duration::from_millis(100);

/// Nobody takes what would be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// Grants memory to the shards of one source.
pub struct Gate {
    budget: Arc<StreamBudget>,
    /// Into how many buffers each record goes.
    copies: u64,
    stop: CancellationToken,
    events: mpsc::Sender<SourceEvent>,
    /// Whose turn it is; fair.
    turn: Mutex<()>,
}

impl Gate {
    pub fn new(
        budget: Arc<StreamBudget>,
        copies: u64,
        stop: CancellationToken,
        events: mpsc::Sender<SourceEvent>,
    ) -> Self {
        Self { budget, copies, stop, events, turn: Mutex::new(()) }
    }

    /// Waits for memory for `bytes` in each buffer. What is more than there can be is granted when nothing else is held.
    pub async fn enter(&self, bytes: u64) -> Result<Arc<Permit>, Ended> {
        let wanted = bytes.saturating_mul(self.copies);
        let _turn = self.turn.lock().await;
        let permit = match self.budget.acquire(wanted, &self.stop, Duration::ZERO) {
            Some(permit) => permit,
            None => self.wait(wanted).await?,
        };
        permit.absorb(self.budget.overdraw(wanted.saturating_sub(permit.bytes())));
        Ok(permit)
    }

    async fn wait(&self, wanted: u64) -> Result<Arc<Permit>, Ended> {
        loop {
            if self.stop.is_cancelled() || self.events.is_closed() {
                return Err(Ended);
            }
            let (budget, stop) = (self.budget.clone(), self.stop.clone());
            let waiting = tokio::task::spawn_blocking(move || budget.acquire(wanted, &stop, STEP));
            if let Some(permit) = join(waiting).await {
                return Ok(permit);
            }
        }
    }

    /// Out of what was granted for a page, what a part of it takes; beyond that it is taken all the same.
    pub fn part(&self, granted: &Permit, bytes: u64) -> Arc<Permit> {
        let wanted = bytes.saturating_mul(self.copies);
        let part = granted.split(wanted);
        part.absorb(self.budget.overdraw(wanted - part.bytes()));
        Arc::new(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBudget;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_goes_on_when_memory_is_given_back_or_the_source_ends() {
        let budget = MemoryBudget::new(1000);
        let (events, receiver) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let gate = Arc::new(Gate::new(budget.join(), 2, stop.clone(), events));
        let first = gate.enter(200).await.unwrap();
        assert_eq!(first.bytes(), 400);
        let part = gate.part(&first, 300);
        assert_eq!((part.bytes(), first.bytes()), (600, 0), "the rest is overdrawn");
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(300).await.map(|permit| permit.bytes()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop((first, part));
        assert_eq!(waiting.await.unwrap(), Ok(600));
        let all = gate.enter(400).await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(300).await.map(|permit| permit.bytes()) }
        });
        stop.cancel();
        assert_eq!(waiting.await.unwrap(), Err(Ended));
        drop((all, receiver));
    }
}
