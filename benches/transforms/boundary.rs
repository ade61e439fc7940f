//! The floor: a batch's bytes into a guest's memory and out again, and nothing else.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Engine, Memory, MemoryType, Store};

use super::Result;

const BATCH: usize = 1 << 20;
const BATCHES: usize = 4_000;

pub fn bare() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(64, None))?;
    let (batch, mut answer) = (vec![b'x'; BATCH], vec![0; BATCH]);
    let begun = thread_seconds();
    for _ in 0..BATCHES {
        memory.write(&mut store, BATCH, black_box(&batch))?;
        memory.read(&store, BATCH, black_box(&mut answer))?;
    }
    let rate = (BATCHES * BATCH) as f64 / 1e6 / (thread_seconds() - begun);
    println!("| bare copy of a batch into a guest's memory and out of it: MB for each CPU second | {rate:.0} | |");
    Ok(())
}

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
