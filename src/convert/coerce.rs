//! What becomes of a JSON value in a column: the deserializers' coercions. Whatever the speculative decoder takes, it takes as
//! it would be taken here.
//!
//! Beyond what is known of Firehose: a number that is no integer, or too large, does not fit an integer column, though `1.0`
//! and `1e3` are integers; a decimal with more digits behind the point than its column is rounded half up, as in Hive, and
//! one with more digits before it does not fit; text longer than its `char` or `varchar` does not fit, for cutting it would
//! lose data silently; only `true` and `false` as text are booleans; a value that is no array becomes an array of one, an
//! object too (OpenX); an array's elements behind a struct's last field are dropped (OpenX); binary is read from base64
//! (Hive).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::schema::Type;

use super::column::{Column, Values};
use super::error::Misfit;
use super::json::Value;
use super::json_text;
use super::number::{self, Excess, Number, NumberError};
use super::options::Deserializer;
use super::room::Room;
use super::rules::{Rules, Unknown};
use super::target::{Fields, Parts, Target};
use super::time_text;

mod mismatch;

pub(super) use mismatch::Path;
use mismatch::{Reason, mismatch, not_an_object, number_reason, shown};

/// The fields without a column that were met, with their paths; of equal paths the last counts.
pub(super) type UnknownFields<'v> = Vec<(String, &'v Value<'v>)>;

/// Of an object.
type Members<'v> = [(Cow<'v, str>, Value<'v>)];

pub(super) struct Coercion<'r, 'v> {
    pub(super) rules: &'r Rules,
    pub(super) unknown: UnknownFields<'v>,
    pub(super) room: Room,
}

impl<'r, 'v> Coercion<'r, 'v> {
    pub(super) fn new(rules: &'r Rules, room: Room) -> Self {
        Self { rules, unknown: Vec::new(), room }
    }

    /// Appends `value`. After an error the column holds a part of it, which whoever calls takes back.
    pub(super) fn push(
        &mut self,
        column: &mut Column,
        target: &Target,
        value: &'v Value<'v>,
        path: &Path<'_>,
    ) -> Result<(), Misfit> {
        if *value == Value::Null {
            column.push_null();
            return Ok(());
        }
        let data_type = &target.data_type;
        match &target.parts {
            Parts::Item(item) => self.array(column, (data_type, item), value, path),
            Parts::Entry(entry) => self.map(column, data_type, entry, value, path),
            Parts::Fields(fields) => self.structure(column, data_type, fields, value, path),
            Parts::None => {
                let pushed = self.primitive(column, data_type, value);
                pushed.map_err(|reason| mismatch(path, data_type, value, reason))
            }
        }
    }

    fn primitive(&self, column: &mut Column, data_type: &Type, value: &Value<'_>) -> Result<(), Reason> {
        match (&mut column.values, data_type) {
            (Values::Boolean(values), Type::Boolean) => values.push(self.boolean(value)?),
            (Values::Int(values), Type::TinyInt) => values.push(self.integer::<i8>(value)?.into()),
            (Values::Int(values), Type::SmallInt) => values.push(self.integer::<i16>(value)?.into()),
            (Values::Int(values), Type::Int) => values.push(self.integer::<i32>(value)?),
            (Values::Int(values), Type::Date) => values.push(self.date(value)?),
            (Values::Long(values), Type::BigInt) => values.push(self.integer::<i64>(value)?),
            (Values::Long(values), Type::Timestamp) => values.push(self.timestamp(value)?),
            (Values::Float(values), Type::Float) => {
                let text = self.numeric(value)?;
                values.push(float_word(text).map_or_else(|| checked(text, number::float), |word| Ok(word as f32))?);
            }
            (Values::Double(values), Type::Double) => {
                let text = self.numeric(value)?;
                values.push(float_word(text).map_or_else(|| checked(text, number::double), Ok)?);
            }
            (Values::Decimal(values), &Type::Decimal { precision, scale }) => {
                let text = self.numeric(value)?;
                let scaled = Number::parse(text).and_then(|number| number.scaled(scale.into(), Excess::Round));
                let scaled = scaled.map_err(|error| number_reason(text, error))?;
                if scaled.abs() > number::decimal_max(precision) {
                    return Err(number_reason(text, NumberError::Range));
                }
                values.push(scaled);
            }
            (Values::Text(text), Type::Binary) => {
                let Value::String(encoded) = value else { return Err("base64 text is expected".into()) };
                let no_base64 = |error| Reason::new("no base64", format!("no base64: {error}"));
                let bytes = STANDARD.decode(encoded.as_bytes()).map_err(no_base64)?;
                text.push(&bytes);
            }
            (Values::Text(text), data_type) => {
                let start = text.bytes.len();
                self.text(&mut text.bytes, value)?;
                fits(&text.bytes[start..], data_type)?;
                text.close();
            }
            // Columns are made from their types.
            _ => return Err("the column is of another type".into()),
        }
        column.validity.push_valid(column.len() - 1);
        Ok(())
    }

