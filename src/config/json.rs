//! A part of the configuration that is handed on as JSON.

use serde_json::{Map, Number, Value as Json};

use super::reader::Value;
use super::scalar::{self, Type};
use super::tree::{Kind, Style};

impl Value<'_> {
    /// The value as JSON, its `${…}` replaced. What came out of a `${…}` is a string, as a secret should be, unless it stands
    /// there without quotes and is a number or a boolean. What JSON cannot say is reported.
    pub fn json(&self) -> Option<Json> {
        match &self.node.kind {
            Kind::Scalar(_) => self.json_scalar(),
            Kind::List(_) => {
                let items: Vec<_> = self.one_or_list().iter().map(Value::json).collect();
                Some(Json::Array(items.into_iter().collect::<Option<_>>()?))
            }
            Kind::Map(_) => {
                let entries = self.named("a mapping")?;
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| Some(((*key).to_owned(), value.json()?))).collect();
                Some(Json::Object(entries.into_iter().collect::<Option<Map<_, _>>>()?))
            }
        }
    }

    fn json_scalar(&self) -> Option<Json> {
        let (text, scalar) = self.scalar("a value")?;
        if scalar.style != Style::Plain {
            return Some(Json::String(text.text));
        }
        Some(match scalar::core_schema(&text.text) {
            Type::Null => Json::Null,
            Type::Boolean(boolean) => Json::Bool(boolean),
            Type::Whole(number) => Json::Number(number.into()),
            Type::Decimal(number) => match Number::from_f64(number) {
                Some(number) => Json::Number(number),
                None => {
                    self.problem("JSON has no such number", Some(String::from("in quotes it is a string")));
                    return None;
                }
            },
            Type::String => Json::String(text.text),
        })
    }
}
