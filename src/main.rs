//! The `hydrant` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hydrant::cli::main()
}
