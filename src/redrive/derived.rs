//! The delivery stream that a redrive is.

use crate::config::model::{BackupConfig, BackupMode, DeliveryStreamConfig, RedriveSourceConfig, SourceConfig};

use super::{Job, Selection};

/// Behind the name of the delivery stream. No configured stream has such a name.
const SUFFIX: &str = ":redrive";

/// The name of a delivery stream's redrive: in the journal, in logs, and of the folders of its payloads. Its objects are called
/// after the delivery stream itself.
pub fn name_of(stream: &str) -> String {
    format!("{stream}{SUFFIX}")
}

/// A delivery stream through which the records of `job` go: as the configured one, but for the source. Copies of all records
/// were made when they were read for the first time.
pub fn derived(stream: &DeliveryStreamConfig, job: &Job) -> DeliveryStreamConfig {
    let source = RedriveSourceConfig {
        stream: stream.name.clone(),
        encoding: stream.source.encodings().first().copied().unwrap_or(encoding_rs::UTF_8),
        skip_empty: stream.source.skips_empty(),
        needs_keys: stream.destination.template().is_some_and(|(template, _)| template.needs_transform_keys()),
        error_output: stream.error_output.destination.clone(),
        selection: Selection::new(job, stream),
        job: job.clone(),
    };
    let failed_only = |backup: &BackupConfig| BackupConfig { mode: BackupMode::FailedOnly, ..backup.clone() };
    DeliveryStreamConfig {
        name: name_of(&stream.name),
        source: SourceConfig::Redrive(Box::new(source)),
        backup: stream.backup.as_ref().map(failed_only),
        ..stream.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const YAML: &str = "
state_dir: /state
delivery_streams:
  - name: web
    source: { file: { paths: [\"/logs/*.log\"], encoding: windows-1252, skip_empty: true } }
    processing: [{ json: { remove: [a] } }]
    destination: { directory: { path: /out, prefix: p/ } }
    backup: { mode: all, directory: { path: /backup, error_output_prefix: errors/ } }
";

    #[test]
    fn it_is_the_configured_stream_but_for_source_and_copies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hydrant.yaml");
        std::fs::write(&path, YAML).unwrap();
        let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let web = &config.delivery_streams[0];
        let began = jiff::Timestamp::UNIX_EPOCH;
        let job = Job { stream: web.name.clone(), prefix: None, written_by: None, since: None, rate: None, began };
        let redrive = derived(web, &job);
        assert_eq!((redrive.name.as_str(), redrive.object_name()), ("web:redrive", "web"));
        assert_eq!(redrive.backup.as_ref().map(|backup| backup.mode), Some(BackupMode::FailedOnly));
        let steps = |stream: &DeliveryStreamConfig| stream.steps(encoding_rs::WINDOWS_1252);
        assert_eq!((steps(&redrive).len(), steps(&redrive)), (3, steps(web)));
        assert_eq!((&redrive.destination, &redrive.error_output), (&web.destination, &web.error_output));
        let later = Job { began: jiff::Timestamp::MAX, ..job };
        let as_journalled = |stream| serde_json::to_string(stream).unwrap();
        assert_eq!(as_journalled(&derived(web, &later)), as_journalled(&redrive), "no other version of it");
    }
}
