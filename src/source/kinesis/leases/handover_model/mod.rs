//! The protocol by which one worker finishes what another has begun to deliver, as a small program, and a random search for a
//! counterexample.
//!
//! Persistent: the rows of the lease table, each changed by one conditional update at a time, and the objects, of which the first one
//! under a key stays. Volatile: what workers have read and sealed. A worker may end between any two steps, or stand still for as
//! long as it likes; any other one takes its leases at any time. Requests to the table and puts are answered, or only their
//! answer is lost, or they arrive much later. Objects that are settled are taken away by who reads them. Workers cut where they
//! like, read in batches of any size, and what a batch becomes depends on its borders and its arrival. Batches may fail for reasons
//! of their moment. Workers may have different configurations, and a Java worker, which knows nothing of this, may be among them.
//!
//! - [`world`] is what outlives workers, with the [`table`], and what happens to them; [`worker`] is one of them.
//! - [`fate`] says what is wrong in the end.
//!
//! Always true: between `checkpoint` and the pending cut lies one delivery, which the table names before any object of it is put.
//! Whoever finishes it puts the same records under the same keys, or finds that it cannot and begins another one.

mod fate;
mod table;
mod worker;
mod world;

use world::World;

/// What the protocol relies on: without any of it the search has to find a counterexample.
#[derive(Clone, Copy)]
struct Rules {
    /// An update is made only if owner and counter are as its sender has seen them.
    updates_if_unchanged: bool,
    /// After a refusal that an earlier try explains, the row says what was written.
    believes_the_row: bool,
    /// The cut and the delivery's id stand in the table before the first put.
    pends_first: bool,
    /// All outputs are sealed at the cut.
    seals_all: bool,
    /// The checkpoint moves when all objects are there.
    settles_last: bool,
    /// A pending delivery is finished under its own id.
    keeps_id: bool,
    /// It is finished with exactly the records that it had.
    keeps_cut: bool,
    /// Its records are processed in the batches that they were processed in.
    tells_batches: bool,
    /// No cut lies inside a batch.
    cuts_between_batches: bool,
    /// A batch that failed stays failed, and another one is tried again until it succeeds.
    tells_failures: bool,
    /// What it is formed of again is compared with what it was.
    compares_outputs: bool,
    /// A delivery of other outputs has another id.
    renames_others: bool,
    /// A delivery whose objects are all there is settled, whatever would be made of its records now.
    looks_for_objects: bool,
    /// A state that somebody else wrote is none.
    knows_its_states: bool,
    /// Where `LATEST` is, is written with the row.
    fixes_start: bool,
    /// And goes on being written while there is no other checkpoint.
    carries_start: bool,
    /// A put begins only while nobody else can have the lease.
    puts_if_certain: bool,
    /// `SHARD_END` is written when all before it is settled.
    ends_last: bool,
    /// A child is read when its parents are at `SHARD_END`.
    waits_for_parents: bool,
}

const ALL_RULES: Rules = Rules {
    updates_if_unchanged: true,
    believes_the_row: true,
    pends_first: true,
    seals_all: true,
    settles_last: true,
    keeps_id: true,
    keeps_cut: true,
    tells_batches: true,
    cuts_between_batches: true,
    tells_failures: true,
    compares_outputs: true,
    renames_others: true,
    looks_for_objects: true,
    knows_its_states: true,
    fixes_start: true,
    carries_start: true,
    puts_if_certain: true,
    ends_last: true,
    waits_for_parents: true,
};

/// Who is in the fleet, and so what is promised: nothing is ever lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fleet {
    /// Each record is delivered once.
    Alike,
    /// Each life of a worker may have another configuration. What is doubled is of a delivery that one configuration began, of which
    /// an object was missing when another one found it.
    Mixed,
    /// What is doubled is of a delivery that was pending when a Java worker wrote or prepared a checkpoint, behind the checkpoint.
    WithJava,
}

const SEEDS: u64 = 2_000;

fn counterexample(seed: u64, rules: Rules, fleet: Fleet) -> Option<String> {
    let mut world = World::new(seed, rules, fleet);
    world.run();
    world.wrong()
}

/// The first seed that shows something wrong.
fn search(seeds: u64, rules: Rules, fleet: Fleet) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| Some((seed, counterexample(seed, rules, fleet)?)))
}

#[test]
fn every_record_has_a_fate_and_only_one_whoever_finishes_its_delivery() {
    for fleet in [Fleet::Alike, Fleet::Mixed, Fleet::WithJava] {
        if let Some((seed, wrong)) = search(SEEDS, ALL_RULES, fleet) {
            panic!("{fleet:?}, seed {seed}: {wrong}");
        }
    }
}

/// What a component makes of a record may hang on more than is told: then its outputs are others, as if it were configured otherwise.
#[test]
fn what_is_processed_otherwise_the_next_time_is_not_lost() {
    let rules = Rules { tells_batches: false, tells_failures: false, cuts_between_batches: false, ..ALL_RULES };
    assert_eq!(search(SEEDS, rules, Fleet::Mixed), None);
}

#[test]
fn without_any_of_its_rules_the_hand_over_fails() {
    use Fleet::{Alike, Mixed, WithJava};
    let without = [
        ("updates_if_unchanged", Alike, Rules { updates_if_unchanged: false, ..ALL_RULES }),
        ("believes_the_row", Alike, Rules { believes_the_row: false, ..ALL_RULES }),
        ("pends_first", Alike, Rules { pends_first: false, ..ALL_RULES }),
        ("seals_all", Alike, Rules { seals_all: false, ..ALL_RULES }),
        ("settles_last", Alike, Rules { settles_last: false, ..ALL_RULES }),
        ("keeps_id", Alike, Rules { keeps_id: false, ..ALL_RULES }),
        ("keeps_cut", Alike, Rules { keeps_cut: false, ..ALL_RULES }),
        ("tells_batches", Alike, Rules { tells_batches: false, ..ALL_RULES }),
        ("cuts_between_batches", Alike, Rules { cuts_between_batches: false, ..ALL_RULES }),
        ("tells_failures", Alike, Rules { tells_failures: false, ..ALL_RULES }),
        ("compares_outputs", Mixed, Rules { compares_outputs: false, ..ALL_RULES }),
        ("renames_others", Mixed, Rules { renames_others: false, ..ALL_RULES }),
        ("looks_for_objects", Mixed, Rules { looks_for_objects: false, ..ALL_RULES }),
        ("knows_its_states", WithJava, Rules { knows_its_states: false, ..ALL_RULES }),
        ("fixes_start", Alike, Rules { fixes_start: false, ..ALL_RULES }),
        ("carries_start", Alike, Rules { carries_start: false, ..ALL_RULES }),
        ("puts_if_certain", Alike, Rules { puts_if_certain: false, ..ALL_RULES }),
        ("ends_last", Alike, Rules { ends_last: false, ..ALL_RULES }),
        ("waits_for_parents", Alike, Rules { waits_for_parents: false, ..ALL_RULES }),
    ];
    for (rule, fleet, rules) in without {
        assert!(search(SEEDS, rules, fleet).is_some(), "nothing fails without {rule}");
    }
}
