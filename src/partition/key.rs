//! Object keys: an evaluated prefix, the suffix that Firehose puts behind it, and an extension.
//!
//! The suffix is not configurable: `<stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<delivery id><extension>`.

use super::{PrefixError, TimeZoneName};

const EXTENSION_CHARS_MAX: usize = 128;
pub(super) const RANDOM_CHARS: usize = 11;

/// The key of one object. `at` is the same instant as the prefix's; its time is told in `zone`, as the prefix's is.
pub fn object_key(
    evaluated_prefix: &str,
    stream: &str,
    version: u64,
    at: jiff::Timestamp,
    zone: &TimeZoneName,
    delivery_id: &str,
    extension: &str,
) -> String {
    let local = zone.zone().to_datetime(at);
    let (date, time) = (local.date(), local.time());
    let time = format!(
        "{:04}-{:02}-{:02}-{:02}-{:02}-{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    format!("{evaluated_prefix}{stream}-{version}-{time}-{delivery_id}{extension}")
}

/// Empty (not set), or a dot and at least one of `a-z 0-9 ! - _ . * ' ( )`; at most 128 characters.
pub fn check_file_extension(text: &str) -> Result<(), PrefixError> {
    const HELP: &str =
        "a dot and then lower-case letters, digits or `!-_.*'()`, at most 128 characters, as in `.json.gz`";
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '!' | '-' | '_' | '.' | '*' | '\'' | '(' | ')');
    if text.is_empty() {
        return Ok(());
    }
    if !text.starts_with('.') {
        return Err(PrefixError::new(0, format!("the file extension `{text}` does not begin with a dot"), HELP));
    }
    if let Some((offset, c)) = text.char_indices().find(|(_, c)| !allowed(*c)) {
        let message = format!("`{}` is not allowed in a file extension", c.escape_debug());
        return Err(PrefixError::new(offset, message, HELP));
    }
    if text.len() < 2 {
        return Err(PrefixError::new(1, "the file extension has nothing behind its dot", HELP));
    }
    if text.len() > EXTENSION_CHARS_MAX {
        let message = format!("the file extension is longer than {EXTENSION_CHARS_MAX} characters");
        return Err(PrefixError::new(EXTENSION_CHARS_MAX, message, HELP));
    }
    Ok(())
}

/// What `!{firehose:random-string}` stands for: 11 letters and digits. `seed` gives random numbers, one a character.
pub fn random_string(seed: &mut impl FnMut() -> u64) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..RANDOM_CHARS).map(|_| char::from(ALPHABET[(seed() % 62) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1f0e2d3c-4b5a-4697-8877-665544332211";

    #[test]
    fn a_key_is_prefix_stream_version_time_id_and_extension() {
        let at = "2026-07-13T14:05:09.999Z".parse().unwrap();
        let utc = object_key("web/", "access", 3, at, &TimeZoneName::utc(), ID, ".json.gz");
        assert_eq!(utc, format!("web/access-3-2026-07-13-14-05-09-{ID}.json.gz"));
        let tokyo = object_key("", "access", 12, at, &TimeZoneName::parse("Asia/Tokyo").unwrap(), ID, "");
        assert_eq!(tokyo, format!("access-12-2026-07-13-23-05-09-{ID}"));
    }

    #[test]
    fn file_extensions_are_firehoses() {
        let longest = format!(".{}", "a".repeat(127));
        for good in ["", ".gz", ".json.gz", ".a1!-_.*'()", "..", &longest] {
            assert_eq!(check_file_extension(good), Ok(()), "{good}");
        }
        let too_long = format!("{longest}a");
        // rule, extension, offset
        for (rule, bad, offset) in [
            ("begins with a dot", "gz", 0),
            ("not a dot alone", ".", 1),
            ("no capitals", ".jSon", 2),
            ("no slashes", ".a/b", 2),
            ("no spaces", ".a ", 2),
            ("ASCII", ".é", 1),
            ("no control characters", ".a\0", 2),
            ("at most 128", &too_long, 128),
        ] {
            assert_eq!(check_file_extension(bad).unwrap_err().offset, offset, "{rule}");
        }
    }

    #[test]
    fn random_strings_are_11_letters_and_digits() {
        let mut number = 0_u64;
        let mut seed = || {
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            number >> 16
        };
        let (first, second) = (random_string(&mut seed), random_string(&mut seed));
        assert_ne!(first, second);
        for text in [first, second] {
            assert_eq!(text.len(), 11);
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
        }
    }
}
