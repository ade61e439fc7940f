//! Which node of a cluster is asked next.
//!
//! Always true: there is one, however many have failed; one that has failed is left alone for a while, longer with each failure, as
//! long as another one lives.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Nodes {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: usize,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    failures: u32,
    /// Left alone until then.
    until: Option<Instant>,
}

impl Node {
    fn lives(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

impl Nodes {
    pub fn new(nodes: usize) -> Self {
        Self { state: Mutex::new(State { next: 0, nodes: vec![Node::default(); nodes] }) }
    }

    /// The next one in turn that lives and has not been tried. Where none lives, the one that is left alone for the shortest time,
    /// unless something was tried.
    pub fn pick(&self, tried: &[usize], now: Instant) -> Option<usize> {
        let mut state = self.state();
        let nodes = state.nodes.len();
        let mut in_turn = (0..nodes).map(|step| (state.next + step) % nodes);
        let living = in_turn.find(|node| !tried.contains(node) && state.nodes[*node].lives(now));
        let picked = living.or_else(|| {
            let dead = (0..nodes).filter(|_| tried.is_empty());
            dead.min_by_key(|node| state.nodes[*node].until)
        })?;
        state.next = (picked + 1) % nodes;
        Some(picked)
    }

    pub fn succeeded(&self, node: usize) {
        if let Some(node) = self.state().nodes.get_mut(node) {
            *node = Node::default();
        }
    }

    /// How long it is left alone.
    pub fn failed(&self, node: usize, now: Instant) -> Duration {
        let mut state = self.state();
        let Some(node) = state.nodes.get_mut(node) else { return Duration::ZERO };
        let pause = PAUSE_MIN.saturating_mul(1 << node.failures.min(16)).min(PAUSE_MAX);
        node.failures = node.failures.saturating_add(1);
        node.until = now.checked_add(pause);
        pause
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers that are changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_take_turns_and_dead_ones_are_left_alone() {
        let (nodes, now) = (Nodes::new(3), Instant::now());
        let picked: Vec<_> = (0..4).map(|_| nodes.pick(&[], now).unwrap()).collect();
        assert_eq!(picked, [0, 1, 2, 0]);
        assert_eq!(nodes.failed(1, now), PAUSE_MIN);
        let picked: Vec<_> = (0..3).map(|_| nodes.pick(&[], now).unwrap()).collect();
        assert_eq!(picked, [2, 0, 2]);
        assert_eq!(nodes.pick(&[0, 2], now), None, "nobody else lives");
        let later = now + PAUSE_MIN;
        assert_eq!([nodes.pick(&[], later), nodes.pick(&[], later)], [Some(0), Some(1)], "tried again");
        assert_eq!(nodes.failed(1, later), PAUSE_MIN * 2);
        nodes.succeeded(1);
        assert_eq!(nodes.failed(1, later), PAUSE_MIN);
    }

    #[test]
    fn where_all_are_dead_the_one_is_tried_that_may_come_back_first() {
        let (nodes, now) = (Nodes::new(2), Instant::now());
        nodes.failed(0, now);
        nodes.failed(0, now);
        nodes.failed(1, now);
        assert_eq!(nodes.pick(&[], now), Some(1));
        assert_eq!(nodes.pick(&[1], now), None, "one is enough for an attempt");
        let longest = (0..40).map(|_| nodes.failed(1, now)).max();
        assert_eq!(longest, Some(PAUSE_MAX));
        assert_eq!(nodes.pick(&[], now), Some(0));
    }
}
