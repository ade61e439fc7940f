//! JSON Schemas as columns: objects, arrays and scalars, of any draft.
//!
//! Always true: what cannot be columns is refused with its path. A property that is `required` and not nullable is a required
//! column; below that everything is nullable. What only narrows values (`minimum`, `pattern`, `enum`) is not looked at: a
//! column does not know it.
//!
//! | JSON Schema | column |
//! | --- | --- |
//! | `boolean`, `integer`, `number`, `string` | `boolean`, `bigint`, `double`, `string` |
//! | `string` with `format: date`, `date-time` | `date`, `timestamp` |
//! | `object` with `properties` | `struct` |
//! | `object` with a schema in `additionalProperties` | `map<string,…>` |
//! | `array` with one schema in `items` | `array` |
//! | `type: [T, "null"]`, `oneOf` or `anyOf` of T and null | T, nullable |
//! | `$ref` into the same schema | what is there |

use serde_json::{Map, Value as Json};

use super::{Column, Field, Table, Type};

const DEPTH_MAX: usize = 32;
/// References may multiply.
const TYPES_MAX: usize = 10_000;

/// Keywords that make one schema of several.
const REFUSED: [&str; 8] =
    ["allOf", "not", "if", "patternProperties", "dependentSchemas", "prefixItems", "$dynamicRef", "$recursiveRef"];

/// The columns of an object's schema. The error is a reason for people, with the path.
pub fn table(schema: &str) -> Result<Table, String> {
    let root: Json = serde_json::from_str(schema).map_err(|error| format!("the schema is no JSON: {error}"))?;
    let mut reader = Reader { root: &root, types: 0 };
    let place = Place { path: String::from("#"), depth: 0 };
    let object = reader.resolved(&root, &place)?.schema;
    let Some(properties) = object.get("properties").and_then(Json::as_object).filter(|all| !all.is_empty()) else {
        return Err(String::from("`#`: the schema is no object with `properties`, and rows have columns"));
    };
    refuse(object, &place)?;
    let required = object.get("required").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let mut columns = Vec::new();
    for (name, property) in properties {
        let read = reader.any(property, &place.below(&format!("/{name}")))?;
        let is_required = !read.is_nullable && required.iter().any(|required| required == name);
        let comment = property["description"].as_str().map(str::to_owned);
        columns.push(Column { name: name.clone(), data_type: read.data_type, is_required, comment });
    }
    Table::new(columns, Vec::new()).map_err(|error| error.to_string())
}

struct Place {
    path: String,
    depth: usize,
}

impl Place {
    fn below(&self, step: &str) -> Self {
        Self { path: format!("{}{step}", self.path), depth: self.depth + 1 }
    }

    fn refused<T>(&self, reason: impl std::fmt::Display) -> Result<T, String> {
        Err(format!("`{}`: {reason}", self.path))
    }
}

struct Read {
    data_type: Type,
    is_nullable: bool,
}

/// A schema behind its references and its null.
struct Resolved<'a> {
    schema: &'a Map<String, Json>,
    is_nullable: bool,
}

struct Reader<'a> {
    root: &'a Json,
    types: usize,
}

impl<'a> Reader<'a> {
    fn any(&mut self, schema: &'a Json, place: &Place) -> Result<Read, String> {
        let Resolved { schema, is_nullable } = self.resolved(schema, place)?;
        refuse(schema, place)?;
        let (kind, is_null_too) = kind(schema, place)?;
        let data_type = match kind {
            "boolean" => Type::Boolean,
            "integer" => Type::BigInt,
            "number" => Type::Double,
            "string" => match schema.get("format").and_then(Json::as_str) {
                Some("date") => Type::Date,
                Some("date-time") => Type::Timestamp,
                _ => Type::String,
            },
            "array" => match schema.get("items") {
                Some(items @ Json::Object(_)) => Type::Array(Box::new(self.any(items, &place.below("/[]"))?.data_type)),
                _ => return place.refused("an array needs one schema in `items`"),
            },
            "object" => self.object(schema, place)?,
            "null" => return place.refused("a column that is always null holds nothing"),
            other => return place.refused(format!("there is no type `{other}`")),
        };
        Ok(Read { data_type, is_nullable: is_nullable || is_null_too })
    }

