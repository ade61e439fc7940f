//! Files that are away, cut or deleted when something of them is still owed.

use std::path::Path;

use crate::support::lines::Rotation;
use crate::support::scratch::append;
use crate::support::{Hydrant, Ledger, Log, Scratch, config, delivered_lines, directory, stream, wait_until};

#[cfg(debug_assertions)]
use crate::recovery::killed_at;

/// Killed at the failpoint, then started without the file, then with it: each line is delivered once.
#[cfg(debug_assertions)]
fn away_for_one_life(failpoint: &str) {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "a.log", Rotation::Shift);
    log.append(200);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    killed_at(&scratch, &config, failpoint);
    let (here, away) = (scratch.logs().join("a.log"), scratch.path("a.away"));
    std::fs::rename(&here, &away).expect("a log can be moved");
    // Whether a drain without the file counts as complete is not what is asked here.
    Hydrant::begin_drain(&scratch, &config).wait();
    std::fs::rename(&away, &here).expect("a log can be moved");
    log.append(200);
    Hydrant::drain(&scratch, &config);
    Ledger::of(&[log]).assert_exactly_once(&scratch.out());
}

#[cfg(debug_assertions)]
#[test]
fn a_file_that_was_away_when_its_delivery_turned_out_to_have_arrived_is_not_delivered_again() {
    away_for_one_life("object-complete:1");
}

#[cfg(debug_assertions)]
#[test]
fn a_file_that_was_away_when_its_delivery_was_to_be_formed_again_is_not_lost() {
    away_for_one_life("intent-committed:1");
}

/// `HYDRANT_LINGER_MS` shortens for debug builds how long such files are waited for.
#[cfg(debug_assertions)]
fn last_line_without_its_delimiter(remove: impl FnOnce(&Scratch, &Path)) {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "whole\nhalf");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let hydrant = Hydrant::run_with_env(&scratch, &config, &[("HYDRANT_LINGER_MS", "300")]);
    wait_until("the whole line is there", || delivered_lines(&scratch.out()) == ["whole"]);
    remove(&scratch, &path);
    wait_until("the last line is there", || delivered_lines(&scratch.out()) == ["half", "whole"]);
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["half", "whole"], "and only once");
}

#[cfg(debug_assertions)]
#[test]
fn the_unfinished_last_line_of_a_deleted_file_is_delivered() {
    last_line_without_its_delimiter(|_, path| std::fs::remove_file(path).expect("a log can be deleted"));
}

#[cfg(debug_assertions)]
#[test]
fn the_unfinished_last_line_of_a_file_renamed_out_of_the_globs_is_delivered() {
    last_line_without_its_delimiter(|scratch, path| {
        std::fs::rename(path, scratch.logs().join("a.old")).expect("a log can be renamed");
    });
}

#[cfg(debug_assertions)]
#[test]
fn the_unfinished_last_line_of_a_rotated_file_is_delivered_though_the_globs_match_it() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "whole\nhalf");
    let config = config(&scratch, [stream("s", &scratch.logs().join("a.log*"), directory(&scratch.out()))]);
    let env = [("HYDRANT_LINGER_MS", "300")];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    wait_until("the whole line is there", || delivered_lines(&scratch.out()) == ["whole"]);
    std::fs::rename(&path, scratch.logs().join("a.log.1")).expect("a log can be renamed");
    scratch.log("a.log", "new\nunfinished");
    wait_until("the rotated file's last line is there", || delivered_lines(&scratch.out()) == ["half", "new", "whole"]);
    hydrant.kill_9();

    // After a restart only the names tell.
    append(&scratch.logs().join("a.log.1"), "late and unfinished");
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    let all = ["half", "late and unfinished", "new", "whole"];
    wait_until("its late line is there too", || delivered_lines(&scratch.out()) == all);
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), all, "the last line of the log itself still waits");
}

#[cfg(debug_assertions)]
#[test]
fn a_stop_while_an_earlier_delivery_waits_for_its_file_keeps_the_account_balanced() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "one\ntwo\n");
    scratch.log("b.log", "three\nfour\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    killed_at(&scratch, &config, "intent-committed:1");
    std::fs::rename(scratch.logs().join("b.log"), scratch.path("b.away")).expect("a log can be moved");
    append(&path, "later\n");
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the file that is there was read", || delivered_lines(&scratch.out()) == ["later"]);
    assert_eq!(hydrant.said("a delivery is formed again"), 1);
    let finished = hydrant.terminate().expect_code(0);
    assert!(!finished.stderr.contains("does not balance"), "{finished}");

    std::fs::rename(scratch.path("b.away"), scratch.logs().join("b.log")).expect("a log can be moved");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["four", "later", "one", "three", "two"]);
}

#[cfg(debug_assertions)]
#[test]
fn a_file_seen_empty_then_written_and_cut_while_down_is_new_and_the_loss_is_reported() {
    let scratch = Scratch::new();
    let path = scratch.log("a.log", "");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let env = [("HYDRANT_FAILPOINT", "intent-committed:1")];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    wait_until("the empty file is seen", || hydrant.said("a file is read that was not seen before") == 1);
    append(&path, (0..10).map(|n| format!("old {n}\n")).collect::<String>());
    let finished = hydrant.wait();
    assert!(finished.killed(), "{finished}");

    let new: Vec<String> = (0..10).map(|n| format!("completely new {n}")).collect();
    scratch.log("a.log", new.join("\n") + "\n");
    let finished = Hydrant::begin_drain(&scratch, &config).wait();
    let reports = |line: &str| line.contains("ERROR") && (line.contains("lost_bytes=") || line.contains("unreadable"));
    assert!(finished.stderr.lines().any(reports), "{finished}");
    assert_eq!(delivered_lines(&scratch.out()), new);
}
