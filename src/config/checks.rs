//! What concerns several delivery streams, or Hydrant and its own files: names, memory, and reading what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::destination::extension;
use super::file_source::{Excluded, Watched};
use super::kinesis_source::KinesisSource;
use super::map::Map;
use super::model::{BackupMode, Compression, DeliveryStreamConfig, DestinationConfig, ObjectStoreConfig};
use super::text::Text;
use crate::partition::{ERROR_OUTPUT_TYPES, object_key};

const MB: u64 = 1024 * 1024;

/// The share of a delivery stream must hold this, and so many of its largest records for each buffer that they go to: the
/// bytes as they are read and half as much again for the ends of records, of one that is read and one on its way.
const CHANNEL_BYTES_MIN: u64 = 2 * MB;
const RECORDS_MIN: u64 = 3;

const MEMORY_LIMIT_MB_MAX: u64 = 65_536;

/// One of each kind of file that Hydrant keeps in `state_dir`.
const STATE_FILES: [&str; 5] = ["hydrant.db", "hydrant.db-wal", "lock", "checkpoints.json", "staging/stream/payload"];

/// A delivery stream, or as much of it as could be read.
#[derive(Default)]
pub(super) struct StreamRead<'a> {
    pub config: Option<DeliveryStreamConfig>,
    pub name: Option<Text<'a>>,
    pub watched: Vec<Watched<'a>>,
    pub excluded: Excluded,
    pub max_record_bytes: u64,
    pub kinesis: Option<KinesisSource<'a>>,
    pub destination_path: Option<Text<'a>>,
    pub backup_path: Option<Text<'a>>,
}

impl StreamRead<'_> {
    fn share_min(&self) -> u64 {
        let backup = self.config.as_ref().and_then(|config| config.backup.as_ref());
        let copies = if backup.is_some_and(|backup| backup.mode == BackupMode::All) { 2 } else { 1 };
        RECORDS_MIN * self.max_record_bytes * copies + CHANNEL_BYTES_MIN
    }
}

pub(super) struct Checks<'c, 'a> {
    pub streams: &'c [StreamRead<'a>],
    pub main: &'c Map<'a>,
}

