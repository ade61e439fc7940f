//! Workers of a fleet in this process, each on a thread of its own, so that one can be stopped in the middle of everything.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hydrant::source::kinesis::leases::lease::{Checkpoint, Lease};
use hydrant::source::kinesis::leases::operation::{Answer, LeaseTable, Update};
use hydrant::source::kinesis::leases::rules::Rules;
use hydrant::source::kinesis::leases::simulation::Random;
use hydrant::source::kinesis::leases::simulation::table::MemoryTable;
use hydrant::source::kinesis::leases::sync::ListedShard;
use hydrant::source::kinesis::leases::worker::{
    Event, HeldLease, ListShards, ShardLease, Worker, WorkerConfig, WorkerHandle,
};
use hydrant::source::kinesis::page::HashKeyRange;
use tokio::runtime::{Builder, Runtime};

/// A stream's shards, as they are at the moment.
#[derive(Clone)]
pub struct Shards(pub Arc<Mutex<Vec<ListedShard>>>);

impl Shards {
    /// So many open ones, which divide all hash keys.
    pub fn open(count: u128) -> Self {
        let width = u128::MAX / count;
        let shard = |number: u128| {
            let end = if number + 1 == count { u128::MAX } else { (number + 1) * width - 1 };
            listed(&format!("shardId-{number:012}"), &[], HashKeyRange { start: number * width, end })
        };
        Self(Arc::new(Mutex::new((0..count).map(shard).collect())))
    }
}

pub fn listed(id: &str, parents: &[&str], hash_keys: HashKeyRange) -> ListedShard {
    let parents: Vec<_> = parents.iter().map(|&parent| parent.to_owned()).collect();
    let starting = (1 + parents.len()).to_string().parse().unwrap();
    ListedShard { id: id.to_owned(), parents, hash_keys, starting, is_open: true }
}

impl ListShards for Shards {
    type Error = String;

    async fn at_initial(&self) -> Result<Vec<ListedShard>, String> {
        self.all().await
    }

    async fn all(&self) -> Result<Vec<ListedShard>, String> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A table in memory that loses some requests, and the answers to others.
#[derive(Clone)]
pub struct FaultyTable(Arc<Faulty>);

struct Faulty {
    table: Mutex<MemoryTable>,
    random: Mutex<Random>,
    /// Of a hundred requests, and of a hundred answers.
    lost: AtomicU64,
    is_away: AtomicBool,
}

impl FaultyTable {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let (table, random) = (Mutex::default(), Mutex::new(Random(seed)));
        Self(Arc::new(Faulty { table, random, lost: AtomicU64::new(0), is_away: AtomicBool::new(false) }))
    }

    pub fn lose(&self, percent: u64) {
        self.0.lost.store(percent, Ordering::Relaxed);
    }

    pub fn set_away(&self, is_away: bool) {
        self.0.is_away.store(is_away, Ordering::Relaxed);
    }

    pub fn row(&self, key: &str) -> Option<Lease> {
        self.0.table.lock().unwrap().get(key).cloned()
    }

    fn pass(&self) -> Result<(), String> {
        let is_lost = self.0.random.lock().unwrap().next() % 100 < self.0.lost.load(Ordering::Relaxed);
        if is_lost || self.0.is_away.load(Ordering::Relaxed) { Err(String::from("lost")) } else { Ok(()) }
    }
}

impl LeaseTable for FaultyTable {
    type Error = String;

    async fn scan(&self) -> Result<Vec<Lease>, String> {
        self.pass()?;
        self.0.table.scan().await.map_err(|never| match never {})
    }

    async fn create(&self, lease: &Lease) -> Result<bool, String> {
        self.pass()?;
        let Ok(is_new) = self.0.table.create(lease).await;
        self.pass().map(|()| is_new)
    }

    async fn update(&self, update: &Update) -> Result<Answer, String> {
        self.pass()?;
        let Ok(answer) = LeaseTable::update(&self.0.table, update).await;
        self.pass().map(|()| answer)
    }

