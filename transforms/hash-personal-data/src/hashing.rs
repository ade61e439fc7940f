//! Hashes the values of one record.
//!
//! Always true: equal values have equal hashes, wherever they stand, so that records can still be joined and counted.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;

const KEY_BYTES_MIN: usize = 16;
const DIGITS: std::ops::RangeInclusive<usize> = 16..=64;
const USAGE: &str = "expected for example `{ fields: [user, client.ip], key: \"${file:/run/secrets/hash-key}\" }`";

/// The step's `config`, checked.
pub struct Hashing {
    paths: Vec<Vec<String>>,
    keyed: Hmac<Sha256>,
    digits: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct Config {
    fields: Vec<String>,
    /// Any value, for a message about a wrong type would quote it.
    key: Value,
    #[serde(default = "all_digits")]
    digits: usize,
}

fn all_digits() -> usize {
    *DIGITS.end()
}

impl Hashing {
    /// Reads the step's `config`, as Hydrant hands it over.
    pub fn from_json(config: &str) -> Result<Self, String> {
        let Config { fields, key, digits } =
            serde_json::from_str(config).map_err(|error| format!("{error}; {USAGE}"))?;
        let Some(key) = key.as_str().filter(|key| key.len() >= KEY_BYTES_MIN) else {
            return Err(format!("`key` must be a text of at least {KEY_BYTES_MIN} bytes, best a random one; {USAGE}"));
        };
        if !DIGITS.contains(&digits) {
            return Err(format!("`digits` must be {} to {}", DIGITS.start(), DIGITS.end()));
        }
        let paths: Vec<Vec<_>> = fields.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect();
        if paths.is_empty() || paths.iter().flatten().any(String::is_empty) {
            return Err(format!("`fields` is empty, or one of its names is; {USAGE}"));
        }
        let keyed = Hmac::new_from_slice(key.as_bytes()).map_err(|error| format!("`key`: {error}"))?;
        Ok(Self { paths, keyed, digits })
    }

    /// Gives the record with its hashes; the reason if it is not a JSON object.
    pub fn apply(&self, record: &[u8]) -> Result<Vec<u8>, String> {
        let mut members: Map<String, Value> = serde_json::from_slice(record).map_err(|error| {
            // The message itself might quote a value.
            format!("the record is not a JSON object: line {}, column {}", error.line(), error.column())
        })?;
        for path in &self.paths {
            self.hash_member(&mut members, path);
        }
        serde_json::to_vec(&members).map_err(|error| format!("the record cannot be written: {error}"))
    }

    fn hash_member(&self, members: &mut Map<String, Value>, path: &[String]) {
        let [name, below @ ..] = path else { return };
        if let Some(value) = members.get_mut(name) {
            self.hash_below(value, below);
        }
    }

