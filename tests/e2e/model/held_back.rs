//! What is truncated while reading is held back is lost, and is reported to the byte.

use std::collections::BTreeSet;

use crate::support::config::blockable_directory;
use crate::support::inventory::Inventory;
use crate::support::lines::LineId;
use crate::support::rng::seed;
use crate::support::scratch::InTheWay;
use crate::support::{Hydrant, Objects, Rng, Scratch, config, stream, wait_until};

use super::account::Account;
use super::file::ModelFile;
use super::life::reports;

/// Each alone is more than all buffers hold, so that no file is read to its end before reading halts.
const LINES_MIN: u64 = 80_000;
const ROUNDS: usize = 2;

fn lines(log: usize, generation: u32, numbers: std::ops::Range<u64>) -> Vec<LineId> {
    numbers.map(|number| LineId { log: format!("app-{log}.log"), generation, number }).collect()
}

fn bytes<'a>(lines: impl IntoIterator<Item = &'a LineId>) -> u64 {
    lines.into_iter().map(|line| line.text().len() as u64 + 1).sum()
}

#[test]
fn bytes_truncated_while_reading_is_held_back_are_reported_to_the_byte() {
    let mut rng = Rng::new(seed("held back"));
    for _ in 0..ROUNDS {
        truncate_held_back(&mut rng);
    }
}

fn truncate_held_back(rng: &mut Rng) {
    let scratch = Scratch::new();
    let in_the_way = InTheWay::of(&scratch.out());
    let mut config =
        config(&scratch, [stream("s", &scratch.logs().join("app*.log"), blockable_directory(&scratch.out()))]);
    config["memory_limit_mb"] = 16.into();
    let mut account = Account::default();
    let mut files: Vec<_> =
        (0..2).map(|log| ModelFile::create(&scratch.logs().join(format!("app-{log}.log")), log, 0)).collect();
    for (log, file) in files.iter_mut().enumerate() {
        let lines = lines(log, 0, 0..rng.between(LINES_MIN, LINES_MIN * 2));
        file.write(&lines, rng);
        lines.iter().for_each(|line| account.add(line));
    }
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the destination refuses", || hydrant.said("ENOTDIR") > 0);
    hydrant.wait_until_reading_halts();

    let truncated = if rng.one_in(2) { 2 } else { 1 };
    let mut old = BTreeSet::new();
    for (log, file) in files.iter_mut().enumerate().take(truncated) {
        old.extend(file.lines.clone());
        file.truncate(false);
        wait_until("the loss is reported", || hydrant.said("lost_bytes=") > log);
        let next = lines(log, 1, 1_000_000..1_000_000 + rng.between(1, 100));
        file.write(&next, rng);
        next.iter().for_each(|line| account.add(line));
    }
    old.iter().for_each(|line| account.may_be_lost(line));
    drop(in_the_way);
    let objects = || Objects::read(&scratch.out());
    wait_until("what is left is delivered", || account.verify(&objects()).is_ok());
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config);

    let objects = objects();
    account.verify(&objects).unwrap_or_else(|problems| panic!("{problems}"));
    let found = Inventory::of(&objects).lines;
    let missing = bytes(old.iter().filter(|line| !found.contains_key(line)));
    assert!(missing > 0, "reading was held back before the end of a file");
    assert_eq!(reports(&scratch).0, missing, "bytes reported, bytes missing");
}
