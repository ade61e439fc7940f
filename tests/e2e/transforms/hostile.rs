//! Components that die, hang, grow, lie and shout.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::{Hydrant, Scratch, config, wait_until, write_config};

use super::{component, delivered, drain, failed, hostile, transformed};

fn append(path: &std::path::Path, text: &str) {
    let mut file = std::fs::File::options().append(true).open(path).expect("the log");
    file.write_all(text.as_bytes()).expect("a line written");
}

const RECORDS: usize = 2_000;
/// Which of them are meant.
const POISON: [usize; 3] = [0, 777, 1_999];

fn lines() -> Vec<String> {
    let line = |number| {
        let kind = if POISON.contains(&number) { "poison" } else { "good" };
        format!("{kind} record {number:06}")
    };
    (0..RECORDS).map(line).collect()
}

/// All but the poison arrives once and in order, and the poison is in the error output with this code and message.
#[track_caller]
fn only_the_poison_fails(behaviour: Value, code: &str, message: &str) {
    let scratch = Scratch::new();
    let lines = lines();
    scratch.log("s.log", lines.join("\n") + "\n");
    let limits = json!({ "timeout_ms": 150, "memory_mb": 16, "retries": 1, "batch_mb": 0.2 });
    let finished = drain(&scratch, [hostile(&scratch, behaviour, limits)]);
    let good: Vec<_> = lines.iter().filter(|line| line.starts_with("good")).cloned().collect();
    assert_eq!(delivered(&scratch, "s"), good, "{finished}");
    let failed = failed(&scratch, "s");
    let raw: Vec<_> = failed.iter().map(|failed| failed.raw.as_str()).collect();
    let poison: Vec<_> = POISON.iter().map(|&number| lines[number].as_str()).collect();
    assert_eq!(raw, poison, "{finished}");
    for failed in failed {
        assert_eq!(failed.code, code, "{failed:?}");
        assert!(failed.message.contains(message), "{failed:?}");
        assert!(failed.arn.starts_with("hydrant:wasm:hostile.wasm@") && failed.attempts >= 1, "{failed:?}");
    }
}

const FUNCTION_ERROR: &str = "Lambda.FunctionError";

#[test]
fn a_record_that_traps_the_component_fails_alone() {
    only_the_poison_fails(json!({ "transform": "trap", "when": "poison" }), FUNCTION_ERROR, "unreachable");
}

#[test]
fn a_component_that_exits_has_trapped() {
    only_the_poison_fails(json!({ "transform": "exit", "when": "poison" }), FUNCTION_ERROR, "");
}

#[test]
fn an_endless_loop_ends_at_the_timeout() {
    only_the_poison_fails(json!({ "transform": "loop", "when": "poison" }), FUNCTION_ERROR, "longer than");
}

#[test]
fn a_memory_bomb_stays_within_its_limit() {
    only_the_poison_fails(json!({ "transform": "memory", "when": "poison" }), FUNCTION_ERROR, "more than 16 MB");
}

#[test]
fn endless_recursion_ends_at_the_end_of_the_stack() {
    only_the_poison_fails(json!({ "transform": "stack", "when": "poison" }), FUNCTION_ERROR, "");
}

#[test]
fn a_huge_output_is_refused() {
    let huge = json!({ "transform": "huge", "when": "poison", "amount": 2_000_000 });
    only_the_poison_fails(huge, FUNCTION_ERROR, "larger than 6 times");
}

#[test]
fn very_many_outputs_are_refused() {
    let flood = json!({ "transform": "flood", "when": "poison", "amount": 300_000 });
    only_the_poison_fails(flood, FUNCTION_ERROR, "larger than 6 times");
}

#[test]
fn too_many_or_too_long_partition_keys_are_refused() {
    for keys in [json!({ "transform": "keys", "amount": 51 }), json!({ "transform": "long_key", "amount": 4_097 })] {
        let mut keys = keys;
        keys["when"] = json!("poison");
        only_the_poison_fails(keys, FUNCTION_ERROR, "partition keys of together");
    }
}

