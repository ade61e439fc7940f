//! A schema from sample records.
//!
//! Always true: every sample fits what is proposed, read as Firehose's OpenX deserializer reads it; where two samples do not
//! fit together, what is proposed is `string`, and it is said why. Memory depends on what differs, not on how many samples
//! there are.

use super::sample::Sample;
use super::{Column, Field, Table, TableError, Type, check_name};
use jiff::Timestamp;
use jiff::civil::Date;

const DEPTH_MAX: usize = 16;
const IMMENSE: &str = "a number beyond a double";
const EXAMPLE_CHARS_MAX: usize = 60;
/// Fields in all; more of them are an object whose keys are data.
const FIELDS_MAX: usize = 5_000;

/// What the samples have shown so far.
#[derive(Debug, Default)]
pub struct Inference {
    fields: Vec<Known>,
    names: usize,
}

/// What is proposed, and what there is to know about it.
#[derive(Debug)]
pub struct Proposal {
    pub table: Table,
    pub remarks: Vec<Remark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The column that it is about.
    pub column: String,
    /// `user.id: bigint in 3 records, string in 1, such as "x-17": proposed as string`
    pub text: String,
}

/// One field of an object.
#[derive(Debug)]
struct Known {
    name: String,
    /// The same name in another case.
    also: Option<String>,
    values: Values,
}

/// All values that one place has had, by kind.
#[derive(Debug, Default)]
struct Values {
    nulls: u64,
    booleans: Kind,
    integers: Kind,
    /// Integers that only a decimal holds.
    large: Kind,
    fractions: Kind,
    /// Numbers that only text holds.
    immense: Kind,
    dates: Kind,
    timestamps: Kind,
    texts: Kind,
    arrays: Kind,
    objects: Kind,
    items: Option<Box<Values>>,
    fields: Vec<Known>,
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    example: String,
}

/// There is nothing to propose, or too much.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error(
        "the records have more than {FIELDS_MAX} different fields: some object's keys are data; it should be a map"
    )]
    TooManyFields,
    #[error(transparent)]
    Table(#[from] TableError),
}

impl Inference {
    /// Takes an object's fields into account; whether it was one.
    pub fn add(&mut self, record: &Sample) -> Result<bool, InferError> {
        let Sample::Object(object) = record else { return Ok(false) };
        for (name, value) in object {
            known(&mut self.fields, name, &mut self.names)?.add(value, 1, &mut self.names)?;
        }
        Ok(true)
    }

    pub fn propose(&self) -> Result<Proposal, InferError> {
        let mut remarks = Vec::new();
        let mut column = |known: &Known| {
            let mut texts = Vec::new();
            let data_type = known.propose(&known.name, &mut texts);
            remarks.extend(texts.into_iter().map(|text| Remark { column: known.name.clone(), text }));
            Column::nullable(&known.name, data_type)
        };
        let usable = self.fields.iter().filter(|known| check_name(&known.name).is_ok());
        let columns = usable.map(&mut column).collect();
        for known in &self.fields {
            if let Err(reason) = check_name(&known.name) {
                let shown: String = format!("{:?}", known.name).chars().take(EXAMPLE_CHARS_MAX).collect();
                remarks.push(Remark {
                    column: known.name.clone(),
                    text: format!("the field {shown} is left out: {reason}"),
                });
            }
        }
        Ok(Proposal { table: Table::new(columns, Vec::new())?, remarks })
    }
}

fn known<'k>(fields: &'k mut Vec<Known>, name: &str, names: &mut usize) -> Result<&'k mut Values, InferError> {
    let exact = fields.iter().position(|known| known.name == name);
    let at = exact.or_else(|| {
        let lower = name.to_lowercase();
        fields.iter().position(|known| known.name.to_lowercase() == lower)
    });
    let at = match at {
        Some(at) => at,
        None => {
            *names += 1;
            if *names > FIELDS_MAX {
                return Err(InferError::TooManyFields);
            }
            fields.push(Known { name: name.to_owned(), also: None, values: Values::default() });
            fields.len() - 1
        }
    };
    let known = &mut fields[at];
    if known.name != name {
        known.also.get_or_insert_with(|| name.to_owned());
    }
    Ok(&mut known.values)
}

impl Known {
    fn propose(&self, path: &str, remarks: &mut Vec<String>) -> Type {
        if let Some(also) = &self.also {
            remarks.push(format!("{path}: also written `{also}`; the same column with `case_insensitive: true`"));
        }
        self.values.propose(path, remarks)
    }
}

