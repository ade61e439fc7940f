//! `cloudwatch_logs`: Firehose's CloudWatchLogProcessing, for the envelopes that CloudWatch Logs subscriptions send.
//!
//! Invariant: an envelope leaves whole, or as all of its messages in order, or fails, and an event without a message that can be
//! read fails alone; only a CONTROL_MESSAGE, which CloudWatch Logs sends to see whether the destination is reachable, is dropped.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;

use super::json_scan::Scanner;
use super::{Failure, Origin, Processor, Records, Refuse};

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

/// What of an envelope counts. Its events are looked at one by one, so that a bad one harms itself alone.
#[derive(Default)]
struct Envelope<'a> {
    message_type: Option<&'a str>,
    /// Where each event stands in the record.
    events: Option<Vec<Range<usize>>>,
}

impl CloudwatchLogs {
    pub fn new(config: CloudwatchLogsConfig) -> Self {
        Self { config }
    }
}

impl Processor for CloudwatchLogs {
    fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        self.process_parts(record, origin, out, &mut |_, failure, _| Err(failure))
    }

    fn process_parts(
        &self,
        record: &[u8],
        _: &Origin<'_>,
        out: &mut Records,
        refuse: &mut Refuse<'_>,
    ) -> Result<(), Failure> {
        let text = readable(record);
        let envelope = Envelope::read(&text)?;
        let message_type = envelope.message_type.ok_or_else(|| no_envelope("it has no `messageType`"))?;
        match string(message_type).map_err(|reason| no_envelope(&format!("`messageType` {reason}")))?.as_ref() {
            "CONTROL_MESSAGE" => Ok(()),
            "DATA_MESSAGE" => {
                let events = envelope.events.ok_or_else(|| no_envelope("it has no `logEvents`"))?;
                if !self.config.extract_message {
                    return out.push(record);
                }
                events.into_iter().try_for_each(|event| match message(&record[event.clone()]) {
                    Ok(message) => out.push(message.as_bytes()),
                    Err(reason) => {
                        let failure = Failure::new(format!("a log event has no message that can be read: {reason}"));
                        refuse(&record[event], failure, out)
                    }
                })
            }
            other => {
                let message = format!("`messageType` is `{other}`, neither DATA_MESSAGE nor CONTROL_MESSAGE");
                Err(Failure::new(message))
            }
        }
    }
}

impl<'a> Envelope<'a> {
    fn read(text: &'a [u8]) -> Result<Self, Failure> {
        let mut envelope = Self::default();
        let mut scan = || {
            let mut scanner = Scanner::new(text)?;
            scanner.object(|scanner, name| {
                match name {
                    "\"messageType\"" => envelope.message_type = Some(scanner.value()?),
                    "\"logEvents\"" if scanner.peek() == Some(b'[') => envelope.events = Some(events(scanner)?),
                    _ => drop(scanner.value()?),
                }
                Ok(())
            })?;
            scanner.expect_end()
        };
        let is_read: Result<(), Failure> = scan();
        is_read.map_err(|failure| no_envelope(&failure.message))?;
        Ok(envelope)
    }
}

fn events(scanner: &mut Scanner<'_>) -> Result<Vec<Range<usize>>, Failure> {
    let mut events = Vec::new();
    scanner.elements(|scanner| {
        let length = scanner.value()?.len();
        events.push(scanner.at() - length..scanner.at());
        Ok(())
    })?;
    Ok(events)
}

/// The record with every byte that is not UTF-8 replaced by another, so that all of it stays in its place: the events in which
/// there are such bytes are refused one by one.
fn readable(record: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(record).is_ok() {
        return Cow::Borrowed(record);
    }
    let mut text = Vec::with_capacity(record.len());
    for chunk in record.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), b'?');
    }
    Cow::Owned(text)
}