#[test]
fn a_wrong_number_of_outcomes_is_the_fault_of_the_records_that_cause_it() {
    for behaviour in ["too_few", "too_many", "nothing"] {
        only_the_poison_fails(
            json!({ "transform": behaviour, "when": "poison" }),
            FUNCTION_ERROR,
            "outcomes for 1 records",
        );
    }
}

#[test]
fn what_the_component_itself_calls_failed_has_its_reason() {
    let refusal = json!({ "transform": "fail", "when": "poison" });
    only_the_poison_fails(refusal, "Lambda.ProcessingFailedStatus", "`hostile.wasm`: no good");
}

#[test]
fn memory_that_is_refused_and_done_without_is_no_failure() {
    let scratch = Scratch::new();
    scratch.log("s.log", "a\nb\n");
    drain(&scratch, [hostile(&scratch, json!({ "transform": "memory_then_pass" }), json!({ "memory_mb": 16 }))]);
    assert_eq!(delivered(&scratch, "s"), ["a", "b"]);
}

/// Nothing but the answer is wrong, and always: every record goes to the error output, and none is lost.
#[test]
fn malformed_answers_are_refused() {
    for kind in 0..9 {
        let scratch = Scratch::new();
        scratch.log("s.log", "one\ntwo\nthree\n");
        let component = component(&scratch, "malformed.wat");
        let step =
            json!({ "wasm": { "component": component, "config": kind, "on_failure": "backup", "batch_mb": 0.2 } });
        let finished = drain(&scratch, [step]);
        let failed = failed(&scratch, "s");
        let raw: Vec<_> = failed.iter().map(|failed| failed.raw.as_str()).collect();
        let all = ["one", "two", "three"];
        assert!(raw == all || (kind == 0 && delivered(&scratch, "s").len() == 3), "{kind}: {failed:?}\n{finished}");
        assert!(failed.iter().all(|failed| failed.code == FUNCTION_ERROR), "{kind}: {failed:?}");
    }
}

#[test]
fn elements_that_share_one_buffer_count_each_time() {
    let scratch = Scratch::new();
    let lines: Vec<_> = (0..50).map(|number| format!("{number}")).collect();
    scratch.log("s.log", lines.join("\n") + "\n");
    let component = component(&scratch, "malformed.wat");
    let step = json!({ "wasm": { "component": component, "config": 0, "batch_mb": 0.2 } });
    let finished = drain(&scratch, [step]);
    // One megabyte for each of 50 records is refused, one for a single record is within 6 times 0.2 MB.
    let objects = crate::support::Objects::read(&scratch.out());
    let bytes: usize = objects.iter().filter(|(key, _)| key.starts_with("s/ok/")).map(|(_, data)| data.len()).sum();
    assert_eq!((failed(&scratch, "s").len(), bytes), (0, 50 * ((1 << 20) + 1)), "{finished}");
}

#[test]
fn a_component_that_cannot_begin_is_down_and_its_neighbour_is_not() {
    for (init, said) in
        [("error", "no, thank you"), ("loop", "longer than"), ("trap", "unreachable"), ("memory", "16 MB")]
    {
        let scratch = Scratch::new();
        let lines = lines();
        scratch.log("s.log", lines.join("\n") + "\n");
        scratch.log("t.log", lines.join("\n") + "\n");
        let limits = json!({ "timeout_ms": 100, "memory_mb": 16, "on_failure": "backup" });
        let streams = [
            transformed(&scratch, "s", [hostile(&scratch, json!({ "init": init }), limits)]),
            transformed(&scratch, "t", [hostile(&scratch, json!({}), json!({}))]),
        ];
        let finished = Hydrant::drain(&scratch, &config(&scratch, streams));
        assert_eq!(delivered(&scratch, "t"), lines);
        let failed = failed(&scratch, "s");
        let mut raw: Vec<_> = failed.iter().map(|failed| failed.raw.clone()).collect();
        // In several objects, whose names do not tell their order.
        raw.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
        assert_eq!(raw, lines, "{finished}");
        assert!(failed.iter().all(|failed| failed.message.contains(said)), "{init}: {:?}", failed[0]);
        assert!(finished.stderr.contains("fails for every batch"), "{finished}");
    }
}

