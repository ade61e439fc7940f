//! `hydrant schema`: schemas from samples, between versions, and in registries.

mod check;
mod infer;
mod lines;
mod push;
mod records;
mod show;
mod table;
mod target;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::schema::{Level, RegistryError};
use crate::stream::ConvertingError;
use target::TargetError;

/// Proposes, compares, shows and publishes schemas.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant schema infer sample.ndjson > access.yaml             a schema from records
  hydrant schema push lake/web/access access.yaml              the next version in a directory registry
  hydrant schema show lake                                     what a registry has
  hydrant schema show lake/web/access@2                        the columns of one version
  hydrant schema check --from lake/web/access --to access.yaml what would change
  hydrant schema check --schema access.yaml --records log.json do these records fit?")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Infer(infer::Arguments),
    Check(check::Arguments),
    Show(show::Arguments),
    Push(push::Arguments),
}

/// How much has to be kept between two versions.
#[derive(Clone, Copy, ValueEnum)]
enum Compatibility {
    /// Old data reads with the new version, and none of it disappears.
    Backward,
    /// New data reads with the old version.
    Forward,
    /// Both.
    Full,
    /// Anything goes.
    None,
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Push(#[from] crate::schema::PushError),
    #[error(transparent)]
    Infer(#[from] crate::schema::infer::InferError),
    #[error("the records cannot be checked")]
    Converting(#[from] ConvertingError),
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It has been shown.
    #[error("the configuration is wrong")]
    Config(ExitCode),
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::log_to_stderr("warn");
    let result = match &arguments.command {
        Command::Infer(arguments) => infer::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Push(arguments) => push::run(arguments),
    };
    match result {
        Ok(status) => status,
        Err(Error::Config(status)) => status,
        // Whoever reads has seen enough.
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", crate::chain::chain(&error));
            ExitCode::from(if error.is_mistake() { super::WRONG } else { super::FAILED })
        }
    }
}

impl Error {
    fn is_mistake(&self) -> bool {
        match self {
            Self::Target(_) | Self::Wrong(_) | Self::Config(_) => true,
            Self::Converting(_) => true,
            Self::Registry(error) => error.is_mistake(),
            Self::Push(_) | Self::Infer(_) | Self::Io(_) => false,
        }
    }
}

impl From<Compatibility> for Level {
    fn from(compatibility: Compatibility) -> Self {
        match compatibility {
            Compatibility::Backward => Self::Backward,
            Compatibility::Forward => Self::Forward,
            Compatibility::Full => Self::Full,
            Compatibility::None => Self::None,
        }
    }
}

/// Registries are asked one after the other.
fn block_on<T>(future: impl Future<Output = Result<T, RegistryError>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future)?)
}
