//! Partition keys by jq, compared with jq itself: every expression of `expressions.jq` on every record of `records.ndjson`.
//!
//! Needs `jq` (Debian's package). Without it the test says so and is skipped, unless `HYDRANT_REQUIRE_SERVERS` is set.

use std::path::Path;
use std::process::{Command, Stdio};

use hydrant::partition::Query;
use serde_json::Value;

/// Where jaq is not jq 1.6 to 1.8, and why that is left so.
const DIFFERENT: &[(&str, &str)] = &[
    (".tags | contains([\"a\"])", "values of different types do not contain each other, which is no error"),
    (".tags | inside([\"a\", \"b\", \"c\", \"d\"])", "the same"),
    (".level | inside(\"a warning\")", "the same"),
    (".level | ltrimstr(\"w\")", "a number is no string: an error, where jq gives the number"),
    (".level | rtrimstr(\"n\")", "the same"),
    (".ratio | sqrt | floor", "what is not a number is no value, where jq writes null"),
    (".ratio | ceil", "zero has no sign"),
    ("[.level, .id] | join(\":\")", "null is joined as such, where jq gives nothing"),
    ("{(.level): 1} | keys | .[0]", "keys may be numbers"),
    (".tags | flatten | length", "what is no array is flattened to an array of it"),
    (".tags | @csv", "there is no @csv"),
    (".tags | @tsv", "there is no @tsv"),
    ("input_line_number? // \"none\"", "refused: it is no function of the record"),
    ("$__loc__ | .line", "there is no $__loc__"),
];

/// What an expression makes of each record, as a partition key: its text, or `None` where there is none.
type Values = Vec<Option<String>>;

fn by_jq(expression: &str, records: &Path) -> Option<Values> {
    let program = format!(
        "try ([{expression}] | if length == 1 then {{t: (.[0] | type), v: (.[0] | tostring)}} else {{}} end) catch {{}}"
    );
    let output = Command::new("jq").arg("-c").arg(program).arg(records).stdin(Stdio::null()).output().expect("jq runs");
    if output.status.code() == Some(3) {
        return None; // It does not compile.
    }
    let value = |line: &str| {
        let found: Value = serde_json::from_str(line).expect("jq writes JSON");
        let is_scalar = matches!(found["t"].as_str(), Some("string" | "number" | "boolean"));
        found["v"].as_str().filter(|text| is_scalar && !text.is_empty()).map(str::to_owned)
    };
    Some(String::from_utf8(output.stdout).expect("UTF-8").lines().map(value).collect())
}

fn by_hydrant(expression: &str, records: &str) -> Option<Values> {
    let query = Query::compile(expression).ok()?;
    Some(records.lines().map(|record| query.value(record.as_bytes()).ok()).collect())
}

#[test]
fn expressions_have_the_values_that_jq_gives_them() {
    if Command::new("jq").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("HYDRANT_REQUIRE_SERVERS").is_none(), "jq is missing: apt-get install jq");
        eprintln!("skipped: jq is missing (apt-get install jq)");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries");
    let path = folder.join("records.ndjson");
    let records = std::fs::read_to_string(&path).expect("the records");
    let expressions = std::fs::read_to_string(folder.join("expressions.jq")).expect("the expressions");
    let mut wrong = Vec::new();
    for expression in expressions.lines() {
        let (expected, found) = (by_jq(expression, &path), by_hydrant(expression, &records));
        let is_known = DIFFERENT.iter().any(|(known, _)| *known == expression);
        if (expected != found) != is_known {
            wrong.push(format!("{expression}\n    jq      {expected:?}\n    hydrant {found:?}"));
        }
    }
    assert!(expressions.lines().count() >= 200);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What docs/partitioning.md says of numbers and of halves of surrogate pairs: an expression, a record, what jq 1.6 makes of it and
/// what Hydrant does. Later versions of jq keep more of a number.
const DETAILS: &[(&str, &str, Option<&str>, Option<&str>)] = &[
    (".n", r#"{"n":1E400}"#, Some("1.7976931348623157e+308"), Some("1E400")),
    (".n", r#"{"n":100000000000000000000000000000001}"#, Some("1e+32"), Some("100000000000000000000000000000001")),
    (".n", r#"{"n":12345678901234567890}"#, Some("12345678901234567000"), Some("12345678901234567890")),
    (".n", r#"{"n":1e-400}"#, Some("0"), Some("1e-400")),
    (".n", r#"{"n":-0}"#, Some("-0"), Some("0")),
    (".n", r#"{"n":1.0}"#, Some("1"), Some("1")),
    (r#""\(.n)""#, r#"{"n":1.0}"#, Some("1"), Some("1.0")),
    (".n | tostring", r#"{"n":1.0}"#, Some("1"), Some("1.0")),
    (".n | ltrimstr(\"1\")", r#"{"n":12}"#, Some("12"), None),
    (".n | tostring | ltrimstr(\"1\")", r#"{"n":12}"#, Some("2"), Some("2")),
    ("[.m, .n] | join(\":\")", r#"{"n":12}"#, Some(":12"), Some("null:12")),
    (".n | flatten | .[0]", r#"{"n":12}"#, None, Some("12")),
    (".n | contains([\"a\"])", r#"{"n":12}"#, None, Some("false")),
    (".n", r#"{"n":"\ud83d\ude00"}"#, Some("😀"), Some("😀")),
    (".n", r#"{"n":"\ud83d"}"#, None, None),
    (".n", r#"{"n":"x","m":"\ud83d"}"#, None, None),
    (".n", r#"{"n":"x","m":"\ude00"}"#, Some("x"), None),
];

#[test]
fn details_are_as_the_documentation_says() {
    for &(expression, record, _, expected) in DETAILS {
        let found = by_hydrant(expression, record).expect("it compiles");
        assert_eq!(found[0].as_deref(), expected, "{expression} of {record}");
    }
    let version = Command::new("jq").arg("--version").output();
    if !version.is_ok_and(|version| version.stdout.starts_with(b"jq-1.6")) {
        eprintln!("jq 1.6 is missing, nothing is compared with it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.ndjson");
    for &(expression, record, expected, _) in DETAILS {
        std::fs::write(&path, format!("{record}\n")).expect("a record");
        let found = by_jq(expression, &path).expect("it compiles").pop().flatten();
        assert_eq!(found.as_deref(), expected, "jq 1.6: {expression} of {record}");
    }
}
