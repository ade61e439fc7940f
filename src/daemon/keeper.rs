//! The second file of checkpoints, and the notice that the journal was lost.

use std::time::Duration;

use tracing::{error, warn};

use crate::journal::Journal;

/// How often changed checkpoints are copied.
const COPY_INTERVAL: Duration = Duration::from_secs(60);
/// How often the log repeats that the journal was lost.
const NOTICE_INTERVAL: Duration = Duration::from_secs(3600);

/// Writes the copy once more, at the end.
pub(super) async fn write_copy(journal: Journal) {
    let copied = tokio::task::spawn_blocking(move || journal.write_copy());
    if let Err(error) = crate::pool::join(copied).await {
        warn!(%error, "the checkpoint copy could not be written");
    }
}

/// Copies the checkpoints each minute with a change, and repeats that the journal was lost until somebody acknowledges it.
pub(super) async fn keep_copy(journal: Journal) {
    let mut copied = 0;
    let mut notice_at = tokio::time::Instant::now();
    loop {
        if tokio::time::Instant::now() >= notice_at
            && let Some(notice) = journal.loss_notice()
        {
            error!(notice = %notice.display(), "the journal was lost: read the notice, and remove it to acknowledge");
            notice_at += NOTICE_INTERVAL;
        }
        tokio::time::sleep(COPY_INTERVAL).await;
        let changes = journal.changes();
        if changes == copied {
            continue;
        }
        let of_copy = journal.clone();
        match crate::pool::join(tokio::task::spawn_blocking(move || of_copy.write_copy())).await {
            Ok(()) => copied = changes,
            Err(error) => warn!(%error, "the checkpoint copy could not be written"),
        }
    }
}
