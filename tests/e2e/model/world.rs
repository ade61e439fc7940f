//! Everything that a sequence acts on: logs and their files, Hydrant, and the account of what must come of it.
//!
//! Always true: a line that is neither delivered nor in a file that Hydrant can read may be lost, and no other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::lines::LineId;
use crate::support::wait::holds_within;
use crate::support::{DEADLINE, Hydrant, Rng, Scratch, config, directory, stream};

use super::account::Account;
use super::file::{Known, ModelFile};
use super::life::{Delivered, Life, reports};
use super::operation::{Operation, Step};

/// The last of the logs is a symbolic link.
pub const LOGS: usize = 3;
pub const LINKED: usize = LOGS - 1;

pub struct Log {
    pub name: String,
    /// Number of the next line.
    pub next: u64,
    pub generations: u32,
    /// The file that is written, when there is one.
    pub current: Option<usize>,
    /// `.1`, `.2` and so on, as far as they were not deleted.
    pub rotated: Vec<Option<usize>>,
}

pub struct World {
    pub scratch: Scratch,
    config: Value,
    pub logs: Vec<Log>,
    /// All that ever were; nothing is taken out.
    pub files: Vec<ModelFile>,
    pub account: Account,
    pub life: Life,
    pub delivered: Delivered,
    /// Generations of which several files hold lines, so that a delivered line does not tell which of them was read.
    pub shared: BTreeSet<(String, u32)>,
    /// For names that are given once.
    pub names: u32,
    /// Operations until Hydrant is started again.
    down_for: u64,
    deaths: u32,
    /// How long the writer is held up between two steps, at most.
    dawdle_ms: u64,
    story: Vec<String>,
}

