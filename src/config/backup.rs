//! `backup`, and where failed records go with and without it.

use super::destination::{self, Connection, Output};
use super::hints;
use super::model::{BackupConfig, BackupMode, BufferingHints, ErrorOutputConfig, ObjectLayout, ObjectStoreConfig};
use super::reader::Value;
use super::text::Text;
use crate::partition::PrefixTemplate;

pub(super) struct Backup<'a> {
    pub config: BackupConfig,
    pub output: Output<'a>,
    error_output_prefix: Option<Text<'a>>,
}

pub(super) fn backup<'a>(value: &Value<'a>, aws: &Connection) -> Option<Backup<'a>> {
    let map = value.map(&["mode", "buffering", "compression", "error_output_prefix", "s3", "directory"])?;
    let mode = map.get_or("mode", BackupMode::FailedOnly, |value| {
        value.one_of(&[("failed_only", BackupMode::FailedOnly), ("all", BackupMode::All)])
    });
    let buffering = hints::buffering(&map, hints::BUFFERING_DEFAULT);
    let compression = hints::compression(&map);
    let error_output_prefix = map.optional("error_output_prefix", destination::error_output_prefix);
    let output = destination::output(&map, aws);
    let output = output?;
    let config = BackupConfig {
        mode: mode?,
        buffering: buffering?,
        compression: compression?,
        destination: output.config.clone(),
    };
    Some(Backup { config, output, error_output_prefix: error_output_prefix? })
}

/// With a backup its place, else the destination's. The prefix may stand in `backup`, in the backup's place or in the
/// destination, but only in one of them; without any it is made of the place's own prefix, as Firehose does.
pub(super) fn error_output(
    destination: Option<&Output<'_>>,
    backup: Option<&Backup<'_>>,
    buffering: BufferingHints,
) -> Option<ErrorOutputConfig> {
    // One of them is there: a destination without objects of its own needs a backup.
    let place = backup.map(|backup| &backup.output).or(destination)?;
    let given = [
        backup.and_then(|backup| backup.error_output_prefix.as_ref()),
        backup.and_then(|backup| backup.output.error_output_prefix.as_ref()),
        destination.and_then(|destination| destination.error_output_prefix.as_ref()),
    ];
    let given = the_only_one(given)?;
    let prefix = prefix(given, place.prefix.as_ref())?;
    let with_prefix = |layout: &ObjectLayout| ObjectLayout {
        prefix: prefix.clone(),
        file_extension: None,
        time_zone: layout.time_zone.clone(),
    };
    let destination = match &place.config {
        ObjectStoreConfig::S3(s3, layout) => ObjectStoreConfig::S3(s3.clone(), with_prefix(layout)),
        ObjectStoreConfig::Directory(directory, layout) => {
            ObjectStoreConfig::Directory(directory.clone(), with_prefix(layout))
        }
    };
    Some(ErrorOutputConfig { destination, buffering: backup.map_or(buffering, |backup| backup.config.buffering) })
}

/// `None` if there are several, which is reported at the one that comes later in the file.
fn the_only_one<'t, 'a>(given: [Option<&'t Text<'a>>; 3]) -> Option<Option<&'t Text<'a>>> {
    let mut given: Vec<&Text<'a>> = given.into_iter().flatten().collect();
    given.sort_by_key(|text| text.value.place());
    if let [first, second, ..] = given.as_slice() {
        let message = format!("`error_output_prefix` is given already, at {}", first.value.place_shown());
        let help = "give it in the destination, in `backup`, or in the backup's `s3` or `directory`, but only once";
        second.value.problem(message, Some(help.to_owned()));
        return None;
    }
    Some(given.first().copied())
}

fn prefix(given: Option<&Text<'_>>, place_prefix: Option<&Text<'_>>) -> Option<PrefixTemplate> {
    let as_str = |text: Option<&Text<'_>>| text.map(|text| text.text.clone());
    match PrefixTemplate::for_error_output(as_str(given).as_deref(), as_str(place_prefix).as_deref()) {
        Ok(template) => Some(template),
        // Both are in order by themselves, or they would not have been read: it is what the prefix asks for.
        Err(error) => {
            if let Some(at_fault) = place_prefix.or(given) {
                at_fault.value.problem(error.message, Some(error.help));
            }
            None
        }
    }
}
