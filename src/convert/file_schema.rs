//! The columns' types in Parquet, and in the Arrow arrays on the way there.
//!
//! Everything is optional, but a map's keys. Lists have three levels (`list.element`), maps are `key_value`. Decimals are
//! FIXED_LEN_BYTE_ARRAY with the fewest bytes, which is what Firehose and Hive write and every reader knows; INT32 and INT64
//! would be a little faster, and old Hive cannot read them. In Arrow, text is binary (it is UTF-8 already, nobody needs to look
//! again), and dates, times and small integers are the integers that Parquet stores.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type as ParquetType, TypePtr};

use crate::schema::{Column, Type};

use super::parquet_options::TimestampType;

/// As Hive's and Firehose's files have it.
const ROOT: &str = "hive_schema";

/// A table's schema, ready to be written.
#[derive(Debug, Clone)]
pub struct FileSchema {
    pub(super) root: TypePtr,
    pub(super) arrow: SchemaRef,
    pub(super) leaves: Vec<Leaf>,
    pub(super) timestamps: TimestampType,
}

/// A column that has values, within the columns that have parts.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) path: ColumnPath,
    /// The way to it: the column's index, then for each level which part.
    pub(super) way: Vec<usize>,
    pub(super) data_type: Type,
}

impl FileSchema {
    /// # Errors
    ///
    /// None that a [`Type`] can cause; the library has them.
    pub fn new(columns: &[Column], timestamps: TimestampType) -> Result<Self, ParquetError> {
        let (mut fields, mut arrow, mut ways) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in columns.iter().enumerate() {
            let (name, data_type) = (column.name.as_str(), &column.data_type);
            fields.push(Arc::new(parquet_type(name, data_type, Repetition::OPTIONAL, timestamps)?));
            arrow.push(arrow_field(name, data_type, true));
            leaves(data_type, &mut vec![index], &mut ways);
        }
        let root: TypePtr = Arc::new(ParquetType::group_type_builder(ROOT).with_fields(fields).build()?);
        let descriptor = SchemaDescriptor::new(Arc::clone(&root));
        let leaves = descriptor.columns().iter().zip(ways);
        let leaves =
            leaves.map(|(known, (way, data_type))| Leaf { path: known.path().clone(), way, data_type }).collect();
        Ok(Self { root, arrow: Arc::new(ArrowSchema::new(arrow)), leaves, timestamps })
    }

    /// Whether Arrow's writer cannot write the leaf.
    pub(super) fn is_int96(&self, leaf: &Leaf) -> bool {
        self.timestamps == TimestampType::Int96 && leaf.data_type == Type::Timestamp
    }
}

fn parquet_type(
    name: &str,
    data_type: &Type,
    repetition: Repetition,
    timestamps: TimestampType,
) -> Result<ParquetType, ParquetError> {
    let primitive = |physical| ParquetType::primitive_type_builder(name, physical).with_repetition(repetition);
    let integer = |bit_width| {
        let logical = LogicalType::integer(bit_width, true);
        primitive(Physical::INT32).with_logical_type(Some(logical))
    };
    match data_type {
        Type::Boolean => primitive(Physical::BOOLEAN).build(),
        Type::TinyInt => integer(8).build(),
        Type::SmallInt => integer(16).build(),
        Type::Int => primitive(Physical::INT32).build(),
        Type::BigInt => primitive(Physical::INT64).build(),
        Type::Float => primitive(Physical::FLOAT).build(),
        Type::Double => primitive(Physical::DOUBLE).build(),
        &Type::Decimal { precision, scale } => {
            let (precision, scale) = (i32::from(precision), i32::from(scale));
            primitive(Physical::FIXED_LEN_BYTE_ARRAY)
                .with_length(decimal_bytes(precision))
                .with_logical_type(Some(LogicalType::decimal(scale, precision)))
                .with_precision(precision)
                .with_scale(scale)
                .build()
        }
        Type::String | Type::Char(_) | Type::Varchar(_) => {
            primitive(Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build()
        }
        Type::Binary => primitive(Physical::BYTE_ARRAY).build(),
        Type::Date => primitive(Physical::INT32).with_logical_type(Some(LogicalType::Date)).build(),
        Type::Timestamp => match timestamps {
            TimestampType::Int96 => primitive(Physical::INT96).build(),
            TimestampType::Int64Micros => {
                let logical = LogicalType::timestamp(true, TimeUnit::MICROS);
                primitive(Physical::INT64).with_logical_type(Some(logical)).build()
            }
        },
        Type::Array(item) => {
            let element = parquet_type("element", item, Repetition::OPTIONAL, timestamps)?;
            let list = repeated("list", vec![element])?;
            group(name, repetition, vec![list]).with_logical_type(Some(LogicalType::List)).build()
        }
        Type::Map(key, value) => {
            let key = parquet_type("key", key, Repetition::REQUIRED, timestamps)?;
            let value = parquet_type("value", value, Repetition::OPTIONAL, timestamps)?;
            let entries = repeated("key_value", vec![key, value])?;
            group(name, repetition, vec![entries]).with_logical_type(Some(LogicalType::Map)).build()
        }
        Type::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| parquet_type(&field.name, &field.data_type, Repetition::OPTIONAL, timestamps));
            group(name, repetition, fields.collect::<Result<_, _>>()?).with_converted_type(ConvertedType::NONE).build()
        }
    }
}

