//! Glue's Data Catalog and Schema Registry, as moto serves them; lists as AWS's own description of Glue has them.

use serde_json::{Value, json};

use super::{configure, with_config};
use crate::conversion::{converted, rows};
use crate::support::{Hydrant, Scratch, servers::Server, wait_until};

fn call(moto: &Server, operation: &str, input: &Value) {
    let target = format!("AWSGlue.{operation}");
    let authorization =
        "AWS4-HMAC-SHA256 Credential=a/20260101/eu-west-1/glue/aws4_request, SignedHeaders=host, Signature=0";
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target.as_str()),
        ("authorization", authorization),
    ];
    moto.post("/", &headers, &input.to_string());
}

/// A registry `aws`, with a table of two versions, and a schema of each format.
fn scene() -> Option<(Scratch, Server)> {
    let scratch = Scratch::new();
    let moto = Server::moto(&scratch)?;
    let table = |columns: Value| {
        let table = json!({ "Name": "access", "StorageDescriptor": { "Columns": columns }, "PartitionKeys": [{ "Name": "day", "Type": "date" }] });
        json!({ "DatabaseName": "web", "TableInput": table })
    };
    call(&moto, "CreateDatabase", &json!({ "DatabaseInput": { "Name": "web" } }));
    call(&moto, "CreateTable", &table(json!([{ "Name": "ts", "Type": "timestamp" }, { "Name": "n", "Type": "int" }])));
    let wider =
        json!([{ "Name": "ts", "Type": "timestamp" }, { "Name": "n", "Type": "bigint", "Comment": "how many" }]);
    call(&moto, "UpdateTable", &table(wider));
    call(&moto, "CreateRegistry", &json!({ "RegistryName": "events" }));
    let avro = json!({ "type": "record", "name": "Order", "fields": [
        { "name": "id", "type": "long" }, { "name": "note", "type": ["null", "string"], "default": null },
    ] });
    let json_schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] });
    for (name, format, definition) in [("orders", "AVRO", avro), ("clicks", "JSON", json_schema)] {
        let input = json!({ "RegistryId": { "RegistryName": "events" }, "SchemaName": name, "DataFormat": format, "Compatibility": "NONE", "SchemaDefinition": definition.to_string() });
        call(&moto, "CreateSchema", &input);
    }
    let registry = format!(
        "  aws: {{ glue: {{ region: eu-west-1, endpoint_url: \"{}\", schema_registry: events }} }}",
        moto.url()
    );
    configure(&scratch, &registry, "");
    Some((scratch, moto))
}

fn columns(scratch: &Scratch, what: &str) -> Value {
    let shown = with_config(scratch, &["schema", "show", what, "--json"]).expect_code(0);
    serde_json::from_str(&shown.stdout).expect("JSON")
}

fn column(name: &str, data_type: &str, required: bool, comment: Value) -> Value {
    json!({ "name": name, "type": data_type, "required": required, "comment": comment })
}

