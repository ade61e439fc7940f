//! A value as JSON text: compact, keys in their order, of equal keys only the last.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use super::json::Value;

/// Appends `value`, its keys in lower case if so wished.
pub(super) fn write(out: &mut Vec<u8>, value: &Value<'_>, is_lower: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(text) => out.extend_from_slice(text.as_bytes()),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(out, item, is_lower);
            }
            out.push(b']');
        }
        Value::Object(members) => write_members(out, &last_of_each(members, is_lower), is_lower),
    }
}

/// An object of these members, whose keys are written as they are.
pub(super) fn write_members<K: AsRef<str>>(out: &mut Vec<u8>, members: &[(K, &Value<'_>)], is_lower: bool) {
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, key.as_ref());
        out.push(b':');
        write(out, value, is_lower);
    }
    out.push(b'}');
}

/// The members without those that a later one of the same key replaces.
pub(super) fn last_of_each<'a, 'v>(
    members: &'a [(Cow<'v, str>, Value<'v>)],
    is_lower: bool,
) -> Vec<(Cow<'a, str>, &'a Value<'v>)> {
    let key = |key: &'a Cow<'v, str>| if is_lower { lower(key) } else { Cow::Borrowed(key.as_ref()) };
    last_of(members.iter().map(|(name, value)| (key(name), value)))
}

/// The last value of each key, in the place of the first.
pub(super) fn last_of<K: Hash + Eq + Clone, V>(members: impl ExactSizeIterator<Item = (K, V)>) -> Vec<(K, V)> {
    let mut last: Vec<(K, V)> = Vec::with_capacity(members.len());
    let mut places = HashMap::with_capacity(members.len());
    for (key, value) in members {
        match places.get(&key) {
            Some(&place) => last[place] = (key, value),
            None => {
                places.insert(key.clone(), last.len());
                last.push((key, value));
            }
        }
    }
    last
}

/// Without a copy where nothing changes.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::json::Parser;
    use super::*;

    #[test]
    fn text_is_compact_and_the_last_of_equal_keys_stays() {
        let text = r#" { "B" : [ 1.50, "é\u0001\"" , {} ], "a": {"X":null, "x":true}, "b" : -0 }"#;
        let value = Parser::new(text.as_bytes(), 1).value(0).unwrap();
        let write = |is_lower| {
            let mut out = Vec::new();
            write(&mut out, &value, is_lower);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(write(false), r#"{"B":[1.50,"é\u0001\"",{}],"a":{"X":null,"x":true},"b":-0}"#);
        assert_eq!(write(true), r#"{"b":-0,"a":{"x":true}}"#);
    }
}
