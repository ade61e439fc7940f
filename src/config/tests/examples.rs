//! Every file in `config/` is a configuration that loads.

use std::fs;

use super::*;

#[test]
fn every_example_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let variables = ["S3_ENDPOINT=https://s3.example", "S3_BUCKET=lake", "LOG_BUCKET=logs"];
    let variables = variables.map(|variable| variable.split_once('=').unwrap());
    let environment = Environment {
        variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        // Relative paths of the examples count from the top of the repository.
        working_folder: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        purpose: crate::config::Purpose::Check,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let config = load_in(&path, &environment).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(!config.delivery_streams.is_empty());
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let shipped = [
        "access-log-to-json.yaml",
        "backup-all.yaml",
        "csv.yaml",
        "datadog.yaml",
        "directory.yaml",
        "elastic.yaml",
        "honeycomb.yaml",
        "http-endpoint.yaml",
        "kinesis-agent.yaml",
        "kinesis.yaml",
        "multiline-java.yaml",
        "new-relic.yaml",
        "opensearch.yaml",
        "s3-compatible.yaml",
        "s3.yaml",
        "schemas.yaml",
        "sidecar.yaml",
    ];
    assert!(shipped.iter().all(|shipped| names.iter().any(|name| name == shipped)), "{names:?}");
}

#[test]
fn every_example_of_a_schema_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schemas");
    let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert!(!files.is_empty());
    for path in files {
        crate::config::read_table(&path, fs::read(&path).unwrap()).unwrap_or_else(|errors| panic!("{errors}"));
    }
}
