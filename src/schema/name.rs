//! What a schema is called in its registry.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// As in Glue.
const CHARS_MAX: usize = 255;

/// A schema's name in its registry. Every part of it can be the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum SchemaName {
    /// In a directory, or in Glue's Data Catalog.
    Table { database: String, table: String },
    /// A subject of a Confluent registry, or a schema of Glue's Schema Registry.
    Subject(String),
}

/// Which version of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Whatever is the highest when the registry is asked.
    Latest,
    Number(u64),
}

/// Why a text is no name of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {reason}")]
pub struct NameError {
    text: String,
    reason: &'static str,
}

impl SchemaName {
    pub fn table(database: &str, table: &str) -> Result<Self, NameError> {
        check(database, false)?;
        check(table, false)?;
        Ok(Self::Table { database: database.to_owned(), table: table.to_owned() })
    }

    pub fn subject(subject: &str) -> Result<Self, NameError> {
        check(subject, true)?;
        Ok(Self::Subject(subject.to_owned()))
    }
}

/// A subject may have slashes in it, for it is no file's name anywhere.
fn check(text: &str, may_have_slashes: bool) -> Result<(), NameError> {
    let is_refused = |c: char| c.is_control() || (c == '/' && !may_have_slashes);
    let reason = match text {
        "" => "is empty",
        "." | ".." => "is no name",
        _ if text.chars().count() > CHARS_MAX => "has more than 255 characters",
        _ if text.contains(is_refused) => "has a character in it that no name has",
        _ => return Ok(()),
    };
    Err(NameError { text: text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect(), reason })
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { database, table } => write!(f, "{database}/{table}"),
            Self::Subject(subject) => f.write_str(subject),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// `latest`, or digits.
impl FromStr for Version {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError { text: text.to_owned(), reason: "is no version: `latest`, or a whole number" };
        match text {
            "latest" => Ok(Self::Latest),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map(Self::Number).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_table_leads_out_of_its_folder() {
        for part in ["", ".", "..", "a/b", "/", "a\0", &"x".repeat(256)] {
            assert!(SchemaName::table("web", part).is_err(), "{part}");
            assert!(SchemaName::table(part, "access").is_err(), "{part}");
        }
        assert_eq!(SchemaName::table("web", "access").unwrap().to_string(), "web/access");
        assert_eq!(SchemaName::subject("team/orders-value").unwrap().to_string(), "team/orders-value");
    }

    #[test]
    fn a_version_is_a_number_or_the_latest() {
        assert_eq!("latest".parse(), Ok(Version::Latest));
        assert_eq!("12".parse(), Ok(Version::Number(12)));
        for text in ["", "v1", "-1", "+1", "1.0", "99999999999999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
