//! What `add_metadata` has to know of a record: the names in it, and its text without some of them.
//!
//! Invariant: a record is looked at whole, so that what is no JSON object fails instead of becoming something that nobody
//! can read.

use super::super::Failure;
use super::super::json_scan::Scanner;

/// Those of `names` that the object has, however they are escaped there.
pub fn names_in<'n>(record: &[u8], names: impl Iterator<Item = &'n str> + Clone) -> Result<Vec<&'n str>, Failure> {
    let mut found = Vec::new();
    let mut scanner = Scanner::new(record)?;
    scanner.object(|scanner, quoted| {
        found.extend(names.clone().filter(|name| is_called(quoted, name)));
        scanner.value().map(drop)
    })?;
    scanner.expect_end()?;
    Ok(found)
}

/// A valid object without its closing brace and the white space around it.
pub fn open(record: &[u8]) -> &[u8] {
    let object = record.trim_ascii();
    object.strip_suffix(b"}").unwrap_or(object).trim_ascii_end()
}

/// Writes a valid object without its closing brace and without the members that have one of `names`.
pub fn push_without(out: &mut Vec<u8>, record: &[u8], names: &[&str]) -> Result<(), Failure> {
    out.push(b'{');
    let mut has_member = false;
    Scanner::new(record)?.object(|scanner, quoted| {
        let value = scanner.value()?;
        if names.iter().any(|name| is_called(quoted, name)) {
            return Ok(());
        }
        if has_member {
            out.push(b',');
        }
        has_member = true;
        out.extend_from_slice(quoted.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
        Ok(())
    })
}

/// Whether the name in quotes is `name` to a reader.
fn is_called(quoted: &str, name: &str) -> bool {
    let plain = &quoted[1..quoted.len() - 1];
    if !plain.contains('\\') {
        return plain == name;
    }
    serde_json::from_str::<String>(quoted).is_ok_and(|decoded| decoded == name)
}
