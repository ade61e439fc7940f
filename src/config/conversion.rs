//! `format_conversion`: the schema, how JSON is read, and what the Parquet looks like.

use std::collections::BTreeMap;

use super::map::{Map, nearest};
use super::model::{
    Compression, Deserializer, Dictionary, FormatConversionConfig, InputConfig, NamedRegistry, ObjectStoreConfig,
    OnUnknownField, ParquetCompression, ParquetConfig, PartitionColumns, RegistryConfig, SchemaConfig, SchemaReference,
    Statistics, TimestampFormat, Timestamps, WriterVersion,
};
use super::reader::Value;
use super::registries::Registries;
use super::text::Text;
use super::{quoted, schema_file};
use crate::convert::Pattern;
use crate::partition::PrefixTemplate;
use crate::schema::{NameError, Schema, SchemaName, Table, Version};

const KEYS: &[&str] = &["schema", "on_unknown_field", "partition_columns", "input", "parquet", "orc"];
const GZIP_LEVEL_DEFAULT: u8 = 6;
const ZSTD_LEVEL_DEFAULT: u8 = 1;
const TIMESTAMP_FORMATS_MAX: usize = 32;
const FILE_EXTENSION: &str = ".parquet";

pub(super) fn format_conversion(value: &Value<'_>, registries: &Registries) -> Option<FormatConversionConfig> {
    let map = value.map(KEYS)?;
    if let Some(orc) = map.get("orc") {
        let help = "Parquet is read by the same engines: `parquet: {}` or nothing at all writes it";
        let message = "ORC is not written: there is no maintained ORC writer for nested types in Rust";
        orc.problem(message, Some(help.to_owned()));
    }
    let schema = map.required("schema").and_then(|value| schema(&value, registries));
    let on_unknown_field = map.get_or("on_unknown_field", OnUnknownField::Ignore, on_unknown_field);
    let partition_columns = map.optional("partition_columns", partition_columns);
    let input = map.optional("input", |value| input(&value.map(INPUT)?));
    let parquet = map.optional("parquet", |value| parquet(&value.map(PARQUET)?));
    Some(FormatConversionConfig {
        schema: schema?,
        on_unknown_field: on_unknown_field?,
        partition_columns: partition_columns?,
        input: input?.unwrap_or_default(),
        parquet: parquet?.unwrap_or_default(),
    })
}

/// Whether what the configuration says of inline columns is true of files under this prefix.
pub(super) fn check_columns(stream: &Map<'_>, conversion: &FormatConversionConfig, prefix: &PrefixTemplate) -> bool {
    let SchemaConfig::Inline(table) = &conversion.schema else { return true };
    let schema = Schema::inline(table.clone());
    let misfits = conversion.misfits(&schema, &conversion.file_columns(&schema, &prefix.hive_columns()));
    if let Some(value) = stream.get("format_conversion") {
        misfits.iter().for_each(|misfit| value.problem(misfit.clone(), None));
    }
    misfits.is_empty()
}

/// How records are read by the columns of `table`: `input`, `on_unknown_field` and `partition_columns`.
pub(super) fn reading(value: &Value<'_>, table: Table) -> Option<FormatConversionConfig> {
    let map = value.map(&["input", "on_unknown_field", "partition_columns"])?;
    let input = map.get_or("input", InputConfig::default(), |value| input(&value.map(INPUT)?));
    let on_unknown_field = map.get_or("on_unknown_field", OnUnknownField::Ignore, on_unknown_field);
    let partition_columns = map.optional("partition_columns", partition_columns);
    Some(FormatConversionConfig {
        schema: SchemaConfig::Inline(table),
        on_unknown_field: on_unknown_field?,
        partition_columns: partition_columns?,
        input: input?,
        parquet: ParquetConfig::default(),
    })
}

fn partition_columns(value: &Value<'_>) -> Option<PartitionColumns> {
    value.one_of(&[("omit", PartitionColumns::Omit), ("keep", PartitionColumns::Keep)])
}

