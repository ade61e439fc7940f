//! Names of indexes: text and expressions as in prefixes, with a rotation behind them.
//!
//! Always true: a name that was evaluated is one that the cluster takes: at most 255 bytes in lower case, none of the characters
//! that it refuses, and no `-`, `_` or `+` at its beginning. Letters become lower case; a value of a record that still cannot stand
//! in a name is told before, see [`index_part`].

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Piece, PrefixError, PrefixKind, PrefixTemplate, pieces};
use crate::partition::TimeZoneName;
use crate::partition::java_time::{Moment, TimePattern};

/// The cluster's own limit.
pub(in crate::partition) const INDEX_BYTES_MAX: usize = 255;
const REFUSED: &[char] = &['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];
const REFUSED_FIRST: &[char] = &['-', '_', '+'];
const HELP: &str = "a name has lower-case letters, digits and characters other than `\\/*?\"<>|,#:` and blanks, begins with none \
                    of `-_+`, and has at most 255 bytes";

/// How often another index begins, by the arrival of records in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    None,
    Hour,
    Day,
    /// Weeks begin on Sundays, and the first one of a year holds 1 January.
    Week,
    Month,
}

/// The name of an index, ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexTemplate(PrefixTemplate);

/// A name for nobody: of what is delivered still the journal knows the index.
impl Default for IndexTemplate {
    fn default() -> Self {
        let pieces = vec![Piece::Literal("hydrant".to_owned())];
        Self(PrefixTemplate { text: "hydrant".to_owned(), pieces, dynamic: Vec::new() })
    }
}

impl Rotation {
    /// What Firehose puts behind the name.
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Hour => "-!{timestamp:yyyy-MM-dd-HH}",
            Self::Day => "-!{timestamp:yyyy-MM-dd}",
            Self::Week => "-!{timestamp:YYYY-'w'ww}",
            Self::Month => "-!{timestamp:yyyy-MM}",
        }
    }
}

impl IndexTemplate {
    /// The error's offset counts from the beginning of `text`.
    pub fn parse(text: &str, rotation: Rotation) -> Result<Self, PrefixError> {
        if matches!(text, "" | "." | "..") {
            return Err(PrefixError::new(0, "this is no name of an index", HELP));
        }
        // Without the suffix, into which a mistake could reach.
        pieces(text, PrefixKind::Index)?;
        let whole = format!("{text}{}", rotation.suffix());
        let all = pieces(&whole, PrefixKind::Index)?;
        check(&all.pieces)?;
        let pieces = all.pieces.into_iter().map(|(_, piece)| piece).collect();
        Ok(Self(PrefixTemplate { text: whole, pieces, dynamic: all.dynamic }))
    }

    /// As a template, with the expressions that ask something of records.
    pub fn template(&self) -> &PrefixTemplate {
        &self.0
    }

    /// The number of the value that the name begins with.
    pub(in crate::partition) fn leading_value(&self) -> Option<usize> {
        match self.0.pieces.first() {
            Some(Piece::Dynamic(index, _)) => Some(*index),
            _ => None,
        }
    }

    /// The name for a delivery: `at` is the arrival of its oldest record, `values` are those of its partition.
    pub fn name(&self, at: Timestamp, values: &[String]) -> String {
        let name = self.0.evaluate(at, &TimeZoneName::utc(), None, values, &mut String::new);
        name.to_lowercase()
    }

    /// Bytes of the longest name, with values of any length counted as if they filled it.
    pub fn name_bytes_max(&self) -> usize {
        if self.0.dynamic.is_empty() { longest(&self.0.pieces) } else { INDEX_BYTES_MAX }
    }
}

impl Serialize for IndexTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Whether a cluster may take this as the name of an index.
pub fn is_index_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= INDEX_BYTES_MAX
        && !name.starts_with(REFUSED_FIRST)
        && !name.contains(is_refused)
        && name.to_lowercase() == name
}

/// A value of a record as a part of a name, or why it can be none.
pub(in crate::partition) fn index_part(value: &str, is_first: bool) -> Result<String, String> {
    let part = value.to_lowercase();
    if let Some(c) = part.chars().find(|c| is_refused(*c)) {
        return Err(format!("`{}` cannot stand in the name of an index", c.escape_debug()));
    }
    // A dot would make a hidden index of it, or none.
    match part.chars().next().filter(|c| is_first && (REFUSED_FIRST.contains(c) || *c == '.')) {
        Some(c) => Err(format!("the name of an index cannot begin with `{c}`")),
        None => Ok(part),
    }
}

fn is_refused(c: char) -> bool {
    REFUSED.contains(&c) || c.is_control() || c.is_whitespace()
}

fn longest(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.longest().to_lowercase().len()).sum()
}