impl Values {
    fn add(&mut self, value: &Sample, depth: usize, names: &mut usize) -> Result<(), InferError> {
        match value {
            Sample::Null => self.nulls += 1,
            Sample::Boolean(_) => self.booleans.add(value),
            Sample::Integer(_) => self.integers.add(value),
            Sample::Large(_) => self.large.add(value),
            Sample::Fraction(_) => self.fractions.add(value),
            Sample::Immense(_) => self.immense.add(value),
            Sample::Text(text) if is_date(text) => self.dates.add(value),
            Sample::Text(text) if is_timestamp(text) => self.timestamps.add(value),
            Sample::Text(_) => self.texts.add(value),
            // Deeper than anybody meant: as text.
            Sample::Array(_) | Sample::Object(_) if depth > DEPTH_MAX => self.texts.add(value),
            Sample::Array(items) => {
                self.arrays.add(value);
                for item in items {
                    self.items.get_or_insert_default().add(item, depth + 1, names)?;
                }
            }
            Sample::Object(object) => {
                self.objects.add(value);
                for (name, value) in object {
                    known(&mut self.fields, name, names)?.add(value, depth + 1, names)?;
                }
            }
        }
        Ok(())
    }

    fn propose(&self, path: &str, remarks: &mut Vec<String>) -> Type {
        let numbers = [(&self.integers, "bigint"), (&self.large, "decimal(20,0)"), (&self.fractions, "double")];
        let times = [(&self.dates, "date"), (&self.timestamps, "timestamp")];
        let others = [
            (&self.immense, IMMENSE),
            (&self.booleans, "boolean"),
            (&self.texts, "string"),
            (&self.arrays, "array"),
            (&self.objects, "object"),
        ];
        let seen: Vec<_> = numbers.iter().chain(&times).chain(&others).filter(|(kind, _)| kind.count > 0).collect();
        match seen.as_slice() {
            [] => {
                remarks.push(format!("{path}: always null; proposed as string"));
                Type::String
            }
            [(_, "array")] => match &self.items {
                Some(items) => Type::Array(Box::new(items.propose(&format!("{path}[]"), remarks))),
                None => {
                    remarks.push(format!("{path}: always an empty array; proposed as array<string>"));
                    Type::Array(Box::new(Type::String))
                }
            },
            [(_, "object")] => self.structure(path, remarks),
            [(kind, name)] if *name == IMMENSE => {
                remarks.push(format!("{path}: always {IMMENSE}, such as {}; proposed as string", kind.example));
                Type::String
            }
            [(_, name)] => scalar(name),
            // Numbers among themselves: the one that holds both.
            [(_, "bigint"), (_, "decimal(20,0)")] => scalar("decimal(20,0)"),
            several if several.iter().all(|(_, name)| matches!(*name, "bigint" | "decimal(20,0)" | "double")) => {
                Type::Double
            }
            several => {
                let counted: Vec<_> = several
                    .iter()
                    .map(|(kind, name)| format!("{name} {} times, such as {}", kind.count, kind.example))
                    .collect();
                remarks.push(format!("{path}: conflict: {}; proposed as string", counted.join("; ")));
                Type::String
            }
        }
    }

    fn structure(&self, path: &str, remarks: &mut Vec<String>) -> Type {
        if self.fields.is_empty() {
            remarks.push(format!("{path}: always an empty object; proposed as string"));
            return Type::String;
        }
        let unusable =
            |known: &&Known| known.name.is_empty() || known.name.contains('`') || known.name.contains(char::is_control);
        if let Some(known) = self.fields.iter().find(unusable) {
            remarks.push(format!(
                "{path}: a field of it has the name {:?}, which no struct's has; proposed as map",
                known.name
            ));
            return Type::Map(Box::new(Type::String), Box::new(Type::String));
        }
        let field = |known: &Known| Field {
            name: known.name.clone(),
            data_type: known.propose(&format!("{path}.{}", known.name), remarks),
        };
        Type::Struct(self.fields.iter().map(field).collect())
    }
}

impl Kind {
    fn add(&mut self, value: &Sample) {
        if self.count == 0 {
            let text = match value {
                Sample::Immense(number) => number.clone(),
                value => serde_json::to_string(value).unwrap_or_default(),
            };
            self.example = text.chars().take(EXAMPLE_CHARS_MAX).collect();
            if text.chars().nth(EXAMPLE_CHARS_MAX).is_some() {
                self.example.push('…');
            }
        }
        self.count += 1;
    }
}

fn scalar(name: &str) -> Type {
    match name {
        "boolean" => Type::Boolean,
        "bigint" => Type::BigInt,
        "decimal(20,0)" => Type::Decimal { precision: 20, scale: 0 },
        "double" => Type::Double,
        "date" => Type::Date,
        "timestamp" => Type::Timestamp,
        _ => Type::String,
    }
}

