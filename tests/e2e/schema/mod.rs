//! Schema registries and `hydrant schema`.

mod confluent;
mod directory;
mod glue;
mod records;

use std::ffi::OsStr;

use crate::support::{Finished, Hydrant, Scratch};

/// The command in the scratch folder, with its `hydrant.yaml` where it takes one.
pub fn hydrant(scratch: &Scratch, arguments: &[&str]) -> Finished {
    let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    Hydrant::start(scratch, &arguments, &[]).wait()
}

/// The same with the scratch folder's configuration.
pub fn with_config(scratch: &Scratch, arguments: &[&str]) -> Finished {
    hydrant(scratch, &[arguments, &["--config", "hydrant.yaml"]].concat())
}

/// Registries, and a stream that uses none of them, or `conversion`.
pub fn configure(scratch: &Scratch, registries: &str, conversion: &str) {
    let yaml = format!(
        "state_dir: state
schema_registries:
{registries}
delivery_streams:
  - name: web
    source: {{ file: {{ paths: [\"logs/*.log\"] }} }}
    destination: {{ directory: {{ path: out }} }}
{conversion}
"
    );
    std::fs::write(scratch.path("hydrant.yaml"), yaml).expect("the configuration written");
}