fn group(name: &str, repetition: Repetition, fields: Vec<ParquetType>) -> parquet::schema::types::GroupTypeBuilder<'_> {
    let fields = fields.into_iter().map(Arc::new).collect();
    ParquetType::group_type_builder(name).with_repetition(repetition).with_fields(fields)
}

fn repeated(name: &str, fields: Vec<ParquetType>) -> Result<ParquetType, ParquetError> {
    group(name, Repetition::REPEATED, fields).build()
}

/// The fewest bytes that hold so many digits and a sign.
fn decimal_bytes(precision: i32) -> i32 {
    (1..16).find(|bytes| (10f64.powi(precision)).log2() < f64::from(8 * bytes - 1)).unwrap_or(16)
}

fn arrow_field(name: &str, data_type: &Type, is_nullable: bool) -> Field {
    Field::new(name, arrow_type(data_type), is_nullable)
}

pub(super) fn arrow_type(data_type: &Type) -> DataType {
    match data_type {
        Type::Boolean => DataType::Boolean,
        Type::TinyInt | Type::SmallInt | Type::Int | Type::Date => DataType::Int32,
        Type::BigInt | Type::Timestamp => DataType::Int64,
        Type::Float => DataType::Float32,
        Type::Double => DataType::Float64,
        // Types have at most 38 digits.
        &Type::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
        Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary => DataType::Binary,
        Type::Array(item) => DataType::List(Arc::new(arrow_field("element", item, true))),
        Type::Map(key, value) => {
            let entries = vec![arrow_field("key", key, false), arrow_field("value", value, true)];
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries.into()), false)), false)
        }
        Type::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| arrow_field(&field.name, &field.data_type, true)).collect();
            DataType::Struct(fields.into())
        }
    }
}

fn leaves(data_type: &Type, way: &mut Vec<usize>, out: &mut Vec<(Vec<usize>, Type)>) {
    let mut part = |index: usize, data_type: &Type| {
        way.push(index);
        leaves(data_type, way, out);
        way.pop();
    };
    match data_type {
        Type::Array(item) => part(0, item),
        Type::Map(key, value) => {
            part(0, key);
            part(1, value);
        }
        Type::Struct(fields) => fields.iter().enumerate().for_each(|(index, field)| part(index, &field.data_type)),
        primitive => out.push((way.clone(), primitive.clone())),
    }
}

#[cfg(test)]
mod tests {
    use parquet::schema::printer::print_schema;

    use super::*;

    fn message(columns: &[(&str, &str)], timestamps: TimestampType) -> String {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, data_type)| Column {
                name: (*name).to_owned(),
                data_type: data_type.parse().unwrap(),
                is_required: false,
                comment: None,
            })
            .collect();
        let schema = FileSchema::new(&columns, timestamps).unwrap();
        let mut out = Vec::new();
        print_schema(&mut out, &schema.root);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_has_the_parquet_type_that_readers_expect() {
        let every = [
            ("a_boolean", "boolean"),
            ("a_tinyint", "tinyint"),
            ("a_smallint", "smallint"),
            ("an_int", "int"),
            ("a_bigint", "bigint"),
            ("a_float", "float"),
            ("a_double", "double"),
            ("a_decimal", "decimal(10,2)"),
            ("a_string", "string"),
            ("a_char", "char(3)"),
            ("a_varchar", "varchar(10)"),
            ("a_binary", "binary"),
            ("a_date", "date"),
            ("a_timestamp", "timestamp"),
            ("an_array", "array<array<int>>"),
            ("a_map", "map<string,struct<x:double,y:timestamp>>"),
            ("a_struct", "struct<a:int,b:array<string>>"),
        ];
        assert_eq!(message(&every, TimestampType::Int64Micros), include_str!("golden/every_type.txt"));
        let int96 = message(&every, TimestampType::Int96);
        let expected = include_str!("golden/every_type.txt")
            .replace("INT64 a_timestamp (TIMESTAMP(MICROS,true))", "INT96 a_timestamp")
            .replace("INT64 y (TIMESTAMP(MICROS,true))", "INT96 y");
        assert_eq!(int96, expected);
    }

    #[test]
    fn a_decimal_has_hives_number_of_bytes() {
        let bytes: Vec<_> = (1..=38).map(decimal_bytes).collect();
        let expected = [
            1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14,
            14, 15, 15, 16, 16, 16,
        ];
        assert_eq!(bytes, expected);
    }
}
