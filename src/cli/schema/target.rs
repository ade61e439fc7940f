//! What a command's argument names: a registry, a schema in it, or a file.

use std::path::{Path, PathBuf};

use super::Error;
use crate::config;
use crate::config::model::{Config, NamedRegistry, RegistryConfig};
use crate::schema::{NameError, RegistryError, Schema, SchemaName, Version, open};

/// Why an argument names nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("there is no registry `{name}` in the configuration{known}")]
    NoRegistry { name: String, known: String },
    #[error("`{text}` names no schema: {expected}")]
    Form { text: String, expected: &'static str },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{} cannot be read", path.display())]
    File { path: PathBuf, source: std::io::Error },
}

/// A schema in a registry.
pub(super) struct Target<'c> {
    pub registry: &'c NamedRegistry,
    pub name: SchemaName,
    pub version: Version,
}

/// Of the commands that need it; processors are not built, and a stream that cannot run yet is no obstacle.
pub(super) fn load(path: &Path) -> Result<Config, Error> {
    super::super::or_shown(config::load_to_look(path)).map_err(Error::Config)
}

pub(super) fn registry<'c>(config: &'c Config, name: &str) -> Result<&'c NamedRegistry, TargetError> {
    config.schema_registries.iter().find(|registry| registry.name == name).ok_or_else(|| {
        let names: Vec<_> = config.schema_registries.iter().map(|registry| format!("`{}`", registry.name)).collect();
        let known = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
        TargetError::NoRegistry { name: name.to_owned(), known }
    })
}

impl<'c> Target<'c> {
    /// `lake/web/access`, `events/orders-value`, each with `@3` or `@latest` behind it or not.
    pub fn parse(config: &'c Config, text: &str) -> Result<Self, TargetError> {
        let (name, version) = match text.rsplit_once('@').map(|(name, version)| (name, version.parse())) {
            Some((name, Ok(version))) => (name, version),
            // An at sign may be part of a subject.
            Some((_, Err(_))) | None => (text, Version::Latest),
        };
        let form = |expected| TargetError::Form { text: text.to_owned(), expected };
        let (registry_name, rest) = name.split_once('/').ok_or_else(|| {
            form("`REGISTRY/DATABASE/TABLE` or `REGISTRY/SUBJECT`, with `@VERSION` if not the latest")
        })?;
        let registry = registry(config, registry_name)?;
        let table = rest.split_once('/').filter(|(_, table)| !table.contains('/'));
        let name = match (&registry.config, table) {
            (RegistryConfig::Confluent(_), _) | (RegistryConfig::Glue(_), None) => SchemaName::subject(rest)?,
            (RegistryConfig::Directory(_) | RegistryConfig::Glue(_), Some((database, table))) => {
                SchemaName::table(database, table)?
            }
            (RegistryConfig::Directory(_), None) => return Err(form("a directory has `REGISTRY/DATABASE/TABLE`")),
        };
        Ok(Self { registry, name, version })
    }

    pub fn resolve(&self) -> Result<Schema, Error> {
        super::block_on(async { open(self.registry)?.resolve(&self.name, self.version).await })
    }
}

/// A file if there is one of this name, else a schema of a registry.
pub(super) fn schema(text: &str, config: &Path) -> Result<Schema, Error> {
    let path = Path::new(text);
    if path.is_file() || text.ends_with(".yaml") || text.ends_with(".yml") {
        return file(path);
    }
    Target::parse(&load(config)?, text)?.resolve()
}

/// A file as a directory registry has them, wherever it is.
pub(super) fn file(path: &Path) -> Result<Schema, Error> {
    let bytes = std::fs::read(path).map_err(|source| TargetError::File { path: path.to_owned(), source })?;
    let table = config::read_table(path, bytes).map_err(RegistryError::Invalid)?;
    Ok(Schema { name: path.display().to_string(), version: None, table })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_str};

    const CONFIG: &str = "
schema_registries:
  lake: { directory: { path: /lake } }
  aws: { glue: { region: eu-west-1 } }
  events: { confluent: { url: http://127.0.0.1:8081 } }
delivery_streams:
  - { name: s, source: { file: { paths: /l/*.log } }, destination: { directory: { path: /out } } }
";

    #[test]
    fn an_argument_is_read_as_its_registry_names_things() {
        let config = load_str(Path::new("hydrant.yaml"), CONFIG, &Environment::of_process().unwrap()).unwrap();
        for (text, expected) in [
            ("lake/web/access", "lake web/access latest"),
            ("lake/web/access@12", "lake web/access 12"),
            ("aws/web/access@latest", "aws web/access latest"),
            ("aws/orders@3", "aws orders 3"),
            ("events/orders-value", "events orders-value latest"),
            ("events/team/a@b", "events team/a@b latest"),
            ("events/a@b@2", "events a@b 2"),
        ] {
            let target = Target::parse(&config, text).unwrap();
            assert_eq!(format!("{} {} {}", target.registry.name, target.name, target.version), expected);
        }
        for (text, said) in [
            ("lake", "names no schema"),
            ("lake/web", "a directory has"),
            ("lake/web/../access", "a directory has"),
            ("lake/../access", "is no name"),
            ("lak/web/access", "no registry `lak` in the configuration; there are `lake`, `aws`, `events`"),
        ] {
            let error = Target::parse(&config, text).err().unwrap().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
