//! All delivery streams of one process: started, supervised, reloaded, stopped.
//!
//! Each stream is one tree of tasks under its own tokens. A panic or an error in it ends that tree alone; once all its
//! tasks have ended, it begins again from its checkpoints. Only a damaged journal ends the process, as the next start sets
//! it aside.

mod keeper;
mod redrives;
mod supervisor;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, Admin};
use crate::chain::chain;
use crate::config::model::{Config, DeliveryStreamConfig};
use crate::config::{self};
use crate::deletion::{self, Deletion};
use crate::destination::retry::RetryLimits;
use crate::journal::{Journal, JournalError, OpenError, Opened, Start};
use crate::log_limit::LogLimit;
use crate::memory::MemoryBudget;
use crate::notify::ServiceManager;
use crate::pool::ComputePool;
use crate::status::StreamStatus;
use crate::stream::Environment;
pub(crate) use redrives::redrive_alone;

use keeper::{keep_copy, write_copy};
use redrives::{DaemonRedrives, EndOfRedrive, Inbox};
use supervisor::Supervisor;

/// The shortest pause between two restarts of a stream that fails.
const RESTART_MIN: Duration = Duration::from_secs(1);
/// With `--drain` a stream that fails so often is given up.
const DRAIN_RESTARTS: u32 = 5;
/// How long what was abandoned may take to end.
const ABANDON: Duration = Duration::from_secs(5);
/// How often the service manager is told how things are.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The streams' figures, for whoever shows them while the daemon runs.
pub type Statuses = Arc<Mutex<Vec<Arc<StreamStatus>>>>;

/// How the daemon is run.
pub struct Options {
    /// Where the configuration is read from again on SIGHUP.
    pub config_path: PathBuf,
    /// Read every source to its present end, deliver everything, and finish.
    pub drain: bool,
    pub statuses: Statuses,
}

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("delivery stream `{stream}` failed {DRAIN_RESTARTS} times; the log says why")]
    GivenUp { stream: String },
}

struct Daemon {
    config: Config,
    options: Options,
    environment: Environment,
    streams: BTreeMap<String, Running>,
    redrives: DaemonRedrives,
    inbox: Inbox,
    /// No other delivery stream runs.
    redrives_only: bool,
    /// Cancelled with the reason in `fatal` when the process cannot go on.
    failed: CancellationToken,
    fatal: Arc<Mutex<Option<DaemonError>>>,
    manager: ServiceManager,
    admin: Admin,
    /// What decides over the deletion of delivered files.
    configured: watch::Sender<Vec<DeliveryStreamConfig>>,
    /// Cancelled before streams stop: without their sources nobody reads a deleted file on.
    keep_files: CancellationToken,
}

struct Running {
    config: DeliveryStreamConfig,
    stop: CancellationToken,
    abandon: CancellationToken,
    task: JoinHandle<()>,
    status: Arc<StreamStatus>,
}

/// How a daemon ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything there was is delivered.
    Drained,
    /// It was told to stop.
    Stopped,
}

/// Runs until it is told to stop, or with `drain` until everything is delivered.
pub async fn run(config: Config, options: Options, signals: Signals) -> Result<End, DaemonError> {
    let state_dir = config.state_dir.clone();
    let opened = open_journal(state_dir).await?;
    let journal = opened.journal;
    match opened.start {
        Start::First => info!(state_dir = %journal.state_dir().display(), "a new state database"),
        Start::Journal => info!(state_dir = %journal.state_dir().display(), "going on from the state database"),
        Start::Copy => error!("the state database was lost: going on from the checkpoint copy"),
        Start::Beginning => {
            error!("the state database and its copy were lost: reading every source from its beginning")
        }
    }
    let mut daemon = Daemon::new(config.clone(), options, journal.clone());
    for stream in config.delivery_streams {
        daemon.start(stream, None);
    }
    daemon.resume_redrives().await?;
    // A drain ends by itself.
    daemon.admin.apply(config.admin.filter(|_| !daemon.options.drain)).await;
    daemon.manager.ready();
    let keeper = tokio::spawn(keep_copy(journal.clone()));
    let deletion = daemon.begin_deletion();
    let result = daemon.supervise(signals).await;
    daemon.admin.stop().await;
    daemon.end_redrives().await;
    keeper.abort();
    daemon.end_deletion(deletion, &result).await;
    write_copy(journal).await;
    result
}

/// Opens the journal, and waits while its disk is full.
async fn open_journal(state_dir: PathBuf) -> Result<Opened, OpenError> {
    let log = LogLimit::default();
    loop {
        let path = state_dir.clone();
        match crate::pool::join(tokio::task::spawn_blocking(move || Journal::open(&path))).await {
            Err(error) if error.is_disk_full() => {
                if let Some(failures) = log.failed() {
                    error!(error = chain(&error), failures, "the disk is full; waiting");
                }
                tokio::time::sleep(RESTART_MIN).await;
            }
            result => return result,
        }
    }
}

