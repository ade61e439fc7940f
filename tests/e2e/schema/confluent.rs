//! Confluent's interface, as Apicurio serves it; and behind a proxy that asks for client certificates and credentials.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{configure, with_config};
use crate::support::servers::{Server, certificates, free_port, python};
use crate::support::{Finished, Hydrant, Scratch};

const API: &str = "/apis/ccompat/v7";

fn register(apicurio: &Server, subject: &str, schema: &Value, more: Value) {
    let mut body = json!({ "schema": schema.to_string() });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    let headers = [("content-type", "application/vnd.schemaregistry.v1+json")];
    apicurio.post(&format!("{API}/subjects/{subject}/versions"), &headers, &body.to_string());
}

fn record(fields: Value) -> Value {
    json!({ "type": "record", "name": "Order", "namespace": "com.acme", "fields": fields })
}

/// A registry with subjects that can be columns, and one of each that cannot.
fn scene() -> Option<(Scratch, Server)> {
    let scratch = Scratch::new();
    let apicurio = Server::apicurio(&scratch)?;
    let id = json!({ "name": "id", "type": "long" });
    register(&apicurio, "orders-value", &record(json!([id])), json!({}));
    let at = json!({ "name": "at", "type": ["null", { "type": "long", "logicalType": "timestamp-millis" }], "default": null });
    register(&apicurio, "orders-value", &record(json!([id, at])), json!({}));
    let union = json!({ "name": "u", "type": ["int", "string"] });
    register(&apicurio, "union", &record(json!([union])), json!({}));
    let object = json!({ "type": "object", "properties": { "ok": { "type": "boolean" }, "n": { "type": ["null", "number"] } }, "required": ["ok", "n"] });
    register(&apicurio, "team%2Fclicks", &object, json!({ "schemaType": "JSON" }));
    let reference = json!([{ "name": "com.acme.Order", "subject": "orders-value", "version": 1 }]);
    let batch = json!({ "type": "record", "name": "Batch", "fields": [{ "name": "orders", "type": { "type": "array", "items": "com.acme.Order" } }] });
    register(&apicurio, "batch", &batch, json!({ "references": reference }));
    configure(&scratch, &format!("  events: {{ confluent: {{ url: \"{}{API}\" }} }}", apicurio.url()), "");
    Some((scratch, apicurio))
}

fn show(scratch: &Scratch, what: &str) -> Finished {
    with_config(scratch, &["schema", "show", what, "--json"])
}

fn shown(scratch: &Scratch, what: &str) -> Value {
    serde_json::from_str(&show(scratch, what).expect_code(0).stdout).expect("JSON")
}

#[test]
fn subjects_are_read_by_version_or_the_latest() {
    let Some((scratch, apicurio)) = scene() else { return };
    let latest = shown(&scratch, "events/orders-value");
    let columns = json!([
        { "name": "id", "type": "bigint", "required": true, "comment": null },
        { "name": "at", "type": "timestamp", "required": false, "comment": null },
    ]);
    assert_eq!((&latest["version"], &latest["columns"]), (&json!(2), &columns));
    let first = shown(&scratch, "events/orders-value@1");
    assert_eq!((&first["version"], &first["columns"]), (&json!(1), &json!([columns[0]])));
    let clicks = shown(&scratch, "events/team/clicks");
    let columns = json!([
        { "name": "n", "type": "double", "required": false, "comment": null },
        { "name": "ok", "type": "boolean", "required": true, "comment": null },
    ]);
    assert_eq!(clicks["columns"], columns);
    let list = with_config(&scratch, &["schema", "show", "events"]).expect_code(0);
    assert_eq!(
        list.stdout,
        "schema\tversions\nevents/batch\t-\nevents/orders-value\t-\nevents/team/clicks\t-\nevents/union\t-\n"
    );
    for (what, said) in [
        ("events/union", "`events/union` cannot be columns: `Order.u`: a union of several types"),
        ("events/batch", "`events/batch` cannot be columns: it refers to another subject (`com.acme.Order`)"),
        ("events/none", "registry `events` has no subject `none` with version latest"),
        ("events/orders-value@9", "registry `events` has no subject `orders-value` with version 9"),
    ] {
        let finished = show(&scratch, what).expect_code(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
    configure(&scratch, &format!("  events: {{ confluent: {{ url: \"{}/nowhere\" }} }}", apicurio.url()), "");
    let finished = show(&scratch, "events/orders-value").expect_code(1);
    assert!(finished.stderr.contains("is `url` the registry's?"), "{finished}");
}

#[test]
fn where_there_are_no_certificate_authorities_plain_http_works() {
    let scratch = Scratch::new();
    configure(&scratch, "  events: { confluent: { url: \"http://127.0.0.1:1\" } }", "");
    let arguments = ["schema", "show", "events", "--config", "hydrant.yaml"].map(std::ffi::OsStr::new);
    let nowhere = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let finished = Hydrant::start(&scratch, &arguments, &nowhere).wait().expect_code(1);
    assert!(finished.stderr.contains("Connection refused"), "{finished}");
}

#[test]
fn client_certificates_and_credentials_are_shown_to_who_asks_for_them() {
    let Some((scratch, apicurio)) = scene() else { return };
    certificates(scratch.root(), "server-ca", "server");
    certificates(scratch.root(), "client-ca", "client");
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/tls_proxy.py");
    let mut command = Command::new(python());
    command.arg(script).args([&port.to_string(), &apicurio.url(), "server.pem", "server.key", "client-ca.pem"]);
    let proxy = Server::start(&scratch, "proxy", command, port);

    let (basic, bearer) = ("basic_auth: { username: me, password: hunter2 }", "bearer_token: hunter2");
    let own = "ca_file: server-ca.pem, certificate_file: client.pem, key_file: client.key";
    for (credentials, tls, status, said) in [
        (basic, own, 0, ""),
        (bearer, own, 0, ""),
        ("bearer_token: hunter3", own, 1, "registry `events` refuses: status 401: not for you"),
        (basic, "ca_file: server-ca.pem", 1, "registry `events` cannot be asked"),
        (basic, "ca_file: client-ca.pem, certificate_file: client.pem, key_file: client.key", 1, "UnknownIssuer"),
        (
            basic,
            "ca_file: server-ca.pem, certificate_file: client.pem, key_file: none.key",
            1,
            "none.key cannot be read",
        ),
    ] {
        let url = format!("https://127.0.0.1:{}{API}", proxy.port);
        configure(
            &scratch,
            &format!("  events: {{ confluent: {{ url: \"{url}\", {credentials}, tls: {{ {tls} }} }} }}"),
            "",
        );
        let finished = show(&scratch, "events/orders-value").expect_code(status);
        assert!(finished.stderr.contains(said) && !finished.stderr.contains("hunter"), "{tls}: {finished}");
        assert_eq!(finished.stdout.contains("timestamp"), status == 0, "{finished}");
    }
}
