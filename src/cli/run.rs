//! `hydrant run`: the daemon, and the one-shot `--drain`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};

use clap::Args;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

use crate::chain::chain;
use crate::config::{self, model::Config};
use crate::daemon::{self, End, Options, Signals, Statuses};

use super::progress::{Display, summary};

/// Tails the sources and delivers until it is stopped: SIGTERM delivers what is buffered and exits, a second one exits at
/// once; SIGHUP reads the configuration again and applies only the streams that changed.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant run --config /etc/hydrant/hydrant.yaml
  hydrant run --drain --config config/quickstart.yaml    deliver all there is now, print the account, exit")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
    /// Read every source to its present end, deliver everything (a last line without its delimiter too), then exit: 0 if
    /// the account of records balances, else 1.
    #[arg(long)]
    drain: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let display = arguments.drain.then(Display::new);
    start_log(display.as_ref());
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the async runtime cannot be started");
            return ExitCode::from(super::FAILED);
        }
    };
    let (config, signals) = match runtime.block_on(load(&arguments.config)) {
        Ok(Some(loaded)) => loaded,
        early => {
            // It may be compiling still, which nobody waits for.
            runtime.shutdown_background();
            return match early {
                Err(status) => status,
                Ok(_) => stopped(arguments.drain),
            };
        }
    };
    let statuses = Statuses::default();
    let options = Options { config_path: arguments.config.clone(), drain: arguments.drain, statuses: statuses.clone() };
    let places: Vec<_> = config.delivery_streams.iter().map(|stream| stream.destination.clone()).collect();
    let shown = display.as_ref().map(|display| runtime.spawn(display.clone().follow(statuses.clone())));
    let result = runtime.block_on(daemon::run(config, options, signals));
    if let Some(shown) = shown {
        shown.abort();
    }
    if let Some(display) = &display {
        display.finish();
    }
    // What still runs is what was given up; it must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    let end = match result {
        Ok(end) => end,
        Err(error) => {
            error!("{}", chain(&error));
            return ExitCode::from(super::FAILED);
        }
    };
    if end == End::Stopped || !arguments.drain {
        return stopped(arguments.drain);
    }
    let statuses = Arc::clone(&statuses);
    let statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
    let (text, is_whole) = summary(&statuses, &places);
    super::say(&text);
    if is_whole { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) }
}

/// The configuration, and what receives signals from before it is read: to compile its components may take long. Nothing if
/// the process was told to stop meanwhile; another signal is left for the daemon.
async fn load(path: &Path) -> Result<Option<(Config, Signals)>, ExitCode> {
    let mut signals = Signals::new().map_err(|error| {
        error!("{}", chain(&error));
        ExitCode::from(super::FAILED)
    })?;
    let path = path.to_owned();
    let loading = tokio::task::spawn_blocking(move || {
        crate::failpoint::gap("load");
        config::load(&path)
    });
    tokio::select! {
        biased;
        () = signals.stop() => Ok(None),
        loaded = crate::pool::join(loading) => Ok(Some((super::or_shown(loaded)?, signals))),
    }
}

/// It was told to stop, and has done so in order.
fn stopped(drain: bool) -> ExitCode {
    if !drain {
        return ExitCode::SUCCESS;
    }
    eprintln!("stopped before everything was delivered; the next run goes on where this one ended");
    ExitCode::from(super::FAILED)
}

/// The log goes above the bar, where there is one.
pub(super) fn start_log(display: Option<&Display>) {
    use std::io::IsTerminal;
    let default = if display.is_some_and(Display::is_terminal) { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("HYDRANT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).log_internal_errors(false);
    let log = log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match display.cloned() {
        Some(display) => log.with_writer(move || display.writer()).init(),
        None => log.with_writer(std::io::stderr).init(),
    }
}

/// Every file that is read stays open: as many as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "the limit of open files cannot be raised");
    }
}
