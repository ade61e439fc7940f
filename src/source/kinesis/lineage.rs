//! Which shards of a stream are known, which of them may be read now, and which are over.
//!
//! Pure: no I/O, no clock. Always true: no shard begins before every parent that there is has been read to its end and all of
//! that is settled, so that the order within a partition key is kept over a reshard; a shard is in the journal before
//! anything of it is read; what has begun once is not begun anew from its start.
//!
//! ```text
//!   listed, or named at a parent's end
//!        ▼
//!     Waiting ──parents are over──▶ Ready ──begin──▶ Reading ──read to its end──▶ Ended ──settled──▶ Finished ──▶ forgotten
//!                                     ▲               │   ▲                         ▲
//!                                     └──stopped──────┤   └──begin, if it is listed─┤
//!                                                     └──not found──▶ Missing ──────┘ not listed either: expired
//! ```
//!
//! What cannot be known, and what is done about it:
//!
//! - *When a shard was made.* No listing tells. Where reading starts at a time, so does every shard, whatever its age: one that
//!   was closed before that time has nothing to give and ends at once, and its child may be older than that time, too. Once a
//!   parent has given a record, or has itself begun at the horizon, its children are younger than that time, and begin at
//!   `TRIM_HORIZON`. Whether listings are filtered with `FROM_TIMESTAMP` changes nothing but the number of calls.
//! - *Whether a shard that is not listed has expired.* The listing may lag behind. It counts as expired when two listings lack
//!   it that are further apart than the lag may be, and none between them has it. Until then a child of an unlisted parent
//!   waits, as the child may have been listed first. If the parent comes later still, it is read all the same: then the order
//!   is broken, but nothing is lost.
//! - *Whether a shard that is listed or read has expired.* Only its reader is told: listings never end the reading of a shard,
//!   and a reader that does not find its shard ends it only together with the listings.
//!
//! The source calls this from one task. What a call returns as [`Changes`] is journalled in one transaction before the next
//! call of [`Lineage::begin`]; if that fails, this whole state is to be made anew from the journal.

mod absence;
#[cfg(test)]
mod model;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use row::{Changes, End, Row, RowState, Start};

use super::page::{ChildShard, HashKeyRange};
use absence::Absences;

/// Which shards of the stream are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Only these. Their children are not followed, and their parents not waited for unless they are named, too.
    Named(BTreeSet<String>),
}

impl Wanted {
    fn holds(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(ids) => ids.contains(id),
        }
    }
}

/// Where a shard is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A parent is not over yet.
    Waiting,
    Ready,
    Reading,
    /// Its reader does not find it, and the listings have not decided yet.
    Missing {
        gave_records: bool,
    },
    /// There is nothing more to read, but not all of it is settled.
    Ended(End),
    Finished(End),
}

/// A shard to be read from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    pub id: String,
    /// Where it begins if it has no checkpoint.
    pub start: Start,
    pub hash_keys: HashKeyRange,
}

#[derive(Debug, Clone)]
pub struct Lineage {
    wanted: Wanted,
    initial: Start,
    shards: BTreeMap<String, Shard>,
    absences: Absences,
    /// A shard has ended without a word of its children.
    wants_children: bool,
}

#[derive(Debug, Clone)]
struct Shard {
    parents: Vec<String>,
    hash_keys: HashKeyRange,
    start: Start,
    state: State,
}

impl Lineage {
    /// At the start of a life. `rows` are all of the journal; there are none at the very first start. `initial` is the initial
    /// position as it was journalled with the first rows, whatever the configuration says by now. `lag_max` is how far a
    /// listing may be behind, the time included that it takes to get one.
    pub fn new(wanted: Wanted, initial: Start, rows: Vec<Row>, lag_max: Duration) -> Self {
        let shards = rows.into_iter().map(Shard::from_row).collect();
        Self { wanted, initial, shards, absences: Absences::new(lag_max), wants_children: false }
    }

    /// All that the stream lists, every page of it, always with the same filter; `at` is when it was asked for, counted
    /// from any moment of this life.
    pub fn listed(&mut self, listing: &[ChildShard], at: Duration) -> Changes {
        let mut changes = Changes::default();
        self.wants_children = false;
        for shard in listing {
            self.register(shard.clone(), &mut changes);
        }
        let listed: BTreeSet<&str> = listing.iter().map(|shard| shard.id.as_str()).collect();
        let doubtful = self.doubtful();
        self.absences.listed(doubtful, &listed, at);
        self.find_missing(&listed, &mut changes);
        self.release(&mut changes);
        self.forget(&mut changes);
        changes
    }

    /// The shards that are to be read now, in the order of their ids, each told once. What was returned before is journalled.
    pub fn begin(&mut self) -> Vec<Begin> {
        let wanted = &self.wanted;
        let ready = self.shards.iter_mut().filter(|(id, shard)| shard.state == State::Ready && wanted.holds(id));
        ready
            .map(|(id, shard)| {
                shard.state = State::Reading;
                Begin { id: id.clone(), start: shard.start, hash_keys: shard.hash_keys }
            })
            .collect()
    }

