//! `processing`: the record processors of a delivery stream, in order.

use super::map::Map;
use super::reader::Value;
use super::scalar::Purpose;
use super::text::Text;
use super::wasm::wasm;
use crate::processing::{
    AddMetadataConfig, AppendDelimiterConfig, CloudwatchLogsConfig, Columns, CsvToJsonConfig, DeaggregateRecordsConfig,
    DecompressConfig, Ec2Field, Ec2Metadata, ExtraColumns, Flatten, JsonConfig, LogFormat, LogLayout, LogToJsonConfig,
    MetadataField, MetadataValue, OnError, OnExisting, ProcessorConfig, RecordCompression, ShardField,
    SingleLineConfig, StepConfig, Surroundings,
};

const PROCESSORS: &[&str] = &[
    "single_line",
    "csv_to_json",
    "log_to_json",
    "json",
    "add_metadata",
    "add_brackets",
    "append_delimiter",
    "deaggregate_records",
    "decompress",
    "cloudwatch_logs",
    "wasm",
];

const FORMATS: [LogFormat; 6] = [
    LogFormat::CommonApacheLog,
    LogFormat::CombinedApacheLog,
    LogFormat::ApacheErrorLog,
    LogFormat::Syslog,
    LogFormat::Rfc3339Syslog,
    LogFormat::Rfc5424Syslog,
];

/// The list under `processing`; empty without it.
pub(super) fn processing(parent: &Map<'_>) -> Option<Vec<StepConfig>> {
    parent.get_or("processing", Vec::new(), |value| {
        let items = value.list("a list of processors")?;
        // All of them are looked at before the first mistake ends it.
        let steps: Vec<Option<StepConfig>> = items.iter().map(step).collect();
        steps.into_iter().collect()
    })
}

/// Reports a processor that takes its columns from the files' headers where the source skips none.
pub(super) fn check_header(parent: &Map<'_>, steps: &[StepConfig], skip_header_lines: u32) {
    let takes_header = |step: &StepConfig| matches!(&step.processor, ProcessorConfig::CsvToJson(csv) if csv.columns == Columns::Header);
    if skip_header_lines == 0
        && steps.iter().any(takes_header)
        && let Some(value) = parent.get("processing")
    {
        let help = "`skip_header_lines: 1` in `source.file`: the last line skipped names the columns";
        value.problem("`columns: header` needs a header that the source skips", Some(help.to_owned()));
    }
}

/// Reports metadata that the source does not have.
pub(super) fn check_metadata(parent: &Map<'_>, steps: &[StepConfig], is_stream: bool) {
    let is_missing = |value: &MetadataValue| if is_stream { value.is_of_files() } else { value.is_of_streams() };
    let (of, others) = if is_stream { ("a stream", "files") } else { ("files", "a stream") };
    for step in steps {
        let ProcessorConfig::AddMetadata(config) = &step.processor else { continue };
        if let Some(field) = config.fields.iter().find(|field| is_missing(&field.value))
            && let Some(value) = parent.get("processing")
        {
            let name = &field.name;
            let message = format!("the source is {of}: what `add_metadata` puts into `{name}` only {others} have");
            value.problem(message, Some(known_metadata(is_stream).to_owned()));
        }
    }
}

fn known_metadata(is_stream: bool) -> &'static str {
    if is_stream {
        "of a stream: `stream`, `shard_id`, `partition_key`, `sequence_number`, `sub_sequence_number`, `approximate_arrival_timestamp`"
    } else {
        "of a file: `path`, `offset`"
    }
}

fn step(value: &Value<'_>) -> Option<StepConfig> {
    let (name, options) = value.map(PROCESSORS)?.exactly_one(PROCESSORS)?;
    let (processor, on_error) = match name {
        "single_line" => single_line(&options),
        "csv_to_json" => csv_to_json(&options),
        "log_to_json" => log_to_json(&options),
        "json" => json(&options),
        "add_metadata" => add_metadata(&options),
        "add_brackets" => add_brackets(&options),
        "append_delimiter" => append_delimiter(&options),
        "deaggregate_records" => deaggregate_records(&options),
        "decompress" => decompress(&options),
        "cloudwatch_logs" => cloudwatch_logs(&options),
        _ => {
            let processor = ProcessorConfig::Wasm(Box::new(wasm(&options)?));
            return Some(StepConfig { processor, on_error: OnError::ErrorOutput });
        }
    }?;
    check(&options, &processor)?;
    Some(StepConfig { processor, on_error })
}

type Read = Option<(ProcessorConfig, OnError)>;

fn single_line(options: &Value<'_>) -> Read {
    let map = options.map(&["trim", "separator", "on_error"])?;
    let default = SingleLineConfig::default();
    let trim = map.get_or("trim", default.trim, Value::boolean);
    let separator = map.get_or("separator", default.separator, |value| Some(value.string("a string")?.text));
    let on_error = on_error(&map);
    Some((ProcessorConfig::SingleLine(SingleLineConfig { trim: trim?, separator: separator? }), on_error?))
}