    /// A path leads into the elements of arrays, too.
    fn hash_below(&self, value: &mut Value, path: &[String]) {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.hash_below(element, path)),
            _ if path.is_empty() => self.hash_all(value),
            Value::Object(members) => self.hash_member(members, path),
            _ => {}
        }
    }

    /// Hashes each value in `value`. `null` tells nothing and stays.
    fn hash_all(&self, value: &mut Value) {
        match value {
            Value::Null => {}
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.hash_all(element)),
            Value::Object(members) => members.values_mut().for_each(|member| self.hash_all(member)),
            Value::String(text) => *text = self.hash(text),
            Value::Bool(_) | Value::Number(_) => *value = Value::String(self.hash(&value.to_string())),
        }
    }

    fn hash(&self, text: &str) -> String {
        let code = self.keyed.clone().chain_update(text).finalize().into_bytes();
        let mut hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.truncate(self.digits);
        hex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sixteen bytes or more";
    /// `printf alice | openssl dgst -sha256 -hmac 'sixteen bytes or more'`
    const ALICE: &str = "1f5c6a2ad60e3bfac29f2e0ec8f9f15431a30c628bd4c6636107f9056c8ae170";

    fn hashed(fields: &str, record: &str) -> Value {
        let hashing = Hashing::from_json(&format!(r#"{{"fields": {fields}, "key": "{KEY}"}}"#)).unwrap();
        serde_json::from_slice(&hashing.apply(record.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_value_becomes_its_hmac_wherever_it_stands() {
        let record = r#"{"user":"alice","to":[{"user":"alice"},{"user":"bob"}],"n":1}"#;
        let hashed = hashed(r#"["user", "to.user"]"#, record);
        assert_eq!(hashed["user"], ALICE);
        assert_eq!(hashed["to"][0]["user"], ALICE);
        assert!(hashed["to"][1]["user"] != ALICE && hashed["to"][1]["user"] != "bob");
        assert_eq!(hashed["n"], 1);
    }

    #[test]
    fn values_of_all_kinds_are_hashed() {
        let record = r#"{"p":{"a":42,"b":["42",true],"c":null,"d":{"e":"alice"}}}"#;
        let p = &hashed(r#"["p"]"#, record)["p"];
        assert_eq!(p["a"], p["b"][0], "a number is hashed as its text");
        assert!(p["b"][1].is_string() && p["c"].is_null());
        assert_eq!(p["d"]["e"], ALICE);
    }

    #[test]
    fn what_is_not_named_stays_with_its_order_and_digits() {
        let hashing = Hashing::from_json(&format!(r#"{{"fields": ["x"], "key": "{KEY}", "digits": 16}}"#)).unwrap();
        let record = r#"{"z":1e400,"a":12345678901234567890.10,"x":"alice"}"#;
        let expected = format!(r#"{{"z":1e400,"a":12345678901234567890.10,"x":"{}"}}"#, &ALICE[..16]);
        assert_eq!(
            String::from_utf8(hashing.apply(record.as_bytes()).unwrap()).unwrap(),
            expected.replace("1e400", "1e+400")
        );
    }

    #[test]
    fn a_member_that_stands_twice_leaves_no_clear_value() {
        let hashed = hashed(r#"["user"]"#, r#"{"user":"secret","user":"alice"}"#);
        assert_eq!(hashed, serde_json::json!({ "user": ALICE }));
    }

    #[test]
    fn what_is_no_json_object_fails_with_a_reason_that_quotes_nothing() {
        let hashing = Hashing::from_json(&format!(r#"{{"fields": ["user"], "key": "{KEY}"}}"#)).unwrap();
        let deep = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
        for record in ["", "\"secret\"", "[\"secret\"]", "{\"user\":\"secret\"", "{\"user\":secret}", &deep] {
            let reason = hashing.apply(record.as_bytes()).unwrap_err();
            assert!(reason.contains("not a JSON object") && !reason.contains("secret"), "{reason}");
        }
        assert!(hashing.apply(b"{\"user\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_wrong_config_says_what_is_wrong_and_not_the_key() {
        for (config, word) in [
            ("null", "mapping"),
            (r#"{"fields": ["a"]}"#, "key"),
            (r#"{"fields": ["a"], "key": "secret"}"#, "16 bytes"),
            (r#"{"fields": ["a"], "key": ["secret, and long enough"]}"#, "must be a text"),
            (r#"{"fields": [], "key": "secret, and long enough"}"#, "fields"),
            (r#"{"fields": ["a."], "key": "secret, and long enough"}"#, "fields"),
            (r#"{"fields": ["a"], "key": "secret, and long enough", "digits": 8}"#, "digits"),
            (r#"{"fields": ["a"], "key": "secret, and long enough", "salt": 1}"#, "salt"),
        ] {
            let Err(error) = Hashing::from_json(config) else { panic!("{config}") };
            assert!(error.contains(word) && !error.contains("secret, "), "{config}: {error}");
            assert!(!error.contains("secret\""), "{config}: {error}");
        }
    }
}
