//! The command line: exit statuses, and what goes to which stream.

use std::ffi::OsStr;

use crate::support::{Finished, Hydrant, Scratch, config, directory, objects::keys, stream, wait_until};

fn hydrant(scratch: &Scratch, args: &[&str]) -> Finished {
    let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    Hydrant::start(scratch, &args, &[]).wait()
}

#[test]
fn help_and_version_are_data() {
    let scratch = Scratch::new();
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["delivered", "--help"],
        &["redrive", "--help"],
        &["new-transform", "--help"],
        &["schema", "--help"],
    ] {
        let finished = hydrant(&scratch, command).expect_code(0);
        assert!(
            finished.stdout.contains("hydrant ") && finished.stdout.to_lowercase().contains("example"),
            "{finished}"
        );
        assert!(finished.stderr.is_empty(), "{finished}");
    }
    let finished = hydrant(&scratch, &["--version"]).expect_code(0);
    assert!(finished.stdout.starts_with("hydrant "), "{finished}");
}

#[test]
fn a_wrong_command_line_is_2() {
    let scratch = Scratch::new();
    for command in [&["deliver"][..], &["run", "--dry"], &["check", "--config"], &[]] {
        let finished = hydrant(&scratch, command).expect_code(2);
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{finished}");
    }
}

#[test]
fn a_missing_configuration_is_2_and_named() {
    let scratch = Scratch::new();
    for command in [&["run"][..], &["check"], &["delivered", "a.log"]] {
        let finished = hydrant(&scratch, &[command, &["--config", "not-there.yaml"]].concat()).expect_code(2);
        assert!(finished.stdout.is_empty() && finished.stderr.contains("not-there.yaml"), "{finished}");
    }
}

const GOOD: &str = r#"
state_dir: state
delivery_streams:
  - name: web-access
    source:
      file:
        paths: ["logs/*.log"]
    buffering: { size_mb: 64, interval_seconds: 300 }
    compression: gzip
    destination:
      s3:
        bucket: lake
        region: eu-west-1
        prefix: "web/!{timestamp:yyyy/MM/dd/HH}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
"#;

#[test]
fn check_says_that_a_configuration_is_good() {
    let scratch = Scratch::new();
    let finished = Hydrant::check(&scratch, GOOD).expect_code(0);
    assert!(finished.stdout.contains("web-access") && finished.stderr.contains("valid"), "{finished}");
    assert!(!scratch.state().exists(), "check changes nothing");
}

#[test]
fn check_shows_the_processors_in_their_order() {
    let scratch = Scratch::new();
    let processing = "    processing: [{ json: {} }, { add_metadata: { fields: { at: offset } } }]\n";
    let finished = Hydrant::check(&scratch, &format!("{}\n{processing}", GOOD.trim_end())).expect_code(0);
    assert!(finished.stdout.contains("json → add_metadata"), "{finished}");
}

#[test]
fn check_names_every_mistake_with_its_place_and_the_nearest_key() {
    let scratch = Scratch::new();
    let bad = GOOD.replace("compression: gzip", "compresion: gzip").replace("size_mb: 64", "size_mb: 640");
    let finished = Hydrant::check(&scratch, &bad).expect_code(2);
    assert!(finished.stdout.is_empty(), "{finished}");
    for word in ["hydrant.yaml", "compresion", "compression", "size_mb", "128", ":8", ":9"] {
        assert!(finished.stderr.contains(word), "`{word}` is not in the report: {finished}");
    }
}

#[test]
fn what_is_not_a_configuration_is_refused_quickly() {
    let scratch = Scratch::new();
    let bomb = {
        let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let reference = format!("*a{}", n - 1);
            yaml.push_str(&format!("a{n}: &a{n} [{}]\n", [reference.as_str(); 10].join(", ")));
        }
        yaml
    };
    let huge = format!("state_dir: {}\n", "x".repeat(100 << 20));
    let mistakes = [
        ("a bomb", bomb),
        ("100 MB", huge),
        ("nothing", String::new()),
        ("a list", "- a\n- b\n".into()),
        ("no YAML", "{ a: [\n".into()),
        ("two destinations", GOOD.replace("      s3:", "      directory: { path: out }\n      s3:")),
        ("fast buffering", GOOD.replace("interval_seconds: 300", "interval_seconds: 1")),
        ("a bad glob", GOOD.replace("logs/*.log", "logs/[*.log")),
        ("a bad prefix", GOOD.replace("!{timestamp:yyyy/MM/dd/HH}", "!{timestamp:bb}")),
        ("a missing variable", GOOD.replace("bucket: lake", "bucket: \"${HYDRANT_E2E_NOT_SET}\"")),
        ("a wrong type", GOOD.replace("bucket: lake", "bucket: [lake]")),
        ("a key twice", GOOD.replace("compression: gzip", "compression: gzip\n    compression: none")),
    ];
    for (what, yaml) in mistakes {
        let finished = Hydrant::check(&scratch, &yaml);
        assert_eq!(finished.status.code(), Some(2), "{what}: {finished}");
        assert!(finished.stderr.contains("hydrant.yaml"), "{what}: the file is named: {finished}");
        assert!(finished.stderr.len() < 100_000, "{what}: a report is for reading");
    }
}

#[test]
fn a_second_process_on_one_state_dir_is_refused() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let first = Hydrant::run(&scratch, &config);
    wait_until("the first one works", || !keys(&scratch.out()).is_empty());
    let second = Hydrant::run(&scratch, &config).wait().expect_code(1);
    let state_dir = scratch.state().display().to_string();
    assert!(second.stderr.contains(&state_dir), "the folder is named: {second}");
    assert!(second.stdout.is_empty(), "{second}");
    first.terminate().expect_code(0);
    assert_eq!(keys(&scratch.out()).len(), 1);
}

#[test]
fn a_drain_tells_what_it_did() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\ntwo\nthree\n");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let finished = Hydrant::drain(&scratch, &config);
    assert!(finished.stderr.contains('3'), "the account names three records: {finished}");
    assert!(!finished.stderr.contains('\u{1b}'), "no colours and no bar where there is no terminal: {finished}");
}
