//! The redrives of a daemon: delivery streams that begin when they are asked for, and end by themselves.
//!
//! Always true: a redrive is in the journal before it begins, and until every record of it has been settled, so that a daemon that
//! is killed finishes it after its next start. One of each delivery stream at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::model::{Config, DeliveryStreamConfig};
use crate::destination::{AttemptError, BoxFuture, ErrorClass};
use crate::journal::{Journal, JournalError};
use crate::redrive::{Job, Progress, RedriveError, Redrives, Report, Selection, State, derived, name_of, objects};
use crate::status::StreamStatus;

use super::keeper::{keep_copy, write_copy};
use super::{Daemon, Options, Statuses, all_ended, chain, open_journal};

/// Requests that may wait.
const WAITING: usize = 16;
/// How long a look at the place of error objects may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Begins redrives beside the delivery streams, and knows how they stand.
#[derive(Clone)]
pub(super) struct DaemonRedrives {
    requests: mpsc::Sender<Request>,
    board: Arc<Mutex<BTreeMap<String, Entry>>>,
}

/// A redrive that somebody asks for.
pub(super) struct Request {
    job: Job,
    answer: oneshot::Sender<Result<Job, RedriveError>>,
}

/// A redrive that has ended by itself.
pub(super) struct EndOfRedrive {
    /// Of the delivery stream whose records it has sent.
    pub(super) stream: String,
    /// By which it is told from one that was begun in its place.
    pub(super) status: Arc<StreamStatus>,
}

/// The latest redrive of a delivery stream.
struct Entry {
    job: Job,
    state: State,
    progress: Arc<Progress>,
}

/// What the daemon has to hear of redrives.
pub(super) struct Inbox {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) ends: mpsc::UnboundedReceiver<EndOfRedrive>,
    pub(super) ended: mpsc::UnboundedSender<EndOfRedrive>,
}

impl DaemonRedrives {
    pub(super) fn new() -> (Self, Inbox) {
        let (requests, incoming) = mpsc::channel(WAITING);
        let (ended, ends) = mpsc::unbounded_channel();
        (Self { requests, board: Arc::default() }, Inbox { requests: incoming, ends, ended })
    }

    fn board(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs that have not come to their end.
    fn jobs(&self) -> Vec<Job> {
        let has_not_ended = |entry: &&Entry| matches!(entry.state, State::Running | State::Waiting { .. });
        self.board().values().filter(has_not_ended).map(|entry| entry.job.clone()).collect()
    }

    /// Those run whose delivery stream is in `config`; the others wait until it is there.
    pub(super) fn apply(&self, config: &Config) {
        for Job { stream, .. } in self.jobs() {
            if of_name(config, &stream).is_some() {
                self.set(&stream, State::Running);
            } else {
                let reason = format!(
                    "delivery stream `{stream}` is not in the configuration of the daemon; the redrive goes on when it is back"
                );
                warn!(stream, "a redrive waits: its delivery stream is not in the configuration");
                self.set(&stream, State::Waiting { reason });
            }
        }
    }

    fn set(&self, stream: &str, state: State) {
        if let Some(entry) = self.board().get_mut(stream) {
            entry.state = state;
        }
    }

    fn state(&self, stream: &str) -> Option<State> {
        self.board().get(stream).map(|entry| entry.state.clone())
    }

    fn progress(&self, stream: &str) -> Arc<Progress> {
        self.board().get(stream).map(|entry| entry.progress.clone()).unwrap_or_default()
    }

    fn put(&self, job: Job, progress: Arc<Progress>) {
        self.board().insert(job.stream.clone(), Entry { job, state: State::Running, progress });
    }
}

impl Redrives for DaemonRedrives {
    fn begin(&self, job: Job) -> BoxFuture<'_, Result<Job, RedriveError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            // A daemon that stops answers nobody.
            let _ = self.requests.send(Request { job, answer }).await;
            answered.await.unwrap_or(Err(RedriveError::Stopped))
        })
    }

    fn reports(&self) -> Vec<Report> {
        let board = self.board();
        let report = |entry: &Entry| Report {
            job: entry.job.clone(),
            state: entry.state.clone(),
            summary: entry.progress.summary(),
        };
        board.values().map(report).collect()
    }
}

impl Daemon {
    /// The delivery streams that shall run by `config`: its own, and the redrives of those.
    pub(super) fn wanted(&self, config: &Config) -> Vec<DeliveryStreamConfig> {
        let own = if self.redrives_only { &[][..] } else { &config.delivery_streams };
        let jobs = self.redrives.jobs();
        let redrive = |job: &Job| Some(derived(of_name(config, &job.stream)?, job));
        own.iter().cloned().chain(jobs.iter().filter_map(redrive)).collect()
    }

    /// Takes up what earlier daemons have begun and not finished.
    pub(super) async fn resume_redrives(&mut self) -> Result<(), JournalError> {
        for (stream, job) in self.environment.journal.run("redrives", Journal::jobs).await? {
            let job = match serde_json::from_str::<Job>(&job) {
                Ok(job) => job,
                Err(error) => {
                    error!(stream, %error, "a redrive in the journal cannot be read; it is not gone on with");
                    continue;
                }
            };
            self.redrives.put(job.clone(), Arc::default());
            if of_name(&self.config, &stream).is_some() {
                info!(stream, "a redrive that was interrupted goes on");
                self.start_redrive(&job);
            }
        }
        self.redrives.apply(&self.config);
        Ok(())
    }

    pub(super) async fn answer(&mut self, request: Request) {
        let Request { job, answer } = request;
        let begun = self.begin_redrive(job, Arc::default()).await;
        // Whoever has asked may have gone.
        let _ = answer.send(begun);
    }

