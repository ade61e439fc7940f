//! A fleet of workers on a table in memory, in a time of its own: what the property test and the bench run.
//!
//! Between a worker and the table requests and answers take their time, may be lost, and may come late. Workers are started,
//! stopped, and paused; their clocks differ.

pub mod table;
pub mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use table::MemoryTable;
use worker::{Clock, Request, Response, Worker};

use super::lease::{Checkpoint, Lease};
use super::operation::{Answer, Change};
use super::rules::Rules;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, min: Duration, max: Duration) -> Duration {
        min + (max - min).mul_f64(self.fraction())
    }
}

/// What lies between workers and table.
#[derive(Debug, Clone)]
pub struct Network {
    pub latency_min: Duration,
    pub latency_max: Duration,
    /// Of requests, and of answers.
    pub lost: f64,
    /// Of requests, that come to the table up to so much later.
    pub late: f64,
    pub late_max: Duration,
    /// When a worker gives an answer up.
    pub timeout: Duration,
    pub rows_per_page: usize,
}

/// Requests that the table has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    pub scans: u64,
    pub rows_scanned: u64,
    pub takes: u64,
    pub takes_refused: u64,
    pub updates: u64,
}

#[derive(Debug)]
enum Event {
    Renew,
    Take,
    Arrive(Request, Duration),
    Hear(Request, Response, Duration),
}

/// The life and the place of a worker, and what happens to it.
struct Scheduled {
    at: Duration,
    order: u64,
    place: usize,
    life: u64,
    event: Event,
}

struct Place {
    worker: Option<Worker>,
    life: u64,
    paused_until: Duration,
}

pub struct Fleet {
    pub now: Duration,
    pub table: MemoryTable,
    pub network: Network,
    pub requests: Requests,
    rules: Rules,
    random: Random,
    places: Vec<Place>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
}

