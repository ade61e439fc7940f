//! `hydrant schema push`: the next version of a table in a directory registry.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::target::{self, Target};
use super::{Compatibility, Error, check};
use crate::config::model::RegistryConfig;
use crate::schema::{Comparison, DirectoryRegistry, Level, RegistryError, Schema, Version};

/// Writes FILE as the next version of a table in a directory registry, if it is compatible with the latest one.
///
/// Daemons whose streams use the latest version find it within seconds. Never writes to Glue or Confluent, and never
/// replaces a version.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant schema push lake/web/access access.yaml
  hydrant schema push lake/web/access access.yaml --compatibility none    columns disappear, and that is meant

Standard output is the name and number of the new version, such as lake/web/access@4. A FILE that is the latest version \
already is not written again. Exits with 0 if the file is the latest version now, 1 if it is not compatible, 2 if a schema \
cannot be read.")]
pub struct Arguments {
    /// REGISTRY/DATABASE/TABLE
    #[arg(value_name = "TABLE")]
    table: String,
    /// The schema, as `hydrant schema infer` writes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How much of the latest version has to be kept.
    #[arg(long, value_enum, default_value = "backward")]
    compatibility: Compatibility,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let config = target::load(&arguments.config)?;
    let Target { registry, name, version } = &Target::parse(&config, &arguments.table)?;
    let RegistryConfig::Directory(directory) = &registry.config else {
        let message =
            format!("registry `{}` is no directory; its schemas are written with its own tools", registry.name);
        return Err(Error::Wrong(message));
    };
    if *version != Version::Latest {
        return Err(Error::Wrong(String::from("a push makes the next version: leave out the `@`")));
    }
    let new = target::file(&arguments.file)?;
    let latest = match (Target { registry, name: name.clone(), version: Version::Latest }).resolve() {
        Ok(latest) => Some(latest),
        Err(Error::Registry(RegistryError::NotFound { .. })) => None,
        Err(error) => return Err(error),
    };
    if let Some(latest) = &latest {
        if latest.table == new.table {
            eprintln!("{} is {latest} already", arguments.file.display());
            return said(latest, latest.version.unwrap_or_default());
        }
        let comparison = Comparison::of(&latest.table, &new.table);
        if !comparison.level().is_at_least(Level::from(arguments.compatibility)) {
            for [path, backward, forward, change] in check::rows(&comparison) {
                eprintln!("{path}: {change} (backward: {backward}, forward: {forward})");
            }
            eprintln!("{}; nothing was written", check::summary(latest, &new, &comparison));
            return Ok(ExitCode::from(super::super::FAILED));
        }
    }
    let number = latest.as_ref().and_then(|latest| latest.version).unwrap_or(0).checked_add(1);
    let number = number.ok_or_else(|| Error::Wrong(String::from("there is no number behind the latest version's")))?;
    let path = DirectoryRegistry::new(&registry.name, &directory.path).push(name, number, &new.table)?;
    eprintln!("written to {}", path.display());
    said(&Schema { name: format!("{}/{name}", registry.name), version: Some(number), table: new.table }, number)
}

fn said(schema: &Schema, version: u64) -> Result<ExitCode, Error> {
    writeln!(io::stdout(), "{}@{version}", schema.name)?;
    Ok(ExitCode::SUCCESS)
}