#[test]
fn tables_and_schemas_are_read_by_version_or_the_latest() {
    let Some((scratch, moto)) = scene() else { return };
    let ts = column("ts", "timestamp", false, Value::Null);
    let latest = columns(&scratch, "aws/web/access");
    assert_eq!(latest["version"], json!(2));
    assert_eq!(latest["columns"], json!([ts, column("n", "bigint", false, json!("how many"))]));
    assert_eq!(latest["partition_columns"], json!([column("day", "date", false, Value::Null)]));
    let first = columns(&scratch, "aws/web/access@1");
    assert_eq!((&first["version"], &first["columns"][1]["type"]), (&json!(1), &json!("int")));

    let orders = columns(&scratch, "aws/orders");
    assert_eq!(
        orders["columns"],
        json!([column("id", "bigint", true, Value::Null), column("note", "string", false, Value::Null)])
    );
    assert_eq!(columns(&scratch, "aws/orders@1"), orders);
    assert_eq!(columns(&scratch, "aws/clicks")["columns"], json!([column("id", "bigint", true, Value::Null)]));

    let list = with_config(&scratch, &["schema", "show", "aws"]).expect_code(0);
    assert!(list.stdout.contains("aws/web/access\t2\n"), "{list}");

    let check = with_config(&scratch, &["schema", "check", "--from", "aws/web/access@1", "--to", "aws/web/access"]);
    assert!(check.expect_code(0).stdout.contains("n\tyes\tno\twidened to bigint, was int"));
    for (what, said) in [
        ("aws/web/none", "registry `aws` has no table `web/none`"),
        ("aws/web/access@7", "registry `aws` has no version 7 of table `web/access`"),
        ("aws/none", "registry `aws` has no latest version of schema `none` in `events`"),
    ] {
        let finished = with_config(&scratch, &["schema", "show", what]).expect_code(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
    let push = with_config(&scratch, &["schema", "push", "aws/web/access", "1.yaml"]).expect_code(2);
    assert!(push.stderr.contains("registry `aws` is no directory"), "{push}");
    drop(moto);
    let gone = with_config(&scratch, &["schema", "show", "aws/web/access"]).expect_code(1);
    assert!(
        gone.stderr.contains("registry `aws` cannot be asked") && gone.stderr.contains("Connection refused"),
        "{gone}"
    );
}

#[test]
fn a_role_is_assumed_and_the_environments_endpoint_is_found() {
    let Some((scratch, moto)) = scene() else { return };
    let role =
        "  aws: { glue: { region: eu-west-1, assume_role: { role_arn: \"arn:aws:iam::123456789012:role/reader\" } } }";
    configure(&scratch, role, "");
    let arguments = ["schema", "show", "aws/web/access", "--config", "hydrant.yaml"].map(std::ffi::OsStr::new);
    let url = moto.url();
    let finished =
        crate::support::Hydrant::start(&scratch, &arguments, &[("AWS_ENDPOINT_URL", &url)]).wait().expect_code(0);
    assert!(finished.stdout.contains("n\tbigint\tnullable\thow many"), "{finished}");
}

#[test]
fn check_asks_glue_only_when_it_may() {
    let Some((scratch, moto)) = scene() else { return };
    let yaml = std::fs::read_to_string(scratch.path("hydrant.yaml")).expect("the configuration");
    let conversion = "    format_conversion: { schema: { registry: aws, subject: orders } }\n";
    std::fs::write(scratch.path("hydrant.yaml"), yaml + conversion).expect("written");
    let offline = with_config(&scratch, &["check"]);
    assert!(offline.stdout.contains("its schema was never seen here, --online asks for it"), "{offline}");
    let online = with_config(&scratch, &["check", "--online"]);
    assert!(online.stdout.contains("converted to Parquet, schema aws/orders version 1: 2 columns"), "{online}");
    drop(moto);
    let away = with_config(&scratch, &["check", "--online"]);
    assert!(away.stderr.contains("web: registry `aws` cannot be asked"), "{away}");
}

/// `HYDRANT_LINGER_MS` shortens for debug builds how long it is until Glue is asked again.
#[test]
fn a_new_version_takes_effect_while_the_daemon_runs() {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some((scratch, moto)) = scene() else { return };
    let update = |columns: Value| {
        let table = json!({ "Name": "access", "StorageDescriptor": { "Columns": columns } });
        call(&moto, "UpdateTable", &json!({ "DatabaseName": "web", "TableInput": table }));
    };
    update(json!([{ "Name": "n", "Type": "bigint" }]));
    let schema = json!({ "registry": "aws", "database": "web", "table": "access" });
    let mut config = converted(&scratch, "p/", &json!({ "format_conversion": { "schema": schema } }));
    config["schema_registries"] = json!({ "aws": { "glue": { "region": "eu-west-1", "endpoint_url": moto.url() } } });
    let path = scratch.log("s.log", "{\"n\":1,\"level\":\"a\"}\n");
    let hydrant = Hydrant::run_with_env(&scratch, &config, &[("HYDRANT_LINGER_MS", "200")]);
    let arrived = || {
        let mut rows: Vec<_> = rows(&scratch).into_values().flatten().collect();
        rows.sort_by_key(|row| row["n"].as_u64());
        rows
    };
    wait_until("the first row is there", || arrived().len() == 1);
    update(json!([{ "Name": "n", "Type": "bigint" }, { "Name": "level", "Type": "string" }]));
    wait_until("the version is seen", || hydrant.said("a new version of the schema") == 1);
    crate::support::scratch::append(&path, "{\"n\":2,\"level\":\"b\"}\n");
    wait_until("the second row is there", || arrived().len() == 2);
    assert_eq!(arrived(), [json!({ "n": 1 }), json!({ "n": 2, "level": "b" })]);
    assert!(hydrant.stderr().contains("schema=aws/web/access version 4"), "{}", hydrant.stderr());
}

#[test]
fn a_list_has_all_pages_of_tables_and_of_schemas() {
    let scratch = Scratch::new();
    let Some(glue) = Server::glue(&scratch) else { return };
    let registries = format!(
        "  aws: {{ glue: {{ region: eu-west-1, endpoint_url: \"{0}\", schema_registry: events }} }}
  tables: {{ glue: {{ region: eu-west-1, endpoint_url: \"{0}\" }} }}",
        glue.url()
    );
    configure(&scratch, &registries, "");
    let list = |name: &str| with_config(&scratch, &["schema", "show", name]).expect_code(0).stdout;
    let tables = "web/access\t7\n";
    assert_eq!(
        list("tables"),
        format!("schema\tversions\ntables/app/a\t7\ntables/app/b\t7\ntables/app/c\t7\ntables/{tables}")
    );
    let subjects = ["Zebra", "clicks", "events", "orders", "users"].map(|name| format!("aws/{name}\t-\n")).concat();
    assert_eq!(
        list("aws"),
        format!("schema\tversions\naws/app/a\t7\naws/app/b\t7\naws/app/c\t7\naws/{tables}{subjects}")
    );
    assert_eq!(columns(&scratch, "aws/orders@2")["version"], json!(2));
    assert_eq!(columns(&scratch, "aws/orders")["version"], json!(3));
    for (what, said) in [
        ("aws/pending", "`aws/pending` cannot be columns: its status is PENDING"),
        ("aws/none", "registry `aws` has no latest version of schema `none` in `events`"),
    ] {
        let finished = with_config(&scratch, &["schema", "show", what]).expect_code(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
}
