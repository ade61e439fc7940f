//! The handle of a lease that is held: what is done only as its owner asks here, and writes here.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::keeper::{Request, Wish};
use super::state::{Hold, Shared};
use crate::source::kinesis::leases::clock;
use crate::source::kinesis::leases::lease::Checkpoint;
use crate::source::kinesis::page::ChildShard;

/// The lease is somebody else's, or given up: whatever is said to its handle from here on comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease is lost")]
pub struct Lost;

/// A lease that this worker has taken. When the last clone goes, the lease is released.
///
/// What is asked is tried until the table answers or the lease is lost, and is done also if the asker does not wait for it. Once it
/// is lost it stays so: of the same lease taken again there is another handle.
#[derive(Debug, Clone)]
pub struct ShardLease {
    pub(super) hold: Hold,
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl ShardLease {
    pub(super) fn new(hold: Hold, shared: Arc<Shared>, requests: mpsc::Sender<Request>) -> Self {
        Self { hold, shared, requests }
    }

    /// The shard's id.
    pub fn key(&self) -> &Arc<str> {
        &self.hold.key
    }

    /// Whether no other worker can be certain of the lease at this moment.
    pub fn is_certain(&self) -> bool {
        self.shared.is_certain(&self.hold)
    }

    pub fn is_lost(&self) -> bool {
        self.hold.lost.is_cancelled()
    }

    /// Waits until the lease is lost, given up or at its shard's end.
    pub async fn lost(&self) {
        self.hold.lost.cancelled().await;
    }

    /// Waits until the worker is certain of the lease: to be asked before each put.
    pub async fn certain(&self) -> Result<(), Lost> {
        loop {
            let answered = self.hold.answered.notified();
            if self.is_lost() {
                return Err(Lost);
            }
            if self.is_certain() {
                return Ok(());
            }
            let certain_from = async {
                let between = self.shared.lock().held.certain_between(&self.hold.key);
                match between {
                    // At its beginning a stolen lease is the former owner's, too.
                    Some((from, _)) if clock::now() < from => sleep(from.saturating_sub(clock::now())).await,
                    Some(_) | None => pending().await,
                }
            };
            tokio::select! {
                () = answered => {}
                () = self.lost() => return Err(Lost),
                () = certain_from => {}
            }
        }
    }

    /// Writes what is going to be delivered, before any of it is: up to `cut`, with what a successor needs to finish it.
    pub async fn pend(&self, cut: Checkpoint, state: Bytes) -> Result<(), Lost> {
        self.ask(Wish::Pend(cut, state)).await
    }

    /// Writes that everything up to `cut` is settled; nothing is pending any more.
    pub async fn settle(&self, cut: Checkpoint) -> Result<(), Lost> {
        self.ask(Wish::Settle(cut)).await
    }

    /// Writes that everything up to the shard's end is settled, behind leases for those that go on there.
    pub async fn end(&self, children: Vec<ChildShard>) -> Result<(), Lost> {
        self.ask(Wish::End(children)).await
    }

    /// Gives the lease up, so that another worker need not wait until it expires. To be called after the last delivery has settled;
    /// the worker is certain of it no more.
    pub async fn release(&self) -> Result<(), Lost> {
        self.ask(Wish::Release).await
    }

    async fn ask(&self, wish: Wish) -> Result<(), Lost> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { wish, answer }).await.map_err(|_| Lost)?;
        answered.await.unwrap_or(Err(Lost))
    }
}
