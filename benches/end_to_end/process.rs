//! What a child process has cost: time, processor time of all its threads, and the most memory that it ever held.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a running process's memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub wall: Duration,
    /// User and system time together.
    pub cpu: Duration,
    /// The most resident memory, in bytes.
    pub peak: u64,
}

impl Usage {
    /// Of several runs of one case: the least time, which other work on the machine has disturbed least, but the most
    /// memory, for that is what a user has to have.
    pub fn best(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu), peak: self.peak.max(other.peak) }
    }
}

/// Runs a command to its end, with what it says in the file `said`.
pub fn run(command: &mut Command, said: &Path) -> Result<Usage, Box<dyn Error>> {
    let started = Instant::now();
    let child = start(command, said)?;
    wait(child, started, said)
}

pub fn start(command: &mut Command, said: &Path) -> Result<Child, Box<dyn Error>> {
    let output = File::create(said)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok(command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?)
}

/// Waits for a child that must end with exit status 0.
pub fn wait(child: Child, started: Instant, said: &Path) -> Result<Usage, Box<dyn Error>> {
    let (status, usage) = reap(&child, started)?;
    if status != 0 {
        let said = std::fs::read_to_string(said).unwrap_or_default();
        return Err(format!("a run has failed, wait status {status}:\n{said}").into());
    }
    Ok(usage)
}

/// Waits for a child, however it ends: its wait status.
pub fn reap(child: &Child, started: Instant) -> Result<(i32, Usage), Box<dyn Error>> {
    let (mut status, mut peak) = (0, 0);
    while !has_ended(child)? {
        peak = peak_of(child).unwrap_or(peak).max(peak);
        std::thread::sleep(LOOK);
    }
    // SAFETY: an all-zero `rusage` is a valid one, it holds numbers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call; `child` was not waited for, so the id is its own.
    let waited = unsafe { libc::wait4(child.id().cast_signed(), &mut status, 0, &mut usage) };
    if waited == -1 {
        return Err(std::io::Error::last_os_error().into());
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    Ok((status, Usage { wall: started.elapsed(), cpu, peak }))
}

/// Whether a child is to be waited for; it stays so.
fn has_ended(child: &Child) -> Result<bool, Box<dyn Error>> {
    // SAFETY: an all-zero `siginfo_t` is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a local that outlives the call.
    if unsafe { libc::waitid(libc::P_PID, child.id(), &mut info, options) } == -1 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: `waitid` has filled it in, or left it zero.
    Ok(unsafe { info.si_pid() } != 0)
}

/// The most resident memory of a child so far, in bytes. What `wait4` says of it begins with the memory of its parent.
fn peak_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
