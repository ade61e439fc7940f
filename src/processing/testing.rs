//! What the processors' tests share.

use crate::record::{NoHeader, Position};

use super::{Failure, Origin, Processor, Records};

pub(super) fn origin() -> Origin<'static> {
    let arrival = "2026-07-13T14:05:09.0127Z".parse().expect("a time");
    Origin {
        name: "/var/log/app.log",
        shard: None,
        partition_key: "",
        position: Position::at(4711),
        arrival,
        header: Err(NoHeader::NoneSkipped),
    }
}

/// What becomes of `record`, as texts.
pub(super) fn all(processor: &dyn Processor, record: &[u8]) -> Result<Vec<String>, String> {
    all_from(processor, record, &origin())
}

pub(super) fn all_from(processor: &dyn Processor, record: &[u8], origin: &Origin<'_>) -> Result<Vec<String>, String> {
    let mut out = Records::default();
    processor.process(record, origin, &mut out).map_err(|Failure { message, .. }| message)?;
    Ok(out.iter().map(|record| std::str::from_utf8(record).expect("UTF-8").to_owned()).collect())
}

/// What becomes of `record` if it is one record.
pub(super) fn one(processor: &dyn Processor, record: &[u8]) -> Result<String, String> {
    let mut records = all(processor, record)?;
    assert_eq!(records.len(), 1, "{records:?}");
    Ok(records.remove(0))
}
