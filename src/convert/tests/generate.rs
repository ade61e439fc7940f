//! Records as programs write them, as nobody should, and as a disk leaves them.

use proptest::prelude::*;
use proptest::sample::Index;

use super::schema;
use crate::schema::Column;

/// One column of each kind.
pub(super) const COLUMNS: [(&str, &str); 16] = [
    ("id", "bigint"),
    ("n", "int"),
    ("t", "tinyint"),
    ("x", "double"),
    ("f", "float"),
    ("d", "decimal(12,3)"),
    ("s", "string"),
    ("v", "varchar(6)"),
    ("b", "boolean"),
    ("day", "date"),
    ("ts", "timestamp"),
    ("tags", "array<string>"),
    ("m", "map<string,int>"),
    ("st", "struct<a:int,b:struct<c:string>>"),
    ("nested", "array<map<string,array<struct<k:bigint>>>>"),
    ("a_rather_long_name_for_a_column_of_text", "string"),
];

pub(super) fn columns() -> Vec<Column> {
    schema(&COLUMNS)
}

/// How a record's fields are set: with blanks or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    comma: &'static str,
    colon: &'static str,
    open: &'static str,
    close: &'static str,
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        4 => Just(Style { comma: ",", colon: ":", open: "{", close: "}\n" }),
        2 => Just(Style { comma: ", ", colon: ": ", open: "{", close: "}\n" }),
        1 => Just(Style { comma: " ,\t", colon: " :\r\n", open: " { ", close: " } \r\n" }),
        1 => Just(Style { comma: ",", colon: ":", open: "{", close: "}" }),
    ]
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (-1000..1000i64).prop_map(|number| number.to_string()),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        3 => (-100_000_000..100_000_000i64, 1..9usize).prop_map(|(number, places)| {
            format!("{:.places$}", number as f64 / 10f64.powi(places as i32))
        }),
        1 => any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        1 => any::<f32>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(|number| number.to_string()),
        2 => "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        1 => prop::sample::select(vec![
            "-0", "0", "0.0", "-0.0", "1e0", "127", "128", "-129", "2147483647", "2147483648", "-2147483648",
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1e22", "1e23",
            "999999999999", "1000000000000", "9007199254740993", "123456789012345678", "0.000000001", "16777217",
            "3.4028236e38", "1.7976931348623157e308", "4.9e-324", "1e-400", "12345678.12345678", "1234567890123456",
        ]).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ]{0,12}".prop_map(|text| quoted(&text)),
        2 => "[a-zA-Z0-9/:. -]{20,80}".prop_map(|text| quoted(&text)),
        2 => ".{0,40}".prop_map(|text| quoted(&text)),
        1 => number().prop_map(|text| quoted(&text)),
        1 => prop::collection::vec(prop::sample::select(vec![
            "\\n", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\t", "\\r", "\\u00e9", "\\u0000", "\\uD83D\\uDE00", "é", "€", "😀", "a", " ",
            "0123456789012345678901234567890", "\u{7f}",
        ]), 0..12).prop_map(|parts| format!("\"{}\"", parts.concat())),
        1 => prop::sample::select(vec!["\"true\"", "\"FALSE\"", "\"NaN\"", "\"\"", "\"1e3\"", "\"+1\"", "\".5\"", "\"007\""]).prop_map(str::to_owned),
    ]
}

fn timestamp() -> impl Strategy<Value = String> {
    let time = (1900..2100i32, 0..14u32, 0..33u32, 0..25u32, 0..61u32, 0..61u32);
    let fraction = prop_oneof![2 => Just(String::new()), 2 => "\\.[0-9]{3}", 1 => "\\.[0-9]{0,10}"];
    let like =
        (time, fraction, prop::sample::select(vec!["T", " ", "t"]), prop::sample::select(vec!["Z", "", "+01:00"]));
    prop_oneof![
        // Mostly within a few minutes.
        6 => (0..3u32, 0..60u32, 0..1000u32).prop_map(|(minute, second, millis)| {
            format!("\"2026-10-01T12:0{minute}:{second:02}.{millis:03}Z\"")
        }),
        2 => (0..60u32).prop_map(|second| format!("\"2026-10-01 12:00:{second:02}\"")),
        2 => like.prop_map(|((year, month, day, hour, minute, second), fraction, sign, zone)| {
            format!("\"{year:04}-{month:02}-{day:02}{sign}{hour:02}:{minute:02}:{second:02}{fraction}{zone}\"")
        }),
        2 => (0..4_000_000_000i64).prop_map(|seconds| seconds.to_string()),
        1 => number(),
    ]
}

/// Any JSON, not too deep.
pub(super) fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        2 => Just(String::from("null")),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        3 => number(),
        3 => text(),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let key = prop_oneof!["[a-cA-C]", "[a-z]{1,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|(key, value)| format!("{}: {value}", quoted(&key))).collect();
                format!("{{{}}}", members.join(" , "))
            }),
        ]
    })
    .boxed()
}

