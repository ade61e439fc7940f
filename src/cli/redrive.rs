//! `hydrant redrive`: what has failed goes through its delivery stream again.

mod alone;
mod remote;
mod since;
mod summary;

use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::admin::RedriveRequest;
use crate::admin::client::{Client, ClientError};
use crate::chain::chain;
use crate::config::model::{Config, DeliveryStreamConfig};
use crate::destination::retry::RetryLimits;
use crate::record;
use crate::redrive::objects::{ErrorObject, check_prefix};
use crate::redrive::{Progress, Summary, dry_run};

use super::progress::Display;
use summary::{Tense, line};

/// Sends the failed records of a delivery stream's error output through the stream again, each from the stage that it failed
/// at: what could not be processed from the start, what could not be partitioned or converted behind processing, what an
/// endpoint has not taken to the endpoint. Reads Hydrant's envelopes and Firehose's own, from S3 or a folder.
///
/// Nothing is sent twice: what was redriven is skipped the next time, also after a crash. Error objects stay where they are.
/// What fails again is written to the error output anew, with `attemptsMade` raised, for a later redrive. While the daemon
/// runs, it does the work, and this command tells it so at its `admin` address; else the command does it itself.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant redrive --stream web --dry-run                   what is there, by object and by error code
  hydrant redrive --stream web --since 2h                  what has failed in the last two hours
  hydrant redrive --stream web --prefix errors/web/http-endpoint-failed/2026/11/ --rate 1000

Exit status: 0 if every failed record was delivered, or skipped as it had been redriven already; 1 if some failed again, \
could not be read, or the redrive has not come to its end; 2 for a wrong command line or configuration.")]
pub struct Arguments {
    /// The delivery stream.
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Only objects whose keys begin with this; default: as the stream's `error_output_prefix` does.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only objects written since then: a date or a time (2026-11-21, 2026-11-21T08:00, in UTC unless it says otherwise), or
    /// how long ago (90m, 2h, 7d).
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    since: Option<Timestamp>,
    /// Objects that this delivery stream has written, by their names: Firehose's, for example. Default: the stream itself.
    #[arg(long, value_name = "NAME")]
    written_by: Option<String>,
    /// No more than so many records a second.
    #[arg(long, value_name = "RECORDS")]
    rate: Option<NonZeroU32>,
    /// Show what is there, send nothing: one line for each object on standard output, tab separated, with a header.
    #[arg(long)]
    dry_run: bool,
    /// Print the summary as one JSON object on standard output, and no objects.
    #[arg(long)]
    json: bool,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
}

const HEADER: &str = "object\tsize\tmodified\trecords\tunreadable";

impl Arguments {
    fn request(&self) -> RedriveRequest {
        RedriveRequest {
            stream: self.stream.clone(),
            prefix: self.prefix.clone(),
            written_by: self.written_by.clone(),
            since: self.since,
            rate: self.rate,
        }
    }
}

pub fn run(arguments: Arguments) -> ExitCode {
    let config = match super::or_shown(crate::config::load_to_look(&arguments.config)) {
        Ok(config) => config,
        Err(status) => return status,
    };
    let Some(stream) = config.delivery_streams.iter().find(|stream| stream.name == arguments.stream) else {
        let names: Vec<_> = config.delivery_streams.iter().map(|stream| stream.name.as_str()).collect();
        let known = names.join(", ");
        let name = &arguments.stream;
        super::say(&format!("there is no delivery stream `{name}` in the configuration; there are: {known}\n"));
        return ExitCode::from(super::WRONG);
    };
    let prefix = arguments.prefix.as_deref().unwrap_or_default();
    if let Err(error) = check_prefix(&stream.error_output.destination, prefix) {
        super::say(&format!("{error}\n"));
        return ExitCode::from(super::WRONG);
    }
    let display = Display::new();
    if arguments.dry_run {
        // The summary says what is wrong.
        super::log_to_stderr("error");
    } else {
        super::run::start_log(Some(&display));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the async runtime cannot be started: {error}")),
    };
    let status = if arguments.dry_run {
        runtime.block_on(look(&arguments, &config.state_dir, stream, &display))
    } else {
        redrive(&arguments, &config, &runtime, &display)
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    status
}

/// By the daemon if it runs, else by this process.
fn redrive(arguments: &Arguments, config: &Config, runtime: &Runtime, display: &Display) -> ExitCode {
    let mut no_daemon = NoDaemon::NoAddress;
    if let Some(admin) = config.admin {
        let found = runtime.block_on(async {
            let client = Client::new(admin.listen)?;
            Ok::<_, ClientError>(client.health_of(&config.state_dir).await?.map(|_| client))
        });
        no_daemon = match found {
            Ok(Some(client)) => return runtime.block_on(remote::run(arguments, &client, display)),
            Ok(None) => NoDaemon::Another(admin.listen),
            Err(error) => NoDaemon::NoAnswer(chain(&error)),
        };
    }
    alone::run(arguments, &no_daemon, runtime, display)
}

/// Why no daemon was asked.
enum NoDaemon {
    NoAddress,
    NoAnswer(String),
    /// One with another `state_dir` listens there.
    Another(std::net::SocketAddr),
}

async fn look(arguments: &Arguments, state_dir: &Path, stream: &DeliveryStreamConfig, display: &Display) -> ExitCode {
    let job = arguments.request().begin(record::now());
    let progress = Progress::default();
    let mut has_begun = false;
    let mut print = |object: &ErrorObject, records: u64, unreadable: u64| {
        if arguments.json {
            return Ok(());
        }
        let header = if std::mem::replace(&mut has_begun, true) { "" } else { HEADER };
        let key: String = object.key.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let ErrorObject { size, modified, .. } = object;
        display.print_data(header, &format!("{key}\t{size}\t{modified}\t{records}\t{unreadable}"))
    };
    let looking = dry_run::run(&job, state_dir, stream, RetryLimits::from_env(), &progress, &mut print);
    let result = with_progress(display, &progress, Tense::Would, looking).await;
    show_summary(arguments, &progress.summary(), Tense::Would);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&chain(&error)),
    }
}

/// Shows the figures while `work` is done.
async fn with_progress<T>(display: &Display, progress: &Progress, tense: Tense, work: impl Future<Output = T>) -> T {
    let show = async {
        let mut interval = display.interval().await;
        loop {
            interval.tick().await;
            let summary = progress.summary();
            display.show(summary.bytes_done, summary.object_bytes, line(&summary, tense));
        }
    };
    let result = tokio::select! {
        result = work => result,
        // It shows without end.
        () = show => std::future::pending().await,
    };
    display.finish();
    result
}

/// On standard error for people, on standard output if it was asked for.
fn show_summary(arguments: &Arguments, summary: &Summary, tense: Tense) {
    super::say(&summary::text(&arguments.stream, summary, tense));
    if arguments.json {
        // Strings and numbers always serialize. A reader that is gone has what it wanted.
        let _ = writeln!(std::io::stdout(), "{}", serde_json::to_string(summary).unwrap_or_default());
    }
}

/// The redrive has come to its end.
fn ended(arguments: &Arguments, summary: &Summary) -> ExitCode {
    show_summary(arguments, summary, Tense::Has);
    if summary.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) }
}

fn failed(reason: &str) -> ExitCode {
    super::say(&format!("{reason}\n"));
    ExitCode::from(super::FAILED)
}
