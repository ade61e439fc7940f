//! What may change between two versions of a table.
//!
//! *Backward*: data of the old version reads with the new one, and none of it disappears. *Forward*: data of the new version
//! reads with the old one. Columns are the same if their names are, whatever the case and the order.
//!
//! | change | backward | forward |
//! | --- | --- | --- |
//! | a nullable column, a field of a struct is added | yes | yes |
//! | a required column is added | no: old data has none | yes |
//! | a nullable column, a field is removed, or renamed | no: what it holds disappears | yes |
//! | a required column is removed, or renamed | no | no |
//! | an integer becomes wider | yes | no: it may not fit |
//! | an integer becomes narrower | no: it may not fit | yes |
//! | a required column becomes nullable | yes | no: it may be null |
//! | a nullable column becomes required | no: it may be null | yes |
//! | any other type, other partition columns | no | no |
//! | a comment, the order of columns | yes | yes |

use std::fmt;

use super::{Column, Field, Table, Type};

/// What differs between two versions, and in which directions that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `user.addresses[].zip`
    pub path: String,
    /// What is different, and where it breaks something, what.
    pub reason: String,
    pub is_backward: bool,
    pub is_forward: bool,
}

/// In Confluent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Full,
    Backward,
    Forward,
    None,
}

impl Comparison {
    pub fn of(from: &Table, to: &Table) -> Self {
        let mut comparison = Self { changes: Vec::new() };
        comparison.columns(from.columns(), to.columns());
        comparison.partition_columns(from.partition_columns(), to.partition_columns());
        comparison
    }

    pub fn level(&self) -> Level {
        let (backward, forward) =
            (self.changes.iter().all(|change| change.is_backward), self.changes.iter().all(|change| change.is_forward));
        match (backward, forward) {
            (true, true) => Level::Full,
            (true, false) => Level::Backward,
            (false, true) => Level::Forward,
            (false, false) => Level::None,
        }
    }

    fn columns(&mut self, from: &[Column], to: &[Column]) {
        for column in from {
            let Some(now) = to.iter().find(|now| is_same(&now.name, &column.name)) else {
                let renamed = renamed(column, from, to);
                self.add(
                    &column.name,
                    format!("removed{renamed}: what it holds disappears"),
                    false,
                    !column.is_required,
                );
                continue;
            };
            match (column.is_required, now.is_required) {
                (true, false) => self.add(&column.name, "nullable, was required".to_owned(), true, false),
                (false, true) => {
                    self.add(&column.name, "required, was nullable: old data may be null".to_owned(), false, true)
                }
                (true, true) | (false, false) => {}
            }
            self.types(&column.name, &column.data_type, &now.data_type);
        }
        for column in to.iter().filter(|column| !from.iter().any(|old| is_same(&old.name, &column.name))) {
            match column.is_required {
                false => self.add(&column.name, format!("added, {}", column.data_type), true, true),
                true => {
                    let reason = format!("added, {}, and required: old data has none", column.data_type);
                    self.add(&column.name, reason, false, true);
                }
            }
        }
    }

    fn partition_columns(&mut self, from: &[Column], to: &[Column]) {
        let listed = |columns: &[Column]| {
            let listed = columns.iter().map(|column| format!("{} {}", column.name.to_lowercase(), column.data_type));
            listed.collect::<Vec<_>>().join(", ")
        };
        let (before, now) = (listed(from), listed(to));
        if before != now {
            self.add("partition_columns", format!("({now}), was ({before})"), false, false);
        }
    }

    fn types(&mut self, path: &str, from: &Type, to: &Type) {
        match (from, to) {
            (Type::Array(from), Type::Array(to)) => self.types(&format!("{path}[]"), from, to),
            (Type::Map(from_key, from), Type::Map(to_key, to)) => {
                self.types(&format!("{path}{{key}}"), from_key, to_key);
                self.types(&format!("{path}{{}}"), from, to);
            }
            (Type::Struct(from), Type::Struct(to)) => self.fields(path, from, to),
            _ if from == to => {}
            _ => match (integer_bits(from), integer_bits(to)) {
                (Some(before), Some(now)) if now > before => {
                    self.add(path, format!("widened to {to}, was {from}"), true, false)
                }
                (Some(_), Some(_)) => {
                    self.add(path, format!("narrowed to {to}, was {from}: values may not fit"), false, true)
                }
                _ => self.add(path, format!("{to}, was {from}: another type"), false, false),
            },
        }
    }

