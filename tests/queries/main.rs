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
    (".tags | flatten | length", "what is no array is flattened to itself"),
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
