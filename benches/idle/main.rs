//! What Hydrant costs when little happens, and how soon it sees what does: quiet files, start, latency, many files at once.
//!
//! Taken from outside, of the real binary: processor time and memory of the process from the kernel, and the moment at
//! which records enter a buffer from its log, where `HYDRANT_LOG=hydrant::stream=trace` shows it with microseconds. The
//! log costs a little itself, so it is on only where it is measured by. `README.md` beside this folder says how to read it.

mod daemon;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use daemon::{Daemon, Entry, Folder};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Long enough for caches, journal and timers of the start to come to rest.
const REST: Duration = Duration::from_secs(12);
const QUIET: Duration = Duration::from_secs(30);
const LATENCY_FILES: usize = 100;
const LATENCY_LINES: usize = 10_000;
const RATE_BYTES: u64 = 512_000_000;
const RUNS: usize = 3;
/// Small and early objects, so that nothing waits for them.
const EARLY: &str = "{ size_mb: 1, interval_seconds: 0.2, low_latency: true }";
const LARGE: &str = "{ size_mb: 128, interval_seconds: 900 }";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    println!("| what | measured | aim |\n| --- | ---: | ---: |");
    quiet(1_000)?;
    start(10_000)?;
    latency()?;
    rate()
}

/// Processor time and memory with files that were read and do not change.
fn quiet(files: usize) -> Result<()> {
    let folder = Folder::new("quiet")?;
    write_small(&folder, files)?;
    let daemon = Daemon::start(&folder, EARLY, "warn", &[])?;
    daemon.wait_until(|| Ok(folder.delivered_lines()? >= files))?;
    std::thread::sleep(REST);
    let before = daemon.processor_time()?;
    std::thread::sleep(QUIET);
    let used = daemon.processor_time()? - before;
    let share = 100.0 * used.as_secs_f64() / QUIET.as_secs_f64();
    println!("| {files} quiet files: share of a core over {} s | {share:.3} % | 0.1 % |", QUIET.as_secs());
    println!("| {files} quiet files: resident memory | {:.1} MB | 40 MB |", daemon.resident()? as f64 / 1e6);
    Ok(())
}

/// From the start of the process until the last of many files was read.
fn start(files: usize) -> Result<()> {
    let folder = Folder::new("start")?;
    write_small(&folder, files)?;
    let started = SystemTime::now();
    let daemon = Daemon::start(&folder, EARLY, "hydrant::stream=trace", &[])?;
    daemon.wait_until(|| Ok(folder.delivered_lines()? >= files))?;
    let last = daemon.entries()?.iter().map(|entry| entry.at).max().ok_or("nothing has entered a buffer")?;
    println!(
        "| {files} files: from start until all are read | {:.2} s | 2 s |",
        last.duration_since(started)?.as_secs_f64()
    );
    Ok(())
}

/// From the moment before a line's write to its entry into the buffer, while many files are written in turn.
fn latency() -> Result<()> {
    let folder = Folder::new("latency")?;
    let mut logs = (0..LATENCY_FILES)
        .map(|n| Ok((folder.log(n), File::create(folder.log(n))?, 0)))
        .collect::<Result<Vec<(PathBuf, File, u64)>>>()?;
    let daemon = Daemon::start(&folder, EARLY, "hydrant::stream=trace", &[])?;
    let mut written: Vec<(usize, u64, SystemTime)> = Vec::with_capacity(LATENCY_LINES);
    for n in 0..LATENCY_LINES {
        let file = n * 37 % LATENCY_FILES;
        let line = line(n);
        let at = SystemTime::now();
        logs[file].1.write_all(line.as_bytes())?;
        logs[file].2 += line.len() as u64;
        written.push((file, logs[file].2, at));
        std::thread::sleep(Duration::from_millis(1));
    }
    daemon.wait_until(|| Ok(folder.delivered_lines()? >= LATENCY_LINES))?;
    let entries = daemon.entries()?;
    let mut by_file: Vec<Vec<&Entry>> = vec![Vec::new(); LATENCY_FILES];
    for entry in &entries {
        if let Some(file) = logs.iter().position(|(path, ..)| *path == entry.path) {
            by_file[file].push(entry);
        }
    }
    // What was written while Hydrant started waits for that, which is another figure.
    let mut waits = Vec::new();
    for &(file, end, at) in written.iter().skip(LATENCY_LINES / 5) {
        let entry = by_file[file].iter().find(|entry| entry.end >= end).ok_or("a line has not entered a buffer")?;
        waits.push(entry.at.duration_since(at).unwrap_or_default());
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let what = format!("{LATENCY_FILES} files, {} lines: write to buffer", waits.len());
    println!("| {what}, p50 | {:.1} ms | |\n| {what}, p99 | {:.1} ms | 50 ms |", at(0.5), at(0.99));
    Ok(())
}

/// The same bytes in one file and in 100, read to their end.
fn rate() -> Result<()> {
    let mut rates = Vec::new();
    for files in [1, 100] {
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            let folder = Folder::new("rate")?;
            (0..files).try_for_each(|n| write_large(&folder.log(n), RATE_BYTES / files as u64))?;
            let started = Instant::now();
            Daemon::start(&folder, LARGE, "warn", &["--drain"])?.wait()?;
            best = best.min(started.elapsed());
        }
        rates.push(RATE_BYTES as f64 / 1e6 / best.as_secs_f64());
        println!(
            "| {files} files of {} MB together: tail rate | {:.0} MB/s | |",
            RATE_BYTES / 1_000_000,
            rates[rates.len() - 1]
        );
    }
    println!("| 100 files against one | {:.2} | 0.90 |", rates[1] / rates[0]);
    Ok(())
}

fn line(n: usize) -> String {
    format!(
        "line {n:012} {:x} the quick brown fox jumps over the lazy dog, and again, and again, until it ends\n",
        n * 7919
    )
}

/// Files that differ from their first bytes on.
fn write_small(folder: &Folder, files: usize) -> Result<()> {
    (0..files).try_for_each(|n| Ok(fs::write(folder.log(n), line(n))?))
}

fn write_large(path: &Path, bytes: u64) -> Result<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut written, mut n) = (0, path.as_os_str().len());
    file.write_all(path.as_os_str().as_encoded_bytes())?;
    while written < bytes {
        let line = line(n);
        file.write_all(line.as_bytes())?;
        (written, n) = (written + line.len() as u64, n + 1);
    }
    Ok(file.flush()?)
}
