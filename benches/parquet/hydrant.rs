//! The real binary, which makes Parquet of a log, and a look at what it has made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow_array::{Array, StringArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Result;
use crate::log::Sum;

const COLUMNS: &str = "[{ name: time, type: timestamp }, { name: level, type: string }, { name: host, type: string }, \
    { name: service, type: string }, { name: method, type: string }, { name: path, type: string }, \
    { name: status, type: int }, { name: bytes, type: bigint }, { name: latency_ms, type: double }, \
    { name: user_id, type: bigint }, { name: trace_id, type: string }, { name: message, type: string }]";

/// What a run reads and writes; removed when it is over.
pub struct Folder(PathBuf);

/// What came out of a run.
pub struct Delivered {
    pub sum: Sum,
    /// Lines of the error output.
    pub failed: u64,
    /// Bytes of all Parquet.
    pub bytes: u64,
    /// Objects in each folder.
    pub objects: BTreeMap<PathBuf, u64>,
}

impl Folder {
    pub fn new(cache: &Path) -> Result<Self> {
        let folder = cache.join(format!("run-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn said(&self) -> PathBuf {
        self.0.join("said")
    }

    /// Removes what the last run has left.
    pub fn clear(&self) -> Result<()> {
        for name in ["state", "objects"] {
            let path = self.0.join(name);
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// `run --drain` over a log. `more` are keys of the whole configuration and of the stream, `prefix` is the objects'.
    pub fn drain(&self, log: &Path, prefix: &str, more: (&str, &str)) -> Result<Command> {
        let text = format!(
            "state_dir: {}\n{}\n\
             delivery_streams:\n\
             - name: bench\n\
            \x20 source: {{ file: {{ paths: [\"{}\"] }} }}\n\
            \x20 buffering: {{ size_mb: 128, interval_seconds: 900 }}\n\
            \x20 format_conversion: {{ schema: {{ inline: {COLUMNS} }}, parquet: {{ compression: snappy }} }}\n\
            \x20 destination: {{ directory: {{ path: {}, prefix: \"{prefix}\", error_output_prefix: \"failed/\" }} }}\n{}\n",
            self.0.join("state").display(),
            more.0,
            log.display(),
            self.0.join("objects").display(),
            more.1,
        );
        let configuration = self.0.join("hydrant.yaml");
        fs::write(&configuration, text)?;
        let binary = std::env::var_os("HYDRANT_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hydrant").into());
        let mut command = Command::new(binary);
        command.args(["run", "--drain", "--config"]).arg(configuration);
        Ok(command)
    }

    /// Reads everything that was delivered.
    pub fn delivered(&self) -> Result<Delivered> {
        let root = self.0.join("objects");
        let mut delivered = Delivered { sum: Sum::default(), failed: 0, bytes: 0, objects: BTreeMap::new() };
        for path in self.objects()? {
            let folder = path.parent().ok_or("an object lies in a folder")?;
            if folder.starts_with(root.join("failed")) {
                delivered.failed += fs::read(&path)?.split(|byte| *byte == b'\n').count() as u64 - 1;
                continue;
            }
            delivered.bytes += add_rows(&path, &mut delivered.sum)?;
            *delivered.objects.entry(folder.to_owned()).or_default() += 1;
        }
        Ok(delivered)
    }

    /// Every complete object.
    pub fn objects(&self) -> Result<Vec<PathBuf>> {
        let root = self.0.join("objects");
        let mut objects = Vec::new();
        if root.exists() {
            let is_visible = |entry: &walkdir::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
            for entry in walkdir::WalkDir::new(root).into_iter().filter_entry(is_visible) {
                let entry = entry?;
                if entry.file_type().is_file() {
                    objects.push(entry.into_path());
                }
            }
        }
        Ok(objects)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by hand.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Adds the rows of a Parquet file, and returns its size.
pub fn add_rows(path: &Path, sum: &mut Sum) -> Result<u64> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let ids = ProjectionMask::columns(reader.parquet_schema(), ["trace_id"]);
    for batch in reader.with_projection(ids).build()? {
        let batch = batch?;
        let ids = batch.column(0).as_any().downcast_ref::<StringArray>().ok_or("trace ids are text")?;
        for index in 0..ids.len() {
            sum.add(ids.value(index).as_bytes());
        }
    }
    Ok(bytes)
}
