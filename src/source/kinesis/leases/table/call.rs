//! A call to the lease table: tried until it is answered, within its time.
//!
//! The client's own retries are off. A change is one conditional update, which can be sent again: whatever became of the try
//! before, at most one of them is made.

use std::time::Duration;

use aws_config::ConfigLoader;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use tokio::time::{Instant, sleep, timeout};

use crate::aws;
use crate::config::model::AssumeRole;
use crate::destination::retry::random;

use super::error::TableError;
use super::failure::{Class, Failure};

/// Signs requests to servers that have regions in name only.
const REGION_OF_SERVERS_WITHOUT: &str = "us-east-1";
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Throttling takes some time to pass.
const PAUSE_THROTTLED_MIN: Duration = Duration::from_millis(200);

/// For how long calls wait: a lease's change that takes longer than the lease lives is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One try.
    pub attempt: Duration,
    /// All tries of one call, and the pauses between them.
    pub call: Duration,
    /// All tries of a page of a scan, and of what is done once at the start.
    pub long_call: Duration,
    /// Until a new table is there.
    pub new_table: Duration,
}

impl Limits {
    /// For leases that expire after so long: two tries fit into the time between two renewals.
    pub fn of(failover: Duration) -> Self {
        Self {
            attempt: failover / 7,
            call: failover / 3,
            long_call: Duration::from_secs(60),
            new_table: Duration::from_secs(300),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Duration::from_secs(10))
    }
}

/// A client of DynamoDB with what the configuration says and what the SDK finds for the rest; `None` without a region.
pub async fn connect(
    loader: ConfigLoader,
    region: Option<&str>,
    endpoint_url: Option<&str>,
    assume_role: Option<&AssumeRole>,
) -> Option<Client> {
    let region_default = endpoint_url.map(|_| REGION_OF_SERVERS_WITHOUT);
    let found = aws::load(loader, region, region_default, assume_role).await?;
    let mut config = aws_sdk_dynamodb::config::Builder::from(&found)
        .retry_config(RetryConfig::disabled())
        // Each try has a limit of its own.
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint_url) = endpoint_url {
        config = config.endpoint_url(endpoint_url);
    }
    Some(Client::from_conf(config.build()))
}

/// When a call has to be over, and how long each of its tries may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    attempt: Duration,
    end: Instant,
}

impl Deadline {
    pub fn of_call(limits: &Limits) -> Self {
        Self { attempt: limits.attempt, end: Instant::now() + limits.call }
    }

    /// Time for one more try.
    pub fn and_an_attempt(self) -> Self {
        Self { end: Instant::now() + self.attempt, ..self }
    }

    /// A page of a scan is a megabyte, which takes longer than an item.
    pub fn of_long_call(limits: &Limits) -> Self {
        Self { attempt: limits.long_call / 3, end: Instant::now() + limits.long_call }
    }
}

/// Tries until there is an answer, a refusal, or no time left.
pub(super) async fn insist<T, F>(table: &str, deadline: Deadline, attempt: impl Fn() -> F) -> Result<T, TableError>
where
    F: Future<Output = Result<T, Failure>>,
{
    insist_and_tell(table, deadline, attempt).await.map(|(answer, _)| answer)
}

/// The same, and whether a try before the one that was answered may have done what was asked.
pub(super) async fn insist_and_tell<T, F>(
    table: &str,
    deadline: Deadline,
    attempt: impl Fn() -> F,
) -> Result<(T, bool), TableError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (mut tries, mut maybe_done) = (0, false);
    loop {
        let limit = deadline.attempt.min(deadline.end.saturating_duration_since(Instant::now()));
        let failure = match timeout(limit, attempt()).await {
            Ok(Ok(answer)) => return Ok((answer, maybe_done)),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::timed_out(limit),
        };
        maybe_done |= failure.maybe_done;
        tries += 1;
        let pause = pause(failure.class, tries, random());
        let is_final = matches!(failure.class, Class::Refused | Class::Missing);
        if is_final || Instant::now() + pause >= deadline.end {
            return Err(error(table, failure, maybe_done));
        }
        sleep(pause).await;
    }
}

/// Before try number `tries` + 1. `random` is uniform in 0 to 1.
fn pause(class: Class, tries: u32, random: f64) -> Duration {
    let min = if class == Class::Throttled { PAUSE_THROTTLED_MIN } else { PAUSE_MIN };
    let ceiling = min.saturating_mul(1 << tries.min(8)).min(PAUSE_MAX);
    min + (ceiling - min).mul_f64(random.clamp(0.0, 1.0))
}

fn error(table: &str, failure: Failure, maybe_done: bool) -> TableError {
    let (table, message) = (table.to_owned(), failure.message);
    match failure.class {
        Class::Missing => TableError::Missing { table },
        Class::Refused => TableError::Refused { table, code: failure.code, message, maybe_done },
        class @ (Class::Transient | Class::Throttled) => {
            TableError::Unanswered { table, message, is_throttled: class == Class::Throttled, maybe_done }
        }
    }
}
