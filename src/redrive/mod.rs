//! Redrive: failed records of the error output go through their delivery stream once more.
//!
//! Always true: error objects are read and never changed; a record comes in at the stage that it failed at, and once only,
//! however often it is asked for.
//!
//! [`job`] is what was asked for and which objects it means, [`objects`] lists and reads them, [`lines`] cuts them,
//! [`envelope`] reads a line, [`progress`] counts. [`dry_run`] does that much and sends nothing.
//!
//! A redrive is a delivery stream of its own, [`derived()`] from the configured one: the same steps and outputs, its own buffers and
//! its own place in the journal, and error objects for a source ([`RedriveSource`]).

pub mod alone;
mod derived;
pub mod dry_run;
pub mod envelope;
mod gather;
pub mod job;
pub mod lines;
pub mod objects;
mod pace;
pub mod progress;
mod source;

use serde::{Deserialize, Serialize};

use crate::destination::{AttemptError, BoxFuture};
use crate::journal::{JournalError, OpenError};

pub use derived::{derived, name_of};
pub use job::{Job, Selection};
pub use progress::{Progress, Summary};
pub use source::RedriveSource;

/// Why a redrive was not begun, or has not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("there is no delivery stream `{0}` in the configuration")]
    NoStream(String),
    /// One at a time.
    #[error("a redrive of delivery stream `{0}` is under way already")]
    UnderWay(String),
    #[error("the error objects cannot be read")]
    Place(#[from] AttemptError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the redrive cannot be journalled")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Failed(String),
    #[error("stopped before everything was sent; the next redrive goes on where this one ended")]
    Stopped,
}

/// How a redrive stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    /// Its delivery stream is not in the configuration. It goes on when that is back.
    Waiting {
        reason: String,
    },
    /// Everything is delivered, or back in the error output.
    Done,
    Failed {
        reason: String,
    },
}

/// One redrive, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub job: Job,
    pub state: State,
    pub summary: Summary,
}

/// The redrives of a daemon.
pub trait Redrives: Send + Sync + 'static {
    /// Journals the job and begins with it. An answer, with when that was, means that it comes to its end, across crashes too.
    fn begin(&self, job: Job) -> BoxFuture<'_, Result<Job, RedriveError>>;

    /// Those that run, and the last one of each delivery stream that has ended since the daemon began.
    fn reports(&self) -> Vec<Report>;
}
