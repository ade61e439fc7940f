//! A table as a file of a directory registry.

use std::fmt::Write;

use super::{Column, Table};

/// The YAML; what [`read_table`](crate::config::read_table) reads as the same table.
pub fn to_yaml(table: &Table) -> String {
    to_yaml_with(table, |_| Vec::new())
}

/// The same with remarks in front of columns.
pub fn to_yaml_with(table: &Table, remarks: impl Fn(&Column) -> Vec<String>) -> String {
    let mut yaml = String::new();
    for (key, columns) in [("columns", table.columns()), ("partition_columns", table.partition_columns())] {
        if columns.is_empty() {
            continue;
        }
        line(&mut yaml, format_args!("{key}:"));
        for column in columns {
            for remark in remarks(column) {
                line(&mut yaml, format_args!("  # {}", remark.replace(char::is_control, " ")));
            }
            line(&mut yaml, format_args!("  - name: {}", scalar(&column.name)));
            line(&mut yaml, format_args!("    type: {}", scalar(&column.data_type.to_string())));
            if column.is_required {
                line(&mut yaml, format_args!("    required: true"));
            }
            if let Some(comment) = &column.comment {
                line(&mut yaml, format_args!("    comment: {}", quoted(comment)));
            }
        }
    }
    yaml
}

/// Writing into a String does not fail.
fn line(yaml: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(yaml, "{text}");
}

/// Without quotes where nobody can take it for anything but this string.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.<>(),".contains(c) || c == ':')
        && !text.ends_with(':')
        && !matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// JSON's strings are YAML's, but for what JSON need not escape.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::read_table;

    fn any_column() -> impl Strategy<Value = Column> {
        let name =
            prop_oneof!["[a-zA-Z_][a-zA-Z0-9_ .:#'\"-]{0,8}", "null|true|1|-|~|ünï|- a|a: b|\\$\\{x\\}|%a|@a|`b"];
        let types = ["int", "array<struct<a:int,`b: c #d`:decimal(3,2)>>", "map<string,timestamp>", "varchar(10)"];
        let comment = prop::option::of(".{0,20}");
        (name, prop::sample::select(types.to_vec()), any::<bool>(), comment).prop_map(
            |(name, data_type, is_required, comment)| Column {
                name,
                data_type: data_type.parse().unwrap(),
                is_required,
                comment,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(columns in prop::collection::vec(any_column(), 1..6), partition in "p[a-z]{0,3}") {
            let partition = Column::nullable(format!("{partition}~"), "date".parse().unwrap());
            let Ok(table) = Table::new(columns, vec![partition]) else { return Ok(()) };
            let yaml = to_yaml(&table);
            let read = read_table(Path::new("1.yaml"), yaml.clone().into_bytes());
            prop_assert_eq!(read, Ok(table), "{}", yaml);
        }
    }
}
