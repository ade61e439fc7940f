//! The source of a redrive: a delivery stream's own error objects.

use encoding_rs::Encoding;
use serde::Serialize;

use super::ObjectStoreConfig;
use crate::redrive::{Job, Selection};

/// What a redrive reads. Which objects that are changes nothing of what becomes of their records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RedriveSourceConfig {
    /// The delivery stream whose failed records are sent through it again; its objects are called after that.
    pub stream: String,
    /// Of records as they were read, before any processing.
    pub encoding: &'static Encoding,
    /// Of such records, too.
    pub skip_empty: bool,
    /// What could not be placed is processed again: transforms set keys for it, and nothing else knows them.
    pub needs_keys: bool,
    /// Where the error objects lie.
    #[serde(skip)]
    pub error_output: ObjectStoreConfig,
    #[serde(skip)]
    pub selection: Selection,
    #[serde(skip)]
    pub job: Job,
}
