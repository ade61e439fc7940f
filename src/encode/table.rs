//! A lane whose payload is one Parquet file: rows are gathered, written a batch at a time on the compute pool, and leave memory
//! with their row group.
//!
//! Always true: the file holds the rows in the order in which they were pushed, each once. What is held in memory is covered by
//! the stream's budget: rows that wait, and the row group that is being built.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::convert::{Columns, Encodings, FileSchema, ParquetOptions, ParquetWriter, WriteError};
use crate::memory::{Permit, StreamBudget};
use crate::pool::{ComputePool, join};

use super::appender::Appender;
use super::lane::{Formed, Forming, Piece};

/// So much JSON is written at a time.
const BATCH_BYTES: u64 = 1 << 20;

/// How the rows of one delivery stream become files.
#[derive(Clone)]
pub struct Table {
    pub schema: Arc<FileSchema>,
    pub options: Arc<ParquetOptions>,
    /// Key-value metadata of each file.
    pub metadata: Arc<Vec<(String, String)>>,
    /// No rows yet.
    pub empty: Columns,
    pub budget: Arc<StreamBudget>,
    /// What the first file has chosen, for all others.
    pub encodings: Arc<Mutex<Option<Encodings>>>,
}

pub(super) struct Worker {
    table: Table,
    pool: ComputePool,
    /// Bytes that sealing, or closing the row group, would set free.
    held: Arc<AtomicU64>,
    payload: Appender,
    rows: Rows,
    records: u64,
    /// For what is in `rows`.
    permit: Permit,
}

/// What moves to the pool and back.
struct Rows {
    waiting: Columns,
    /// Of the JSON that they were made of.
    waiting_bytes: u64,
    file: Option<ParquetWriter<Sink>>,
    sink: Sink,
}

/// Where the library puts what is complete, until it is fetched.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How far a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Written,
    GroupClosed,
    FileClosed,
}

impl Worker {
    pub fn new(forming: &Forming, table: Table, pool: ComputePool, held: Arc<AtomicU64>) -> Self {
        let rows = Rows { waiting: table.empty.clone(), waiting_bytes: 0, file: None, sink: Sink::default() };
        let permit = table.budget.overdraw(0);
        Self { payload: Appender::new(forming), table, pool, held, rows, records: 0, permit }
    }

    pub async fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Formed {
        while let Some(piece) = pieces.recv().await {
            if let Piece::CloseGroup = piece {
                self.write(Until::GroupClosed).await;
                continue;
            }
            if self.rows.waiting_bytes + piece.len() > BATCH_BYTES && self.rows.waiting_bytes > 0 {
                self.write(Until::Written).await;
            }
            let before = self.memory();
            piece.append_to(&mut self.rows.waiting);
            self.rows.waiting_bytes += piece.len();
            self.records += piece.records();
            // From here on it is counted where it is now.
            self.held.fetch_add((self.memory() - before).wrapping_sub(piece.len()), Ordering::Relaxed);
            self.cover();
            drop(piece);
            if self.rows.waiting_bytes >= BATCH_BYTES {
                self.write(Until::Written).await;
            }
        }
        self.write(Until::FileClosed).await;
        Formed { payload: self.payload.finish(), records: self.records }
    }

    async fn write(&mut self, until: Until) {
        let before = self.memory() + self.payload.memory();
        let nothing = Rows { waiting: self.table.empty.clone(), waiting_bytes: 0, file: None, sink: Sink::default() };
        let mut rows = std::mem::replace(&mut self.rows, nothing);
        let table = self.table.clone();
        let written = self.pool.spawn(move || {
            let result = rows.write(&table, until);
            (rows, result)
        });
        let (rows, result) = join(written).await;
        if let Err(error) = result {
            // Neither records nor disks can cause it: rows are of the schema, and the sink is memory. The stream begins anew.
            panic!("a Parquet file cannot be formed: {error}");
        }
        self.rows = rows;
        self.payload.append(Bytes::from(self.rows.sink.take())).await;
        self.held.fetch_add((self.memory() + self.payload.memory()).wrapping_sub(before), Ordering::Relaxed);
        self.cover();
    }

    fn memory(&self) -> u64 {
        (self.rows.waiting.memory() + self.rows.file.as_ref().map_or(0, ParquetWriter::memory)) as u64
    }

    fn cover(&self) {
        self.table.budget.cover(&self.permit, self.memory() + self.payload.memory());
    }
}

impl Rows {
    fn write(&mut self, table: &Table, until: Until) -> Result<(), WriteError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let encodings = table.encodings.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let metadata = table.metadata.as_ref().clone();
                ParquetWriter::new(self.sink.clone(), table.schema.clone(), table.options.clone(), metadata, encodings)?
            }
        };
        if !self.waiting.is_empty() {
            file.write(&mut self.waiting)?;
            let mut known = table.encodings.lock().unwrap_or_else(PoisonError::into_inner);
            if known.is_none() {
                *known = file.encodings().cloned();
            }
        }
        self.waiting_bytes = 0;
        match until {
            Until::Written => self.file = Some(file),
            Until::GroupClosed => {
                file.close_group()?;
                // Its room is somebody else's now.
                self.waiting = table.empty.clone();
                self.file = Some(file);
            }
            Until::FileClosed => {
                file.close()?;
            }
        }
        Ok(())
    }
}
