//! Since when listings lack a shard.
//!
//! A listing may be behind by up to a known time, and not equally for every shard. So a shard that was there at the time of one
//! listing is in each that is asked for later than that by the whole lag: if that one lacks it, too, it has expired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Absences {
    lag_max: Duration,
    listed_at: Duration,
    since: BTreeMap<String, Duration>,
}

impl Absences {
    pub fn new(lag_max: Duration) -> Self {
        Self { lag_max, listed_at: Duration::ZERO, since: BTreeMap::new() }
    }

    /// Of the `doubtful` shards those that are not `listed` are absent, now or still. No other one counts as absent.
    pub fn listed(&mut self, doubtful: Vec<String>, listed: &BTreeSet<&str>, at: Duration) {
        let before = std::mem::take(&mut self.since);
        let absent = doubtful.into_iter().filter(|id| !listed.contains(id.as_str()));
        self.since = absent.map(|id| (before.get(&id).copied().unwrap_or(at), id)).map(|(at, id)| (id, at)).collect();
        self.listed_at = at;
    }

    /// Whether the shard has expired.
    pub fn is_gone(&self, id: &str) -> bool {
        self.since.get(id).is_some_and(|&since| self.listed_at.saturating_sub(since) > self.lag_max)
    }
}