impl<'a> Checks<'_, 'a> {
    pub fn names(&self) {
        let mut first: BTreeMap<&str, &Text<'a>> = BTreeMap::new();
        for name in self.streams.iter().filter_map(|stream| stream.name.as_ref()) {
            let Some(first) = first.get(name.text.as_str()) else {
                first.insert(&name.text, name);
                continue;
            };
            let message =
                format!("there is a delivery stream {} already, at {}", name.shown(), first.value.place_shown());
            name.value.problem(message, Some("names are unique, over all included files too".to_owned()));
        }
    }

    /// Half of the memory is guaranteed to the delivery streams in equal shares, and none may be too small to work with.
    pub fn memory(&self, memory_limit: u64) {
        let streams = self.streams.len() as u64;
        let Some(share_min) = self.streams.iter().map(StreamRead::share_min).max() else { return };
        let memory_limit_min = share_min * 2 * streams;
        if memory_limit >= memory_limit_min {
            return;
        }
        let needed_mb = memory_limit_min.div_ceil(MB);
        let plural = if streams == 1 { "" } else { "s" };
        // No number that may have come out of a variable.
        let has_kinesis = self.streams.iter().any(|stream| stream.kinesis.is_some());
        let largest =
            if has_kinesis { "the largest records, 10 MB from Kinesis" } else { "the largest `max_record_kb`" };
        let message = format!("`memory_limit_mb` is too little for {streams} delivery stream{plural} and {largest}");
        let enough = if needed_mb <= MEMORY_LIMIT_MB_MAX {
            format!("{needed_mb} would do")
        } else {
            format!("even the {MEMORY_LIMIT_MB_MAX} that are allowed would not do, have fewer delivery streams")
        };
        let rule = "half of it is shared equally, and a share must hold three of the largest records, six with a backup of \
                    `mode: all`, and 2 MB";
        let given = self.main.get("memory_limit_mb").or_else(|| self.main.get("delivery_streams"));
        given.as_ref().unwrap_or(self.main.value()).problem(message, Some(format!("{enough}: {rule}")));
    }

    /// The journal must not be tailed.
    pub fn state_dir(&self, state_dir: &Path) {
        let files = STATE_FILES.map(|file| state_dir.join(file));
        for (watched, _) in self.all_watched(&files) {
            let message = format!("{} matches the files in `state_dir`", watched.text.shown());
            let help = "move `state_dir`, or put `<state_dir>/**` under `exclude`";
            watched.text.value.problem(message, Some(help.to_owned()));
        }
    }

    /// What Hydrant delivers into a folder must not come in again as a source's file.
    pub fn outputs(&self) {
        for stream in self.streams {
            let Some(config) = &stream.config else { continue };
            for (path, object) in objects(stream, config) {
                let Some((watched, name)) = self.all_watched(&[object]).into_iter().next() else { continue };
                let by = name.map(|name| format!(" of {}", name.shown())).unwrap_or_default();
                let message = format!(
                    "objects in {} would be read again, as {}{by} matches them",
                    path.shown(),
                    watched.text.shown()
                );
                let help = "choose a folder that no `paths` reaches, or put it under `exclude`";
                path.value.problem(message, Some(help.to_owned()));
                break;
            }
        }
    }

    /// Every glob that matches one of `files`, and the name of its delivery stream.
    fn all_watched(&self, files: &[PathBuf]) -> Vec<(&Watched<'a>, Option<&Text<'a>>)> {
        let mut found = Vec::new();
        for stream in self.streams {
            let reads = |watched: &&Watched<'a>| {
                files.iter().any(|file| {
                    file.starts_with(&watched.base) && watched.glob.is_match(file) && !stream.excluded.is_match(file)
                })
            };
            found.extend(stream.watched.iter().filter(reads).map(|watched| (watched, stream.name.as_ref())));
        }
        found
    }
}

/// An object of each kind that the delivery stream writes into a folder, and where that folder is configured.
fn objects<'s, 'a>(stream: &'s StreamRead<'a>, config: &DeliveryStreamConfig) -> Vec<(&'s Text<'a>, PathBuf)> {
    let backup_path = stream.backup_path.as_ref();
    let destination_path = stream.destination_path.as_ref();
    let error_path = if config.backup.is_some() { backup_path } else { destination_path };
    let all = config.backup.as_ref().filter(|backup| backup.mode == BackupMode::All);
    let own_objects = match &config.destination {
        DestinationConfig::Objects(store) => Some(store),
        DestinationConfig::HttpEndpoint(_) | DestinationConfig::OpenSearch(_) => None,
    };
    let objects = [
        (destination_path, own_objects.and_then(|store| object(config, store, config.compression, None))),
        (backup_path, all.and_then(|backup| object(config, &backup.destination, backup.compression, None))),
        (error_path, object(config, &config.error_output.destination, Compression::None, Some(ERROR_OUTPUT_TYPES[0]))),
    ];
    objects.into_iter().filter_map(|(path, object)| Some((path?, object?))).collect()
}

fn object(
    config: &DeliveryStreamConfig,
    destination: &ObjectStoreConfig,
    compression: Compression,
    error_type: Option<&str>,
) -> Option<PathBuf> {
    let ObjectStoreConfig::Directory(directory, layout) = destination else { return None };
    let (at, zone) = (Timestamp::UNIX_EPOCH, &layout.time_zone);
    let extension = layout.file_extension.as_deref().unwrap_or(extension(compression));
    let prefix = layout.prefix.evaluate(at, zone, error_type, &[], &mut || "random".to_owned());
    let id = "00000000-0000-4000-8000-000000000000";
    Some(directory.path.join(object_key(&prefix, &config.name, 1, at, zone, id, extension)))
}
