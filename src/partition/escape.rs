//! Values of partition keys as parts of an object's key, escaped as Hive does it (`FileUtils.escapePathName`).
//!
//! Always true: an escaped value has no `/`, no control character, and is no `.` or `..`; different values stay different.

/// What Hive escapes besides control characters.
const ESCAPED: &[u8] = b"\"#%'*/:=?\\{[]^";

/// `value` with `%XX` for each byte that would mean something in a path.
pub(super) fn escape(value: &str) -> String {
    // A folder `.` or `..` leads somewhere else.
    let is_dots = value.bytes().all(|byte| byte == b'.');
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii_control() || ESCAPED.contains(&byte) || is_dots => {
                out.push_str(&format!("%{byte:02X}"));
            }
            // U+0080 to U+009F: two bytes each.
            _ if c.is_control() => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_escaped_as_in_hive() {
        for (value, escaped) in [
            ("acme", "acme"),
            ("a b-c_d.é", "a b-c_d.é"),
            ("2026-11-21 10:00", "2026-11-21 10%3A00"),
            ("a/b", "a%2Fb"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("..a", "..a"),
            ("a=b%c", "a%3Db%25c"),
            ("\0\n\u{7f}\u{85}", "%00%0A%7F%C2%85"),
            ("{\"x\":[1]}", "%7B%22x%22%3A%5B1%5D}"),
        ] {
            assert_eq!(escape(value), escaped);
        }
    }

    proptest! {
        #[test]
        fn nothing_leaves_its_folder_and_nothing_is_mixed_up(values in prop::collection::vec("[./%2FE\u{0}a\u{80}]{1,4}", 1..50)) {
            let mut seen = HashMap::new();
            for value in values {
                let escaped = escape(&value);
                prop_assert!(!escaped.contains('/') && !escaped.chars().any(char::is_control));
                prop_assert!(escaped != "." && escaped != "..");
                prop_assert_eq!(seen.entry(escaped).or_insert_with(|| value.clone()), &value);
            }
        }
    }
}
