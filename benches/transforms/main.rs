//! What a WASM component costs, and what one costs that dies: its rate, its start, and what its neighbours lose.
//!
//! Taken of the real binary, as in `end_to_end`, whose logs and ways of measuring these are. `README.md` beside this folder says
//! how to run it and how to read it.

mod boundary;
#[path = "../end_to_end/process.rs"]
mod process;
mod run;
#[allow(dead_code, reason = "`end_to_end` has more logs")]
#[path = "../end_to_end/workload.rs"]
mod workload;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use process::Usage;
use run::{Folder, Stream};
use workload::Workload;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RUNS: usize = 3;
const STARTS: usize = 15;
/// Of the log in which records are poison.
const POISONED_BYTES: u64 = 300_000_000;
const POISON_EVERY: usize = 1_000;
const PASS_THROUGH: &str =
    concat!("{ component: ", env!("CARGO_MANIFEST_DIR"), "/transforms/pass-through/pass-through.wasm }");

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let cache = match std::env::var_os("HYDRANT_TEST_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("`HOME` is not set")?).join(".cache/hydrant-tests"),
    };
    let cache = cache.join("bench");
    fs::create_dir_all(&cache)?;
    let gigabytes: f64 = std::env::var("HYDRANT_BENCH_GB").map_or(Ok(1.0), |text| text.parse())?;
    let log = Workload::Json.file(&cache, (gigabytes * 1e9) as u64)?;
    println!("| what | measured | aim |\n| --- | ---: | ---: |");
    boundary::bare()?;
    rate(&cache, &log)?;
    start(&cache)?;
    let poisoned = poisoned(&cache)?;
    traps(&cache, &poisoned)?;
    neighbour(&cache, &poisoned, &log)
}

fn hostile(when: &str) -> String {
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/components/hostile.wasm");
    format!("{{ component: {component}, config: {{ transform: trap, when: \"{when}\" }} }}")
}

/// The least of several runs.
fn best(mut run: impl FnMut() -> Result<Usage>) -> Result<Usage> {
    let mut best = run()?;
    for _ in 1..RUNS {
        best = best.best(run()?);
    }
    Ok(best)
}

fn rate(cache: &Path, log: &Path) -> Result<()> {
    let megabytes = fs::metadata(log)?.len() as f64 / 1e6;
    let cost = |component, compression| {
        best(|| Folder::new(cache)?.drain(&[Stream { name: "a", log, component, compression }]))
    };
    let (bare, through) = (cost(None, "none")?, cost(Some(PASS_THROUGH), "none")?);
    let added = through.cpu.saturating_sub(bare.cpu).as_secs_f64();
    println!("| pass-through: MB for each CPU second that it adds | {:.0} | 1,000 |", megabytes / added);
    println!("| pass-through: peak memory, MB (without: {}) | {} | |", bare.peak / 1_000_000, through.peak / 1_000_000);
    let level_6 = "{ gzip: { level: 6 } }";
    let (bare, through) = (cost(None, level_6)?, cost(Some(PASS_THROUGH), level_6)?);
    let added = 100.0 * (through.cpu.as_secs_f64() / bare.cpu.as_secs_f64() - 1.0);
    println!("| pass-through: CPU added to tail → gzip level 6 → directory | {added:.0} % | 20 % |");
    Ok(())
}

/// From nothing to one delivered line, with compiled code in the cache, beside the same without a component.
fn start(cache: &Path) -> Result<()> {
    let log = cache.join("one-line.log");
    fs::write(&log, "{}\n")?;
    let median = |component| {
        let folder = Folder::new(cache)?;
        let mut walls = Vec::new();
        for _ in 0..=STARTS {
            walls.push(folder.drain(&[Stream { name: "a", log: &log, component, compression: "none" }])?.wall);
            folder.forget_deliveries()?;
        }
        // The first one compiles.
        walls.remove(0);
        walls.sort_unstable();
        Ok::<Duration, Box<dyn Error>>(walls[walls.len() / 2])
    };
    let added = median(Some(PASS_THROUGH))?.saturating_sub(median(None)?);
    println!("| start with a cached component, median of {STARTS} | {:.1} ms | 50 ms |", added.as_secs_f64() * 1e3);
    Ok(())
}

/// JSON lines of which one in [`POISON_EVERY`] says so.
fn poisoned(cache: &Path) -> Result<PathBuf> {
    let source = Workload::Json.file(cache, POISONED_BYTES)?;
    let path = cache.join("poisoned.log");
    let mut out = std::io::BufWriter::new(fs::File::create(&path)?);
    for (number, line) in BufReader::new(fs::File::open(source)?).split(b'\n').enumerate() {
        out.write_all(&line?)?;
        out.write_all(if number % POISON_EVERY == 500 { b" poison\n" } else { b"\n" })?;
    }
    out.flush()?;
    Ok(path)
}

fn traps(cache: &Path, log: &Path) -> Result<()> {
    let cost = |when: &str| {
        let component = hostile(when);
        best(|| {
            Folder::new(cache)?.drain(&[Stream { name: "a", log, component: Some(&component), compression: "none" }])
        })
    };
    let (good, trapping) = (cost("no record holds this")?, cost("poison")?);
    let (wall, cpu) = (ratio(good.wall, trapping.wall), ratio(good.cpu, trapping.cpu));
    println!("| one trapping record in {POISON_EVERY}: rate, of that without | {wall:.2} | 0.20 |");
    println!("| one trapping record in {POISON_EVERY}: records for each CPU second, of those without | {cpu:.2} | |");
    Ok(())
}

/// How long a stream takes beside one whose component passes its records, and beside one whose component traps.
fn neighbour(cache: &Path, poisoned: &Path, log: &Path) -> Result<()> {
    let neighbour = || Stream { name: "b", log, component: None, compression: "gzip" };
    let objects = {
        let alone = Folder::new(cache)?;
        alone.drain(&[neighbour()])?;
        alone.delivered("b")?
    };
    let time = |when: &str| {
        let component = hostile(when);
        let of_the_component = Stream { name: "a", log: poisoned, component: Some(&component), compression: "none" };
        let streams = [of_the_component, neighbour()];
        let mut least = Duration::MAX;
        for _ in 0..RUNS {
            least = least.min(Folder::new(cache)?.time_until_delivered(&streams, "b", objects)?);
        }
        Ok::<Duration, Box<dyn Error>>(least)
    };
    let lost = 100.0 * (1.0 - ratio(time("no record holds this")?, time("poison")?));
    println!("| what its neighbour's rate loses by that | {lost:.1} % | 5 % |");
    Ok(())
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