/// `2026-01-31`, and no other form.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// As Firehose reads it without being told a format: `2026-01-31T23:59:59[.f…]Z`, or with a blank and without `Z`.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.get(10) {
        Some(b'T') => text.ends_with('Z') && text.parse::<Timestamp>().is_ok(),
        Some(b' ') => format!("{text}Z").parse::<Timestamp>().is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::convert::Samples;

    fn sample(value: &Json) -> Sample {
        read(&value.to_string())
    }

    fn read(text: &str) -> Sample {
        Samples::new(text.as_bytes()).next().unwrap().unwrap()
    }

    fn infer(records: &[Json]) -> (Vec<(String, String)>, Vec<String>) {
        infer_of(&records.iter().map(sample).collect::<Vec<_>>())
    }

    fn infer_of(records: &[Sample]) -> (Vec<(String, String)>, Vec<String>) {
        let mut inference = Inference::default();
        for record in records {
            assert!(inference.add(record).unwrap());
        }
        let Proposal { table, remarks } = inference.propose().unwrap();
        let columns =
            table.columns().iter().map(|column| (column.name.clone(), column.data_type.to_string())).collect();
        (columns, remarks.into_iter().map(|remark| remark.text).collect())
    }

    #[test]
    fn each_value_has_its_type() {
        for (values, expected) in [
            (json!([true, null]), "boolean"),
            (json!([1, -1]), "bigint"),
            (json!([1, u64::MAX]), "decimal(20,0)"),
            (json!([1, 1.5]), "double"),
            (json!([u64::MAX, 1, 0.5]), "double"),
            (json!(["2026-01-31"]), "date"),
            (json!(["2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123456Z"]), "timestamp"),
            (json!(["2026-01-31 10:00:00"]), "timestamp"),
            (json!(["2026-01-31T10:00:00+01:00"]), "string"),
            (json!(["2026-02-31"]), "string"),
            (json!(["a", "1"]), "string"),
            (json!([[1], [], [2.5]]), "array<double>"),
            (json!([{ "a": 1 }, { "b": ["x"], "a": null }]), "struct<a:bigint,b:array<string>>"),
        ] {
            let records: Vec<_> = values.as_array().unwrap().iter().map(|value| json!({ "f": value })).collect();
            let (columns, remarks) = infer(&records);
            assert_eq!(columns, [(String::from("f"), expected.to_owned())], "{values}: {remarks:?}");
            assert!(remarks.is_empty(), "{values}: {remarks:?}");
        }
    }

    #[test]
    fn a_conflict_is_said_with_counts_and_examples() {
        let (columns, remarks) =
            infer(&[json!({ "a": { "id": 1 } }), json!({ "a": { "id": 2 } }), json!({ "a": { "id": "x-17" } })]);
        assert_eq!(columns[0].1, "struct<id:string>");
        assert_eq!(
            remarks,
            ["a.id: conflict: bigint 2 times, such as 1; string 1 times, such as \"x-17\"; proposed as string"]
        );
    }

    #[test]
    fn numbers_that_no_double_holds_are_text() {
        let (columns, remarks) = infer_of(&[read(r#"{"a":1E400,"b":-1e999}"#), read(r#"{"a":1,"b":1e999}"#)]);
        assert!(columns.iter().all(|(_, data_type)| data_type == "string"), "{columns:?}");
        assert_eq!(
            remarks,
            [
                "a: conflict: bigint 1 times, such as 1; a number beyond a double 1 times, such as 1E400; proposed as string",
                "b: always a number beyond a double, such as -1e999; proposed as string",
            ]
        );
    }

    #[test]
    fn what_says_nothing_about_a_type_is_said() {
        let (columns, remarks) = infer(&[json!({ "a": null, "b": [], "c": {}, "D": 1 }), json!({ "d": 2 })]);
        let types: Vec<_> = columns.iter().map(|(_, data_type)| data_type.as_str()).collect();
        assert_eq!((types, remarks.len()), (vec!["bigint", "string", "array<string>", "string"], 4), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark.contains("also written `d`")), "{remarks:?}");
    }

    #[test]
    fn a_field_that_no_column_can_be_called_after_is_left_out() {
        let (columns, remarks) = infer(&[json!({ "a": 1, "": 2, "b\n": 3 })]);
        assert_eq!(columns, [(String::from("a"), String::from("bigint"))]);
        assert_eq!(
            remarks,
            [
                r#"the field "" is left out: a column needs a name"#,
                r#"the field "b\n" is left out: a column's name has a control character in it"#,
            ]
        );
    }

    #[test]
    fn keys_that_are_data_end_it() {
        let mut inference = Inference::default();
        let result = (0..FIELDS_MAX + 1)
            .try_for_each(|number| inference.add(&sample(&json!({ format!("k{number}"): 1 }))).map(drop));
        assert!(matches!(result, Err(InferError::TooManyFields)));
        assert!(!Inference::default().add(&sample(&json!([1]))).unwrap());
        assert!(Inference::default().propose().is_err());
    }
}
