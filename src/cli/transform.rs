//! `hydrant transform`: what becomes of records in a delivery stream's processing.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::chain::chain;
use crate::envelope::code_name;
use crate::processing::{Failure, Fate, Leaving};

use super::bench::bench;
use super::trial::{Outcome, Trial, TrialError, Tried, open_input};

/// Runs the records of FILE, or of standard input, through a delivery stream's processing, and prints each record's outcome.
/// Nothing is delivered, and nothing is remembered.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant transform --stream web-access /var/log/nginx/access.log
  head -n 3 access.log | hydrant transform --stream web-access --json | jq .outputs
  hydrant transform --stream web-access --bench access.log      which step is the slow one?

Records are cut as the stream's source cuts them. With --json, one object a line: record (from 1), position, outcome (ok, \
dropped, failed, or partly_failed), outputs with data (dataBase64 where it is not UTF-8) and partitionKeys, failures with \
errorCode and errorMessage. With dynamic partitioning an output has the prefix of the object to which it goes, as of now, and \
partitionKeys has what queries find, too. Exits with 1 if a record cannot be tried, not if one fails.")]
pub struct Arguments {
    /// The delivery stream.
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// The records; standard input without it, or with `-`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
    /// Print one JSON object a line.
    #[arg(long, conflicts_with = "bench")]
    json: bool,
    /// Print how many records and MB each step takes in a second, on one core.
    #[arg(long)]
    bench: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::log_to_stderr("warn");
    let config = match super::load_to_check(&arguments.config) {
        Ok(config) => config,
        Err(status) => return status,
    };
    let trial = match Trial::open(&config, &arguments.stream) {
        Ok(trial) => trial,
        Err(error) => {
            eprintln!("{}", chain(&error));
            return ExitCode::from(super::WRONG);
        }
    };
    let result = if arguments.bench { bench(&trial, arguments.file.as_deref()) } else { show(arguments, &trial) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(TrialError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::from(super::FAILED)
        }
    }
}

fn show(arguments: &Arguments, trial: &Trial<'_>) -> Result<(), TrialError> {
    let (file, name) = open_input(arguments.file.as_deref())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut number, mut counts, now) = (0, Counts::default(), Timestamp::now());
    let prefix = |output: &Leaving| trial.is_partitioned().then(|| trial.prefix(output, now));
    trial.run(file, &name, |tried| -> Result<(), TrialError> {
        number += 1;
        counts.add(&tried);
        if arguments.json {
            writeln!(out, "{}", as_json(number, &tried, &prefix))?;
        } else {
            write_text(&mut out, number, &tried, &prefix)?;
        }
        Ok(())
    })?;
    out.flush()?;
    if !arguments.json {
        eprintln!("{counts}");
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    records: u64,
    outputs: u64,
    dropped: u64,
    failed: u64,
}

impl Counts {
    fn add(&mut self, tried: &Tried<'_>) {
        self.records += 1;
        match tried.record {
            Outcome::TooLarge(_) => self.failed += 1,
            Outcome::Fate(_, fate) => {
                self.outputs += fate.outputs.len() as u64;
                self.dropped += u64::from(fate.is_dropped());
                self.failed += u64::from(!fate.failures.is_empty());
            }
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, outputs, dropped, failed } = self;
        write!(f, "{records} records: {outputs} leave, {dropped} dropped, {failed} failed")
    }
}

/// Says where an output goes, if that depends on it.
type PrefixOf<'p> = dyn Fn(&Leaving) -> Option<String> + 'p;

fn write_text(out: &mut impl Write, number: u64, tried: &Tried<'_>, prefix: &PrefixOf<'_>) -> io::Result<()> {
    let (record, fate) = match tried.record {
        Outcome::TooLarge(length) => {
            return writeln!(out, "{number}\tfailed\tthe record is {length} bytes long, which is over the limit");
        }
        Outcome::Fate(record, fate) => (record, fate),
    };
    if fate.is_dropped() {
        writeln!(out, "{number}\tdropped\t{}", printable(record))?;
    }
    for output in &fate.outputs {
        write!(out, "{number}\tok\t{}", printable(&output.data))?;
        for (name, value) in &output.keys {
            write!(out, "\t{}={}", printable(name.as_bytes()), printable(value.as_bytes()))?;
        }
        if let Some(prefix) = prefix(output) {
            write!(out, "\t-> {prefix}")?;
        }
        writeln!(out)?;
    }
    for (data, failure) in &fate.failures {
        let (code, message) = (code_name(failure.code), printable(failure.message.as_bytes()));
        writeln!(out, "{number}\tfailed\t{code}: {message}\t{}", printable(data))?;
    }
    Ok(())
}

/// On one line, and harmless on a terminal.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
}

fn as_json(number: u64, tried: &Tried<'_>, prefix: &PrefixOf<'_>) -> Value {
    let position = tried.position;
    match tried.record {
        Outcome::TooLarge(length) => json!({
            "record": number, "position": position, "outcome": "failed", "outputs": [],
            "failures": [{
                "errorCode": crate::envelope::RECORD_TOO_LARGE,
                "errorMessage": format!("the record is {length} bytes long, which is over the limit"),
            }],
        }),
        Outcome::Fate(_, fate) => json!({
            "record": number, "position": position, "outcome": fate.name(),
            "outputs": fate.outputs.iter().map(|output| leaving(output, prefix(output))).collect::<Vec<_>>(),
            "failures": fate.failures.iter().map(|(data, failure)| failed(data, failure)).collect::<Vec<_>>(),
        }),
    }
}

fn leaving(output: &Leaving, prefix: Option<String>) -> Value {
    let keys: Map<_, _> = output.keys.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut object = bytes(&output.data);
    object.insert(String::from("partitionKeys"), Value::Object(keys));
    object.extend(prefix.map(|prefix| (String::from("prefix"), Value::String(prefix))));
    Value::Object(object)
}

fn failed(data: &[u8], failure: &Failure) -> Value {
    let mut object = bytes(data);
    object.insert(String::from("errorCode"), Value::from(code_name(failure.code)));
    object.insert(String::from("errorMessage"), Value::from(failure.message.as_str()));
    object.insert(String::from("attemptsMade"), Value::from(failure.attempts));
    Value::Object(object)
}

/// As `data`, or as `dataBase64` where they are no UTF-8.
pub(super) fn bytes(data: &[u8]) -> Map<String, Value> {
    let (name, value) = match std::str::from_utf8(data) {
        Ok(text) => ("data", text.to_owned()),
        Err(_) => ("dataBase64", STANDARD.encode(data)),
    };
    Map::from_iter([(name.to_owned(), Value::String(value))])
}

impl Fate {
    fn is_dropped(&self) -> bool {
        self.outputs.is_empty() && self.failures.is_empty()
    }

    /// In a word.
    pub(super) fn name(&self) -> &'static str {
        match (self.outputs.is_empty(), self.failures.is_empty()) {
            (true, true) => "dropped",
            (true, false) => "failed",
            (false, true) => "ok",
            (false, false) => "partly_failed",
        }
    }
}
