//! To which partition of its destination a record belongs.
//!
//! Always true: a record's partition is a function of the record, of what a transform has set for it, and of the configuration;
//! its values cannot leave the literal prefix, and the key fits the destination.

use std::sync::Arc;

use jiff::Timestamp;

use super::escape::escape;
use super::prefix::{Dynamic, INDEX_BYTES_MAX, IndexTemplate, PrefixTemplate, RecordTimePattern, index_part};
use super::query::{Query, ValueError};
use super::{RecordTime, TimeZoneName};

/// Bytes of a value before it is escaped.
const VALUE_BYTES_MAX: usize = 1024;
/// Of S3's key.
const KEY_BYTES_MAX: usize = 1024;
/// Of a file's or folder's name in a directory.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// A value for records whose index is known. No index is called after it.
const OLD_INDEX: &str = "redriven";

/// Where a record's object lies among those of its destination: values for the prefix's dynamic expressions, escaped, in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<[String]>);

/// Finds the partition of each record.
#[derive(Debug)]
pub struct Partitioner {
    values: Vec<ValueOf>,
    /// Of the key: how long each folder and the name are without values, and which values stand there.
    components: Vec<(usize, Vec<usize>)>,
    component_bytes_max: usize,
    zone: TimeZoneName,
    place: PlaceOf,
}

/// Where values stand.
#[derive(Debug, Clone, Copy)]
enum PlaceOf {
    Key,
    /// With the number of the value that the name begins with.
    Index(Option<usize>),
}

#[derive(Debug)]
enum ValueOf {
    Query(String, Query),
    Lambda(String),
    Time(RecordTime, RecordTimePattern),
}

/// Why a record belongs nowhere: its error output type is `metadata-extraction-failed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("{error} (the key `{key}`, `{query}`)")]
    Query { key: String, query: String, error: ValueError },
    #[error("partitionKeys values must not be null or empty (the key `{key}`, which no transform has set)")]
    NotSet { key: String },
    #[error("the value of `{key}` has {bytes} bytes, more than {VALUE_BYTES_MAX}")]
    TooLong { key: String, bytes: usize },
    #[error("the values make the object's key longer than {KEY_BYTES_MAX} bytes")]
    KeyTooLong,
    #[error("the values make the name of a folder or of the object longer than {0} bytes")]
    NameTooLong(usize),
    #[error("the values make the name of the index longer than {INDEX_BYTES_MAX} bytes")]
    IndexTooLong,
    #[error("{reason} (the value of `{key}`)")]
    NotInIndex { key: String, reason: String },
    #[error("{0}")]
    Time(String),
}

impl Partition {
    /// The values in the order of the template's dynamic expressions, escaped.
    pub fn values(&self) -> &[String] {
        &self.0
    }

    /// Whether it belongs to a time that is over, or has not begun: `times` are those of now.
    pub fn is_of_another_time(&self, times: &[Option<String>]) -> bool {
        self.0.iter().zip(times).any(|(value, time)| time.as_ref().is_some_and(|time| time != value))
    }

    /// As it was journalled.
    pub fn from_values(values: Vec<String>) -> Self {
        Self(values.into())
    }
}

impl Partitioner {
    /// `queries` has a program for each query key of `template`; `suffix_bytes` is what stands behind the prefix in a key, and no
    /// part of a key between two `/` is longer than `component_bytes_max`. `None` where the prefix asks nothing of its records.
    pub fn new(
        template: &PrefixTemplate,
        mut queries: Vec<(String, Query)>,
        record_time: Option<&RecordTime>,
        zone: &TimeZoneName,
        suffix_bytes: usize,
        component_bytes_max: usize,
    ) -> Option<Self> {
        let value_of = |dynamic: &Dynamic| match dynamic {
            Dynamic::Query(name) => {
                let at = queries.iter().position(|(known, _)| known == name)?;
                let (name, query) = queries.swap_remove(at);
                Some(ValueOf::Query(name, query))
            }
            Dynamic::Lambda(name) => Some(ValueOf::Lambda(name.clone())),
            Dynamic::RecordTime(pattern) => Some(ValueOf::Time(record_time?.clone(), pattern.clone())),
        };
        let values: Vec<_> = template.dynamic().map(|(_, dynamic)| dynamic).filter_map(value_of).collect();
        let mut components = template.components();
        if let Some((bytes, _)) = components.last_mut() {
            *bytes += suffix_bytes;
        }
        let place = PlaceOf::Key;
        (!values.is_empty()).then(|| Self { values, components, component_bytes_max, zone: zone.clone(), place })
    }

    /// The same for the name of an index.
    pub fn of_index(
        index: &IndexTemplate,
        queries: Vec<(String, Query)>,
        record_time: Option<&RecordTime>,
    ) -> Option<Self> {
        let template = index.template();
        let found = Self::new(template, queries, record_time, &TimeZoneName::utc(), 0, INDEX_BYTES_MAX)?;
        Some(Self { place: PlaceOf::Index(index.leading_value()), ..found })
    }

