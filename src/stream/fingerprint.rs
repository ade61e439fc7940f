//! How one configuration of a delivery stream is told from another.
//!
//! Always true: two lives whose fingerprints of processing are equal make the same parts of each record, and send each part
//! to the same kind of output. What else can change that belongs into [`of_processing`]: where something is only known once
//! it was opened (the bytes of a component, the version of a schema), its own hash or number.

use serde::Serialize;
use sha2::Digest;

use crate::config::model::{DeliveryStreamConfig, FormatConversionConfig, PartitioningConfig, SourceConfig};
use crate::partition::TimeZoneName;
use crate::processing::StepConfig;
use crate::recovery::MORE_OUTPUTS;
use crate::schema::Schema;

/// Of the whole configuration: another one makes a new version of the stream.
pub fn of_configuration(config: &DeliveryStreamConfig) -> String {
    hash(config)
}

/// Of what decides over what becomes of a record and whether it fails: where records end, how they are processed, and the
/// program that does it. Where records come from and go to has no part in it.
pub fn of_processing(config: &DeliveryStreamConfig, schema: Option<&Schema>) -> String {
    #[derive(Serialize)]
    struct Processing<'a> {
        program: &'a str,
        source: &'a SourceConfig,
        steps: &'a [StepConfig],
        /// What sends parts of records to other outputs than the two that there always are.
        more: Option<More<'a>>,
    }
    #[derive(Serialize)]
    struct More<'a> {
        conversion: Option<(&'a FormatConversionConfig, Option<String>)>,
        partitioning: Option<&'a PartitioningConfig>,
        prefix: &'a str,
        time_zone: &'a TimeZoneName,
    }
    let source = config.source.without_place();
    let template = config.destination.template();
    let template = template.filter(|(prefix, _)| config.format_conversion.is_some() || prefix.dynamic().len() > 0);
    let more = template.as_ref().map(|(prefix, time_zone)| More {
        conversion: config.format_conversion.as_ref().map(|config| (config, schema.map(Schema::fingerprint))),
        partitioning: config.partitioning.as_ref(),
        prefix: prefix.text(),
        time_zone,
    });
    let has_more = more.is_some();
    let program = env!("CARGO_PKG_VERSION");
    let hash = hash(&Processing { program, source: &source, steps: &config.processing, more });
    if has_more { format!("{MORE_OUTPUTS}{hash}") } else { hash }
}

fn hash(what: &impl Serialize) -> String {
    let text = serde_json::to_vec(what).unwrap_or_default();
    sha2::Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn stream(change: (&str, &str)) -> DeliveryStreamConfig {
        const YAML: &str = "
state_dir: /state
delivery_streams:
  - name: s
    source: { file: { paths: [\"/logs/*.log\"], max_record_kb: 10 } }
    processing: [{ json: { remove: [a] } }]
    destination: { directory: { path: /out, prefix: p/ } }
";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hydrant.yaml");
        assert!(YAML.contains(change.0));
        std::fs::write(&path, YAML.replace(change.0, change.1)).unwrap();
        config::load_to_check(&path).unwrap_or_else(|errors| panic!("{errors}")).delivery_streams.remove(0)
    }

    #[test]
    fn an_index_that_depends_on_records_decides_over_them() {
        const CLUSTER: &str = "destination: { opensearch: { urls: 'http://x', index: web } }
    backup: { directory: { path: /failed } }";
        const DYNAMIC: &str =
            "destination: { opensearch: { urls: 'http://x', index: 'web-!{partitionKeyFromQuery:k}' } }
    partitioning: { keys: { k: .k } }
    backup: { directory: { path: /failed } }";
        const OBJECTS: &str = "destination: { directory: { path: /out, prefix: p/ } }";
        let of = |destination: &str| of_processing(&stream((OBJECTS, destination)), None);
        assert_eq!(of(CLUSTER), of(&CLUSTER.replace("index: web", "index: logs")));
        assert_eq!(of(CLUSTER), of_processing(&stream(("", "")), None));
        assert_ne!(of(CLUSTER), of(DYNAMIC));
        assert_ne!(of(DYNAMIC), of(&DYNAMIC.replace("web-", "logs-")));
    }

    #[test]
    fn only_what_decides_over_a_record_makes_another_processing() {
        let before = stream(("", ""));
        for (change, is_other) in [
            (("prefix: p/", "prefix: q/"), false),
            (("/logs/*.log", "/logs/a*.log"), false),
            (("remove: [a]", "remove: [b]"), true),
            (("max_record_kb: 10", "max_record_kb: 11"), true),
            (("max_record_kb: 10", "max_record_kb: 10, skip_empty: true"), true),
        ] {
            let after = stream(change);
            assert_ne!(of_configuration(&before), of_configuration(&after), "{change:?}");
            assert_eq!(of_processing(&before, None) != of_processing(&after, None), is_other, "{change:?}");
        }
    }

    #[test]
    fn how_a_kinesis_stream_is_read_decides_over_no_record() {
        let of = |keys: &str| {
            stream(("file: { paths: [\"/logs/*.log\"], max_record_kb: 10 }", &format!("kinesis: {{ {keys} }}")))
        };
        let before = of("stream: clicks");
        for (keys, is_other_version) in [
            ("stream: clacks", true),
            ("stream: clicks, region: eu-west-1", true),
            ("stream: clicks, initial_position: latest", true),
            ("stream: clicks, shards: s-1", true),
            ("stream: clicks, application_name: lake, leases: { dynamodb: {} }", true),
            ("stream: clicks, on_misrouted: drop", true),
            ("stream: clicks, on_misrouted: error_output", false),
            ("stream: clicks, consumer: enhanced_fan_out", false),
            ("stream: clicks, poll_interval_ms: 5000, max_records: 1", false),
        ] {
            let after = of(keys);
            assert_eq!(of_configuration(&before) != of_configuration(&after), is_other_version, "{keys}");
            let is_other = of_processing(&before, None) != of_processing(&after, None);
            assert_eq!(is_other, keys.ends_with("drop"), "{keys}");
        }
    }

    #[test]
    fn workers_of_one_fleet_have_one_configuration() {
        let of = |keys: &str| {
            let source =
                format!("kinesis: {{ stream: clicks, application_name: lake, leases: {{ dynamodb: {{ {keys} }} }} }}");
            of_configuration(&stream(("file: { paths: [\"/logs/*.log\"], max_record_kb: 10 }", &source)))
        };
        assert_eq!(
            of("worker_id: one, max_leases: 3, failover_seconds: 20"),
            of("worker_id: other, max_leases_to_steal: 2")
        );
        assert_ne!(of(""), of("table: other"));
    }
}
