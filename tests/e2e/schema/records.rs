//! `hydrant schema check --records`.

use serde_json::{Value, json};

use super::{configure, hydrant, with_config};
use crate::support::{Finished, Scratch};

const SCHEMA: &str = "columns:
  - { name: n, type: int }
  - { name: at, type: timestamp }
  - { name: tags, type: \"array<struct<k:string,v:smallint>>\" }
";

fn scene(records: &str) -> Scratch {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("s.yaml"), SCHEMA).expect("a schema");
    std::fs::write(scratch.path("r.ndjson"), records).expect("records");
    scratch
}

fn check(scratch: &Scratch, more: &[&str]) -> Finished {
    hydrant(scratch, &[&["schema", "check", "--schema", "s.yaml", "--records", "r.ndjson"], more].concat())
}

fn lines(finished: &Finished) -> Vec<Value> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn records_that_fit_are_counted() {
    let scratch = scene("{\"n\":1}{\"n\":\"2\"}\n{\"at\":\"2026-11-21T10:00:00Z\",\"other\":1}\n");
    let finished = check(&scratch, &[]).expect_code(0);
    assert_eq!(finished.stdout, "");
    assert!(finished.stderr.contains("s.yaml: 2 of 2 records fit; 3 rows do, 0 do not"), "{finished}");
}