fn csv_to_json(options: &Value<'_>) -> Read {
    let map = options.map(&["columns", "delimiter", "quote", "extra", "on_error"])?;
    let default = CsvToJsonConfig::of(Columns::Header);
    let columns = map.required("columns").and_then(|value| columns(&value));
    let delimiter = map.get_or("delimiter", default.delimiter, |value| Some(value.string("a string")?.text));
    let quote = map.get_or("quote", default.quote, |value| {
        let text = value.string("one character, or an empty string for none")?;
        let text = text.check("one character, or an empty string for none", |text| text.chars().count() <= 1)?;
        Some(text.text.chars().next())
    });
    let extra = map.get_or("extra", default.extra, |value| {
        value.one_of(&[("keep", ExtraColumns::Keep), ("error", ExtraColumns::Error), ("drop", ExtraColumns::Drop)])
    });
    let on_error = on_error(&map);
    let config = CsvToJsonConfig { delimiter: delimiter?, quote: quote?, columns: columns?, extra: extra? };
    Some((ProcessorConfig::CsvToJson(config), on_error?))
}

fn columns(value: &Value<'_>) -> Option<Columns> {
    if value.is_list() {
        return Some(Columns::Names(strings(value, "a list of names, or `header`")?));
    }
    value.string("a list of names, or `header`")?.check("a list of names, or `header`", |text| text == "header")?;
    Some(Columns::Header)
}

fn log_to_json(options: &Value<'_>) -> Read {
    const LAYOUTS: &[&str] = &["format", "pattern"];
    let map = options.map(&["format", "pattern", "field_names", "on_error"])?;
    let layout = map.exactly_one(LAYOUTS).and_then(|(kind, value)| match kind {
        "format" => Some(LogLayout::Format(value.one_of(&FORMATS.map(|format| (format.name(), format)))?)),
        _ => Some(LogLayout::Pattern(value.string("a pattern")?.text)),
    });
    let field_names = map.get_or("field_names", Vec::new(), |value| strings(value, "a list of names"));
    let on_error = on_error(&map);
    let config = LogToJsonConfig { layout: layout?, field_names: field_names? };
    Some((ProcessorConfig::LogToJson(config), on_error?))
}

fn json(options: &Value<'_>) -> Read {
    let map = options.map(&["remove", "keep_only", "rename", "flatten", "pretty", "on_error"])?;
    let remove = map.get_or("remove", Vec::new(), |value| strings(value, "a list of paths"));
    let keep_only = map.get_or("keep_only", Vec::new(), |value| strings(value, "a list of paths"));
    let rename = map.get_or("rename", Vec::new(), |value| {
        let pairs = value.named("a mapping of paths to new names")?;
        pairs.iter().map(|(from, to)| Some(((*from).to_owned(), to.string("a name")?.text))).collect()
    });
    let flatten = map.optional("flatten", |value| {
        let map = value.map(&["separator"])?;
        let default = Flatten::default().separator;
        let separator = map.get_or("separator", default, |value| Some(value.string("a string")?.text));
        Some(Flatten { separator: separator? })
    });
    let pretty = map.get_or("pretty", false, Value::boolean);
    let on_error = on_error(&map);
    let config =
        JsonConfig { remove: remove?, keep_only: keep_only?, rename: rename?, flatten: flatten?, pretty: pretty? };
    Some((ProcessorConfig::Json(config), on_error?))
}

fn add_metadata(options: &Value<'_>) -> Read {
    let map = options.map(&["fields", "key", "wrap", "on_existing", "on_error"])?;
    let fields = map.required("fields").and_then(|value| {
        let named = value.named("a mapping of names to what they say")?;
        let fields: Vec<_> = named.iter().map(|(name, value)| metadata_field(name, value)).collect();
        fields.into_iter().collect::<Option<Vec<_>>>()
    });
    let key = map.optional("key", |value| Some(value.string("a name")?.text));
    let wrap = map.optional("wrap", |value| Some(value.string("a name")?.text));
    let on_existing = map.get_or("on_existing", OnExisting::default(), |value| {
        value.one_of(&[("replace", OnExisting::Replace), ("keep", OnExisting::Keep)])
    });
    let on_error = on_error(&map);
    let config = AddMetadataConfig { fields: fields?, key: key?, wrap: wrap?, on_existing: on_existing? };
    Some((ProcessorConfig::AddMetadata(config), on_error?))
}

