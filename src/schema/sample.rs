//! A JSON value whose objects keep their order: that of the columns that are proposed.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Past the integers.
    Large(u64),
    Fraction(f64),
    Text(String),
    Array(Vec<Sample>),
    Object(Vec<(String, Sample)>),
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Sample;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Sample, E> {
        Ok(Sample::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Sample, E> {
        Ok(Sample::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Sample, E> {
        Ok(Sample::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Sample, E> {
        Ok(i64::try_from(value).map_or(Sample::Large(value), Sample::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Sample, E> {
        Ok(Sample::Fraction(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Sample, E> {
        Ok(Sample::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sample, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Sample::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sample, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Sample::Object(members))
    }
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Large(value) => serializer.serialize_u64(*value),
            Self::Fraction(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_it_was_read() {
        let text = r#"{"b":1,"a":[null,true,-1.5,18446744073709551615,"x"],"A":{}}"#;
        let sample: Sample = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&sample).unwrap(), text);
    }
}
