//! What the service pushes, as a page.

use aws_sdk_kinesis::types::SubscribeToShardEvent;

use crate::source::kinesis::page::Page;
use crate::source::kinesis::response::{self, Unreadable};

/// All of the event, or nothing: what cannot be read is asked for again.
pub(super) fn page(event: SubscribeToShardEvent) -> Result<Page, Unreadable> {
    // The client makes an empty text of one that is null or absent, as at the end of a shard.
    let continuation = match event.continuation_sequence_number.as_str() {
        "" => None,
        text => Some(response::sequence_number(text)?),
    };
    let children = response::child_shards(event.child_shards.unwrap_or_default())?;
    Ok(Page {
        records: response::records(event.records)?,
        continuation,
        behind_ms: response::behind_ms(Some(event.millis_behind_latest)),
        ended: continuation.is_none().then_some(children),
    })
}
