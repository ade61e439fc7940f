//! `hydrant schema show`: what registries hold.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::target::{self, Target};
use super::{Error, table};
use crate::config::model::{Config, NamedRegistry, RegistryConfig};
use crate::schema::{Column, Schema, open};

/// Shows the configured registries, what one of them holds, or the columns of one schema.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant schema show                       the registries
  hydrant schema show lake                  the tables of one
  hydrant schema show lake/web/access@2     the columns of a version
  hydrant schema show events/orders-value --json | jq -r '.columns[].name'

On a terminal a table, else separated by tabs with a header. A registry's list names the versions that it tells of without \
being asked for each schema: all of a directory's, the latest of Glue's tables. With --json, one object a line.")]
pub struct Arguments {
    /// REGISTRY, REGISTRY/DATABASE/TABLE or REGISTRY/SUBJECT, with @VERSION behind it if not the latest.
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let config = target::load(&arguments.config)?;
    match arguments.what.as_deref() {
        None => registries(&config, arguments.json)?,
        Some(what) if what.contains('/') => schema(&Target::parse(&config, what)?.resolve()?, arguments.json)?,
        Some(name) => content(target::registry(&config, name)?, arguments.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn registries(config: &Config, is_json: bool) -> Result<(), Error> {
    let row = |registry: &NamedRegistry| {
        let (kind, place) = match &registry.config {
            RegistryConfig::Directory(config) => ("directory", config.path.display().to_string()),
            RegistryConfig::Glue(config) => {
                let place = config.endpoint_url.clone().or_else(|| config.region.clone());
                ("glue", place.unwrap_or_else(|| String::from("the SDK's region")))
            }
            RegistryConfig::Confluent(config) => ("confluent", config.url.clone()),
        };
        [registry.name.clone(), kind.to_owned(), place]
    };
    let rows: Vec<_> = config.schema_registries.iter().map(row).collect();
    if !is_json {
        return Ok(table::print(["registry", "kind", "place"], &rows)?);
    }
    lines(rows.iter().map(|[registry, kind, place]| json!({ "registry": registry, "kind": kind, "place": place })))
}

fn content(registry: &NamedRegistry, is_json: bool) -> Result<(), Error> {
    let all = super::block_on(async { open(registry)?.list().await })?;
    if is_json {
        return lines(all.iter().map(
            |listed| json!({ "registry": registry.name, "name": listed.name.to_string(), "versions": listed.versions }),
        ));
    }
    let row = |listed: &crate::schema::Listed| {
        let versions: Vec<String> = listed.versions.iter().map(u64::to_string).collect();
        let shown = if versions.is_empty() { String::from("-") } else { versions.join(" ") };
        [format!("{}/{}", registry.name, listed.name), shown]
    };
    Ok(table::print(["schema", "versions"], &all.iter().map(row).collect::<Vec<_>>())?)
}

fn schema(schema: &Schema, is_json: bool) -> Result<(), Error> {
    if is_json {
        return lines(std::iter::once(json!({
            "name": schema.name, "version": schema.version, "fingerprint": schema.fingerprint(),
            "columns": schema.columns(), "partition_columns": schema.partition_columns(),
        })));
    }
    let row = |column: &Column, kind: &str| {
        let comment = column.comment.clone().unwrap_or_default();
        [column.name.clone(), column.data_type.to_string(), kind.to_owned(), comment]
    };
    let own =
        schema.columns().iter().map(|column| row(column, if column.is_required { "required" } else { "nullable" }));
    let rows: Vec<_> = own.chain(schema.partition_columns().iter().map(|column| row(column, "partition"))).collect();
    table::print(["column", "type", "kind", "comment"], &rows)?;
    eprintln!("{schema}: {} columns", schema.columns().len());
    Ok(())
}

fn lines(values: impl Iterator<Item = serde_json::Value>) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    for value in values {
        writeln!(stdout, "{value}")?;
    }
    Ok(stdout.flush()?)
}
