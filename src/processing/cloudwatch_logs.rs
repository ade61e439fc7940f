//! `cloudwatch_logs`: Firehose's CloudWatchLogProcessing, for the envelopes that CloudWatch Logs subscriptions send.
//!
//! Invariant: an envelope leaves whole, or as all of its messages in order, or fails; only a CONTROL_MESSAGE, which
//! CloudWatch Logs sends to see whether the destination is reachable, is dropped.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Failure, Origin, Processor, Records};

/// Takes the log events out of CloudWatch Logs' envelopes. They come compressed, so `decompress` goes before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CloudwatchLogsConfig {
    /// Whether each log event's message becomes a record of its own; else the whole envelope stays one. Firehose joins
    /// the messages of an envelope to one record with line feeds; separate records are the same bytes in an object,
    /// and processors that follow see one message at a time.
    pub extract_message: bool,
}

impl Default for CloudwatchLogsConfig {
    fn default() -> Self {
        Self { extract_message: true }
    }
}

pub(super) struct CloudwatchLogs {
    config: CloudwatchLogsConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow)]
    log_events: Option<Vec<LogEvent<'a>>>,
}

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl CloudwatchLogs {
    pub fn new(config: CloudwatchLogsConfig) -> Self {
        Self { config }
    }
}

impl Processor for CloudwatchLogs {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let envelope: Envelope<'_> = serde_json::from_slice(record)
            .map_err(|error| Failure::new(format!("the record is no envelope of CloudWatch Logs: {error}")))?;
        match envelope.message_type.as_ref() {
            "CONTROL_MESSAGE" => Ok(()),
            "DATA_MESSAGE" => {
                let missing = || Failure::new("the record is no envelope of CloudWatch Logs: it has no `logEvents`");
                let events = envelope.log_events.ok_or_else(missing)?;
                if !self.config.extract_message {
                    return out.push(record);
                }
                events.iter().try_for_each(|event| out.push(event.message.as_bytes()))
            }
            other => {
                let message = format!("`messageType` is `{other}`, neither DATA_MESSAGE nor CONTROL_MESSAGE");
                Err(Failure::new(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::all;
    use super::*;

    const EXTRACT: CloudwatchLogs = CloudwatchLogs { config: CloudwatchLogsConfig { extract_message: true } };
    const WHOLE: CloudwatchLogs = CloudwatchLogs { config: CloudwatchLogsConfig { extract_message: false } };

    const DATA: &str = concat!(
        r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"CloudTrail","logStream":"s","#,
        r#""subscriptionFilters":["Destination"],"logEvents":[{"id":"31953106606966983378809025079804211143289615424298221568","#,
        r#""timestamp":1432826855000,"message":"{\"eventVersion\":\"1.03\"}"},{"id":"2","timestamp":1,"message":"a\nü 😀"},"#,
        r#"{"id":"3","timestamp":2,"message":""}]}"#
    );
    const CONTROL: &str = concat!(
        r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"#,
        r#""logEvents":[{"id":"","timestamp":1432826855000,"message":"CWL CONTROL MESSAGE: Checking health of destination"}]}"#
    );

    #[test]
    fn each_log_event_becomes_a_record() {
        assert_eq!(all(&EXTRACT, DATA.as_bytes()).unwrap(), [r#"{"eventVersion":"1.03"}"#, "a\nü 😀", ""]);
    }

    #[test]
    fn without_extraction_the_envelope_stays_as_it_is() {
        assert_eq!(all(&WHOLE, DATA.as_bytes()).unwrap(), [DATA]);
    }

    #[test]
    fn control_messages_are_dropped() {
        for processor in [&EXTRACT, &WHOLE] {
            assert_eq!(all(processor, CONTROL.as_bytes()).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn anything_else_fails_with_a_reason() {
        let table = [
            (r#"{"messageType":"X","logEvents":[]}"#, "`messageType` is `X`, neither DATA_MESSAGE nor CONTROL_MESSAGE"),
            (
                r#"{"logEvents":[]}"#,
                "the record is no envelope of CloudWatch Logs: missing field `messageType` at line 1 column 16",
            ),
            (
                r#"{"messageType":"DATA_MESSAGE"}"#,
                "the record is no envelope of CloudWatch Logs: it has no `logEvents`",
            ),
            ("plain", "the record is no envelope of CloudWatch Logs: expected value at line 1 column 1"),
        ];
        for (record, reason) in table {
            assert_eq!(all(&EXTRACT, record.as_bytes()).unwrap_err(), reason);
        }
        assert!(all(&EXTRACT, &DATA.as_bytes()[..DATA.len() - 1]).is_err());
    }
}
