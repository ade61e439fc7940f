//! One delivery stream is kept alive: a panic or an error ends one life of it, and the next one begins from its checkpoints.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::config::model::DeliveryStreamConfig;
use crate::journal::JournalError;
use crate::status::StreamStatus;
use crate::stream::{self, Ended, Environment, Life, StreamError};

use super::{DRAIN_RESTARTS, DaemonError, RESTART_MIN, chain};

/// The longest pause between two restarts of a stream that fails.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// Keeps one stream alive.
pub(super) struct Supervisor {
    pub(super) config: DeliveryStreamConfig,
    pub(super) environment: Environment,
    pub(super) stop: CancellationToken,
    pub(super) abandon: CancellationToken,
    pub(super) status: Arc<StreamStatus>,
    pub(super) failed: CancellationToken,
    pub(super) fatal: Arc<Mutex<Option<DaemonError>>>,
}

impl Supervisor {
    pub(super) async fn run(self) {
        let stream = self.config.name.clone();
        let mut delay = RESTART_MIN;
        let mut failures = 0;
        loop {
            let began = tokio::time::Instant::now();
            let reason = match self.live().await {
                Ok(Ended::Done) => return,
                // Unless the daemon stops.
                Ok(Ended::SchemaChanged) if self.stop.is_cancelled() => return,
                Ok(Ended::SchemaChanged) => continue,
                Err(reason) => reason,
            };
            // A stream that ran well for a while begins again at once.
            if began.elapsed() > RESTART_MAX {
                (delay, failures) = (RESTART_MIN, 0);
            }
            failures += 1;
            self.status.restarts.fetch_add(1, Ordering::Relaxed);
            self.status.set_problem("stream", reason.clone());
            error!(%stream, reason, restart_in = ?delay, "the delivery stream failed; it begins again from its checkpoints");
            if self.environment.drain && failures >= DRAIN_RESTARTS {
                error!(%stream, "the delivery stream is given up");
                self.status.is_given_up.store(true, Ordering::Relaxed);
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => return,
            }
            delay = (delay * 2).min(RESTART_MAX);
        }
    }

    /// One life of the stream; all its tasks have ended when this returns.
    async fn live(&self) -> Result<Ended, String> {
        let life = Arc::new(Life {
            stop: self.stop.child_token(),
            abandon: self.abandon.child_token(),
            tasks: TaskTracker::new(),
        });
        let (config, environment) = (self.config.clone(), self.environment.clone());
        let (status, of_stream) = (self.status.clone(), life.clone());
        let task = tokio::spawn(async move { stream::run(&config, &environment, &of_stream, status).await });
        let result = task.await;
        life.stop.cancel();
        life.abandon.cancel();
        life.tasks.close();
        life.tasks.wait().await;
        match result {
            Ok(Ok(ended)) => {
                self.status.clear_problem("stream");
                if ended == Ended::SchemaChanged {
                    self.status.end_life();
                }
                Ok(ended)
            }
            Ok(Err(error)) => {
                self.status.end_life();
                let reason = chain(&error);
                if let StreamError::Journal(journal @ JournalError::Corrupt(_)) = error {
                    self.fail(DaemonError::Journal(journal));
                }
                Err(reason)
            }
            Err(panic) => {
                self.status.end_life();
                Err(format!("a panic: {panic}"))
            }
        }
    }

    fn fail(&self, error: DaemonError) {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.cancel();
    }
}
