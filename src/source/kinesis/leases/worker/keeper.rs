//! The task of one lease that is held: renews it, and writes what is asked, one after the other.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::shard_lease::Lost;
use super::state::Hold;
use super::{Desk, ListShards};
use crate::destination::ErrorClass;
use crate::destination::retry::{Backoff, RetryLimits, random};
use crate::source::kinesis::leases::clock;
use crate::source::kinesis::leases::held::Ownership;
use crate::source::kinesis::leases::lease::{Checkpoint, PendingCheckpoint};
use crate::source::kinesis::leases::operation::{Answer, Change, LeaseTable, Update};
use crate::source::kinesis::page::ChildShard;

/// What is asked of a keeper.
#[derive(Debug)]
pub struct Request {
    pub wish: Wish,
    pub answer: oneshot::Sender<Result<(), Lost>>,
}

#[derive(Debug)]
pub enum Wish {
    Pend(Checkpoint, Bytes),
    Settle(Checkpoint),
    End(Vec<ChildShard>),
    Release,
}

/// Whether there is something left to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Over,
}

pub struct Keeper<T, S> {
    desk: Arc<Desk<T, S>>,
    hold: Hold,
    requests: mpsc::Receiver<Request>,
}

impl<T, S> Keeper<T, S>
where
    T: LeaseTable<Error: Display + Send> + Send + Sync + 'static,
    S: ListShards<Error: Display + Send> + Send + Sync + 'static,
{
    pub fn new(desk: Arc<Desk<T, S>>, hold: Hold, requests: mpsc::Receiver<Request>) -> Self {
        Self { desk, hold, requests }
    }

    /// Until the lease is lost, ended or given up, or the worker is dropped.
    pub async fn run(mut self) {
        let abandoned = self.desk.abandoned.clone();
        let _ = abandoned.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        loop {
            let due = self.until_due();
            let fate = tokio::select! {
                biased;
                () = self.hold.lost.cancelled() => return,
                () = sleep(due) => self.renew().await,
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => {
                        let _ = self.release().await;
                        Fate::Over
                    }
                },
            };
            if fate == Fate::Over {
                return;
            }
        }
    }

    async fn serve(&mut self, request: Request) -> Fate {
        let Request { wish, answer } = request;
        let (done, fate) = match wish {
            Wish::Pend(checkpoint, state) => {
                let pending = PendingCheckpoint { checkpoint, state: Some(state) };
                (self.change(&Change::Pend(pending)).await, Fate::Kept)
            }
            Wish::Settle(checkpoint) => (self.settle(checkpoint).await, Fate::Kept),
            Wish::End(children) => (self.end(&children).await, Fate::Over),
            Wish::Release => (self.release().await, Fate::Over),
        };
        // Whoever asked may have gone.
        let _ = answer.send(done);
        if done.is_err() { Fate::Over } else { fate }
    }

    async fn settle(&mut self, checkpoint: Checkpoint) -> Result<(), Lost> {
        let written = self.desk.shared.lock().held.get(&self.hold.key).map(|lease| lease.checkpoint);
        if let Some(written) = written.filter(|written| *written > checkpoint) {
            error!(shard_id = %self.hold.key, %written, %checkpoint, "a checkpoint would go back, and stays");
            return Ok(());
        }
        self.change(&Change::Settle { checkpoint, children: BTreeSet::new() }).await
    }

    /// The lease is renewed while its children's leases are made, which takes lists and scans.
    async fn end(&mut self, children: &[ChildShard]) -> Result<(), Lost> {
        let desk = Arc::clone(&self.desk);
        let mut made = pin!(desk.make_child_leases(children));
        loop {
            tokio::select! {
                () = &mut made => break,
                () = self.hold.lost.cancelled() => return Err(Lost),
                () = sleep(self.until_due()) => {
                    if self.renew().await == Fate::Over {
                        return Err(Lost);
                    }
                }
            }
        }
        let children = children.iter().map(|child| child.id.clone()).collect();
        let change = Change::Settle { checkpoint: Checkpoint::ShardEnd, children };
        self.change(&change).await?;
        info!(shard_id = %self.hold.key, "the shard's end is in the lease table");
        Ok(())
    }

    /// From when on a renewal is due. At once, if the lease is not held.
    fn until_due(&self) -> Duration {
        let rules = &self.desk.config.rules;
        let between = self.desk.shared.lock().held.certain_between(&self.hold.key);
        // As `HeldLeases::due` has it.
        let due =
            between.map(|(_, until)| (until + rules.margin()).saturating_sub(rules.failover) + rules.renew_interval());
        due.unwrap_or_default().saturating_sub(clock::now())
    }

    async fn renew(&mut self) -> Fate {
        let desk = Arc::clone(&self.desk);
        let turn = desk.renewals.acquire().await;
        match self.try_change(&Change::Renew).await {
            Ok(Ownership::Kept | Ownership::Again) => Fate::Kept,
            Ok(Ownership::Ended | Ownership::Lost | Ownership::Stale) => Fate::Over,
            Err(pause) => {
                drop(turn);
                let _ = self.hold.lost.run_until_cancelled(sleep(pause)).await;
                Fate::Kept
            }
        }
    }

    /// Until it is written, or the lease is lost.
    async fn change(&mut self, change: &Change) -> Result<(), Lost> {
        loop {
            match self.try_change(change).await {
                Ok(Ownership::Kept | Ownership::Ended) => return Ok(()),
                Ok(Ownership::Again) => {}
                Ok(Ownership::Lost | Ownership::Stale) => return Err(Lost),
                Err(pause) => {
                    if self.hold.lost.run_until_cancelled(sleep(pause)).await.is_none() {
                        return Err(Lost);
                    }
                }
            }
        }
    }

    /// Sends it once; an error is how long to wait before the next time.
    async fn try_change(&mut self, change: &Change) -> Result<Ownership, Duration> {
        let shared = &self.desk.shared;
        let sent_at = clock::now();
        let update = {
            let mut state = shared.lock();
            let is_lost = self.hold.lost.is_cancelled();
            if is_lost { None } else { state.held.begin(&self.hold.key, change.clone(), sent_at) }
        };
        let Some(update) = update else { return Ok(Ownership::Stale) };
        match self.desk.table.update(&update).await {
            Ok(answer) => {
                let ownership = shared.answered(&self.hold, &update, &answer, sent_at);
                if ownership == Ownership::Lost {
                    warn!(shard_id = %self.hold.key, "the lease is lost");
                }
                Ok(ownership)
            }
            Err(error) => {
                warn!(shard_id = %self.hold.key, %error, "the lease table does not answer");
                let mut state = shared.lock();
                if !self.hold.lost.is_cancelled() {
                    state.held.unanswered(&update);
                }
                Err(self.desk.pause())
            }
        }
    }

    /// Tries for as long as others would wait for the lease to expire.
    async fn release(&mut self) -> Result<(), Lost> {
        let began_at = clock::now();
        let update = {
            let mut state = self.desk.shared.lock();
            state.give_up(&self.hold);
            let is_lost = self.hold.lost.is_cancelled();
            if is_lost { None } else { state.held.release(&self.hold.key, began_at) }
        };
        let Some(mut update) = update else { return Err(Lost) };
        let released = loop {
            match self.desk.table.update(&update).await {
                Ok(Answer::Written(_)) => break Ok(()),
                // A write of its own that it has not heard of.
                Ok(Answer::Refused(Some(row))) if row.is_owned_by(&update.worker) && row.counter > update.counter => {
                    update = Update { counter: row.counter, ..update };
                }
                // The answer to the release itself may have been lost.
                Ok(Answer::Refused(Some(row))) if row.owner.is_none() => break Ok(()),
                Ok(Answer::Refused(_)) => break Err(Lost),
                Err(error) if clock::now().saturating_sub(began_at) > self.desk.config.rules.failover => {
                    warn!(shard_id = %self.hold.key, %error, "the lease could not be released, and expires");
                    break Ok(());
                }
                Err(error) => {
                    debug!(shard_id = %self.hold.key, %error, "the lease is not released yet");
                    sleep(self.desk.pause()).await;
                }
            }
        };
        self.desk.shared.lock().forget(&self.hold);
        released
    }
}

/// A keeper that ends keeps nothing, however it ends.
impl<T, S> Drop for Keeper<T, S> {
    fn drop(&mut self) {
        self.desk.shared.lock().lose(&self.hold);
    }
}

impl<T, S> Desk<T, S> {
    /// After a call that was not answered. Its own tries have taken their time already.
    pub(super) fn pause(&self) -> Duration {
        let delay_max = Some(self.config.rules.renew_interval() / 4);
        Backoff::new(RetryLimits { delay_max, ..RetryLimits::default() }).delay(ErrorClass::Transient, random())
    }
}
