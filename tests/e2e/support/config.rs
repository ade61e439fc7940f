//! Configurations, made as JSON values so that a test changes one key and leaves the rest; every JSON text is YAML.

use std::path::Path;

use serde_json::{Value, json};

use super::scratch::Scratch;

/// A daemon with its state in the scratch folder.
pub fn config(scratch: &Scratch, delivery_streams: impl IntoIterator<Item = Value>) -> Value {
    json!({
        "state_dir": scratch.state(),
        "delivery_streams": delivery_streams.into_iter().collect::<Vec<_>>(),
    })
}

/// Files → destination, in small and early objects, uncompressed.
pub fn stream(name: &str, glob: &Path, destination: Value) -> Value {
    json!({
        "name": name,
        "source": { "file": { "paths": [glob] } },
        "buffering": fast_buffering(),
        "destination": destination,
    })
}

pub fn fast_buffering() -> Value {
    json!({ "size_mb": 0.1, "interval_seconds": 0.2, "low_latency": true })
}

pub fn directory(path: &Path) -> Value {
    json!({ "directory": { "path": path } })
}

pub fn s3_destination(endpoint: &str, bucket: &str) -> Value {
    json!({ "s3": {
        "bucket": bucket,
        "region": "eu-west-1",
        "endpoint_url": endpoint,
        "force_path_style": true,
        "request_timeout_seconds": 2,
    } })
}

/// A folder whose objects lie below `p/`, so that a file can be put in their way.
pub fn blockable_directory(path: &Path) -> Value {
    json!({ "directory": { "path": path, "prefix": "p/" } })
}