impl Fleet {
    pub fn new(rules: Rules, network: Network, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            table: MemoryTable::default(),
            network,
            requests: Requests::default(),
            rules,
            random: Random(seed),
            places: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
        }
    }

    pub fn create_leases(&mut self, keys: impl Iterator<Item = String>) {
        for key in keys {
            self.table.create(Lease::new(&key, Checkpoint::TrimHorizon));
        }
    }

    /// Starts a worker and gives its place.
    pub fn start(&mut self, id: &str, clock: Clock) -> usize {
        self.places.push(Place { worker: None, life: 0, paused_until: Duration::ZERO });
        let place = self.places.len() - 1;
        self.start_again(place, id, clock);
        place
    }

    pub fn start_again(&mut self, place: usize, id: &str, clock: Clock) {
        self.stop(place);
        let worker = Worker::new(Arc::from(id), clock, self.rules.clone());
        (self.places[place].worker, self.places[place].paused_until) = (Some(worker), Duration::ZERO);
        self.wake(place, self.rules.renew_interval() / 10, Event::Renew);
        let first_take = self.rules.first_take(self.random.fraction());
        self.wake(place, first_take, Event::Take);
    }

    /// As by SIGKILL: what is under way arrives.
    pub fn stop(&mut self, place: usize) {
        self.places[place].worker = None;
        self.places[place].life += 1;
    }

    /// As by SIGSTOP.
    pub fn pause(&mut self, place: usize, pause: Duration) {
        self.places[place].paused_until = self.now + pause;
    }

    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.places.iter().filter_map(|place| place.worker.as_ref())
    }

    /// Those that are certain of the lease at this moment.
    pub fn certain_of(&self, key: &str) -> Vec<&str> {
        let is_certain = |worker: &&Worker| worker.held.is_certain(key, worker.clock.at(self.now));
        self.workers().filter(is_certain).map(|worker| &*worker.id).collect()
    }

    /// The worker in this place writes the end of a shard that it is certain of, behind leases for those that go on.
    pub fn end_shard(&mut self, place: usize, key: &str, children: &[String]) {
        let (now, children) = (self.now, children.iter().cloned().collect());
        let Some(worker) = &mut self.places[place].worker else { return };
        let at = worker.clock.at(now);
        if !worker.held.is_certain(key, at) {
            return;
        }
        let change = Change::Settle { checkpoint: Checkpoint::ShardEnd, children };
        let Some(update) = worker.held.begin(key, change.clone(), at) else { return };
        if let Change::Settle { children, .. } = change {
            self.create_leases(children.into_iter());
        }
        self.send(place, Request::Update(update));
    }

    /// Gives a lease up, as at shutdown.
    pub fn release(&mut self, place: usize, key: &str) {
        let now = self.now;
        let Some(worker) = &mut self.places[place].worker else { return };
        let at = worker.clock.at(now);
        if let Some(update) = worker.held.release(key, at) {
            self.send(place, Request::Update(update));
        }
    }

    /// Lets happen what is due until then, one by one, and looks at each.
    pub fn run_until<E>(&mut self, end: Duration, mut look: impl FnMut(&Self) -> Result<(), E>) -> Result<(), E> {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= end) {
            if let Some(Reverse(next)) = self.queue.pop() {
                self.now = next.at;
                self.happen(next);
                look(self)?;
            }
        }
        self.now = end;
        look(self)
    }

    fn happen(&mut self, next: Scheduled) {
        let Scheduled { place, life, event, .. } = next;
        if let Event::Arrive(request, sent) = event {
            return self.arrive(place, life, request, sent);
        }
        let paused_until = self.places[place].paused_until;
        if life != self.places[place].life {
            return;
        }
        if self.now < paused_until {
            return self.schedule(paused_until, place, life, event);
        }
        let (now, random) = (self.now, &mut self.random);
        let Some(worker) = &mut self.places[place].worker else { return };
        let requests = match event {
            Event::Renew => {
                let requests = worker.renew(now);
                self.wake(place, self.rules.renew_interval() / 10, Event::Renew);
                requests
            }
            Event::Take => {
                let requests = worker.take();
                let interval = self.rules.take_interval(random.fraction());
                self.wake(place, interval, Event::Take);
                requests
            }
            Event::Hear(request, response, sent) => worker.hear(request, response, sent, now, random),
            Event::Arrive(..) => Vec::new(),
        };
        for request in requests {
            self.send(place, request);
        }
    }

    fn wake(&mut self, place: usize, after: Duration, event: Event) {
        self.schedule(self.now + after, place, self.places[place].life, event);
    }

    fn send(&mut self, place: usize, request: Request) {
        let life = self.places[place].life;
        let mut latency = self.random.between(self.network.latency_min, self.network.latency_max);
        if self.random.fraction() < self.network.late {
            latency = self.random.between(latency, self.network.late_max);
        }
        let is_lost = self.random.fraction() < self.network.lost;
        if is_lost || latency > self.network.timeout {
            let timeout = self.now + self.network.timeout;
            self.schedule(timeout, place, life, Event::Hear(request.clone(), Response::Nothing, self.now));
        }
        if !is_lost {
            self.schedule(self.now + latency, place, life, Event::Arrive(request, self.now));
        }
    }

    fn arrive(&mut self, place: usize, life: u64, request: Request, sent: Duration) {
        let response = self.respond(&request);
        let given_up = sent + self.network.timeout;
        if given_up < self.now {
            return;
        }
        let latency = self.random.between(self.network.latency_min, self.network.latency_max);
        let is_lost = self.random.fraction() < self.network.lost || self.now + latency > given_up;
        let (at, response) = if is_lost { (given_up, Response::Nothing) } else { (self.now + latency, response) };
        self.schedule(at, place, life, Event::Hear(request, response, sent));
    }

    fn respond(&mut self, request: &Request) -> Response {
        match request {
            Request::Scan { rows } => {
                let behind = rows.last().map(|lease| &lease.key);
                let rows_max = self.network.rows_per_page;
                let rows: Vec<Lease> = self.table.page(behind, rows_max).cloned().collect();
                self.requests.scans += 1;
                self.requests.rows_scanned += rows.len() as u64;
                let is_last = rows.len() < rows_max;
                Response::Page { rows, is_last }
            }
            Request::Take(take) => {
                let answer = self.table.update(&take.update);
                self.requests.takes += 1;
                self.requests.takes_refused += u64::from(matches!(answer, Answer::Refused(_)));
                Response::Answer(answer)
            }
            Request::Update(update) => {
                self.requests.updates += 1;
                Response::Answer(self.table.update(update))
            }
        }
    }

    fn schedule(&mut self, at: Duration, place: usize, life: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, place, life, event }));
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests;