fn check(pieces: &[(usize, Piece)]) -> Result<(), PrefixError> {
    for (number, (offset, piece)) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => {
                let first = text.chars().next().filter(|c| number == 0 && REFUSED_FIRST.contains(c));
                if let Some(c) = first {
                    return Err(PrefixError::new(
                        *offset,
                        format!("the name of an index cannot begin with `{c}`"),
                        HELP,
                    ));
                }
                let wrong = text.char_indices().find(|(_, c)| is_refused(*c) || c.is_uppercase());
                if let Some((at, c)) = wrong {
                    let message = format!("`{}` cannot stand in the name of an index", c.escape_debug());
                    return Err(PrefixError::new(offset + at, message, HELP));
                }
            }
            Piece::Time(time) => {
                let first = piece.longest().chars().next().filter(|c| number == 0 && REFUSED_FIRST.contains(c));
                let printed = std::iter::once(piece.longest()).chain(samples(time));
                let wrong = printed.flat_map(|text| text.chars().find(|c| is_refused(*c))).next();
                if let Some(c) = wrong.or(first) {
                    let message = format!("this time can have a `{}`, which cannot stand here", c.escape_debug());
                    return Err(PrefixError::new(*offset, message, HELP));
                }
            }
            Piece::Dynamic(..) | Piece::RandomString | Piece::ErrorOutputType => {}
        }
    }
    let bytes: usize = pieces.iter().map(|(_, piece)| piece.longest().to_lowercase().len()).sum();
    if bytes > INDEX_BYTES_MAX {
        return Err(PrefixError::new(0, format!("the name can become {bytes} bytes long"), HELP));
    }
    Ok(())
}

/// What a time prints in each month at each hour: names of months and parts of the day come from there.
fn samples(time: &TimePattern) -> impl Iterator<Item = String> {
    const DAY: i64 = 86_400;
    let seconds = (0..366).step_by(15).flat_map(|day| (0..24).map(move |hour| day * DAY + hour * 3600));
    seconds.filter_map(|second| {
        let mut text = String::new();
        time.print(&Moment::new(Timestamp::from_second(second).ok()?, &TimeZoneName::utc()), &mut text);
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str, rotation: Rotation, at: &str, values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| index_part(value, false).unwrap()).collect();
        IndexTemplate::parse(text, rotation).unwrap().name(at.parse().unwrap(), &values)
    }

    #[test]
    fn a_rotation_is_what_firehose_puts_behind_the_name() {
        let at = "2026-02-21T23:59:59.999Z";
        for (rotation, expected) in [
            (Rotation::None, "web"),
            (Rotation::Hour, "web-2026-02-21-23"),
            (Rotation::Day, "web-2026-02-21"),
            (Rotation::Week, "web-2026-w08"),
            (Rotation::Month, "web-2026-02"),
        ] {
            assert_eq!(name("web", rotation, at, &[]), expected);
        }
        // A week begins on Sunday; its year is that of its Saturday.
        for (at, expected) in [
            ("2026-02-22T00:00:00Z", "web-2026-w09"),
            ("2024-12-28T23:59:59Z", "web-2024-w52"),
            ("2024-12-29T00:00:00Z", "web-2025-w01"),
            ("2025-01-04T23:59:59Z", "web-2025-w01"),
            ("2025-01-05T00:00:00Z", "web-2025-w02"),
        ] {
            assert_eq!(name("web", Rotation::Week, at, &[]), expected, "{at}");
        }
    }

    #[test]
    fn expressions_make_names_in_lower_case() {
        let text = "logs-!{partitionKeyFromQuery:tenant}-!{timestamp:MMM.yyyy}";
        assert_eq!(name(text, Rotation::None, "2026-02-21T00:00:00Z", &["ACME_Ärzte"]), "logs-acme_ärzte-feb.2026");
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        for (text, offset) in [
            ("", 0),
            ("..", 0),
            ("_web", 0),
            ("-web", 0),
            ("wEb", 1),
            ("web/x", 3),
            ("we b", 2),
            ("web:1", 3),
            ("web-!{timestamp:yyyy/MM}", 4),
            ("web-!{timestamp:HH:mm}", 4),
            ("web-!{timestamp:zzzz}", 4),
            ("web-!{timestamp:GGGG}", 4),
            ("web-!{timestamp:h B}", 4),
            ("web-!{timestamp:hB}", 4),
            ("web-!{timestamp:ppd}", 4),
            ("!{timestamp:'-'yyyy}", 0),
            ("web-!{firehose:random-string}", 6),
            ("web-!{firehose:error-output-type}", 6),
            ("web-!{timestamp:yyyy", 4),
        ] {
            let error = IndexTemplate::parse(text, Rotation::Day).expect_err(text);
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
        assert!(IndexTemplate::parse(&"x".repeat(244), Rotation::Day).is_ok());
        assert!(IndexTemplate::parse(&"x".repeat(245), Rotation::Day).is_err());
    }

    proptest! {
        #[test]
        fn a_part_is_refused_or_fits(value in any::<String>(), is_first in any::<bool>()) {
            if let Ok(part) = index_part(&value, is_first) {
                prop_assert!(!part.chars().any(is_refused));
                prop_assert_eq!(part.to_lowercase(), part.clone());
                prop_assert!(!is_first || !part.starts_with(['-', '_', '+', '.']));
            }
        }
    }
}
