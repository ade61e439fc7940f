//! OpenSearch: what bulk requests hold, what each item's answer leads to, and where goes what is not taken.

mod answers;
mod crash;
mod life;
mod nodes;
mod redrive;
mod requests;
mod server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Objects, Scratch, config, directory, stream};

const FAILED: &str = "AmazonOpenSearchService-failed/";

/// `*.log` → the index `web` of a cluster, with a backup.
fn to_opensearch(scratch: &Scratch, urls: &[String], keys: Value) -> Value {
    let mut opensearch = json!({
        "urls": urls,
        "index": "web",
        "index_rotation": "none",
        "retry_seconds": 7_200,
        "response_timeout_seconds": 60,
    });
    let keys = keys.as_object().expect("keys").clone();
    opensearch.as_object_mut().expect("keys").extend(keys);
    let mut stream = stream("web", &scratch.logs().join("*.log"), json!({ "opensearch": opensearch }));
    stream["backup"] = directory(&scratch.backup());
    stream["backup"]["error_output_prefix"] = "!{firehose:error-output-type}/".into();
    config(scratch, [stream])
}

/// Documents with the numbers from 0 on.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

fn log(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

/// Every document that was not taken, in its envelope.
fn envelopes(scratch: &Scratch) -> Vec<Value> {
    let objects = Objects::read(&scratch.backup());
    assert!(objects.keys().all(|key| key.starts_with(FAILED)), "{:?}", objects.keys().collect::<Vec<_>>());
    objects.lines().iter().map(|line| serde_json::from_str(line).expect("an envelope")).collect()
}

/// The document of an envelope.
fn raw(envelope: &Value) -> String {
    let raw = STANDARD.decode(envelope["rawData"].as_str().expect("a text")).expect("base64");
    String::from_utf8(raw).expect("the tests send text")
}

/// The documents of all envelopes, sorted.
fn failed(scratch: &Scratch) -> Vec<String> {
    let mut failed: Vec<_> = envelopes(scratch).iter().map(raw).collect();
    failed.sort();
    failed
}
