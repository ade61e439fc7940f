//! Time zones by name, as Firehose's CustomTimeZone takes them.
//!
//! Only names of letters, `/` and `_` are allowed (`Asia/Tokyo`), no offsets such as `UTC+1`. Their rules come from the
//! system's time zone database, so that updates of the system count, else from the one that is built in.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Serialize, Serializer};

use super::{PrefixError, nearest};

/// As in Firehose's API.
pub(super) const NAME_CHARS_MAX: usize = 50;

/// A name of the IANA time zone database with its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeZoneName {
    name: String,
    zone: TimeZone,
}

impl TimeZoneName {
    /// The empty name means that none was set: UTC.
    pub fn parse(name: &str) -> Result<Self, PrefixError> {
        if name.is_empty() {
            return Ok(Self::utc());
        }
        check_characters(name)?;
        let zone = find(name).ok_or_else(|| unknown(name))?;
        match zone.iana_name() {
            // The database ignores case, Firehose does not.
            Some(exact) if exact != name => Err(PrefixError::new(
                0,
                format!("unknown time zone `{name}`"),
                format!("names are case-sensitive: `{exact}`"),
            )),
            _ => Ok(Self { name: name.to_owned(), zone }),
        }
    }

    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Serialize for TimeZoneName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

fn check_characters(name: &str) -> Result<(), PrefixError> {
    let allowed = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    if let Some((offset, c)) = name.char_indices().find(|(_, c)| !allowed(*c)) {
        let message = format!("`{}` is not allowed in a time zone name", c.escape_debug());
        let help = "letters, `/` and `_` only, for example `Asia/Tokyo`; offsets such as `UTC+1` are not names";
        return Err(PrefixError::new(offset, message, help));
    }
    if name.len() > NAME_CHARS_MAX {
        let message = format!("the time zone name is longer than {NAME_CHARS_MAX} characters");
        return Err(PrefixError::new(NAME_CHARS_MAX, message, "a name of the IANA database, for example `Asia/Tokyo`"));
    }
    Ok(())
}

fn find(name: &str) -> Option<TimeZone> {
    if !is_zone_name(name) {
        return None;
    }
    jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok()
}

/// Files that stand among the zones in some databases and are none, or count leap seconds.
fn is_zone_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    !matches!(lower.as_str(), "localtime" | "posixrules" | "factory" | "etc/unknown")
        && !lower.starts_with("posix/")
        && !lower.starts_with("right/")
}

fn unknown(name: &str) -> PrefixError {
    let database = TimeZoneDatabase::bundled();
    let names: Vec<String> = database
        .available()
        .map(|known| known.to_string())
        .filter(|known| is_zone_name(known) && check_characters(known).is_ok())
        .collect();
    // People write the city alone: `Tokyo`.
    let city = |known: &&String| known.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
    let meant = names.iter().find(city).map(String::as_str);
    let help = match meant.or_else(|| nearest(name, names.iter().map(String::as_str))) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "a name of the IANA database, for example `UTC`, `Europe/Dublin` or `Asia/Tokyo`".to_owned(),
    };
    PrefixError::new(0, format!("unknown time zone `{name}`"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_firehoses() {
        // rule, name, offset and a part of message or help; none: allowed
        let table = [
            ("empty is not set: UTC", "", None),
            ("UTC", "UTC", None),
            ("a city", "Asia/Tokyo", None),
            ("with an underscore", "America/New_York", None),
            ("three levels", "America/Argentina/Buenos_Aires", None),
            ("a link", "Japan", None),
            ("no offsets", "UTC+1", Some((3, "`+` is not allowed"))),
            ("no digits", "EST5EDT", Some((3, "`5` is not allowed"))),
            ("no hyphens", "America/Port-au-Prince", Some((12, "`-` is not allowed"))),
            ("no other letters", "Zürich", Some((1, "`ü` is not allowed"))),
            ("at most 50 characters", "America/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some((50, "50"))),
            ("exact case", "asia/tokyo", Some((0, "`Asia/Tokyo`"))),
            ("nearest name", "Asia/Tokio", Some((0, "did you mean `Asia/Tokyo`"))),
            ("nearest city", "tokyo", Some((0, "did you mean `Asia/Tokyo`"))),
            ("not a zone", "localtime", Some((0, "unknown time zone"))),
            ("not a zone", "Etc/Unknown", Some((0, "unknown time zone"))),
            ("leap seconds", "right/UTC", Some((0, "unknown time zone"))),
            ("not a path", "//etc", Some((0, "unknown time zone"))),
        ];
        for (rule, name, expected) in table {
            match (TimeZoneName::parse(name), expected) {
                (Ok(zone), None) => assert_eq!(zone.name(), if name.is_empty() { "UTC" } else { name }, "{rule}"),
                (Err(error), Some((offset, part))) => {
                    assert_eq!(error.offset, offset, "{rule}: {error:?}");
                    assert!(format!("{} {}", error.message, error.help).contains(part), "{rule}: {error:?}");
                }
                (result, _) => panic!("{rule}: `{name}` gave {result:?}"),
            }
        }
    }

    #[test]
    fn a_time_zone_serializes_as_its_name() {
        let zone = TimeZoneName::parse("Asia/Tokyo").unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), "\"Asia/Tokyo\"");
    }
}
