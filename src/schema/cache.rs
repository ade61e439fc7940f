//! The last good answers of registries, on disk, so that a registry that is away does not stop a restart.
//!
//! Always true: what is read is what was written for this registry, schema and version. A file carries the hash of its
//! content; one that is damaged, or not this version's, is as good as none. No trouble with the cache is more than a warning.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use super::{Column, Schema, Table};
use crate::config::model::NamedRegistry;

use super::{SchemaName, Version};

/// Another layout of the files.
const FORMAT: u32 = 1;

/// One answer's place.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
    path: PathBuf,
}

/// An answer, and when it was given.
pub(super) struct Cached {
    pub schema: Schema,
    pub at: SystemTime,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    name: String,
    version: Option<u64>,
    columns: Vec<StoredColumn>,
    partition_columns: Vec<StoredColumn>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    required: bool,
    comment: Option<String>,
}

impl Cache {
    /// `dir` is `state_dir/schemas`. Another place of the registry has other answers.
    pub fn new(dir: &Path, registry: &NamedRegistry, name: &SchemaName, version: Version) -> Self {
        let asked = serde_json::to_vec(&(&place(registry), name, version)).unwrap_or_default();
        Self { dir: dir.to_owned(), path: dir.join(format!("{}.json", hex(&asked))) }
    }

    pub fn load(&self) -> Option<Cached> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.refused(&error.to_string()),
            Ok(text) => text,
        };
        let Some((hash, document)) = text.split_once('\n') else { return self.refused("it is cut off") };
        if hash != hex(document.as_bytes()) {
            return self.refused("its content does not have the hash that it names");
        }
        let schema = match serde_json::from_str::<Document>(document) {
            Ok(document) if document.format == FORMAT => document.into_schema(),
            Ok(_) => None,
            Err(error) => return self.refused(&error.to_string()),
        };
        let at = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        schema.map(|schema| Cached { schema, at }).or_else(|| self.refused("another version of Hydrant wrote it"))
    }

    pub fn store(&self, schema: &Schema) {
        if let Err(error) = self.write(schema) {
            warn!(file = %self.path.display(), %error, "a schema cannot be cached: a restart will need its registry");
        }
    }

    fn write(&self, schema: &Schema) -> io::Result<()> {
        let document = serde_json::to_string(&Document::of(schema))?;
        let text = format!("{}\n{document}", hex(document.as_bytes()));
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let staged = self.path.with_extension(format!("{}.new", uuid::Uuid::new_v4()));
        let mut file = File::create_new(&staged)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        let written = written.and_then(|()| fs::rename(&staged, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&staged);
        }
        written
    }

    fn refused(&self, reason: &str) -> Option<Cached> {
        warn!(file = %self.path.display(), reason, "a cached schema is of no use and ignored");
        debug!("it is replaced when the registry answers");
        None
    }
}

/// What tells one registry from another: not its credentials and time-outs.
fn place(registry: &NamedRegistry) -> Vec<String> {
    use crate::config::model::RegistryConfig::{Confluent, Directory, Glue};
    let place = match &registry.config {
        Directory(config) => vec![String::from("directory"), config.path.display().to_string()],
        Confluent(config) => vec![String::from("confluent"), config.url.clone()],
        Glue(config) => {
            let parts =
                [&config.region, &config.endpoint_url, &config.catalog_id].map(|part| part.clone().unwrap_or_default());
            std::iter::once(String::from("glue")).chain(parts).chain([config.schema_registry.clone()]).collect()
        }
    };
    std::iter::once(registry.name.clone()).chain(place).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Document {
    fn of(schema: &Schema) -> Self {
        let stored = |column: &Column| StoredColumn {
            name: column.name.clone(),
            data_type: column.data_type.to_string(),
            required: column.is_required,
            comment: column.comment.clone(),
        };
        Self {
            format: FORMAT,
            name: schema.name.clone(),
            version: schema.version,
            columns: schema.columns().iter().map(stored).collect(),
            partition_columns: schema.partition_columns().iter().map(stored).collect(),
        }
    }

    /// `None` for types that only another Hydrant knows.
    fn into_schema(self) -> Option<Schema> {
        let columns = |stored: Vec<StoredColumn>| -> Option<Vec<Column>> {
            let column = |StoredColumn { name, data_type, required, comment }: StoredColumn| {
                Some(Column { name, data_type: data_type.parse().ok()?, is_required: required, comment })
            };
            stored.into_iter().map(column).collect()
        };
        let table = Table::new(columns(self.columns)?, columns(self.partition_columns)?).ok()?;
        Some(Schema { name: self.name, version: self.version, table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{DirectoryRegistryConfig, RegistryConfig};

    fn registry(path: &str) -> NamedRegistry {
        let config = RegistryConfig::Directory(DirectoryRegistryConfig { path: path.into() });
        NamedRegistry { name: String::from("lake"), config }
    }

    fn schema() -> Schema {
        let columns = vec![
            Column { is_required: true, ..Column::nullable("a", "struct<`x y`:decimal(3,1)>".parse().unwrap()) },
            Column { comment: Some(String::from("ü\n")), ..Column::nullable("b", "date".parse().unwrap()) },
        ];
        let partition = vec![Column::nullable("day", "date".parse().unwrap())];
        Schema {
            name: String::from("lake/web/access"),
            version: Some(3),
            table: Table::new(columns, partition).unwrap(),
        }
    }

    fn name() -> SchemaName {
        SchemaName::table("web", "access").unwrap()
    }

    #[test]
    fn an_answer_comes_back_to_who_asks_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("schemas");
        let cache = Cache::new(&dir, &registry("/a"), &name(), Version::Latest);
        assert!(cache.load().is_none());
        cache.store(&schema());
        cache.store(&schema());
        assert_eq!(cache.load().unwrap().schema, schema());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
        for other in [
            Cache::new(&dir, &registry("/b"), &name(), Version::Latest),
            Cache::new(&dir, &registry("/a"), &name(), Version::Number(3)),
            Cache::new(&dir, &registry("/a"), &SchemaName::table("web", "b").unwrap(), Version::Latest),
        ] {
            assert!(other.load().is_none());
        }
    }

    #[test]
    fn a_damaged_answer_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), &registry("/a"), &name(), Version::Latest);
        cache.store(&schema());
        let whole = fs::read(&cache.path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&cache.path, &damaged).unwrap();
            assert!(cache.load().is_none(), "byte {at}");
            fs::write(&cache.path, &whole[..at]).unwrap();
            assert!(cache.load().is_none(), "cut at {at}");
        }
    }
}
