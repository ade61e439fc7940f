//! Our columns as Arrow arrays, without copying what is in them.

use std::sync::Arc;

use arrow_array::types::Decimal128Type;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};

use super::column::{Column, Offsets, Validity, Values};

/// The column as an array of the type that [`super::file_schema::arrow_type`] has for it.
pub(super) fn array(column: Column, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let length = column.len();
    let nulls = nulls(column.validity, length);
    Ok(match (column.values, data_type) {
        (Values::Boolean(values), _) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
        (Values::Int(values), _) => primitive::<Int32Type>(values, nulls)?,
        (Values::Long(values), _) => primitive::<Int64Type>(values, nulls)?,
        (Values::Float(values), _) => primitive::<Float32Type>(values, nulls)?,
        (Values::Double(values), _) => primitive::<Float64Type>(values, nulls)?,
        (Values::Decimal(values), &DataType::Decimal128(precision, scale)) => {
            let array = PrimitiveArray::<Decimal128Type>::try_new(values.into(), nulls)?;
            Arc::new(array.with_precision_and_scale(precision, scale)?)
        }
        (Values::Text(text), _) => {
            Arc::new(BinaryArray::try_new(offsets(text.offsets), Buffer::from_vec(text.bytes), nulls)?)
        }
        (Values::List(ends, items), DataType::List(field)) => {
            let items = array(*items, field.data_type())?;
            Arc::new(ListArray::try_new(field.clone(), offsets(ends), items, nulls)?)
        }
        (Values::Map(ends, entries), DataType::Map(field, _)) => {
            let (keys, values) = *entries;
            let DataType::Struct(fields) = field.data_type() else { return Err(another_type(data_type)) };
            let [key, value] = fields.as_ref() else { return Err(another_type(data_type)) };
            let entries = vec![array(keys, key.data_type())?, array(values, value.data_type())?];
            let entries = StructArray::try_new(fields.clone(), entries, None)?;
            Arc::new(MapArray::try_new(field.clone(), offsets(ends), entries, nulls, false)?)
        }
        (Values::Struct(_, columns), DataType::Struct(fields)) => {
            let arrays = columns.into_iter().zip(fields).map(|(column, field)| array(column, field.data_type()));
            let arrays = arrays.collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, length)?)
        }
        (Values::Decimal(_) | Values::List(..) | Values::Map(..) | Values::Struct(..), _) => {
            return Err(another_type(data_type));
        }
    })
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values.into(), nulls)?))
}

fn nulls(validity: Validity, length: usize) -> Option<NullBuffer> {
    let bits = validity.into_bits()?;
    Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, length)))
}

/// They begin with zero and never fall.
fn offsets(offsets: Offsets) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets.0))
}

/// Columns and types of different schemas.
fn another_type(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column is not of the type {data_type}"))
}
