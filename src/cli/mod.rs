//! The command line: one file for each command.
//!
//! Exit status: 0 done; 1 failed at run time; 2 a wrong command line or configuration. Text for people goes to standard
//! error, data to standard output.

mod bench;
mod check;
mod check_online;
mod check_schemas;
mod delivered;
mod new_transform;
mod progress;
mod redrive;
mod run;
mod schema;
mod test;
mod transform;
mod trial;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, ConfigErrors, model::Config};
use crate::memory;

/// Something failed while running.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

#[derive(Parser)]
#[command(name = "hydrant", version, about, long_about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Delivered(delivered::Arguments),
    Redrive(redrive::Arguments),
    Transform(transform::Arguments),
    Test(test::Arguments),
    NewTransform(new_transform::Arguments),
    Schema(schema::Arguments),
}

const ABOUT: &str = "\
Hydrant tails log files, buffers their records by size or interval, compresses them, and delivers them as objects to S3 or \
to a local folder: each record exactly once, across crashes, rotations and outages. It speaks Amazon Data Firehose's \
language: delivery streams, buffering hints, prefixes, error output, backup.";

const EXAMPLES: &str = "\
Examples:
  hydrant check --config hydrant.yaml          is the configuration right?
  hydrant run --config hydrant.yaml            the daemon, until SIGTERM
  hydrant run --drain --config hydrant.yaml    everything there is now, then exit
  hydrant delivered /var/log/app.log.1         may the file be deleted?
  hydrant redrive --stream web                 what failed goes through the stream again
  hydrant transform --stream web app.log       what becomes of its records?
  hydrant test tests.yaml                      does it become what it should?
  hydrant new-transform --language rust geo    a project of a transform component
  hydrant schema infer sample.ndjson           columns for its records

The log goes to standard error; HYDRANT_LOG sets its level (error, warn, info, debug, trace, or per module).
Exit status: 0 done, 1 failed at run time, 2 a wrong command line or configuration.";

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    memory::allocator::share_arenas();
    // A wrong command line ends here, with status 2; help and version with 0.
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Delivered(arguments) => delivered::run(&arguments),
        Command::Redrive(arguments) => redrive::run(arguments),
        Command::Transform(arguments) => transform::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::NewTransform(arguments) => new_transform::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    }
}

/// Loads the configuration for a command after which nothing runs, or shows all that is wrong with it.
fn load_to_check(path: &Path) -> Result<Config, ExitCode> {
    or_shown(config::load_to_check(path))
}

/// The log of a command whose standard output is data.
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("HYDRANT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    // Nobody is there to be told that nobody is there.
    let log = log.log_internal_errors(false);
    log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).init();
}

/// Text for people. Whoever has closed standard error does not want it.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn or_shown<T>(loaded: Result<T, ConfigErrors>) -> Result<T, ExitCode> {
    loaded.map_err(|errors| {
        let stderr = std::io::stderr();
        if stderr.is_terminal() {
            say(&errors.render(100, std::env::var_os("NO_COLOR").is_none()).to_string());
        } else {
            say(&format!("{errors}\n"));
        }
        let count = errors.errors().len();
        say(&format!("{count} {} in the configuration\n", if count == 1 { "mistake" } else { "mistakes" }));
        ExitCode::from(WRONG)
    })
}
