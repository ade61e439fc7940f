//! `hydrant test`: pipeline tests, which say what a delivery stream's processing makes of records.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::chain::chain;
use crate::config::model::Config;
use crate::config::{self, Expected, ExpectedData, ExpectedOutput, PipelineTest, PipelineTests, RecordTest};
use crate::envelope::code_name;
use crate::processing::{Fate, Leaving};
use crate::record::{Chunk, NoHeader, PartitionId, Position, SourcePartition};

use super::trial::{Trial, TrialError};

/// All records of all tests arrive at 2026-01-01 00:00 UTC: what a component makes of the time is the same in each run.
const ARRIVAL: i64 = 1_767_225_600;

/// Runs pipeline tests: YAML files with records and what a delivery stream's processing is expected to make of them.
#[derive(Args)]
#[command(after_help = "Example:
  hydrant test tests.yaml

  # tests.yaml
  config: hydrant.yaml                # counted from this file's folder; --config goes before it
  tests:
    - name: users are masked
      stream: web-access
      records:
        - input: { user: ann, path: / }         # a mapping is JSON, a string is itself
          expect: { ok: { user: '***', path: / } }
        - input: not JSON
          expect: { failed: 'is no JSON' }      # a part of the message; `code` may stand beside it
        - input: { path: /health }
          expect: dropped
        - input: { users: [a, b] }
          expect: { many: [{ ok: { user: a }, partition_keys: { user: a } }, { ok: { user: b } }] }
        - input: { customer: a/b }
          expect: { ok: { customer: a/b }, prefix: 'web/customer=a%2Fb/2026/01/01/00/' }

partition_keys are all that transforms have set and that the queries under `partitioning` find; prefix is that of the object to \
which the record goes. All records arrive at 2026-01-01 00:00 UTC, so that clocks and random numbers are the same in each run; \
of a random string in a prefix, `!{firehose:random-string}` is left.

Exits with 0 if all is as expected, 1 if not, 2 if a file is wrong.")]
pub struct Arguments {
    /// The tests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration, instead of those that the files name.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::log_to_stderr("warn");
    let mut out = io::stdout().lock();
    let mut counts = Counts::default();
    for file in &arguments.files {
        match test_file(file, arguments.config.as_deref(), &mut out, &mut counts) {
            Ok(()) => {}
            Err(status) => return status,
        }
    }
    let Counts { passed, failed } = counts;
    eprintln!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

fn test_file(file: &Path, config: Option<&Path>, out: &mut impl Write, counts: &mut Counts) -> Result<(), ExitCode> {
    let PipelineTests { config: named, tests } = super::or_shown(config::load_tests(file))?;
    let named = named.map(|named| file.parent().unwrap_or(Path::new("")).join(named));
    let Some(path) = config.map(Path::to_owned).or(named) else {
        eprintln!("{} names no `config`, and there is no --config", file.display());
        return Err(ExitCode::from(super::WRONG));
    };
    let config = super::load_to_check(&path)?;
    for test in &tests {
        let differences = match differences(&config, test) {
            Ok(differences) => differences,
            Err(error) => {
                eprintln!("{}: {}: {}", file.display(), test.name, chain(&error));
                return Err(ExitCode::from(super::WRONG));
            }
        };
        if differences.is_empty() {
            counts.passed += 1
        } else {
            counts.failed += 1
        }
        let word = if differences.is_empty() { "ok" } else { "FAILED" };
        let shown = writeln!(out, "{word}\t{}\t{}", file.display(), test.name)
            .and_then(|()| differences.iter().try_for_each(|difference| writeln!(out, "{difference}")));
        if shown.is_err() {
            return Err(ExitCode::from(super::FAILED)); // Nobody reads it any more.
        }
    }
    Ok(())
}

/// What is not as expected, in words.
fn differences(config: &Config, test: &PipelineTest) -> Result<Vec<String>, TrialError> {
    let trial = Trial::open(config, &test.stream)?;
    let Some(chunk) = chunk(&trial, test)? else { return Ok(Vec::new()) };
    let fates = trial.fates(&chunk)?;
    let arrival = chunk.arrival;
    let prefix = |output: &Leaving| trial.prefix(output, arrival);
    Ok(test.records.iter().zip(&fates).filter_map(|(record, fate)| difference(record, fate, &prefix)).collect())
}

/// The records as the source would hand them on.
fn chunk(trial: &Trial<'_>, test: &PipelineTest) -> Result<Option<Chunk>, TrialError> {
    let (source, mut data, mut ends) = (trial.source(), Vec::new(), Vec::new());
    let in_source = |text: &str| source.in_encoding(text.as_bytes(), source.encoding);
    for record in &test.records {
        data.extend(in_source(&record.input));
        ends.push(data.len() as u32);
    }
    if ends.is_empty() {
        return Ok(None);
    }
    Ok(Some(Chunk {
        partition: Arc::new(Given { header: test.header.as_deref().map(|header| Bytes::from(in_source(header))) }),
        start: Position::BEGINNING,
        data: Bytes::from(data),
        ends: Arc::new(ends),
        delimiter_len: 0,
        last_is_bare: false,
        source_ends: None,
        made: None,
        record_ends: None,
        partitions: None,
        rows: None,
        origins: None,
        earlier: None,
        is_processed: false,
        arrival: Timestamp::from_second(ARRIVAL).map_err(std::io::Error::other)?,
        failed_at: None,
        permit: trial.permit()?,
    }))
}

/// Where the records of a test come from.
struct Given {
    header: Option<Bytes>,
}

impl SourcePartition for Given {
    fn id(&self) -> PartitionId {
        PartitionId(0)
    }

