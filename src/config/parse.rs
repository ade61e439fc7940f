//! The keys of the top level and of one delivery stream, and what each means.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::admin;
use super::backup;
use super::checks::{Checks, StreamRead};
use super::conversion;
use super::destination::{self, Connection, Destination};
use super::file_source;
use super::files::FILE_BYTES_MAX;
use super::hints;
use super::http_endpoint;
use super::include;
use super::kinesis_source;
use super::map::Map;
use super::model::{Config, DeliveryStreamConfig, KinesisSourceConfig, SourceConfig};
use super::opensearch;
use super::partitioning;
use super::processing;
use super::reader::{Reader, Value};
use super::registries::{self, Registries};
use super::scalar;
use super::text::Text;
use super::tree::Node;
use crate::partition::PrefixTemplate;
use crate::processing::ProcessorConfig;

const STATE_DIR_DEFAULT: &str = "/var/lib/hydrant";
const SHUTDOWN_TIMEOUT_SECONDS_DEFAULT: i64 = 30;
const MEMORY_LIMIT_MB_DEFAULT: i64 = 512;
const NAME_CHARS_MAX: usize = 64;

const TOP_LEVEL: &[&str] = &[
    "state_dir",
    "shutdown_timeout_seconds",
    "memory_limit_mb",
    "admin",
    "aws",
    "include",
    "schema_registries",
    "delivery_streams",
];

/// What a delivery stream's `source` may be.
const SOURCES: &[&str] = &["file", "kinesis"];

const DELIVERY_STREAM: &[&str] = &[
    "name",
    "source",
    "processing",
    "buffering",
    "format_conversion",
    "partitioning",
    "compression",
    "output_delimiter",
    "destination",
    "backup",
];

/// The trees of the files that `main` includes; those that cannot be read are reported.
pub(super) fn included_files<'a>(reader: &'a Reader<'a>, main: &'a Node, path: &Path) -> Vec<Rc<Node>> {
    let Some(include) = reader.root(main).key("include") else { return Vec::new() };
    let mut trees = Vec::new();
    for file in include::included(&include, path) {
        match scalar::read_at_most(&file.path, FILE_BYTES_MAX) {
            Ok(bytes) => trees.extend(reader.files.borrow_mut().add(&file.path, bytes)),
            Err(error) => {
                let message = format!("`{}` cannot be included: {}", file.path.display(), scalar::reason(&error));
                file.named_by.problem(message, None);
            }
        }
    }
    trees
}

pub(super) fn config<'a>(reader: &'a Reader<'a>, main: &'a Node, included: &'a [Rc<Node>]) -> Option<Config> {
    let main = reader.root(main).map(TOP_LEVEL)?;
    let state_dir = main.get_or("state_dir", STATE_DIR_DEFAULT.into(), |value| {
        let text = value.string("the path of a folder")?.check("the path of a folder", |path| !path.is_empty())?;
        Some(value.environment().absolute(&text.text))
    });
    reader.state_dir.get_or_init(|| state_dir.clone().unwrap_or_else(|| STATE_DIR_DEFAULT.into()));
    let shutdown_timeout = main.get_or("shutdown_timeout_seconds", SHUTDOWN_TIMEOUT_SECONDS_DEFAULT, |value| {
        value.whole(0..=3600, " of seconds")
    });
    let memory_limit = main.get_or("memory_limit_mb", MEMORY_LIMIT_MB_DEFAULT, |value| value.whole(16..=65_536, ""));
    let memory_limit = memory_limit.map(|memory_limit_mb| memory_limit_mb.unsigned_abs() * 1024 * 1024);
    let admin = main.optional("admin", admin::admin);
    let aws = main.get_or("aws", Connection::default(), |value| {
        destination::connection(&value.map(&["region", "endpoint_url", "assume_role", "force_path_style"])?)
    });

    let aws = aws.unwrap_or_default();
    let registries = registries::registries(&main, &aws);
    let included = included.iter().filter_map(|root| reader.root(root).map(&["delivery_streams"]));
    let mut lists: Vec<Value<'a>> = main.get("delivery_streams").into_iter().collect();
    lists.extend(included.filter_map(|file| file.required("delivery_streams")));
    let items: Vec<Value<'a>> =
        lists.iter().filter_map(|list| list.list("a list of delivery streams")).flatten().collect();
    let all_lists = lists.iter().all(Value::is_list);
    if items.is_empty() && all_lists && !reader.files.borrow().has_problems() {
        let place = lists.first().unwrap_or(main.value());
        place.problem("there is no delivery stream", Some("`delivery_streams` must have at least one".to_owned()));
    }
    let streams: Vec<StreamRead<'a>> = items.iter().map(|item| delivery_stream(item, &aws, &registries)).collect();

    let checks = Checks { streams: &streams, main: &main };
    checks.names();
    if let Some(memory_limit) = memory_limit {
        checks.memory(memory_limit);
    }
    if let Some(state_dir) = &state_dir {
        checks.state_dir(state_dir);
    }
    checks.outputs();
    checks.leases();
    Some(Config {
        state_dir: state_dir?,
        shutdown_timeout: Duration::from_secs(shutdown_timeout?.unsigned_abs()),
        memory_limit: memory_limit?,
        admin: admin?,
        schema_registries: registries::all_read(registries)?,
        delivery_streams: streams.into_iter().map(|stream| stream.config).collect::<Option<_>>()?,
    })
}

fn delivery_stream<'a>(value: &Value<'a>, aws: &Connection, registries: &Registries) -> StreamRead<'a> {
    let mut read = StreamRead::default();
    if let Some(map) = value.map(DELIVERY_STREAM) {
        read.config = stream_config(&map, aws, registries, &mut read);
    }
    read
}

