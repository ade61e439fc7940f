//! JSON to Parquet, and partitions: every record is a row of one object, or in the error output with the reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Hydrant, Scratch, config, objects::keys, stream, wait_until};

/// `logs/s*.log` into a folder, with `more` in the delivery stream.
pub fn converted(scratch: &Scratch, prefix: &str, more: &Value) -> Value {
    let destination = json!({ "directory": {
        "path": scratch.out(), "prefix": prefix, "error_output_prefix": "failed/!{firehose:error-output-type}/",
    } });
    let mut stream = stream("s", &scratch.logs().join("s*.log"), destination);
    for (key, value) in more.as_object().into_iter().flatten() {
        stream[key] = value.clone();
    }
    config(scratch, [stream])
}

pub fn columns(columns: &[(&str, &str)]) -> Value {
    let column = |(name, data_type): &(&str, &str)| json!({ "name": name, "type": data_type });
    json!({ "schema": { "inline": columns.iter().map(column).collect::<Vec<_>>() } })
}

/// All rows, by the folder of their object.
pub fn rows(scratch: &Scratch) -> BTreeMap<String, Vec<Value>> {
    let mut rows = BTreeMap::<String, Vec<Value>>::new();
    for key in keys(&scratch.out()).into_iter().filter(|key| key.ends_with(".parquet")) {
        let bytes = std::fs::read(scratch.out().join(&key)).expect("an object");
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        rows.entry(folder).or_default().extend(crate::support::objects::rows(&bytes));
    }
    rows
}

/// Of the envelopes of one kind: what failed, and why.
pub fn failed(scratch: &Scratch, error_type: &str, message: &str) -> Vec<(String, String)> {
    use base64::Engine;
    let folder = format!("failed/{error_type}/");
    let mut failed = Vec::new();
    for key in keys(&scratch.out()).into_iter().filter(|key| key.starts_with(&folder)) {
        for line in std::fs::read_to_string(scratch.out().join(key)).expect("an object").lines() {
            let envelope: Value = serde_json::from_str(line).expect("an envelope");
            let raw = envelope["rawData"].as_str().expect("the data");
            let raw = base64::engine::general_purpose::STANDARD.decode(raw).expect("base64");
            let message = envelope[message].as_str().expect("a message").to_owned();
            failed.push((String::from_utf8(raw).expect("UTF-8"), message));
        }
    }
    failed
}