impl World {
    pub fn new(dawdle_ms: u64) -> Self {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.logs().join("targets")).expect("a folder for what links point to");
        let config = config(&scratch, [stream("model", &scratch.logs().join("app*.log*"), directory(&scratch.out()))]);
        let log = |n| Log { name: format!("app-{n}.log"), next: 0, generations: 0, current: None, rotated: Vec::new() };
        let delivered = Delivered::of(&scratch);
        Self {
            scratch,
            config,
            logs: (0..LOGS).map(log).collect(),
            files: Vec::new(),
            account: Account::default(),
            life: Life::Down,
            delivered,
            shared: BTreeSet::new(),
            names: 0,
            down_for: 0,
            deaths: 0,
            dawdle_ms,
            story: Vec::new(),
        }
    }

    pub fn apply(&mut self, step: Step) {
        let mut rng = Rng::new(step.dice);
        self.story.push(format!("{:?} (dice {})", step.operation, step.dice));
        self.bury_the_dead();
        self.look();
        match step.operation {
            Operation::Terminate | Operation::Kill if !self.life.is_up() => self.start(&mut rng),
            Operation::Terminate => self.stop(Life::terminate, &mut rng),
            Operation::Kill => self.stop(Life::kill, &mut rng),
            Operation::Pause => self.pause(&mut rng),
            Operation::Glimpse => self.glimpse(&mut rng),
            _ => self.change_files(step.operation, &mut rng),
        }
        match self.down_for.checked_sub(1) {
            Some(rest) => self.down_for = rest,
            None if !self.life.is_up() => self.start(&mut rng),
            None => {}
        }
    }

    /// The end: everything that is still there is drained and the account is closed.
    pub fn finish(&mut self, rng: &mut Rng) {
        self.story.push("the end".to_owned());
        match rng.between(0, 3) {
            0 => self.pause(rng),
            1 => self.stop(Life::terminate, rng),
            _ => self.stop(Life::kill, rng),
        }
        self.stop(Life::terminate, rng);
        for file in self.files.iter().filter(|file| file.path.is_some() && file.is_in_glob) {
            if let Some(torn) = &file.torn {
                self.account.demand_fragment(&torn.head());
            }
        }
        Hydrant::drain(&self.scratch, &self.config);
        self.delivered.look();
        self.delivered.objects.check_unchanged();
        self.verify();
        let (lost, complaints) = reports(&self.scratch);
        assert_eq!(complaints, Vec::<String>::new());
        let is_right = self.account.has_losses || lost <= self.account.doubted_bytes;
        assert!(is_right, "{lost} bytes are reported as lost, and none were");
    }

    /// The writer is held up here now and then, and Hydrant sees what is half done.
    pub fn dawdle(&self, rng: &mut Rng) {
        let (is_held_up, time) = (rng.one_in(3), rng.between(0, self.dawdle_ms + 1));
        if is_held_up {
            std::thread::sleep(Duration::from_millis(time));
        }
    }

    pub fn note(&mut self, what: impl Into<String>) {
        self.story.push(format!("    {}", what.into()));
    }

    fn start(&mut self, rng: &mut Rng) {
        let (life, what) = Life::start(&self.scratch, &self.config, rng);
        self.life = life;
        self.note(what);
    }

    fn start_unarmed(&mut self) {
        self.life = Life::unarmed(&self.scratch, &self.config);
        self.note("started");
    }

    fn stop(&mut self, how: fn(&mut Life), rng: &mut Rng) {
        how(&mut self.life);
        self.down_for = rng.between(0, 7);
        self.forget_what_was_open();
    }

    fn bury_the_dead(&mut self) {
        if self.life.has_died() {
            self.note("died at its failpoint");
            self.life.kill();
            self.deaths += 1;
            self.forget_what_was_open();
        }
    }

    /// What it had open without a name is gone with it.
    fn forget_what_was_open(&mut self) {
        self.look();
        let mut gone = Vec::new();
        for file in &mut self.files {
            match file.path {
                Some(_) => file.known = file.known.min(Known::Before),
                None if file.known == Known::Now => {
                    file.known = Known::No;
                    gone.append(&mut file.lines.clone());
                }
                None => {}
            }
        }
        self.check_losses(&gone);
    }

    /// Takes up what was delivered; a file whose line it is was open in this life.
    pub fn look(&mut self) {
        let known = if self.life.is_up() { Known::Now } else { Known::Before };
        for (log, generation) in self.delivered.look() {
            if self.shared.contains(&(log.clone(), generation)) {
                continue;
            }
            let is_it = |file: &&mut ModelFile| {
                file.generation == generation && file.log.is_some_and(|n| self.logs[n].name == log)
            };
            if let Some(file) = self.files.iter_mut().find(is_it).filter(|file| file.path.is_some()) {
                file.known = file.known.max(known);
            }
        }
    }

    /// Some bytes of these lines were destroyed, or moved out of sight: which lines nobody can read any more?
    pub fn check_losses(&mut self, lines: &[LineId]) {
        self.look();
        let safe: BTreeSet<&LineId> = self.files.iter().filter(|f| is_safe(f)).flat_map(|f| &f.lines).collect();
        let lost: Vec<_> = lines.iter().filter(|line| !safe.contains(line) && !self.delivered.has(line)).collect();
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            self.story.push(format!("    {} lines may be lost: {first:?} to {last:?}", lost.len()));
        }
        lost.into_iter().for_each(|line| self.account.may_be_lost(line));
    }

    /// Hydrant catches up with everything. A new file is found by a walk of the globs that began after all that was
    /// there before it: when its line is delivered, every file is known.
    fn pause(&mut self, rng: &mut Rng) {
        if !self.life.is_up() {
            self.start(rng);
        }
        loop {
            let deaths = self.deaths;
            self.probe();
            self.wait_until("everything is delivered", |world| {
                world.account.certain().all(|line| world.delivered.has(line))
            });
            if self.deaths == deaths {
                break;
            }
        }
        for file in self.files.iter_mut().filter(|file| file.path.is_some()) {
            if file.is_in_glob || file.known == Known::Before {
                file.known = Known::Now;
            }
        }
        self.verify();
    }

    fn probe(&mut self) {
        let name = format!("app-probe-{}.log", self.name());
        let line = LineId { log: name.clone(), generation: 0, number: 0 };
        let path = self.scratch.log(&name, line.text() + "\n");
        self.account.add(&line);
        self.files.push(ModelFile::found(&path, None, 0, vec![line]));
    }

    /// Waits for one more line, if one has to come: what follows meets Hydrant in the middle of its work.
    fn glimpse(&mut self, rng: &mut Rng) {
        if !self.life.is_up() {
            self.start(rng);
        }
        let before = self.delivered.count();
        self.wait_until("something more is delivered", |world| {
            world.delivered.count() > before || world.account.certain().all(|line| world.delivered.has(line))
        });
    }

    /// Waits until what is certain among these lines is delivered.
    pub fn wait_for_lines(&mut self, lines: &[LineId], rng: &mut Rng) {
        if !self.life.is_up() && !lines.iter().all(|line| self.delivered.has(line)) {
            self.start(rng);
        }
        let wanted: Vec<_> = lines.iter().filter(|line| !self.account.fate(line).may_be_lost).cloned().collect();
        self.wait_until("lines of a file are delivered", |world| wanted.iter().all(|line| world.delivered.has(line)));
    }

    /// Waits, and starts Hydrant again when it dies on the way.
    fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let came = holds_within(DEADLINE, || {
            self.bury_the_dead();
            if !self.life.is_up() && !condition(self) {
                self.start_unarmed();
            }
            self.look();
            condition(self)
        });
        if !came {
            self.verify();
            panic!("waited {DEADLINE:?} in vain: {what}");
        }
    }

    fn verify(&self) {
        if let Err(problems) = self.account.verify(&self.delivered.objects) {
            panic!("{problems}");
        }
    }

    pub fn name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }

    /// What happened and what is on disk, for whoever has to find out why.
    pub fn tell(&self) -> String {
        let mut text = self.story.join("\n") + "\non disk:\n";
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in [self.scratch.logs(), self.scratch.logs().join("targets")] {
            paths.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        paths.sort();
        for path in paths {
            use std::os::unix::fs::MetadataExt;
            let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
            text += &format!("    {} inode {}, {} bytes\n", path.display(), metadata.ino(), metadata.len());
        }
        text
    }
}

/// Whether Hydrant can still read it, whatever happens to Hydrant next but for the end of a life.
fn is_safe(file: &ModelFile) -> bool {
    match (&file.path, file.is_in_glob) {
        (Some(_), true) => true,
        (Some(_), false) => file.known >= Known::Before,
        (None, _) => file.known == Known::Now,
    }
}
