//! The real binary as a child process that never outlives its test.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::s3::{ACCESS_KEY, SECRET_KEY};
use super::scratch::Scratch;
use super::wait::{DEADLINE, holds_within, wait_until};

/// Of the package's own build, or where `HYDRANT_BIN` points.
pub fn binary() -> PathBuf {
    match (std::env::var_os("HYDRANT_BIN"), option_env!("CARGO_BIN_EXE_hydrant")) {
        (Some(path), _) => path.into(),
        (None, Some(path)) => path.into(),
        (None, None) => panic!("set HYDRANT_BIN to the hydrant binary"),
    }
}

pub struct Hydrant {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program in the scratch folder, with an environment in which nothing of this machine's user counts.
pub fn command(program: impl AsRef<OsStr>, scratch: &Scratch) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("HYDRANT_")) {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", scratch.root())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // A destination that heals is asked again at once.
        .env("HYDRANT_RETRY_MAX_MS", "100")
        .current_dir(scratch.root());
    command
}

/// How a process ended and everything it said.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    pub fn killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n--- stdout\n{}\n--- stderr\n{}", self.status, tail(&self.stdout), tail(&self.stderr))
    }
}

/// Where the configuration of this scratch folder stands.
pub fn config_path(scratch: &Scratch) -> PathBuf {
    scratch.path("hydrant.yaml")
}

pub fn write_config(scratch: &Scratch, config: &Value) -> PathBuf {
    let path = config_path(scratch);
    let text = serde_json::to_string_pretty(config).expect("a JSON value is a text");
    std::fs::write(&path, text).expect("the configuration written");
    path
}

impl Hydrant {
    /// `hydrant run` with this configuration.
    pub fn run(scratch: &Scratch, config: &Value) -> Self {
        Self::run_with_env(scratch, config, &[])
    }

    pub fn run_with_env(scratch: &Scratch, config: &Value, env: &[(&str, &str)]) -> Self {
        let path = write_config(scratch, config);
        Self::start(scratch, &[OsStr::new("run"), OsStr::new("--config"), path.as_os_str()], env)
    }

    /// `hydrant run --drain` to its end, which has to be a good one.
    #[track_caller]
    pub fn drain(scratch: &Scratch, config: &Value) -> Finished {
        Self::begin_drain(scratch, config).wait().expect_code(0)
    }

    /// `hydrant run --drain`, however it will end.
    pub fn begin_drain(scratch: &Scratch, config: &Value) -> Self {
        Self::begin_drain_with_env(scratch, config, &[])
    }

    pub fn begin_drain_with_env(scratch: &Scratch, config: &Value, env: &[(&str, &str)]) -> Self {
        let path = write_config(scratch, config);
        let args = ["run".as_ref(), "--drain".as_ref(), "--config".as_ref(), path.as_os_str()];
        Self::start(scratch, &args, env)
    }

    /// `hydrant run` with these options where no more than so many files may be open.
    pub fn run_with_open_files(scratch: &Scratch, config: &Value, limit: u32, options: &[&str]) -> Self {
        let path = write_config(scratch, config);
        let mut command = command("sh", scratch);
        command.args(["-euc", "ulimit -n \"$0\"; exec \"$@\""]).arg(limit.to_string());
        command.arg(binary()).arg("run").args(options).arg("--config").arg(path);
        Self::spawn(scratch, command)
    }

    /// `hydrant run` with so little address space, until the limit is lifted.
    pub fn run_with_address_space(scratch: &Scratch, config: &Value, kilobytes: u64) -> Self {
        let path = write_config(scratch, config);
        let mut command = command("sh", scratch);
        command.args(["-euc", "ulimit -S -v \"$0\"; exec \"$@\""]).arg(kilobytes.to_string());
        command.arg(binary()).arg("run").arg("--config").arg(path);
        Self::spawn(scratch, command)
    }

    /// `hydrant run` in a user namespace in which a limit of `/proc/sys/user` is zero.
    pub fn run_with_limit(scratch: &Scratch, config: &Value, limit: &str) -> Self {
        let path = write_config(scratch, config);
        let mut command = command("unshare", scratch);
        command.args(["--user", "--map-root-user", "sh", "-euc", "echo 0 > /proc/sys/user/\"$0\"; exec \"$@\""]);
        command.arg(limit).arg(binary()).arg("run").arg("--config").arg(path);
        Self::spawn(scratch, command)
    }