#[test]
fn good_records_are_rows_and_bad_ones_are_in_the_error_output() {
    let scratch = Scratch::new();
    let lines = [
        r#"{"n":1,"text":"ä","list":[1,2],"unknown":true}"#,
        "not JSON",
        r#"{"n":"2"}{"n":"x","text":"y"}{"n":3}"#,
        r#"{"n":1.5}"#,
        r#"{"N":4,"text":null}"#,
    ];
    scratch.log("s.log", lines.join("\n") + "\n");
    let more = json!({ "format_conversion": columns(&[("n", "int"), ("text", "string"), ("list", "array<bigint>")]) });
    let finished = Hydrant::drain(&scratch, &converted(&scratch, "p/", &more));
    assert!(finished.stderr.contains("= 4 delivered + 0 dropped + 3 failed"), "{finished}");
    let rows = rows(&scratch).into_values().flatten().collect::<Vec<_>>();
    assert_eq!(
        rows,
        [json!({ "n": 1, "text": "ä", "list": [1, 2] }), json!({ "n": 2 }), json!({ "n": 3 }), json!({ "n": 4 })]
    );
    let failed = failed(&scratch, "format-conversion-failed", "lastErrorMessage");
    let raw: Vec<_> = failed.iter().map(|(raw, _)| raw.as_str()).collect();
    assert_eq!(raw, ["not JSON", r#"{"n":"x","text":"y"}"#, r#"{"n":1.5}"#]);
    assert!(failed[0].1.starts_with("Encountered malformed JSON."), "{failed:?}");
    assert!(failed[1].1.contains("Column `n` of type int"), "{failed:?}");
}

#[test]
fn an_envelope_names_the_table_and_where_the_record_stands() {
    let scratch = Scratch::new();
    let table = scratch.path("schemas/web/access");
    std::fs::create_dir_all(&table).expect("a registry");
    std::fs::write(table.join("7.yaml"), "columns:\n  - { name: a, type: int }\n").expect("a version");
    let schema = json!({ "registry": "lake", "database": "web", "table": "access" });
    let mut config = converted(&scratch, "p/", &json!({ "format_conversion": { "schema": schema } }));
    config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
    scratch.log("s.log", "{\"a\":1}\n{\"a\":\"x\"}{\"a\":2}{\"a\":\"y\"}\n");
    Hydrant::drain(&scratch, &config);
    let key = keys(&scratch.out()).into_iter().find(|key| key.starts_with("failed/")).expect("an error object");
    let object = std::fs::read_to_string(scratch.out().join(key)).expect("an error object");
    let envelopes: Vec<Value> = object.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let table =
        json!({ "catalogId": null, "databaseName": "web", "tableName": "access", "region": null, "versionId": "7" });
    for (number, envelope) in envelopes.iter().enumerate() {
        let sequence_number = envelope["sequenceNumber"].as_str().expect("a sequence number");
        assert!(sequence_number.ends_with(&format!("{:020}", 8)), "{sequence_number}");
        assert_eq!(envelope["subSequenceNumber"], json!(number));
        assert_eq!(envelope["dataCatalogTable"], table);
    }
    assert_eq!(envelopes.len(), 2);
}

#[test]
fn each_partition_has_objects_of_its_own_and_values_stay_in_their_folder() {
    let scratch = Scratch::new();
    let record = |customer: &str, hour: u32, n: usize| {
        json!({ "customer": customer, "at": format!("2026-11-21T{hour:02}:59:59Z"), "n": n }).to_string() + "\n"
    };
    let mut lines = String::new();
    for n in 0..300 {
        lines += &record(["acme", "..", "a/b=c", "Ümläut"][n % 4], (n % 3) as u32, n);
    }
    lines +=
        "{\"customer\":\"\",\"at\":\"2026-11-21T00:00:00Z\"}\n{\"customer\":\"x\",\"at\":\"noon\"}\n{\"at\":1}\n[]\n";
    scratch.log("s.log", lines);
    let more = json!({
        "partitioning": {
            "keys": { "customer": ".customer" },
            "record_time": { "field": "at", "formats": ["iso8601"] },
            "max_active": 2,
        },
        "format_conversion": columns(&[("n", "int")]),
    });
    let prefix = "customer=!{partitionKeyFromQuery:customer}/hour=!{recordTime:HH}/";
    Hydrant::drain(&scratch, &converted(&scratch, prefix, &more));
    let rows = rows(&scratch);
    let mut expected = BTreeMap::<String, Vec<Value>>::new();
    for n in 0..300 {
        let customer = ["acme", "%2E%2E", "a%2Fb%3Dc", "Ümläut"][n % 4];
        expected.entry(format!("customer={customer}/hour={:02}", n % 3)).or_default().push(json!({ "n": n }));
    }
    let mut found = rows.clone();
    // Several objects of one partition are in no order.
    found.values_mut().for_each(|rows| rows.sort_by_key(|row| row["n"].as_u64()));
    assert_eq!(found, expected);
    let failed = failed(&scratch, "metadata-extraction-failed", "errorMessage");
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(failed[0].1.contains("must not be null or empty"), "{failed:?}");
    assert!(failed[1].1.contains("`noon` is no time"), "{failed:?}");
}

#[test]
fn a_new_version_of_the_schema_counts_for_what_comes_after_it() {
    let scratch = Scratch::new();
    let table = scratch.path("schemas/web/access");
    std::fs::create_dir_all(&table).expect("a registry");
    std::fs::write(table.join("1.yaml"), "columns:\n  - { name: a, type: int }\n").expect("a version");
    let more = json!({
        "format_conversion": { "schema": { "registry": "lake", "database": "web", "table": "access" } },
    });
    let mut config = converted(&scratch, "p/", &more);
    config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
    let path = scratch.log("s.log", "{\"a\":1,\"b\":1}\n");
    let hydrant = Hydrant::run(&scratch, &config);
    let count = || rows(&scratch).values().map(Vec::len).sum::<usize>();
    wait_until("the first row is there", || count() == 1);
    let aside = table.join("aside");
    std::fs::write(&aside, "columns:\n  - { name: a, type: bigint }\n  - { name: b, type: int }\n").expect("a version");
    std::fs::rename(&aside, table.join("2.yaml")).expect("a version");
    wait_until("the version is seen", || hydrant.said("a new version of the schema") == 1);
    crate::support::scratch::append(&path, "{\"a\":2,\"b\":2}\n");
    wait_until("the second row is there", || count() == 2);
    let mut rows = rows(&scratch).into_values().flatten().collect::<Vec<_>>();
    rows.sort_by_key(|row| row["a"].as_u64());
    assert_eq!(rows, [json!({ "a": 1 }), json!({ "a": 2, "b": 2 })]);
}

#[test]
fn a_version_that_does_not_fit_the_stream_leaves_the_last_good_one_in_use() {
    for (second, input) in [
        ("{ name: time, type: string }", json!({ "column_to_json_key": { "ts": "time" } })),
        ("{ name: raw, type: binary }", json!({ "deserializer": "openx" })),
    ] {
        let scratch = Scratch::new();
        let table = scratch.path("schemas/web/access");
        std::fs::create_dir_all(&table).expect("a registry");
        let push = |version: u32, more: &str| {
            let columns = format!("columns:\n  - {{ name: ts, type: string }}\n  - {{ name: n, type: int }}\n{more}");
            std::fs::write(table.join("aside"), columns).expect("a version");
            std::fs::rename(table.join("aside"), table.join(format!("{version}.yaml"))).expect("a version");
        };
        push(1, "");
        let schema = json!({ "registry": "lake", "database": "web", "table": "access" });
        let more = json!({ "format_conversion": { "schema": schema, "input": input } });
        let mut config = converted(&scratch, "p/", &more);
        config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
        let path = scratch.log("s.log", "{\"n\":1}\n");
        let record = |n: u32| crate::support::scratch::append(&path, format!("{{\"n\":{n},\"m\":{n}}}\n"));
        let arrived = |n: usize| {
            wait_until("the row is there", || rows(&scratch).values().map(Vec::len).sum::<usize>() == n);
        };
        let refused = "a version of the schema does not fit the stream's options";

        let hydrant = Hydrant::run(&scratch, &config);
        arrived(1);
        push(2, &format!("  - {second}\n"));
        wait_until("the version is refused", || hydrant.said(refused) == 1);
        record(2);
        arrived(2);
        assert_eq!(hydrant.said("the delivery stream failed"), 0, "{}", hydrant.stderr());
        hydrant.terminate().expect_code(0);

        let hydrant = Hydrant::run(&scratch, &config);
        record(3);
        arrived(3);
        let warning = hydrant.stderr().lines().find(|line| line.contains(refused)).map(str::to_owned);
        assert!(warning.is_some_and(|line| line.contains("version 2")), "{}", hydrant.stderr());
        push(3, "  - { name: m, type: int }\n");
        wait_until("the version is seen", || hydrant.said("a new version of the schema") == 1);
        record(4);
        arrived(4);
        assert_eq!(hydrant.said(refused), 1, "it is said once: {}", hydrant.stderr());
        let mut rows: Vec<_> = rows(&scratch).into_values().flatten().collect();
        rows.sort_by_key(|row| row["n"].as_u64());
        assert_eq!(
            rows.iter().map(|row| (&row["n"], &row["m"])).collect::<Vec<_>>(),
            [(&json!(1), &json!(null)), (&json!(2), &json!(null)), (&json!(3), &json!(null)), (&json!(4), &json!(4)),]
        );
    }
}

#[test]
fn a_stream_whose_first_schema_fits_nothing_waits_for_one_that_does() {
    let scratch = Scratch::new();
    let table = scratch.path("schemas/web/access");
    std::fs::create_dir_all(&table).expect("a registry");
    let push = |version: u32, data_type: &str| {
        let columns = format!("columns:\n  - {{ name: n, type: int }}\n  - {{ name: raw, type: {data_type} }}\n");
        std::fs::write(table.join("aside"), columns).expect("a version");
        std::fs::rename(table.join("aside"), table.join(format!("{version}.yaml"))).expect("a version");
    };
    push(1, "binary");
    let schema = json!({ "registry": "lake", "database": "web", "table": "access" });
    let more = json!({ "format_conversion": { "schema": schema, "input": { "deserializer": "openx" } } });
    let mut config = converted(&scratch, "p/", &more);
    config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
    scratch.log("s.log", "{\"n\":1,\"raw\":\"YQ==\"}\n");
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("it is said why", || hydrant.stderr().contains("not supported by org.openx.data.JsonSerDe: binary"));
    assert!(keys(&scratch.out()).is_empty(), "nothing is taken for a failure of the record");
    push(2, "string");
    wait_until("the row is there", || !rows(&scratch).is_empty());
    let rows: Vec<_> = rows(&scratch).into_values().flatten().collect();
    assert_eq!(rows, [json!({ "n": 1, "raw": "YQ==" })]);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_schema_that_no_record_can_be_read_by_is_found_by_check() {
    let scratch = Scratch::new();
    for (names, reason) in [
        (&[("a_b", "int"), ("c", "string")][..], "are read from the same key `a_b`"),
        (&[("a_b", "int"), ("c", "binary")], "binary"),
    ] {
        let mut more = json!({ "format_conversion": columns(names) });
        more["format_conversion"]["input"] = json!({ "column_to_json_key": { "c": "a_b" } });
        if names[1].1 == "binary" {
            more["format_conversion"]["input"] = json!({});
        }
        crate::support::write_config(&scratch, &converted(&scratch, "p/", &more));
        let path = scratch.path("hydrant.yaml");
        let args = ["check".as_ref(), "--config".as_ref(), path.as_os_str()];
        let checked = Hydrant::start(&scratch, &args, &[]).wait().expect_code(2);
        assert!(checked.stderr.contains(reason), "{checked}");
    }
}

#[test]
fn keys_of_maps_are_unique_once_they_are_read() {
    let scratch = Scratch::new();
    let columns = [
        ("i", "map<int,string>"),
        ("b", "map<boolean,int>"),
        ("d", "map<double,int>"),
        ("n", "map<decimal(4,1),int>"),
        ("day", "map<date,int>"),
        ("t", "map<timestamp,int>"),
        ("s", "map<string,int>"),
    ];
    let record = r#"{"i":{"1":"a","01":"b","1.0":"c","2":"d"},"b":{"true":1,"TRUE":2},
        "d":{"0.0":1,"-0.0":2,"NaN":3,"Infinity":4,"1":5,"1e0":6},"n":{"1":1,"1.0":2,"1.04":3},
        "day":{"2026-01-02":1,"2026-1-2":2},"t":{"2026-01-02T00:00:00Z":1,"2026-01-02 00:00:00":2},"s":{"A":1,"a":2}}"#;
    scratch.log("s.log", record.replace('\n', "") + "\n");
    let finished =
        Hydrant::drain(&scratch, &converted(&scratch, "p/", &json!({ "format_conversion": self::columns(&columns) })));
    assert!(finished.stderr.contains("= 1 delivered + 0 dropped + 0 failed"), "{finished}");
    let counts = columns.map(|(name, _)| format!("cardinality({name})")).join(", ");
    let query = format!(
        "select {counts}, i[1], b[true], d['Infinity'::double], d[1], n[1], day['2026-01-02'::date], s['a'] from 'p/**/*.parquet'"
    );
    let Some(answer) = crate::partition_columns::duckdb(&scratch, &query) else { return };
    assert_eq!(answer, json!([[2, 1, 4, 1, 1, 1, 1, "c", 2, 4, 6, 3, 2, 2]]));
}
