//! Avro schemas as columns.
//!
//! Always true: what cannot be columns is refused with its path, and nothing is left out. A non-null field of the record is a
//! required column; below that everything is nullable, as it is in Hive.
//!
//! | Avro | column |
//! | --- | --- |
//! | `boolean`, `int`, `long`, `float`, `double`, `string` | `boolean`, `int`, `bigint`, `float`, `double`, `string` |
//! | `bytes`, `fixed` | `binary` |
//! | `enum` | `string` |
//! | `record`, `array`, `map` | `struct`, `array`, `map<string,…>` |
//! | `["null", T]`, `[T, "null"]` | T, nullable |
//! | `date`, `timestamp-millis`, `timestamp-micros`, `decimal` | `date`, `timestamp`, `timestamp`, `decimal(p,s)` |

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::{Column, Field, PRECISION_MAX, Table, Type};

const DEPTH_MAX: usize = 32;
/// Named types may be used again and again, each time with all that is in them.
const TYPES_MAX: usize = 10_000;

/// The columns of a record's schema. The error is a reason for people, with the path.
pub fn table(schema: &str) -> Result<Table, String> {
    let schema: Json = serde_json::from_str(schema).map_err(|error| format!("the schema is no JSON: {error}"))?;
    let mut reader = Reader::default();
    let name = schema["name"].as_str().unwrap_or_default().to_owned();
    let is_record = matches!(schema["type"].as_str(), Some("record" | "error"));
    if !is_record {
        return Err(String::from("the schema is no record, and rows have columns"));
    }
    let Read { data_type, nullable_fields, .. } =
        reader.any(&schema, &Place { path: name, namespace: "", depth: 0 })?;
    let Type::Struct(fields) = data_type else {
        return Err(String::from("the schema is no record, and rows have columns"));
    };
    let docs = schema["fields"].as_array().map_or(&[][..], Vec::as_slice);
    let column = |(index, field): (usize, Field)| Column {
        is_required: !nullable_fields.get(index).copied().unwrap_or(true),
        comment: docs.get(index).and_then(|field| field["doc"].as_str()).map(str::to_owned),
        name: field.name,
        data_type: field.data_type,
    };
    let columns = fields.into_iter().enumerate().map(column).collect();
    Table::new(columns, Vec::new()).map_err(|error| error.to_string())
}

/// Where in the schema something stands.
struct Place<'a> {
    path: String,
    namespace: &'a str,
    depth: usize,
}

impl Place<'_> {
    fn below(&self, step: &str) -> Place<'_> {
        Place { path: format!("{}{step}", self.path), namespace: self.namespace, depth: self.depth + 1 }
    }

    fn refused<T>(&self, reason: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("`{}`: {reason}", self.path))
    }
}

struct Read {
    data_type: Type,
    is_nullable: bool,
    /// Of a record: which of its fields are.
    nullable_fields: Vec<bool>,
}

impl From<Type> for Read {
    fn from(data_type: Type) -> Self {
        Self { data_type, is_nullable: false, nullable_fields: Vec::new() }
    }
}

#[derive(Default)]
struct Reader {
    /// By full name; `None` while one is being read.
    named: HashMap<String, Option<Type>>,
    types: usize,
}

impl Reader {
    fn any(&mut self, schema: &Json, place: &Place<'_>) -> Result<Read, String> {
        self.types += 1;
        if place.depth > DEPTH_MAX || self.types > TYPES_MAX {
            return place.refused(format!("types are nested more than {DEPTH_MAX} deep, or more than {TYPES_MAX}"));
        }
        match schema {
            Json::String(name) => self.by_name(name, place).map(Read::from),
            Json::Array(branches) => self.union(branches, place),
            Json::Object(object) => self.object(object, place),
            Json::Null | Json::Bool(_) | Json::Number(_) => place.refused("a schema is a string, a list or an object"),
        }
    }

    fn union(&mut self, branches: &[Json], place: &Place<'_>) -> Result<Read, String> {
        let others: Vec<&Json> = branches.iter().filter(|branch| branch.as_str() != Some("null")).collect();
        match others.as_slice() {
            [only] => {
                let read = self.any(only, place)?;
                Ok(Read { is_nullable: others.len() < branches.len() || read.is_nullable, ..read })
            }
            [] => place.refused("a column that is always null holds nothing"),
            _ => place.refused("a union of several types is no column; unions are read with `null` only"),
        }
    }

