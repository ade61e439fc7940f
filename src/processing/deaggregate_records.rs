//! `deaggregate_records`: Firehose's RecordDeAggregation, for producers that put several records into one.
//!
//! Invariant: what leaves, and the part that fails, are all of a record but its delimiters and the white space between its
//! objects. Behind text that is no JSON nobody can tell where the next object begins, so the rest fails as one.

use memchr::memmem::Finder;
use serde::Serialize;

use super::json_scan::Scanner;
use super::{ConfigError, Failure, Origin, Processor, Records, Refuse};

/// Makes records of the sub-records of each record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeaggregateRecordsConfig {
    /// JSON objects one behind the other, with white space between them or nothing.
    Json,
    /// Texts with a delimiter between them, which may end the last one too.
    Delimited { delimiter: String },
}

pub(super) enum DeaggregateRecords {
    Json,
    Delimited(Box<Finder<'static>>),
}

impl DeaggregateRecords {
    pub fn new(config: DeaggregateRecordsConfig) -> Result<Self, ConfigError> {
        match config {
            DeaggregateRecordsConfig::Json => Ok(Self::Json),
            DeaggregateRecordsConfig::Delimited { delimiter } if delimiter.is_empty() => {
                Err(ConfigError::new("delimiter", "`delimiter` must not be empty"))
            }
            DeaggregateRecordsConfig::Delimited { delimiter } => {
                Ok(Self::Delimited(Box::new(Finder::new(delimiter.as_bytes()).into_owned())))
            }
        }
    }
}

impl Processor for DeaggregateRecords {
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
        match self {
            Self::Json => objects(record, out, refuse),
            Self::Delimited(delimiter) => delimited(record, delimiter, out),
        }
    }
}

fn objects(record: &[u8], out: &mut Records, refuse: &mut Refuse<'_>) -> Result<(), Failure> {
    // Bytes that are not UTF-8 do no harm to the objects before them.
    let text = record.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut scanner = Scanner::new(text.as_bytes())?;
    let mut is_first = true;
    loop {
        let next = scanner.peek();
        if next.is_none() && text.len() == record.len() && !is_first {
            return Ok(());
        }
        let start = scanner.at();
        if let Err(failure) = scanner.object(|scanner, _| scanner.value().map(drop)) {
            let is_not_text = text.len() < record.len() && scanner.at() == text.len();
            let failure = if is_not_text { Scanner::new(record).err().unwrap_or(failure) } else { failure };
            return if is_first {
                Err(no_objects(&failure))
            } else {
                refuse(&record[start..], no_objects(&failure), out)
            };
        }
        out.push(&record[start..scanner.at()])?;
        is_first = false;
    }
}

fn delimited(record: &[u8], delimiter: &Finder<'_>, out: &mut Records) -> Result<(), Failure> {
    let mut start = 0;
    for at in delimiter.find_iter(record) {
        out.push(&record[start..at])?;
        start = at + delimiter.needle().len();
    }
    // An empty record is one, what is left behind a delimiter at the end is none.
    if start == 0 || start < record.len() { out.push(&record[start..]) } else { Ok(()) }
}

