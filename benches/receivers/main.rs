//! What delivery to receivers costs: a log in the page cache goes to an HTTP endpoint and to OpenSearch, beside the same log with
//! gzip in a directory.
//!
//! The receivers take everything and are threads of this program, so what they cost is not counted: Hydrant's own time is taken from
//! its process by `wait4`. `README.md` beside this folder says how to run it and how to read it.

mod null;
#[path = "../end_to_end/process.rs"]
mod process;
#[allow(dead_code, reason = "`end_to_end` has more logs")]
#[path = "../end_to_end/workload.rs"]
mod workload;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use null::{Null, Protocol};
use process::Usage;
use workload::Workload;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Of the rate of tail → gzip → directory.
const AIM: f64 = 0.6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// What the others are held against.
    Directory,
    /// With so many requests under way at a time; only one keeps their order.
    HttpEndpoint(Encoding, u32),
    OpenSearch(Encoding),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    None,
    Gzip,
}

/// The default of OpenSearch.
const IN_FLIGHT: u32 = 4;

/// Beside the directory.
const CASES: [Case; 5] = [
    Case::HttpEndpoint(Encoding::None, 1),
    Case::HttpEndpoint(Encoding::None, IN_FLIGHT),
    Case::HttpEndpoint(Encoding::Gzip, IN_FLIGHT),
    Case::OpenSearch(Encoding::None),
    Case::OpenSearch(Encoding::Gzip),
];

/// What the environment says about a run.
struct Settings {
    bytes: u64,
    runs: u32,
    /// Keeps the log from run to run, and what Hydrant writes for the time of a run.
    cache: PathBuf,
}

const USAGE: &str = "usage: cargo bench --bench receivers [-- http | opensearch]";

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let cases = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(CASES.to_vec()),
        ["http"] => Ok(CASES[..3].to_vec()),
        ["opensearch"] => Ok(CASES[3..].to_vec()),
        _ => Err(USAGE.into()),
    };
    match cases.and_then(|cases| run(&Settings::from_environment()?, &cases)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings, receivers: &[Case]) -> Result<()> {
    let input = Workload::Json.file(&settings.cache, settings.bytes)?;
    let records = count_lines(&input)?;
    println!(
        "{:.2} GB of JSON, {records} records, from the page cache; best of {} runs (memory: the most).\n",
        settings.bytes as f64 / 1e9,
        settings.runs
    );
    let mut measured: Vec<(Case, Usage)> = Vec::new();
    for case in [&[Case::Directory], receivers].concat() {
        measured.push((case, once(settings, case, &input, records)?));
    }
    // All cases once, then all again: what else the machine does falls on all of them.
    for _ in 1..settings.runs {
        for (case, usage) in &mut measured {
            *usage = usage.best(once(settings, *case, &input, records)?);
        }
    }
    print(settings, records, &measured);
    Ok(())
}

fn print(settings: &Settings, records: u64, measured: &[(Case, Usage)]) {
    println!("| case | records/s | MB/s | CPU s/GB | MB/CPU s | peak MB | of the directory's rate | of its CPU rate |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let megabytes = settings.bytes as f64 / 1e6;
    let [(_, reference), receivers @ ..] = measured else { return };
    for (case, usage) in measured {
        let (wall, cpu) = (usage.wall.as_secs_f64(), usage.cpu.as_secs_f64());
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} |",
            case.label(),
            records as f64 / wall,
            megabytes / wall,
            1000.0 * cpu / megabytes,
            megabytes / cpu,
            usage.peak as f64 / 1e6,
            reference.wall.as_secs_f64() / wall,
            reference.cpu.as_secs_f64() / cpu,
        );
    }
    println!("\n| aim | measured | |\n| --- | ---: | --- |");
    for (case, usage) in receivers {
        let rate = reference.wall.as_secs_f64() / usage.wall.as_secs_f64();
        let met = if rate >= AIM { "met" } else { "**missed**" };
        println!("| {}: at least {AIM:.2} of the rate of tail → gzip → directory | {rate:.2} | {met} |", case.label());
    }
}