    fn object(&mut self, object: &Map<String, Json>, place: &Place<'_>) -> Result<Read, String> {
        let Some(kind) = object.get("type") else { return place.refused("there is no `type`") };
        let Some(kind) = kind.as_str() else { return self.any(kind, &place.below("")) };
        if let Some(logical) = object.get("logicalType") {
            let logical = logical.as_str().unwrap_or_default();
            return self.logical(logical, kind, object, place).map(Read::from);
        }
        match kind {
            "record" | "error" => self.record(object, place),
            "enum" => self.define(object, place, |_, _| Ok(Read::from(Type::String))),
            "fixed" => self.define(object, place, |_, _| Ok(Read::from(Type::Binary))),
            "array" => {
                let items = object.get("items").unwrap_or(&Json::Null);
                Ok(Type::Array(Box::new(self.any(items, &place.below("[]"))?.data_type)).into())
            }
            "map" => {
                let values = object.get("values").unwrap_or(&Json::Null);
                let values = self.any(values, &place.below("{}"))?.data_type;
                Ok(Type::Map(Box::new(Type::String), Box::new(values)).into())
            }
            name => self.by_name(name, place).map(Read::from),
        }
    }

    fn logical(
        &mut self,
        logical: &str,
        kind: &str,
        object: &Map<String, Json>,
        place: &Place<'_>,
    ) -> Result<Type, String> {
        match (logical, kind) {
            ("date", "int") => Ok(Type::Date),
            ("timestamp-millis" | "timestamp-micros", "long") => Ok(Type::Timestamp),
            ("decimal", "bytes") => decimal(object, place),
            ("decimal", "fixed") => self.define(object, place, |_, place| decimal(object, place).map(Read::from)).map(|read| read.data_type),
            _ => place.refused(format!(
                "the logical type `{logical}` of `{kind}` is no column; there are date, timestamp-millis, timestamp-micros \
                 and decimal"
            )),
        }
    }

    fn record(&mut self, object: &Map<String, Json>, place: &Place<'_>) -> Result<Read, String> {
        self.define(object, place, |reader, place| {
            let Some(Json::Array(list)) = object.get("fields") else {
                return place.refused("the record has no `fields`");
            };
            let (mut fields, mut nullable_fields) = (Vec::new(), Vec::new());
            for field in list {
                let Some(name) = field["name"].as_str() else { return place.refused("a field has no `name`") };
                let below = place.below(&format!(".{name}"));
                if fields.iter().any(|Field { name: other, .. }| other.eq_ignore_ascii_case(name)) {
                    return below.refused("there is such a field already; case makes no difference");
                }
                let Some(field_type) = field.get("type") else { return below.refused("there is no `type`") };
                let read = reader.any(field_type, &below)?;
                fields.push(Field { name: name.to_owned(), data_type: read.data_type });
                nullable_fields.push(read.is_nullable);
            }
            if fields.is_empty() {
                return place.refused("a record without fields holds nothing");
            }
            Ok(Read { data_type: Type::Struct(fields), is_nullable: false, nullable_fields })
        })
    }

