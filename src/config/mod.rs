//! The configuration: one YAML file and what it includes, read into types that cannot be wrong.
//!
//! Whatever the files hold, reading them ends soon, takes bounded memory and never panics; every mistake that can be
//! found is reported at once, with its place; and nothing that is reported holds a secret.
//!
//! On the way from text to [`Config`]: `tree` and `builder` (YAML with places) → `reader`, `map` and `text` (typed values,
//! `scalar` for `${…}`) → `parse` and the files beside it (what each key means) → `checks` (what concerns several delivery
//! streams). `files` and `error` keep what is wrong.

mod admin;
mod backup;
mod builder;
mod checks;
mod conversion;
mod destination;
pub mod encodings;
mod error;
mod file_source;
mod files;
mod globs;
mod hints;
mod http_client;
mod http_endpoint;
mod include;
mod json;
mod kinesis_leases;
mod kinesis_source;
mod map;
pub mod model;
mod opensearch;
mod parse;
mod partitioning;
mod pipeline_test;
mod processing;
mod reader;
mod records;
mod registries;
mod scalar;
mod schema_file;
mod text;
mod tree;
mod wasm;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::{ConfigError, ConfigErrors};
pub use model::*;
pub use pipeline_test::{Expected, ExpectedData, ExpectedOutput, PipelineTest, PipelineTests, RecordTest};
pub use scalar::{Environment, Purpose};

use files::{FILE_BYTES_MAX, Files};
use reader::Reader;

use crate::schema::Table;

/// The configuration in `path` with the variables and the working folder of this process.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let config = load_with(path, Purpose::Run)?;
    match config.delivery_streams.iter().find(|stream| has_lease_table(stream)) {
        Some(stream) => Err(unreadable(path, &format!("delivery stream `{}`: {NO_LEASE_TABLES}", stream.name))),
        None => Ok(config),
    }
}

/// What nobody may take for running.
pub const NO_LEASE_TABLES: &str = "this version cannot divide shards by a lease table yet: only one Hydrant reads the stream, with \
     `leases: local`";

fn has_lease_table(stream: &model::DeliveryStreamConfig) -> bool {
    matches!(&stream.source, model::SourceConfig::Kinesis(kinesis) if kinesis.lease_table().is_some())
}

/// The same for who only says whether it is right.
pub fn load_to_check(path: &Path) -> Result<Config, ConfigErrors> {
    load_with(path, Purpose::Check)
}

/// The same for who delivers nothing: the environment of the daemon's processors is not this process's.
pub fn load_to_look(path: &Path) -> Result<Config, ConfigErrors> {
    load_with(path, Purpose::Look)
}

/// The pipeline tests in `path`.
pub fn load_tests(path: &Path) -> Result<PipelineTests, ConfigErrors> {
    let environment = Environment::of_process()
        .map_err(|error| unreadable(path, &format!("the working folder is unknown: {}", scalar::reason(&error))))?;
    let bytes = scalar::read_at_most(path, FILE_BYTES_MAX)
        .map_err(|error| unreadable(path, &format!("the tests cannot be read: {}", scalar::reason(&error))))?;
    let files = RefCell::new(Files::of_tests());
    let main = files.borrow_mut().add(path, bytes);
    let tests = main.and_then(|main| {
        let reader = Reader::new(&environment, &files);
        pipeline_test::pipeline_tests(&reader.root(&main))
    });
    match tests {
        Some(tests) if !files.borrow().has_problems() => Ok(tests),
        _ => Err(files.into_inner().into_errors()),
    }
}

/// One version of a table as a directory registry has it: what `bytes`, read from `path`, hold.
pub fn read_table(path: &Path, bytes: Vec<u8>) -> Result<Table, ConfigErrors> {
    read_literal(path, bytes, Files::of_schemas(), schema_file::table)
}

