//! A lane whose payload is one Parquet file: rows are gathered, written a batch at a time on the compute pool, and leave memory
//! with their row group.
//!
//! Always true: the file holds the rows in the order in which they were pushed, each once. What is held in memory is covered by
//! the stream's budget: rows that wait, and of the row group that is being built the pages that are not complete.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;

use crate::convert::{Columns, Encodings, FileSchema, ParquetOptions, ParquetWriter, WriteError};
use crate::memory::{Permit, StreamBudget};
use crate::pool::{ComputePool, join};

use super::appender::Appender;
use super::lane::{Formed, Forming, Piece};
use super::pages::Pages;

/// So much JSON is written at a time.
const BATCH_BYTES: u64 = 1 << 20;
/// Or so many bytes of rows: where they are wide and mostly null, they are far more than their JSON.
const BATCH_ROWS: usize = 4 << 20;
/// Of what is complete, about.
const BLOCK: usize = 256 << 10;

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

/// Bytes of memory, for whoever decides what leaves it.
pub(super) struct Counts {
    /// What sealing would set free.
    pub held: Arc<AtomicU64>,
    /// Of that, what nothing else sets free.
    pub lasting: Arc<AtomicU64>,
}

pub(super) struct Worker {
    table: Table,
    pool: ComputePool,
    counts: Counts,
    payload: Appender,
    /// What the file's sink has for the payload.
    blocks: mpsc::UnboundedReceiver<Vec<u8>>,
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
    pages: Pages,
    sink: Sink,
}

/// Where the library puts what is complete: it goes on to the payload in blocks, while the rest of a row group is still being
/// put together. It never waits there, for a disk that is full must not hold a core.
#[derive(Clone)]
struct Sink(Arc<Mutex<Gathered>>);

struct Gathered {
    block: Vec<u8>,
    blocks: mpsc::UnboundedSender<Vec<u8>>,
}

impl Sink {
    fn new(blocks: mpsc::UnboundedSender<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(Gathered { block: Vec::new(), blocks })))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.block.extend_from_slice(bytes);
        if gathered.block.len() >= BLOCK {
            gathered.hand_over();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hand_over();
        Ok(())
    }
}

impl Gathered {
    fn hand_over(&mut self) {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            // Without a receiver the payload is given up.
            let _ = self.blocks.send(block);
        }
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
    pub fn new(forming: &Forming, table: Table, pool: ComputePool, counts: Counts) -> Self {
        let name = format!("{}.pages", forming.entry_name);
        let pages = Pages::new(forming.folder.clone(), name, forming.memory_max, forming.log.clone());
        let (sender, blocks) = mpsc::unbounded_channel();
        let (rows, permit) = (Rows::new(&table, pages, Sink::new(sender)), table.budget.overdraw(0));
        Self { payload: Appender::new(forming), blocks, table, pool, counts, rows, records: 0, permit }
    }

    pub async fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Formed {
        while let Some(piece) = pieces.recv().await {
            if let Piece::LeaveMemory = piece {
                self.write(Until::GroupClosed).await;
                self.leave_memory().await;
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
            self.counts.held.fetch_add((self.memory() - before).wrapping_sub(piece.len()), Ordering::Relaxed);
            self.cover();
            drop(piece);
            if self.rows.waiting_bytes >= BATCH_BYTES || self.rows.waiting.filled() >= BATCH_ROWS {
                self.write(Until::Written).await;
            }
        }
        self.write(Until::FileClosed).await;
        Formed { payload: self.payload.finish(), records: self.records }
    }

    async fn write(&mut self, until: Until) {
        let before = self.memory() + self.payload.memory();
        let nothing = Rows::new(&self.table, self.rows.pages.clone(), self.rows.sink.clone());
        let mut rows = std::mem::replace(&mut self.rows, nothing);
        let table = self.table.clone();
        let mut written = std::pin::pin!(join(self.pool.spawn(move || {
            let result = rows.write(&table, until);
            (rows, result)
        })));
        let (rows, result) = loop {
            tokio::select! {
                written = &mut written => break written,
                Some(block) = self.blocks.recv() => self.payload.append(Bytes::from(block)).await,
            }
        };
        while let Ok(block) = self.blocks.try_recv() {
            self.payload.append(Bytes::from(block)).await;
        }
        if let Err(error) = result {
            // Records cannot cause it, for rows are of the schema; a disk can that does not give back the pages that it has
            // taken. The stream begins anew.
            panic!("a Parquet file cannot be formed: {error}");
        }
        self.rows = rows;
        self.counts.held.fetch_add((self.memory() + self.payload.memory()).wrapping_sub(before), Ordering::Relaxed);
        self.cover();
    }

    /// What was made of rows goes to the disk.
    async fn leave_memory(&mut self) {
        let before = self.payload.memory();
        self.payload.leave_memory().await;
        self.counts.held.fetch_sub(before - self.payload.memory(), Ordering::Relaxed);
        self.cover();
    }

    fn memory(&self) -> u64 {
        (self.rows.waiting.memory() + self.rows.file.as_ref().map_or(0, ParquetWriter::memory)) as u64
    }

    fn cover(&self) {
        let lasting = self.rows.file.as_ref().map_or(0, ParquetWriter::metadata_memory);
        self.counts.lasting.store(lasting as u64, Ordering::Relaxed);
        self.table.budget.cover(&self.permit, self.memory() + self.payload.memory());
    }
}

impl Rows {
    fn new(table: &Table, pages: Pages, sink: Sink) -> Self {
        Self { waiting: table.empty.clone(), waiting_bytes: 0, file: None, pages, sink }
    }

    fn write(&mut self, table: &Table, until: Until) -> Result<(), WriteError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let encodings = table.encodings.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let metadata = table.metadata.as_ref().clone();
                let (schema, options) = (table.schema.clone(), table.options.clone());
                ParquetWriter::new(self.sink.clone(), schema, options, metadata, encodings)?
                    .with_pages(Arc::new(self.pages.clone()))
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
        self.sink.flush().map_err(ParquetError::from)?;
        Ok(())
    }
}