    fn name(&self) -> String {
        String::from("test")
    }

    fn evidence(&self, _: Position) -> Option<crate::record::PlacedEvidence> {
        None
    }

    fn header(&self) -> Result<Bytes, NoHeader> {
        self.header.clone().ok_or(NoHeader::NoneSkipped)
    }

    fn settled(&self, _: Position) {}
}

/// Says where an output goes.
type PrefixOf<'p> = dyn Fn(&Leaving) -> String + 'p;

fn difference(record: &RecordTest, fate: &Fate, prefix: &PrefixOf<'_>) -> Option<String> {
    let details = match &record.expected {
        Expected::Dropped if fate.name() == "dropped" => return None,
        Expected::Failed { message, code } if fate.name() == "failed" => {
            let fits =
                |text: &str, name: &str| text.contains(message) && code.as_deref().is_none_or(|code| code == name);
            if fate.failures.iter().any(|(_, failure)| fits(&failure.message, code_name(failure.code))) {
                return None;
            }
            Vec::new()
        }
        Expected::Outputs(outputs) if fate.failures.is_empty() && outputs.len() == fate.outputs.len() => {
            let mut details = Vec::new();
            for (number, (expected, got)) in outputs.iter().zip(&fate.outputs).enumerate() {
                let of = if outputs.len() > 1 { format!("output {}: ", number + 1) } else { String::new() };
                let differences = output_differences(expected, got, prefix);
                details.extend(differences.into_iter().map(|difference| format!("{of}{difference}")));
            }
            if details.is_empty() {
                return None;
            }
            details
        }
        Expected::Dropped | Expected::Failed { .. } | Expected::Outputs(_) => Vec::new(),
    };
    let mut text = format!("  {}\n    input     {}\n", record.place, shown(record.input.as_bytes()));
    text.push_str(&format!("    expected  {}\n", expected_shown(&record.expected).join("\n              ")));
    text.push_str(&format!("    got       {}", fate_shown(fate).join("\n              ")));
    for detail in details {
        text.push_str(&format!("\n      {detail}"));
    }
    Some(text)
}

fn output_differences(expected: &ExpectedOutput, got: &Leaving, prefix: &PrefixOf<'_>) -> Vec<String> {
    let data = got.data.as_slice();
    let mut differences = match &expected.data {
        ExpectedData::Text(text) if text.as_bytes() == data => Vec::new(),
        ExpectedData::Text(_) => vec![String::from("the data differs")],
        ExpectedData::Json(expected) => match serde_json::from_slice::<Json>(data) {
            Ok(got) => json_differences("", expected, &got),
            Err(error) => vec![format!("the data is no JSON: {error}")],
        },
    };
    if let Some(keys) = &expected.partition_keys {
        differences.extend(key_differences(keys, &got.keys));
    }
    if let Some(expected) = &expected.prefix {
        let prefix = prefix(got);
        if *expected != prefix {
            differences.push(format!("prefix: expected {expected}, got {prefix}"));
        }
    }
    differences
}

/// Where two sets of partition keys differ, by name.
fn key_differences(expected: &[(String, String)], got: &[(String, String)]) -> Vec<String> {
    let names: BTreeSet<_> = expected.iter().chain(got).map(|(name, _)| name).collect();
    let values = |keys: &[(String, String)], name: &str| {
        let mut values: Vec<_> =
            keys.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        // A query and a transform may agree.
        values.dedup();
        values.join(" and ")
    };
    let differ = |name: &String| match (values(expected, name), values(got, name)) {
        (expected, got) if expected == got => None,
        (expected, got) if got.is_empty() => {
            Some(format!("partition key {name}: expected {expected}, and it is not there"))
        }
        (expected, got) if expected.is_empty() => Some(format!("partition key {name}: not expected, got {got}")),
        (expected, got) => Some(format!("partition key {name}: expected {expected}, got {got}")),
    };
    names.into_iter().filter_map(differ).collect()
}

/// Where two values differ, by path as jq writes it.
fn json_differences(path: &str, expected: &Json, got: &Json) -> Vec<String> {
    match (expected, got) {
        (Json::Object(expected), Json::Object(got)) => {
            let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
            let differ = |name: &String| match (expected.get(name), got.get(name)) {
                (Some(expected), Some(got)) => json_differences(&format!("{path}.{name}"), expected, got),
                (Some(expected), None) => vec![format!("{path}.{name}: expected {expected}, and it is not there")],
                (None, Some(got)) => vec![format!("{path}.{name}: not expected, got {got}")],
                (None, None) => Vec::new(),
            };
            names.into_iter().flat_map(differ).collect()
        }
        (Json::Array(expected), Json::Array(got)) if expected.len() == got.len() => {
            let differ = |(index, (expected, got))| json_differences(&format!("{path}[{index}]"), expected, got);
            expected.iter().zip(got).enumerate().flat_map(differ).collect()
        }
        _ if expected == got => Vec::new(),
        _ => vec![format!("{}: expected {expected}, got {got}", if path.is_empty() { "." } else { path })],
    }
}

fn expected_shown(expected: &Expected) -> Vec<String> {
    match expected {
        Expected::Dropped => vec![String::from("dropped")],
        Expected::Failed { message, code } => {
            vec![format!("failed {} …{message}…", code.as_deref().unwrap_or("with any code:"))]
        }
        Expected::Outputs(outputs) => outputs.iter().map(expected_output_shown).collect(),
    }
}

fn expected_output_shown(output: &ExpectedOutput) -> String {
    let data = match &output.data {
        ExpectedData::Text(text) => shown(text.as_bytes()),
        ExpectedData::Json(json) => json.to_string(),
    };
    let prefix = output.prefix.as_ref().map(|prefix| format!(" -> {prefix}")).unwrap_or_default();
    format!("ok {data}{}{prefix}", keys_shown(output.partition_keys.as_deref().unwrap_or_default()))
}

fn fate_shown(fate: &Fate) -> Vec<String> {
    let outputs = fate.outputs.iter().map(|output| format!("ok {}{}", shown(&output.data), keys_shown(&output.keys)));
    let failures =
        fate.failures.iter().map(|(_, failure)| format!("failed {} {}", code_name(failure.code), failure.message));
    let lines: Vec<_> = outputs.chain(failures).collect();
    if lines.is_empty() { vec![String::from("dropped")] } else { lines }
}

fn keys_shown(keys: &[(String, String)]) -> String {
    keys.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

fn shown(data: &[u8]) -> String {
    String::from_utf8_lossy(data).replace('\n', "\\n")
}
