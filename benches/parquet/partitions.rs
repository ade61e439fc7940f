//! `--partitions N`: the log spread over so many partitions, with 256 MB for all buffers: memory, objects for each partition, and
//! that nothing is lost or doubled; once undisturbed, and once with a SIGKILL half-way.

use std::fs;
use std::time::{Duration, Instant};

use crate::hydrant::Folder;
use crate::log::Log;
use crate::process::{self, Usage};
use crate::{Result, Settings};

const MEMORY_LIMIT_MB: u64 = 256;
const PEAK_AIM: u64 = 400_000_000;
const OBJECTS_AIM: u64 = 2;
/// How often it is looked how much was read.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// When a run is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Never,
    /// Half of the log has been read.
    HalfRead,
    /// Half of the partitions have an object.
    HalfDelivered,
}

pub fn run(settings: &Settings, partitions: u64) -> Result<()> {
    let folder = Folder::new(&settings.cache)?;
    let log = Log::make(&settings.cache, folder.path(), settings.bytes, 0)?;
    println!("{:.0} MB, {} records, {partitions} partitions:\n", log.bytes as f64 / 1e6, log.good.rows);
    println!("| killed | CPU s | peak MB | objects | most for a partition |\n| --- | ---: | ---: | ---: | ---: |");
    let mut is_met = true;
    for kill in [Kill::Never, Kill::HalfRead, Kill::HalfDelivered] {
        folder.clear()?;
        let usage = deliver(&folder, &log, partitions, kill)?;
        let delivered = folder.delivered()?;
        if (delivered.sum, delivered.failed) != (log.good, 0) {
            return Err(format!("{kill:?}: there is {:?}, not {:?}", delivered.sum, log.good).into());
        }
        let (objects, most) = (delivered.objects.values().sum::<u64>(), delivered.objects.values().max().copied());
        let (cpu, peak, most) = (usage.cpu.as_secs_f64(), usage.peak as f64 / 1e6, most.unwrap_or(0));
        println!("| {kill:?} | {cpu:.2} | {peak:.0} | {objects} | {most} |");
        is_met &= usage.peak < PEAK_AIM && most <= OBJECTS_AIM && delivered.objects.len() as u64 == partitions;
    }
    println!("\nless than 400 MB, at most two objects for each partition: {}", if is_met { "met" } else { "missed" });
    Ok(())
}

/// Delivers everything: what all lives together have cost, and the most memory of any.
fn deliver(folder: &Folder, log: &Log, partitions: u64, kill: Kill) -> Result<Usage> {
    let partitioning = format!(
        "  partitioning: {{ keys: {{ user: \".user_id % {partitions}\" }}, max_active: {} }}",
        partitions.clamp(1, 5_000)
    );
    let memory = format!("memory_limit_mb: {MEMORY_LIMIT_MB}");
    let mut command = folder.drain(&log.path, "user=!{partitionKeyFromQuery:user}/", (&memory, &partitioning))?;
    let mut usage = Usage { wall: Duration::ZERO, cpu: Duration::ZERO, peak: 0 };
    if kill != Kill::Never {
        let started = Instant::now();
        let mut child = process::start(&mut command, &folder.said())?;
        let io = format!("/proc/{}/io", child.id());
        while child_is_before(kill, folder, log, partitions, &io)? {
            std::thread::sleep(LOOK_EVERY);
        }
        child.kill()?;
        usage = process::reap(&child, started)?.1;
    }
    let life = process::run(&mut command, &folder.said())?;
    Ok(Usage { wall: usage.wall + life.wall, cpu: usage.cpu + life.cpu, peak: usage.peak.max(life.peak) })
}

/// An error if it has ended by itself.
fn child_is_before(kill: Kill, folder: &Folder, log: &Log, partitions: u64, io: &str) -> Result<bool> {
    let io = fs::read_to_string(io)?;
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).ok_or("a run has ended too soon")?;
    Ok(match kill {
        Kill::Never => false,
        Kill::HalfRead => read.parse::<u64>()? < log.bytes / 2,
        Kill::HalfDelivered => (folder.objects()?.len() as u64) < partitions / 2,
    })
}
