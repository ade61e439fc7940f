//! Which columns of a schema a file has.

use serde::Serialize;

use super::{FormatConversionConfig, OnUnknownField};
use crate::schema::{Column, Schema, Type};

/// What becomes of partition columns: those under the schema's `partition_columns`, and those that stand in the destination's
/// prefix as `name=…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PartitionColumns {
    /// They are in the path alone.
    Omit,
    /// They are in the file, too; after all others those that are no ordinary columns of the schema.
    Keep,
}

/// The columns of a schema that are in the file, and those that are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumns {
    pub written: Vec<Column>,
    /// Fields of these names are known, though nothing is made of them.
    pub left_out: Vec<String>,
}

impl FormatConversionConfig {
    /// The columns of files in whose path these columns stand: `PrefixTemplate::hive_columns`. Where nothing is chosen, ordinary columns are in the file and partition columns
    /// are not, as the schema has it.
    pub fn file_columns(&self, schema: &Schema, in_path: &[String]) -> FileColumns {
        let is_in_path = |column: &Column| in_path.iter().any(|name| is_same(name, &column.name));
        let (own, of_partitions) = (schema.columns().to_vec(), schema.partition_columns().to_vec());
        let (written, left_out): (Vec<_>, Vec<_>) = match self.partition_columns {
            None => (own, of_partitions),
            Some(PartitionColumns::Keep) => ([own, of_partitions].concat(), Vec::new()),
            Some(PartitionColumns::Omit) => {
                let (in_path, written) = own.into_iter().partition(is_in_path);
                (written, [in_path, of_partitions].concat())
            }
        };
        FileColumns { written, left_out: left_out.into_iter().map(|column| column.name).collect() }
    }

    /// What the configuration says of columns that files by this schema do not have, or have otherwise.
    pub fn misfits(&self, schema: &Schema, columns: &FileColumns) -> Vec<String> {
        if columns.written.is_empty() {
            return vec![format!("`partition_columns: omit` leaves no column of {schema} for the file")];
        }
        let has = |name: &str| columns.written.iter().find(|column| is_same(&column.name, name));
        let is_left_out = |name: &str| columns.left_out.iter().any(|column| is_same(column, name));
        let missing = |key: &'static str, column: &str| match has(column) {
            Some(_) => None,
            None if is_left_out(column) => {
                Some(format!("`{key}` names a column `{column}` that is a partition column and not in the file"))
            }
            None => Some(format!("`{key}` names a column `{column}` that {schema} does not have")),
        };
        let mapped = self.input.column_to_json_key.keys().filter(|column| !is_left_out(column));
        let mapped = mapped.filter_map(|column| missing("column_to_json_key", column));
        let filtered = self.parquet.bloom_filters.iter().filter_map(|column| missing("bloom_filters", column));
        let rescue = match &self.on_unknown_field {
            OnUnknownField::Rescue { column } => match has(column) {
                Some(found) if found.data_type == Type::String && !found.is_required => None,
                Some(_) => Some(format!("the column `{column}` for unknown fields is no nullable string in {schema}")),
                None => missing("rescue", column),
            },
            OnUnknownField::Ignore | OnUnknownField::ErrorOutput => None,
        };
        mapped.chain(filtered).chain(rescue).collect()
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