#[test]
fn those_that_do_not_are_told_with_line_column_value_and_reason() {
    let records = "{\"n\":1}{\"n\":1.5}{\"n\":2}
not JSON
{\"at\":\"soon\"}
{\"tags\":[{\"v\":1},{\"v\":70000}]}
{\"tags\":[{\"v\":70001}]}

[1]
";
    let scratch = scene(records);
    let text = check(&scratch, &[]).expect_code(1);
    let rows: Vec<Vec<&str>> = text.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["line", "byte", "column", "type", "value", "reason"]);
    assert_eq!(rows[1], ["1", "8", "n", "int", "number", "\"1.5\" is no integer"]);
    assert_eq!(rows[2][..2], ["2", "1"]);
    assert_eq!(rows[3][..5], ["3", "1", "at", "timestamp", "string"]);
    assert_eq!(rows[4][..5], ["4", "1", "tags[1].v", "smallint", "number"]);
    assert_eq!((rows.len(), rows[6][0], rows[7][0]), (8, "6", "7"), "{text}");
    for said in [
        "s.yaml: 0 of 7 records fit; 2 rows do, 7 do not",
        "2 × tags[].v (smallint), number: \"70000\" is out of range; first in line 4",
        "1 × n (int), number: \"1.5\" is no integer; first in line 1",
        "empty or contained only whitespace",
    ] {
        assert!(text.stderr.contains(said), "{said}: {text}");
    }
    let few = check(&scratch, &["--limit", "2"]).expect_code(1);
    assert_eq!(few.stdout.lines().count(), 3, "{few}");
    assert!(few.stderr.contains("2 of 7 rows that do not fit are shown"), "{few}");

    let all = lines(&check(&scratch, &["--json"]).expect_code(1));
    assert_eq!(all.len(), 7);
    let first = json!({
        "line": 1, "byte": 8, "column": "n", "type": "int", "value": "number", "reason": "\"1.5\" is no integer",
        "errorCode": "DataFormatConversion.MalformedData",
        "errorMessage":
            "Data does not match the schema. Column `n` of type int cannot take this number: \"1.5\" is no integer",
        "data": "{\"n\":1.5}",
    });
    assert_eq!(all[0], first);
    assert_eq!((&all[1]["errorCode"], &all[1]["column"]), (&json!("DataFormatConversion.ParseError"), &Value::Null));
}

#[test]
fn causes_are_counted_apart_and_values_together() {
    let records = "{\"n\":\"x\"}
{\"n\":\"99999999999\"}
{\"n\":\"y\"}
{\"n\":\"1.5\"}
{\"at\":\"\\ud800\"}
{\"at\":1
   {\"n\":1,}
{\"at\":\"\\udc00\"}
";
    let finished = check(&scene(records), &[]).expect_code(1);
    for said in [
        "  2 × n (int), string: For input string: \"x\"; first in line 1",
        "  1 × n (int), string: \"99999999999\" is out of range; first in line 2",
        "  1 × n (int), string: \"1.5\" is no integer; first in line 4",
        "  2 × Encountered malformed JSON. At byte 7: half of a surrogate pair stands alone; first in line 5",
        "  1 × Encountered malformed JSON. At byte 7: the record ends too early; first in line 6",
        "  1 × Encountered malformed JSON. At byte 7: a key in quotes is expected; first in line 7",
    ] {
        assert!(finished.stderr.contains(said), "{said}: {finished}");
    }
}

#[test]
fn options_say_whether_partition_columns_are_columns() {
    let scratch = scene("{\"n\":1,\"day\":\"soon\"}\n");
    let schema = "columns: [{ name: n, type: int }]\npartition_columns: [{ name: day, type: date }]\n";
    std::fs::write(scratch.path("s.yaml"), schema).expect("a schema");
    check(&scratch, &[]).expect_code(0);
    check(&scratch, &["--options", "{ partition_columns: omit }"]).expect_code(0);
    let kept = check(&scratch, &["--options", "{ partition_columns: keep }"]).expect_code(1);
    assert!(kept.stderr.contains("day (date), string"), "{kept}");
    let wrong = check(&scratch, &["--options", "{ partition_columns: all }"]).expect_code(2);
    assert!(wrong.stderr.contains("`omit`"), "{wrong}");
}

#[test]
fn records_are_read_as_a_stream_or_options_say() {
    let scratch = scene("{\"at\":1700000000000}\n{\"at\":\"21/11/2026\"}\n{\"n\":\"1\",\"x\":2}\n");
    let failed = |arguments: &[&str]| {
        let all =
            [&["schema", "check", "--records", "r.ndjson", "--json", "--config", "hydrant.yaml"], arguments].concat();
        lines(&hydrant(&scratch, &all)).iter().map(|line| line["line"].as_u64().expect("a line")).collect::<Vec<_>>()
    };
    assert_eq!(failed(&["--schema", "s.yaml"]), [2]);
    assert_eq!(failed(&["--schema", "s.yaml", "--options", "{ input: { deserializer: hive } }"]), [1, 2, 3]);
    let options = "{ input: { timestamp_formats: [epoch_millis, dd/MM/yyyy] }, on_unknown_field: error_output }";
    assert_eq!(failed(&["--schema", "s.yaml", "--options", options]), [3]);
    let conversion = "    format_conversion:
      schema: { inline: [{ name: x, type: string }, { name: n, type: int }, { name: at, type: string }] }
      on_unknown_field: error_output
    buffering: { low_latency: true, size_mb: 1, interval_seconds: 1 }";
    configure(&scratch, "  lake: { directory: { path: registry } }", conversion);
    assert_eq!(failed(&["--stream", "web"]), [0; 0]);
    assert_eq!(failed(&["--stream", "web", "--schema", "s.yaml"]), [2, 3], "with the stream's options");

    let wrong = check(&scratch, &["--options", "{ input: { deserialiser: hive } }"]).expect_code(2);
    assert!(wrong.stderr.contains("did you mean `deserializer`?"), "{wrong}");
    for (arguments, said) in [
        (&["--stream", "wed"][..], "there is no delivery stream `wed`; there are `web`"),
        (&[], "--records needs --schema or --stream"),
    ] {
        let all = [&["schema", "check", "--records", "r.ndjson"], arguments].concat();
        let finished = with_config(&scratch, &all).expect_code(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
    with_config(&scratch, &["schema", "check"]).expect_code(2);
    let absent = with_config(&scratch, &["schema", "check", "--schema", "s.yaml", "--records", "none"]).expect_code(2);
    assert!(absent.stderr.contains("none cannot be read"), "{absent}");
}
