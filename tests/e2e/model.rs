//! A model of log files and of Hydrant: random sequences of what happens to both, through the real binary, and for every
//! line what must come of it.
//!
//! **What is demanded.** A line is complete once its newline is on disk. In the end, after a drain with exit status 0:
//!
//! - each complete line is delivered exactly once, in order within its file in each object, and nothing else is there: no
//!   cut line, no foreign one, none joined from two files or from before and after a truncation;
//! - but a line *may be lost* (still never doubled) if its last byte was destroyed or moved out of sight while it was not
//!   delivered, and no other file that Hydrant can read held it. Hydrant can read a file in the globs; one outside that
//!   was known to it (in the journal); one without a name that it had open, until the end of that life of the process;
//! - a line *may be doubled* (still never lost) if its file was copied or compressed before anything of it was read, so
//!   that both could be met in one walk, or if a copy got lines of its own and Hydrant saw it only then, or only after
//!   more was written to its original;
//! - the head of a line that was never completed is delivered as it stands, once, if it ends a file that the globs match
//!   in the end; if that file was destroyed or left the globs, at most once;
//! - if nothing that was not delivered was destroyed, no `lost_bytes` are reported; if reading was held back, the bytes
//!   reported are exactly those that are missing (`held_back`).
//!
//! | operation | Hydrant up | down |
//! | --- | --- | --- |
//! | append, torn append, rotate, rename in the glob | exactly once | exactly once |
//! | room behind the text, given and taken | changes nothing | the same |
//! | rename out of the glob, swap of a link | exactly once if the file was known, else may be lost | the same |
//! | delete once delivered | exactly once | exactly once |
//! | delete with an unread rest | exactly once if it was open, until the end of this life; else may be lost | may be lost |
//! | re-create, also with the same inode | the new lines exactly once, the old as with a deletion | the same |
//! | copytruncate, stale writer | exactly once; may be doubled if nothing of the original was read | exactly once |
//! | copy, write to the copy | exactly once; may be doubled if nothing was read or the copy was not seen | the same |
//! | gzip, zstd, of one member or two | exactly once; may be doubled if nothing of the plain file was read | exactly once |
//! | truncate once delivered | exactly once | exactly once |
//! | truncate | old lines may be lost, new ones exactly once | the same |
//! | SIGTERM, SIGKILL, death at a failpoint | changes nothing but for files without a name | |
//!
//! **How it is known.** A line is *delivered* when a complete object holds it. A file is *known* in a life when a line
//! that only it holds was delivered in that life, or when a pause has ended: a pause makes a new file and waits for its
//! line and for all other certain lines, so a whole walk of the globs came after everything that was there before.
//! Every wait is for a condition with a deadline. What sleeps now and then are the writer and Hydrant (`HYDRANT_JITTER`), so
//! that each of them meets what the other has half done, as on a machine that is too slow for its load.
//!
//! `HYDRANT_MODEL_SEQUENCES` sets the number of sequences (else there are as many as three minutes allow, 240 at most), `HYDRANT_MODEL_SEED` repeats one of them,
//! `HYDRANT_MODEL_OPERATIONS` chooses operations by name (else there are all), `HYDRANT_MODEL_THREADS` how many run side by
//! side, `HYDRANT_MODEL_DAWDLE_MS` how long the writer is held up between two steps at most. A sequence's operations follow from its seed and the list of operations, not the machine's timing.

mod account;
mod changes;
mod file;
mod held_back;
mod life;
mod operation;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::Rng;
use crate::support::rng::seed;

use operation::{Operation, sequence};
use world::World;

/// Some two minutes in a debug build on two cores.
const SEQUENCES_DEFAULT: u64 = 240;
/// On a slower machine no other sequence is begun after this time, if there were so many.
const TIME_MAX: Duration = Duration::from_secs(180);
const SEQUENCES_MIN: u64 = 40;
/// In one sequence of four the writer is held up between its steps, for so long at most.
const DAWDLE_MS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn random_sequences_lose_and_double_nothing() {
    let operations = Operation::chosen();
    if let Some(seed) = number("HYDRANT_MODEL_SEED") {
        return run(&operations, seed);
    }
    let mut rng = Rng::new(seed("model"));
    let demanded = number("HYDRANT_MODEL_SEQUENCES");
    let seeds: Vec<u64> = (0..demanded.unwrap_or(SEQUENCES_DEFAULT)).map(|_| rng.next()).collect();
    let least = demanded.unwrap_or(SEQUENCES_MIN);
    let threads = number("HYDRANT_MODEL_THREADS").unwrap_or(4);
    let (next, done, has_failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _mark = MarkOnPanic(&has_failed);
                while !has_failed.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&seed) = seeds.get(n as usize) else { return };
                    if n >= least && started.elapsed() >= TIME_MAX {
                        return;
                    }
                    run(&operations, seed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} sequences in {:?}", done.into_inner(), started.elapsed());
}

/// The others stop when one has failed.
struct MarkOnPanic<'a>(&'a AtomicBool);

impl Drop for MarkOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// One sequence from an empty folder to a closed account; says what happened when it fails.
fn run(operations: &[Operation], seed: u64) {
    let dawdle_ms = number("HYDRANT_MODEL_DAWDLE_MS").unwrap_or(if seed.is_multiple_of(4) { DAWDLE_MS } else { 0 });
    let mut world = World::new(dawdle_ms);
    let steps = sequence(operations, seed);
    let mut rng = Rng::new(!seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        steps.iter().for_each(|&step| world.apply(step));
        world.finish(&mut rng);
    }));
    if let Err(panic) = outcome {
        println!("HYDRANT_MODEL_SEED={seed} HYDRANT_MODEL_OPERATIONS={}", names(operations));
        println!("{}", world.tell());
        resume_unwind(panic);
    }
}

fn names(operations: &[Operation]) -> String {
    operations.iter().map(|operation| format!("{operation:?}")).collect::<Vec<_>>().join(",")
}
