//! Adds a member `tag` to JSON records, and drops those that have `"level":"debug"`. Put what you need in its place.

use serde_json::{Map, Value};

pub struct Tag {
    tag: String,
}

impl Tag {
    /// Reads the step's `config`: `{ tag: text }`.
    pub fn from_json(config: &str) -> Result<Self, String> {
        let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
        let tag = config["tag"].as_str().ok_or("`tag` must be a text, for example `config: { tag: web }`")?;
        Ok(Self { tag: tag.to_owned() })
    }

    /// Gives the record with its tag, `None` for one that nobody wants, or what is wrong with it.
    pub fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut members: Map<String, Value> =
            serde_json::from_slice(record).map_err(|error| format!("the record is not a JSON object: {error}"))?;
        if members.get("level").is_some_and(|level| level == "debug") {
            return Ok(None);
        }
        members.insert(String::from("tag"), Value::from(self.tag.as_str()));
        serde_json::to_vec(&members).map(Some).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(record: &str) -> Result<Option<String>, String> {
        let tag = Tag::from_json(r#"{"tag":"web"}"#).unwrap();
        Ok(tag.apply(record.as_bytes())?.map(|data| String::from_utf8(data).unwrap()))
    }

    #[test]
    fn a_record_gets_its_tag() {
        assert_eq!(tagged(r#"{"b":1,"a":2}"#).unwrap().unwrap(), r#"{"b":1,"a":2,"tag":"web"}"#);
    }

    #[test]
    fn debug_records_are_dropped() {
        assert_eq!(tagged(r#"{"level":"debug"}"#), Ok(None));
    }

    #[test]
    fn what_is_no_json_object_fails() {
        assert!(tagged("[]").is_err() && tagged("").is_err());
    }

    #[test]
    fn a_wrong_config_is_refused() {
        assert!(Tag::from_json("null").is_err() && Tag::from_json(r#"{"tag":1}"#).is_err());
    }
}
