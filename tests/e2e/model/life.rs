//! Hydrant as the model sees it: up or down, killed here and there, and what it has delivered so far.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::crash::FAILPOINTS;
use crate::support::lines::LineId;
use crate::support::{Hydrant, Objects, Rng, Scratch};

/// What stands in complete objects; each object is read once.
pub struct Delivered {
    pub objects: Objects,
    parsed: BTreeSet<String>,
    lines: BTreeSet<LineId>,
}

impl Delivered {
    pub fn of(scratch: &Scratch) -> Self {
        Self { objects: Objects::of(&scratch.out()), parsed: BTreeSet::new(), lines: BTreeSet::new() }
    }

    pub fn has(&self, line: &LineId) -> bool {
        self.lines.contains(line)
    }

    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Takes up new objects and gives the logs and generations whose lines they hold.
    pub fn look(&mut self) -> BTreeSet<(String, u32)> {
        self.objects.look();
        let mut files = BTreeSet::new();
        for (key, data) in self.objects.iter() {
            if !self.parsed.insert(key.to_owned()) {
                continue;
            }
            let text = String::from_utf8_lossy(data);
            for line in text.lines().filter_map(LineId::parse) {
                files.insert((line.log.clone(), line.generation));
                self.lines.insert(line);
            }
        }
        files
    }
}

/// The daemon from start to end, or the time without one.
pub enum Life {
    Up { hydrant: Hydrant, is_armed: bool },
    Down,
}

impl Life {
    /// Starts Hydrant; one life in four ends by itself at a failpoint, and in one of two Hydrant lingers between its steps, as on
    /// a machine that is too slow for its load.
    pub fn start(scratch: &Scratch, config: &Value, rng: &mut Rng) -> (Self, String) {
        let name = FAILPOINTS[rng.between(0, FAILPOINTS.len() as u64) as usize];
        let failpoint = format!("{name}:{}", rng.between(1, 6));
        let is_armed = rng.one_in(4);
        let jitter = format!("{}:{}", rng.next(), [1, 5, 25][rng.between(0, 3) as usize]);
        let failpoint = is_armed.then_some(("HYDRANT_FAILPOINT", failpoint.as_str()));
        let jitter = rng.one_in(2).then_some(("HYDRANT_JITTER", jitter.as_str()));
        let env: Vec<_> = failpoint.into_iter().chain(jitter).collect();
        let told = env.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
        (Self::Up { hydrant: Hydrant::run_with_env(scratch, config, &env), is_armed }, format!("started{told}"))
    }

    pub fn unarmed(scratch: &Scratch, config: &Value) -> Self {
        Self::Up { hydrant: Hydrant::run(scratch, config), is_armed: false }
    }

    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// Whether it has died at its failpoint; any other end by itself fails the test.
    pub fn has_died(&self) -> bool {
        let Self::Up { hydrant, is_armed } = self else { return false };
        let is_dead = !hydrant.is_alive();
        assert!(*is_armed || !is_dead, "Hydrant has ended by itself:\n{}", hydrant.stderr());
        is_dead
    }

    /// SIGKILL, also for one that is dead already.
    pub fn kill(&mut self) {
        if let Self::Up { hydrant, .. } = std::mem::replace(self, Self::Down) {
            let finished = hydrant.kill_9();
            assert!(finished.killed(), "{finished}");
        }
    }

    /// SIGTERM, to a good end, unless a failpoint came first.
    pub fn terminate(&mut self) {
        if let Self::Up { hydrant, is_armed } = std::mem::replace(self, Self::Down) {
            let finished = hydrant.terminate();
            // Before it has done anything the signal still means what it means to every program.
            let had_begun = !finished.stderr.is_empty();
            let is_unheard = finished.status.signal() == Some(Signal::TERM.as_raw()) && !had_begun;
            let met_failpoint = is_armed && finished.killed();
            if !is_unheard && !met_failpoint {
                finished.expect_code(0);
            }
        }
    }
}

/// The sum of all `lost_bytes` that all lives have reported, and what none of them may ever say.
pub fn reports(scratch: &Scratch) -> (u64, Vec<String>) {
    let (mut lost, mut complaints) = (0, Vec::new());
    for entry in std::fs::read_dir(scratch.root()).expect("the scratch folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "stderr") {
            continue;
        }
        for line in std::fs::read_to_string(&path).expect("what Hydrant said").lines() {
            if let Some((_, rest)) = line.split_once("lost_bytes=") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                lost += digits.parse::<u64>().expect("a byte count");
            }
            if ["panicked at", "BALANCE", "does not balance"].iter().any(|text| line.contains(text)) {
                complaints.push(line.to_owned());
            }
        }
    }
    (lost, complaints)
}
