//! Schemas: what a delivery stream's records look like as rows, and the registries that hold them.
//!
//! Always true: a [`Schema`] has at least one column, and no two of its columns, partition columns among them, have the same
//! name, whatever their case.
//!
//! [`types`](Type) reads Hive's types; [`avro`] and [`json_schema`] translate other languages' schemas, [`infer`] makes one
//! from records, [`compatibility`] compares two: all of them pure. A [`Registry`] is a place that holds schemas by name and
//! version: `directory`, `glue` or `confluent`. [`SchemaSource`] is what a delivery stream asks: its registry with a
//! time limit, else the `cache`; and its [`Watch`] finds the next version.

pub mod avro;
mod cache;
pub mod compatibility;
mod confluent;
mod directory;
mod document;
mod glue;
mod http;
pub mod infer;
pub mod json_schema;
mod name;
mod registry;
mod sample;
mod source;
mod types;

pub use compatibility::{Change, Comparison, Level};
pub use directory::{DirectoryRegistry, PushError};
pub use document::{to_yaml, to_yaml_with};
pub use name::{NameError, SchemaName, Version};
pub use registry::{Listed, Registry, RegistryError, open};
pub use sample::Sample;
pub use source::{Origin, Resolved, SchemaSource, Watch};
pub use types::{Field, PRECISION_MAX, Type, TypeError};

use std::collections::HashSet;
use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Longer names fit neither Glue nor Hive's metastore.
const NAME_CHARS_MAX: usize = 255;

/// One version of a table, or the columns that stand in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// `lake/web/access`: the registry, then the schema's name in it; `inline` for one that stands in the configuration.
    pub name: String,
    /// As its registry counts; `None` for an inline one.
    pub version: Option<u64>,
    pub table: Table,
}

/// The content of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    columns: Vec<Column>,
    partition_columns: Vec<Column>,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: Type,
    /// A record without a value fails. Hive's columns never are; Avro's and JSON Schema's may be.
    #[serde(rename = "required")]
    pub is_required: bool,
    pub comment: Option<String>,
}

/// Why columns make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TableError {
    /// In columns and partition columns, one after the other; `None` where it is none of them.
    pub column: Option<usize>,
    pub reason: String,
}

impl Schema {
    /// The columns in a stream's own configuration.
    pub fn inline(table: Table) -> Self {
        Self { name: String::from("inline"), version: None, table }
    }

    /// Of all that decides over a record: names, types, and whether they are required, in order. Equal for two versions that
    /// differ in nothing else.
    pub fn fingerprint(&self) -> String {
        self.table.fingerprint()
    }

    pub fn columns(&self) -> &[Column] {
        &self.table.columns
    }

    pub fn partition_columns(&self) -> &[Column] {
        &self.table.partition_columns
    }
}

/// `lake/web/access version 3`
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{} version {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Table {
    pub fn new(columns: Vec<Column>, partition_columns: Vec<Column>) -> Result<Self, TableError> {
        if columns.is_empty() {
            return Err(TableError { column: None, reason: String::from("a schema needs at least one column") });
        }
        let mut names = HashSet::new();
        for (index, column) in columns.iter().chain(&partition_columns).enumerate() {
            let refused = |reason| Err(TableError { column: Some(index), reason });
            if let Err(reason) = check_name(&column.name) {
                return refused(reason);
            }
            if !names.insert(column.name.to_lowercase()) {
                return refused(format!("there is a column `{}` already; case makes no difference", column.name));
            }
            if index >= columns.len() && !column.data_type.is_primitive() {
                return refused(format!("the partition column `{}` is of a nested type", column.name));
            }
        }
        Ok(Self { columns, partition_columns })
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn partition_columns(&self) -> &[Column] {
        &self.partition_columns
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |column: &Column, kind: &str| {
            let Column { name, data_type, is_required, comment: _ } = column;
            hash.update(format!("{kind}\0{name}\0{data_type}\0{is_required}\n"));
        };
        self.columns.iter().for_each(|column| add(column, "column"));
        self.partition_columns.iter().for_each(|column| add(column, "partition"));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Column {
    pub fn nullable(name: impl Into<String>, data_type: Type) -> Self {
        Self { name: name.into(), data_type, is_required: false, comment: None }
    }
}

/// As its text.
impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(String::from("a column needs a name"));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(format!("a column's name has more than {NAME_CHARS_MAX} characters"));
    }
    if name.chars().any(char::is_control) {
        return Err(String::from("a column's name has a control character in it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str) -> Column {
        Column::nullable(name, data_type.parse().unwrap())
    }

    #[test]
    fn a_table_has_columns_of_different_names() {
        let of = |columns: &[&str], partition_columns: &[&str]| {
            let all = |names: &[&str]| names.iter().map(|name| column(name, "int")).collect();
            Table::new(all(columns), all(partition_columns)).map_err(|error| (error.column, error.reason))
        };
        assert!(of(&["a", "b"], &["c"]).is_ok());
        assert_eq!(of(&[], &["c"]).unwrap_err().0, None);
        assert_eq!(of(&["a", "A"], &[]).unwrap_err().0, Some(1));
        assert_eq!(of(&["a", "b"], &["c", "a"]).unwrap_err().0, Some(3));
        assert_eq!(of(&["a", ""], &[]).unwrap_err().0, Some(1));
        assert_eq!(of(&["a\n"], &[]).unwrap_err().0, Some(0));
        assert!(Table::new(vec![column("a", "int")], vec![column("p", "array<int>")]).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_what_decides_over_a_record() {
        let table = |columns: &[&Column], partition_columns: &[&Column]| {
            let owned = |columns: &[&Column]| columns.iter().map(|column| (*column).clone()).collect();
            Table::new(owned(columns), owned(partition_columns)).unwrap().fingerprint()
        };
        let (a, b) = (column("a", "int"), column("b", "string"));
        let before = table(&[&a, &b], &[]);
        assert_ne!(before, table(&[&b, &a], &[]));
        assert_ne!(before, table(&[&a], &[&b]));
        assert_ne!(before, table(&[&a, &column("b", "binary")], &[]));
        assert_ne!(before, table(&[&a, &Column { is_required: true, ..b.clone() }], &[]));
        assert_eq!(before, table(&[&a, &Column { comment: Some(String::from("new")), ..b.clone() }], &[]));
    }
}
