//! Who knows better what a record should become: the decoder's own slow path, the model, which asks serde_json, and arrow-json.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, Schema};
use serde_json::value::RawValue;

use super::generate::columns;
use super::*;

/// Columns of which arrow-json thinks as we do, as long as values are of their kind.
const PLAIN: [(&str, DataType); 5] = [
    ("id", DataType::Int64),
    ("n", DataType::Int32),
    ("x", DataType::Float64),
    ("b", DataType::Boolean),
    ("s", DataType::Utf8),
];

/// Floating point beyond JSON is text here.
pub(super) fn shown(columns: &Columns) -> Vec<Json> {
    (0..columns.rows()).map(|index| row(columns, &generate::columns(), index)).collect()
}

/// What is made of records that stand together is what is made of each alone, by the full rules.
pub(super) fn slow_path_agrees(fast: &mut Decoder, slow: &mut Decoder, records: &[&[u8]]) -> Result<(), String> {
    let (rows, mut failures) = decode(fast, records);
    let (mut expected, mut failed, mut start) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let (rows, failures) = decode(slow, &[record]);
        expected.extend(shown(&rows));
        let moved =
            |failure: Failure| Failure { bytes: failure.bytes.start + start..failure.bytes.end + start, ..failure };
        failed.extend(failures.into_iter().map(moved));
        start += record.len();
    }
    if shown(&rows) != expected {
        return Err(format!("together {:?}, alone {expected:?}", shown(&rows)));
    }
    // Their order is the records'; nothing else is to be compared.
    failures.sort_by_key(|failure| failure.bytes.start);
    if failures == failed { Ok(()) } else { Err(format!("together {failures:?}, alone {failed:?}")) }
}

/// One record by OpenX with its defaults.
pub(super) fn model_agrees(decoder: &mut Decoder, record: &[u8]) -> Result<(), String> {
    let schema = columns();
    let (columns, failures) = decode(decoder, &[record]);
    let rows = shown(&columns);
    let differs = |expected: &dyn std::fmt::Debug| Err(format!("{rows:?} and {failures:?}, the model {expected:?}"));
    let mut expected = Vec::new();
    for value in serde_json::Deserializer::from_slice(record).into_iter::<Box<RawValue>>() {
        let Ok(value) = value else {
            // What stands before the mistake is read all the same.
            return if failures.is_empty() { differs(&"a failure") } else { Ok(()) };
        };
        match serde_json::from_str::<Json>(value.get()) {
            Ok(Json::Object(_)) => {}
            // For serde_json, numbers have to fit a double.
            Err(error) if error.to_string().contains("number out of range") => return Ok(()),
            Ok(_) | Err(_) => return if failures.is_empty() { differs(&"a failure") } else { Ok(()) },
        }
        expected.push(model::row(value.get(), &schema));
    }
    let good: Vec<_> = expected.iter().flatten().cloned().collect();
    let bad = expected.iter().filter(|row| row.is_none()).count() + usize::from(expected.is_empty());
    let is_misfit = |failure: &Failure| failure.code == ErrorCode::MalformedData;
    match rows == good && failures.len() == bad && failures.iter().all(is_misfit) {
        true => Ok(()),
        false => differs(&expected),
    }
}

/// arrow-json, which knows fewer columns; where the two have to agree, it has to read the record.
pub(super) struct ArrowJson {
    decoder: Decoder,
    schema: Arc<Schema>,
}

impl ArrowJson {
    pub(super) fn new() -> Self {
        let is_plain = |column: &schema::Column| PLAIN.iter().any(|(name, _)| *name == column.name);
        let columns: Vec<_> = columns().into_iter().filter(is_plain).collect();
        let of = |name: &str| PLAIN.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        let fields: Vec<_> = columns.iter().map(|column| Field::new(&column.name, of(&column.name), true)).collect();
        let decoder = Decoder::new(&columns, InputOptions::default()).unwrap();
        Self { decoder, schema: Arc::new(Schema::new(fields)) }
    }

    /// Says whether there was something to be compared.
    pub(super) fn agrees(&mut self, record: &[u8]) -> Result<bool, String> {
        if !is_of_its_columns(record) {
            return Ok(false);
        }
        let theirs = self.read(record).map_err(|error| format!("arrow-json refuses it: {error}"))?;
        let (ours, failures) = decode(&mut self.decoder, &[record]);
        if ours.rows() != 1 || theirs.num_rows() != 1 || !failures.is_empty() {
            return Err(format!("{} rows and {failures:?}, arrow-json {} rows", ours.rows(), theirs.num_rows()));
        }
        for (column, (their, field)) in ours.columns.into_iter().zip(theirs.columns().iter().zip(self.schema.fields()))
        {
            let is_same = match column.values {
                Values::Text(_) => {
                    let text = their.as_string::<i32>();
                    json!(text.iter().next().unwrap()) == cell(&column, &Type::String, 0)
                }
                _ => {
                    super::super::arrays::array(column.clone(), their.data_type()).unwrap().to_data() == their.to_data()
                }
            };
            if !is_same {
                return Err(format!("{}: {column:?}, arrow-json {their:?}", field.name()));
            }
        }
        Ok(true)
    }

    fn read(&self, record: &[u8]) -> Result<RecordBatch, String> {
        let mut decoder = ::arrow_json::ReaderBuilder::new(self.schema.clone()).build_decoder().unwrap();
        let read = decoder.decode(record).map_err(|error| error.to_string())?;
        if read != record.len() {
            return Err(format!("{read} bytes of {}", record.len()));
        }
        decoder.flush().map_err(|error| error.to_string())?.ok_or_else(|| String::from("no row"))
    }
}

/// One object, each key once and as the columns have it, values of the columns' kinds: beyond that the two have rules of their own.
fn is_of_its_columns(record: &[u8]) -> bool {
    if serde_json::from_slice::<Json>(record).is_err() {
        return false;
    }
    let Ok(keys) = serde_json::from_slice::<model::Order>(record) else { return false };
    let Ok(members) = serde_json::from_slice::<std::collections::BTreeMap<String, Box<RawValue>>>(record) else {
        return false;
    };
    if keys.0.len() != members.len() {
        return false;
    }
    members.iter().all(|(key, value)| {
        let Some((name, kind)) = PLAIN.iter().find(|(name, _)| key.to_lowercase() == *name) else { return true };
        key == name && (value.get() == "null" || is_of_kind(value.get(), kind))
    })
}

fn is_of_kind(text: &str, kind: &DataType) -> bool {
    match kind {
        DataType::Int64 => text != "-0" && text.parse::<i64>().is_ok(),
        DataType::Int32 => text != "-0" && text.parse::<i32>().is_ok(),
        DataType::Float64 => {
            text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
                && text.parse::<f64>().is_ok_and(f64::is_finite)
        }
        DataType::Boolean => matches!(text, "true" | "false"),
        _ => text.starts_with('"'),
    }
}
