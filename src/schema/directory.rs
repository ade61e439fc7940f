//! A registry in a folder: `<database>/<table>/<version>.yaml`.
//!
//! Always true: a version that is there is never replaced by [`push`](DirectoryRegistry::push), and never seen half-written.
//! What is no `<number>.yaml` (an editor's copy, a README) is not looked at.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::document::to_yaml;
use super::registry::{BoxFuture, Listed, Registry, RegistryError, Stamp};
use super::{Schema, SchemaName, Table, Version};
use crate::config;
use crate::rename::{Renamed, rename_without_replace};

const EXTENSION: &str = "yaml";

#[derive(Debug)]
pub struct DirectoryRegistry {
    name: String,
    path: PathBuf,
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Somebody else pushed at the same time.
    #[error("version {version} is there already; compare with it and try again")]
    Taken { version: u64 },
}

impl DirectoryRegistry {
    pub fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), path: path.to_owned() }
    }

    /// Writes `table` as `version`, which nobody else has written yet.
    pub fn push(&self, name: &SchemaName, version: u64, table: &Table) -> Result<PathBuf, PushError> {
        let folder = self.folder(name)?;
        let path = folder.join(format!("{version}.{EXTENSION}"));
        let staged = folder.join(format!(".{version}-{}.new", uuid::Uuid::new_v4()));
        let written = DirBuilder::new().recursive(true).mode(0o755).create(&folder).and_then(|()| {
            let mut file = File::create_new(&staged)?;
            file.write_all(to_yaml(table).as_bytes())?;
            file.sync_data()?;
            let renamed = rename_without_replace(&staged, &path)?;
            File::open(&folder)?.sync_all()?;
            Ok(renamed)
        });
        match written {
            Ok(Renamed::Done) => Ok(path),
            outcome => {
                let _ = fs::remove_file(&staged);
                match outcome {
                    Err(source) => Err(PushError::Write { path, source }),
                    Ok(_) => Err(PushError::Taken { version }),
                }
            }
        }
    }

    fn find(&self, name: &SchemaName, version: Version) -> Result<Schema, RegistryError> {
        let folder = self.folder(name)?;
        let versions = self.versions(&folder)?;
        let not_found = |what| RegistryError::NotFound { registry: self.name.clone(), what };
        let number = match version {
            Version::Number(number) if versions.contains(&number) => number,
            Version::Number(number) => return Err(not_found(format!("version {number} of `{name}`"))),
            Version::Latest => versions.last().copied().ok_or_else(|| {
                let folder = folder.display();
                not_found(format!("`{name}`: {folder} holds no `<version>.yaml`"))
            })?,
        };
        let path = folder.join(format!("{number}.{EXTENSION}"));
        let bytes = fs::read(&path).map_err(|error| self.away(&path, &error))?;
        let table = config::read_table(&path, bytes).map_err(RegistryError::Invalid)?;
        Ok(Schema { name: format!("{}/{name}", self.name), version: Some(number), table })
    }

    fn folder(&self, name: &SchemaName) -> Result<PathBuf, RegistryError> {
        match name {
            SchemaName::Table { database, table } => Ok(self.path.join(database).join(table)),
            SchemaName::Subject(subject) => Err(RegistryError::NameKind {
                registry: self.name.clone(),
                name: subject.clone(),
                expected: "a directory has databases with tables, `<database>/<table>`",
            }),
        }
    }

    /// In order; none in a folder that is not there.
    fn versions(&self, folder: &Path) -> Result<Vec<u64>, RegistryError> {
        // That the registry as a whole is not there (a mount that failed) says nothing of what is in it.
        fs::read_dir(&self.path).map_err(|error| self.away(&self.path, &error))?;
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| self.away(folder, &error))?,
        };
        let mut versions: Vec<u64> =
            entries.filter_map(|entry| version_of(Path::new(&entry.ok()?.file_name()))).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn all(&self) -> Result<Vec<Listed>, RegistryError> {
        let folders = |path: &Path| -> Result<Vec<String>, RegistryError> {
            let entries = fs::read_dir(path).map_err(|error| self.away(path, &error))?;
            let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
            let mut names: Vec<_> = entries.filter_map(name).filter(|name| path.join(name).is_dir()).collect();
            names.sort();
            Ok(names)
        };
        let mut all = Vec::new();
        for database in folders(&self.path)? {
            for table in folders(&self.path.join(&database))? {
                let versions = self.versions(&self.path.join(&database).join(&table))?;
                if let (false, Ok(name)) = (versions.is_empty(), SchemaName::table(&database, &table)) {
                    all.push(Listed { name, versions });
                }
            }
        }
        Ok(all)
    }

    fn away(&self, path: &Path, error: &io::Error) -> RegistryError {
        let reason = format!("{} cannot be read: {error}", path.display());
        RegistryError::Away { registry: self.name.clone(), reason }
    }
}