    /// Journals a redrive and starts it; says when it has begun.
    pub(super) async fn begin_redrive(&mut self, job: Job, progress: Arc<Progress>) -> Result<Job, RedriveError> {
        let stream = job.stream.clone();
        let Some(config) = of_name(&self.config, &stream) else { return Err(RedriveError::NoStream(stream)) };
        if self.streams.contains_key(&name_of(&stream)) {
            return Err(RedriveError::UnderWay(stream));
        }
        look_at_place(&job, config).await?;
        // Texts and numbers always serialize.
        let (name, text) = (stream.clone(), serde_json::to_string(&job).unwrap_or_default());
        self.journal_once(move |journal| journal.begin_job(&name, &text)).await?;
        info!(stream, "a redrive begins");
        self.redrives.put(job.clone(), progress);
        self.start_redrive(&job);
        Ok(job)
    }

    fn start_redrive(&mut self, job: &Job) {
        if let Some(stream) = of_name(&self.config, &job.stream) {
            let redrive = derived(stream, job);
            self.start(redrive, None);
        }
    }

    /// How a stream stands that `config` describes, at its beginning.
    pub(super) fn status_of(&self, config: &DeliveryStreamConfig) -> Arc<StreamStatus> {
        match config.redriven() {
            Some(stream) => StreamStatus::of_redrive(&config.name, self.redrives.progress(stream)),
            None => StreamStatus::new(&config.name),
        }
    }

    /// A redrive has come to its end, or was given up.
    pub(super) async fn end_redrive(&mut self, end: EndOfRedrive) {
        let EndOfRedrive { stream, status } = end;
        let name = name_of(&stream);
        if !self.streams.get(&name).is_some_and(|running| Arc::ptr_eq(&running.status, &status)) {
            return; // Another one was begun in its place.
        }
        if let Some(reason) = status.given_up() {
            error!(stream, reason, "the redrive is given up; another one goes on where it ended");
            self.end_job(&stream).await;
            self.redrives.set(&stream, State::Failed { reason });
        } else {
            info!(stream, "the redrive has come to its end");
            self.end_job(&stream).await;
            self.redrives.set(&stream, State::Done);
        }
        // A drain shows at its end what all have done.
        if !self.options.drain {
            self.streams.remove(&name);
            self.publish();
        }
    }

    /// No later start goes on with it: what cannot succeed is not in the way of a drain for ever.
    async fn end_job(&self, stream: &str) {
        let of_journal = stream.to_owned();
        if let Err(error) = self.journal_once(move |journal| journal.end_job(&of_journal)).await {
            // The next start finds that nothing is left to be sent, or gives it up again.
            warn!(stream, error = chain(&error), "the end of the redrive cannot be journalled");
        }
    }

    /// Hears of all redrives that have ended by now.
    pub(super) async fn end_redrives(&mut self) {
        while let Ok(end) = self.inbox.ends.try_recv() {
            self.end_redrive(end).await;
        }
    }

    /// One attempt: whoever waits for a disk with room keeps signals waiting.
    async fn journal_once<F>(&self, call: F) -> Result<(), JournalError>
    where
        F: FnOnce(&Journal) -> Result<(), JournalError> + Send + 'static,
    {
        let journal = self.environment.journal.clone();
        crate::pool::join(tokio::task::spawn_blocking(move || call(&journal))).await
    }
}

/// Sends the records of one job where no daemon runs, and leaves all delivery streams alone. `stop` ends it in order.
pub(crate) async fn redrive_alone(
    config: &Config,
    job: Job,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<(), RedriveError> {
    let journal = open_journal(config.state_dir.clone()).await?.journal;
    let options = Options { config_path: PathBuf::new(), drain: true, statuses: Statuses::default() };
    let mut daemon = Daemon::new(config.clone(), options, journal.clone());
    daemon.redrives_only = true;
    let stream = job.stream.clone();
    daemon.begin_redrive(job, progress).await?;
    let keeper = tokio::spawn(keep_copy(journal.clone()));
    let ended = tokio::select! {
        () = daemon.failed.cancelled() => Err(RedriveError::Failed(chain(&daemon.end_failed().await))),
        () = stop.cancelled() => {
            let _ = daemon.stop(vec![name_of(&stream)], config.shutdown_timeout).await;
            Err(RedriveError::Stopped)
        }
        () = all_ended(&mut daemon.streams) => Ok(()),
    };
    keeper.abort();
    daemon.end_redrives().await;
    write_copy(journal).await;
    ended?;
    match daemon.redrives.state(&stream) {
        Some(State::Failed { reason }) => Err(RedriveError::Failed(reason)),
        Some(State::Done) => Ok(()),
        Some(State::Running | State::Waiting { .. }) | None => Err(RedriveError::Stopped),
    }
}

/// Refuses what cannot succeed before somebody has done something about it: a prefix that leads out of the folder, a bucket that
/// is not there or may not be listed. Whoever does not answer now may do so while the redrive runs.
async fn look_at_place(job: &Job, config: &DeliveryStreamConfig) -> Result<(), AttemptError> {
    let prefix = Selection::new(job, config).prefixes.into_iter().next().unwrap_or_default();
    objects::check_prefix(&config.error_output.destination, &prefix)?;
    let look = async { objects::open(&config.error_output.destination).await.page(&prefix, "").await };
    match tokio::time::timeout(LOOK_TIMEOUT, look).await {
        Ok(Err(error)) if error.class == ErrorClass::Denied => Err(error),
        _ => Ok(()),
    }
}

fn of_name<'a>(config: &'a Config, stream: &str) -> Option<&'a DeliveryStreamConfig> {
    config.delivery_streams.iter().find(|config| config.name == stream)
}
