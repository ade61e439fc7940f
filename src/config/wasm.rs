//! `wasm`: a step that is a component of the user's.

use std::time::Duration;

use super::reader::Value;
use super::scalar::Purpose;
use crate::processing::wasm::{CodeCache, Component, Instances, OnFailure, WasmConfig};

const KEYS: &[&str] =
    &["component", "config", "memory_mb", "timeout_ms", "batch_mb", "retries", "on_failure", "instances"];
const MEMORY_MB: i64 = 64;
const TIMEOUT_MS: i64 = 1000;
const BATCH_MB: f64 = 1.0;
const RETRIES: i64 = 3;

/// The options of a `wasm` step; the component has been compiled if this process is going to call it.
pub(super) fn wasm(options: &Value<'_>) -> Option<WasmConfig> {
    let map = options.map(KEYS)?;
    let component = map.required("component").and_then(|value| component(&value));
    let config = map.get_or("config", String::from("null"), Value::json);
    let memory_mb = map.get_or("memory_mb", MEMORY_MB, |value| value.whole(1..=4096, " of megabytes"));
    let timeout_ms = map.get_or("timeout_ms", TIMEOUT_MS, |value| value.whole(1..=300_000, " of milliseconds"));
    let batch_mb = map.get_or("batch_mb", BATCH_MB, |value| value.decimal(0.2..=3.0, " of megabytes", None));
    let retries = map.get_or("retries", RETRIES, |value| value.whole(0..=300, ""));
    let on_failure = map.get_or("on_failure", OnFailure::default(), |value| {
        value.one_of(&[("wait", OnFailure::Wait), ("backup", OnFailure::Backup)])
    });
    let instances = map.get_or("instances", Instances::default(), |value| {
        value.one_of(&[("fresh", Instances::Fresh), ("reuse", Instances::Reuse)])
    });
    Some(WasmConfig {
        component: component?,
        config: config?,
        memory_bytes_max: memory_mb?.unsigned_abs() << 20,
        timeout: Duration::from_millis(timeout_ms?.unsigned_abs()),
        batch_bytes_max: (batch_mb? * f64::from(1 << 20)) as u64,
        retries: retries?.unsigned_abs() as u32,
        on_failure: on_failure?,
        instances: instances?,
    })
}

fn component(value: &Value<'_>) -> Option<Component> {
    let text = value.string("the path of a component")?.check("the path of a component", |path| !path.is_empty())?;
    let environment = value.environment();
    let path = environment.absolute(&text.text);
    let is_kept = match environment.purpose {
        Purpose::Run => true,
        Purpose::Check => false,
        Purpose::Look => return reported(value, Component::look(&path)),
    };
    let dir = value.state_dir().join("components");
    reported(value, Component::load(&path, CodeCache { dir: &dir, is_kept }))
}

fn reported(
    value: &Value<'_>,
    result: Result<Component, crate::processing::wasm::ComponentError>,
) -> Option<Component> {
    match result {
        Ok(component) => Some(component),
        Err(error) => {
            value.problem(error.message, error.help);
            None
        }
    }
}