    /// The shard's reader has given up; another one is to go on behind the last record that this one gave.
    pub fn stopped(&mut self, id: &str) {
        self.change_state(id, |state| match state {
            State::Reading => State::Ready,
            State::Waiting | State::Ready | State::Missing { .. } | State::Ended(_) | State::Finished(_) => state,
        });
    }

    /// The last page of a shard was read; `children` are what it says. `gave_records`: whether any record of it was ever read,
    /// in an earlier life, too (it has a checkpoint then).
    pub fn read_to_end(&mut self, id: &str, children: Vec<ChildShard>, gave_records: bool) -> Changes {
        let mut changes = Changes::default();
        self.change_state(id, |state| match state {
            State::Reading | State::Ready | State::Missing { .. } => State::Ended(End { gave_records, is_lost: false }),
            State::Waiting | State::Ended(_) | State::Finished(_) => state,
        });
        self.wants_children |= children.is_empty();
        for mut child in children {
            if !child.parents.iter().any(|parent| parent == id) {
                child.parents.push(id.to_owned());
            }
            self.register(child, &mut changes);
        }
        changes
    }

    /// The reader of a shard is told that there is no such shard. It reads no more of it; what it has read may settle.
    pub fn not_found(&mut self, id: &str, gave_records: bool) {
        self.change_state(id, |state| match state {
            State::Reading | State::Ready => State::Missing { gave_records },
            State::Waiting | State::Missing { .. } | State::Ended(_) | State::Finished(_) => state,
        });
    }

    /// All that was read of a shard that has ended is settled, and its checkpoint is journalled.
    pub fn settled(&mut self, id: &str) -> Changes {
        let mut changes = Changes::default();
        if let Some(shard) = self.shards.get_mut(id)
            && let State::Ended(end) = shard.state
        {
            shard.state = State::Finished(end);
            changes.put.push(shard.to_row(id));
            self.release(&mut changes);
        }
        changes
    }

    /// Whether something waits for a listing, so that one is wanted sooner than by turns.
    pub fn wants_listing(&self) -> bool {
        let waits = |shard: &Shard| match shard.state {
            State::Waiting => {
                shard.parents.iter().any(|parent| !self.shards.contains_key(parent) && !self.is_over(parent))
            }
            State::Missing { .. } => true,
            State::Ready | State::Reading | State::Ended(_) | State::Finished(_) => false,
        };
        let names_all = self.wanted == Wanted::All;
        (self.wants_children && names_all) || self.wanted().any(|(_, shard)| waits(shard))
    }

    /// The shards that are named in the configuration but neither listed nor known: they have expired, or never were.
    pub fn unknown(&self) -> Vec<&str> {
        match &self.wanted {
            Wanted::All => Vec::new(),
            Wanted::Named(ids) => ids.iter().map(String::as_str).filter(|id| !self.shards.contains_key(*id)).collect(),
        }
    }

    /// Whether nothing will ever come any more: all that is read are named shards, and each of them is finished. (As long as a
    /// stream is there it has an open shard.)
    pub fn is_done(&self) -> bool {
        let is_finished = |shard: &Shard| matches!(shard.state, State::Finished(_));
        self.wanted != Wanted::All && self.unknown().is_empty() && self.wanted().all(|(_, shard)| is_finished(shard))
    }

    /// Every wanted shard that is known, for the status and for `--drain`.
    pub fn states(&self) -> impl Iterator<Item = (&str, State)> {
        self.wanted().map(|(id, shard)| (id.as_str(), shard.state))
    }

    fn wanted(&self) -> impl Iterator<Item = (&String, &Shard)> {
        self.shards.iter().filter(|(id, _)| self.wanted.holds(id))
    }

    fn change_state(&mut self, id: &str, change: impl FnOnce(State) -> State) {
        if let Some(shard) = self.shards.get_mut(id) {
            shard.state = change(shard.state);
        }
    }

    fn register(&mut self, shard: ChildShard, changes: &mut Changes) {
        let ChildShard { id, parents, hash_keys } = shard;
        if !self.wanted.holds(&id) || self.shards.contains_key(&id) || self.was_forgotten(&id) {
            return;
        }
        let shard = Shard { parents, hash_keys, start: self.initial, state: State::Waiting };
        changes.put.push(shard.to_row(&id));
        self.shards.insert(id, shard);
    }

    /// Whether a shard that is not known was finished once: a child that has begun names only such parents. An old listing
    /// may still show it.
    fn was_forgotten(&self, id: &str) -> bool {
        let names_it = |shard: &Shard| shard.parents.iter().any(|parent| parent == id);
        self.shards.values().any(|shard| shard.state != State::Waiting && names_it(shard))
    }

