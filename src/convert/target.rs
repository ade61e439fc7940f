//! What the values of a column, or of what is in it, are converted to: its type, and what is known of it beforehand.

use std::collections::HashMap;

use crate::schema::Type;

/// A type, with what every value of it asks for.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) data_type: Type,
    /// Bytes that each value takes in the columns, a null too. Text and what is in arrays and maps comes on top.
    pub(super) bytes: usize,
    pub(super) parts: Parts,
}

#[derive(Debug)]
pub(super) enum Parts {
    None,
    Item(Box<Target>),
    Entry(Box<(Target, Target)>),
    Fields(Fields),
}

/// What is in a struct.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) targets: Vec<(String, Target)>,
    /// From a key in the form in which keys are compared to the first field of that name.
    by_key: HashMap<String, usize>,
}

impl Target {
    /// `key` gives a field's name the form in which it is compared with keys.
    pub(super) fn new(data_type: &Type, key: &impl Fn(&str) -> String) -> Self {
        let parts = match data_type {
            Type::Array(item) => Parts::Item(Box::new(Self::new(item, key))),
            Type::Map(name, item) => Parts::Entry(Box::new((Self::new(name, key), Self::new(item, key)))),
            Type::Struct(fields) => {
                let mut by_key = HashMap::with_capacity(fields.len());
                for (index, field) in fields.iter().enumerate() {
                    by_key.entry(key(&field.name)).or_insert(index);
                }
                let target = |field: &crate::schema::Field| (field.name.clone(), Self::new(&field.data_type, key));
                Parts::Fields(Fields { targets: fields.iter().map(target).collect(), by_key })
            }
            _ => Parts::None,
        };
        let values = match data_type {
            Type::Boolean => size_of::<bool>(),
            Type::TinyInt | Type::SmallInt | Type::Int | Type::Date => size_of::<i32>(),
            Type::BigInt | Type::Timestamp => size_of::<i64>(),
            Type::Float => size_of::<f32>(),
            Type::Double => size_of::<f64>(),
            Type::Decimal { .. } => size_of::<i128>(),
            // Where it ends.
            Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary => size_of::<i32>(),
            Type::Array(_) | Type::Map(..) => size_of::<i32>(),
            Type::Struct(_) => 0,
        };
        let inside = match &parts {
            Parts::Fields(fields) => fields.targets.iter().map(|(_, target)| target.bytes).sum(),
            Parts::None | Parts::Item(_) | Parts::Entry(_) => 0,
        };
        // Whether it is null takes a bit, and nothing has a value of less than a byte.
        Self { data_type: data_type.clone(), bytes: (values + inside).max(1), parts }
    }

    /// Keys of maps of this type are text, and are compared as such.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.data_type, Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary)
    }
}

impl Fields {
    /// The field that takes a key, which has the form in which they are compared.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}