/// One `run --drain`; every record has to arrive, but for the log's last one: that is cut, so it is no document.
fn once(settings: &Settings, case: Case, input: &Path, records: u64) -> Result<Usage> {
    let folder = Folder::new(&settings.cache)?;
    let receiver = case.protocol().map(Null::start).transpose()?;
    let configuration = folder.0.join("hydrant.yaml");
    fs::write(&configuration, case.configuration(&folder.0, input, receiver.as_ref().map(|receiver| receiver.port)))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
    command.args(["run", "--drain", "--config"]).arg(configuration);
    let usage = process::run(&mut command, &folder.0.join("said"))?;
    if let Some(receiver) = receiver
        && let (taken, failed) = (receiver.records(), failed(&folder.0.join("backup"))?)
        && (taken + failed != records || failed > 1)
    {
        return Err(format!("{}: of {records} records {taken} arrived and {failed} failed", case.label()).into());
    }
    Ok(usage)
}

impl Case {
    fn label(self) -> &'static str {
        match self {
            Self::Directory => "gzip → directory",
            Self::HttpEndpoint(Encoding::None, 1) => "HTTP endpoint, one request at a time",
            Self::HttpEndpoint(Encoding::None, _) => "HTTP endpoint",
            Self::HttpEndpoint(Encoding::Gzip, _) => "HTTP endpoint, gzip",
            Self::OpenSearch(Encoding::None) => "OpenSearch",
            Self::OpenSearch(Encoding::Gzip) => "OpenSearch, gzip",
        }
    }

    fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Directory => None,
            Self::HttpEndpoint(..) => Some(Protocol::Firehose),
            Self::OpenSearch(_) => Some(Protocol::Bulk),
        }
    }

    fn configuration(self, folder: &Path, input: &Path, port: Option<u16>) -> String {
        let encoding = |encoding| if encoding == Encoding::Gzip { "gzip" } else { "none" };
        let port = port.unwrap_or_default();
        let (buffer, destination) = match self {
            Self::Directory => (128, format!("directory: {{ path: {}/objects }}", folder.display())),
            Self::HttpEndpoint(is, in_flight) => (
                64,
                format!(
                    "http_endpoint: {{ url: \"http://127.0.0.1:{port}/\", content_encoding: {}, in_flight: {in_flight} }}",
                    encoding(is)
                ),
            ),
            Self::OpenSearch(is) => (
                64,
                format!(
                    "opensearch: {{ urls: [\"http://127.0.0.1:{port}\"], index: web, content_encoding: {} }}",
                    encoding(is)
                ),
            ),
        };
        let more = match self {
            Self::Directory => "compression: gzip".to_owned(),
            _ => format!("backup: {{ directory: {{ path: {}/backup }} }}", folder.display()),
        };
        format!(
            "state_dir: {}/state\n\
             delivery_streams:\n\
             - name: bench\n\
            \x20 source: {{ file: {{ paths: [\"{}\"] }} }}\n\
            \x20 buffering: {{ size_mb: {buffer}, interval_seconds: 900 }}\n\
            \x20 destination: {{ {destination} }}\n\
            \x20 {more}\n",
            folder.display(),
            input.display(),
        )
    }
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
        let cache = root.join("bench");
        fs::create_dir_all(&cache)?;
        Ok(Self {
            bytes: (number("HYDRANT_BENCH_GB", 1.0)? * 1e9) as u64,
            runs: number("HYDRANT_BENCH_RUNS", 3.0)?.max(1.0).ceil() as u32,
            cache,
        })
    }
}

/// Records in the error output.
fn failed(backup: &Path) -> Result<u64> {
    let mut failed = 0;
    if backup.exists() {
        for entry in walkdir::WalkDir::new(backup) {
            let entry = entry?;
            if entry.file_type().is_file() {
                failed += count_lines(entry.path())?;
            }
        }
    }
    Ok(failed)
}

fn count_lines(path: &Path) -> Result<u64> {
    let mut file = fs::File::open(path)?;
    let (mut block, mut lines) = (vec![0; 1 << 20], 0);
    loop {
        match std::io::Read::read(&mut file, &mut block)? {
            0 => return Ok(lines),
            length => lines += memchr::memchr_iter(b'\n', &block[..length]).count() as u64,
        }
    }
}

/// What one run writes, removed when it is over.
struct Folder(PathBuf);

impl Folder {
    fn new(cache: &Path) -> Result<Self> {
        let folder = cache.join(format!("run-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run with this process id, or by hand.
        let _ = fs::remove_dir_all(&self.0);
    }
}
