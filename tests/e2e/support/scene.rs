//! One delivery stream that reads `app.log*`: what rotation does to such files, and what must have come of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::{blockable_directory, config, directory, stream};
use super::hydrant::{Finished, Hydrant};
use super::journal;
use super::objects::delivered_lines;
use super::packing::Packer;
use super::scratch::{Scratch, append};
use super::wait::wait_until;

pub struct Scene {
    pub scratch: Scratch,
    pub config: Value,
}

impl Scene {
    pub fn new() -> Self {
        Self::to(directory)
    }

    /// With a log of two lines, `1` and `2`.
    pub fn with_two_lines() -> Self {
        let scene = Self::new();
        scene.scratch.log("app.log", "1\n2\n");
        scene
    }

    /// A file may be put in the way of its objects.
    pub fn blockable() -> Self {
        Self::to(blockable_directory)
    }

    fn to(destination: fn(&Path) -> Value) -> Self {
        let scratch = Scratch::new();
        let config = config(&scratch, [stream("s", &scratch.logs().join("app.log*"), destination(&scratch.out()))]);
        Self { scratch, config }
    }

    pub fn run(&self) -> Hydrant {
        Hydrant::run(&self.scratch, &self.config)
    }

    /// What it waits for in minutes, it waits for half a second.
    pub fn run_impatient(&self) -> Hydrant {
        Hydrant::run_with_env(&self.scratch, &self.config, &[("HYDRANT_LINGER_MS", "500")])
    }

    /// It stops where it passes this point, so that files change under its hands: `name:n` for the n-th time.
    pub fn run_to(&self, point: &str) -> Hydrant {
        Hydrant::run_with_env(&self.scratch, &self.config, &[("HYDRANT_STOP", point)])
    }

    pub fn drain(&self) -> Finished {
        Hydrant::drain(&self.scratch, &self.config)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.logs().join(name)
    }

    pub fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    pub fn lines(&self) -> Vec<String> {
        delivered_lines(&self.scratch.out())
    }

    /// These lines are delivered, in whatever order, and no others.
    #[track_caller]
    pub fn arrive(&self, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        wait_until(&format!("{expected:?} are delivered"), || self.lines().len() >= expected.len());
        assert_eq!(self.lines(), expected);
    }

    /// The checkpoint of the file of this name is there.
    #[track_caller]
    pub fn settled(&self, name: &str, position: u64) {
        wait_until("its checkpoint is stored", || journal::checkpoint(&self.scratch, name) == position);
    }

    /// Ends it, and looks that drains find nothing more but `all`.
    #[track_caller]
    pub fn ends_with(&self, hydrant: Hydrant, all: &[&str]) {
        hydrant.terminate().expect_code(0);
        self.drains_to(all);
    }

    /// A drain makes it `all`, and another one adds nothing.
    #[track_caller]
    pub fn drains_to(&self, all: &[&str]) {
        for _ in 0..2 {
            self.drain();
            self.arrive(all);
        }
    }

    pub fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).expect("a log copied");
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("a log renamed");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("a log removed");
    }

    pub fn truncate(&self, name: &str) {
        fs::OpenOptions::new().write(true).truncate(true).open(self.path(name)).expect("a log truncated");
    }

    /// What gzip does: a twin beside the file, written in pieces, then the file removed.
    pub fn compress(&self, name: &str, to: &str, packer: Packer) {
        let packed = packer(&fs::read(self.path(name)).expect("a log read"));
        let (head, tail) = packed.split_at(packed.len() / 2);
        fs::write(self.path(to), head).expect("half a twin");
        append(&self.path(to), tail);
        self.remove(name);
    }
}
