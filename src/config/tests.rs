//! The configuration as its operators meet it.

mod conversion;
mod examples;
mod golden;
mod http_endpoint;
mod includes;
mod kinesis;
mod limits;
mod opensearch;
mod secrets;
mod values;

use std::path::{Path, PathBuf};

use super::{Config, ConfigErrors, Environment, load_in, load_str};
use super::{DestinationConfig, ObjectStoreConfig, Secret};

/// Good for whatever a case is not about.
const STREAM: &str = "\
delivery_streams:
  - name: web
    source: { file: { paths: /nowhere/*.log } }
    destination: { directory: { path: /nowhere-else } }
";

/// What no message, snippet or `Debug` may ever hold.
const HIDDEN: &str = "hunter2";

fn objects(destination: &DestinationConfig) -> &ObjectStoreConfig {
    match destination {
        DestinationConfig::Objects(store) => store,
        DestinationConfig::HttpEndpoint(_) | DestinationConfig::OpenSearch(_) => panic!("{destination:?}"),
    }
}

fn environment() -> Environment {
    let variables = [
        ("BUCKET", "lake"),
        ("DIGITS", "123456"),
        ("EMPTY", ""),
        ("EXPRESSION", "errors/!{timestamp:hunter2}/"),
        ("HIDDEN", HIDDEN),
        ("LARGE", "500"),
        ("SIZE", "64"),
        ("TRUE", "true"),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Environment { variables, working_folder: PathBuf::from("/working"), purpose: crate::config::Purpose::Check }
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    load_str(Path::new("hydrant.yaml"), text, &environment())
}

fn errors(text: &str) -> ConfigErrors {
    load(text).expect_err("a configuration with a mistake")
}

fn config(text: &str) -> Config {
    load(text).unwrap_or_else(|errors| panic!("{errors}"))
}