    /// The ids of which it matters since when no listing has them.
    fn doubtful(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for (id, shard) in &self.shards {
            match shard.state {
                State::Waiting => {
                    ids.extend(shard.parents.iter().filter(|parent| !self.shards.contains_key(*parent)).cloned());
                }
                State::Missing { .. } | State::Finished(_) => ids.push(id.clone()),
                State::Ready | State::Reading | State::Ended(_) => {}
            }
        }
        ids
    }

    /// A shard that its reader did not find is tried again if it is listed, and has expired if no listing has it.
    fn find_missing(&mut self, listed: &BTreeSet<&str>, changes: &mut Changes) {
        for (id, shard) in &mut self.shards {
            let State::Missing { gave_records } = shard.state else { continue };
            if listed.contains(id.as_str()) {
                shard.state = State::Ready;
            } else if self.absences.is_gone(id) {
                shard.state = State::Ended(End { gave_records, is_lost: true });
                changes.lost.push(id.clone());
            }
        }
    }

    /// What waited and waits for nobody any more becomes ready.
    fn release(&mut self, changes: &mut Changes) {
        let is_free = |shard: &Shard| shard.state == State::Waiting && shard.parents.iter().all(|id| self.is_over(id));
        let free: Vec<String> = self.wanted().filter(|(_, shard)| is_free(shard)).map(|(id, _)| id.clone()).collect();
        for id in free {
            let Some(mut shard) = self.shards.remove(&id) else { continue };
            shard.parents.retain(|parent| self.finished(parent).is_some());
            if shard.parents.iter().any(|parent| self.was_closed_after_start(parent)) {
                shard.start = Start::TrimHorizon;
            }
            shard.state = State::Ready;
            changes.replace(shard.to_row(&id));
            self.shards.insert(id, shard);
        }
    }

    /// Whether no child has to wait for this shard.
    fn is_over(&self, id: &str) -> bool {
        match self.shards.get(id) {
            _ if !self.wanted.holds(id) => true,
            Some(shard) => matches!(shard.state, State::Finished(_)),
            None => self.absences.is_gone(id),
        }
    }

    fn finished(&self, id: &str) -> Option<End> {
        match self.shards.get(id)?.state {
            State::Finished(end) => Some(end),
            State::Waiting | State::Ready | State::Reading | State::Missing { .. } | State::Ended(_) => None,
        }
    }

    /// Whether a shard was closed later than the time that reading started at: its children were made later, too.
    fn was_closed_after_start(&self, id: &str) -> bool {
        let began_at_horizon = self.shards.get(id).is_some_and(|shard| shard.start == Start::TrimHorizon);
        began_at_horizon || self.finished(id).is_some_and(|end| end.gave_records)
    }

    /// Lineage is kept until a shard has expired and its children, all of them, have begun: what they begin with follows
    /// from it.
    fn forget(&mut self, changes: &mut Changes) {
        let is_needless = |(id, shard): &(&String, &Shard)| {
            let is_finished = matches!(shard.state, State::Finished(_));
            is_finished && self.absences.is_gone(id) && self.have_children_begun(id, shard.hash_keys)
        };
        let needless: Vec<String> = self.wanted().filter(is_needless).map(|(id, _)| id.clone()).collect();
        for id in needless {
            self.shards.remove(&id);
            changes.put.retain(|row| row.id != id);
            changes.forget.push(id);
        }
    }

    /// Named shards have no children that are followed.
    fn have_children_begun(&self, id: &str, hash_keys: HashKeyRange) -> bool {
        let is_child = |shard: &&Shard| shard.parents.iter().any(|parent| parent == id);
        let children: Vec<&Shard> = self.shards.values().filter(is_child).collect();
        let have_begun = children.iter().all(|child| child.state != State::Waiting);
        have_begun && covers(children.iter().map(|child| child.hash_keys).collect(), hash_keys)
    }
}

impl Shard {
    fn from_row(row: Row) -> (String, Self) {
        let state = match row.state {
            RowState::Waiting => State::Waiting,
            RowState::Ready => State::Ready,
            RowState::Finished(end) => State::Finished(end),
        };
        (row.id, Self { parents: row.parents, hash_keys: row.hash_keys, start: row.start, state })
    }

    fn to_row(&self, id: &str) -> Row {
        let state = match self.state {
            State::Waiting => RowState::Waiting,
            State::Ready | State::Reading | State::Missing { .. } | State::Ended(_) => RowState::Ready,
            State::Finished(end) => RowState::Finished(end),
        };
        Row { id: id.to_owned(), parents: self.parents.clone(), hash_keys: self.hash_keys, start: self.start, state }
    }
}

/// Whether every hash of `whole` is in one of `parts`.
fn covers(mut parts: Vec<HashKeyRange>, whole: HashKeyRange) -> bool {
    parts.sort_by_key(|part| part.start);
    let mut next = whole.start;
    for part in parts.iter().filter(|part| part.end >= whole.start) {
        if part.start > next {
            return false;
        }
        match part.end.checked_add(1) {
            Some(after) if part.end < whole.end => next = next.max(after),
            _ => return true,
        }
    }
    false
}
