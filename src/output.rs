//! The outputs of a delivery stream: its destination, its error output, and the backup of all source records.

mod place;

pub use place::{Locator, Place, Room, Target};

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::buffer::Hints;
use crate::config::model::{BackupMode, BufferingHints, Compression, DeliveryStreamConfig, ObjectLayout};
use crate::destination::AttemptError;
use crate::encode::codec::Codec;
use crate::encode::lane::Forming;
use crate::encode::table::Table;
use crate::journal::Kind;
use crate::partition::{TimeZoneName, object_key, random_string};
use crate::processing::ErrorType;
use place::Places;

/// The name of the output for records that succeed.
pub const DESTINATION: &str = "destination";

/// Where records of one kind go, and in which form.
pub struct Output {
    /// `destination`, `backup`, or the error output type.
    pub name: &'static str,
    pub kind: Kind,
    pub place: Place,
    pub hints: Hints,
    /// Where it is objects that leave.
    layout: Option<ObjectLayout>,
    format: Format,
    is_same_delimiter: bool,
    error_type: Option<&'static str>,
    table: Option<Table>,
}

/// What record format conversion makes of the destination's records.
pub struct Tabular {
    pub table: Table,
    /// As [`Format::table`] has it.
    pub format: String,
}

/// How a payload is formed, as it is journalled: enough to form it again after the configuration has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub compression: Compression,
    pub output_delimiter: Vec<u8>,
    /// With record format conversion: the schema and the shape of the file, for comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Each record is told from the next: see [`crate::encode::frames`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_framed: bool,
}

/// All outputs of one delivery stream.
pub struct Outputs {
    pub destination: Arc<Output>,
    pub processing_failed: Arc<Output>,
    pub metadata_failed: Arc<Output>,
    pub conversion_failed: Arc<Output>,
    pub backup: Option<Arc<Output>>,
    /// What a receiver has not taken; nothing is ever buffered for it.
    pub child: Arc<Output>,
}

impl Outputs {
    /// Opens the destinations and sweeps what a crash left in their staging folders.
    pub async fn open(
        config: &DeliveryStreamConfig,
        tabular: Option<Tabular>,
        room: Room<'_>,
    ) -> Result<Self, AttemptError> {
        let mut places = Places { room, opened: Vec::new() };
        // Copies are what was read, in the source's encoding; everything else is UTF-8. A receiver needs no delimiter, its copies do.
        let is_bare = config.output_delimiter.is_empty() && config.destination.layout().is_none();
        let of_copies = if is_bare { b"\n" } else { config.output_delimiter.as_slice() };
        let of_copies = config.source.in_encoding(of_copies);
        let output = |name, kind, place: Place, layout: Option<&ObjectLayout>, hints: &BufferingHints, form| {
            let (compression, tabular) = form;
            let (table, shape) = Option::map(tabular, |tabular: Tabular| (tabular.table, tabular.format)).unzip();
            let delimiter = if kind == Kind::Copy { &of_copies } else { &config.output_delimiter };
            let is_framed = place.target.is_receiver();
            Arc::new(Output {
                name,
                kind,
                place,
                hints: Hints { size: hints.size, interval_ms: hints.interval.as_millis() as u64 },
                layout: layout.cloned(),
                format: Format { compression, output_delimiter: delimiter.to_vec(), table: shape, is_framed },
                is_same_delimiter: config.source.ends_records_with(delimiter),
                error_type: None,
                table,
            })
        };
        let to = &config.destination;
        let place = places.open_destination(to).await?;
        let form = (config.compression, tabular);
        let destination = output(DESTINATION, Kind::Fate, place, to.layout(), &config.buffering, form);
        let error = &config.error_output;
        let error_place = places.open(&error.destination).await?;
        let failed = |error_type: &'static str| {
            Arc::new(Output {
                name: error_type,
                kind: Kind::Fate,
                place: error_place.clone(),
                hints: Hints { size: error.buffering.size, interval_ms: error.buffering.interval.as_millis() as u64 },
                layout: Some(error.destination.layout().clone()),
                // Firehose's error objects are plain and carry no extension.
                format: Format {
                    compression: Compression::None,
                    output_delimiter: b"\n".to_vec(),
                    table: None,
                    is_framed: false,
                },
                is_same_delimiter: false,
                error_type: Some(error_type),
                table: None,
            })
        };
        let backup = match config.backup.as_ref().filter(|backup| backup.mode == BackupMode::All) {
            Some(backup) => {
                let to = &backup.destination;
                let place = places.open(to).await?;
                let form = (backup.compression, None);
                Some(output("backup", Kind::Copy, place, Some(to.layout()), &backup.buffering, form))
            }
            None => None,
        };
        Ok(Self {
            child: failed(destination.place.target.error_type().unwrap_or(ErrorType::Processing.name())),
            destination,
            processing_failed: failed(ErrorType::Processing.name()),
            metadata_failed: failed(ErrorType::Metadata.name()),
            conversion_failed: failed(ErrorType::Conversion.name()),
            backup,
        })
    }

    /// The output for records that fail in this way.
    pub fn failed(&self, error_type: ErrorType) -> &Arc<Output> {
        match error_type {
            ErrorType::Processing => &self.processing_failed,
            ErrorType::Metadata => &self.metadata_failed,
            ErrorType::Conversion => &self.conversion_failed,
        }
    }

    /// Every output that records are collected for.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Output>> {
        [&self.destination, &self.processing_failed, &self.metadata_failed, &self.conversion_failed]
            .into_iter()
            .chain(&self.backup)
    }

    /// Into how many buffers a record goes.
    pub fn copies(&self) -> u64 {
        1 + u64::from(self.backup.is_some())
    }

    /// The place that a journalled delivery names: one of ours, or one that the configuration no longer knows. `None` for a
    /// receiver that it no longer knows.
    pub async fn place(&self, locator: &Locator, room: Room<'_>) -> Result<Option<Place>, AttemptError> {
        let ours: Vec<&Place> = self.all().map(|output| &output.place).collect();
        match ours.iter().find(|place| place.locator == *locator) {
            Some(&place) => Ok(Some(place.clone())),
            None => Place::open_retired(locator, &ours, room).await,
        }
    }
}