    fn is_lenient(&self) -> bool {
        self.rules.deserializer == Deserializer::OpenX
    }

    fn boolean(&self, value: &Value<'_>) -> Result<bool, Reason> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if self.is_lenient() && text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if self.is_lenient() && text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err("true or false is expected".into()),
        }
    }

    /// The text of a number, or of text that is to be one.
    fn numeric<'a>(&self, value: &'a Value<'_>) -> Result<&'a str, Reason> {
        match value {
            Value::Number(text) => Ok(text),
            Value::String(text) if self.is_lenient() => Ok(text),
            _ => Err("a number is expected".into()),
        }
    }

    fn integer<T: TryFrom<i64>>(&self, value: &Value<'_>) -> Result<T, Reason> {
        let text = self.numeric(value)?;
        let number = Number::parse(text).and_then(|number| number.integer());
        let number = number.map_err(|error| number_reason(text, error))?;
        T::try_from(number).map_err(|_| number_reason(text, NumberError::Range))
    }

    fn date(&self, value: &Value<'_>) -> Result<i32, Reason> {
        let Value::String(text) = value else { return Err("text such as 2026-12-31 is expected".into()) };
        let no_date = || Reason::new("no date", format!("{} is no date such as 2026-12-31", shown(text)));
        time_text::date(text).ok_or_else(no_date)
    }

    fn timestamp(&self, value: &Value<'_>) -> Result<i64, Reason> {
        let (text, read) = match value {
            Value::String(text) => (text.as_ref(), self.rules.formats.text(text)),
            Value::Number(text) => (*text, self.rules.formats.number(text)),
            _ => return Err("a timestamp is text or a number".into()),
        };
        read.map_err(|error| match error {
            NumberError::Range => number_reason(text, error),
            NumberError::Text | NumberError::Fraction => {
                Reason::new("no timestamp", format!("{} has none of the formats", shown(text)))
            }
        })
    }

    /// Text, or what becomes text.
    fn text(&self, out: &mut Vec<u8>, value: &Value<'_>) -> Result<(), Reason> {
        match value {
            Value::Array(_) | Value::Object(_) if !self.is_lenient() => {
                return Err("One or more fields have incorrect format: text is expected".into());
            }
            Value::String(text) => out.extend_from_slice(text.as_bytes()),
            value => json_text::write(out, value, self.rules.lowers_keys()),
        }
        Ok(())
    }

    fn array(
        &mut self,
        column: &mut Column,
        (data_type, item): (&Type, &Target),
        value: &'v Value<'v>,
        path: &Path<'_>,
    ) -> Result<(), Misfit> {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value if self.is_lenient() => std::slice::from_ref(value),
            value => return Err(mismatch(path, data_type, value, "Start of Array expected".into())),
        };
        self.room.take(values.len(), item.bytes)?;
        if let Values::List(offsets, items) = &mut column.values {
            for (index, value) in values.iter().enumerate() {
                self.push(items, item, value, &path.index(index))?;
            }
            offsets.close(items.len());
            column.validity.push_valid(column.len() - 1);
        }
        Ok(())
    }

    fn map(
        &mut self,
        column: &mut Column,
        data_type: &Type,
        (key, item): &(Target, Target),
        value: &'v Value<'v>,
        path: &Path<'_>,
    ) -> Result<(), Misfit> {
        let Value::Object(members) = value else {
            let reason = if self.is_lenient() { "an object is expected" } else { "Start of Object expected" };
            return Err(mismatch(path, data_type, value, reason.into()));
        };
        self.room.take(members.len(), key.bytes + item.bytes)?;
        if let Values::Map(offsets, entries) = &mut column.values {
            let (keys, items) = entries.as_mut();
            let values = if key.is_text() {
                self.text_keys(keys, key, members, path)?
            } else {
                self.other_keys(keys, key, members, path)?
            };
            for (name, value) in values {
                self.push(items, item, value, &path.name(&name))?;
            }
            offsets.close(keys.len());
            column.validity.push_valid(column.len() - 1);
        }
        Ok(())
    }

    /// Appends the keys of a map, each once, and returns what they stand for.
    fn text_keys(
        &self,
        keys: &mut Column,
        key: &Target,
        members: &'v Members<'v>,
        path: &Path<'_>,
    ) -> Result<Vec<(Cow<'v, str>, &'v Value<'v>)>, Misfit> {
        let members = json_text::last_of_each(members, self.rules.lowers_keys());
        for (name, _) in &members {
            self.map_key(keys, key, name, path)?;
        }
        Ok(members)
    }

    /// The same for keys that are read from text: what counts is whether they are equal then.
    fn other_keys(
        &self,
        keys: &mut Column,
        key: &Target,
        members: &'v Members<'v>,
        path: &Path<'_>,
    ) -> Result<Vec<(Cow<'v, str>, &'v Value<'v>)>, Misfit> {
        let mut read = Column::new(&key.data_type);
        for (name, _) in members {
            self.map_key(&mut read, key, name, path)?;
        }
        let members = members.iter().enumerate().map(|(index, member)| (read.bits(index), (index, member)));
        let last = json_text::last_of(members.collect::<Vec<_>>().into_iter());
        let member = |(_, (index, (name, value))): (_, (usize, &'v (Cow<'v, str>, Value<'v>)))| {
            keys.append(&read, index..index + 1);
            (Cow::Borrowed(name.as_ref()), value)
        };
        Ok(last.into_iter().map(member).collect())
    }

    /// In JSON every key is text, so that numbers and booleans are read from it whatever the deserializer.
    fn map_key(&self, column: &mut Column, target: &Target, key: &str, path: &Path<'_>) -> Result<(), Misfit> {
        let value = match target.data_type {
            Type::Boolean if key.eq_ignore_ascii_case("true") => Value::Bool(true),
            Type::Boolean if key.eq_ignore_ascii_case("false") => Value::Bool(false),
            Type::TinyInt
            | Type::SmallInt
            | Type::Int
            | Type::BigInt
            | Type::Float
            | Type::Double
            | Type::Decimal { .. } => Value::Number(key),
            _ => Value::String(key.into()),
        };
        let pushed = self.primitive(column, &target.data_type, &value);
        pushed.map_err(|reason| mismatch(&path.name(key), &target.data_type, &Value::String(key.into()), reason))
    }

    fn structure(
        &mut self,
        column: &mut Column,
        data_type: &Type,
        fields: &Fields,
        value: &'v Value<'v>,
        path: &Path<'_>,
    ) -> Result<(), Misfit> {
        let mut values: Vec<Option<&'v Value<'v>>> = vec![None; fields.targets.len()];
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    match fields.position(&self.rules.key(key)) {
                        Some(index) => values[index] = Some(value),
                        None => self.unknown_field(&path.name(key), value)?,
                    }
                }
            }
            Value::Array(items) if self.is_lenient() => {
                values.iter_mut().zip(items).for_each(|(slot, value)| *slot = Some(value));
            }
            value if self.is_lenient() => {
                return Err(mismatch(path, data_type, value, not_an_object(value)));
            }
            value => return Err(mismatch(path, data_type, value, "Start of Object expected".into())),
        }
        if let Values::Struct(len, columns) = &mut column.values {
            for (((name, target), column), value) in fields.targets.iter().zip(columns).zip(values) {
                match value {
                    Some(value) => self.push(column, target, value, &path.name(name))?,
                    None => column.push_null(),
                }
            }
            *len += 1;
            column.validity.push_valid(column.len() - 1);
        }
        Ok(())
    }

    pub(super) fn unknown_field(&mut self, path: &Path<'_>, value: &'v Value<'v>) -> Result<(), Misfit> {
        match self.rules.unknown {
            Unknown::Ignore => {}
            // One is enough to fail for.
            Unknown::Fail if !self.unknown.is_empty() => {}
            Unknown::Fail | Unknown::Rescue(_) => {
                let path = path.to_string();
                // A long key may be part of very many paths.
                self.room.take(1, path.len())?;
                self.unknown.push((path, value));
            }
        }
        Ok(())
    }
}

/// Java's words for numbers that JSON does not have.
fn float_word(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The standard library reads words such as `inf` as well, so that the form is looked at first.
fn checked<T>(text: &str, read: impl Fn(&str) -> Result<T, NumberError>) -> Result<T, Reason> {
    Number::parse(text).and_then(|_| read(text)).map_err(|error| number_reason(text, error))
}

fn fits(text: &[u8], data_type: &Type) -> Result<(), Reason> {
    let (Type::Char(max) | Type::Varchar(max)) = data_type else { return Ok(()) };
    // Every byte that continues no character begins one.
    let length = text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    let too_long = || Reason::new("too long", format!("it has {length} characters"));
    if length > *max as usize { Err(too_long()) } else { Ok(()) }
}
