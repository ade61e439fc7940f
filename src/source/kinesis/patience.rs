//! Calls without which a source cannot go on: tried again until the service answers, and said when it does not.

use tracing::error;

use crate::destination::retry::{Backoff, RetryLimits, random};
use crate::log_limit::LogLimit;

use super::error::class;
use super::page::ReadError;

/// Of one source.
pub struct Patience {
    /// For logs.
    pub stream: String,
}

impl Patience {
    /// Asks until there is an answer. May be dropped at any await if `call` may be.
    pub async fn ask<T>(&self, what: &str, mut call: impl AsyncFnMut() -> Result<T, ReadError>) -> T {
        let (mut backoff, log) = (Backoff::new(RetryLimits::from_env()), LogLimit::default());
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(error) => {
                    if let Some(times) = log.failed() {
                        error!(stream = self.stream, %error, times, "{what}; it is tried again");
                    }
                    tokio::time::sleep(backoff.delay(class(&error), random())).await;
                }
            }
        }
    }
}
