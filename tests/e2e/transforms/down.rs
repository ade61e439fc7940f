//! Components that do not work for a while, and places for instances that are not there for a while: nothing is lost meanwhile.

use std::io::Write;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::support::{Hydrant, Scratch, config, wait_until};

use super::{component, delivered, drain, failed, transformed};

/// Of which five fit into the pool.
const MEMORIES_OF_A_LARGE_INSTANCE: usize = 200;

#[test]
fn a_component_that_fails_for_every_batch_is_waited_for_until_its_file_is_replaced() {
    let scratch = Scratch::new();
    let file = scratch.path("transform.wasm");
    let place = |from: &std::path::Path| {
        let staged = scratch.path("transform.new");
        std::fs::copy(from, &staged).expect("a component copied");
        std::fs::rename(&staged, &file).expect("a component in its place");
    };
    place(&component(&scratch, "hostile.wasm"));
    let log = scratch.log("s.log", "");
    let append = |text: &str| {
        let mut log = std::fs::File::options().append(true).open(&log).expect("the log");
        log.write_all(text.as_bytes()).expect("lines written");
    };
    let step = json!({ "wasm": { "component": file, "config": { "transform": "trap", "when": "" }, "batch_mb": 0.2 } });
    let hydrant = Hydrant::run(&scratch, &config(&scratch, [transformed(&scratch, "s", [step])]));
    // A record on which it dies fails alone, three batches long.
    for number in 1..=3 {
        append(&format!("poison {number}\n"));
        wait_until("the record has failed", || failed(&scratch, "s").len() == number);
    }
    let lines: Vec<_> = (0..50_000).map(|number| format!("line {number}")).collect();
    append(&(lines.join("\n") + "\n"));
    wait_until("the component is down", || hydrant.said("the delivery stream waits") > 0);
    place(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms/pass-through/pass-through.wasm"));
    hydrant.signal(rustix::process::Signal::HUP);
    wait_until("it says that it waits", || hydrant.said("reloading: waiting for what was read") == 1);
    wait_until("all is delivered", || delivered(&scratch, "s").len() >= lines.len());
    hydrant.terminate().expect_code(0);
    let mut delivered = delivered(&scratch, "s");
    // In several objects, whose names do not tell their order.
    delivered.sort_by_key(|line| line[5..].parse::<u32>().ok());
    assert_eq!(delivered, lines);
    assert_eq!(failed(&scratch, "s").len(), 3);
}

/// Each step keeps an instance, until the pool has no place for the next one's: then they all give theirs up.
#[test]
fn a_stream_waits_for_a_place_and_the_component_is_not_blamed() {
    let scratch = Scratch::new();
    let lines: Vec<_> = (0..2_000).map(|number| format!("line {number}")).collect();
    scratch.log("s.log", lines.join("\n") + "\n");
    let path = large_component(&scratch);
    let step = json!({ "wasm": {
        "component": path, "config": 9, "instances": "reuse", "on_failure": "backup", "retries": 0, "batch_mb": 0.2,
    } });
    let finished = drain(&scratch, vec![step; 7]);
    assert!(finished.stderr.contains("no instance of the transform can be made now"), "{finished}");
    assert!(!finished.stderr.contains("fails for every batch"), "{finished}");
    assert_eq!(delivered(&scratch, "s"), vec!["ok"; lines.len()], "{finished}");
    assert_eq!(failed(&scratch, "s").len(), 0, "{finished}");
}

/// So little address space that no memory can be set aside, until there is more.
#[test]
fn a_stream_goes_on_when_there_is_memory_for_an_instance_again() {
    let scratch = Scratch::new();
    scratch.log("s.log", "one\ntwo\n");
    let step =
        json!({ "wasm": { "component": component(&scratch, "hostile.wasm"), "on_failure": "backup", "retries": 0 } });
    let config = config(&scratch, [transformed(&scratch, "s", [step])]);
    let hydrant = Hydrant::run_with_address_space(&scratch, &config, 4_000_000);
    wait_until("it waits", || hydrant.said("no instance of the transform can be made now") > 0);
    assert_eq!((delivered(&scratch, "s").len(), failed(&scratch, "s").len()), (0, 0));
    let pid = Pid::from_raw(hydrant.pid() as i32);
    prlimit(pid, Resource::As, Rlimit { current: None, maximum: None }).expect("a limit lifted");
    wait_until("all is delivered", || delivered(&scratch, "s").len() == 2);
    assert_eq!((delivered(&scratch, "s"), failed(&scratch, "s").len()), (vec!["one".into(), "two".into()], 0));
    hydrant.terminate().expect_code(0);
}

/// As `malformed.wat`, with more memories than anybody needs.
fn large_component(scratch: &Scratch) -> std::path::PathBuf {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/components/malformed.wat");
    let text = std::fs::read_to_string(source).expect("the text of a component");
    let body = text.trim_end().strip_suffix(')').expect("the component's end");
    let others = "(core instance (instantiate $empty))\n".repeat(MEMORIES_OF_A_LARGE_INSTANCE - 1);
    let text = format!("{body}\n(core module $empty (memory 0))\n{others})");
    let path = scratch.path("large.wasm");
    std::fs::write(&path, wat::parse_str(text).expect("the text is well-formed")).expect("a component written");
    path
}