impl Registry for DirectoryRegistry {
    /// Files are small and local: what a registry costs is one of them.
    fn resolve<'a>(&'a self, name: &'a SchemaName, version: Version) -> BoxFuture<'a, Result<Schema, RegistryError>> {
        Box::pin(async move { self.find(name, version) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RegistryError>> {
        Box::pin(async move { self.all() })
    }

    fn stamp(&self, name: &SchemaName) -> Option<Stamp> {
        let folder = self.folder(name).ok()?;
        let version = self.versions(&folder).ok()?.last().copied()?;
        let metadata = fs::metadata(folder.join(format!("{version}.{EXTENSION}"))).ok()?;
        let mut hash = Xxh3::new();
        let state = [version, metadata.ino(), metadata.len(), metadata.mtime() as u64, metadata.mtime_nsec() as u64];
        state.iter().for_each(|number| hash.update(&number.to_le_bytes()));
        Some(hash.digest128())
    }
}

/// `3.yaml`, and nothing that reads as the same number: `03.yaml` would be another file for it.
fn version_of(file: &Path) -> Option<u64> {
    let stem = file.file_stem()?.to_str()?;
    let version: u64 = stem.parse().ok()?;
    (file.extension()? == EXTENSION && version.to_string() == stem).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "columns:\n  - { name: a, type: int }\n";

    fn registry(files: &[(&str, &str)]) -> (tempfile::TempDir, DirectoryRegistry) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("web/access")).unwrap();
        for (file, content) in files {
            fs::write(folder.path().join("web/access").join(file), content).unwrap();
        }
        let registry = DirectoryRegistry::new("lake", folder.path());
        (folder, registry)
    }

    fn name() -> SchemaName {
        SchemaName::table("web", "access").unwrap()
    }

    #[test]
    fn the_latest_version_is_the_highest_number() {
        let files = ["2.yaml", "10.yaml", "9.yaml", "011.yaml", "12.yaml~", ".13.yaml.swp", "x.yaml", "14.yml"];
        let (_folder, registry) = registry(&files.map(|file| (file, YAML)));
        let latest = registry.find(&name(), Version::Latest).unwrap();
        assert_eq!((latest.version, latest.name.as_str()), (Some(10), "lake/web/access"));
        assert_eq!(registry.find(&name(), Version::Number(2)).unwrap().version, Some(2));
        let missing = registry.find(&name(), Version::Number(11)).unwrap_err();
        assert_eq!(missing.to_string(), "registry `lake` has no version 11 of `web/access`");
        assert_eq!(registry.all().unwrap(), [Listed { name: name(), versions: vec![2, 9, 10] }]);
    }

    #[test]
    fn a_mistake_is_said_with_its_place() {
        let yaml = "columns:\n  - { name: a, type: int }\n  - { name: b, type: \"array<strin>\" }\n  - { nme: c, type: int }\n  - { name: A, type: int }\n";
        let (_folder, registry) = registry(&[("1.yaml", yaml)]);
        let error = registry.find(&name(), Version::Latest).unwrap_err().to_string();
        assert!(error.contains("web/access/1.yaml:3:29: this is no column type: `strin` is none of"), "{error}");
        assert!(error.contains("1.yaml:4:7: unknown key `nme`") && error.contains("did you mean `name`?"), "{error}");
        fs::write(
            registry.path.join("web/access/1.yaml"),
            "columns:\n  - { name: a, type: int }\n  - { name: A, type: int }\n",
        )
        .unwrap();
        let error = registry.find(&name(), Version::Latest).unwrap_err().to_string();
        assert!(error.contains("1.yaml:3:5: there is a column `A` already"), "{error}");
        for half in ["", "columns:\n", "columns: []\n", "columns:\n  - { name: a, type"] {
            fs::write(registry.path.join("web/access/1.yaml"), half).unwrap();
            let error = registry.find(&name(), Version::Latest).unwrap_err();
            assert!(matches!(error, RegistryError::Invalid(_)), "{half}: {error}");
        }
    }

    #[test]
    fn a_dollar_is_a_dollar() {
        let yaml = "columns:\n  - { name: a, type: int, comment: \"costs ${HOME} or $$5\" }\n";
        let (_folder, registry) = registry(&[("1.yaml", yaml)]);
        let schema = registry.find(&name(), Version::Latest).unwrap();
        assert_eq!(schema.columns()[0].comment.as_deref(), Some("costs ${HOME} or $$5"));
    }

    #[test]
    fn a_push_replaces_nothing_and_moves_the_stamp() {
        let (folder, registry) = registry(&[("1.yaml", YAML)]);
        let table = registry.find(&name(), Version::Latest).unwrap().table;
        let stamp = registry.stamp(&name());
        assert!(matches!(registry.push(&name(), 1, &table), Err(PushError::Taken { version: 1 })));
        assert_eq!(registry.stamp(&name()), stamp);
        registry.push(&name(), 2, &table).unwrap();
        assert_ne!(registry.stamp(&name()), stamp);
        let other = SchemaName::table("new", "table").unwrap();
        registry.push(&other, 1, &table).unwrap();
        assert_eq!(registry.find(&other, Version::Latest).unwrap().table, table);
        let left = walkdir::WalkDir::new(folder.path()).into_iter().filter_map(Result::ok);
        assert_eq!(left.filter(|entry| entry.file_type().is_file()).count(), 3);
    }

    #[test]
    fn a_registry_that_is_not_there_is_away_and_not_empty() {
        let registry = DirectoryRegistry::new("lake", Path::new("/nowhere/at/all"));
        let error = registry.find(&name(), Version::Latest).unwrap_err();
        assert!(matches!(error, RegistryError::Away { .. }) && error.leaves_earlier_answers(), "{error}");
    }
}
