//! What Hydrant costs from end to end: a log in the page cache becomes objects in a directory, through the real binary.
//!
//! Every figure is taken from a child process by `wait4`: Hydrant's, and the bare compressors', which are this program
//! started again with `--bare`. So both are measured alike, and on the same bytes in the same run. `README.md` beside
//! this folder says how to run it and how to read it.

mod bare;
mod hydrant;
mod memory;
mod process;
mod suite;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo bench --bench end_to_end [-- --memory GB]";

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => Settings::from_environment().and_then(|settings| suite::run(&settings)),
        ["--memory", gigabytes] => Settings::from_environment().and_then(|settings| {
            let gigabytes = gigabytes.parse().map_err(|_| format!("`{gigabytes}` is not a number of GB\n{USAGE}"))?;
            memory::run(&settings, gigabytes)
        }),
        ["--bare", codec, level, input, limit] => bare::child(codec, level, input, limit),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What the environment says about a run.
struct Settings {
    /// Bytes of each workload.
    bytes: u64,
    /// Runs of each case.
    runs: u32,
    /// Keeps the workloads from run to run, and what Hydrant writes for the time of a run.
    cache: PathBuf,
}

impl Settings {
    fn from_environment() -> Result<Self, Box<dyn Error>> {
        let number = |name: &str, default: f64| match std::env::var(name) {
            Err(_) => Ok(default),
            Ok(text) => match text.parse() {
                Ok(number) if number > 0.0 => Ok(number),
                _ => Err(format!("`{name}` is not a number above 0: `{text}`")),
            },
        };
        let cache = match (std::env::var_os("HYDRANT_TEST_CACHE"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => PathBuf::from(home).join(".cache/hydrant-tests"),
            (None, None) => return Err("neither `HYDRANT_TEST_CACHE` nor `HOME` is set".into()),
        };
        let cache = cache.join("bench");
        std::fs::create_dir_all(&cache)?;
        Ok(Self {
            bytes: (number("HYDRANT_BENCH_GB", 1.0)? * 1e9) as u64,
            runs: number("HYDRANT_BENCH_RUNS", 3.0)?.ceil() as u32,
            cache,
        })
    }
}