    /// Whether a transform has to set keys for it.
    pub fn needs_transform_keys(&self) -> bool {
        self.values.iter().any(|value| matches!(value, ValueOf::Lambda(_)))
    }

    /// The partition of one record. `set` are the keys that transforms have set for it.
    pub fn partition(&self, record: &[u8], set: &[(String, String)]) -> Result<Partition, PartitionError> {
        let mut values = Vec::with_capacity(self.values.len());
        for (number, value_of) in self.values.iter().enumerate() {
            let value = match value_of {
                ValueOf::Query(key, query) => self.placed(number, key, &query_value(key, query, record)?)?,
                ValueOf::Lambda(key) => {
                    let value = set.iter().find(|(name, value)| name == key && !value.is_empty());
                    let (_, value) = value.ok_or_else(|| PartitionError::NotSet { key: key.clone() })?;
                    self.placed(number, key, value)?
                }
                ValueOf::Time(time, pattern) => {
                    let printed = time.print(record, pattern, &self.zone);
                    self.placed_time(number, printed.map_err(|error| PartitionError::Time(error.to_string()))?)?
                }
            };
            values.push(value);
        }
        self.check_length(&values)?;
        Ok(Partition(values.into()))
    }

    /// The partition of records that bring the name of their index with them; `None` where values stand in keys of objects.
    pub fn of_old_index(&self) -> Option<Partition> {
        let values = || vec![OLD_INDEX.to_owned(); self.values.len()];
        matches!(self.place, PlaceOf::Index(_)).then(|| Partition::from_values(values()))
    }

    /// Names and values of the keys that queries find in a record, not escaped: for people.
    pub fn queried(&self, record: &[u8]) -> Vec<(String, String)> {
        let found = |value_of: &ValueOf| match value_of {
            ValueOf::Query(key, query) => Some((key.clone(), query.value(record).ok()?)),
            ValueOf::Lambda(_) | ValueOf::Time(..) => None,
        };
        self.values.iter().filter_map(found).collect()
    }

    /// The values that a record of `now` would have, where they tell a time.
    pub fn times(&self, now: Timestamp) -> Vec<Option<String>> {
        let time = |value_of: &ValueOf| match value_of {
            ValueOf::Time(_, pattern) => Some(pattern.print(now, &self.zone)),
            ValueOf::Query(..) | ValueOf::Lambda(_) => None,
        };
        let times = self.values.iter().map(time);
        times.enumerate().map(|(number, time)| self.placed_time(number, time?).ok()).collect()
    }

    fn placed(&self, number: usize, key: &str, value: &str) -> Result<String, PartitionError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(PartitionError::TooLong { key: key.to_owned(), bytes: value.len() });
        }
        match self.place {
            PlaceOf::Key => Ok(escape(value)),
            PlaceOf::Index(first) => index_part(value, first == Some(number))
                .map_err(|reason| PartitionError::NotInIndex { key: key.to_owned(), reason }),
        }
    }

    fn placed_time(&self, number: usize, time: String) -> Result<String, PartitionError> {
        match self.place {
            PlaceOf::Key => Ok(time),
            PlaceOf::Index(_) => self.placed(number, "recordTime", &time),
        }
    }

    fn check_length(&self, values: &[String]) -> Result<(), PartitionError> {
        let mut key_bytes = self.components.len() - 1;
        for (bytes, of) in &self.components {
            let bytes = bytes + of.iter().map(|&index| values[index].len()).sum::<usize>();
            if bytes > self.component_bytes_max && matches!(self.place, PlaceOf::Index(_)) {
                return Err(PartitionError::IndexTooLong);
            }
            if bytes > self.component_bytes_max {
                return Err(PartitionError::NameTooLong(self.component_bytes_max));
            }
            key_bytes += bytes;
        }
        if key_bytes > KEY_BYTES_MAX { Err(PartitionError::KeyTooLong) } else { Ok(()) }
    }
}