#[test]
fn instances_that_are_never_there_and_calls_that_never_return_are_a_component_that_is_down() {
    for name in [
        "start_loops.wat",
        "start_traps.wat",
        "memory_too_large.wat",
        "two_memories.wat",
        "realloc_loops.wat",
        "realloc_lies.wat",
        "post_return_loops.wat",
    ] {
        let scratch = Scratch::new();
        scratch.log("s.log", "one\ntwo\n");
        let component = component(&scratch, name);
        let limits = json!({ "component": component, "timeout_ms": 100, "memory_mb": 1, "on_failure": "backup" });
        let finished = drain(&scratch, [json!({ "wasm": limits })]);
        let raw: Vec<_> = failed(&scratch, "s").into_iter().map(|failed| failed.raw).collect();
        assert_eq!(raw, ["one", "two"], "{name}: {finished}");
        let is_blamed = finished.stderr.contains("what the component's `realloc` returned is malformed");
        assert_eq!(is_blamed, name == "realloc_lies.wat", "{name}: {finished}");
    }
}

#[test]
fn a_stream_waits_for_a_component_that_is_down_and_goes_on_when_it_is_replaced() {
    let scratch = Scratch::new();
    let lines = lines();
    scratch.log("s.log", lines.join("\n") + "\n");
    let with =
        |init| config(&scratch, [transformed(&scratch, "s", [hostile(&scratch, json!({ "init": init }), json!({}))])]);
    let hydrant = Hydrant::run(&scratch, &with("trap"));
    wait_until("the component is down", || hydrant.said("the delivery stream waits") > 0);
    write_config(&scratch, &with("ok"));
    hydrant.signal(rustix::process::Signal::HUP);
    wait_until("all is delivered", || delivered(&scratch, "s").len() == lines.len());
    assert_eq!(delivered(&scratch, "s"), lines);
    assert_eq!(failed(&scratch, "s").len(), 0);
    hydrant.terminate().expect_code(0);
}

/// Ever so many of them, one by one, and with `on_failure: wait`.
#[test]
fn a_run_of_poison_does_not_stop_the_stream() {
    let scratch = Scratch::new();
    let path = scratch.log("s.log", "good 0\n");
    let step = hostile(&scratch, json!({ "transform": "trap", "when": "poison" }), json!({ "timeout_ms": 500 }));
    let hydrant = Hydrant::run(&scratch, &config(&scratch, [transformed(&scratch, "s", [step])]));
    wait_until("the first record is delivered", || delivered(&scratch, "s").len() == 1);
    for number in 1..=12 {
        append(&path, &format!("poison {number}\n"));
        wait_until("the poison has failed", || failed(&scratch, "s").len() == number);
    }
    append(&path, "good 13\n");
    wait_until("a good record passes", || delivered(&scratch, "s").len() == 2);
    hydrant.terminate().expect_code(0);
}

#[test]
fn logging_in_a_loop_neither_fills_the_log_nor_passes_the_timeout() {
    for behaviour in ["log", "print"] {
        let scratch = Scratch::new();
        scratch.log("s.log", "good\npoison\n");
        let endless = json!({ "transform": behaviour, "when": "poison", "amount": 0 });
        let finished = drain(&scratch, [hostile(&scratch, endless, json!({ "timeout_ms": 200, "retries": 0 }))]);
        assert_eq!(delivered(&scratch, "s"), ["good"], "{finished}");
        assert_eq!(failed(&scratch, "s").len(), 1);
        let lines =
            finished.stderr.lines().filter(|line| line.contains("hostile.wasm") && line.contains("INFO")).count();
        assert!((1..=200).contains(&lines), "{lines} lines of log");
    }
}

