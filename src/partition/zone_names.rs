//! Names of time zones for people, `CET` and `Central European Summer Time`, as java.time prints them in English.
//!
//! They are data of Unicode's CLDR that no time zone database has, so they stand in a table: `zone_names.tsv`.

/// The columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZoneNameKind {
    Standard = 0,
    Daylight = 1,
    /// Regardless of daylight saving time: `PT`, `Pacific Time`.
    Generic = 2,
}

const TABLE: &str = include_str!("zone_names.tsv");
const ZONES_COLUMN: usize = 6;

/// The zone's name; `None` for a zone that the table does not know, which Java prints as its id.
pub(super) fn zone_name(zone: &str, kind: ZoneNameKind, long: bool) -> Option<&'static str> {
    let row = rows().find(|row| zones(row).any(|known| known == zone))?;
    column(row, kind, long)
}

/// The longest name that a zone can have.
pub(super) fn longest_zone_name(long: bool) -> &'static str {
    use ZoneNameKind::{Daylight, Generic, Standard};
    let names = rows().flat_map(|row| [Standard, Daylight, Generic].map(|kind| column(row, kind, long)));
    names.flatten().max_by_key(|name| name.len()).unwrap_or_default()
}

fn rows() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#'))
}

fn column(row: &'static str, kind: ZoneNameKind, long: bool) -> Option<&'static str> {
    row.split('\t').nth(kind as usize + if long { 3 } else { 0 })
}

fn zones(row: &'static str) -> impl Iterator<Item = &'static str> {
    row.split('\t').nth(ZONES_COLUMN).unwrap_or_default().split(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::TimeZoneName;

    #[test]
    fn the_table_is_whole() {
        for row in rows() {
            assert_eq!(row.split('\t').count(), ZONES_COLUMN + 1, "{row}");
            assert!(row.split('\t').all(|column| !column.is_empty()), "{row}");
        }
        assert_eq!(zone_name("Europe/Paris", ZoneNameKind::Daylight, false), Some("CEST"));
        assert_eq!(zone_name("America/Los_Angeles", ZoneNameKind::Generic, true), Some("Pacific Time"));
        assert_eq!(zone_name("Mars/Olympus", ZoneNameKind::Standard, true), None);
    }

    #[test]
    fn every_zone_of_the_table_can_be_configured() {
        for zone in rows().flat_map(zones).filter(|zone| !zone.starts_with("SystemV/")) {
            assert!(TimeZoneName::parse(zone).is_ok(), "{zone}");
        }
    }
}
