//! What JSON to Parquet costs from end to end, beside DuckDB and pyarrow: the same log from the page cache, on the same core, in
//! the same run; and what some hundreds of partitions cost, with a kill half-way.
//!
//! `README.md` beside this folder says how to run it and how to read it.

#[path = "../convert/bad.rs"]
mod bad;
mod compare;
mod hydrant;
mod log;
mod partitions;
#[path = "../end_to_end/process.rs"]
mod process;
#[allow(dead_code, reason = "`end_to_end` has more logs")]
#[path = "../end_to_end/workload.rs"]
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: cargo bench --bench parquet [-- --partitions N]";

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let settings = Settings::from_environment();
    let done = match arguments.as_slice() {
        [] => settings.and_then(|settings| compare::run(&settings)),
        ["--partitions", count] => settings.and_then(|settings| partitions::run(&settings, count.parse()?)),
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
    /// Bytes of the log.
    bytes: u64,
    /// Runs of each case.
    runs: u32,
    /// Keeps the log from run to run, and what is written for the time of a run.
    cache: PathBuf,
    /// Has DuckDB and pyarrow.
    python: PathBuf,
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let number = |name: &str, default: f64| match std::env::var(name) {
            Err(_) => Ok(default),
            Ok(text) => text.parse::<f64>().map_err(|_| format!("`{name}` is no number: `{text}`")),
        };
        let root = match (std::env::var_os("HYDRANT_TEST_CACHE"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => PathBuf::from(home).join(".cache/hydrant-tests"),
            (None, None) => return Err("neither `HYDRANT_TEST_CACHE` nor `HOME` is set".into()),
        };
        let python = std::env::var_os("HYDRANT_TEST_PYTHON").map(PathBuf::from);
        let cache = root.join("bench");
        std::fs::create_dir_all(&cache)?;
        Ok(Self {
            bytes: (number("HYDRANT_BENCH_GB", 0.6)? * 1e9) as u64,
            runs: number("HYDRANT_BENCH_RUNS", 3.0)?.ceil() as u32,
            cache,
            python: python.unwrap_or_else(|| root.join("venv/bin/python")),
        })
    }
}
