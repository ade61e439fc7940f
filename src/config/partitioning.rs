//! `partitioning`: which keys and times of its records decide where an object lies.

use std::time::Duration;

use super::conversion::timestamp_formats;
use super::map::Map;
use super::model::{PartitioningConfig, RecordTimeConfig, TimestampFormat};
use super::reader::Value;
use super::text::Text;
use crate::partition::{Dynamic, PrefixTemplate, Query};

const KEYS: &[&str] = &["keys", "record_time", "max_active", "grace_seconds"];
/// As in Firehose.
const KEYS_MAX: usize = 50;
const ACTIVE_DEFAULT: i64 = 500;

/// `partitioning` of a delivery stream.
pub(super) fn partitioning(value: &Value<'_>) -> Option<PartitioningConfig> {
    let map = value.map(KEYS)?;
    let keys = map.get_or("keys", Vec::new(), keys);
    let record_time = map.optional("record_time", |value| record_time(&value.map(&["field", "formats"])?));
    let active_max = map.get_or("max_active", ACTIVE_DEFAULT, |value| value.whole(1..=5000, ""));
    let grace_seconds = map.get_or("grace_seconds", 0, |value| value.whole(0..=86_400, " of seconds"));
    Some(PartitioningConfig {
        keys: keys?,
        record_time: record_time?,
        active_max: active_max?.unsigned_abs() as usize,
        grace: Duration::from_secs(grace_seconds?.unsigned_abs()),
    })
}

fn keys(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let pairs = value.named("a mapping of names to jq programs")?;
    if pairs.len() > KEYS_MAX {
        value.problem(format!("there are more than {KEYS_MAX} partition keys"), None);
        return None;
    }
    let key = |(name, program): &(&str, Value<'_>)| {
        let text = program.string("a jq program such as `.customer_id`")?;
        match Query::compile(&text.text) {
            Ok(_) => Some(((*name).to_owned(), text.text)),
            Err(error) => {
                text.problem_at(error.offset, error.message, Some(error.help));
                None
            }
        }
    };
    let keys: Vec<_> = pairs.iter().map(key).collect();
    keys.into_iter().collect()
}

fn record_time(map: &Map<'_>) -> Option<RecordTimeConfig> {
    let allowed = "the name of a field, or names with dots between them";
    let field = map.required("field").and_then(|value| {
        let is_path = |field: &str| Query::compile(&format!(".{field}")).is_ok() && !field.starts_with('.');
        Some(value.string(allowed)?.check(allowed, is_path)?.text)
    });
    let formats = map.get_or("formats", vec![TimestampFormat::Iso8601], timestamp_formats);
    Some(RecordTimeConfig { field: field?, formats: formats? })
}

/// What the prefix asks of records must be configured, and what is configured must be asked for.
pub(super) fn check_prefix(
    stream: &Map<'_>,
    prefix: Option<&Text<'_>>,
    template: &PrefixTemplate,
    config: Option<&PartitioningConfig>,
    has_transforms: bool,
) -> bool {
    let mut is_right = true;
    for (offset, dynamic) in template.dynamic() {
        let problem = match dynamic {
            Dynamic::Query(name) if config.is_none_or(|config| config.keys.iter().all(|(known, _)| known != name)) => {
                Some((
                    format!("there is no partition key `{name}`"),
                    "`partitioning: { keys: { name: \".jq\" } }` defines it",
                ))
            }
            Dynamic::Lambda(name) if !has_transforms => {
                let help = "a `wasm` step under `processing` sets such keys; `partitionKeyFromQuery` takes them from the record";
                Some((format!("no transform sets a partition key `{name}`"), help))
            }
            Dynamic::RecordTime(_) if config.is_none_or(|config| config.record_time.is_none()) => Some((
                String::from("`recordTime` needs the field that holds the time"),
                "`partitioning: { record_time: { field: ts, formats: [iso8601] } }` says it",
            )),
            Dynamic::Query(_) | Dynamic::Lambda(_) | Dynamic::RecordTime(_) => None,
        };
        if let (Some((message, help)), Some(prefix)) = (problem, prefix) {
            prefix.problem_at(offset, message, Some(help.to_owned()));
            is_right = false;
        }
    }
    let named = prefix.map_or("prefix", |prefix| prefix.value.name());
    let (Some(config), Some(value)) = (config, stream.get("partitioning")) else { return is_right };
    let is_used = |wanted: &dyn Fn(&Dynamic) -> bool| template.dynamic().any(|(_, dynamic)| wanted(dynamic));
    for (name, _) in &config.keys {
        if !is_used(&|dynamic| matches!(dynamic, Dynamic::Query(used) if used == name)) {
            let help = format!("put `!{{partitionKeyFromQuery:{name}}}` into it, or take the key away");
            value.problem(format!("the destination's {named} does not use the partition key `{name}`"), Some(help));
            is_right = false;
        }
    }
    if config.record_time.is_some() && !is_used(&|dynamic| matches!(dynamic, Dynamic::RecordTime(_))) {
        let help = String::from("put `!{recordTime:yyyy/MM/dd/HH}` into it, or take `record_time` away");
        value.problem(format!("the destination's {named} does not use `record_time`"), Some(help));
        is_right = false;
    }
    is_right
}

/// Copies of source records, and error outputs, belong to no partition.
pub(super) fn refuse_in_backup(prefix: Option<&Text<'_>>, template: &PrefixTemplate) -> bool {
    let Some((offset, _)) = template.dynamic().next() else { return true };
    if let Some(prefix) = prefix {
        let help =
            "a backup holds source records as they were read; `timestamp` and `firehose:random-string` are allowed";
        prefix.problem_at(
            offset,
            String::from("the prefix of a backup cannot depend on its records"),
            Some(help.to_owned()),
        );
    }
    false
}
