//! A JSON value whose objects keep their order: that of the columns that are proposed.

use serde::ser::{Serialize, SerializeMap, Serializer};

#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Past the integers.
    Large(u64),
    Fraction(f64),
    /// A number that no double holds, as it stands there.
    Immense(String),
    Text(String),
    Array(Vec<Sample>),
    Object(Vec<(String, Sample)>),
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Large(value) => serializer.serialize_u64(*value),
            Self::Fraction(value) => serializer.serialize_f64(*value),
            // As text, for want of such a number.
            Self::Text(value) | Self::Immense(value) => serializer.serialize_str(value),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}
