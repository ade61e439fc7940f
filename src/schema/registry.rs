//! A place that holds schemas by name and version.

use std::pin::Pin;
use std::sync::Arc;

use super::confluent::ConfluentRegistry;
use super::directory::DirectoryRegistry;
use super::glue::GlueRegistry;
use super::{Schema, SchemaName, Version};
use crate::config::ConfigErrors;
use crate::config::model::{NamedRegistry, RegistryConfig};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers within its time-out. Asking again is harmless.
pub trait Registry: Send + Sync {
    /// The schema; for the latest version, as of now.
    fn resolve<'a>(&'a self, name: &'a SchemaName, version: Version) -> BoxFuture<'a, Result<Schema, RegistryError>>;

    /// What there is, in order of its names.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RegistryError>>;

    /// Something that is equal as long as the latest version is the same, and costs next to nothing; `None` where only
    /// [`resolve`](Self::resolve) tells.
    fn stamp(&self, _name: &SchemaName) -> Option<Stamp> {
        None
    }
}

/// See [`Registry::stamp`].
pub type Stamp = u128;

/// One schema in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: SchemaName,
    /// In order, as far as the registry tells without being asked for each schema: Glue names the latest of a table only, its
    /// Schema Registry and Confluent's none.
    pub versions: Vec<u64>,
}

/// Why a registry gives no schema.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// It knows the registry, but not this.
    #[error("registry `{registry}` has no {what}")]
    NotFound { registry: String, what: String },
    #[error("registry `{registry}` takes no names like `{name}`: {expected}")]
    NameKind { registry: String, name: String, expected: &'static str },
    #[error("registry `{registry}` refuses: {reason}")]
    Denied { registry: String, reason: String },
    /// No answer, or none that makes sense.
    #[error("registry `{registry}` cannot be asked: {reason}")]
    Away { registry: String, reason: String },
    /// A schema that is no table.
    #[error("`{schema}` cannot be columns: {reason}")]
    Unusable { schema: String, reason: String },
    /// A file of a directory registry, with places.
    #[error("{0}")]
    Invalid(ConfigErrors),
}

impl RegistryError {
    /// Whether an earlier answer may stand in: for all but a schema that the registry says is not there.
    pub fn leaves_earlier_answers(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::Away { .. } | Self::Unusable { .. } | Self::Invalid(_) => true,
            Self::NotFound { .. } | Self::NameKind { .. } => false,
        }
    }

    /// Whether somebody has to write something else somewhere, rather than wait.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::NameKind { .. } | Self::Unusable { .. } | Self::Invalid(_) => true,
            Self::Denied { .. } | Self::Away { .. } => false,
        }
    }
}

/// The registry; files that it needs (certificates) are read, nothing is asked yet.
pub fn open(registry: &NamedRegistry) -> Result<Arc<dyn Registry>, RegistryError> {
    Ok(match &registry.config {
        RegistryConfig::Directory(config) => Arc::new(DirectoryRegistry::new(&registry.name, &config.path)),
        RegistryConfig::Glue(config) => Arc::new(GlueRegistry::new(&registry.name, config)?),
        RegistryConfig::Confluent(config) => Arc::new(ConfluentRegistry::new(&registry.name, config)?),
    })
}