    async fn delete_ended(&self, key: &str) -> Result<(), String> {
        self.pass()?;
        let Ok(()) = LeaseTable::delete_ended(&self.0.table, key).await;
        self.pass()
    }
}

/// A worker, and whoever works on what it is told.
pub struct Node {
    worker: Option<WorkerHandle>,
    told: Arc<Mutex<BTreeMap<String, HeldLease>>>,
    frozen: Option<mpsc::Sender<()>>,
    runtime: Runtime,
}

impl Node {
    pub fn start<T>(id: &str, failover: Duration, table: T, shards: &Shards) -> Self
    where
        T: LeaseTable<Error: Display + Send> + Send + Sync + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let rules = Rules { failover, ..Rules::default() };
        let config = WorkerConfig { id: id.into(), rules, initial: Checkpoint::TrimHorizon };
        let entered = runtime.enter();
        let (worker, mut events) = Worker::start(table, shards.clone(), config);
        drop(entered);
        let told = Arc::<Mutex<BTreeMap<String, HeldLease>>>::default();
        let telling = Arc::clone(&told);
        runtime.spawn(async move {
            while let Some(event) = events.recv().await {
                let mut told = telling.lock().unwrap();
                match event {
                    Event::Held(held) => {
                        let former = told.insert(held.lease.key.to_string(), held);
                        assert!(former.is_none_or(|former| former.handle.is_lost()));
                    }
                    Event::Lost(key) => {
                        let lost = told.remove(&*key).expect("what is lost was told");
                        assert!(lost.handle.is_lost());
                    }
                }
            }
        });
        Self { worker: Some(worker), told, frozen: None, runtime }
    }

    /// As it stands with whoever works on them.
    pub fn leases(&self) -> Vec<ShardLease> {
        self.told.lock().unwrap().values().map(|held| held.handle.clone()).collect()
    }

    pub fn held(&self, key: &str) -> Option<(Lease, ShardLease)> {
        let told = self.told.lock().unwrap();
        told.get(key).map(|held| (held.lease.clone(), held.handle.clone()))
    }

    /// Forgets a lease that was released or has ended.
    pub fn forget(&self, key: &str) {
        drop(self.told.lock().unwrap().remove(key));
    }

    pub fn block_on<O>(&self, future: impl Future<Output = O>) -> O {
        self.runtime.block_on(future)
    }

    pub fn certain(&self) -> usize {
        self.leases().iter().filter(|lease| lease.is_certain()).count()
    }

    /// No more calls, from one moment to the next.
    pub fn kill(&mut self) {
        drop(self.worker.take());
    }

    /// Its thread does nothing, until it is thawed.
    pub fn freeze(&mut self) {
        let (thaw, thawed) = mpsc::channel::<()>();
        let (stopped, is_stopped) = mpsc::channel();
        self.runtime.spawn(async move {
            let _ = stopped.send(());
            let _ = thawed.recv();
        });
        is_stopped.recv().unwrap();
        self.frozen = Some(thaw);
    }

    pub fn thaw(&mut self) {
        drop(self.frozen.take());
    }

    /// As at shutdown: every lease is released, then the worker ends.
    pub fn stop(&self) {
        let worker = self.worker.as_ref().expect("a worker that was not killed");
        worker.stop_taking();
        let leases: Vec<_> = std::mem::take(&mut *self.told.lock().unwrap()).into_values().collect();
        self.block_on(async {
            for held in leases {
                // It may have been lost a moment ago.
                let _ = held.handle.release().await;
            }
            worker.ended().await;
        });
    }
}

/// A lease of which two are certain at the same time: there must be none.
pub fn certain_twice(nodes: &[Node]) -> Option<String> {
    let leases: Vec<ShardLease> = nodes.iter().flat_map(Node::leases).collect();
    for (place, one) in leases.iter().enumerate() {
        let others = leases[place + 1..].iter().filter(|other| other.key() == one.key());
        for other in others {
            // Who is certain of a lease before and after was so in between.
            if one.is_certain() && other.is_certain() && one.is_certain() {
                return Some(one.key().to_string());
            }
        }
    }
    None
}