    /// Reads a named type, whose namespace counts for all that is in it.
    fn define(
        &mut self,
        object: &Map<String, Json>,
        place: &Place<'_>,
        read: impl FnOnce(&mut Self, &Place<'_>) -> Result<Read, String>,
    ) -> Result<Read, String> {
        let Some(name) = object.get("name").and_then(Json::as_str) else { return place.refused("there is no `name`") };
        let own = object.get("namespace").and_then(Json::as_str).unwrap_or(place.namespace);
        let full_name = full_name(name, own);
        let namespace = full_name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        self.named.insert(full_name.clone(), None);
        let read = read(self, &Place { path: place.path.clone(), namespace, depth: place.depth })?;
        self.named.insert(full_name, Some(read.data_type.clone()));
        Ok(read)
    }

    fn by_name(&mut self, name: &str, place: &Place<'_>) -> Result<Type, String> {
        Ok(match name {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::BigInt,
            "float" => Type::Float,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Binary,
            "null" => return place.refused("a column that is always null holds nothing"),
            _ => match self.named.get(&full_name(name, place.namespace)) {
                Some(Some(data_type)) => {
                    let data_type = data_type.clone();
                    self.types += size(&data_type);
                    if self.types > TYPES_MAX || place.depth + depth(&data_type) > DEPTH_MAX {
                        return place
                            .refused(format!("types are nested more than {DEPTH_MAX} deep, or more than {TYPES_MAX}"));
                    }
                    data_type
                }
                Some(None) => return place.refused(format!("`{name}` holds itself, and columns end somewhere")),
                None => return place.refused(format!("there is no type `{name}`")),
            },
        })
    }
}

fn decimal(object: &Map<String, Json>, place: &Place<'_>) -> Result<Type, String> {
    let number = |key: &str| object.get(key).and_then(Json::as_u64);
    let (precision, scale) = (number("precision").unwrap_or_default(), number("scale").unwrap_or_default());
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=PRECISION_MAX), Ok(scale)) if scale <= precision => Ok(Type::Decimal { precision, scale }),
        _ => place.refused(format!(
            "decimal({precision},{scale}) is none; precision is 1 to {PRECISION_MAX}, scale at most that"
        )),
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn size(data_type: &Type) -> usize {
    match data_type {
        Type::Array(item) => 1 + size(item),
        Type::Map(_, value) => 2 + size(value),
        Type::Struct(fields) => 1 + fields.iter().map(|field| size(&field.data_type)).sum::<usize>(),
        _ => 1,
    }
}

