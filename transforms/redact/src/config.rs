//! The step's `config`.
//!
//! Always true: there is at least one field, and the mask is a JSON string already.

use serde::Deserialize;

/// What to redact, and how.
#[derive(Debug)]
pub struct Redaction {
    pub fields: Fields,
    /// What stands in place of a value, with its quotes; `None`: the whole member is left out.
    pub mask: Option<String>,
}

/// The paths in `fields` as a tree: one level for each name.
#[derive(Debug, Default)]
pub struct Fields {
    children: Vec<(String, Fields)>,
    /// Whether a path ends here.
    pub is_redacted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct Config {
    fields: Vec<String>,
    #[serde(default)]
    action: Action,
    mask: Option<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Mask,
    Remove,
}

const MASK_DEFAULT: &str = "[redacted]";
const USAGE: &str = "expected for example `{ fields: [user, client.ip] }`, with `action: remove` or `mask: \"***\"` beside it if wanted";

impl Redaction {
    /// Reads the step's `config`, as Hydrant hands it over.
    pub fn from_json(config: &str) -> Result<Self, String> {
        let config: Config = serde_json::from_str(config).map_err(|error| format!("{error}; {USAGE}"))?;
        if config.fields.is_empty() {
            return Err(format!("`fields` is empty; {USAGE}"));
        }
        let mut fields = Fields::default();
        for path in &config.fields {
            fields.add(path)?;
        }
        let mask = match (config.action, config.mask) {
            (Action::Remove, None) => None,
            (Action::Remove, Some(_)) => return Err(String::from("`mask` has no meaning with `action: remove`")),
            (Action::Mask, mask) => {
                let mask = mask.unwrap_or_else(|| String::from(MASK_DEFAULT));
                Some(serde_json::Value::String(mask).to_string())
            }
        };
        Ok(Self { fields, mask })
    }
}

impl Fields {
    /// The names below a member of this name, if any path goes there.
    pub fn get(&self, name: &[u8]) -> Option<&Self> {
        self.children.iter().find(|(child, _)| child.as_bytes() == name).map(|(_, fields)| fields)
    }

    fn add(&mut self, path: &str) -> Result<(), String> {
        let mut fields = self;
        for name in names(path)? {
            let index = fields.children.iter().position(|(child, _)| *child == name).unwrap_or_else(|| {
                fields.children.push((name, Self::default()));
                fields.children.len() - 1
            });
            fields = &mut fields.children[index].1;
        }
        fields.is_redacted = true;
        Ok(())
    }
}

/// `client.ip` is two names; `client\.ip` is one with a dot in it, `\\` a backslash.
fn names(path: &str) -> Result<Vec<String>, String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => match characters.next() {
                Some(escaped @ ('.' | '\\')) => name.push(escaped),
                _ => return Err(format!("field `{path}`: a backslash stands before a dot or a backslash")),
            },
            other => name.push(other),
        }
    }
    names.push(name);
    if names.iter().any(String::is_empty) {
        return Err(format!("field `{path}`: a name is empty; write a dot within a name as `\\.`"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_a_tree() {
        let redaction =
            Redaction::from_json(r#"{"fields": ["user", "client.ip", "client.name", "a\\.b\\\\"]}"#).unwrap();
        assert_eq!(redaction.mask.as_deref(), Some("\"[redacted]\""));
        let fields = &redaction.fields;
        assert!(fields.get(b"user").unwrap().is_redacted);
        let client = fields.get(b"client").unwrap();
        assert!(!client.is_redacted && client.get(b"ip").unwrap().is_redacted && client.get(b"name").is_some());
        assert!(fields.get(br"a.b\").unwrap().is_redacted && fields.get(b"a").is_none());
    }

    #[test]
    fn a_mask_is_written_as_json() {
        let mask = |config| Redaction::from_json(config).unwrap().mask;
        assert_eq!(mask(r#"{"fields": ["a"], "mask": "\"\n"}"#).as_deref(), Some(r#""\"\n""#));
        assert_eq!(mask(r#"{"fields": ["a"], "action": "remove"}"#), None);
    }

    #[test]
    fn a_wrong_config_says_what_is_wrong() {
        for (config, word) in [
            ("null", "fields"),
            ("{}", "fields"),
            (r#"{"fields": []}"#, "empty"),
            (r#"{"fields": ["a..b"]}"#, "a..b"),
            (r#"{"fields": ["a\\b"]}"#, "backslash"),
            (r#"{"fields": ["a"], "actoin": "remove"}"#, "actoin"),
            (r#"{"fields": ["a"], "action": "drop"}"#, "drop"),
            (r#"{"fields": ["a"], "action": "remove", "mask": "x"}"#, "mask"),
        ] {
            let error = Redaction::from_json(config).unwrap_err();
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
