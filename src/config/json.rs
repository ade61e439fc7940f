//! A value that the operator hands on as JSON, whatever is in it.
//!
//! Invariant: what YAML means is what JSON says. What JSON has no word for (infinity) is a mistake.

use super::reader::Value;
use super::scalar::{Type, core_schema};
use super::tree::{Kind, Style};

impl Value<'_> {
    /// The value as JSON text. A number keeps its digits; what is in quotes or came out of a `${…}` is a string.
    pub fn json(&self) -> Option<String> {
        match &self.node.kind {
            Kind::Scalar(_) => self.json_scalar(),
            Kind::List(_) => {
                // All of them are looked at before the first mistake ends it.
                let items: Vec<_> = self.list("a list")?.iter().map(Value::json).collect();
                Some(format!("[{}]", items.into_iter().collect::<Option<Vec<_>>>()?.join(",")))
            }
            Kind::Map(_) => {
                let member = |(name, value): &(&str, Value<'_>)| Some(format!("{}:{}", quoted(name), value.json()?));
                let members: Vec<_> = self.named("a mapping")?.iter().map(member).collect();
                Some(format!("{{{}}}", members.into_iter().collect::<Option<Vec<_>>>()?.join(",")))
            }
        }
    }

    fn json_scalar(&self) -> Option<String> {
        let (text, scalar) = self.scalar("a value")?;
        let kind =
            if scalar.style == Style::Plain && !text.substituted { core_schema(&text.text) } else { Type::String };
        match kind {
            Type::Null => Some("null".to_owned()),
            Type::Boolean(boolean) => Some(boolean.to_string()),
            Type::String => Some(quoted(&text.text)),
            Type::Whole(_) | Type::Decimal(_) if is_json_number(&text.text) => Some(text.text),
            Type::Whole(number) => Some(number.to_string()),
            Type::Decimal(number) if number.is_finite() => Some(number.to_string()),
            Type::Decimal(_) => {
                let help = Some("in quotes it is a string".to_owned());
                self.must_be("a value that JSON has", &text.given(scalar.style), help);
                None
            }
        }
    }
}

/// `0x1f`, `+1` and `.5` are numbers of YAML only.
fn is_json_number(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
