//! Schemas: what a delivery stream's records look like as rows.

mod types;

pub use types::{Field, PRECISION_MAX, Type, TypeError};

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub data_type: Type,
    /// A record without a value fails. Hive's columns never are; Avro's and JSON Schema's may be.
    pub is_required: bool,
    pub comment: Option<String>,
}