    /// `hydrant check` of a configuration as it stands in the file.
    pub fn check(scratch: &Scratch, yaml: &str) -> Finished {
        let path = config_path(scratch);
        std::fs::write(&path, yaml).expect("the configuration written");
        Self::start(scratch, &["check".as_ref(), "--config".as_ref(), path.as_os_str()], &[]).wait()
    }

    pub fn start(scratch: &Scratch, args: &[&OsStr], env: &[(&str, &str)]) -> Self {
        let mut command = command(binary(), scratch);
        command.args(args).envs(env.iter().copied());
        Self::spawn(scratch, command)
    }

    /// Starts a command that is or becomes the binary; what it says is kept in files of the scratch folder.
    pub fn spawn(scratch: &Scratch, mut command: Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) = (scratch.path(&format!("{n:04}.stdout")), scratch.path(&format!("{n:04}.stderr")));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("a file for stdout"))
            .stderr(File::create(&stderr).expect("a file for stderr"))
            .spawn()
            .expect("the binary starts");
        Self { child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// Stops it wherever it is, as a machine does that has no time for it, until [`Hydrant::go_on`].
    #[track_caller]
    pub fn halt(&self) {
        self.signal(Signal::STOP);
        self.wait_until_halted();
    }

    /// Waits until each of its threads stands still: by [`Hydrant::halt`], or at the point that `HYDRANT_STOP` names.
    #[track_caller]
    pub fn wait_until_halted(&self) {
        let is_stopped = |stat: PathBuf| std::fs::read_to_string(stat).is_ok_and(|stat| stat.contains(") T "));
        wait_until("every thread stands still", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the child is alive");
            threads.flatten().all(|thread| is_stopped(thread.path().join("stat")))
        });
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill_9(mut self) -> Finished {
        // A process that has gone already is as dead as we want it.
        self.child.kill().expect("our own child can be killed");
        self.wait()
    }

    /// SIGTERM, and the end of it.
    pub fn terminate(self) -> Finished {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Whether it has ended by itself when the time is over.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let child = &mut self.child;
        holds_within(time, || child.try_wait().expect("our own child can be waited for").is_some())
    }

    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let ended = self.ends_within(DEADLINE);
        assert!(ended, "still running after {DEADLINE:?}:\n{}", tail(&self.stderr()));
        let status = self.child.wait().expect("our own child can be waited for");
        Finished { status, stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Bytes that it has read with system calls, its files' content among them.
    pub fn bytes_read(&self) -> u64 {
        self.proc_number("io", "rchar:")
    }

    /// Whether it leaves the processor alone: less than a tenth of it for half a second.
    pub fn is_idle(&self) -> bool {
        let before = self.processor_ticks();
        let ended = holds_within(Duration::from_millis(500), || !self.is_alive());
        !ended && self.processor_ticks() - before < 5
    }

    pub fn is_alive(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Hundredths of a second, in user and in kernel mode together.
    fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the child is alive");
        let (_, fields) = stat.rsplit_once(") ").expect("the program's name in parentheses");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
        ticks.sum()
    }

    /// Waits until it reads no further, because nothing is left or because it may not.
    #[track_caller]
    pub fn wait_until_reading_halts(&self) {
        let mut last = (0, Instant::now());
        wait_until("the reading has come to a halt", || {
            let read = self.bytes_read();
            if read != last.0 {
                last = (read, Instant::now());
            }
            last.1.elapsed() >= Duration::from_millis(500)
        });
    }

    /// How many lines of what it has said on standard error so far hold this text.
    pub fn said(&self, text: &str) -> usize {
        self.stderr().lines().filter(|line| line.contains(text)).count()
    }

    /// The most memory it has had so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.proc_number("status", "VmHWM:") * 1024
    }

    fn proc_number(&self, file: &str, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("the child is alive");
        let rest = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel counts it");
        rest.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Hydrant {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- stderr of hydrant {}\n{}", self.pid(), tail(&self.stderr()));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("the child's output")).into_owned()
}

/// The end of a long text, where the reason of a failure stands.
fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(4_000))..]
}