/// Mostly what the column is for.
fn value_for(name: &str) -> BoxedStrategy<String> {
    let usual = match name {
        "id" | "n" | "t" => (-200..200i64).prop_map(|number| number.to_string()).boxed(),
        "x" | "f" | "d" => number().boxed(),
        "b" => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        "day" => "\"20[0-9]{2}-[01]?[0-9]-[0-3]?[0-9]\"".boxed(),
        "ts" => timestamp().boxed(),
        "tags" => prop::collection::vec(text(), 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed(),
        "m" => prop::collection::vec(("[a-dA-D]{1,2}", -5..5i32), 0..4)
            .prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            })
            .boxed(),
        "st" => (number(), text()).prop_map(|(a, c)| format!("{{\"a\":{a},\"B\":{{\"c\":{c},\"z\":0}}}}")).boxed(),
        "nested" => number().prop_map(|k| format!("[{{\"q\":[{{\"k\":{k}}},{{}}]}},null]")).boxed(),
        _ => text().boxed(),
    };
    prop_oneof![12 => usual, 2 => Just(String::from("null")), 1 => value()].boxed()
}

fn key() -> impl Strategy<Value = (String, usize)> {
    (0..COLUMNS.len(), 0..8u8).prop_map(|(index, way)| {
        let name = COLUMNS[index].0;
        let key = match way {
            0 => quoted(&name.to_uppercase()),
            1 => format!("\"\\u{:04x}{}\"", name.as_bytes()[0], &name[1..]),
            _ => quoted(name),
        };
        (key, index)
    })
}

/// A record of some fields in some order, now and then with one twice.
fn record(style: Style) -> impl Strategy<Value = Vec<u8>> {
    let known = key().prop_flat_map(|(key, index)| (Just(key), value_for(COLUMNS[index].0)));
    let unknown = ("[a-z]{1,3}|é[a-z]", value()).prop_map(|(key, value)| (quoted(&key), value));
    let field = prop_oneof![12 => known, 1 => unknown];
    prop::collection::vec(field, 0..14).prop_map(move |mut fields| {
        // One key twice is the exception.
        let mut seen = std::collections::HashSet::new();
        let mut repeats = 0;
        fields.retain(|(key, _)| {
            seen.insert(key.to_lowercase()) || {
                repeats += 1;
                repeats % 4 == 1
            }
        });
        set(style, &fields)
    })
}

fn set(style: Style, fields: &[(String, String)]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}{}{value}", style.colon)).collect();
    format!("{}{}{}", style.open, fields.join(style.comma), style.close).into_bytes()
}

/// Records of the same fields in the same order, as one program writes them.
fn alike(style: Style) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let order = Just((0..COLUMNS.len()).collect::<Vec<_>>()).prop_shuffle();
    (order, 1..COLUMNS.len()).prop_flat_map(move |(order, count)| {
        let row: Vec<_> = order[..count].iter().map(|&index| value_for(COLUMNS[index].0)).collect();
        let names: Vec<_> = order[..count].iter().map(|&index| quoted(COLUMNS[index].0)).collect();
        prop::collection::vec(row, 1..8).prop_map(move |rows| {
            let fields = |values: Vec<String>| names.iter().cloned().zip(values).collect::<Vec<_>>();
            rows.into_iter().map(|values| set(style, &fields(values))).collect::<Vec<_>>()
        })
    })
}

/// What may happen to a record on its way.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    Cut(Index),
    Insert(Index, u8),
    Delete(Index),
    Replace(Index, u8),
    Repeat(Index, Index),
}

impl Damage {
    fn apply(&self, record: &mut Vec<u8>) {
        if record.is_empty() {
            return;
        }
        let length = record.len();
        match self {
            Self::Cut(at) => record.truncate(at.index(length)),
            Self::Insert(at, byte) => record.insert(at.index(length), *byte),
            Self::Delete(at) => {
                record.remove(at.index(length));
            }
            Self::Replace(at, byte) => record[at.index(length)] = *byte,
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = record[from.min(to)..from.max(to)].to_vec();
                record.extend_from_slice(&part);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let sign =
        || prop_oneof![prop::sample::select(b"{}[],:\"\\ \n\0\x1f\x7f\xff\xc3019.-+eEtfnu/".to_vec()), any::<u8>()];
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), sign()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Delete),
        (any::<Index>(), sign()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

/// Some records after each other, some of them damaged.
pub(super) fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let group = style().prop_flat_map(
        |style| prop_oneof![2 => alike(style).boxed(), 1 => prop::collection::vec(record(style), 1..4).boxed()],
    );
    let damages = prop::collection::vec((any::<Index>(), damage()), 0..3);
    (prop::collection::vec(group, 1..4), damages).prop_map(|(groups, damages)| {
        let mut records: Vec<_> = groups.concat();
        for (index, damage) in damages {
            let index = index.index(records.len());
            damage.apply(&mut records[index]);
        }
        records
    })
}
