//! Rewrites one record.
//!
//! Always true: every member at a redacted path is gone, also where a name stands twice, is written with escapes, or is
//! inside of arrays; all other bytes stay as they were.

use crate::config::{Fields, Redaction};
use crate::scan::{Malformed, Scanner};

/// Gives the record back without what is to be redacted; the reason if it is not a JSON object.
pub fn redact(redaction: &Redaction, record: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let mut scanner = Scanner::new(&record)?;
    let mut rewriter = Rewriter { mask: redaction.mask.as_deref(), record: &record, kept: 0, output: Vec::new() };
    if scanner.peek() != Some(b'{') {
        return Err(scanner.malformed("`{`"));
    }
    rewriter.object(&mut scanner, &redaction.fields)?;
    scanner.expect_end()?;
    Ok(match rewriter.finish() {
        Some(redacted) => redacted,
        None => record,
    })
}

struct Rewriter<'a> {
    mask: Option<&'a str>,
    record: &'a [u8],
    /// So much of the record is in `output`, or replaced by what is there.
    kept: usize,
    output: Vec<u8>,
}

impl Rewriter<'_> {
    /// `None` if the record stays as it is.
    fn finish(mut self) -> Option<Vec<u8>> {
        if self.kept == 0 {
            return None;
        }
        self.output.extend_from_slice(&self.record[self.kept..]);
        Some(self.output)
    }

    fn replace(&mut self, from: usize, to: usize, by: &str) {
        if self.kept == 0 {
            self.output.reserve(self.record.len() + by.len());
        }
        self.output.extend_from_slice(&self.record[self.kept..from]);
        self.output.extend_from_slice(by.as_bytes());
        self.kept = to;
    }

    fn value(&mut self, scanner: &mut Scanner<'_>, fields: &Fields) -> Result<(), Malformed> {
        match scanner.peek() {
            Some(b'{') => self.object(scanner, fields),
            Some(b'[') => self.array(scanner, fields),
            _ => scanner.skip(),
        }
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, fields: &Fields) -> Result<(), Malformed> {
        scanner.expect(b'[', "`[`")?;
        scanner.down()?;
        if !scanner.eat(b']') {
            loop {
                self.value(scanner, fields)?;
                if scanner.eat(b']') {
                    break;
                }
                scanner.expect(b',', "`,` or `]`")?;
            }
        }
        scanner.up();
        Ok(())
    }

    fn object(&mut self, scanner: &mut Scanner<'_>, fields: &Fields) -> Result<(), Malformed> {
        scanner.expect(b'{', "`{`")?;
        scanner.down()?;
        if !scanner.eat(b'}') {
            let mut has_member = false;
            loop {
                // Behind the brace, or behind a comma that has a member before it.
                let start = scanner.at();
                if self.member(scanner, fields)? {
                    has_member = true;
                } else {
                    self.replace(start - usize::from(has_member), scanner.at(), "");
                }
                if scanner.eat(b'}') {
                    break;
                }
                let comma = scanner.at();
                scanner.expect(b',', "`,` or `}`")?;
                if !has_member {
                    self.replace(comma, scanner.at(), "");
                }
            }
        }
        scanner.up();
        Ok(())
    }

    /// Whether it stays.
    fn member(&mut self, scanner: &mut Scanner<'_>, fields: &Fields) -> Result<bool, Malformed> {
        let name = scanner.name()?;
        let Some(below) = find(fields, name) else {
            scanner.skip()?;
            return Ok(true);
        };
        if !below.is_redacted {
            self.value(scanner, below)?;
            return Ok(true);
        }
        scanner.peek();
        let start = scanner.at();
        scanner.skip()?;
        if let Some(mask) = self.mask {
            self.replace(start, scanner.at(), mask);
        }
        Ok(self.mask.is_some())
    }
}

