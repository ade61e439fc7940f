//! Where one delivery stream's schema comes from, over time.
//!
//! Always true: whoever has a schema keeps it until [`Watch::poll`] hands over another one. A registry that is away, a file
//! that is half-written or a schema that cannot be columns never takes away what is there. The cache has what was converted
//! with, not what was only seen.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use super::cache::{Cache, Cached};
use super::registry::{self, Registry, RegistryError, Stamp};
use super::{Schema, SchemaName, Version};
use crate::config::model::{RegistryConfig, SchemaConfig};
use crate::failpoint;

/// Looking into a folder costs a system call or two.
const DIRECTORY_INTERVAL: Duration = Duration::from_secs(5);
/// Asking somebody else's server costs them a request.
const REMOTE_INTERVAL: Duration = Duration::from_secs(300);

/// The folder of the cache in `state_dir`.
const CACHE_FOLDER: &str = "schemas";

/// What a delivery stream's `schema` asks for.
pub enum SchemaSource {
    Inline(Schema),
    Registry(Asked),
}

/// A schema in a registry.
#[derive(Clone)]
pub struct Asked {
    registry: Arc<dyn Registry>,
    interval: Duration,
    name: SchemaName,
    version: Version,
    cache: Cache,
    /// Whether answers are kept for the next start.
    is_kept: bool,
}

/// A schema, and who said so.
#[derive(Debug)]
pub struct Resolved {
    pub schema: Schema,
    pub origin: Origin,
}

#[derive(Debug)]
pub enum Origin {
    /// The configuration or the registry, just now.
    Asked,
    /// The cache, as the registry gives none.
    Cached { at: SystemTime, error: RegistryError },
}

impl SchemaSource {
    /// For who delivers: answers are kept in `state_dir`. Nothing is asked yet.
    pub fn new(schema: &SchemaConfig, state_dir: &Path) -> Result<Self, RegistryError> {
        Self::open(schema, state_dir, true)
    }

    /// For who looks: nothing is written.
    pub fn to_look(schema: &SchemaConfig, state_dir: &Path) -> Result<Self, RegistryError> {
        Self::open(schema, state_dir, false)
    }

    fn open(schema: &SchemaConfig, state_dir: &Path, is_kept: bool) -> Result<Self, RegistryError> {
        let (registry, name, version) = match schema {
            SchemaConfig::Inline(table) => return Ok(Self::Inline(Schema::inline(table.clone()))),
            SchemaConfig::Registry(reference) => (&reference.registry, &reference.name, reference.version),
        };
        Ok(Self::Registry(Asked {
            registry: registry::open(registry)?,
            interval: match &registry.config {
                RegistryConfig::Directory(_) => DIRECTORY_INTERVAL,
                RegistryConfig::Glue(_) | RegistryConfig::Confluent(_) => failpoint::wait(REMOTE_INTERVAL),
            },
            name: name.clone(),
            version,
            cache: Cache::new(&state_dir.join(CACHE_FOLDER), registry, name, version),
            is_kept,
        }))
    }

    /// Asks the registry, within its time-out, and then the cache. What comes from the cache is said loudly.
    pub async fn resolve(&self) -> Result<Resolved, RegistryError> {
        match self {
            Self::Inline(schema) => Ok(Resolved { schema: schema.clone(), origin: Origin::Asked }),
            Self::Registry(asked) => match asked.ask().await {
                Ok(schema) => Ok(Resolved { schema, origin: Origin::Asked }),
                Err(error) if error.leaves_earlier_answers() => asked.earlier(error),
                Err(error) => Err(error),
            },
        }
    }

    /// The last good answer, with nobody asked; `None` where the cache has none.
    pub fn cached(&self) -> Option<(Schema, SystemTime)> {
        match self {
            Self::Inline(_) => None,
            Self::Registry(asked) => asked.cache.load().map(|Cached { schema, at }| (schema, at)),
        }
    }

    /// Keeps an answer for the next start: one that records can be converted with.
    pub fn keep(&self, schema: &Schema) {
        if let Self::Registry(asked) = self {
            asked.keep(schema);
        }
    }