/// `host`, or `{ static: web }`, `{ environment: POD }`, `{ ec2: region }`.
fn metadata_field(name: &str, value: &Value<'_>) -> Option<MetadataField> {
    const KEYS: &[&str] = &["static", "environment", "ec2"];
    let name = name.to_owned();
    if !value.is_map() {
        let value = value.one_of(&[
            ("host", Plain::Host),
            ("path", Plain::Path),
            ("offset", Plain::Offset),
            ("ingestion_time", Plain::IngestionTime),
            ("stream", Plain::Shard(ShardField::Stream)),
            ("shard_id", Plain::Shard(ShardField::ShardId)),
            ("partition_key", Plain::Shard(ShardField::PartitionKey)),
            ("sequence_number", Plain::Shard(ShardField::SequenceNumber)),
            ("sub_sequence_number", Plain::Shard(ShardField::SubSequenceNumber)),
            ("approximate_arrival_timestamp", Plain::Shard(ShardField::ApproximateArrivalTimestamp)),
        ])?;
        return Some(MetadataField { name, value: value.into() });
    }
    let (kind, value) = value.map(KEYS)?.exactly_one(KEYS)?;
    let value = match kind {
        "static" => MetadataValue::Static(value.json()?),
        "environment" => MetadataValue::Environment(value.word("the name of an environment variable")?.text),
        _ => MetadataValue::Ec2(value.one_of(&[
            ("instance_id", Ec2Field::InstanceId),
            ("region", Ec2Field::Region),
            ("availability_zone", Ec2Field::AvailabilityZone),
            ("private_ip", Ec2Field::PrivateIp),
            ("instance_type", Ec2Field::InstanceType),
            ("account_id", Ec2Field::AccountId),
            ("ami_id", Ec2Field::AmiId),
            ("tags", Ec2Field::Tags),
            ("metadata_timestamp", Ec2Field::MetadataTimestamp),
        ])?),
    };
    Some(MetadataField { name, value })
}

/// The metadata that take no argument.
#[derive(Clone, Copy)]
enum Plain {
    Host,
    Path,
    Offset,
    IngestionTime,
    Shard(ShardField),
}

impl From<Plain> for MetadataValue {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Host => Self::Host,
            Plain::Path => Self::Path,
            Plain::Offset => Self::Offset,
            Plain::IngestionTime => Self::IngestionTime,
            Plain::Shard(field) => Self::Shard(field),
        }
    }
}

fn add_brackets(options: &Value<'_>) -> Read {
    let on_error = on_error(&options.map(&["on_error"])?);
    Some((ProcessorConfig::AddBrackets, on_error?))
}

fn append_delimiter(options: &Value<'_>) -> Read {
    let map = options.map(&["delimiter", "on_error"])?;
    let delimiter = map.get_or("delimiter", String::from("\n"), |value| Some(value.string("a string")?.text));
    let on_error = on_error(&map);
    Some((ProcessorConfig::AppendDelimiter(AppendDelimiterConfig { delimiter: delimiter? }), on_error?))
}

fn deaggregate_records(options: &Value<'_>) -> Read {
    let map = options.map(&["type", "delimiter", "on_error"])?;
    let is_delimited = map.required("type").and_then(|value| value.one_of(&[("json", false), ("delimited", true)]));
    let on_error = on_error(&map);
    let config = if is_delimited? {
        let delimiter = map.required("delimiter")?.string("a string")?.text;
        DeaggregateRecordsConfig::Delimited { delimiter }
    } else if let Some(value) = map.get("delimiter") {
        value.problem("`delimiter` belongs to `type: delimited`", None);
        return None;
    } else {
        DeaggregateRecordsConfig::Json
    };
    Some((ProcessorConfig::DeaggregateRecords(config), on_error?))
}

fn decompress(options: &Value<'_>) -> Read {
    let map = options.map(&["compression", "on_error"])?;
    let compression =
        map.get_or("compression", RecordCompression::Gzip, |value| value.one_of(&[("gzip", RecordCompression::Gzip)]));
    let on_error = on_error(&map);
    Some((ProcessorConfig::Decompress(DecompressConfig { compression: compression? }), on_error?))
}

fn cloudwatch_logs(options: &Value<'_>) -> Read {
    let map = options.map(&["extract_message", "on_error"])?;
    let default = CloudwatchLogsConfig::default();
    let extract_message = map.get_or("extract_message", default.extract_message, Value::boolean);
    let on_error = on_error(&map);
    let config = CloudwatchLogsConfig { extract_message: extract_message? };
    Some((ProcessorConfig::CloudwatchLogs(config), on_error?))
}

fn on_error(map: &Map<'_>) -> Option<OnError> {
    map.get_or("on_error", OnError::ErrorOutput, |value| {
        value.one_of(&[("error_output", OnError::ErrorOutput), ("pass", OnError::Pass)])
    })
}

fn strings(value: &Value<'_>, allowed: &str) -> Option<Vec<String>> {
    let texts: Vec<Option<Text<'_>>> = value.list(allowed)?.iter().map(|item| item.string("a string")).collect();
    texts.into_iter().map(|text| Some(text?.text)).collect()
}

/// What the processor itself finds wrong with its options, said at the key that is at fault.
fn check(options: &Value<'_>, processor: &ProcessorConfig) -> Option<()> {
    let needed = options.environment().purpose != Purpose::Look;
    let environment = |name: &str| std::env::var(name).ok().or_else(|| (!needed).then(String::new));
    let surroundings = Surroundings { host: String::new(), ec2: Ec2Metadata::default(), environment: &environment };
    let Err(error) = processor.clone().build(&surroundings) else { return Some(()) };
    let at = options.key(error.key);
    at.as_ref().unwrap_or(options).problem(error.message, error.help);
    None
}
