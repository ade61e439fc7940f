//! Paths as `.customer.id`, read from a record without making a value of all of it.
//!
//! Always true: whatever value this finds, jq finds as well; where it is not sure, it finds none.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::ValueError;

/// Names of fields, the outermost first; at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

/// What is at the end of a path. `None`: something whose text jq has to say.
type Found = Option<Result<String, ValueError>>;

impl Path {
    /// `None` for any program that is no plain path.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let names: Vec<_> = text.trim().strip_prefix('.')?.split('.').map(str::to_owned).collect();
        names.iter().all(|name| is_name(name)).then_some(Self(names))
    }

    /// The value in a record. `None`, too, where serde cannot read it to its end: jaq's reader takes numbers that serde refuses.
    pub fn value(&self, record: &[u8]) -> Found {
        let mut reader = serde_json::Deserializer::from_slice(record);
        let found = Step(&self.0).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        found
    }
}

/// The rest of a path.
#[derive(Clone, Copy)]
struct Step<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Found;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Found, D::Error> {
        reader.deserialize_any(self)
    }
}

impl Step<'_> {
    /// A value that has no fields.
    fn scalar(self, text: impl FnOnce() -> String) -> Found {
        if !self.0.is_empty() {
            return None;
        }
        let text = text();
        Some(if text.is_empty() { Err(ValueError::Empty) } else { Ok(text) })
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Found, E> {
        Ok(self.scalar(|| value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Found, E> {
        Ok(self.scalar(|| value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Found, E> {
        Ok(self.scalar(|| value.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Found, E> {
        Ok(self.scalar(|| value.to_owned()))
    }

    /// null, of which every field is null.
    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Some(Err(ValueError::Empty)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.0.is_empty().then_some(Err(ValueError::NotScalar("an array"))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Found, A::Error> {
        let Some((name, rest)) = self.0.split_first() else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Some(Err(ValueError::NotScalar("an object"))));
        };
        // A field that is missing is null; of several with one name the last counts.
        let mut found = Some(Err(ValueError::Empty));
        while let Some(Name(key)) = fields.next_key()? {
            if *key == **name {
                found = fields.next_value_seed(Step(rest))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A field's name, without a copy where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
pub(super) use tests::any_json;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::partition::query::Query;

    #[test]
    fn only_plain_paths_take_the_short_way() {
        for text in [".a", ".a.b_2", " ._ "] {
            assert!(Path::parse(text).is_some(), "{text}");
        }
        for text in [".", "a", ".a[0]", ".a?", "..a", ".a.", ".\"a\"", ".a | .b", ".1", ".ä", ".a-b"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }

    /// As text, for no value of serde has numbers out of its range, lone surrogates or several fields with one name.
    pub fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(String::from("null")),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<u64>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| Value::from(value).to_string()),
            "[a-b\"\\\\é\n]{0,3}".prop_map(|value| Value::from(value).to_string()),
            prop::sample::select(vec!["1E400", "-1e999", "1e-999", "-0", "1.0", "123456789012345678901234567890"])
                .prop_map(String::from),
            prop::sample::select(vec![r#""\ud800""#, r#""x\uDFFFy""#, r#""\ud800\u0061""#, r#""\ud83d\ude00""#])
                .prop_map(String::from),
        ];
        let name =
            prop::sample::select(vec![r#""a""#, r#""b""#, r#""c""#, r#""\u0061""#, r#""\ud83d\ude00""#, r#""\udc00""#]);
        leaf.prop_recursive(3, 16, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec((name.clone(), inner), 0..4).prop_map(|fields| {
                    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_short_way_finds_what_jq_finds(record in any_json(), text in prop_oneof![Just(".a"), Just(".a.b")], cut in 0..4usize) {
            let record = record.as_bytes();
            let record = if cut == 0 { &record[..record.len() / 2] } else { record };
            let query = Query::compile(text).unwrap();
            let by_program = query.by_program(record);
            prop_assert_eq!(query.value(record), by_program);
        }
    }
}
