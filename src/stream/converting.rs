//! Record format conversion of one life of a stream: its schema, how records are read by it, and what files look like.
//!
//! Always true: a life has one schema. A new version ends the life: what was read is delivered, and the next one begins with it.
//! A version that records cannot be converted with ends none: the last good one stays.

use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::chain::chain;
use crate::config::model::{
    self, DeliveryStreamConfig, Deserializer, FileColumns, FormatConversionConfig, OnUnknownField, ParquetCompression,
    ParquetConfig, RegistryConfig, SchemaConfig, Statistics, Timestamps,
};
use crate::convert::{
    self, Decoder, FileSchema, InputOptions, ParquetOptions, PatternError, SchemaError, TimestampFormat,
    TimestampFormats,
};
use crate::encode::table::Table;
use crate::envelope::DataCatalogTable;
use crate::memory::StreamBudget;
use crate::processing::Conversion;
use crate::schema::{Origin, RegistryError, Resolved, Schema, SchemaName, SchemaSource, Watch};

/// What a life converts with.
pub(super) struct Converting {
    pub(super) schema: Schema,
    pub(super) conversion: Conversion,
    pub(super) table: Table,
    /// Tells in the journal how a delivery's file is formed.
    pub(super) format: String,
    pub(super) watch: Option<Watch>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConvertingError {
    #[error("the schema cannot be had")]
    Registry(#[from] RegistryError),
    #[error("records cannot be read by {schema}")]
    Schema { schema: String, source: SchemaError },
    #[error("{0}")]
    Misfit(String),
    #[error("`{pattern}` is no timestamp format")]
    Pattern { pattern: String, source: PatternError },
    #[error("{schema} cannot be written as Parquet: {reason}")]
    Parquet { schema: String, reason: String },
}

impl Converting {
    /// Asks the registry, or the cache of its answers.
    pub(super) async fn open(
        config: &FormatConversionConfig,
        stream: &DeliveryStreamConfig,
        state_dir: &Path,
        budget: Arc<StreamBudget>,
    ) -> Result<Self, ConvertingError> {
        let source = SchemaSource::new(&config.schema, state_dir)?;
        let (Fitted { schema, columns, conversion, file }, seen) = last_good(&source, config, stream).await?;
        let version = schema.version.map(|version| version.to_string());
        let metadata = [
            ("hydrant.delivery_stream", Some(stream.name.clone())),
            ("hydrant.schema", Some(schema.name.clone())),
            ("hydrant.schema_version", version),
            ("hydrant.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ];
        let metadata = metadata.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        let table = Table {
            schema: Arc::new(file),
            options: Arc::new(parquet_options(&config.parquet)),
            metadata: Arc::new(metadata),
            empty: conversion.columns(),
            budget,
            encodings: Arc::default(),
        };
        let mut format = format!("{schema} {} {:?}", schema.fingerprint(), config.parquet);
        if config.partition_columns.is_some() {
            format.push_str(&format!(" {:?} without {:?}", config.partition_columns, columns.left_out));
        }
        let watch = source.watch(&schema, &seen);
        Ok(Self { schema, conversion, table, format, watch })
    }
}

/// The conversion alone, by the registry's schema or the last one that is known.
pub(super) async fn to_look(
    config: &FormatConversionConfig,
    stream: &DeliveryStreamConfig,
    state_dir: &Path,
) -> Result<Conversion, ConvertingError> {
    let source = SchemaSource::to_look(&config.schema, state_dir)?;
    Ok(last_good(&source, config, stream).await?.0.conversion)
}

/// Whether a stream can convert records with this schema.
pub(super) fn check_fits(stream: &DeliveryStreamConfig, schema: &Schema) -> Result<(), ConvertingError> {
    stream.format_conversion.as_ref().map_or(Ok(()), |config| Fitted::new(config, stream, schema.clone()).map(drop))
}

/// A schema, and what a stream's options make of it.
struct Fitted {
    schema: Schema,
    columns: FileColumns,
    conversion: Conversion,
    file: FileSchema,
}

impl Fitted {
    fn new(
        config: &FormatConversionConfig,
        stream: &DeliveryStreamConfig,
        schema: Schema,
    ) -> Result<Self, ConvertingError> {
        let (columns, conversion) = conversion(config, &schema, &stream.destination.hive_columns())?;
        let file = FileSchema::new(&columns.written, parquet_options(&config.parquet).timestamps)
            .map_err(|error| ConvertingError::Parquet { schema: schema.to_string(), reason: error.to_string() })?;
        Ok(Self { schema, columns, conversion, file })
    }
}

/// The registry's schema; one that does not fit the stream leaves the last one that was in use, if that does. Beside it, the
/// registry's.
async fn last_good(
    source: &SchemaSource,
    config: &FormatConversionConfig,
    stream: &DeliveryStreamConfig,
) -> Result<(Fitted, Schema), ConvertingError> {
    let Resolved { schema: seen, origin } = source.resolve().await?;
    let misfit = match Fitted::new(config, stream, seen.clone()) {
        Ok(fitted) => {
            if matches!(origin, Origin::Asked) {
                source.keep(&seen);
            }
            return Ok((fitted, seen));
        }
        Err(misfit) => misfit,
    };
    let earlier = source.cached().and_then(|(earlier, _)| Fitted::new(config, stream, earlier).ok());
    let Some(fitted) = earlier else { return Err(misfit) };
    let (stream, error) = (&stream.name, chain(&misfit));
    warn!(%stream, refused = %seen, schema = %fitted.schema, error, "a version of the schema does not fit the stream's options; the last good one stays");
    Ok((fitted, seen))
}

/// The columns of files in whose path these columns stand, and what fills them.
fn conversion(
    config: &FormatConversionConfig,
    schema: &Schema,
    in_path: &[String],
) -> Result<(FileColumns, Conversion), ConvertingError> {
    let (columns, decoder) = decoder(config, schema, in_path)?;
    Ok((columns, Conversion::new(decoder, catalog_table(config, schema))))
}

/// The columns of files in whose path these columns stand, and what reads records for them.
pub fn decoder(
    config: &FormatConversionConfig,
    schema: &Schema,
    in_path: &[String],
) -> Result<(FileColumns, Decoder), ConvertingError> {
    let columns = config.file_columns(schema, in_path);
    if let Some(misfit) = config.misfits(schema, &columns).into_iter().next() {
        return Err(ConvertingError::Misfit(misfit));
    }
    let options = InputOptions { left_out: columns.left_out.clone(), ..input_options(config)? };
    let decoder = Decoder::new(&columns.written, options)
        .map_err(|source| ConvertingError::Schema { schema: schema.to_string(), source })?;
    Ok((columns, decoder))
}

/// The schema as Firehose's envelopes name it; `None` for columns in the configuration.
fn catalog_table(config: &FormatConversionConfig, schema: &Schema) -> Option<DataCatalogTable> {
    let SchemaConfig::Registry(reference) = &config.schema else { return None };
    let (database_name, table_name) = match &reference.name {
        SchemaName::Table { database, table } => (Some(database.clone()), table.clone()),
        SchemaName::Subject(subject) => (None, subject.clone()),
    };
    let (catalog_id, region, role) = match &reference.registry.config {
        RegistryConfig::Glue(glue) => (glue.catalog_id.clone(), glue.region.clone(), glue.assume_role.as_ref()),
        RegistryConfig::Directory(_) | RegistryConfig::Confluent(_) => (None, None, None),
    };
    Some(DataCatalogTable {
        catalog_id,
        database_name,
        table_name,
        region,
        version_id: schema.version.map(|version| version.to_string()),
        role_arn: role.map(|role| role.role_arn.clone()),
    })
}

/// How JSON is read, as the decoder takes it.
pub fn input_options(config: &FormatConversionConfig) -> Result<InputOptions, ConvertingError> {
    let input = &config.input;
    Ok(InputOptions {
        deserializer: deserializer(input.deserializer),
        case_insensitive: input.case_insensitive,
        convert_dots_in_json_keys_to_underscores: input.dots_to_underscores,
        column_to_json_key: input.column_to_json_key.clone(),
        timestamp_formats: timestamp_formats(&input.timestamp_formats)?,
        on_unknown_field: match &config.on_unknown_field {
            OnUnknownField::Ignore => convert::OnUnknownField::Ignore,
            OnUnknownField::ErrorOutput => convert::OnUnknownField::ErrorOutput,
            OnUnknownField::Rescue { column } => convert::OnUnknownField::Rescue(column.clone()),
        },
        left_out: Vec::new(),
    })
}

/// The forms of a record's time.
pub fn record_time_formats(formats: &[model::TimestampFormat]) -> Result<TimestampFormats, ConvertingError> {
    Ok(TimestampFormats::new(timestamp_formats(formats)?, convert::Deserializer::OpenX))
}

fn deserializer(deserializer: Deserializer) -> convert::Deserializer {
    match deserializer {
        Deserializer::OpenX => convert::Deserializer::OpenX,
        Deserializer::Hive => convert::Deserializer::Hive,
    }
}

fn timestamp_formats(formats: &[model::TimestampFormat]) -> Result<Vec<TimestampFormat>, ConvertingError> {
    let format = |format: &model::TimestampFormat| {
        Ok(match format {
            model::TimestampFormat::Iso8601 => TimestampFormat::Iso8601,
            model::TimestampFormat::EpochSeconds => TimestampFormat::EpochSeconds,
            model::TimestampFormat::EpochMillis => TimestampFormat::EpochMillis,
            model::TimestampFormat::Sql => TimestampFormat::Sql,
            model::TimestampFormat::Pattern(pattern) => TimestampFormat::Pattern(
                pattern.parse().map_err(|source| ConvertingError::Pattern { pattern: pattern.clone(), source })?,
            ),
        })
    };
    formats.iter().map(format).collect()
}

fn parquet_options(config: &ParquetConfig) -> ParquetOptions {
    ParquetOptions {
        compression: match config.compression {
            ParquetCompression::None => convert::Compression::None,
            ParquetCompression::Snappy => convert::Compression::Snappy,
            ParquetCompression::Gzip { level } => convert::Compression::Gzip { level },
            ParquetCompression::Zstd { level } => convert::Compression::Zstd { level },
            ParquetCompression::Lz4 => convert::Compression::Lz4,
        },
        row_group_mb: (config.row_group_bytes >> 20) as u32,
        page_kb: (config.page_bytes >> 10) as u32,
        dictionary: match config.dictionary {
            model::Dictionary::Auto => convert::Dictionary::Auto,
            model::Dictionary::Always => convert::Dictionary::Always,
            model::Dictionary::Never => convert::Dictionary::Never,
        },
        bloom_filters: config.bloom_filters.clone(),
        writer_version: match config.writer_version {
            model::WriterVersion::V1 => convert::WriterVersion::V1,
            model::WriterVersion::V2 => convert::WriterVersion::V2,
        },
        statistics: match config.statistics {
            Statistics::None => convert::Statistics::None,
            Statistics::Chunk => convert::Statistics::Chunk,
            Statistics::Page => convert::Statistics::Page,
        },
        timestamps: match config.timestamps {
            Timestamps::Micros => convert::TimestampType::Int64Micros,
            Timestamps::Int96 => convert::TimestampType::Int96,
        },
    }
}
