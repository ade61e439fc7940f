//! A redrive by the daemon: it is told to begin, and asked how it stands.

use std::process::ExitCode;
use std::time::Duration;

use crate::admin::client::{Client, ClientError};
use crate::cli::progress::Display;
use crate::redrive::{Job, Report, State, Summary};

use super::summary::{Tense, line};
use super::{Arguments, ended, failed, show_summary};

const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// A daemon that does not answer for a moment may be busy.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: &Arguments, client: &Client, display: &Display) -> ExitCode {
    let job = match client.redrive(&arguments.request()).await {
        Ok(job) => job,
        Err(error) => return failed(&error.to_string()),
    };
    let end = tokio::select! {
        end = follow(&job, client, display) => end,
        _ = tokio::signal::ctrl_c() => Err(String::from("the daemon goes on with the redrive")),
    };
    display.finish();
    match end {
        Ok((Report { state: State::Failed { reason } | State::Waiting { reason }, summary, .. }, _)) => {
            show_summary(arguments, &summary, Tense::Has);
            failed(&reason)
        }
        Ok((report, before @ 1..)) => {
            show_summary(arguments, &report.summary, Tense::Has);
            failed(&format!("the daemon was started again meanwhile; {before} records had failed again by then"))
        }
        Ok((report, 0)) => ended(arguments, &report.summary),
        Err(reason) => failed(&reason),
    }
}

/// Shows how it stands until it has ended. With that, how many records had failed again when the daemon was started again: its
/// figures begin anew then.
async fn follow(job: &Job, client: &Client, display: &Display) -> Result<(Report, u64), String> {
    let mut show = display.interval().await;
    let mut answered = tokio::time::Instant::now();
    let (mut known, mut before) = (Summary::default(), 0);
    let mut ask = tokio::time::interval(ASK_INTERVAL);
    loop {
        tokio::select! {
            _ = show.tick() => display.show(known.bytes_done, known.object_bytes, line(&known, Tense::Has)),
            _ = ask.tick() => match client.reports().await {
                Ok(reports) => {
                    answered = tokio::time::Instant::now();
                    let report = reports.into_iter().find(|report| report.job == *job);
                    let report = report.ok_or("the daemon was started again, and goes on with the redrive")?;
                    if report.summary.failed_again < known.failed_again {
                        before += known.failed_again;
                    }
                    if report.state != State::Running {
                        return Ok((report, before));
                    }
                    known = report.summary;
                }
                Err(ClientError::Unreachable { .. }) if answered.elapsed() < SILENCE_MAX => {}
                Err(error) => return Err(format!("{error}; the redrive goes on when the daemon does")),
            },
        }
    }
}
