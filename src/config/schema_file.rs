//! One version of a table in a directory registry: a YAML file, read without replacing any `${…}`.

use super::map::Map;
use super::reader::Value;
use crate::schema::{Column, Table, Type, TypeError};

const COLUMN: &[&str] = &["name", "type", "required", "comment"];
const PARTITION_COLUMN: &[&str] = &["name", "type", "comment"];

/// The whole of a file.
pub(super) fn table(root: &Value<'_>) -> Option<Table> {
    let map = root.map(&["columns", "partition_columns"])?;
    let own = map.required("columns").and_then(|value| columns(&value, COLUMN));
    let partition_columns = map.get_or("partition_columns", Vec::new(), |value| columns(value, PARTITION_COLUMN));
    checked(root, own?, partition_columns?)
}

/// A list of columns, as it also stands under `inline`.
pub(super) fn inline(value: &Value<'_>) -> Option<Table> {
    checked(value, columns(value, COLUMN)?, Vec::new())
}

/// A column and where it stands.
type Read<'a> = (Column, Value<'a>);

fn checked(whole: &Value<'_>, columns: Vec<Read<'_>>, partition_columns: Vec<Read<'_>>) -> Option<Table> {
    let (columns, mut places): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let (partition_columns, places_of_partitions): (Vec<_>, Vec<_>) = partition_columns.into_iter().unzip();
    places.extend(places_of_partitions);
    match Table::new(columns, partition_columns) {
        Ok(table) => Some(table),
        Err(error) => {
            let place = error.column.and_then(|index| places.get(index)).unwrap_or(whole);
            place.problem(error.reason, None);
            None
        }
    }
}

fn columns<'a>(value: &Value<'a>, known: &'static [&'static str]) -> Option<Vec<Read<'a>>> {
    let items = value.list("a list of columns, each with `name` and `type`")?;
    // All of them are looked at before the first mistake ends it.
    let columns: Vec<_> = items.into_iter().map(|item| Some((column(&item, known)?, item))).collect();
    columns.into_iter().collect()
}

fn column(value: &Value<'_>, known: &'static [&'static str]) -> Option<Column> {
    let map = value.map(known)?;
    let name = map.required("name").and_then(|value| Some(value.string("a column's name")?.text));
    let data_type = map.required("type").and_then(|value| data_type(&value));
    let is_required =
        if known.contains(&"required") { map.get_or("required", false, Value::boolean) } else { Some(false) };
    let comment = comment(&map);
    Some(Column { name: name?, data_type: data_type?, is_required: is_required?, comment: comment? })
}

fn comment(map: &Map<'_>) -> Option<Option<String>> {
    map.optional("comment", |value| Some(value.string("a string")?.text))
}

fn data_type(value: &Value<'_>) -> Option<Type> {
    let text = value.string("a type as Hive writes it, such as `array<string>`")?;
    match text.text.parse() {
        Ok(data_type) => Some(data_type),
        Err(TypeError { reason, at, .. }) => {
            let offset = text.text.char_indices().nth(at - 1).map_or(text.text.len(), |(offset, _)| offset);
            text.problem_at(offset, format!("this is no column type: {reason}"), None);
            None
        }
    }
}
