//! The real binary over one folder of logs, with what the kernel and its log say of it.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::Result;

/// Whatever takes longer has gone wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// Logs, state and objects of one measurement; removed when it is over.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Under `HYDRANT_TEST_CACHE`, else where temporary files are.
    pub fn new(name: &str) -> Result<Self> {
        let parent = std::env::var_os("HYDRANT_TEST_CACHE").map_or_else(std::env::temp_dir, PathBuf::from);
        fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix(&format!("hydrant-idle-{name}-")).tempdir_in(parent)?;
        fs::create_dir(folder.path().join("logs"))?;
        Ok(Self(folder))
    }

    pub fn log(&self, n: usize) -> PathBuf {
        self.0.path().join(format!("logs/app-{n:05}.log"))
    }

    /// Complete lines in complete objects.
    pub fn delivered_lines(&self) -> Result<usize> {
        let visible = |entry: &walkdir::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        let objects = self.0.path().join("objects");
        let mut lines = 0;
        if objects.exists() {
            for entry in walkdir::WalkDir::new(objects).into_iter().filter_entry(visible) {
                let entry = entry?;
                if entry.file_type().is_file() {
                    lines += memchr::memchr_iter(b'\n', &fs::read(entry.path())?).count();
                }
            }
        }
        Ok(lines)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Records that entered a buffer: of which file, up to which position, and when.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: PathBuf,
    pub end: u64,
    pub at: SystemTime,
}

/// Killed when it is dropped.
pub struct Daemon {
    child: Child,
    said: PathBuf,
}

impl Daemon {
    pub fn start(folder: &Folder, buffering: &str, log: &str, arguments: &[&str]) -> Result<Self> {
        let root = folder.path().display();
        let configuration = folder.path().join("hydrant.yaml");
        let text = format!(
            "state_dir: {root}/state\n\
             delivery_streams:\n\
             - name: idle\n\
            \x20 source: {{ file: {{ paths: [\"{root}/logs/*.log\"] }} }}\n\
            \x20 buffering: {buffering}\n\
            \x20 destination: {{ directory: {{ path: {root}/objects }} }}\n"
        );
        fs::write(&configuration, text)?;
        let said = folder.path().join("said");
        let child = Command::new(env!("CARGO_BIN_EXE_hydrant"))
            .arg("run")
            .args(arguments)
            .arg("--config")
            .arg(configuration)
            .env("HYDRANT_LOG", log)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()?;
        Ok(Self { child, said })
    }

    pub fn wait_until(&self, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !condition()? {
            if started.elapsed() > PATIENCE {
                return Err(self.complaint("nothing comes any more"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits for its end, which has to be a good one.
    pub fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(self.complaint(&status.to_string())) }
    }

    /// Time of all its threads, those that have ended included, in user and kernel mode.
    pub fn processor_time(&self) -> Result<Duration> {
        let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: both pointers are to locals that outlive the calls.
        let failed = unsafe {
            libc::clock_getcpuclockid(self.child.id().cast_signed(), &mut clock) != 0
                || libc::clock_gettime(clock, &mut time) != 0
        };
        if failed {
            return Err(self.complaint("its processor time cannot be read"));
        }
        Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    /// Bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| self.complaint("it has ended by itself"))
    }

    /// Of all records so far, from its log.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let said = fs::read_to_string(&self.said)?;
        said.lines().filter(|line| line.contains("records entered a buffer")).map(entry).collect()
    }

    fn complaint(&self, what: &str) -> Box<dyn Error> {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let tail = said.lines().rev().take(20).collect::<Vec<_>>();
        format!("{what}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n")).into()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `2026-11-20T10:00:00.123456Z TRACE records entered a buffer path="/logs/a.log" end=120`
fn entry(line: &str) -> Result<Entry> {
    let word = |name: &str| {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name));
        word.ok_or_else(|| format!("no `{name}` in {line}"))
    };
    let at: jiff::Timestamp = line.split(' ').next().ok_or("an empty line")?.parse()?;
    let path = word("path=")?.trim_matches('"').into();
    Ok(Entry { path, end: word("end=")?.parse()?, at: at.into() })
}
