//! The processors as they are configured, and how one is built.
//!
//! Invariant: what can be wrong with a configuration is found when it is built, never by a record.

use serde::Serialize;

use super::Processor;
use super::add_brackets::AddBrackets;
use super::add_metadata::{AddMetadata, AddMetadataConfig, Surroundings};
use super::append_delimiter::{AppendDelimiter, AppendDelimiterConfig};
use super::cloudwatch_logs::{CloudwatchLogs, CloudwatchLogsConfig};
use super::csv_to_json::{CsvToJson, CsvToJsonConfig};
use super::deaggregate_records::{DeaggregateRecords, DeaggregateRecordsConfig};
use super::decompress::{Decompress, DecompressConfig};
use super::json::{Json, JsonConfig};
use super::log_to_json::{LogToJson, LogToJsonConfig};
use super::single_line::{SingleLine, SingleLineConfig};
use super::skip_empty::SkipEmpty;
use super::transcode::{Transcode, TranscodeConfig};
use super::wasm::WasmConfig;

/// What happens to a record that a processor cannot process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes to the error output with the reason.
    #[default]
    ErrorOutput,
    /// It goes on unchanged to the next processor.
    Pass,
}

/// One entry of `processing`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepConfig {
    pub processor: ProcessorConfig,
    /// `error_output` unless said otherwise.
    pub on_error: OnError,
}

/// A processor's name and options.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessorConfig {
    SingleLine(SingleLineConfig),
    CsvToJson(CsvToJsonConfig),
    LogToJson(LogToJsonConfig),
    Json(JsonConfig),
    AddMetadata(AddMetadataConfig),
    AddBrackets,
    AppendDelimiter(AppendDelimiterConfig),
    DeaggregateRecords(DeaggregateRecordsConfig),
    Decompress(DecompressConfig),
    CloudwatchLogs(CloudwatchLogsConfig),
    Wasm(Box<WasmConfig>),
    /// The source's `encoding`; no entry of `processing`.
    Transcode(TranscodeConfig),
    /// The source's `skip_empty`; no entry of `processing`.
    SkipEmpty,
}

/// A mistake in a processor's options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// The option at fault, as it is called in the file.
    pub key: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl ConfigError {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into(), help: None }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Two of `names` are the same.
    pub(super) fn check_unique(key: &'static str, names: &[String]) -> Result<(), Self> {
        let mut seen = std::collections::HashSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(twice) => Err(Self::new(key, format!("`{key}` has `{twice}` twice"))),
            None => Ok(()),
        }
    }
}

impl ProcessorConfig {
    /// Whether what it makes of a record follows from when that arrived, or from the records that came together with it.
    pub fn depends_on_batch(&self) -> bool {
        match self {
            Self::Wasm(_) => true,
            Self::AddMetadata(config) => config.depends_on_arrival(),
            Self::SingleLine(_)
            | Self::CsvToJson(_)
            | Self::LogToJson(_)
            | Self::Json(_)
            | Self::AddBrackets
            | Self::AppendDelimiter(_)
            | Self::DeaggregateRecords(_)
            | Self::Decompress(_)
            | Self::CloudwatchLogs(_)
            | Self::Transcode(_)
            | Self::SkipEmpty => false,
        }
    }