    /// Follows the schema from `current` on, which is in use; `seen` was the answer, which may be another one that could not be
    /// used. `None` where it cannot change: inline, and versions with a number.
    pub fn watch(&self, current: &Schema, seen: &Schema) -> Option<Watch> {
        let Self::Registry(asked) = self else { return None };
        let is_latest = asked.version == Version::Latest;
        // Without a stamp: what has changed since then is found by the first look.
        let watch = || Watch { asked: asked.clone(), current: current.clone(), seen: seen.clone(), stamp: None };
        is_latest.then(watch)
    }
}

impl Asked {
    async fn ask(&self) -> Result<Schema, RegistryError> {
        self.registry.resolve(&self.name, self.version).await
    }

    fn keep(&self, schema: &Schema) {
        if self.is_kept {
            self.cache.store(schema);
        }
    }

    fn earlier(&self, error: RegistryError) -> Result<Resolved, RegistryError> {
        let Some(Cached { schema, at }) = self.cache.load() else { return Err(error) };
        let age = at.elapsed().unwrap_or_default().as_secs();
        warn!(%schema, %error, age_seconds = age, "the schema comes from the cache, as its registry gives none; records \
               are converted with what it last was");
        Ok(Resolved { schema, origin: Origin::Cached { at, error } })
    }
}

/// Finds the next version of a schema.
pub struct Watch {
    asked: Asked,
    /// In use.
    current: Schema,
    /// The last answer, whether it could be used or not.
    seen: Schema,
    /// At the last look, whatever came of it: a file with a mistake in it is read, and reported, once.
    stamp: Option<Stamp>,
}

impl Watch {
    /// How long to wait between two looks.
    pub fn interval(&self) -> Duration {
        self.asked.interval
    }

    /// Looks once: another version, or the same one with another content; `None` if all is as it was, or as it was seen the last
    /// time. An error leaves the schema as it is. Who uses what it gives says so with [`Watch::take`]. A look that is dropped half-way has not happened.
    pub async fn poll(&mut self) -> Result<Option<Schema>, RegistryError> {
        let stamp = self.asked.registry.stamp(&self.asked.name);
        if stamp.is_some() && stamp == self.stamp {
            return Ok(None);
        }
        let asked = self.asked.ask().await;
        self.stamp = stamp;
        let schema = asked?;
        if schema == self.current {
            // Its age is told where it has to stand in.
            self.asked.keep(&schema);
        }
        if schema == self.seen {
            return Ok(None);
        }
        self.seen = schema.clone();
        Ok((schema != self.current).then_some(schema))
    }

    /// From now on this schema is the one in use.
    pub fn take(&mut self, schema: Schema) {
        self.asked.keep(&schema);
        self.current = schema;
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::model::{DirectoryRegistryConfig, NamedRegistry, SchemaReference};

    /// A directory registry and a `state_dir`.
    struct Scene {
        folder: TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let scene = Self { folder: tempfile::tempdir().unwrap() };
            fs::create_dir_all(scene.folder.path().join("registry/web/access")).unwrap();
            scene
        }

        fn write(&self, version: u64, content: &str) {
            let path = self.folder.path().join(format!("registry/web/access/{version}.yaml"));
            fs::write(path, content).unwrap();
        }

        fn source(&self, version: Version) -> SchemaSource {
            let path = self.folder.path().join("registry");
            let config = RegistryConfig::Directory(DirectoryRegistryConfig { path });
            let registry = NamedRegistry { name: String::from("lake"), config };
            let name = SchemaName::table("web", "access").unwrap();
            let reference = SchemaConfig::Registry(Box::new(SchemaReference { registry, name, version }));
            SchemaSource::new(&reference, &self.folder.path().join("state")).unwrap()
        }
    }

    fn yaml(column: &str) -> String {
        format!("columns:\n  - {{ name: {column}, type: int }}\n")
    }

