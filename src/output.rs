//! The outputs of a delivery stream: its destination, its error output, and the backup of all source records.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::buffer::Hints;
use crate::config::model::{
    AssumeRole, BackupMode, BufferingHints, Compression, DeliveryStreamConfig, DestinationConfig, DirectoryConfig,
    ObjectLayout, S3Config, SourceConfig,
};
use crate::destination::directory::DirectoryDestination;
use crate::destination::s3::S3Destination;
use crate::destination::{AttemptError, Destination};
use crate::encode::codec::Codec;
use crate::encode::lane::Forming;
use crate::journal::{Journal, Kind};
use crate::partition::{object_key, random_string};

/// Error output type of records that could not be processed.
pub const PROCESSING_FAILED: &str = "processing-failed";

/// A payload stays in memory up to so many bytes when it is to be uploaded, and when it becomes a file anyway.
const MEMORY_UPLOAD: u64 = 4 << 20;
const MEMORY_FILE: u64 = 256 << 10;

/// Where records of one kind go, and in which form.
pub struct Output {
    /// `destination`, `backup`, or the error output type.
    pub name: &'static str,
    pub kind: Kind,
    pub place: Place,
    pub hints: Hints,
    layout: ObjectLayout,
    format: Format,
    is_same_delimiter: bool,
    error_type: Option<&'static str>,
}

/// A destination with what the journal has to know about it.
#[derive(Clone)]
pub struct Place {
    pub destination: Arc<dyn Destination>,
    pub locator: Locator,
    /// Where payloads are formed that do not stay in memory.
    staging: PathBuf,
    memory_max: u64,
}

/// Where objects go, as it is journalled: enough to ask for one after the configuration has changed. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locator {
    S3 {
        bucket: String,
        region: Option<String>,
        endpoint_url: Option<String>,
        force_path_style: bool,
        role_arn: Option<String>,
        conditional_put: bool,
    },
    Directory {
        path: PathBuf,
    },
}

/// How a payload is formed, as it is journalled: enough to form it again after the configuration has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub compression: Compression,
    pub output_delimiter: Vec<u8>,
}

/// All outputs of one delivery stream.
pub struct Outputs {
    pub destination: Arc<Output>,
    pub processing_failed: Arc<Output>,
    pub backup: Option<Arc<Output>>,
}

impl Outputs {
    /// Opens the destinations and sweeps what a crash left in their staging folders.
    ///
    /// `memory_share` is what of the memory limit the stream is guaranteed, in bytes.
    pub async fn open(
        config: &DeliveryStreamConfig,
        journal: &Journal,
        memory_share: u64,
    ) -> Result<Self, AttemptError> {
        let room = Room { stream: &config.name, journal, memory_share };
        let mut places = Places { room, opened: Vec::new() };
        let delimiter = config.output_delimiter.as_slice();
        let SourceConfig::File(file) = &config.source;
        let is_same_delimiter = file.record_delimiter == delimiter;
        let output = |name, kind, place, to: &DestinationConfig, hints: &BufferingHints, compression| {
            Arc::new(Output {
                name,
                kind,
                place,
                hints: Hints { size: hints.size, interval_ms: hints.interval.as_millis() as u64 },
                layout: to.layout().clone(),
                format: Format { compression, output_delimiter: delimiter.to_vec() },
                is_same_delimiter,
                error_type: None,
            })
        };
        let to = &config.destination;
        let place = places.open(to).await?;
        let destination = output("destination", Kind::Fate, place, to, &config.buffering, config.compression);
        let error = &config.error_output;
        let processing_failed = Arc::new(Output {
            name: PROCESSING_FAILED,
            kind: Kind::Fate,
            place: places.open(&error.destination).await?,
            hints: Hints { size: error.buffering.size, interval_ms: error.buffering.interval.as_millis() as u64 },
            layout: error.destination.layout().clone(),
            // Firehose's error objects are plain and carry no extension.
            format: Format { compression: Compression::None, output_delimiter: b"\n".to_vec() },
            is_same_delimiter: false,
            error_type: Some(PROCESSING_FAILED),
        });
        let backup = match config.backup.as_ref().filter(|backup| backup.mode == BackupMode::All) {
            Some(backup) => {
                let to = &backup.destination;
                let place = places.open(to).await?;
                Some(output("backup", Kind::Copy, place, to, &backup.buffering, backup.compression))
            }
            None => None,
        };
        Ok(Self { destination, processing_failed, backup })
    }

    /// Into how many buffers a record goes.
    pub fn copies(&self) -> u64 {
        1 + u64::from(self.backup.is_some())
    }

    /// The place that a journalled delivery names: one of ours, or one that the configuration no longer knows.
    pub async fn place(&self, locator: &Locator, room: Room<'_>) -> Result<Place, AttemptError> {
        let ours = [Some(&self.destination), Some(&self.processing_failed), self.backup.as_ref()];
        match ours.into_iter().flatten().find(|output| output.place.locator == *locator) {
            Some(output) => Ok(output.place.clone()),
            None => Place::open(&locator.connection(), room).await,
        }
    }
}

impl Output {
    /// How a payload of this output is formed.
    pub fn forming(&self, uuid: &str, at: Timestamp) -> Forming {
        self.format.forming(&self.place, self.is_same_delimiter, uuid, at)
    }