    /// As it is called in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SingleLine(_) => "single_line",
            Self::CsvToJson(_) => "csv_to_json",
            Self::LogToJson(_) => "log_to_json",
            Self::Json(_) => "json",
            Self::AddMetadata(_) => "add_metadata",
            Self::AddBrackets => "add_brackets",
            Self::AppendDelimiter(_) => "append_delimiter",
            Self::DeaggregateRecords(_) => "deaggregate_records",
            Self::Decompress(_) => "decompress",
            Self::CloudwatchLogs(_) => "cloudwatch_logs",
            Self::Wasm(_) => "wasm",
            Self::Transcode(_) => "encoding",
            Self::SkipEmpty => "skip_empty",
        }
    }

    /// The processor, or what is wrong with its options. A component is none: it takes batches (see `Sequence`).
    pub fn build(self, surroundings: &Surroundings<'_>) -> Result<Box<dyn Processor>, ConfigError> {
        Ok(match self {
            Self::SingleLine(config) => Box::new(SingleLine::new(config)),
            Self::CsvToJson(config) => Box::new(CsvToJson::new(config)?),
            Self::LogToJson(config) => Box::new(LogToJson::new(config)?),
            Self::Json(config) => Box::new(Json::new(config)?),
            Self::AddMetadata(config) => Box::new(AddMetadata::new(config, surroundings)?),
            Self::AddBrackets => Box::new(AddBrackets),
            Self::AppendDelimiter(config) => Box::new(AppendDelimiter::new(config)?),
            Self::DeaggregateRecords(config) => Box::new(DeaggregateRecords::new(config)?),
            Self::Decompress(config) => Box::new(Decompress::new(config)),
            Self::CloudwatchLogs(config) => Box::new(CloudwatchLogs::new(config)),
            Self::Wasm(_) => return Err(ConfigError::new("wasm", "a component takes records a batch at a time")),
            Self::Transcode(config) => Box::new(Transcode::new(&config)?),
            Self::SkipEmpty => Box::new(SkipEmpty),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::decompress::tests::gzip;
    use super::super::testing::origin;
    use super::super::{
        Ec2Metadata, LogFormat, LogLayout, MetadataField, MetadataValue, OnExisting, Pipeline, RecordCompression,
        Records, Scratch,
    };
    use super::*;

    fn pipeline(processors: Vec<ProcessorConfig>) -> Result<Pipeline, (usize, ConfigError)> {
        let step = |processor| StepConfig { processor, on_error: OnError::ErrorOutput };
        let surroundings = Surroundings { host: "web-1".into(), ec2: Ec2Metadata::default(), environment: &|_| None };
        Pipeline::new(processors.into_iter().map(step).collect(), &surroundings)
    }

    fn syslog() -> ProcessorConfig {
        ProcessorConfig::LogToJson(LogToJsonConfig {
            layout: LogLayout::Format(LogFormat::Syslog),
            field_names: ["t", "h", "p", "i", "m"].map(String::from).to_vec(),
        })
    }

    #[test]
    fn an_envelope_becomes_its_messages_and_a_bad_one_of_them_fails_alone() {
        let host = MetadataField { name: "from".into(), value: MetadataValue::Host };
        let pipeline = pipeline(vec![
            ProcessorConfig::Decompress(DecompressConfig { compression: RecordCompression::Gzip }),
            ProcessorConfig::CloudwatchLogs(CloudwatchLogsConfig::default()),
            ProcessorConfig::SkipEmpty,
            ProcessorConfig::SingleLine(SingleLineConfig::default()),
            syslog(),
            ProcessorConfig::Json(JsonConfig { remove: vec!["h".into(), "i".into()], ..JsonConfig::default() }),
            ProcessorConfig::AddMetadata(AddMetadataConfig {
                fields: vec![host],
                key: None,
                wrap: None,
                on_existing: OnExisting::Replace,
            }),
            ProcessorConfig::AppendDelimiter(AppendDelimiterConfig::default()),
        ]);
        let messages = [r"Oct  1 22:14:15 h su: a\n b", "plain", "", "Oct  1 22:14:16 h last message repeated 2 times"];
        let events = messages.map(|message| format!(r#"{{"message":"{message}"}}"#)).join(",");
        let envelope = gzip(format!(r#"{{"messageType":"DATA_MESSAGE","logEvents":[{events}]}}"#).as_bytes());
        let (mut out, mut failed) = (Records::default(), Vec::new());
        pipeline.unwrap().run(&envelope, &origin(), &mut Scratch::default(), &mut out, &mut failed);
        let expected: [&[u8]; 2] = [
            b"{\"t\":\"Oct  1 22:14:15\",\"p\":\"su\",\"m\":\"a b\",\"from\":\"web-1\"}\n",
            b"{\"t\":\"Oct  1 22:14:16\",\"p\":null,\"m\":\"last message repeated 2 times\",\"from\":\"web-1\"}\n",
        ];
        assert_eq!(out.iter().collect::<Vec<_>>(), expected);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0, b"plain");
        assert_eq!(failed[0].1.message, "`log_to_json`: the record is no syslog: expected `Mmm dd hh:mm:ss` at byte 0");
    }

    #[test]
    fn a_mistake_comes_with_the_number_of_its_step() {
        let transcode = ProcessorConfig::Transcode(TranscodeConfig { encoding: "none".into() });
        let (step, error) = pipeline(vec![syslog(), transcode]).err().unwrap();
        assert_eq!((step, error.key), (1, "encoding"));
    }
}