    fn object(&mut self, schema: &'a Map<String, Json>, place: &Place) -> Result<Type, String> {
        let properties = schema.get("properties").and_then(Json::as_object).filter(|all| !all.is_empty());
        match (properties, schema.get("additionalProperties")) {
            (Some(_), Some(Json::Object(more))) if !more.is_empty() => place.refused(
                "an object with `properties` and a schema in `additionalProperties` is neither struct nor map",
            ),
            (Some(properties), _) => {
                let mut fields: Vec<Field> = Vec::new();
                for (name, property) in properties {
                    let below = place.below(&format!("/{name}"));
                    if fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)) {
                        return below.refused("there is such a property already; case makes no difference");
                    }
                    if name.is_empty() || name.contains('`') || name.contains(char::is_control) {
                        return below.refused("a struct's field cannot have this name");
                    }
                    fields.push(Field { name: name.clone(), data_type: self.any(property, &below)?.data_type });
                }
                Ok(Type::Struct(fields))
            }
            (None, Some(values @ Json::Object(schema))) if !schema.is_empty() => {
                let values = self.any(values, &place.below("/{}"))?.data_type;
                Ok(Type::Map(Box::new(Type::String), Box::new(values)))
            }
            (None, _) => place.refused("an object needs `properties`, or a schema in `additionalProperties`"),
        }
    }

    /// Follows `$ref`, and takes null away from `oneOf` and `anyOf`.
    fn resolved(&mut self, mut schema: &'a Json, place: &Place) -> Result<Resolved<'a>, String> {
        let mut is_nullable = false;
        loop {
            self.types += 1;
            if place.depth > DEPTH_MAX || self.types > TYPES_MAX {
                return place.refused(format!(
                    "types are nested more than {DEPTH_MAX} deep, or more than {TYPES_MAX}; one that holds itself is no column"
                ));
            }
            let Json::Object(object) = schema else { return place.refused("a schema of a column is an object") };
            if let Some(reference) = object.get("$ref") {
                schema = self.referred(reference.as_str().unwrap_or_default(), place)?;
                continue;
            }
            let Some((word, Json::Array(branches))) =
                ["oneOf", "anyOf"].iter().find_map(|word| Some((*word, object.get(*word)?)))
            else {
                return Ok(Resolved { schema: object, is_nullable });
            };
            let others: Vec<&Json> = branches.iter().filter(|branch| branch["type"] != "null").collect();
            let [only] = others.as_slice() else {
                return place.refused(format!("`{word}` of several types is no column; it is read with null only"));
            };
            is_nullable |= others.len() < branches.len();
            schema = only;
        }
    }

    fn referred(&self, reference: &str, place: &Place) -> Result<&'a Json, String> {
        let Some(pointer) = reference.strip_prefix('#') else {
            return place
                .refused(format!("`{reference}` refers to another schema, and such references are not followed"));
        };
        match self.root.pointer(pointer) {
            Some(schema) => Ok(schema),
            None => place.refused(format!("there is nothing at `{reference}`")),
        }
    }
}

fn refuse(schema: &Map<String, Json>, place: &Place) -> Result<(), String> {
    match REFUSED.iter().find(|word| schema.contains_key(**word)) {
        Some(word) => place.refused(format!("`{word}` is not read")),
        None => Ok(()),
    }
}