/// A name is what its escape sequences stand for, so that `"\u0075ser"` hides nothing.
fn find<'a>(fields: &'a Fields, name: &[u8]) -> Option<&'a Fields> {
    if !name.contains(&b'\\') {
        return fields.get(name);
    }
    let quoted = [b"\"", name, b"\""].concat();
    // Only a lone surrogate is no text: no path can be meant by it.
    let name: String = serde_json::from_slice(&quoted).ok()?;
    fields.get(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn redacted(config: &str, record: &str) -> String {
        let redaction = Redaction::from_json(config).unwrap();
        String::from_utf8(redact(&redaction, record.into()).unwrap()).unwrap()
    }

    fn removed(record: &str) -> String {
        let redacted = redacted(r#"{"fields": ["a", "o.a"], "action": "remove"}"#, record);
        serde_json::from_str::<serde_json::Value>(&redacted).unwrap();
        redacted
    }

    #[test]
    fn masks_values_of_any_kind_and_leaves_the_rest_as_it_was() {
        let config = r#"{"fields": ["user", "client.ip"], "mask": "*"}"#;
        for (record, expected) in [
            (r#"{"user":"alice","n":1.50}"#, r#"{"user":"*","n":1.50}"#),
            (r#"{ "n" : 1e400 , "user" : {"name":"alice"} } "#, r#"{ "n" : 1e400 , "user" : "*" } "#),
            (r#"{"user":[1,2],"client":{"ip":null,"port":1}}"#, r#"{"user":"*","client":{"ip":"*","port":1}}"#),
            (r#"{"client":{"user":"stays"},"ip":"stays"}"#, r#"{"client":{"user":"stays"},"ip":"stays"}"#),
            (r#"{"client":"10.0.0.1"}"#, r#"{"client":"10.0.0.1"}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(redacted(config, record), expected);
        }
    }

    #[test]
    fn removes_members_with_their_commas() {
        for (record, expected) in [
            (r#"{"a":1}"#, "{}"),
            (r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
            (r#"{"b":2,"a":1}"#, r#"{"b":2}"#),
            (r#"{"b":2,"a":1,"c":3}"#, r#"{"b":2,"c":3}"#),
            (r#"{"a":1,"a":2,"b":2,"a":3,"c":3,"a":4}"#, r#"{"b":2,"c":3}"#),
            (r#"{"a":1,"a":2}"#, "{}"),
            (r#"{"o":{"a":1},"a":2}"#, r#"{"o":{}}"#),
            (r#"{"o":{"a":1},"b":2,"o":{"c":{"a":3},"a":4}}"#, r#"{"o":{},"b":2,"o":{"c":{"a":3}}}"#),
        ] {
            assert_eq!(removed(record), expected);
        }
        removed("{ \"a\" : 1 , \"b\" : 2 , \"a\" : 3 , \"a\" : 4 }");
        removed("{ \"a\" : 1 , \"a\" : 2 }");
    }

    #[test]
    fn a_name_that_stands_twice_or_is_escaped_is_redacted_each_time() {
        let config = r#"{"fields": ["user", "käse"], "mask": "*"}"#;
        assert_eq!(redacted(config, r#"{"user":1,"user":2}"#), r#"{"user":"*","user":"*"}"#);
        assert_eq!(redacted(config, r#"{"\u0075ser":1,"us\u0065r":2}"#), r#"{"\u0075ser":"*","us\u0065r":"*"}"#);
        assert_eq!(redacted(config, r#"{"k\u00e4se":1,"\ud800":2}"#), r#"{"k\u00e4se":"*","\ud800":2}"#);
    }

    #[test]
    fn paths_lead_into_the_elements_of_arrays() {
        let config = r#"{"fields": ["users.mail"], "mask": "*"}"#;
        let record = r#"{"users":[{"mail":"a"},[{"mail":"b","id":1}],3]}"#;
        assert_eq!(redacted(config, record), r#"{"users":[{"mail":"*"},[{"mail":"*","id":1}],3]}"#);
    }

    #[test]
    fn what_is_no_json_object_fails_with_a_reason_that_quotes_nothing() {
        let redaction = Redaction::from_json(r#"{"fields": ["user", "a"]}"#).unwrap();
        let deep = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
        for record in ["", "secret", "[]", "{\"user\":\"secret", "{\"user\":secret}", "{} secret", "\"secret\"", &deep]
        {
            let reason = redact(&redaction, record.into()).unwrap_err().to_string();
            assert!(reason.contains("not a JSON object") && !reason.contains("secret"), "{reason}");
        }
        assert!(
            redact(&redaction, b"{\"user\":\"\xff\"}".to_vec()).unwrap_err().to_string().contains("UTF-8 at byte 9")
        );
    }

    /// What `redact` must come to, the slow way.
    fn model(value: &mut Value, fields: &Fields, mask: Option<&Value>) {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|element| model(element, fields, mask)),
            Value::Object(members) => {
                let is_redacted = |name: &str| fields.get(name.as_bytes()).is_some_and(|below| below.is_redacted);
                if mask.is_none() {
                    members.retain(|name, _| !is_redacted(name));
                }
                for (name, value) in members {
                    match (is_redacted(name), fields.get(name.as_bytes()), mask) {
                        (true, _, Some(mask)) => *value = mask.clone(),
                        (_, Some(below), _) => model(value, below, mask),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    /// A value of up to `depth` levels with these names, from a generator that is good enough for this.
    fn random(state: &mut u64, depth: u32) -> Value {
        let mut below = |limit: u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % limit
        };
        let (kind, len) = (below(if depth == 0 { 3 } else { 8 }), below(5));
        match kind {
            0 => Value::from(len),
            1 => Value::from("\"x\\\n é".repeat(len as usize)),
            2 => Value::Null,
            3 => (0..len).map(|_| random(state, depth - 1)).collect(),
            _ => (0..len)
                .map(|index| (NAMES[(kind + index) as usize % 5].to_owned(), random(state, depth - 1)))
                .collect(),
        }
    }

    #[test]
    fn does_what_a_full_parse_would_do() {
        let fields = r#""fields": ["a", "b.c", "b.b.d", "c.c.c"]"#;
        for config in [format!("{{{fields}}}"), format!("{{{fields}, \"action\": \"remove\"}}")] {
            let redaction = Redaction::from_json(&config).unwrap();
            let mask = redaction.mask.as_deref().map(|mask| serde_json::from_str(mask).unwrap());
            for mut seed in 0..2_000 {
                let value = serde_json::json!({ "a": 0, "b": random(&mut seed, 4), "c": random(&mut seed, 4) });
                for record in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                    let redacted = redact(&redaction, record.into()).unwrap();
                    let mut expected = value.clone();
                    model(&mut expected, &redaction.fields, mask.as_ref());
                    assert_eq!(serde_json::from_slice::<Value>(&redacted).unwrap(), expected, "{value}");
                }
            }
        }
    }
}