/// Reports what stands beside `format_conversion` and would mean nothing.
pub(super) fn check_neighbours(stream: &Map<'_>, compression: Option<Compression>) {
    if compression.is_some_and(|compression| compression != Compression::None)
        && let Some(value) = stream.get("compression")
    {
        let help = "take it away, or set `compression` under `format_conversion.parquet`";
        value.problem("`compression` does not go together with `format_conversion`", Some(help.to_owned()));
    }
    if let Some(value) = stream.get("output_delimiter") {
        let help = "Parquet has rows, and nothing between them";
        value.problem("`output_delimiter` does not go together with `format_conversion`", Some(help.to_owned()));
    }
}

/// Where no extension is given.
pub(super) fn name_objects(destination: &mut ObjectStoreConfig) {
    match destination {
        ObjectStoreConfig::S3(_, layout) | ObjectStoreConfig::Directory(_, layout) => {
            layout.file_extension.get_or_insert_with(|| FILE_EXTENSION.to_owned());
        }
    }
}

/// `inline`, or a registry and a schema's name in it.
fn schema(value: &Value<'_>, registries: &Registries) -> Option<SchemaConfig> {
    let map = value.map(&["inline", "registry", "database", "table", "subject", "version"])?;
    if let Some(inline) = map.get("inline") {
        let others = ["registry", "database", "table", "subject", "version"];
        if let Some((key, other)) = others.iter().find_map(|key| Some((key, map.get(key)?))) {
            other.problem(format!("`{key}` means nothing beside `inline`"), None);
            return None;
        }
        return schema_file::inline(&inline).map(SchemaConfig::Inline);
    }
    let Some(name) = map.get("registry") else {
        let help = "`registry` names one of `schema_registries`; `inline` is a list of columns";
        value.problem(format!("`{}` needs `registry` or `inline`", value.name()), Some(help.to_owned()));
        return None;
    };
    let registry = registry(&name, registries);
    let version = map.get_or("version", Version::Latest, version);
    let registry = registry?;
    let name = schema_name(&map, &registry.config)?;
    Some(SchemaConfig::Registry(Box::new(SchemaReference { registry, name, version: version? })))
}

/// `None`, with nothing reported, for one that has mistakes of its own.
fn registry(value: &Value<'_>, registries: &Registries) -> Option<NamedRegistry> {
    let name = value.string("the name of a registry")?;
    let Some((known, config)) = registries.iter().find(|(known, _)| *known == name.text) else {
        let names: Vec<&str> = registries.iter().map(|(name, _)| name.as_str()).collect();
        let nearest = if name.substituted { None } else { nearest(&name.text, &names) };
        let help = match (nearest, names.is_empty()) {
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, true) => String::from("there is no `schema_registries` at the top of the file"),
            (None, false) => format!("`schema_registries` has {}", super::listed(&names)),
        };
        value.problem(format!("there is no schema registry {}", name.shown()), Some(help));
        return None;
    };
    Some(NamedRegistry { name: known.clone(), config: config.clone()? })
}

/// A version is a number, or `latest`; Glue's begin with 0.
fn version(value: &Value<'_>) -> Option<Version> {
    if value.is_number() {
        return value.whole(0..=i64::MAX, "").map(|number| Version::Number(number.unsigned_abs()));
    }
    let allowed = "`latest` or a whole number";
    value.string(allowed)?.check(allowed, |text| text == "latest")?;
    Some(Version::Latest)
}

/// `database` and `table`, or `subject`, as the registry's kind has them.
fn schema_name(map: &Map<'_>, registry: &RegistryConfig) -> Option<SchemaName> {
    let database = map.optional("database", |value| value.string("a name"));
    let table = map.optional("table", |value| value.string("a name"));
    let subject = map.optional("subject", |value| value.string("a name"));
    let (database, table, subject) = (database?, table?, subject?);
    let needs = |what: &str| {
        map.value().problem(format!("a schema in this registry needs {what}"), None);
        None
    };
    let both = "`database` and `table`";
    match (registry, database, table, subject) {
        (RegistryConfig::Directory(_) | RegistryConfig::Glue(_), Some(database), Some(table), None) => {
            // Each by itself, so that the place is right.
            reported(&database, SchemaName::table(&database.text, "any"))?;
            reported(&table, SchemaName::table(&database.text, &table.text))
        }
        (RegistryConfig::Glue(_) | RegistryConfig::Confluent(_), None, None, Some(subject)) => {
            reported(&subject, SchemaName::subject(&subject.text))
        }
        (RegistryConfig::Directory(_), ..) => needs(both),
        (RegistryConfig::Glue(_), ..) => {
            needs(&format!("{both} for one of the Data Catalog, or `subject` for one of the Schema Registry"))
        }
        (RegistryConfig::Confluent(_), ..) => needs("`subject`, and neither `database` nor `table`"),
    }
}

