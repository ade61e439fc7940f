//! Folders, configuration and process of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::{self, Usage};

/// How often it is looked whether a stream has delivered everything.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One delivery stream of a run.
pub struct Stream<'a> {
    pub name: &'a str,
    pub log: &'a Path,
    /// What stands behind `wasm:`.
    pub component: Option<&'a str>,
    pub compression: &'a str,
}

/// What a run reads and writes; removed when it is over.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(cache: &Path) -> Result<Self> {
        let folder = cache.join(format!("run-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// `run --drain`, to its end.
    pub fn drain(&self, streams: &[Stream<'_>]) -> Result<Usage> {
        process::run(&mut self.command(streams)?, &self.said())
    }

    /// From the start of `run --drain` until the stream `name` has delivered so many objects.
    pub fn time_until_delivered(&self, streams: &[Stream<'_>], name: &str, objects: usize) -> Result<Duration> {
        let mut command = self.command(streams)?;
        let started = Instant::now();
        let mut child = process::start(&mut command, &self.said())?;
        while self.delivered(name)? < objects {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a run has ended too soon, {status}: {}", fs::read_to_string(self.said())?).into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let time = started.elapsed();
        process::wait(child, started, &self.said())?;
        Ok(time)
    }

    /// Complete objects of a stream.
    pub fn delivered(&self, name: &str) -> Result<usize> {
        let folder = self.objects().join(name);
        let is_visible = |entry: &walkdir::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        let entries = walkdir::WalkDir::new(folder).into_iter().filter_entry(is_visible);
        // A folder that is not there yet has no objects.
        Ok(entries.filter_map(std::result::Result::ok).filter(|entry| entry.file_type().is_file()).count())
    }

    /// All but compiled components, so that the next run delivers again.
    pub fn forget_deliveries(&self) -> Result<()> {
        for entry in fs::read_dir(self.state())? {
            let path = entry?.path();
            if path.is_file() {
                fs::remove_file(path)?;
            }
        }
        if self.objects().exists() {
            fs::remove_dir_all(self.objects())?;
        }
        Ok(())
    }

    fn command(&self, streams: &[Stream<'_>]) -> Result<Command> {
        let mut text = format!("state_dir: {}\ndelivery_streams:\n", self.state().display());
        for Stream { name, log, component, compression } in streams {
            let processing = component.map_or(String::from("[]"), |component| format!("[{{ wasm: {component} }}]"));
            text += &format!(
                "- name: {name}\n\
                \x20 source: {{ file: {{ paths: [\"{}\"] }} }}\n\
                \x20 processing: {processing}\n\
                \x20 buffering: {{ size_mb: 128, interval_seconds: 900 }}\n\
                \x20 compression: {compression}\n\
                \x20 destination: {{ directory: {{ path: {}/{name} }} }}\n",
                log.display(),
                self.objects().display(),
            );
        }
        let configuration = self.0.join("hydrant.yaml");
        fs::write(&configuration, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
        command.args(["run", "--drain", "--config"]).arg(configuration);
        Ok(command)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    fn said(&self) -> PathBuf {
        self.0.join("said")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by hand.
        let _ = fs::remove_dir_all(&self.0);
    }
}