    fn fields(&mut self, path: &str, from: &[Field], to: &[Field]) {
        for field in from {
            let path = format!("{path}.{}", field.name);
            match to.iter().find(|now| is_same(&now.name, &field.name)) {
                Some(now) => self.types(&path, &field.data_type, &now.data_type),
                None => self.add(&path, "removed: what it holds disappears".to_owned(), false, true),
            }
        }
        for field in to.iter().filter(|field| !from.iter().any(|old| is_same(&old.name, &field.name))) {
            self.add(&format!("{path}.{}", field.name), format!("added, {}", field.data_type), true, true);
        }
    }

    fn add(&mut self, path: &str, reason: String, is_backward: bool, is_forward: bool) {
        self.changes.push(Change { path: path.to_owned(), reason, is_backward, is_forward });
    }
}

impl Level {
    /// Whether all of `other` is kept, too.
    pub fn is_at_least(self, other: Self) -> bool {
        match other {
            Self::None => true,
            Self::Backward => matches!(self, Self::Backward | Self::Full),
            Self::Forward => matches!(self, Self::Forward | Self::Full),
            Self::Full => self == Self::Full,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::None => "none",
        })
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// A guess for people: the only new column of the same type.
fn renamed(column: &Column, from: &[Column], to: &[Column]) -> String {
    let is_new =
        |now: &&Column| now.data_type == column.data_type && !from.iter().any(|old| is_same(&old.name, &now.name));
    let mut new = to.iter().filter(is_new);
    match (new.next(), new.next()) {
        (Some(new), None) => format!(" (renamed to `{}`?)", new.name),
        _ => String::new(),
    }
}

fn integer_bits(data_type: &Type) -> Option<u8> {
    match data_type {
        Type::TinyInt => Some(8),
        Type::SmallInt => Some(16),
        Type::Int => Some(32),
        Type::BigInt => Some(64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a int, b string not null`; partition columns behind `|`.
    fn table(text: &str) -> Table {
        let columns = |text: &str| {
            let column = |column: &str| {
                let (column, is_required) = column.strip_suffix('!').map_or((column, false), |column| (column, true));
                let (name, data_type) = column.trim().split_once(' ').unwrap();
                Column { is_required, ..Column::nullable(name, data_type.parse().unwrap()) }
            };
            text.split(';').filter(|column| !column.trim().is_empty()).map(column).collect()
        };
        let (own, partitions) = text.split_once('|').unwrap_or((text, ""));
        Table::new(columns(own), columns(partitions)).unwrap()
    }

    #[test]
    fn each_change_counts_in_its_direction() {
        for (from, to, level, said) in [
            ("a int", "a int", Level::Full, ""),
            ("a int; b string", "B string; A int", Level::Full, ""),
            ("a int", "a int; b string", Level::Full, "b: added, string"),
            ("a int", "a int; b string!", Level::Forward, "b: added, string, and required: old data has none"),
            ("a int; b string", "a int", Level::Forward, "b: removed: what it holds disappears"),
            ("a int; b string!", "a int", Level::None, "b: removed: what it holds disappears"),
            (
                "a int; b string",
                "a int; c string",
                Level::Forward,
                "b: removed (renamed to `c`?): what it holds disappears",
            ),
            ("a int", "a bigint", Level::Backward, "a: widened to bigint, was int"),
            ("a int", "a smallint", Level::Forward, "a: narrowed to smallint, was int: values may not fit"),
            ("a int", "a string", Level::None, "a: string, was int: another type"),
            ("a float", "a double", Level::None, "a: double, was float: another type"),
            ("a int!", "a int", Level::Backward, "a: nullable, was required"),
            ("a int", "a int!", Level::Forward, "a: required, was nullable: old data may be null"),
            ("a int!", "a bigint", Level::Backward, "a: widened to bigint, was int"),
            (
                "a array<struct<x:int>>",
                "a array<struct<x:bigint,y:date>>",
                Level::Backward,
                "a[].x: widened to bigint, was int",
            ),
            ("a map<string,struct<x:int,y:int>>", "a map<string,struct<x:int>>", Level::Forward, "a{}.y: removed"),
            ("a map<int,int>", "a map<string,int>", Level::None, "a{key}: string, was int: another type"),
            ("a array<int>", "a int", Level::None, "a: int, was array<int>: another type"),
            ("a int | d date", "a int | d string", Level::None, "partition_columns: (d string), was (d date)"),
            ("a int", "a int | d date", Level::None, "partition_columns: (d date), was ()"),
        ] {
            let comparison = Comparison::of(&table(from), &table(to));
            assert_eq!(comparison.level(), level, "{from} -> {to}: {comparison:?}");
            let all: Vec<_> =
                comparison.changes.iter().map(|change| format!("{}: {}", change.path, change.reason)).collect();
            assert!(all.join("\n").contains(said) && all.is_empty() == said.is_empty(), "{from} -> {to}: {all:?}");
        }
    }

    fn integer() -> impl Strategy<Value = Type> {
        prop::sample::select(vec![Type::TinyInt, Type::SmallInt, Type::Int, Type::BigInt])
    }

    fn any_type() -> impl Strategy<Value = Type> {
        let leaf = prop_oneof![integer(), Just(Type::String), Just(Type::Double)];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| Type::Array(Box::new(item))),
                inner.clone().prop_map(|value| Type::Map(Box::new(Type::String), Box::new(value))),
                prop::collection::btree_map("[a-d]", inner, 1..4).prop_map(|fields| {
                    Type::Struct(fields.into_iter().map(|(name, data_type)| Field { name, data_type }).collect())
                }),
            ]
        })
    }

    fn any_table() -> impl Strategy<Value = Table> {
        prop::collection::btree_map("[a-f]", (any_type(), any::<bool>()), 1..5).prop_map(|columns| {
            let column = |(name, (data_type, is_required))| Column { name, data_type, is_required, comment: None };
            Table::new(columns.into_iter().map(column).collect(), Vec::new()).unwrap()
        })
    }

    /// All that evolution allows, applied everywhere.
    fn evolved(data_type: &Type, step: usize) -> Type {
        match data_type {
            Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => {
                let chain = [Type::TinyInt, Type::SmallInt, Type::Int, Type::BigInt];
                let at = chain.iter().position(|integer| integer == data_type).unwrap();
                chain[(at + step).min(3)].clone()
            }
            Type::Array(item) => Type::Array(Box::new(evolved(item, step))),
            Type::Map(key, value) => Type::Map(key.clone(), Box::new(evolved(value, step))),
            Type::Struct(fields) => {
                let field =
                    |field: &Field| Field { name: field.name.clone(), data_type: evolved(&field.data_type, step) };
                let new = Field { name: format!("new{step}"), data_type: Type::Date };
                Type::Struct(fields.iter().map(field).chain([new]).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn a_version_is_compatible_with_itself(table in any_table()) {
            prop_assert_eq!(Comparison::of(&table, &table).changes, Vec::new());
        }

        #[test]
        fn what_evolution_allows_is_backward_compatible_with_every_version_before(table in any_table(), steps in 1..4usize) {
            let mut versions = vec![table];
            for step in 1..=steps {
                let last = versions.last().unwrap();
                let column = |column: &Column| Column { data_type: evolved(&column.data_type, step), is_required: false, ..column.clone() };
                let new = Column::nullable(format!("new{step}"), Type::String);
                let columns = last.columns().iter().map(column).chain([new]).collect();
                versions.push(Table::new(columns, Vec::new()).unwrap());
            }
            for (index, from) in versions.iter().enumerate() {
                for to in &versions[index..] {
                    let comparison = Comparison::of(from, to);
                    prop_assert!(comparison.level().is_at_least(Level::Backward), "{:?}", comparison);
                }
            }
        }

        #[test]
        fn a_narrower_or_required_column_read_backwards_is_a_wider_or_nullable_one(a in integer(), b in integer(), required: (bool, bool)) {
            let table = |data_type: &Type, is_required| {
                Table::new(vec![Column { is_required, ..Column::nullable("a", data_type.clone()) }], Vec::new()).unwrap()
            };
            let (a, b) = (table(&a, required.0), table(&b, required.1));
            let (there, back) = (Comparison::of(&a, &b).level(), Comparison::of(&b, &a).level());
            prop_assert_eq!(there.is_at_least(Level::Backward), back.is_at_least(Level::Forward));
            prop_assert_eq!(there.is_at_least(Level::Forward), back.is_at_least(Level::Backward));
        }
    }
}