    /// The key of a delivery, fixed when it is journalled.
    pub fn key(&self, stream: &str, version: u64, at: Timestamp, uuid: &str) -> String {
        let mut bits = || uuid::Uuid::new_v4().as_u64_pair().0;
        let zone = &self.layout.time_zone;
        let prefix = self.layout.prefix.evaluate(at, zone, self.error_type, &mut || random_string(&mut bits));
        let extension = match (&self.layout.file_extension, self.error_type) {
            (_, Some(_)) => "",
            (Some(extension), None) => extension,
            (None, None) => Codec::new(self.format.compression).extension(),
        };
        object_key(&prefix, stream, version, at, zone, uuid, extension)
    }

    pub fn format(&self) -> &Format {
        &self.format
    }
}

impl Format {
    pub fn forming(&self, place: &Place, is_same_delimiter: bool, uuid: &str, at: Timestamp) -> Forming {
        Forming {
            codec: Codec::new(self.compression),
            output_delimiter: self.output_delimiter.as_slice().into(),
            is_same_delimiter,
            entry_name: uuid.to_owned(),
            at,
            folder: place.staging.clone(),
            memory_max: place.memory_max,
        }
    }
}

/// Destinations that are open already; two outputs to one place share a client.
struct Places<'a> {
    room: Room<'a>,
    opened: Vec<(Connection, Place)>,
}

/// Where a stream may form its payloads.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    pub stream: &'a str,
    pub journal: &'a Journal,
    /// Bytes of memory that the stream is guaranteed.
    pub memory_share: u64,
}

impl Places<'_> {
    async fn open(&mut self, config: &DestinationConfig) -> Result<Place, AttemptError> {
        let connection = Connection::of(config);
        if let Some((_, place)) = self.opened.iter().find(|(other, _)| *other == connection) {
            return Ok(place.clone());
        }
        let place = Place::open(&connection, self.room).await?;
        self.opened.push((connection, place.clone()));
        Ok(place)
    }
}

/// What is needed to reach a destination, whatever the keys are.
#[derive(PartialEq)]
enum Connection {
    S3(S3Config),
    Directory(DirectoryConfig),
}

impl Connection {
    fn of(config: &DestinationConfig) -> Self {
        match config {
            DestinationConfig::S3(s3, _) => Self::S3(s3.clone()),
            DestinationConfig::Directory(directory, _) => Self::Directory(directory.clone()),
        }
    }
}

impl Place {
    async fn open(connection: &Connection, room: Room<'_>) -> Result<Self, AttemptError> {
        let Room { stream, journal, memory_share } = room;
        let memory_max = |most: u64| most.min(memory_share / 16);
        match connection {
            Connection::S3(s3) => {
                let destination = Arc::new(S3Destination::open(s3).await);
                let staging = journal.state_dir().join("staging").join(stream);
                sweep(&staging);
                Ok(Self {
                    destination,
                    locator: Locator::of(connection),
                    staging,
                    memory_max: memory_max(MEMORY_UPLOAD),
                })
            }
            Connection::Directory(directory) => {
                let owner = format!("{}-{stream}", journal.instance());
                let destination = DirectoryDestination::open(directory, &owner);
                destination.sweep().await?;
                let staging = destination.staging().map(ToOwned::to_owned).unwrap_or_default();
                let locator = Locator::of(connection);
                let memory_max = memory_max(MEMORY_FILE);
                Ok(Self { destination: Arc::new(destination), locator, staging, memory_max })
            }
        }
    }
}

/// Removes what an earlier life of this stream left. What cannot be removed is only in the way of disk space.
fn sweep(staging: &std::path::Path) {
    for entry in std::fs::read_dir(staging).into_iter().flatten().flatten() {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "a left-over payload cannot be removed");
        }
    }
}

impl Locator {
    fn of(connection: &Connection) -> Self {
        match connection {
            Connection::S3(s3) => Self::S3 {
                bucket: s3.bucket.clone(),
                region: s3.region.clone(),
                endpoint_url: s3.endpoint_url.clone(),
                force_path_style: s3.force_path_style,
                role_arn: s3.assume_role.as_ref().map(|role| role.role_arn.clone()),
                conditional_put: s3.conditional_put,
            },
            Connection::Directory(directory) => Self::Directory { path: directory.path.clone() },
        }
    }

    /// The way to the place, as far as the journal remembers it.
    fn connection(&self) -> Connection {
        match self {
            Self::S3 { bucket, region, endpoint_url, force_path_style, role_arn, conditional_put } => {
                let assume_role = role_arn.clone().map(|role_arn| AssumeRole { role_arn, external_id: None });
                Connection::S3(S3Config {
                    bucket: bucket.clone(),
                    region: region.clone(),
                    endpoint_url: endpoint_url.clone(),
                    assume_role,
                    force_path_style: *force_path_style,
                    storage_class: None,
                    sse: None,
                    acl: None,
                    conditional_put: *conditional_put,
                    request_timeout: std::time::Duration::from_secs(60),
                })
            }
            Self::Directory { path } => Connection::Directory(DirectoryConfig { path: path.clone() }),
        }
    }
}
