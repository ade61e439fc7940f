//! Where objects go, and how their keys are made.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::{HttpEndpointConfig, OpenSearchConfig, Secret};
use crate::partition::{PrefixTemplate, TimeZoneName};

/// Where a delivery stream's records go.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DestinationConfig {
    Objects(ObjectStoreConfig),
    HttpEndpoint(HttpEndpointConfig),
    OpenSearch(OpenSearchConfig),
}

/// Where objects go: a destination's, a backup's, an error output's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ObjectStoreConfig {
    S3(S3Config, ObjectLayout),
    Directory(DirectoryConfig, ObjectLayout),
}

/// How the keys of one destination's objects are made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectLayout {
    /// Already Firehose's default (`yyyy/MM/dd/HH/`) where none was given or where it has to be appended.
    pub prefix: PrefixTemplate,
    /// Replaces the compression's own extension, for example `.json.gz`.
    pub file_extension: Option<String>,
    pub time_zone: TimeZoneName,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectoryConfig {
    /// Absolute; made when it is not there.
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct S3Config {
    pub bucket: String,
    /// From the destination, else from `aws`; `None` leaves it to the SDK's default chain.
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// Default false: the bucket is part of the host name.
    pub force_path_style: bool,
    /// For example `STANDARD_IA`; any value, for stores other than AWS' too.
    pub storage_class: Option<String>,
    pub sse: Option<ServerSideEncryption>,
    /// A canned ACL, for example `bucket-owner-full-control`.
    pub acl: Option<String>,
    /// Default true: `If-None-Match: *`. False for stores that do not know it: a pending object is looked up first.
    pub conditional_put: bool,
    /// Time for one attempt, before what the payload's size adds to it. Default 60 seconds, 1 to 3600.
    pub request_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssumeRole {
    pub role_arn: String,
    pub external_id: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ServerSideEncryption {
    /// `sse: s3`, AES256 with keys of the service.
    S3,
    /// `sse: { kms_key_id: … }`
    Kms { key_id: String },
}

impl DestinationConfig {
    /// Where the records go, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Objects(store) => store.place(),
            Self::HttpEndpoint(endpoint) => endpoint.place().to_owned(),
            Self::OpenSearch(cluster) => cluster.place(),
        }
    }

    /// Columns that stand in the path of its objects as `name=value`.
    pub fn hive_columns(&self) -> Vec<String> {
        self.layout().map_or_else(Vec::new, |layout| layout.prefix.hive_columns())
    }

    /// Of a destination that takes objects.
    pub fn layout(&self) -> Option<&ObjectLayout> {
        match self {
            Self::Objects(store) => Some(store.layout()),
            Self::HttpEndpoint(_) | Self::OpenSearch(_) => None,
        }
    }

    /// What decides over the partitions of its records: the prefix of objects, or the name of the index, and the zone of its times.
    pub fn template(&self) -> Option<(&PrefixTemplate, TimeZoneName)> {
        match self {
            Self::Objects(store) => Some((&store.layout().prefix, store.layout().time_zone.clone())),
            Self::OpenSearch(cluster) => Some((cluster.index.template(), TimeZoneName::utc())),
            Self::HttpEndpoint(_) => None,
        }
    }
}

impl ObjectStoreConfig {
    /// Where its objects go, for people.
    pub fn place(&self) -> String {
        match self {
            Self::S3(s3, _) => format!("s3://{}", s3.bucket),
            Self::Directory(directory, _) => directory.path.display().to_string(),
        }
    }

    pub fn layout(&self) -> &ObjectLayout {
        match self {
            Self::S3(_, layout) | Self::Directory(_, layout) => layout,
        }
    }
}
