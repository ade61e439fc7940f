//! What record format conversion costs: a JSON log in memory becomes columns, and the columns Parquet, on one thread.
//!
//! Time is the thread's CPU time, so that other work on the machine disturbs little; the least of several runs counts.
//! `README.md` beside this folder says how to run it and how to read it.

mod bad;
#[allow(dead_code, reason = "of the workloads only JSON is converted")]
#[path = "../end_to_end/workload.rs"]
mod workload;

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hydrant::convert::{Compression, Decoder, FileSchema, InputOptions, ParquetOptions, ParquetWriter};
use hydrant::schema::Column;
use rustix::time::{ClockId, clock_gettime};

const SCHEMA: [(&str, &str); 12] = [
    ("time", "timestamp"),
    ("level", "string"),
    ("host", "string"),
    ("service", "string"),
    ("method", "string"),
    ("path", "string"),
    ("status", "int"),
    ("bytes", "bigint"),
    ("latency_ms", "double"),
    ("user_id", "bigint"),
    ("trace_id", "string"),
    ("message", "string"),
];
/// Records that are decoded before their columns are written.
const BATCH: usize = 4096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default: f64| match std::env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text.parse::<f64>().map_err(|_| format!("`{name}` is no number: `{text}`")),
    };
    let cache = match (std::env::var_os("HYDRANT_TEST_CACHE"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache/hydrant-tests"),
        (None, None) => return Err("neither `HYDRANT_TEST_CACHE` nor `HOME` is set".into()),
    }
    .join("bench");
    std::fs::create_dir_all(&cache)?;
    let bytes = (number("HYDRANT_BENCH_GB", 0.2)? * 1e9) as u64;
    let runs = number("HYDRANT_BENCH_RUNS", 5.0)?.ceil() as u32;
    let log = std::fs::read(workload::Workload::Json.file(&cache, bytes)?)?;
    let columns = SCHEMA
        .iter()
        .map(|(name, data_type)| {
            let data_type = data_type.parse()?;
            Ok(Column { name: (*name).to_owned(), data_type, is_required: false, comment: None })
        })
        .collect::<Result<Vec<_>, hydrant::schema::TypeError>>()?;
    println!("| case | records | MB/CPU s | ratio |\n| --- | --- | ---: | ---: |");
    let cases = [
        ("decode", None),
        ("decode and write, snappy", Some(Compression::Snappy)),
        ("decode and write, zstd 1", Some(Compression::Zstd { level: 1 })),
        ("decode and write, none", Some(Compression::None)),
    ];
    let inputs = [
        ("all good", Input::new(&log, 0, false)),
        ("1 % bad", Input::new(&log, 1, false)),
        ("50 % bad", Input::new(&log, 50, false)),
        ("keys in random order", Input::new(&log, 0, true)),
    ];
    for (records, input) in &inputs {
        for (case, compression) in cases {
            let outcomes = (0..runs).map(|_| convert(&columns, input, compression)).collect::<Result<Vec<_>, _>>()?;
            let Some((time, written)) = outcomes.into_iter().min() else { continue };
            let speed = input.data.len() as f64 / 1e6 / time.as_secs_f64();
            let ratio =
                if written == 0 { String::new() } else { format!("{:.2}", input.data.len() as f64 / written as f64) };
            println!("| {case} | {records} | {speed:.0} | {ratio} |");
        }
    }
    Ok(())
}

/// Records end to end, so many in a hundred of them bad.
struct Input {
    data: Vec<u8>,
    records: Vec<Range<usize>>,
}

impl Input {
    fn new(log: &[u8], bad: usize, is_shuffled: bool) -> Self {
        let (mut data, mut records) = (Vec::with_capacity(log.len() + log.len() / 16), Vec::new());
        for (index, line) in log.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let start = data.len();
            match bad::spoil(line, index, bad, &mut data) {
                true => {}
                false if is_shuffled => shuffle(line, index, &mut data),
                false => data.extend_from_slice(line),
            }
            records.push(start..data.len());
        }
        // The last line was cut.
        records.pop();
        Self { data, records }
    }
}

/// The same fields in another order; a comma before a quote stands only between them.
fn shuffle(line: &[u8], index: usize, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    let mut fields: Vec<&str> = text.trim_end().trim_matches(['{', '}']).split(",\"").collect();
    let mut random = index as u64;
    for place in (1..fields.len()).rev() {
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        fields.swap(place, (random >> 33) as usize % (place + 1));
    }
    let quoted = fields.iter().map(|field| format!("\"{}", field.trim_start_matches('"')));
    out.extend_from_slice(format!("{{{}}}\n", quoted.collect::<Vec<_>>().join(",")).as_bytes());
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Converts everything, batch by batch, and throws the file away. Returns its size, too.
fn convert(
    columns: &[Column],
    input: &Input,
    compression: Option<Compression>,
) -> Result<(Duration, u64), Box<dyn Error>> {
    let start = cpu_time();
    let mut decoder = Decoder::new(columns, InputOptions::default())?;
    let (mut rows, mut failures) = (decoder.columns(), Vec::new());
    let mut writer = match compression {
        None => None,
        Some(compression) => {
            let options = ParquetOptions { compression, ..ParquetOptions::default() };
            let schema = Arc::new(FileSchema::new(columns, options.timestamps)?);
            Some(ParquetWriter::new(std::io::sink(), schema, Arc::new(options), Vec::new(), None)?)
        }
    };
    for batch in input.records.chunks(BATCH) {
        for record in batch {
            decoder.decode(&input.data, record.clone(), &mut rows, &mut failures)?;
        }
        match &mut writer {
            Some(writer) => writer.write(&mut rows)?,
            None => rows.truncate(0),
        }
        failures.clear();
    }
    let written = writer.map_or(Ok(0), |writer| writer.close().map(|written| written.bytes))?;
    Ok((cpu_time() - start, written))
}