fn reported(text: &Text<'_>, name: Result<SchemaName, NameError>) -> Option<SchemaName> {
    match name {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("{} is no name here", text.shown());
            let help = "1 to 255 characters, without `/` and control characters";
            text.value.problem(message, Some(help.to_owned()));
            None
        }
    }
}

/// `ignore`, `error_output`, or `rescue: { column: … }`.
fn on_unknown_field(value: &Value<'_>) -> Option<OnUnknownField> {
    if value.is_map() {
        let rescue = value.map(&["rescue"])?.required("rescue")?;
        let column = rescue.map(&["column"])?.required("column")?.string("the name of a column")?;
        return Some(OnUnknownField::Rescue { column: column.text });
    }
    let allowed = "`ignore`, `error_output` or `{ rescue: { column: … } }`";
    match value.string(allowed)?.check(allowed, |word| matches!(word, "ignore" | "error_output"))?.text.as_str() {
        "ignore" => Some(OnUnknownField::Ignore),
        _ => Some(OnUnknownField::ErrorOutput),
    }
}

const INPUT: &[&str] =
    &["deserializer", "case_insensitive", "dots_to_underscores", "column_to_json_key", "timestamp_formats"];

fn input(map: &Map<'_>) -> Option<InputConfig> {
    let default = InputConfig::default();
    let deserializer = map.get_or("deserializer", default.deserializer, |value| {
        value.one_of(&[("openx", Deserializer::OpenX), ("hive", Deserializer::Hive)])
    });
    let case_insensitive = map.get_or("case_insensitive", default.case_insensitive, Value::boolean);
    let dots_to_underscores = map.get_or("dots_to_underscores", default.dots_to_underscores, Value::boolean);
    let column_to_json_key = map.get_or("column_to_json_key", default.column_to_json_key, |value| {
        let pairs = value.named("a mapping of columns to keys")?;
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(column, key)| Some(((*column).to_owned(), key.string("a key of the records")?.text)))
            .collect();
        pairs.into_iter().collect::<Option<BTreeMap<_, _>>>()
    });
    let timestamp_formats = map.get_or("timestamp_formats", default.timestamp_formats, timestamp_formats);
    Some(InputConfig {
        deserializer: deserializer?,
        case_insensitive: case_insensitive?,
        dots_to_underscores: dots_to_underscores?,
        column_to_json_key: column_to_json_key?,
        timestamp_formats: timestamp_formats?,
    })
}

pub(super) fn timestamp_formats(value: &Value<'_>) -> Option<Vec<TimestampFormat>> {
    let items = value.list("a list of timestamp formats")?;
    if items.len() > TIMESTAMP_FORMATS_MAX {
        value.problem(format!("there are more than {TIMESTAMP_FORMATS_MAX} timestamp formats"), None);
        return None;
    }
    let formats: Vec<_> = items.iter().map(timestamp_format).collect();
    formats.into_iter().collect()
}