/// Leaves in `read` what the checks need, also where the delivery stream as a whole is refused.
fn stream_config<'a>(
    map: &Map<'a>,
    aws: &Connection,
    registries: &Registries,
    read: &mut StreamRead<'a>,
) -> Option<DeliveryStreamConfig> {
    let allowed = format!("1 to {NAME_CHARS_MAX} characters of `a-z`, `A-Z`, `0-9`, `_`, `.` and `-`");
    let name = map.required("name").and_then(|name| name.string(&allowed)?.check(&allowed, is_name));
    read.name = name.clone();
    let delivery_stream = name.as_ref().map(|name| name.text.as_str());
    let source = map.required("source").and_then(|value| source(&value, delivery_stream, aws, read));
    let processing = processing::processing(map);
    if let (Some(SourceConfig::File(file)), Some(processing)) = (&source, &processing) {
        processing::check_header(map, processing, file.skip_header_lines);
    }
    if let (Some(source), Some(processing)) = (&source, &processing) {
        processing::check_metadata(map, processing, source.file().is_none());
    }
    let format_conversion = map.optional("format_conversion", |value| conversion::format_conversion(value, registries));
    let is_converted = map.get("format_conversion").is_some();
    let partitioning = map.optional("partitioning", |value| partitioning::partitioning(value));
    let buffering_default =
        if is_converted { hints::BUFFERING_OF_CONVERSION_DEFAULT } else { hints::BUFFERING_DEFAULT };
    let buffering = hints::buffering(map, buffering_default);
    let compression = hints::compression(map);
    if is_converted {
        conversion::check_neighbours(map, compression);
    }
    let stream_name = name.as_ref().map(|name| name.text.as_str());
    let destination = map.required("destination").and_then(|value| destination::destination(&value, stream_name, aws));
    let is_alone = match &destination {
        Some(Destination::HttpEndpoint(_, value)) => {
            http_endpoint::check_neighbours(map, value, compression, buffering)
        }
        Some(Destination::OpenSearch(cluster)) => {
            opensearch::check_neighbours(map, &cluster.value, compression, buffering)
        }
        Some(Destination::Objects(_)) | None => true,
    };
    let delimiter_default = match &destination {
        // Each record is told from the next there.
        Some(Destination::HttpEndpoint(..) | Destination::OpenSearch(_)) => Vec::new(),
        Some(Destination::Objects(_)) | None => b"\n".to_vec(),
    };
    let output_delimiter = map.get_or("output_delimiter", delimiter_default, |value| {
        file_source::delimiter(value, 0).map(String::into_bytes)
    });
    let backup = map.optional("backup", |value| backup::backup(value, aws));
    let error_output = match (&destination, &backup, buffering) {
        (Some(destination), Some(backup), Some(buffering)) => {
            backup::error_output(destination.objects(), backup.as_ref(), buffering)
        }
        _ => None,
    };
    let (mut destination, backup) = (destination?, backup?);
    let (partitioning, processing) = (partitioning?, processing?);
    let has_transforms = processing.iter().any(|step| matches!(step.processor, ProcessorConfig::Wasm(_)));
    let check = |text: Option<&Text<'_>>, template: &PrefixTemplate| {
        partitioning::check_prefix(map, text, template, partitioning.as_ref(), has_transforms)
    };
    let is_right = match &destination {
        Destination::Objects(output) => check(output.prefix.as_ref(), &output.config.layout().prefix),
        Destination::OpenSearch(cluster) => check(Some(&cluster.index), cluster.config.index.template()),
        Destination::HttpEndpoint(..) => true,
    };
    let of_backup = backup.as_ref().map(|backup| &backup.output);
    let is_right_in_backup = of_backup
        .is_none_or(|output| partitioning::refuse_in_backup(output.prefix.as_ref(), &output.config.layout().prefix));
    if !(is_right && is_right_in_backup && is_alone) {
        return None;
    }
    let has_columns = match (&format_conversion, destination.objects()) {
        (Some(Some(conversion)), Some(output)) => {
            conversion::check_columns(map, conversion, &output.config.layout().prefix)
        }
        (Some(Some(_)), None) | (Some(None) | None, _) => true,
    };
    if !has_columns {
        return None;
    }
    if let (true, Destination::Objects(output)) = (is_converted, &mut destination) {
        conversion::name_objects(&mut output.config);
    }
    let config = DeliveryStreamConfig {
        name: name?.text,
        source: source?,
        processing,
        buffering: buffering?,
        compression: compression?,
        format_conversion: format_conversion?,
        partitioning,
        output_delimiter: output_delimiter?,
        destination: destination.config(),
        backup: backup.as_ref().map(|backup| backup.config.clone()),
        error_output: error_output?,
    };
    read.destination_path = destination.objects().and_then(|output| output.path.clone());
    read.backup_path = backup.and_then(|backup| backup.output.path);
    Some(config)
}

/// `source` of the delivery stream `name`.
fn source<'a>(
    value: &Value<'a>,
    name: Option<&str>,
    aws: &Connection,
    read: &mut StreamRead<'a>,
) -> Option<SourceConfig> {
    let (kind, options) = value.map(SOURCES)?.exactly_one(SOURCES)?;
    if kind == "kinesis" {
        let source = kinesis_source::kinesis_source(&options, name, aws)?;
        read.max_record_bytes = KinesisSourceConfig::RECORD_BYTES_MAX;
        let config = source.config.clone();
        read.kinesis = Some(source);
        return Some(SourceConfig::Kinesis(Box::new(config)));
    }
    let source = file_source::file_source(&options)?;
    read.watched = source.watched;
    read.excluded = source.excluded;
    read.max_record_bytes = source.config.max_record_bytes;
    Some(SourceConfig::File(source.config))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
