//! Numbered lines, the logs that hold them, and the proof that each was delivered exactly once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::inventory::Inventory;
use super::objects::Objects;
use super::rng::Rng;

/// What names a line: its log, which file of that log (a rotation begins the next), and its number in the whole log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId {
    pub log: String,
    pub generation: u32,
    pub number: u64,
}

impl LineId {
    /// The line's text follows from its id, so that a cut or mixed line is told from a whole one.
    pub fn text(&self) -> String {
        let noise = Rng::new(self.number).next();
        let padding = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(8);
        let length = (noise % 200) as usize;
        format!("{} {} {} {noise:x} {}", self.log, self.generation, self.number, &padding[..length])
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (log, generation, number) = (words.next()?, words.next()?, words.next()?);
        let id = Self { log: log.to_owned(), generation: generation.parse().ok()?, number: number.parse().ok()? };
        (id.text() == text).then_some(id)
    }
}

/// How many lines each log has had: what the destination has to hold in the end.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    written: BTreeMap<String, u64>,
}

impl Ledger {
    pub fn add(&mut self, log: &Log) {
        self.written.insert(log.name.clone(), log.next);
    }

    pub fn of(logs: &[Log]) -> Self {
        let mut ledger = Self::default();
        logs.iter().for_each(|log| ledger.add(log));
        ledger
    }

    pub fn total(&self) -> u64 {
        self.written.values().sum()
    }

    /// Every line in exactly one object, whole, in order within its file; nothing else anywhere.
    pub fn verify(&self, objects: &Objects) -> Result<(), String> {
        let inventory = Inventory::of(objects);
        let mut problems = inventory.problems();
        problems.extend(inventory.doubled(|_| true));
        problems.extend(self.missing(&inventory));
        inventory.verdict(&problems, self.total())
    }

    #[track_caller]
    pub fn assert_exactly_once(&self, root: &Path) {
        if let Err(problems) = self.verify(&Objects::read(root)) {
            panic!("{problems}");
        }
    }

    fn missing(&self, inventory: &Inventory) -> Vec<String> {
        let mut seen: BTreeMap<&str, Vec<bool>> =
            self.written.iter().map(|(log, count)| (log.as_str(), vec![false; *count as usize])).collect();
        let mut problems = Vec::new();
        for id in inventory.lines.keys() {
            match seen.get_mut(id.log.as_str()).and_then(|numbers| numbers.get_mut(id.number as usize)) {
                Some(seen) => *seen = true,
                None => problems.push(format!("{id:?} was never written")),
            }
        }
        for (log, numbers) in seen {
            let missing: Vec<usize> = numbers.iter().enumerate().filter(|(_, seen)| !**seen).map(|(n, _)| n).collect();
            if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
                problems.push(format!("{log}: {} lines missing between {first} and {last}", missing.len()));
            }
        }
        problems
    }
}

/// How a log's file makes room for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// `app.log` → `app.log.1` → `app.log.2` …, all of which the glob `app.log*` matches.
    Shift,
    /// `app.log` → `old-app.log-7`, which no glob matches.
    OutOfTheGlob,
}

/// One log, written line by line.
pub struct Log {
    pub name: String,
    pub generation: u32,
    /// The number of the next line, that is the count of lines so far.
    pub next: u64,
    dir: PathBuf,
    rotation: Rotation,
    file: File,
}

impl Log {
    pub fn create(dir: &Path, name: &str, rotation: Rotation) -> Self {
        std::fs::create_dir_all(dir).expect("the folder of a log");
        let file = File::create_new(dir.join(name)).expect("a new log");
        Self { name: name.to_owned(), generation: 0, next: 0, dir: dir.to_owned(), rotation, file }
    }

    pub fn rotation(&self) -> Rotation {
        self.rotation
    }

    /// Appends whole lines in one write.
    pub fn append(&mut self, count: u64) {
        let text = self.lines(count);
        self.file.write_all(text.as_bytes()).expect("a log can be appended to");
    }

    /// Appends lines in two writes with a cut anywhere between, as programs with a buffer do.
    pub fn append_in_two_writes(&mut self, count: u64, rng: &mut Rng) {
        let text = self.lines(count);
        let (head, tail) = text.as_bytes().split_at(rng.between(0, text.len() as u64 + 1) as usize);
        self.file.write_all(head).expect("a log can be appended to");
        self.file.write_all(tail).expect("a log can be appended to");
    }

    pub fn rotate(&mut self) {
        let current = self.dir.join(&self.name);
        match self.rotation {
            Rotation::Shift => {
                for n in (1..=self.generation).rev() {
                    let (from, to) = (self.rotated(n), self.rotated(n + 1));
                    std::fs::rename(from, to).expect("a rotated log can be renamed");
                }
                std::fs::rename(&current, self.rotated(1)).expect("a log can be renamed");
            }
            Rotation::OutOfTheGlob => {
                let away = self.dir.join(format!("old-{}-{}", self.name, self.generation));
                std::fs::rename(&current, away).expect("a log can be renamed");
            }
        }
        self.generation += 1;
        self.file = File::create_new(&current).expect("a new log");
    }

    fn rotated(&self, n: u32) -> PathBuf {
        self.dir.join(format!("{}.{n}", self.name))
    }

    fn lines(&mut self, count: u64) -> String {
        let mut text = String::new();
        for number in self.next..self.next + count {
            let id = LineId { log: self.name.clone(), generation: self.generation, number };
            text.push_str(&id.text());
            text.push('\n');
        }
        self.next += count;
        text
    }
}

/// Whether some object holds a line of this log's present file, which proves that Hydrant knows the file.
pub fn present_file_was_delivered(log: &Log, objects: &Objects) -> bool {
    let start = format!("{} {} ", log.name, log.generation);
    objects.iter().any(|(_, data)| {
        data.starts_with(start.as_bytes()) || memchr::memmem::find(data, format!("\n{start}").as_bytes()).is_some()
    })
}
