//! One log through Hydrant, DuckDB and pyarrow, each on the same core.

use std::path::Path;
use std::process::Command;

use crate::hydrant::{Folder, add_rows};
use crate::log::{Log, Sum};
use crate::process::{self, Usage};
use crate::{Result, Settings};

/// Of what DuckDB does: input for each CPU second, and memory.
const SPEED_AIM: f64 = 1.5;
const MEMORY_AIM: f64 = 1.0 / 3.0;
/// Of the rate without bad records.
const BAD_AIM: f64 = 0.9;

/// What a case has cost, and how large its Parquet is.
struct Cost {
    usage: Usage,
    input: u64,
    output: u64,
}

impl Cost {
    fn speed(&self) -> f64 {
        self.input as f64 / 1e6 / self.usage.cpu.as_secs_f64()
    }

    fn row(&self, case: &str) {
        let (cpu, peak) = (self.usage.cpu.as_secs_f64(), self.usage.peak as f64 / 1e6);
        let ratio =
            if self.output == 0 { String::new() } else { format!("{:.2}", self.input as f64 / self.output as f64) };
        let speed = if self.output == 0 { String::new() } else { format!("{:.0}", self.speed()) };
        println!("| {case} | {cpu:.2} | {speed} | {peak:.0} | {ratio} |");
    }
}

pub fn run(settings: &Settings) -> Result<()> {
    let core = stay_on_one_core()?;
    let folder = Folder::new(&settings.cache)?;
    let log = |bad| Log::make(&settings.cache, folder.path(), settings.bytes, bad);
    let (good, few, half) = (log(0)?, log(1)?, log(50)?);
    println!("{:.0} MB, {} records, all on core {core}:\n", good.bytes as f64 / 1e6, good.good.rows);
    println!("| case | CPU s | MB/CPU s | peak MB | ratio |\n| --- | ---: | ---: | ---: | ---: |");
    // In turns, so that what else the machine does meets all of them.
    let mut costs: Vec<Cost> = Vec::new();
    for _ in 0..settings.runs {
        let round = [
            hydrant(&folder, &good)?,
            python(settings, &folder, "duckdb", &good)?,
            hydrant(&folder, &few)?,
            hydrant(&folder, &half)?,
            python(settings, &folder, "pyarrow", &good)?,
            idle_python(settings, &folder, "duckdb")?,
        ];
        costs = match costs.is_empty() {
            true => round.into(),
            false => costs.into_iter().zip(round).map(|(a, b)| Cost { usage: a.usage.best(b.usage), ..b }).collect(),
        };
    }
    let cases = [
        "**Hydrant**",
        "DuckDB",
        "**Hydrant**, 1 % bad",
        "**Hydrant**, 50 % bad",
        "pyarrow",
        "Python with DuckDB, idle",
    ];
    costs.iter().zip(cases).for_each(|(cost, case)| cost.row(case));
    let [hydrant, duckdb, few, ..] = costs.as_slice() else { return Ok(()) };
    println!("\n| aim | measured | |\n| --- | ---: | --- |");
    let verdict = |is_met| if is_met { "met" } else { "missed" };
    let speed = hydrant.speed() / duckdb.speed();
    println!(
        "| at least 1.5 times DuckDB's input for each CPU second | {speed:.2} | {} |",
        verdict(speed >= SPEED_AIM)
    );
    let memory = hydrant.usage.peak as f64 / duckdb.usage.peak as f64;
    println!("| at most a third of its memory | {memory:.2} | {} |", verdict(memory <= MEMORY_AIM));
    let bad = few.speed() / hydrant.speed();
    println!("| with 1 % bad records at least 0.9 of the rate | {bad:.2} | {} |", verdict(bad >= BAD_AIM));
    Ok(())
}

/// This process and all that it starts.
fn stay_on_one_core() -> Result<usize> {
    // SAFETY: an all-zero set is a valid one, it is an array of numbers.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local of the size that is told.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } == -1 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the numbers are within the set.
    let core = (0..libc::CPU_SETSIZE as usize).rfind(|&core| unsafe { libc::CPU_ISSET(core, &set) });
    let core = core.ok_or("there is no core")?;
    // SAFETY: as above; the set is a local.
    let done = unsafe {
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    if done == -1 { Err(std::io::Error::last_os_error().into()) } else { Ok(core) }
}

fn hydrant(folder: &Folder, log: &Log) -> Result<Cost> {
    folder.clear()?;
    let usage = process::run(&mut folder.drain(&log.path, "ok/", ("", ""))?, &folder.said())?;
    let delivered = folder.delivered()?;
    if (delivered.sum, delivered.failed) != (log.good, log.bad) {
        let found = (delivered.sum, delivered.failed);
        return Err(format!("there is {found:?}, not {:?} and {} that failed", log.good, log.bad).into());
    }
    Ok(Cost { usage, input: log.bytes, output: delivered.bytes })
}

fn python(settings: &Settings, folder: &Folder, library: &str, log: &Log) -> Result<Cost> {
    let out = folder.path().join("rival.parquet");
    let usage = process::run(rival(settings, library).arg(&log.path).arg(&out), &folder.said())?;
    let mut sum = Sum::default();
    let output = add_rows(&out, &mut sum)?;
    std::fs::remove_file(&out)?;
    if sum != log.good {
        return Err(format!("{library} has made {sum:?}, not {:?}", log.good).into());
    }
    Ok(Cost { usage, input: log.bytes, output })
}

fn idle_python(settings: &Settings, folder: &Folder, library: &str) -> Result<Cost> {
    let usage = process::run(&mut rival(settings, library), &folder.said())?;
    Ok(Cost { usage, input: 0, output: 0 })
}

fn rival(settings: &Settings, library: &str) -> Command {
    let mut command = Command::new(&settings.python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/parquet/rivals.py")).arg(library);
    command
}
