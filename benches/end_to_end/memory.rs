//! `--memory GB`: one daemon that delivers log after log of 1 GB, whether its memory stays where it was after the first.
//!
//! The logs are different bytes each, for a copy of a known file would not be read again. A log is deleted when
//! everything up to its end has been found in the objects, and an object once it has been counted, so that the disk
//! holds some 2 GB at any time.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::Settings;
use crate::hydrant::{BUFFER_MB, Compression, Processing, Run, content_length};
use crate::process;
use crate::workload::Workload;

const FILE_BYTES: u64 = 1_000_000_000;
/// Logs that may be on disk at a time: one that is written while the other is delivered.
const FILES_AT_A_TIME: usize = 2;
/// Without a new object for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(settings: &Settings, gigabytes: u64) -> Result<(), Box<dyn Error>> {
    let run = Run::new(&settings.cache)?;
    let logs = run.folder().join("logs");
    fs::create_dir_all(&logs)?;
    // The interval is short so that the end of a log is delivered without a next one.
    let buffering = format!("{{ size_mb: {BUFFER_MB}, interval_seconds: 5, low_latency: true }}");
    let compression = Compression::GzipDefault;
    let (mut command, said) = run.command(&[], &logs.join("*.log"), (Processing::None, &compression), &buffering)?;
    let started = Instant::now();
    let mut daemon = Daemon(Some(process::start(&mut command, &said)?));

    println!("# Memory, nginx lines, gzip, buffers of {BUFFER_MB} MB\n");
    println!("| GB delivered | resident MB | peak MB until then |\n| ---: | ---: | ---: |");
    let mut progress = Progress { run, compression, files: Vec::new(), counted: 0, deleted: 0 };
    for index in 1..=gigabytes {
        let path = logs.join(format!("access-{index:04}.log"));
        Workload::Nginx.write(&path, FILE_BYTES, index)?;
        progress.files.push(path);
        let may_stay = if index < gigabytes { FILES_AT_A_TIME - 1 } else { 0 };
        progress.deliver_until(may_stay, &mut daemon)?;
    }
    let usage = process::wait(daemon.terminate()?, started, &said)?;
    println!("\nPeak memory {:.0} MB, {:.1} CPU seconds.", usage.peak as f64 / 1e6, usage.cpu.as_secs_f64());
    Ok(())
}

struct Progress {
    run: Run,
    compression: Compression,
    /// All logs so far, the deleted ones too.
    files: Vec<PathBuf>,
    /// Bytes found in objects.
    counted: u64,
    /// Logs that are delivered and deleted.
    deleted: usize,
}

impl Progress {
    /// Counts objects until at most `may_stay` logs are undelivered.
    fn deliver_until(&mut self, may_stay: usize, daemon: &mut Daemon) -> Result<(), Box<dyn Error>> {
        let mut last_object = Instant::now();
        while self.files.len() - self.deleted > may_stay {
            for object in self.run.delivered()? {
                self.counted += content_length(&self.compression, &object)?;
                fs::remove_file(object)?;
                last_object = Instant::now();
            }
            while self.deleted < self.files.len() && self.counted >= (self.deleted as u64 + 1) * FILE_BYTES {
                fs::remove_file(&self.files[self.deleted])?;
                self.deleted += 1;
                let (resident, peak) = daemon.memory()?;
                println!("| {} | {:.0} | {:.0} |", self.deleted, resident as f64 / 1e6, peak as f64 / 1e6);
            }
            if last_object.elapsed() > PATIENCE {
                return Err(format!("no new object for {PATIENCE:?}, {} bytes counted", self.counted).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Killed when it is dropped without having been asked to end.
struct Daemon(Option<Child>);

impl Daemon {
    /// Resident bytes now, and the most until now.
    fn memory(&mut self) -> Result<(u64, u64), Box<dyn Error>> {
        let child = self.0.as_mut().ok_or("the daemon was already ended")?;
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kilobytes.map(|kilobytes| kilobytes * 1024).ok_or("the daemon has ended by itself")
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// SIGTERM; the caller waits for the child.
    fn terminate(&mut self) -> Result<Child, Box<dyn Error>> {
        let child = self.0.take().ok_or("the daemon was already ended")?;
        // SAFETY: no memory is touched; the child was not waited for, so the id is its own.
        if unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) } == -1 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // An error is on its way up already; these two could only hide it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
