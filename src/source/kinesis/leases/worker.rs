//! A worker of a fleet, beside real time: it does what [`view`](super::view), [`taker`](super::taker), [`held`](super::held) and
//! [`sync`](super::sync) decide.
//!
//! One task scans the table and takes leases, cycle after cycle ([`taking`]), and sees to it that there is a lease for each shard
//! ([`upkeep`]). Each lease that is held has a task of its own that renews it and writes what is asked of its [`ShardLease`]
//! ([`keeper`]), one after the other, because each write's counter follows from the answer to the one before.
//!
//! ```text
//! taken ──▶ kept, not told ──parents at SHARD_END or gone──▶ Event::Held ──▶ ended, released
//!                 └───────────────── found lost ───────────────────┴──▶ Event::Lost
//! ```
//!
//! A table that does not answer makes leases uncertain, not lost: only the table itself says that one is somebody else's.

mod keeper;
mod shard_lease;
mod state;
mod stream_shards;
mod taking;
mod upkeep;

use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use shard_lease::{Lost, ShardLease};
pub use stream_shards::StreamShards;

use super::lease::{Checkpoint, Lease};
use super::operation::LeaseTable;
use super::rules::Rules;
use super::sync::ListedShard;
use state::Shared;
use taking::Taking;

/// So many renewals are under way at once, as with the KCL.
const RENEWALS_AT_ONCE: usize = 20;

/// What a worker tells of its leases. Of one lease `Held` and `Lost` come in turn.
#[derive(Debug)]
pub enum Event {
    /// The worker has the lease, and all that comes before the shard has been worked on.
    Held(HeldLease),
    /// A lease that was told is somebody else's, or is not there any more. Not told of what was released, and of a shard's end.
    Lost(Arc<str>),
}

/// A lease that this worker has.
#[derive(Debug)]
pub struct HeldLease {
    /// The row: its checkpoint, what is pending and has to be finished first, parents and hash keys.
    pub lease: Lease,
    pub handle: ShardLease,
}

/// Lists the shards of the stream. A list is whole, or it is an error.
pub trait ListShards {
    type Error;

    /// Those that were open at the initial position.
    fn at_initial(&self) -> impl Future<Output = Result<Vec<ListedShard>, Self::Error>> + Send;

    /// All that can be read.
    fn all(&self) -> impl Future<Output = Result<Vec<ListedShard>, Self::Error>> + Send;
}

/// What a worker needs, beside its table.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its own, of all workers at all times but those that are the same worker started again.
    pub id: Arc<str>,
    pub rules: Rules,
    /// The checkpoint of a new lease without ancestors: one of the sentinels.
    pub initial: Checkpoint,
}

/// Starts workers.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts to take and to renew leases. The events wait until they are heard: there are as many as leases come and go.
    pub fn start<T, S>(table: T, shards: S, config: WorkerConfig) -> (WorkerHandle, mpsc::UnboundedReceiver<Event>)
    where
        T: LeaseTable<Error: Display + Send> + Send + Sync + 'static,
        S: ListShards<Error: Display + Send> + Send + Sync + 'static,
    {
        let (events, heard) = mpsc::unbounded_channel();
        let (stop_taking, abandoned) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let desk = Arc::new(Desk {
            table,
            shards,
            shared: Arc::new(Shared::new(&config, events)),
            config,
            renewals: Semaphore::new(RENEWALS_AT_ONCE),
            stop_taking: stop_taking.clone(),
            abandoned: abandoned.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(abandoned.clone().run_until_cancelled_owned(Taking::new(desk).run()));
        (WorkerHandle { stop_taking, _abandon: abandoned.drop_guard(), tasks }, heard)
    }
}

/// A running worker. Dropped, it makes no more calls: all its leases are lost for their handles, and expire for others.
#[derive(Debug)]
pub struct WorkerHandle {
    stop_taking: CancellationToken,
    _abandon: DropGuard,
    tasks: TaskTracker,
}

impl WorkerHandle {
    /// No lease is taken any more. Those that are held are renewed until they are released.
    pub fn stop_taking(&self) {
        self.stop_taking.cancel();
    }

    /// Stops taking, and waits until every lease is released, ended or lost.
    pub async fn ended(&self) {
        self.stop_taking();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What the tasks of a worker work with.
#[derive(Debug)]
struct Desk<T, S> {
    table: T,
    shards: S,
    config: WorkerConfig,
    shared: Arc<Shared>,
    renewals: Semaphore,
    stop_taking: CancellationToken,
    abandoned: CancellationToken,
    tasks: TaskTracker,
}
