//! A worker of the simulation: what it does when it wakes and when an answer comes, with the decisions of the real one.

use std::sync::Arc;
use std::time::Duration;

use super::Random;
use crate::source::kinesis::leases::held::HeldLeases;
use crate::source::kinesis::leases::lease::Lease;
use crate::source::kinesis::leases::operation::{Answer, Change, Update};
use crate::source::kinesis::leases::rules::Rules;
use crate::source::kinesis::leases::taker::{Take, TakeCycle};
use crate::source::kinesis::leases::view::View;

/// What is sent to the table.
#[derive(Debug, Clone)]
pub enum Request {
    /// The rows behind the last of those that have come.
    Scan {
        rows: Vec<Lease>,
    },
    Take(Take),
    Update(Update),
}

/// What comes back.
#[derive(Debug, Clone)]
pub enum Response {
    Page {
        rows: Vec<Lease>,
        is_last: bool,
    },
    Answer(Answer),
    /// It took too long.
    Nothing,
}

/// A clock that began at some time and runs too fast or too slow.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub offset: Duration,
    /// Millionths, behind 1.
    pub drift: f64,
}

impl Clock {
    pub fn at(&self, now: Duration) -> Duration {
        self.offset + now.mul_f64(1.0 + self.drift / 1e6)
    }
}

#[derive(Debug)]
pub struct Worker {
    pub id: Arc<str>,
    pub clock: Clock,
    pub held: HeldLeases,
    rules: Rules,
    view: View,
    cycle: Option<TakeCycle>,
    /// Takes of the cycle whose answers have not come.
    under_way: usize,
    /// Leases it took from workers that live, over all.
    pub steals: usize,
}

impl Worker {
    pub fn new(id: Arc<str>, clock: Clock, rules: Rules) -> Self {
        let held = HeldLeases::new(Arc::clone(&id), rules.clone());
        Self { id, clock, held, rules, view: View::default(), cycle: None, under_way: 0, steals: 0 }
    }

    pub fn renew(&mut self, now: Duration) -> Vec<Request> {
        let now = self.clock.at(now);
        let due = self.held.due(now);
        due.iter().filter_map(|key| self.held.begin(key, Change::Renew, now)).map(Request::Update).collect()
    }

    /// Begins a cycle, if the last one is over.
    pub fn take(&mut self) -> Vec<Request> {
        if self.cycle.is_some() {
            return Vec::new();
        }
        self.cycle = Some(TakeCycle::new(Arc::clone(&self.id), self.rules.clone()));
        vec![Request::Scan { rows: Vec::new() }]
    }

    /// `sent` and `now` are both real times.
    pub fn hear(
        &mut self,
        request: Request,
        response: Response,
        sent: Duration,
        now: Duration,
        random: &mut Random,
    ) -> Vec<Request> {
        let (sent, now) = (self.clock.at(sent), self.clock.at(now));
        match (request, response) {
            (Request::Scan { mut rows }, Response::Page { rows: page, is_last }) => {
                rows.extend(page);
                if !is_last {
                    return vec![Request::Scan { rows }];
                }
                self.view.scanned(&rows, now);
                self.go_on(now, random)
            }
            (Request::Scan { .. }, _) => {
                self.cycle = None;
                Vec::new()
            }
            (Request::Take(take), response) => {
                self.took(take, response, sent, now);
                self.under_way -= 1;
                if self.under_way > 0 { Vec::new() } else { self.go_on(now, random) }
            }
            (Request::Update(update), Response::Answer(answer)) => {
                self.held.answered(&update, &answer, sent);
                Vec::new()
            }
            (Request::Update(update), _) => {
                self.held.unanswered(&update);
                Vec::new()
            }
        }
    }

    fn took(&mut self, take: Take, response: Response, sent: Duration, now: Duration) {
        let answer = match response {
            Response::Answer(answer) => Some(answer),
            Response::Page { .. } | Response::Nothing => None,
        };
        let (certain_from, is_steal) = (take.certain_from, take.stolen_from.is_some());
        let Some(cycle) = &mut self.cycle else { return };
        if let Some(lease) = cycle.answered(take, answer, &mut self.view, now) {
            self.held.add(lease, sent, certain_from);
            self.steals += usize::from(is_steal);
        }
    }

    fn go_on(&mut self, now: Duration, random: &mut Random) -> Vec<Request> {
        let Some(cycle) = &mut self.cycle else { return Vec::new() };
        let takes = cycle.next(&self.view, |key| self.held.holds(key), now, &mut || random.next());
        self.under_way = takes.len();
        if takes.is_empty() {
            self.cycle = None;
        }
        takes.into_iter().map(Request::Take).collect()
    }
}