impl Output {
    /// How a payload of this output is formed.
    pub fn forming(&self, uuid: &str, at: Timestamp) -> Forming {
        Forming { table: self.table.clone(), ..self.format.forming(&self.place, self.is_same_delimiter, uuid, at) }
    }

    /// The key of a delivery, fixed when it is journalled. `values` are those of its partition.
    pub fn key(&self, stream: &str, version: u64, at: Timestamp, uuid: &str, values: &[String]) -> String {
        self.key_as(self.error_type, stream, version, at, uuid, values)
    }

    /// The same for failures of another kind.
    pub fn key_as(
        &self,
        error_type: Option<&'static str>,
        stream: &str,
        version: u64,
        at: Timestamp,
        uuid: &str,
        values: &[String],
    ) -> String {
        let Some(layout) = &self.layout else {
            // Nothing lies under it: it is the delivery's name in the log.
            return object_key("", stream, version, at, &TimeZoneName::utc(), uuid, "");
        };
        let mut bits = || uuid::Uuid::new_v4().as_u64_pair().0;
        let zone = &layout.time_zone;
        let prefix = layout.prefix.evaluate(at, zone, error_type, values, &mut || random_string(&mut bits));
        let extension = match (&layout.file_extension, error_type) {
            (_, Some(_)) => "",
            (Some(extension), None) => extension,
            (None, None) => Codec::new(self.format.compression).extension(),
        };
        object_key(&prefix, stream, version, at, zone, uuid, extension)
    }

    /// Whether its objects are files of rows.
    pub fn is_tabular(&self) -> bool {
        self.table.is_some()
    }

    pub fn format(&self) -> &Format {
        &self.format
    }
}

impl Format {
    pub fn forming(&self, place: &Place, is_same_delimiter: bool, uuid: &str, at: Timestamp) -> Forming {
        Forming {
            table: None,
            codec: Codec::new(self.compression),
            output_delimiter: self.output_delimiter.as_slice().into(),
            is_same_delimiter,
            is_framed: self.is_framed,
            entry_name: uuid.to_owned(),
            at,
            folder: place.staging.clone(),
            memory_max: place.memory_max,
            log: place.log.clone(),
        }
    }
}
