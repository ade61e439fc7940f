//! `hydrant schema check`: whether one version of a schema may follow another, and whether records fit a schema.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Compatibility, Error, records, table, target};
use crate::schema::{Comparison, Level, Schema};

/// Says whether one version of a schema may follow another, or with --records, which records fit a schema and why others do not.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant schema check --from 1.yaml --to 2.yaml
  hydrant schema check --from lake/web/access@1 --to lake/web/access --compatibility full
  hydrant schema check --from events/orders-value --to orders.yaml --json | jq .level
  hydrant schema check --schema lake/web/access@2 --records access.ndjson
  hydrant schema check --stream web --records access.ndjson --json | jq -r .column | sort | uniq -c
  hydrant schema check --schema a.yaml --records a.json --options '{ input: { deserializer: hive } }'

Two versions. Backward: old data reads with the new version, and none of it disappears. Forward: new data reads with the old one. Columns \
may be added, integers widened, required columns become nullable. Standard output is a table of the changes: path, backward \
(yes, no), forward (yes, no), change. Exits with 0 if the new version is as compatible as asked for, 1 if not, 2 if a schema \
cannot be read.

Records are lines, each with one JSON object or several; an object is a row. They are read as a stream with --stream reads what \
comes to its conversion, or as --options says. Standard output is a table of the rows that do not fit: line, byte in it, column, \
its type, the value's type, reason; at most --limit of them, and standard error has counts of all. With --json, one object a \
line, for all of them: also errorCode and errorMessage, as the error output has them, and data. Exits with 0 if all records fit, \
1 if not, 2 if the schema cannot be read.")]
pub struct Arguments {
    /// The old version: a file, or REGISTRY/DATABASE/TABLE or REGISTRY/SUBJECT with @VERSION behind it if not the latest.
    #[arg(long, value_name = "SCHEMA", required_unless_present = "records", requires = "to")]
    from: Option<String>,
    /// The new version, likewise.
    #[arg(long, value_name = "SCHEMA", requires = "from")]
    to: Option<String>,
    /// How much has to be kept.
    #[arg(long, value_enum, default_value = "backward", conflicts_with = "records")]
    compatibility: Compatibility,
    #[command(flatten)]
    records: records::Arguments,
    /// Print JSON: one object for two versions, one a line for records.
    #[arg(long)]
    json: bool,
    /// The configuration file, for schemas of registries.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (Some(from), Some(to)) = (&arguments.from, &arguments.to) else {
        return records::run(&arguments.records, arguments.json, &arguments.config);
    };
    let from = target::schema(from, &arguments.config)?;
    let to = target::schema(to, &arguments.config)?;
    let comparison = Comparison::of(&from.table, &to.table);
    if arguments.json {
        writeln!(io::stdout(), "{}", as_json(&from, &to, &comparison))?;
    } else {
        show(&comparison)?;
    }
    eprintln!("{}", summary(&from, &to, &comparison));
    let is_enough = comparison.level().is_at_least(arguments.compatibility.into());
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::from(super::super::FAILED) })
}

pub(super) fn show(comparison: &Comparison) -> io::Result<()> {
    table::print(["path", "backward", "forward", "change"], &rows(comparison))
}

pub(super) fn rows(comparison: &Comparison) -> Vec<[String; 4]> {
    let word = |is_kept: bool| String::from(if is_kept { "yes" } else { "no" });
    let row = |change: &crate::schema::Change| {
        [change.path.clone(), word(change.is_backward), word(change.is_forward), change.reason.clone()]
    };
    comparison.changes.iter().map(row).collect()
}

pub(super) fn summary(from: &Schema, to: &Schema, comparison: &Comparison) -> String {
    let what = match (comparison.level(), comparison.changes.is_empty()) {
        (_, true) => "the same columns",
        (Level::Full, _) => "fully compatible",
        (Level::Backward, _) => "backward compatible, not forward",
        (Level::Forward, _) => "forward compatible, not backward",
        (Level::None, _) => "compatible in neither direction",
    };
    format!("{from} -> {to}: {what}")
}

fn as_json(from: &Schema, to: &Schema, comparison: &Comparison) -> serde_json::Value {
    let changes: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| {
            json!({
                "path": change.path, "backward": change.is_backward, "forward": change.is_forward, "change": change.reason,
            })
        })
        .collect();
    let named = |schema: &Schema| json!({ "name": schema.name, "version": schema.version });
    json!({ "from": named(from), "to": named(to), "level": comparison.level().to_string(), "changes": changes })
}
