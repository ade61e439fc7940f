//! Tests of the whole: the coercion table, the decoder against a model, files against the library's own reader.

use serde_json::{Value as Json, json};

use super::column::{Column, Values};
use super::*;
use crate::schema::{self, Type};

mod arrow_json;
mod coercions;
mod failures;
mod fuzz;
mod generate;
mod model;
mod oracles;
mod properties;
mod round_trip;

fn schema(columns: &[(&str, &str)]) -> Vec<schema::Column> {
    columns
        .iter()
        .map(|(name, data_type)| schema::Column {
            name: (*name).to_owned(),
            data_type: data_type.parse().unwrap(),
            is_required: false,
            comment: None,
        })
        .collect()
}

fn hive() -> InputOptions {
    InputOptions { deserializer: Deserializer::Hive, ..InputOptions::default() }
}

/// Rows and failures of some records, which are read from one piece of memory as they are in life.
fn decode(decoder: &mut Decoder, records: &[&[u8]]) -> (Columns, Vec<Failure>) {
    let (mut columns, mut failures) = (decoder.columns(), Vec::new());
    let data = records.concat();
    let mut start = 0;
    for record in records {
        decoder.decode(&data, start..start + record.len(), &mut columns, &mut failures).unwrap();
        start += record.len();
        assert!(columns.columns.iter().all(|column| column.len() == columns.rows));
    }
    (columns, failures)
}

/// A column's value as JSON; decimals and what JSON has no number for as text.
fn cell(column: &Column, data_type: &Type, index: usize) -> Json {
    if !column.validity.is_valid(index) {
        return Json::Null;
    }
    match (&column.values, data_type) {
        (Values::Boolean(values), _) => json!(values[index]),
        (Values::Int(values), _) => json!(values[index]),
        (Values::Long(values), _) => json!(values[index]),
        (Values::Float(values), _) if !values[index].is_finite() => json!(values[index].to_string()),
        (Values::Float(values), _) => json!(values[index]),
        (Values::Double(values), _) if !values[index].is_finite() => json!(values[index].to_string()),
        (Values::Double(values), _) => json!(values[index]),
        (Values::Decimal(values), _) => json!(values[index].to_string()),
        (Values::Text(text), Type::Binary) => {
            json!(text.bytes[text.offsets.0[index] as usize..text.offsets.0[index + 1] as usize])
        }
        (Values::Text(text), _) => {
            let bytes = &text.bytes[text.offsets.0[index] as usize..text.offsets.0[index + 1] as usize];
            json!(std::str::from_utf8(bytes).unwrap())
        }
        (Values::List(offsets, items), Type::Array(item)) => {
            (offsets.0[index]..offsets.0[index + 1]).map(|at| cell(items, item, at as usize)).collect()
        }
        (Values::Map(offsets, entries), Type::Map(key, value)) => (offsets.0[index]..offsets.0[index + 1])
            .map(|at| {
                let key = match cell(&entries.0, key, at as usize) {
                    Json::String(key) => key,
                    key => key.to_string(),
                };
                (key, cell(&entries.1, value, at as usize))
            })
            .collect(),
        (Values::Struct(_, columns), Type::Struct(fields)) => {
            let cells = fields.iter().zip(columns);
            cells.map(|(field, column)| (field.name.clone(), cell(column, &field.data_type, index))).collect()
        }
        (values, data_type) => panic!("{data_type} in {values:?}"),
    }
}

/// A row as a JSON object, by column.
fn row(columns: &Columns, schema: &[schema::Column], index: usize) -> Json {
    let cells = schema.iter().zip(&columns.columns);
    cells.map(|(known, column)| (known.name.clone(), cell(column, &known.data_type, index))).collect()
}