/// The one type besides null, and whether null is one. What is left out is told from the other keywords.
fn kind<'a>(schema: &'a Map<String, Json>, place: &Place) -> Result<(&'a str, bool), String> {
    match schema.get("type") {
        Some(Json::String(kind)) => Ok((kind, false)),
        Some(Json::Array(kinds)) => {
            let others: Vec<&str> = kinds.iter().filter_map(Json::as_str).filter(|kind| *kind != "null").collect();
            match others.as_slice() {
                [only] => Ok((only, others.len() < kinds.len())),
                [] => Ok(("null", true)),
                _ => place.refused("several types are no column; `type` is read with `null` only"),
            }
        }
        Some(_) => place.refused("`type` is a string or a list"),
        None if schema.contains_key("properties") || schema.contains_key("additionalProperties") => {
            Ok(("object", false))
        }
        None if schema.contains_key("items") => Ok(("array", false)),
        None => match schema.get("enum").and_then(Json::as_array) {
            Some(values) if !values.is_empty() && values.iter().all(Json::is_string) => Ok(("string", false)),
            _ => place.refused("there is no `type`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What schemas are made of.
    const WORDS: [&str; 20] = [
        "type",
        "object",
        "properties",
        "additionalProperties",
        "items",
        "array",
        "string",
        "integer",
        "null",
        "oneOf",
        "anyOf",
        "$ref",
        "#/definitions/Loop",
        "#",
        "#/properties/p",
        "enum",
        "required",
        "format",
        "date",
        "",
    ];

    fn of_property(property: Json) -> Result<(String, bool), String> {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object", "properties": { "p": property }, "required": ["p"], "additionalProperties": false,
            "definitions": { "Id": { "type": "integer" }, "Loop": { "type": "array", "items": { "$ref": "#/definitions/Loop" } } },
        });
        let table = table(&schema.to_string())?;
        Ok((table.columns()[0].data_type.to_string(), table.columns()[0].is_required))
    }

    #[test]
    fn every_type_that_can_be_a_column_is() {
        for (property, expected, is_required) in [
            (json!({ "type": "boolean" }), "boolean", true),
            (json!({ "type": "integer", "minimum": 0 }), "bigint", true),
            (json!({ "type": "number" }), "double", true),
            (json!({ "type": "string", "pattern": "^a" }), "string", true),
            (json!({ "type": "string", "format": "date" }), "date", true),
            (json!({ "type": "string", "format": "date-time" }), "timestamp", true),
            (json!({ "type": "string", "format": "email" }), "string", true),
            (json!({ "enum": ["a", "b"] }), "string", true),
            (json!({ "type": ["null", "integer"] }), "bigint", false),
            (json!({ "oneOf": [{ "type": "null" }, { "type": "string" }] }), "string", false),
            (json!({ "anyOf": [{ "$ref": "#/definitions/Id" }, { "type": "null" }] }), "bigint", false),
            (json!({ "$ref": "#/definitions/Id" }), "bigint", true),
            (json!({ "type": "array", "items": { "type": "number" } }), "array<double>", true),
            (
                json!({ "type": "object", "properties": { "a": { "type": "string" }, "b c": { "type": "integer" } }, "required": ["a"] }),
                "struct<a:string,`b c`:bigint>",
                true,
            ),
            (json!({ "type": "object", "additionalProperties": { "type": "boolean" } }), "map<string,boolean>", true),
        ] {
            assert_eq!(of_property(property.clone()), Ok((expected.to_owned(), is_required)), "{property}");
        }
    }

    #[test]
    fn what_cannot_be_a_column_is_refused_with_its_path() {
        let nested =
            |property: Json| json!({ "type": "array", "items": { "type": "object", "properties": { "x": property } } });
        for (property, path, reason) in [
            (json!({}), "`#/p`", "there is no `type`"),
            (json!(true), "`#/p`", "a schema of a column is an object"),
            (json!({ "type": ["integer", "string"] }), "`#/p`", "several types"),
            (json!({ "type": "null" }), "`#/p`", "always null"),
            (json!({ "type": "array" }), "`#/p`", "an array needs one schema"),
            (json!({ "type": "array", "items": [{ "type": "string" }] }), "`#/p`", "an array needs one schema"),
            (json!({ "type": "object" }), "`#/p`", "an object needs `properties`"),
            (json!({ "allOf": [{ "type": "string" }] }), "`#/p`", "`allOf` is not read"),
            (json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] }), "`#/p`", "`oneOf` of several types"),
            (json!({ "$ref": "other.json#/Id" }), "`#/p`", "refers to another schema"),
            (json!({ "$ref": "#/definitions/No" }), "`#/p`", "there is nothing at"),
            (nested(json!({ "type": "wat" })), "`#/p/[]/x`", "there is no type `wat`"),
            (
                json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": { "type": "string" } }),
                "`#/p`",
                "neither struct nor map",
            ),
            (json!({ "$ref": "#/definitions/Loop" }), "`#/p/[]", "one that holds itself"),
        ] {
            let error = of_property(property.clone()).unwrap_err();
            assert!(error.starts_with(path) && error.contains(reason), "{property}: {error}");
        }
        let circle = json!({ "$ref": "#/definitions/A", "definitions": { "A": { "$ref": "#/definitions/A" } } });
        for schema in [String::new(), String::from("{}"), json!({ "type": "string" }).to_string(), circle.to_string()] {
            assert!(table(&schema).is_err(), "{schema}");
        }
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
            let _ = of_property(any);
        }
    }
}