/// Received from before the configuration is read. One that nobody has waited for yet is there for whoever waits next.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on none of them ends the process. Within a runtime.
    pub fn new() -> Result<Self, DaemonError> {
        let on = |kind| signal(kind).map_err(DaemonError::Signals);
        let (terminate, interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: on(SignalKind::hangup())? })
    }

    /// Waits until the process is told to stop, or its terminal is closed.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits until the process is told to stop.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Daemon {
    /// Nothing runs yet.
    fn new(config: Config, options: Options, journal: Journal) -> Self {
        let (redrives, inbox) = DaemonRedrives::new();
        let view = admin::View::new(journal.state_dir(), options.statuses.clone(), Arc::new(redrives.clone()));
        let environment = Environment {
            journal,
            budget: MemoryBudget::new(config.memory_limit),
            pool: ComputePool::new(),
            limits: RetryLimits::from_env(),
            drain: options.drain,
        };
        Self {
            configured: watch::Sender::new(config.delivery_streams.clone()),
            config,
            admin: Admin::new(view),
            options,
            environment,
            streams: BTreeMap::new(),
            redrives,
            inbox,
            redrives_only: false,
            failed: CancellationToken::new(),
            fatal: Arc::default(),
            manager: ServiceManager::new(),
            keep_files: CancellationToken::new(),
        }
    }

    async fn supervise(&mut self, signals: Signals) -> Result<End, DaemonError> {
        let Signals { mut terminate, mut interrupt, mut hangup } = signals;
        let mut tell = tokio::time::interval(STATUS_INTERVAL);
        loop {
            tokio::select! {
                () = self.failed.cancelled() => return Err(self.end_failed().await),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => tokio::select! {
                    biased;
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    () = self.reload() => {}
                },
                Some(request) = self.inbox.requests.recv() => self.answer(request).await,
                Some(end) = self.inbox.ends.recv() => self.end_redrive(end).await,
                _ = tell.tick() => self.tell(),
                () = all_ended(&mut self.streams), if self.options.drain => return self.drained(),
            }
        }
        info!("stopping: delivering what is buffered");
        self.keep_files.cancel();
        self.manager.stopping();
        let timeout = self.config.shutdown_timeout;
        let names = self.streams.keys().cloned().collect();
        tokio::select! {
            _ = self.stop(names, timeout) => Ok(End::Stopped),
            _ = terminate.recv() => std::process::exit(1),
            _ = interrupt.recv() => std::process::exit(1),
        }
    }

    /// Everything has ended by itself: all delivered, unless a stream was given up.
    fn drained(&self) -> Result<End, DaemonError> {
        let given_up = self.streams.values().find(|running| running.status.is_given_up.load(Ordering::Relaxed));
        match given_up {
            Some(running) => Err(DaemonError::GivenUp { stream: running.config.name.clone() }),
            None => Ok(End::Drained),
        }
    }

    /// Deletes delivered files from time to time. A drain does so once, at its end.
    fn begin_deletion(&self) -> Option<JoinHandle<()>> {
        let configured = self.configured.subscribe();
        let task = || deletion::run(self.deletion(), configured, self.keep_files.clone());
        (!self.options.drain).then(|| tokio::spawn(task()))
    }

    /// Ends the deletion before the process ends, and does not wait for a file system that hangs. What a drain does not
    /// manage in time the next one does.
    async fn end_deletion(&self, task: Option<JoinHandle<()>>, result: &Result<End, DaemonError>) {
        if self.options.drain && matches!(result, Ok(End::Drained)) {
            let (mut deletion, keep_files) = (self.deletion(), self.keep_files.clone());
            let look = tokio::task::spawn_blocking(move || deletion.look(|| !keep_files.is_cancelled()));
            let _ = tokio::time::timeout(self.config.shutdown_timeout.max(ABANDON), look).await;
        }
        self.keep_files.cancel();
        if let Some(task) = task
            && let Ok(Err(error)) = tokio::time::timeout(ABANDON, task).await
        {
            error!(%error, "the deletion of delivered files failed");
        }
    }

    fn deletion(&self) -> Deletion {
        Deletion::new(self.environment.journal.state_dir().to_owned(), &self.config.delivery_streams)
    }

    /// Starts a stream, once a predecessor of the same name has ended.
    fn start(&mut self, config: DeliveryStreamConfig, predecessor: Option<JoinHandle<()>>) {
        let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
        let status = self.status_of(&config);
        let redriven = config.redriven().map(str::to_owned);
        // A redrive ends by itself.
        let drain = self.environment.drain || redriven.is_some();
        let end = redriven.map(|stream| EndOfRedrive { stream, status: status.clone() });
        let (is_told_to_stop, ended) = (stop.clone(), self.inbox.ended.clone());
        let supervisor = Supervisor {
            config: config.clone(),
            environment: Environment { drain, ..self.environment.clone() },
            stop: stop.clone(),
            abandon: abandon.clone(),
            status: status.clone(),
            failed: self.failed.clone(),
            fatal: self.fatal.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(predecessor) = predecessor {
                let _ = predecessor.await;
            }
            supervisor.run().await;
            match end {
                // It goes on with another configuration.
                Some(end) if is_told_to_stop.is_cancelled() => end.status.end_life(),
                // The daemon hears no more of it at its own end.
                Some(end) => drop(ended.send(end)),
                None => {}
            }
        });
        self.streams.insert(config.name.clone(), Running { config, stop, abandon, task, status });
        self.publish();
    }

    /// Stops streams side by side; what is not delivered after `timeout` is left to the next start. Returns the tasks that
    /// have not ended even so: calls that hang in the kernel.
    async fn stop(&mut self, names: Vec<String>, timeout: Duration) -> BTreeMap<String, JoinHandle<()>> {
        for name in &names {
            if let Some(running) = self.streams.get(name) {
                running.stop.cancel();
            }
        }
        let of_names = |streams: &mut BTreeMap<String, Running>| -> BTreeMap<String, Running> {
            names.iter().filter_map(|name| streams.remove_entry(name)).collect()
        };
        let mut stopping = of_names(&mut self.streams);
        if tokio::time::timeout(timeout, all_ended(&mut stopping)).await.is_err() {
            for (stream, running) in stopping.iter().filter(|(_, running)| !running.task.is_finished()) {
                warn!(%stream, "not everything could be delivered in time; the journal holds what is left");
                running.abandon.cancel();
            }
            let _ = tokio::time::timeout(ABANDON, all_ended(&mut stopping)).await;
        }
        self.publish();
        let unfinished = stopping.into_iter().filter(|(_, running)| !running.task.is_finished());
        unfinished.map(|(name, running)| (name, running.task)).collect()
    }

    /// Applies what has changed in the configuration, if it is valid.
    async fn reload(&mut self) {
        self.manager.reloading();
        let path = self.options.config_path.clone();
        let loaded = crate::pool::join(tokio::task::spawn_blocking(move || config::load(&path))).await;
        match loaded {
            Err(errors) => error!(%errors, "the configuration is invalid; nothing was changed"),
            Ok(new) => {
                if (&new.state_dir, new.memory_limit) != (&self.config.state_dir, self.config.memory_limit) {
                    warn!("`state_dir` and `memory_limit_mb` take effect at the next start");
                }
                self.configured.send_replace(new.delivery_streams.clone());
                self.admin.apply(new.admin).await;
                let wanted = self.wanted(&new);
                let is_same = |running: &Running| wanted.contains(&running.config);
                let changed: Vec<_> = self
                    .streams
                    .iter()
                    .filter(|(_, running)| !is_same(running))
                    .map(|(name, _)| name.clone())
                    .collect();
                for stream in &changed {
                    let at_most = new.shutdown_timeout;
                    info!(%stream, ?at_most, "reloading: waiting for what was read to be delivered");
                }
                let mut unfinished = self.stop(changed.clone(), new.shutdown_timeout).await;
                let started: Vec<_> =
                    wanted.into_iter().filter(|stream| !self.streams.contains_key(&stream.name)).collect();
                info!(stopped = changed.len(), started = started.len(), "the configuration was read again");
                self.config = Config { state_dir: self.config.state_dir.clone(), ..new };
                self.redrives.apply(&self.config);
                for stream in started {
                    let predecessor = unfinished.remove(&stream.name);
                    self.start(stream, predecessor);
                }
            }
        }
        self.manager.ready();
    }

    async fn end_failed(&mut self) -> DaemonError {
        let names = self.streams.keys().cloned().collect();
        let _ = self.stop(names, Duration::ZERO).await;
        let reason = self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take();
        reason.unwrap_or(DaemonError::GivenUp { stream: String::new() })
    }

    fn publish(&self) {
        let all = self.streams.values().map(|running| running.status.clone()).collect();
        *self.options.statuses.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn tell(&self) {
        let problem = self
            .streams
            .values()
            .find_map(|running| running.status.problem().map(|problem| format!("{}: {problem}", running.config.name)));
        let records: u64 =
            self.streams.values().map(|running| running.status.records_delivered.load(Ordering::Relaxed)).sum();
        let streams = self.streams.len();
        self.manager.status(&match problem {
            Some(problem) => format!("{streams} delivery streams, {records} records delivered; {problem}"),
            None => format!("{streams} delivery streams, {records} records delivered"),
        });
    }
}

async fn all_ended(streams: &mut BTreeMap<String, Running>) {
    for running in streams.values_mut() {
        if !running.task.is_finished() {
            let _ = (&mut running.task).await;
        }
    }
}
