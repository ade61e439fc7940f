//! Which leases there should be: the shards of the stream compared with the table.
//!
//! Invariant: a shard gets a lease only when all that comes before it has one, had one, or is not to be read. A shard that goes on
//! where another ends gets its lease at that shard's end, so that the lineage is followed from its oldest lease.

use std::collections::{BTreeMap, BTreeSet};

use super::lease::{Checkpoint, Lease};
use crate::sequence_number::SequenceNumber;
use crate::source::kinesis::page::{ChildShard, HashKeyRange};

/// A shard as the stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedShard {
    pub id: String,
    /// None, one of a split, two of a merge. They may have expired, and are not listed then.
    pub parents: Vec<String>,
    pub hash_keys: HashKeyRange,
    pub starting: SequenceNumber,
    pub is_open: bool,
}

impl ListedShard {
    fn lease(&self, checkpoint: Checkpoint) -> Lease {
        let parents = self.parents.iter().cloned().collect();
        Lease { parents, hash_keys: Some(self.hash_keys), ..Lease::new(&self.id, checkpoint) }
    }
}

/// The leases of an empty table: one for each shard that was open at the initial position. `None` if the shards do not cover all
/// hash keys, as while a stream is resharded: list them again.
pub fn first_leases(shards: &[ListedShard], initial: Checkpoint) -> Option<Vec<Lease>> {
    covers_all(shards).then(|| by_age(shards).into_iter().map(|shard| shard.lease(initial)).collect())
}

/// The leases that a table lacks which is not empty, the oldest shard's first: to be created in this order, so that half of them
/// leave a table from which the rest follows.
///
/// What begins at a leased shard's end waits for it. A shard without leased ancestors begins at the initial position: the open one
/// with `LATEST`, else the oldest that is listed. Where a merge has such a parent beside a leased one, that parent is read, too.
pub fn missing_leases(shards: &[ListedShard], leases: &BTreeSet<&str>, initial: Checkpoint) -> Vec<Lease> {
    let listed: BTreeMap<&str, &ListedShard> = shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
    let parents = |shard: &ListedShard| -> Vec<&ListedShard> {
        shard.parents.iter().filter_map(|id| listed.get(id.as_str()).copied()).collect()
    };
    let by_age = by_age(shards);
    let reads_ancestors = initial != Checkpoint::Latest;
    // Those that are leased, or are reached from what is leased or will be.
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    for shard in &by_age {
        let follows = parents(shard).into_iter().any(|parent| reads_ancestors || covered.contains(parent.id.as_str()));
        if follows || leases.contains(shard.id.as_str()) {
            covered.insert(&shard.id);
        }
    }
    let (mut missing, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for shard in by_age.iter().rev() {
        // A child of an open shard is the listing's fault: its pages are not of one moment.
        let is_tip = shard.is_open && !parents(shard).iter().any(|parent| parent.is_open);
        if leases.contains(shard.id.as_str()) || !(is_tip || wanted.contains(shard.id.as_str())) {
            continue;
        }
        if !covered.contains(shard.id.as_str()) {
            missing.insert(shard.id.as_str());
            continue;
        }
        for parent in parents(shard) {
            wanted.insert(parent.id.as_str());
        }
    }
    by_age.into_iter().filter(|shard| missing.contains(shard.id.as_str())).map(|shard| shard.lease(initial)).collect()
}

/// The leases of those that go on where a shard has ended, to be created before its end is written. `None` if a merge's other
/// parent should have a lease and has none: it would be overtaken, so it is waited for.
pub fn child_leases(
    children: &[ChildShard],
    has_lease: impl Fn(&str) -> bool,
    is_listed: impl Fn(&str) -> bool,
) -> Option<Vec<Lease>> {
    let lacks_parent = |child: &ChildShard| {
        child.parents.iter().any(|parent| has_lease(parent))
            && child.parents.iter().any(|parent| !has_lease(parent) && is_listed(parent))
    };
    if children.iter().any(lacks_parent) {
        return None;
    }
    let lease = |child: &ChildShard| {
        let parents = child.parents.iter().cloned().collect();
        Lease { parents, hash_keys: Some(child.hash_keys), ..Lease::new(&child.id, Checkpoint::TrimHorizon) }
    };
    Some(children.iter().filter(|child| !has_lease(&child.id)).map(lease).collect())
}

/// The leases that nobody needs: of shards that have ended, whose children have begun and whose parents have gone before; and of
/// ended ones that are not listed any more.
pub fn finished_leases<'a>(leases: &'a [Lease], is_listed: impl Fn(&str) -> bool) -> Vec<&'a Lease> {
    let by_key: BTreeMap<&str, &Lease> = leases.iter().map(|lease| (&*lease.key, lease)).collect();
    let has_begun = |child: &String| by_key.get(child.as_str()).is_some_and(|lease| !lease.checkpoint.is_initial());
    let is_finished = |lease: &&Lease| {
        let is_succeeded = !lease.children.is_empty() && lease.children.iter().all(has_begun);
        let is_oldest = lease.parents.iter().all(|parent| !by_key.contains_key(parent.as_str()));
        lease.checkpoint == Checkpoint::ShardEnd && (is_succeeded && is_oldest || !is_listed(&lease.key))
    };
    leases.iter().filter(is_finished).collect()
}

/// Whether each hash key has one shard.
fn covers_all(shards: &[ListedShard]) -> bool {
    let mut ranges: Vec<HashKeyRange> = shards.iter().map(|shard| shard.hash_keys).collect();
    ranges.sort_by_key(|range| range.start);
    let joins = ranges.windows(2).all(|pair| pair[0].end.checked_add(1) == Some(pair[1].start));
    joins
        && ranges.first().is_some_and(|range| range.start == HashKeyRange::ALL.start)
        && ranges.last().is_some_and(|range| range.end == HashKeyRange::ALL.end)
}

/// Parents come before their children.
fn by_age(shards: &[ListedShard]) -> Vec<&ListedShard> {
    let mut by_age: Vec<&ListedShard> = shards.iter().collect();
    by_age.sort_by(|one, other| (one.starting, &one.id).cmp(&(other.starting, &other.id)));
    by_age
}

#[cfg(test)]
mod tests;
