//! `hydrant schema check --records`: which records fit a schema, and why the others do not.
//!
//! Always true: memory does not grow with the file: one line, the rows of a block of lines, and a bounded list of reasons.

mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::{Error, target};
use crate::config::model::FormatConversionConfig;
use crate::config::{self, model::Config};
use crate::convert::Decoder;
use crate::schema::{Schema, SchemaSource};
use report::{Report, Verdict};

/// Rows are let go of when so many bytes of JSON have been read.
const BLOCK_BYTES: usize = 1 << 20;

#[derive(Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Records to check, instead of two versions; standard input with `-`.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    records: Option<PathBuf>,
    /// The schema for --records; without it, that of --stream.
    #[arg(long, value_name = "SCHEMA", requires = "records")]
    schema: Option<String>,
    /// Read records as the conversion of this delivery stream does.
    #[arg(long, value_name = "NAME", requires = "records")]
    stream: Option<String>,
    /// Read records as this YAML says: `input`, `on_unknown_field` and `partition_columns`, as under a stream's `format_conversion`.
    #[arg(long, value_name = "YAML", requires = "records", conflicts_with = "stream")]
    options: Option<String>,
    /// How many rows that do not fit are shown.
    #[arg(long, value_name = "NUMBER", default_value = "100", conflicts_with = "json")]
    limit: usize,
}

pub(super) fn run(arguments: &Arguments, is_json: bool, config: &Path) -> Result<ExitCode, Error> {
    let Some(records) = &arguments.records else {
        return Err(Error::Wrong(String::from("give two versions with --from and --to, or --records")));
    };
    let (schema, decoder) = reader(arguments, config)?;
    let mut report = Report::new(if is_json { None } else { Some(arguments.limit) });
    check(Lines::open(Some(records))?, decoder, &mut report)?;
    report.finish(&schema)?;
    Ok(if report.all_fit() { ExitCode::SUCCESS } else { ExitCode::from(super::super::FAILED) })
}

/// The schema, and what reads records by it.
fn reader(arguments: &Arguments, path: &Path) -> Result<(Schema, Decoder), Error> {
    let Some(name) = &arguments.stream else {
        let Some(schema) = &arguments.schema else {
            return Err(Error::Wrong(String::from("--records needs --schema or --stream")));
        };
        let schema = target::schema(schema, path)?;
        let (_, decoder) = crate::stream::decoder(&options(arguments, &schema)?, &schema, &[])?;
        return Ok((schema, decoder));
    };
    let config = target::load(path)?;
    let (conversion, in_path) = stream(&config, name)?;
    let schema = match &arguments.schema {
        Some(schema) => target::schema(schema, path)?,
        None => super::block_on(async {
            Ok(SchemaSource::to_look(&conversion.schema, &config.state_dir)?.resolve().await?.schema)
        })?,
    };
    let (_, decoder) = crate::stream::decoder(conversion, &schema, &in_path)?;
    Ok((schema, decoder))
}

/// A stream's conversion, and the columns that stand in its prefix.
fn stream<'c>(config: &'c Config, name: &str) -> Result<(&'c FormatConversionConfig, Vec<String>), Error> {
    let streams = &config.delivery_streams;
    let Some(stream) = streams.iter().find(|stream| stream.name == name) else {
        let known: Vec<_> = streams.iter().map(|stream| format!("`{}`", stream.name)).collect();
        return Err(Error::Wrong(format!("there is no delivery stream `{name}`; there are {}", known.join(", "))));
    };
    let Some(conversion) = &stream.format_conversion else {
        return Err(Error::Wrong(format!("the delivery stream `{name}` has no `format_conversion`")));
    };
    Ok((conversion, stream.destination.hive_columns()))
}

fn options(arguments: &Arguments, schema: &Schema) -> Result<FormatConversionConfig, Error> {
    let text = arguments.options.as_deref().unwrap_or("{}");
    let options = config::read_options(Path::new("--options"), text, schema.table.clone());
    super::super::or_shown(options).map_err(Error::Config)
}

fn check(mut lines: Lines, mut decoder: Decoder, report: &mut Report) -> Result<(), Error> {
    let (mut columns, mut failures, mut bytes) = (decoder.columns(), Vec::new(), 0);
    while let Some(Line { number, text }) = lines.next()? {
        let Some(text) = text else {
            report.too_long(number, LINE_BYTES_MAX >> 20)?;
            continue;
        };
        bytes += text.len();
        if bytes > BLOCK_BYTES {
            (columns, bytes) = (decoder.columns(), text.len());
        }
        let rows = decoder.decode(text, 0..text.len(), &mut columns, &mut failures);
        let rows = rows.map_err(|full| Error::Wrong(full.to_string()))?;
        report.take(Verdict { line: number, text, rows, failures: &failures })?;
        failures.clear();
    }
    Ok(())
}
