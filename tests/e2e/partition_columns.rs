//! Hive-style partition columns, left out of the file or kept, as DuckDB reads them.

use std::process::Command;

use serde_json::{Value, json};

use crate::conversion::{converted, failed};
use crate::support::servers::python;
use crate::support::{Hydrant, Scratch};

/// What DuckDB answers, each row as a list.
pub fn duckdb(scratch: &Scratch, query: &str) -> Option<Value> {
    let script = "import sys\ntry: import duckdb, json\nexcept ImportError: sys.exit(77)\n\
                  print(json.dumps(duckdb.sql(sys.argv[1]).fetchall(), default=str))";
    let output = Command::new(python()).args(["-c", script, query]).current_dir(scratch.out()).output();
    let Ok(output) = output.as_ref().map(|output| output.clone()) else { return missing() };
    if output.status.code() == Some(77) {
        return missing();
    }
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn missing() -> Option<Value> {
    let required = std::env::var("HYDRANT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!required, "DuckDB is not there, and HYDRANT_REQUIRE_SERVERS=1: run tests/servers/python-venv");
    eprintln!("SKIPPED: DuckDB is not there: run tests/servers/python-venv");
    None
}

/// A table of a registry with the columns `n` and `customer`, partitioned by `day`.
fn scene(choice: &Value) -> Scratch {
    let scratch = Scratch::new();
    let table = scratch.path("schemas/web/access");
    std::fs::create_dir_all(&table).expect("a registry");
    let yaml = "columns:
  - { name: n, type: int }
  - { name: customer, type: string }
partition_columns:
  - { name: day, type: date }
";
    std::fs::write(table.join("1.yaml"), yaml).expect("a version");
    let lines = "{\"n\":1,\"customer\":\"a\",\"day\":\"2026-11-21\"}
{\"n\":2,\"Customer\":\"b\",\"DAY\":\"2026-11-20\"}
{\"n\":3,\"customer\":\"a\",\"day\":\"2026-11-20\",\"more\":1}
";
    scratch.log("s.log", lines);
    let mut more = json!({
        "partitioning": {
            "keys": { "customer": ".customer // .Customer", "day": ".day // .DAY" },
        },
        "format_conversion": {
            "schema": { "registry": "lake", "database": "web", "table": "access" },
            "on_unknown_field": "error_output",
        },
    });
    if !choice.is_null() {
        more["format_conversion"]["partition_columns"] = choice.clone();
    }
    let prefix = "t/day=!{partitionKeyFromQuery:day}/customer=!{partitionKeyFromQuery:customer}/";
    let mut config = converted(&scratch, prefix, &more);
    config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
    Hydrant::drain(&scratch, &config);
    scratch
}

#[test]
fn partition_columns_are_in_the_path_and_in_the_file_as_chosen() {
    for (choice, in_file) in [
        (Value::Null, json!([["customer"], ["n"]])),
        (json!("omit"), json!([["n"]])),
        (json!("keep"), json!([["customer"], ["day"], ["n"]])),
    ] {
        let scratch = scene(&choice);
        // What stands in the path is a known field, whoever asks for unknown ones.
        let failed = failed(&scratch, "format-conversion-failed", "lastErrorMessage");
        assert!(failed.len() == 1 && failed[0].1.contains("No column takes the field `more`"), "{failed:?}");
        let columns =
            "SELECT DISTINCT name FROM parquet_schema('t/**/*.parquet') WHERE num_children IS NULL ORDER BY 1";
        let Some(columns) = duckdb(&scratch, columns) else { return };
        assert_eq!(columns, in_file, "{choice}");
        let rows = "SELECT n, customer, day FROM read_parquet('t/**/*.parquet', hive_partitioning = true) ORDER BY n";
        let rows = duckdb(&scratch, rows).expect("it was there");
        assert_eq!(rows, json!([[1, "a", "2026-11-21"], [2, "b", "2026-11-20"]]), "{choice}");
        if choice == json!("keep") {
            let own =
                "SELECT n, customer, day FROM read_parquet('t/**/*.parquet', hive_partitioning = false) ORDER BY n";
            assert_eq!(duckdb(&scratch, own).expect("it was there"), rows, "{choice}");
        }
    }
}

#[test]
fn a_file_needs_a_column() {
    let scratch = Scratch::new();
    let more = json!({
        "partitioning": { "keys": { "a": ".a" } },
        "format_conversion": { "schema": { "inline": [{ "name": "A", "type": "int" }] }, "partition_columns": "omit" },
    });
    crate::support::write_config(&scratch, &converted(&scratch, "a=!{partitionKeyFromQuery:a}/", &more));
    let arguments = ["check", "--config", "hydrant.yaml"].map(std::ffi::OsStr::new);
    let finished = Hydrant::start(&scratch, &arguments, &[]).wait().expect_code(2);
    assert!(
        finished.stderr.contains("`partition_columns: omit` leaves no column of inline for the file"),
        "{finished}"
    );
}