fn query_value(key: &str, query: &Query, record: &[u8]) -> Result<String, PartitionError> {
    let failed = |error| PartitionError::Query { key: key.to_owned(), query: query.text().to_owned(), error };
    query.value(record).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::Rotation;
    use super::super::prefix::PrefixKind;
    use super::*;

    fn partitioner(prefix: &str, suffix_bytes: usize, component_bytes_max: usize) -> Partitioner {
        let template = PrefixTemplate::parse(prefix, PrefixKind::Prefix).unwrap();
        let queries = template.dynamic().filter_map(|(_, dynamic)| match dynamic {
            Dynamic::Query(name) => Some((name.clone(), Query::compile(&format!(".{name}")).unwrap())),
            Dynamic::Lambda(_) | Dynamic::RecordTime(_) => None,
        });
        let queries = queries.collect();
        Partitioner::new(&template, queries, None, &TimeZoneName::utc(), suffix_bytes, component_bytes_max).unwrap()
    }

    fn of(partitioner: &Partitioner, a: &str, b: &str) -> Result<Vec<String>, PartitionError> {
        let record = serde_json::json!({ "a": a, "b": b }).to_string();
        let partition = partitioner.partition(record.as_bytes(), &[(String::from("b"), b.to_owned())])?;
        Ok(partition.values().to_vec())
    }

    #[test]
    fn values_are_escaped_and_in_the_order_of_the_prefix() {
        let both = partitioner("b=!{partitionKeyFromLambda:b}/a=!{partitionKeyFromQuery:a}/", 50, 255);
        assert_eq!(of(&both, "x/y", ".."), Ok(vec![String::from("%2E%2E"), String::from("x%2Fy")]));
        assert_eq!(of(&both, "x", ""), Err(PartitionError::NotSet { key: String::from("b") }));
        let error = of(&both, "", "x").unwrap_err().to_string();
        assert_eq!(error, "partitionKeys values must not be null or empty (the key `a`, `.a`)");
    }

    #[test]
    fn a_value_has_at_most_1024_bytes_and_the_key_too() {
        let query = partitioner("!{partitionKeyFromQuery:a}/", 0, 2000);
        assert!(of(&query, &"ä".repeat(511), "").is_ok());
        let long = |bytes| Err(PartitionError::TooLong { key: String::from("a"), bytes });
        assert_eq!(of(&query, &"ä".repeat(513), ""), long(1026));
        assert_eq!(of(&query, &"x".repeat(1025), ""), long(1025));
        let lambda = partitioner("!{partitionKeyFromLambda:b}/", 0, 2000);
        assert!(matches!(of(&lambda, "", &"x".repeat(1025)), Err(PartitionError::TooLong { bytes: 1025, .. })));
        // With its slash.
        assert!(of(&query, &"x".repeat(1023), "").is_ok());
        assert_eq!(of(&query, &"x".repeat(1024), ""), Err(PartitionError::KeyTooLong));
        // As it is escaped.
        assert_eq!(of(&query, &"/".repeat(342), ""), Err(PartitionError::KeyTooLong));
    }

    #[test]
    fn a_folders_and_an_objects_name_fit_the_file_system() {
        let folder = partitioner("day=!{partitionKeyFromQuery:a}/", 60, 255);
        assert!(of(&folder, &"x".repeat(251), "").is_ok());
        assert_eq!(of(&folder, &"x".repeat(252), ""), Err(PartitionError::NameTooLong(255)));
        let name = partitioner("day/!{partitionKeyFromQuery:a}-", 60, 255);
        assert!(of(&name, &"x".repeat(194), "").is_ok());
        assert_eq!(of(&name, &"x".repeat(195), ""), Err(PartitionError::NameTooLong(255)));
    }

    fn of_index(index: &str, rotation: Rotation) -> Partitioner {
        let queries = vec![("k".to_owned(), Query::compile(".k").unwrap())];
        Partitioner::of_index(&IndexTemplate::parse(index, rotation).unwrap(), queries, None).unwrap()
    }

    #[test]
    fn a_value_that_cannot_stand_in_the_name_of_an_index_fails_its_record_alone() {
        let behind = of_index("logs-!{partitionKeyFromQuery:k}", Rotation::Day);
        assert_eq!(behind.of_old_index().map(|partition| partition.values().len()), Some(1));
        let first = of_index("!{partitionKeyFromQuery:k}-logs", Rotation::None);
        for (value, expected) in [("acme", "acme"), ("ACME-1", "acme-1"), ("é.É", "é.é")] {
            let record = format!(r#"{{"k":"{value}"}}"#);
            for place in [&behind, &first] {
                assert_eq!(place.partition(record.as_bytes(), &[]).unwrap().values(), [expected]);
            }
        }
        let failure = |place: &Partitioner, value: &str| {
            let record = serde_json::json!({ "k": value }).to_string();
            place.partition(record.as_bytes(), &[]).expect_err(value).to_string()
        };
        for value in ["a/b", "a b", "a,b", "a\"b", "a:b", "a#", "*"] {
            assert!(failure(&behind, value).contains("cannot stand in the name of an index"), "{value}");
        }
        assert!(behind.partition(br#"{"k":"_a"}"#, &[]).is_ok(), "not at the beginning");
        for value in ["_a", "-a", "+a", ".a", ".."] {
            assert!(failure(&first, value).contains("cannot begin with"), "{value}");
        }
        // `logs-` and `-yyyy-MM-dd` take 16 bytes.
        assert!(behind.partition(format!(r#"{{"k":"{}"}}"#, "x".repeat(239)).as_bytes(), &[]).is_ok());
        assert!(failure(&behind, &"x".repeat(240)).contains("longer than 255"));
    }
}