/// The message of a log event, or why it has none.
fn message(event: &[u8]) -> Result<Cow<'_, str>, String> {
    std::str::from_utf8(event).map_err(|_| String::from("it is not UTF-8"))?;
    let mut found = None;
    let mut scan = || {
        Scanner::new(event)?.object(|scanner, name| {
            let value = scanner.value()?;
            found = if name == "\"message\"" { Some(value) } else { found };
            Ok(())
        })
    };
    let is_object: Result<(), Failure> = scan();
    is_object.map_err(|_| String::from("it is no JSON object"))?;
    let value = found.ok_or_else(|| String::from("there is no `message`"))?;
    string(value).map_err(|reason| format!("`message` {reason}"))
}

/// The text of a JSON value, or what is wrong with it.
fn string(value: &str) -> Result<Cow<'_, str>, String> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(String::from("is no string"));
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    // All that is left to be wrong are escapes of halves of characters.
    serde_json::from_str(value).map(Cow::Owned).map_err(|error| format!("is no text: {error}"))
}

fn no_envelope(reason: &str) -> Failure {
    let reason = reason.strip_prefix("the record is not a JSON object: ").unwrap_or(reason);
    Failure::new(format!("the record is no envelope of CloudWatch Logs: {reason}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            (r#"{"logEvents":[]}"#, "the record is no envelope of CloudWatch Logs: it has no `messageType`"),
            (
                r#"{"messageType":"DATA_MESSAGE"}"#,
                "the record is no envelope of CloudWatch Logs: it has no `logEvents`",
            ),
            (
                r#"{"messageType":"DATA_MESSAGE","logEvents":null}"#,
                "the record is no envelope of CloudWatch Logs: it has no `logEvents`",
            ),
            (r#"{"messageType":5}"#, "the record is no envelope of CloudWatch Logs: `messageType` is no string"),
            ("plain", "the record is no envelope of CloudWatch Logs: expected `{` at line 1, column 1"),
        ];
        for (record, reason) in table {
            assert_eq!(all(&EXTRACT, record.as_bytes()).unwrap_err(), reason);
        }
        assert!(all(&EXTRACT, &DATA.as_bytes()[..DATA.len() - 1]).is_err());
    }

    /// The messages, and what was refused with its reason.
    fn parts(processor: &CloudwatchLogs, envelope: &[u8]) -> (Vec<String>, Vec<(Vec<u8>, String)>) {
        let (mut out, mut refused) = (Records::default(), Vec::new());
        let mut refuse = |part: &[u8], failure: Failure, _: &mut Records| {
            refused.push((part.to_vec(), failure.message));
            Ok(())
        };
        processor.process_parts(envelope, &super::super::testing::origin(), &mut out, &mut refuse).unwrap();
        (out.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect(), refused)
    }

    #[test]
    fn an_event_without_a_message_that_can_be_read_fails_alone() {
        const NOT_READ: &str = "a log event has no message that can be read: ";
        for (event, reason) in [
            (&b"{\"id\":\"2\",\"message\":5}"[..], "`message` is no string"),
            (b"{\"id\":\"2\",\"message\":null}", "`message` is no string"),
            (b"{\"id\":\"2\"}", "there is no `message`"),
            (b"[1]", "it is no JSON object"),
            (b"null", "it is no JSON object"),
            (b"{\"message\":\"\xff\"}", "it is not UTF-8"),
            (b"{\"message\":\"\\ud83d\"}", "`message` is no text: unexpected end of hex escape at line 1 column 8"),
        ] {
            let envelope = [
                br#"{"messageType":"DATA_MESSAGE","logEvents":[{"message":"one"}, "#,
                event,
                br#" ,{"message":"t\u0077o"}]}"#,
            ]
            .concat();
            let refused = vec![(event.to_vec(), format!("{NOT_READ}{reason}"))];
            assert_eq!(parts(&EXTRACT, &envelope), (vec!["one".to_owned(), "two".to_owned()], refused));
        }
    }

    #[test]
    fn without_extraction_nobody_looks_at_the_events() {
        let envelope = r#"{"messageType":"DATA_MESSAGE","logEvents":[{"message":5}]}"#;
        assert_eq!(parts(&WHOLE, envelope.as_bytes()), (vec![envelope.to_owned()], Vec::new()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let envelope = [br#"{"messageType":"DATA_MESSAGE","logEvents":["#, &bytes[..], b"]}"].concat();
            let _ = all(&EXTRACT, &envelope);
        }
    }
}