fn depth(data_type: &Type) -> usize {
    match data_type {
        Type::Array(inner) | Type::Map(_, inner) => 1 + depth(inner),
        Type::Struct(fields) => 1 + fields.iter().map(|field| depth(&field.data_type)).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What schemas are made of.
    const WORDS: [&str; 22] = [
        "type",
        "record",
        "name",
        "R",
        "In",
        "fields",
        "items",
        "values",
        "array",
        "map",
        "enum",
        "fixed",
        "null",
        "int",
        "string",
        "logicalType",
        "decimal",
        "precision",
        "scale",
        "bytes",
        "namespace",
        "",
    ];

    fn of_field(field_type: Json) -> Result<(String, bool), String> {
        let schema = json!({ "type": "record", "name": "R", "namespace": "com.acme", "fields": [{ "name": "f", "type": field_type }] });
        let table = table(&schema.to_string())?;
        let column = &table.columns()[0];
        Ok((column.data_type.to_string(), column.is_required))
    }

    #[test]
    fn every_type_that_can_be_a_column_is() {
        let inner = json!({ "type": "record", "name": "In", "fields": [{ "name": "a", "type": ["null", "int"] }, { "name": "b", "type": "long" }] });
        let fixed = json!({ "type": "fixed", "name": "F", "size": 8 });
        for (avro, expected, is_required) in [
            (json!("boolean"), "boolean", true),
            (json!("int"), "int", true),
            (json!("long"), "bigint", true),
            (json!("float"), "float", true),
            (json!("double"), "double", true),
            (json!("string"), "string", true),
            (json!("bytes"), "binary", true),
            (json!({ "type": "string", "avro.java.string": "String" }), "string", true),
            (json!(["null", "string"]), "string", false),
            (json!(["long", "null"]), "bigint", false),
            (json!(["long"]), "bigint", true),
            (json!({ "type": ["null", "long"] }), "bigint", false),
            (json!({ "type": { "type": "int", "logicalType": "date" } }), "date", true),
            (json!({ "type": "long", "logicalType": "timestamp-millis" }), "timestamp", true),
            (json!(["null", { "type": "long", "logicalType": "timestamp-micros" }]), "timestamp", false),
            (json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 }), "decimal(9,2)", true),
            (
                json!({ "type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 18 }),
                "decimal(18,0)",
                true,
            ),
            (fixed, "binary", true),
            (json!({ "type": "enum", "name": "E", "symbols": ["A", "B"] }), "string", true),
            (json!({ "type": "array", "items": ["null", "int"] }), "array<int>", true),
            (
                json!({ "type": "map", "values": { "type": "array", "items": "string" } }),
                "map<string,array<string>>",
                true,
            ),
            (inner, "struct<a:int,b:bigint>", true),
        ] {
            assert_eq!(of_field(avro.clone()), Ok((expected.to_owned(), is_required)), "{avro}");
        }
    }

    #[test]
    fn what_cannot_be_a_column_is_refused_with_its_path() {
        let nested = |field_type: Json| json!({ "type": "array", "items": { "type": "record", "name": "In", "fields": [{ "name": "x", "type": field_type }] } });
        for (avro, path, reason) in [
            (json!(["null", "int", "string"]), "`R.f`", "a union of several types"),
            (json!("null"), "`R.f`", "always null"),
            (json!(["null"]), "`R.f`", "always null"),
            (json!("Unknown"), "`R.f`", "there is no type `Unknown`"),
            (nested(json!(["int", "string"])), "`R.f[].x`", "a union of several types"),
            (
                nested(json!({ "type": "int", "logicalType": "time-millis" })),
                "`R.f[].x`",
                "the logical type `time-millis`",
            ),
            (json!({ "type": "string", "logicalType": "uuid" }), "`R.f`", "`uuid` of `string`"),
            (json!({ "type": "string", "logicalType": "date" }), "`R.f`", "`date` of `string`"),
            (json!({ "type": "bytes", "logicalType": "decimal", "precision": 39 }), "`R.f`", "decimal(39,0)"),
            (json!({ "type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 4 }), "`R.f`", "decimal(3,4)"),
            (json!({ "type": "map", "values": "com.acme.R" }), "`R.f{}`", "holds itself"),
            (json!({ "type": "array" }), "`R.f[]`", "a schema is a string"),
            (json!({ "type": "record", "name": "In", "fields": [] }), "`R.f`", "holds nothing"),
            (
                json!({ "type": "record", "name": "In", "fields": [{ "name": "a", "type": "int" }, { "name": "A", "type": "int" }] }),
                "`R.f.A`",
                "already",
            ),
        ] {
            let error = of_field(avro.clone()).unwrap_err();
            assert!(error.starts_with(path) && error.contains(reason), "{avro}: {error}");
        }
        for schema in ["", "\"string\"", "{}", "{\"type\":\"array\",\"items\":\"int\"}", "[\"null\"]"] {
            assert!(table(schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn named_types_are_found_in_their_namespace() {
        let schema = json!({ "type": "record", "name": "com.acme.R", "fields": [
            { "name": "a", "type": { "type": "record", "name": "Money", "doc": "…", "fields": [{ "name": "cents", "type": "long" }] }, "doc": "the price" },
            { "name": "b", "type": ["null", "Money"] },
            { "name": "c", "type": { "type": "array", "items": "com.acme.Money" } },
        ] });
        let table = table(&schema.to_string()).unwrap();
        let types: Vec<_> = table.columns().iter().map(|column| column.data_type.to_string()).collect();
        assert_eq!(types, ["struct<cents:bigint>", "struct<cents:bigint>", "array<struct<cents:bigint>>"]);
        assert_eq!(table.columns()[0].comment.as_deref(), Some("the price"));
    }

    #[test]
    fn a_schema_that_multiplies_itself_ends() {
        let mut fields = vec![
            json!({ "name": "f0", "type": { "type": "record", "name": "T0", "fields": [{ "name": "x", "type": "int" }] } }),
        ];
        for level in 1..40 {
            let below = format!("T{}", level - 1);
            let pair = json!([{ "name": "a", "type": below }, { "name": "b", "type": below }]);
            fields.push(json!({ "name": format!("f{level}"), "type": { "type": "record", "name": format!("T{level}"), "fields": pair } }));
        }
        let schema = json!({ "type": "record", "name": "R", "fields": fields });
        assert!(table(&schema.to_string()).unwrap_err().contains("nested"));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let words = WORDS.to_vec();
        let leaf = prop_oneof![
            prop::sample::select(words.clone()).prop_map(Json::from),
            (0..40u64).prop_map(Json::from),
            Just(Json::Null),
            Just(json!(true)),
        ];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            let key = prop::sample::select(words.clone()).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(key, inner, 0..6)
                    .prop_map(|object| Json::Object(object.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_schema_is_read_or_refused(any in any_json()) {
            let _ = table(&any.to_string());
            let _ = of_field(any);
        }
    }
}
