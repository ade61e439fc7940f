//! Rows of some columns behind the rows of others.
//!
//! Always true: a row that was appended has the same values as the row that it was copied from.

use std::ops::Range;

use super::column::{Column, Columns, Offsets, Text, Validity, Values};
use super::decoder::{Full, INPUT_MAX};

impl Columns {
    /// Appends the rows `rows` of `other`, which are of the same schema and come from so many bytes of JSON.
    ///
    /// # Errors
    ///
    /// [`Full`], and nothing has been appended.
    pub fn append(&mut self, other: &Self, rows: Range<usize>, input_bytes: usize) -> Result<(), Full> {
        if self.input_bytes + input_bytes > INPUT_MAX && self.input_bytes > 0 {
            return Err(Full);
        }
        let rows = rows.start.min(other.rows)..rows.end.min(other.rows);
        for (column, from) in self.columns.iter_mut().zip(&other.columns) {
            column.append(from, rows.clone());
        }
        self.rows += rows.len();
        self.input_bytes += input_bytes;
        Ok(())
    }
}

impl Column {
    pub(super) fn append(&mut self, other: &Self, range: Range<usize>) {
        let length = self.len();
        self.validity.append(length, &other.validity, range.clone());
        match (&mut self.values, &other.values) {
            (Values::Boolean(to), Values::Boolean(from)) => to.extend_from_slice(&from[range]),
            (Values::Int(to), Values::Int(from)) => to.extend_from_slice(&from[range]),
            (Values::Long(to), Values::Long(from)) => to.extend_from_slice(&from[range]),
            (Values::Float(to), Values::Float(from)) => to.extend_from_slice(&from[range]),
            (Values::Double(to), Values::Double(from)) => to.extend_from_slice(&from[range]),
            (Values::Decimal(to), Values::Decimal(from)) => to.extend_from_slice(&from[range]),
            (Values::Text(to), Values::Text(from)) => to.append(from, range),
            (Values::List(to, items), Values::List(from, other)) => {
                let inner = to.append(from, range);
                items.append(other, inner);
            }
            (Values::Map(to, entries), Values::Map(from, other)) => {
                let inner = to.append(from, range);
                entries.0.append(&other.0, inner.clone());
                entries.1.append(&other.1, inner);
            }
            (Values::Struct(length, fields), Values::Struct(_, from)) => {
                *length += range.len();
                fields.iter_mut().zip(from).for_each(|(field, from)| field.append(from, range.clone()));
            }
            // Columns of another schema; as many nulls keep all columns equally long.
            _ => range.for_each(|_| self.push_null()),
        }
    }
}

impl Offsets {
    /// Appends the ends of the values `range` of `other`; where their content lies there.
    fn append(&mut self, other: &Self, range: Range<usize>) -> Range<usize> {
        let (start, end) = (other.0[range.start], other.0[range.end]);
        let base = self.last() as i32 - start;
        self.0.extend(other.0[range.start + 1..=range.end].iter().map(|end| end + base));
        start as usize..end as usize
    }
}

impl Text {
    fn append(&mut self, other: &Self, range: Range<usize>) {
        let bytes = self.offsets.append(&other.offsets, range);
        self.bytes.extend_from_slice(&other.bytes[bytes]);
    }
}

impl Validity {
    /// `length` values are there already.
    fn append(&mut self, length: usize, other: &Self, range: Range<usize>) {
        if other.has_no_nulls() && self.has_no_nulls() {
            return;
        }
        for (index, from) in range.enumerate() {
            match other.is_valid(from) {
                true => self.push_valid(length + index),
                false => self.push_null(length + index),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Decoder, InputOptions};
    use crate::schema::Column;

    fn columns() -> Vec<Column> {
        [
            ("a", "int"),
            ("b", "string"),
            ("c", "array<struct<x:bigint,y:map<string,boolean>>>"),
            ("d", "decimal(10,2)"),
            ("e", "double"),
            ("f", "struct<g:array<string>>"),
        ]
        .map(|(name, data_type)| Column {
            name: name.to_owned(),
            data_type: data_type.parse().unwrap(),
            is_required: false,
            comment: None,
        })
        .to_vec()
    }

    fn record() -> impl Strategy<Value = String> {
        let member = |text: &'static str| prop_oneof![Just(String::new()), Just(format!("{text},"))];
        let members = [
            member(r#""a":1"#),
            member(r#""b":"text""#),
            member(r#""c":[{"x":1,"y":{"k":true,"l":null}},null,{"x":null}]"#),
            member(r#""d":12.25"#),
            member(r#""e":1.5"#),
            member(r#""f":{"g":["p",null,"qr"]}"#),
        ];
        (members, 0..100).prop_map(|(members, number)| format!("{{{}\"a\":{number}}}", members.concat()))
    }

    proptest! {
        #[test]
        fn rows_that_were_appended_are_as_if_they_had_been_decoded(
            before in prop::collection::vec(record(), 0..20),
            records in prop::collection::vec(record(), 1..40),
            cuts in prop::collection::vec((0usize..40, 0usize..40), 0..6),
        ) {
            let mut decoder = Decoder::new(&columns(), InputOptions::default()).unwrap();
            let decode = |decoder: &mut Decoder, columns: &mut _, record: &String| {
                let mut failures = Vec::new();
                decoder.decode(record.as_bytes(), 0..record.len(), columns, &mut failures).unwrap();
                assert!(failures.is_empty());
            };
            let (mut source, mut appended, mut expected) = (decoder.columns(), decoder.columns(), decoder.columns());
            records.iter().for_each(|record| decode(&mut decoder, &mut source, record));
            for record in &before {
                decode(&mut decoder, &mut appended, record);
                decode(&mut decoder, &mut expected, record);
            }
            for (from, length) in cuts {
                let from = from.min(records.len());
                let to = (from + length).min(records.len());
                appended.append(&source, from..to, 1).unwrap();
                records[from..to].iter().for_each(|record| decode(&mut decoder, &mut expected, record));
            }
            prop_assert_eq!(appended.rows(), expected.rows());
            prop_assert_eq!(&appended.columns, &expected.columns);
        }
    }
}
