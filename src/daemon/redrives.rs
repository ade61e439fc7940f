//! The redrives of a daemon.

use crate::destination::BoxFuture;
use crate::redrive::{Job, RedriveError, Redrives, Report};

/// Begins redrives beside the delivery streams, and knows how they stand.
#[derive(Default)]
pub(super) struct DaemonRedrives;

impl Redrives for DaemonRedrives {
    fn begin(&self, job: Job) -> BoxFuture<'_, Result<(), RedriveError>> {
        let refused = format!("delivery stream `{}` cannot be redriven by this version", job.stream);
        Box::pin(async move { Err(RedriveError::Failed(refused)) })
    }

    fn reports(&self) -> Vec<Report> {
        Vec::new()
    }
}
