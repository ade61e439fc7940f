//! A redrive where no daemon runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::model::Config;

use super::{Job, Progress, RedriveError};

/// Takes the journal's lock and sends the records of `job` through their stream until all are delivered or back in the error
/// output. Other delivery streams are left alone. [`crate::journal::OpenError::InUse`] where a daemon runs; `stop` ends it in
/// order, and the next redrive goes on.
pub async fn run(
    config: &Config,
    job: Job,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<(), RedriveError> {
    crate::daemon::redrive_alone(config, job, progress, stop).await
}

#[cfg(test)]
mod tests;
