//! Every kind of mistake with the exact text that the operator sees: `golden.txt`.
//!
//! A case is its name, the YAML (where `<stream>` stands for a delivery stream without mistakes) and, behind `--->`, what
//! is said of it. `HYDRANT_BLESS=1 cargo test golden` writes what is said now; read the difference before keeping it.

use std::fs;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/golden.txt");
const CASE: &str = "=== ";
const SAID: &str = "--->\n";

#[test]
fn golden_mistakes_are_reported_as_written_down() {
    let golden = fs::read_to_string(FILE).expect("the golden file");
    let (head, cases) = golden.split_once(CASE).expect("a case");
    let mut said = head.to_owned();
    for case in cases.split(&format!("\n{CASE}")) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (yaml, _) = rest.split_once(SAID).unwrap_or_else(|| panic!("`{name}` has no `--->`"));
        let errors = match load(&yaml.replace("<stream>\n", STREAM)) {
            Ok(_) => panic!("`{name}` has no mistake"),
            Err(errors) => errors,
        };
        said.push_str(&format!("{CASE}{name}\n{yaml}{SAID}{errors}\n\n"));
    }
    let said = format!("{}\n", said.trim_end());
    if std::env::var_os("HYDRANT_BLESS").is_some() {
        fs::write(FILE, &said).expect("the golden file can be written");
    }
    for (said, golden) in said.split(CASE).zip(golden.split(CASE)) {
        assert_eq!(said.trim_end(), golden.trim_end());
    }
    assert_eq!(said.split(CASE).count(), golden.split(CASE).count());
}

#[test]
fn every_error_names_its_key() {
    let errors = errors("shutdown_timeout_seconds: 4000\ndelivery_streams:\n  - buffering: { size_mb: 0 }\n");
    let keys: Vec<&str> = errors.errors().iter().map(|error| error.key.as_str()).collect();
    let stream = "delivery_streams[0]";
    assert_eq!(keys, ["shutdown_timeout_seconds", stream, stream, stream, "delivery_streams[0].buffering.size_mb"]);
}
