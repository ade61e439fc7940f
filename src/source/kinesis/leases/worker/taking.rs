//! The task that scans the table and takes leases, cycle after cycle.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::keeper::Keeper;
use super::shard_lease::ShardLease;
use super::state::Hold;
use super::{Desk, ListShards};
use crate::destination::retry::random;
use crate::source::kinesis::leases::clock;
use crate::source::kinesis::leases::lease::Lease;
use crate::source::kinesis::leases::operation::{Answer, LeaseTable};
use crate::source::kinesis::leases::taker::{Take, TakeCycle};

/// Between two comparisons of the table with the stream's shards: the KCL's.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// Requests of one lease that wait for its keeper.
const REQUESTS_MAX: usize = 8;

pub struct Taking<T, S> {
    desk: Arc<Desk<T, S>>,
    /// When shards are listed next.
    sync_at: Duration,
}

impl<T, S> Taking<T, S>
where
    T: LeaseTable<Error: Display + Send> + Send + Sync + 'static,
    S: ListShards<Error: Display + Send> + Send + Sync + 'static,
{
    pub fn new(desk: Arc<Desk<T, S>>) -> Self {
        Self { desk, sync_at: Duration::ZERO }
    }

    /// Until no more is to be taken.
    pub async fn run(mut self) {
        let stop_taking = self.desk.stop_taking.clone();
        let first = self.desk.config.rules.first_take(random());
        if stop_taking.run_until_cancelled(sleep(first)).await.is_some() {
            while !stop_taking.is_cancelled() {
                let cycle_at = clock::now();
                let is_done = self.cycle(cycle_at).await;
                if stop_taking.run_until_cancelled(self.rest(cycle_at, is_done)).await.is_none() {
                    break;
                }
            }
        }
        self.desk.shared.lock().drop_untold();
    }

    /// Whether the table has answered.
    async fn cycle(&mut self, now: Duration) -> bool {
        let Some(mut leases) = self.scan().await else { return false };
        if leases.is_empty() || self.sync_at <= now {
            match self.desk.synchronize(&leases).await {
                Ok(is_created) => {
                    self.sync_at = now + SYNC_INTERVAL;
                    if is_created {
                        leases = self.scan().await.unwrap_or(leases);
                    }
                }
                Err(error) => warn!(error, "the leases could not be compared with the stream's shards"),
            }
        }
        self.take().await;
        !leases.is_empty()
    }

    async fn scan(&self) -> Option<Vec<Lease>> {
        match self.desk.stop_taking.run_until_cancelled(self.desk.table.scan()).await? {
            Ok(leases) => {
                let mut state = self.desk.shared.lock();
                state.view.scanned(&leases, clock::now());
                state.tell_ready();
                Some(leases)
            }
            Err(error) => {
                warn!(%error, "the lease table could not be scanned");
                None
            }
        }
    }

    async fn take(&self) {
        let config = &self.desk.config;
        let mut cycle = TakeCycle::new(Arc::clone(&config.id), config.rules.clone());
        while !self.desk.stop_taking.is_cancelled() {
            let takes = {
                let state = self.desk.shared.lock();
                // What is being released must not be taken back before it is.
                cycle.next(&state.view, |key| state.is_kept(key), clock::now(), &mut random_bits)
            };
            if takes.is_empty() {
                return;
            }
            let mut asked = JoinSet::new();
            for take in takes {
                asked.spawn(ask(Arc::clone(&self.desk), take));
            }
            while let Some(asked) = asked.join_next().await {
                // A panic of the table's client: as if it had not answered.
                let Ok((take, answer, sent_at)) = asked else { continue };
                self.took(&mut cycle, take, answer, sent_at);
            }
        }
    }

    fn took(&self, cycle: &mut TakeCycle, take: Take, answer: Option<Answer>, sent_at: Duration) {
        let (certain_from, stolen_from) = (take.certain_from, take.stolen_from.clone());
        let mut state = self.desk.shared.lock();
        let Some(lease) = cycle.answered(take, answer, &mut state.view, clock::now()) else { return };
        info!(shard_id = %lease.key, checkpoint = %lease.checkpoint, ?stolen_from, "a lease is taken");
        let hold = Hold::new(Arc::clone(&lease.key));
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let handle = ShardLease::new(hold.clone(), Arc::clone(&self.desk.shared), requests);
        state.keep(lease, sent_at, certain_from, handle);
        // What was under way when taking was stopped is given up again.
        if !self.desk.stop_taking.is_cancelled() {
            state.tell_ready();
        }
        drop(state);
        self.desk.tasks.spawn(Keeper::new(Arc::clone(&self.desk), hold, asked).run());
    }

    /// Until the next cycle, which begins at once where a shard has ended. Leases that wait for their parents look for them more
    /// often than that.
    async fn rest(&self, cycle_at: Duration, is_done: bool) {
        let rules = &self.desk.config.rules;
        // A table that is away, or has no leases yet, is looked at sooner.
        let interval = if is_done { rules.take_interval(random()) } else { rules.renew_interval() };
        let next_at = cycle_at + interval;
        loop {
            let left = next_at.saturating_sub(clock::now());
            let has_untold = self.desk.shared.lock().has_untold();
            let polls = has_untold && self.desk.poll_interval() < left;
            let nap = if polls { self.desk.poll_interval() } else { left };
            tokio::select! {
                () = self.desk.shared.ended.notified() => {
                    debug!("a shard has ended: its children may be taken");
                    self.desk.shared.lock().tell_ready();
                    return;
                }
                () = sleep(nap) => {}
            }
            if !polls {
                return;
            }
            self.scan().await;
        }
    }
}

async fn ask<T: LeaseTable<Error: Display>, S>(desk: Arc<Desk<T, S>>, take: Take) -> (Take, Option<Answer>, Duration) {
    let sent_at = clock::now();
    match desk.table.update(&take.update).await {
        Ok(answer) => (take, Some(answer), sent_at),
        Err(error) => {
            warn!(shard_id = %take.update.key, %error, "whether the lease is taken is not known");
            (take, None, sent_at)
        }
    }
}

fn random_bits() -> u64 {
    RandomState::new().hash_one(())
}