/// How records are read by the columns of `table`, as it stands under a `format_conversion`: `input`, `on_unknown_field` and
/// `partition_columns`.
pub fn read_options(name: &Path, text: &str, table: Table) -> Result<FormatConversionConfig, ConfigErrors> {
    read_literal(name, text.as_bytes().to_vec(), Files::of_options(), |value| conversion::reading(value, table))
}

/// With no `${…}` replaced.
fn read_literal<T>(
    path: &Path,
    bytes: Vec<u8>,
    files: Files,
    read: impl FnOnce(&reader::Value<'_>) -> Option<T>,
) -> Result<T, ConfigErrors> {
    let bytes = (bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes);
    let environment =
        Environment { variables: BTreeMap::new(), working_folder: PathBuf::new(), purpose: Purpose::Look };
    let files = RefCell::new(files);
    let root = files.borrow_mut().add(path, bytes);
    let what = root.and_then(|root| {
        let reader = Reader::literal(&environment, &files);
        read(&reader.root(&root))
    });
    match what {
        Some(what) if !files.borrow().has_problems() => Ok(what),
        _ => Err(files.into_inner().into_errors()),
    }
}

fn load_with(path: &Path, purpose: Purpose) -> Result<Config, ConfigErrors> {
    match Environment::of_process() {
        Ok(environment) => load_in(path, &Environment { purpose, ..environment }),
        Err(error) => Err(unreadable(path, &format!("the working folder is unknown: {}", scalar::reason(&error)))),
    }
}

pub fn load_in(path: &Path, environment: &Environment) -> Result<Config, ConfigErrors> {
    match scalar::read_at_most(path, FILE_BYTES_MAX) {
        Ok(bytes) => build(path, bytes, environment),
        Err(error) => Err(unreadable(path, &format!("the configuration cannot be read: {}", scalar::reason(&error)))),
    }
}

/// A configuration that is in memory already; `path` is its name in errors, and includes count from its folder.
pub fn load_str(path: &Path, text: &str, environment: &Environment) -> Result<Config, ConfigErrors> {
    let bytes = (text.len() as u64 <= FILE_BYTES_MAX).then(|| text.as_bytes().to_vec());
    build(path, bytes, environment)
}

fn build(path: &Path, bytes: Option<Vec<u8>>, environment: &Environment) -> Result<Config, ConfigErrors> {
    let files = RefCell::new(Files::new());
    let main = files.borrow_mut().add(path, bytes);
    let config = main.and_then(|main| {
        let reader = Reader::new(environment, &files);
        let included = parse::included_files(&reader, &main, path);
        parse::config(&reader, &main, &included)
    });
    match config {
        Some(config) if !files.borrow().has_problems() => Ok(config),
        _ => Err(files.into_inner().into_errors()),
    }
}

fn unreadable(path: &Path, message: &str) -> ConfigErrors {
    let error = ConfigError {
        file: path.to_owned(),
        line: 1,
        column: 1,
        key: String::new(),
        message: message.to_owned(),
        help: None,
        snippet: None,
    };
    ConfigErrors::new(std::iter::once(error))
}

/// In backticks, on one line, and no longer than it takes to recognize it.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let escape = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    let mut shown: String = text.chars().take(CHARS_MAX).map(escape).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// What is no word may be a value that slipped into a key's place (`external_id:x`), and values may be secret.
fn key_shown(key: &str) -> String {
    if is_key_like(key) { quoted(key) } else { "that is not shown, as it is no single word".to_owned() }
}

fn is_key_like(key: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '<');
    !key.is_empty() && key.len() <= 64 && key.chars().all(is_word)
}

/// `a`, `b` and `c` in backticks.
fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Where the text goes on after `before`: both from 1, the column in characters.
fn line_and_column(before: &str) -> (usize, usize) {
    let breaks = before.matches('\n').count() + before.replace("\r\n", "\n").matches('\r').count();
    let last = before.rsplit(['\n', '\r']).next().unwrap_or_default();
    (breaks + 1, last.chars().count() + 1)
}