fn no_objects(failure: &Failure) -> Failure {
    let reason = failure.message.strip_prefix("the record is not a JSON object: ").unwrap_or(&failure.message);
    Failure::new(format!("the record is no sequence of JSON objects: {reason}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{all, origin};
    use super::*;

    fn delimited_by(delimiter: &str) -> DeaggregateRecords {
        DeaggregateRecords::new(DeaggregateRecordsConfig::Delimited { delimiter: delimiter.to_owned() }).unwrap()
    }

    /// The sub-records, and what was refused with its reason.
    fn parts(record: &[u8]) -> (Vec<String>, Vec<(Vec<u8>, String)>) {
        let (mut out, mut refused) = (Records::default(), Vec::new());
        let mut refuse = |part: &[u8], failure: Failure, _: &mut Records| {
            refused.push((part.to_vec(), failure.message));
            Ok(())
        };
        DeaggregateRecords::Json.process_parts(record, &origin(), &mut out, &mut refuse).unwrap();
        (out.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect(), refused)
    }

    #[test]
    fn objects_are_taken_one_by_one_with_their_text() {
        for (record, expected) in [
            (r#"{"a":1}{"b":"}{"}"#, vec![r#"{"a":1}"#, r#"{"b":"}{"}"#]),
            ("{\"a\": 1.50}\n {}\r\n{\"c\":\n{}}\n", vec!["{\"a\": 1.50}", "{}", "{\"c\":\n{}}"]),
            (" {} ", vec!["{}"]),
        ] {
            assert_eq!(all(&DeaggregateRecords::Json, record.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_object_fails_with_all_behind_it() {
        for (rest, reason) in [
            (&b",{\"c\":1}"[..], "expected `{` at line 1, column 9"),
            (b"[{}]", "expected `{` at line 1, column 9"),
            (b"{\"c\":", "expected a value at line 1, column 14"),
            (b"{\"c\":\"\xFF\"}{}", "expected UTF-8 at line 1, column 15"),
            (b"\xFF{}", "expected UTF-8 at line 1, column 9"),
        ] {
            let record = [b"{\"a\":1} ", rest].concat();
            let reason = format!("the record is no sequence of JSON objects: {reason}");
            assert_eq!(parts(&record), (vec![r#"{"a":1}"#.to_owned()], vec![(rest.to_vec(), reason)]));
        }
    }

    #[test]
    fn a_record_without_any_object_fails_as_a_whole() {
        for (record, reason) in [
            (&b""[..], "expected `{` at line 1, column 1"),
            (b"\n ", "expected `{` at line 2, column 2"),
            (b"[{}]", "expected `{` at line 1, column 1"),
            (b"\xFF", "expected UTF-8 at line 1, column 1"),
        ] {
            let expected = format!("the record is no sequence of JSON objects: {reason}");
            assert_eq!(all(&DeaggregateRecords::Json, record).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_delimiter_stands_between_records_or_ends_them() {
        let by_bars = delimited_by("||");
        for (record, expected) in [
            ("a||b", vec!["a", "b"]),
            ("a||b||", vec!["a", "b"]),
            ("a||||b", vec!["a", "", "b"]),
            ("a|||b", vec!["a", "|b"]),
            ("||", vec![""]),
            ("", vec![""]),
            ("one", vec!["one"]),
        ] {
            assert_eq!(all(&by_bars, record.as_bytes()).unwrap(), expected, "{record:?}");
        }
    }

    #[test]
    fn an_empty_delimiter_is_a_mistake() {
        let error =
            DeaggregateRecords::new(DeaggregateRecordsConfig::Delimited { delimiter: String::new() }).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), ("delimiter", "`delimiter` must not be empty"));
    }

    fn json_text() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            r#"\{"a":[0-9]{1,2}\}|\{\}|[{}\[\], \n"x]"#.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..2)
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_byte_of_json_gets_lost(record in json_text()) {
            let (mut out, mut rest) = (Records::default(), Vec::new());
            let mut refuse = |part: &[u8], _: Failure, _: &mut Records| {
                rest = part.to_vec();
                Ok(())
            };
            let result = DeaggregateRecords::Json.process_parts(&record, &origin(), &mut out, &mut refuse);
            if result.is_err() {
                prop_assert_eq!(out.len(), 0);
                return Ok(());
            }
            let all = [out.iter().collect::<Vec<_>>().concat(), rest].concat();
            let black = |bytes: &[u8]| bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect::<Vec<_>>();
            prop_assert_eq!(black(&all), black(&record));
            prop_assert!(out.iter().all(|object| serde_json::from_slice::<serde_json::Map<_, _>>(object).is_ok()));
        }

        #[test]
        fn joined_sub_records_are_the_record(record in "[ab|]{0,12}", delimiter in "\\|{1,2}|ab") {
            let sub_records = all(&delimited_by(&delimiter), record.as_bytes()).unwrap();
            let joined = sub_records.join(&delimiter);
            prop_assert!(record == joined || record == joined.clone() + &delimiter, "{:?}", sub_records);
            prop_assert!(sub_records.iter().all(|sub_record| !sub_record.contains(&delimiter)));
        }
    }
}