/// A word of ours, or a pattern of Joda-Time, in which letters have to be of its alphabet.
fn timestamp_format(value: &Value<'_>) -> Option<TimestampFormat> {
    const WORDS: [(&str, TimestampFormat); 4] = [
        ("iso8601", TimestampFormat::Iso8601),
        ("epoch_seconds", TimestampFormat::EpochSeconds),
        ("epoch_millis", TimestampFormat::EpochMillis),
        ("sql", TimestampFormat::Sql),
    ];
    let allowed = "`iso8601`, `epoch_seconds`, `epoch_millis`, `sql`, or a Joda-Time pattern";
    let text = value.string(allowed)?;
    if let Some((_, format)) = WORDS.into_iter().find(|(word, _)| *word == text.text) {
        return Some(format);
    }
    let names = WORDS.map(|(word, _)| word);
    if text.text.len() > 3 && !text.substituted && nearest(&text.text, &names).is_some() {
        let nearest = nearest(&text.text, &names).unwrap_or_default();
        value.problem(
            format!("{} is no timestamp format", quoted(&text.text)),
            Some(format!("did you mean `{nearest}`?")),
        );
        return None;
    }
    let text = text.check(allowed, |pattern| !pattern.trim().is_empty())?;
    if let Err(error) = text.text.parse::<Pattern>() {
        value.problem(
            format!("{} is no timestamp format: {}", quoted(&text.text), error.reason),
            Some(allowed.to_owned()),
        );
        return None;
    }
    Some(TimestampFormat::Pattern(text.text))
}

const PARQUET: &[&str] = &[
    "compression",
    "row_group_mb",
    "page_kb",
    "dictionary",
    "bloom_filters",
    "writer_version",
    "statistics",
    "timestamps",
];

fn parquet(map: &Map<'_>) -> Option<ParquetConfig> {
    let default = ParquetConfig::default();
    let compression = map.get_or("compression", default.compression, compression);
    let row_group_bytes = map.get_or("row_group_mb", default.row_group_bytes, |value| {
        value.whole(1..=1024, "").map(|row_group_mb| row_group_mb.unsigned_abs() << 20)
    });
    let page_bytes = map.get_or("page_kb", default.page_bytes, |value| {
        value.whole(64..=16_384, "").map(|page_kb| page_kb.unsigned_abs() << 10)
    });
    let dictionary = map.get_or("dictionary", default.dictionary, |value| {
        value.one_of(&[("auto", Dictionary::Auto), ("always", Dictionary::Always), ("never", Dictionary::Never)])
    });
    let bloom_filters = map.get_or("bloom_filters", default.bloom_filters, |value| {
        let names: Vec<_> = value.list("a list of columns")?.iter().map(|item| item.string("a column")).collect();
        names.into_iter().map(|name| Some(name?.text)).collect()
    });
    let writer_version = map.get_or("writer_version", default.writer_version, |value| {
        value.whole(1..=2, "").map(|version| if version == 1 { WriterVersion::V1 } else { WriterVersion::V2 })
    });
    let statistics = map.get_or("statistics", default.statistics, |value| {
        value.one_of(&[("none", Statistics::None), ("chunk", Statistics::Chunk), ("page", Statistics::Page)])
    });
    let timestamps = map.get_or("timestamps", default.timestamps, |value| {
        value.one_of(&[("micros", Timestamps::Micros), ("int96", Timestamps::Int96)])
    });
    Some(ParquetConfig {
        compression: compression?,
        row_group_bytes: row_group_bytes?,
        page_bytes: page_bytes?,
        dictionary: dictionary?,
        bloom_filters: bloom_filters?,
        writer_version: writer_version?,
        statistics: statistics?,
        timestamps: timestamps?,
    })
}

fn compression(value: &Value<'_>) -> Option<ParquetCompression> {
    const LEVELLED: &[&str] = &["gzip", "zstd"];
    if !value.is_map() {
        return value.one_of(&[
            ("none", ParquetCompression::None),
            ("snappy", ParquetCompression::Snappy),
            ("gzip", ParquetCompression::Gzip { level: GZIP_LEVEL_DEFAULT }),
            ("zstd", ParquetCompression::Zstd { level: ZSTD_LEVEL_DEFAULT }),
            ("lz4", ParquetCompression::Lz4),
        ]);
    }
    let (codec, options) = value.map(LEVELLED)?.exactly_one(LEVELLED)?;
    let options = options.map(&["level"])?;
    let level = |max, default| options.get_or("level", default, |value| u8::try_from(value.whole(1..=max, "")?).ok());
    match codec {
        "gzip" => Some(ParquetCompression::Gzip { level: level(9, GZIP_LEVEL_DEFAULT)? }),
        _ => Some(ParquetCompression::Zstd { level: level(22, ZSTD_LEVEL_DEFAULT)? }),
    }
}