    #[tokio::test]
    async fn a_restart_needs_no_registry() {
        let scene = Scene::new();
        scene.write(1, &yaml("a"));
        let source = scene.source(Version::Latest);
        assert!(source.cached().is_none());
        let first = source.resolve().await.unwrap();
        assert!(matches!(first.origin, Origin::Asked));
        source.keep(&first.schema);
        scene.write(2, "columns:\n  - { name: half, ty");
        let half = source.resolve().await.unwrap();
        assert_eq!(half.schema, first.schema);
        assert!(matches!(half.origin, Origin::Cached { error: RegistryError::Invalid(_), .. }));
        fs::rename(scene.folder.path().join("registry"), scene.folder.path().join("aside")).unwrap();
        let away = scene.source(Version::Latest).resolve().await.unwrap();
        assert_eq!(away.schema, first.schema);
        assert!(matches!(away.origin, Origin::Cached { error: RegistryError::Away { .. }, .. }));
        assert!(scene.source(Version::Number(1)).resolve().await.is_err(), "nobody has asked for it before");
    }

    #[tokio::test]
    async fn a_schema_that_its_registry_has_not_is_not_taken_from_the_cache() {
        let scene = Scene::new();
        scene.write(1, &yaml("a"));
        let source = scene.source(Version::Latest);
        source.keep(&source.resolve().await.unwrap().schema);
        fs::remove_file(scene.folder.path().join("registry/web/access/1.yaml")).unwrap();
        assert!(matches!(source.resolve().await, Err(RegistryError::NotFound { .. })));
    }

    #[tokio::test]
    async fn who_looks_writes_nothing() {
        let scene = Scene::new();
        scene.write(1, &yaml("a"));
        let SchemaSource::Registry(mut asked) = scene.source(Version::Latest) else { panic!("a registry") };
        asked.is_kept = false;
        let source = SchemaSource::Registry(asked);
        source.keep(&source.resolve().await.unwrap().schema);
        assert!(!scene.folder.path().join("state").exists());
    }

    #[tokio::test]
    async fn a_watch_hands_over_each_version_once_and_keeps_the_last_good_one() {
        let scene = Scene::new();
        scene.write(1, &yaml("a"));
        let source = scene.source(Version::Latest);
        let first = source.resolve().await.unwrap().schema;
        let mut watch = source.watch(&first, &first).unwrap();
        assert_eq!(watch.poll().await.unwrap(), None);
        scene.write(2, &yaml("b"));
        let second = watch.poll().await.unwrap().unwrap();
        assert_eq!((second.version, second.columns()[0].name.as_str()), (Some(2), "b"));
        watch.take(second.clone());
        assert_eq!(watch.poll().await.unwrap(), None);
        scene.write(3, "columns: [");
        assert!(matches!(watch.poll().await, Err(RegistryError::Invalid(_))));
        assert_eq!(watch.poll().await.unwrap(), None, "it is reported once");
        assert_eq!(source.cached().unwrap().0, second);
        scene.write(3, &yaml("c"));
        assert_eq!(watch.poll().await.unwrap().unwrap().version, Some(3));
        scene.write(3, &yaml("changed"));
        let changed = watch.poll().await.unwrap().unwrap();
        assert_eq!((changed.version, changed.columns()[0].name.as_str()), (Some(3), "changed"));
        assert!(scene.source(Version::Number(3)).watch(&changed, &changed).is_none());
    }

    #[tokio::test]
    async fn a_version_that_is_not_taken_is_handed_over_once_and_not_kept() {
        let scene = Scene::new();
        scene.write(1, &yaml("a"));
        let source = scene.source(Version::Latest);
        let first = source.resolve().await.unwrap().schema;
        source.keep(&first);
        scene.write(2, &yaml("b"));
        let mut watch = source.watch(&first, &first).unwrap();
        let second = watch.poll().await.unwrap().unwrap();
        let table = scene.folder.path().join("registry/web/access");
        fs::write(table.join("copy"), "another look finds it again").unwrap();
        assert_eq!(watch.poll().await.unwrap(), None);
        assert_eq!(source.cached().unwrap().0, first);
        assert_eq!(source.watch(&first, &second).unwrap().poll().await.unwrap(), None, "it was seen at the start");
        fs::remove_file(table.join("2.yaml")).unwrap();
        assert_eq!(watch.poll().await.unwrap(), None, "what is in use is nothing new");
        scene.write(3, &yaml("c"));
        assert_eq!(watch.poll().await.unwrap().unwrap().version, Some(3));
    }
}
