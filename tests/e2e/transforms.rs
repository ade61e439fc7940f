//! Components through the real binary: whatever one does, every record has a fate, and nobody else notices.

mod down;
#[cfg(debug_assertions)]
mod equal;
mod examples;
mod hostile;
mod refused;
mod tools;
mod world;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Hydrant, Objects, Scratch, config, stream};

/// What the repository has as `tests/components/<name>`; `.wat` is made binary.
fn component(scratch: &Scratch, name: &str) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/components").join(name);
    if source.extension().is_some_and(|extension| extension == "wasm") {
        return source;
    }
    let binary = wat::parse_file(&source).expect("the text is well-formed");
    let path = scratch.path(&format!("{name}.wasm"));
    std::fs::write(&path, binary).expect("a component written");
    path
}

/// A `wasm` step of the component that misbehaves as `behaviour` says, with `limits` beside it.
fn hostile(scratch: &Scratch, behaviour: Value, limits: Value) -> Value {
    let mut step = json!({ "component": component(scratch, "hostile.wasm"), "config": behaviour });
    for (name, value) in limits.as_object().into_iter().flatten() {
        step[name] = value.clone();
    }
    json!({ "wasm": step })
}

/// `logs/<name>*.log` through `steps`, into a folder of its own.
fn transformed(scratch: &Scratch, name: &str, steps: impl Into<Value>) -> Value {
    let prefix = |kind: &str| format!("{name}/{kind}/");
    let destination = json!({ "directory": {
        "path": scratch.out(), "prefix": prefix("ok"), "error_output_prefix": prefix("errors"),
    } });
    let mut stream = stream(name, &scratch.logs().join(format!("{name}*.log")), destination);
    stream["processing"] = steps.into();
    stream
}

/// Delivers what there is through one stream `s`.
#[track_caller]
fn drain(scratch: &Scratch, steps: impl Into<Value>) -> crate::support::Finished {
    Hydrant::drain(scratch, &config(scratch, [transformed(scratch, "s", steps)]))
}

/// What the stream `name` has delivered, in order within each object.
fn delivered(scratch: &Scratch, name: &str) -> Vec<String> {
    lines_under(scratch, &format!("{name}/ok/"))
}

fn lines_under(scratch: &Scratch, folder: &str) -> Vec<String> {
    Objects::read(&scratch.out())
        .iter()
        .filter(|(key, _)| key.starts_with(folder))
        .flat_map(|(_, data)| String::from_utf8_lossy(data).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// A line of the error output.
#[derive(Debug)]
struct Failed {
    raw: String,
    code: String,
    message: String,
    attempts: u64,
    arn: String,
}

fn failed(scratch: &Scratch, name: &str) -> Vec<Failed> {
    let text = |envelope: &Value, key: &str| envelope[key].as_str().unwrap_or_default().to_owned();
    let read = |line: String| {
        let envelope: Value = serde_json::from_str(&line).expect("an envelope is one JSON object");
        let raw = STANDARD.decode(text(&envelope, "rawData")).expect("base64");
        Failed {
            raw: String::from_utf8_lossy(&raw).into_owned(),
            code: text(&envelope, "errorCode"),
            message: text(&envelope, "errorMessage"),
            attempts: envelope["attemptsMade"].as_u64().expect("a number"),
            arn: text(&envelope, "lambdaARN"),
        }
    };
    lines_under(scratch, &format!("{name}/errors/")).into_iter().map(read).collect()
}