/// Bytes; `None` when the process has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Each batch leaks a megabyte: a hundred of them would not fit.
#[test]
fn a_leak_is_over_with_its_instance() {
    for instances in ["fresh", "reuse"] {
        let scratch = Scratch::new();
        let records: u64 =
            std::env::var("HYDRANT_LEAK_RECORDS").map_or(400_000, |text| text.parse().expect("a number"));
        let lines: String = (0..records).map(|number| format!("{number:07}\n")).collect();
        scratch.log("s.log", lines);
        let limits = json!({ "instances": instances, "memory_mb": 16 });
        let step = hostile(&scratch, json!({ "transform": "leak", "amount": 1 << 20 }), limits);
        let hydrant = Hydrant::begin_drain(&scratch, &config(&scratch, [transformed(&scratch, "s", [step])]));
        let mut peak = 0;
        wait_until("it has ended", || {
            peak = peak_memory(hydrant.pid()).unwrap_or(0).max(peak);
            !hydrant.is_alive()
        });
        let finished = hydrant.wait().expect_code(0);
        assert_eq!(failed(&scratch, "s").len(), 0, "{finished}");
        assert_eq!(delivered(&scratch, "s").len() as u64, records);
        assert!((1..250 << 20).contains(&peak), "{instances}: {} MB", peak >> 20);
    }
}

/// Each step makes of every record as many as one answer may hold.
#[test]
fn records_without_a_byte_do_not_grow_without_bound() {
    let scratch = Scratch::new();
    scratch.log("s.log", "poison\ngood\n");
    let flood = |when: Value| {
        let mut behaviour = json!({ "transform": "flood", "amount": 3_000 });
        behaviour["when"] = when;
        hostile(&scratch, behaviour, json!({ "memory_mb": 256 }))
    };
    let drop = hostile(&scratch, json!({ "transform": "pass" }), json!({}));
    let steps = [flood(json!("poison")), flood(json!("")), drop];
    let hydrant = Hydrant::begin_drain(&scratch, &config(&scratch, [transformed(&scratch, "s", steps)]));
    let mut peak = 0;
    wait_until("it has ended", || {
        peak = peak_memory(hydrant.pid()).unwrap_or(0).max(peak);
        !hydrant.is_alive()
    });
    let finished = hydrant.wait().expect_code(0);
    let failed = failed(&scratch, "s");
    let raw: Vec<_> = failed.iter().map(|failed| failed.raw.as_str()).collect();
    assert_eq!(raw, ["poison"], "{finished}");
    assert!(failed[0].message.contains("more than 64 MB"), "{failed:?}");
    assert_eq!(delivered(&scratch, "s").len(), 3_000, "{finished}");
    assert!((1..400 << 20).contains(&peak), "{} MB", peak >> 20);
}

/// Each of the files is a batch of its own, and is one again: without what the first life knew they look like a component that is
/// down.
#[cfg(debug_assertions)]
#[test]
fn poison_that_stood_alone_before_a_sigkill_does_not_stop_the_stream_after_it() {
    let scratch = Scratch::new();
    let path = scratch.log("s-good.log", "good 0\n");
    let step = hostile(&scratch, json!({ "transform": "trap", "when": "poison" }), json!({}));
    let mut stream = transformed(&scratch, "s", [step]);
    stream["buffering"] = json!({ "size_mb": 1, "interval_seconds": 900 });
    let config = config(&scratch, [stream]);
    let env = [("HYDRANT_FAILPOINT", "intent-committed:2"), ("HYDRANT_LOG", "info,hydrant::stream=trace")];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &env);
    let wait_for_entries =
        |count| wait_until("it is in a buffer", || hydrant.said("records entered a buffer") == count);
    wait_for_entries(1);
    for number in 0..5 {
        scratch.log(&format!("s-{number}.log"), format!("poison {number}\n"));
    }
    wait_until("all files are seen", || hydrant.said("a file is read that was not seen before") == 6);
    append(&path, "good 1\n");
    wait_for_entries(2);
    hydrant.signal(rustix::process::Signal::TERM);
    assert!(hydrant.wait().killed());
    append(&path, "good 2\n");
    Hydrant::drain(&scratch, &config);
    let mut delivered = delivered(&scratch, "s");
    delivered.sort();
    assert_eq!(delivered, ["good 0", "good 1", "good 2"]);
    let failed = failed(&scratch, "s");
    assert_eq!(failed.len(), 5, "{failed:?}");
}
