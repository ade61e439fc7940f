//! A redrive where no daemon runs: this process does what the daemon would.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::cli::progress::Display;
use crate::config::model::AdminConfig;
use crate::daemon::Signals;
use crate::journal::OpenError;
use crate::record;
use crate::redrive::{self, Progress, RedriveError};

use super::summary::Tense;
use super::{Arguments, NoDaemon, ended, failed, show_summary, with_progress};

pub(super) fn run(arguments: &Arguments, no_daemon: &NoDaemon, runtime: &Runtime, display: &Display) -> ExitCode {
    // As the daemon would: with its processors, whose environment is this process's.
    let config = match crate::cli::or_shown(crate::config::load(&arguments.config)) {
        Ok(config) => config,
        Err(status) => return status,
    };
    if let Some(reason) = unknown(&config.state_dir).or_else(|| of_another_user(&config.state_dir)) {
        return failed(&reason);
    }
    let progress = Arc::new(Progress::default());
    let job = arguments.request().begin(record::now());
    let hangup_is_ignored = hangup_is_ignored();
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut signals = Signals::new().map_err(|error| RedriveError::Failed(chain(&error)))?;
        let told = stop.clone();
        let signalled = tokio::spawn(async move {
            if hangup_is_ignored {
                signals.stop().await
            } else {
                signals.end().await
            };
            told.cancel();
            signals.stop().await;
            std::process::exit(1);
        });
        let work = redrive::alone::run(&config, job, progress.clone(), stop);
        let result = with_progress(display, &progress, Tense::Has, work).await;
        signalled.abort();
        result
    });
    match result {
        Ok(()) => ended(arguments, &progress.summary()),
        Err(RedriveError::Open(OpenError::InUse { path })) => failed(&daemon_is_needed(&path, no_daemon)),
        Err(error) => {
            show_summary(arguments, &progress.summary(), Tense::Has);
            failed(&chain(&error))
        }
    }
}

/// A folder that this user makes might be one that the daemon may not write in.
fn unknown(state_dir: &Path) -> Option<String> {
    let state_dir = state_dir.try_exists().is_ok_and(|exists| !exists).then(|| state_dir.display())?;
    Some(format!(
        "there is no `state_dir` {state_dir}, so nothing of this stream is known: start the daemon once, or make the folder for \
         the user that the daemon runs as, and run the command as that user"
    ))
}

/// As `nohup` leaves it: the command goes on when its terminal is closed.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Files that this user makes beside the state database would be in the daemon's way.
fn of_another_user(state_dir: &Path) -> Option<String> {
    let database = std::fs::metadata(state_dir.join("hydrant.db"));
    let owner = database.or_else(|_| std::fs::metadata(state_dir)).ok()?.uid();
    let user = rustix::process::geteuid().as_raw();
    (owner != user).then(|| {
        let state_dir = state_dir.display();
        format!(
            "the state database in {state_dir}, or the folder, belongs to user {owner}, and this is user {user}: run the command as the \
             user that the daemon runs as, for example with `sudo -u`"
        )
    })
}

/// It runs, and it cannot be reached.
fn daemon_is_needed(state_dir: &Path, no_daemon: &NoDaemon) -> String {
    let advice = match no_daemon {
        NoDaemon::NoAddress => {
            let listen = AdminConfig::LISTEN_DEFAULT;
            format!("add `admin: {{ listen: \"{listen}\" }}` to its configuration and send it SIGHUP, or stop it first")
        }
        NoDaemon::NoAnswer(reason) => {
            format!("{reason}; stop it first, or see its log for why it does not listen there")
        }
        NoDaemon::Another(listen) => {
            format!("at {listen} another hydrant listens, with another `state_dir`: give each an address of its own")
        }
    };
    format!("a hydrant runs with `state_dir` {}, and cannot be told: {advice}", state_dir.display())
}
