//! A lane forms one payload while its records arrive.
//!
//! Always true: the payload holds the pieces in the order in which they were pushed, and counts every record that it holds.
//! Pieces are gathered into blocks; the blocks are encoded side by side on the compute pool and written in order. What waits
//! here is bounded: the records of one chunk, a channel of a few pieces, a block being gathered, and one block for each core.
//!
//! What is pushed of one chunk leaves as one piece, however many runs of its records that are: handing a piece over wakes the
//! worker, which costs more than a small record does.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::error;

use crate::convert::Columns;
use crate::log_limit::LogLimit;
use crate::memory::{Permit, guarded};
use crate::pool::{ComputePool, join};
use crate::record::Chunk;
use crate::record::Content;

use super::appender::Appender;
use super::codec::{BLOCK, Codec, EncodeError, EncodedBlock, Totals};
use super::frames;
use super::payload::Payload;
use super::table::{self, Table};

/// Pieces that may wait for the lane.
const WAITING: usize = 4;
/// A block of very many very small pieces is encoded before it is full.
const PIECES_MAX: usize = 4096;
/// After an error of a compressing library, until it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How a payload is formed.
#[derive(Clone)]
pub struct Forming {
    /// Where it is a file of rows; the codec means nothing then.
    pub table: Option<Table>,
    pub codec: Codec,
    /// Put after each record that does not end with it already.
    pub output_delimiter: Arc<[u8]>,
    /// The records' own delimiter is the output's: their bytes leave as they came.
    pub is_same_delimiter: bool,
    /// Each record is a frame of its own: see [`frames`].
    pub is_framed: bool,
    /// Name of the entry in an archive: the delivery id.
    pub entry_name: String,
    pub at: Timestamp,
    /// Where a payload goes that grows past `memory_max` bytes.
    pub folder: PathBuf,
    pub memory_max: u64,
    /// Of all payloads that lie there.
    pub log: Arc<LogLimit>,
}

/// Some of the records of one chunk, or what was made of them: a part of a payload.
pub(super) enum Piece {
    /// Runs `from..to` of a chunk's records, ascending; at least one.
    Records { chunk: Chunk, runs: Vec<(usize, usize)> },
    /// So many records that are complete as they stand, delimiters included; at least one part.
    Ready { parts: Vec<Bytes>, records: u64, permit: Arc<Permit> },
    /// Rows that were made of so many bytes of JSON.
    Rows { columns: Arc<Columns>, bytes: u64, permit: Arc<Permit> },
    /// Memory is short: rows and what was made of them leave it.
    LeaveMemory,
}

/// A finished payload and what it holds, counted where it was written.
pub struct Formed {
    pub payload: Payload,
    pub records: u64,
}

/// The sending end. Dropped without [`Lane::finish`], the payload is thrown away.
pub struct Lane {
    pieces: mpsc::Sender<Piece>,
    /// What was pushed and not handed over yet.
    waiting: Option<Piece>,
    held: Arc<AtomicU64>,
    /// Of that, what sealing alone sets free.
    lasting: Arc<AtomicU64>,
    worker: Running,
}

/// A task that ends with its handle.
struct Running(JoinHandle<Formed>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lane {
    pub fn open(forming: Forming, pool: ComputePool) -> Self {
        let (pieces, receiver) = mpsc::channel(WAITING);
        let (held, lasting) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let worker = match forming.table.clone() {
            Some(table) => {
                let counts = table::Counts { held: held.clone(), lasting: lasting.clone() };
                tokio::spawn(table::Worker::new(&forming, table, pool, counts).run(receiver))
            }
            None => tokio::spawn(Worker::new(forming, pool, held.clone()).run(receiver)),
        };
        Self { pieces, waiting: None, held, lasting, worker: Running(worker) }
    }

    /// Adds the records `from..to` of a chunk. They may wait here until [`Lane::hand_over`]; waits while the lane is busy.
    pub async fn push(&mut self, chunk: &Chunk, from: usize, to: usize) {
        self.held.fetch_add(chunk.len(from, to), Ordering::Relaxed);
        if let Some(Piece::Records { chunk: waiting, runs }) = &mut self.waiting
            && waiting.is_same(chunk)
        {
            match runs.last_mut() {
                Some((_, end)) if *end == from => *end = to,
                _ => runs.push((from, to)),
            }
            return;
        }
        self.hand_over().await;
        self.waiting = Some(Piece::Records { chunk: chunk.clone(), runs: vec![(from, to)] });
    }

    /// Adds so many records that are complete as they stand, delimiters included, and were made from bytes that `permit`
    /// covers. The same holds as for [`Lane::push`].
    pub async fn push_ready(&mut self, content: Content, made: u64, covered_by: &Arc<Permit>) {
        self.held.fetch_add(content.len(), Ordering::Relaxed);
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::Rows(columns, bytes) => {
                self.hand_over().await;
                self.waiting = Some(Piece::Rows { columns, bytes, permit: covered_by.clone() });
                return;
            }
        };
        if let Some(Piece::Ready { parts, records, permit }) = &mut self.waiting
            && Arc::ptr_eq(permit, covered_by)
        {
            parts.push(bytes);
            *records += made;
            return;
        }
        self.hand_over().await;
        self.waiting = Some(Piece::Ready { parts: vec![bytes], records: made, permit: covered_by.clone() });
    }

    /// Lets rows, and what was made of them, leave memory. False if the lane is busy: it is to be asked again.
    pub fn leave_memory(&self) -> bool {
        self.pieces.try_send(Piece::LeaveMemory).is_ok()
    }

    /// Hands over what has gathered; whoever has pushed the last of a chunk calls it. Waits while the lane is busy.
    pub async fn hand_over(&mut self) {
        let Some(piece) = self.waiting.take() else { return };
        if self.pieces.send(piece).await.is_err() {
            // The worker ends before its sender only by a panic, which is ours as well.
            join(&mut self.worker.0).await;
        }
    }

    /// Bytes of memory that sealing would set free sooner or later.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes of rows that [`Lane::leave_memory`] would set free.
    pub fn movable(&self) -> u64 {
        self.held().saturating_sub(self.lasting.load(Ordering::Relaxed))
    }

    /// Waits until all that was pushed is in the payload.
    pub async fn finish(mut self) -> Formed {
        self.hand_over().await;
        // The worker sees the end of its pieces when this sender, the only one, is gone.
        drop(self.pieces);
        join(&mut self.worker.0).await
    }
}

impl Piece {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Records { chunk, runs } => runs.iter().map(|&(from, to)| chunk.len(from, to)).sum(),
            Self::Ready { parts, .. } => parts.iter().map(|part| part.len() as u64).sum(),
            Self::Rows { bytes, .. } => *bytes,
            Self::LeaveMemory => 0,
        }
    }

    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Records { chunk, runs } => runs.iter().map(|&(from, to)| chunk.made(from, to)).sum(),
            Self::Ready { records, .. } => *records,
            Self::Rows { columns, .. } => columns.rows() as u64,
            Self::LeaveMemory => 0,
        }
    }

    /// Appends the rows, of a piece that has such. A lane is never given more than columns take: see [`table`].
    pub(super) fn append_to(&self, columns: &mut Columns) {
        match self {
            Self::Records { chunk, runs } => {
                for &(from, to) in runs {
                    if let Some(rows) = &chunk.rows {
                        let _ = columns.append(&rows.columns, rows.range(from, to), chunk.len(from, to) as usize);
                    }
                }
            }
            Self::Rows { columns: rows, bytes, .. } => {
                let _ = columns.append(rows, 0..rows.rows(), *bytes as usize);
            }
            Self::Ready { .. } | Self::LeaveMemory => {}
        }
    }

    fn permit(&self) -> Option<&Arc<Permit>> {
        match self {
            Self::Records { chunk, .. } => Some(&chunk.permit),
            Self::Ready { permit, .. } | Self::Rows { permit, .. } => Some(permit),
            Self::LeaveMemory => None,
        }
    }

    /// The bytes as they stand, where they lie together and nothing has to be changed about them.
    fn plain(&self, forming: &Forming) -> Option<Bytes> {
        match self {
            Self::Ready { parts, .. } => <&[Bytes; 1]>::try_from(parts.as_slice()).ok().map(|[part]| part.clone()),
            Self::Records { chunk, runs } => {
                let (&(from, _), &(_, to)) = (runs.first()?, runs.last()?);
                if forming.is_framed {
                    return None;
                }
                // What lies between the runs may have left nothing in the chunk: it failed or was dropped.
                let is_together = chunk.len(from, to) == self.len();
                let is_as_it_leaves = leaves_as_it_is(chunk, to, forming);
                (is_together && is_as_it_leaves).then(|| chunk.bytes(from, to))
            }
            Self::Rows { .. } | Self::LeaveMemory => Some(Bytes::new()),
        }
    }

    /// Appends the bytes with the output's delimiters.
    fn form(&self, forming: &Forming, out: &mut Vec<u8>) {
        match self {
            Self::Ready { parts, .. } => parts.iter().for_each(|part| out.extend_from_slice(part)),
            Self::Records { chunk, runs } => runs.iter().for_each(|&(from, to)| form(chunk, from, to, forming, out)),
            Self::Rows { .. } | Self::LeaveMemory => {}
        }
    }
}

/// Whether the records of a chunk up to `to` have the output's delimiters already.
fn leaves_as_it_is(chunk: &Chunk, to: usize, forming: &Forming) -> bool {
    let has_bare = chunk.last_is_bare && to == chunk.records();
    chunk.made.is_some() || (forming.is_same_delimiter && !has_bare)
}

fn form(chunk: &Chunk, from: usize, to: usize, forming: &Forming, out: &mut Vec<u8>) {
    if forming.is_framed {
        return frames::append(chunk, from, to, &forming.output_delimiter, out);
    }
    if leaves_as_it_is(chunk, to, forming) {
        out.extend_from_slice(&chunk.data[chunk.record_start(from) as usize..chunk.ends[to - 1] as usize]);
        return;
    }
    let delimiter = &forming.output_delimiter;
    for index in from..to {
        let record = chunk.record(index);
        out.extend_from_slice(record);
        if !record.ends_with(delimiter) {
            out.extend_from_slice(delimiter);
        }
    }
}

struct Worker {
    forming: Arc<Forming>,
    pool: ComputePool,
    held: Arc<AtomicU64>,
    payload: Appender,
    totals: Totals,
    records: u64,
    gathered: Vec<Piece>,
    gathered_len: u64,
    encoding: VecDeque<JoinHandle<Encoded>>,
}

/// A block on its way into the payload, with the input that it was made from until it is there.
struct Encoded {
    pieces: Vec<Piece>,
    result: Result<Blocks, EncodeError>,
}

enum Blocks {
    /// Parts that leave as they are.
    Plain(Vec<Bytes>),
    Encoded(EncodedBlock, Option<Permit>),
}

impl Worker {
    fn new(forming: Forming, pool: ComputePool, held: Arc<AtomicU64>) -> Self {
        Self {
            payload: Appender::new(&forming),
            forming: Arc::new(forming),
            pool,
            held,
            totals: Totals::default(),
            records: 0,
            gathered: Vec::new(),
            gathered_len: 0,
            encoding: VecDeque::new(),
        }
    }

    async fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Formed {
        let header = self.forming.codec.header(&self.forming.entry_name, self.forming.at);
        self.payload.append(Bytes::from(header)).await;
        let side_by_side = self.pool.cores();
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: a handle that was not ready is awaited again.
                encoded = async { (&mut self.encoding[0]).await }, if !self.encoding.is_empty() => {
                    self.encoding.pop_front();
                    match encoded {
                        Ok(encoded) => self.write(encoded).await,
                        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        Err(_) => std::future::pending().await,
                    }
                }
                piece = pieces.recv(), if self.encoding.len() < side_by_side => match piece {
                    Some(piece) => self.gather(piece),
                    None => break,
                },
            }
        }
        self.encode_gathered();
        while let Some(task) = self.encoding.pop_front() {
            let encoded = join(task).await;
            self.write(encoded).await;
        }
        let trailer = self.forming.codec.trailer(&self.forming.entry_name, self.forming.at, &self.totals);
        self.payload.append(Bytes::from(trailer)).await;
        Formed { payload: self.payload.finish(), records: self.records }
    }

    fn gather(&mut self, piece: Piece) {
        let length = piece.len();
        // A chunk that is a block already is not copied together with what came before it.
        if self.gathered_len > 0 && length >= BLOCK as u64 / 2 && self.gathered_len >= BLOCK as u64 / 4 {
            self.encode_gathered();
        }
        self.gathered_len += length;
        self.gathered.push(piece);
        if self.gathered_len >= BLOCK as u64 * 7 / 8 || self.gathered.len() >= PIECES_MAX {
            self.encode_gathered();
        }
    }

    fn encode_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        self.gathered_len = 0;
        let pieces = std::mem::take(&mut self.gathered);
        let forming = self.forming.clone();
        let is_plain = forming.codec.is_identity() && pieces.iter().all(|piece| piece.plain(&forming).is_some());
        let task = if is_plain {
            // Nothing to be computed.
            let bytes = pieces.iter().filter_map(|piece| piece.plain(&forming)).collect();
            let encoded = Encoded { pieces, result: Ok(Blocks::Plain(bytes)) };
            tokio::spawn(std::future::ready(encoded))
        } else {
            self.pool.spawn(move || encode(pieces, &forming))
        };
        self.encoding.push_back(task);
    }

    async fn write(&mut self, mut encoded: Encoded) {
        let blocks = loop {
            match encoded.result {
                Ok(blocks) => break blocks,
                Err(error) => {
                    error!(%error, cause = %error.source, retry_in = ?RETRY, "a block could not be compressed");
                    tokio::time::sleep(RETRY).await;
                    let forming = self.forming.clone();
                    encoded = join(self.pool.spawn(move || encode(encoded.pieces, &forming))).await;
                }
            }
        };
        let parts = match blocks {
            Blocks::Plain(parts) => parts,
            Blocks::Encoded(block, permit) => {
                self.totals.add(&block);
                vec![covered(block.bytes, permit)]
            }
        };
        let input: u64 = encoded.pieces.iter().map(Piece::len).sum();
        self.records += encoded.pieces.iter().map(Piece::records).sum::<u64>();
        drop(encoded.pieces);
        let before = self.payload.memory();
        for part in parts {
            self.payload.append(part).await;
        }
        let grown = self.payload.memory().wrapping_sub(before);
        self.held.fetch_add(grown.wrapping_sub(input), Ordering::Relaxed);
    }
}

fn covered(bytes: Vec<u8>, permit: Option<Permit>) -> Bytes {
    match permit {
        Some(permit) => guarded(bytes, Arc::new(permit)),
        None => Bytes::from(bytes),
    }
}

fn encode(pieces: Vec<Piece>, forming: &Forming) -> Encoded {
    let result = encode_pieces(&pieces, forming);
    Encoded { pieces, result }
}

fn encode_pieces(pieces: &[Piece], forming: &Forming) -> Result<Blocks, EncodeError> {
    let plain = if let [piece] = pieces { piece.plain(forming) } else { None };
    let mut formed = Vec::new();
    let input: &[u8] = match &plain {
        Some(bytes) => bytes,
        None => {
            formed.reserve_exact(pieces.iter().map(|piece| piece.len() as usize + 16).sum());
            pieces.iter().for_each(|piece| piece.form(forming, &mut formed));
            &formed
        }
    };
    if forming.codec.is_identity() {
        let permit = permit_for(formed.len() as u64, pieces);
        return Ok(Blocks::Plain(vec![covered(formed, permit)]));
    }
    let block = forming.codec.encode(input)?;
    let permit = permit_for(block.bytes.len() as u64, pieces);
    Ok(Blocks::Encoded(block, permit))
}

/// As much of the permits of `pieces`, of which there is at least one, as the `bytes` take that were made from them.
fn permit_for(bytes: u64, pieces: &[Piece]) -> Option<Permit> {
    let mut permits = pieces.iter().filter_map(Piece::permit);
    let permit = permits.next()?.split(bytes);
    let mut missing = bytes - permit.bytes();
    for more in permits {
        if missing == 0 {
            break;
        }
        let more = more.split(missing);
        missing -= more.bytes();
        permit.absorb(more);
    }
    Some(permit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Compression;
    use crate::memory::{MemoryBudget, StreamBudget};
    use crate::record::{PartitionId, Position, SourcePartition};
    use proptest::prelude::*;
    use tokio_util::sync::CancellationToken;

    struct File;

    impl SourcePartition for File {
        fn id(&self) -> PartitionId {
            PartitionId(1)
        }

        fn name(&self) -> String {
            String::from("test")
        }

        fn evidence(&self, _: Position) -> Option<crate::record::PlacedEvidence> {
            None
        }

        fn settled(&self, _: Position) {}
    }

    fn chunk(records: &[Vec<u8>], is_bare: bool, budget: &StreamBudget) -> Chunk {
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        for (index, record) in records.iter().enumerate() {
            data.extend_from_slice(record);
            if !(is_bare && index + 1 == records.len()) {
                data.push(b';');
            }
            ends.push(data.len() as u32);
        }
        let permit = budget.acquire(data.len() as u64 * 2, &CancellationToken::new(), Duration::from_secs(1)).unwrap();
        Chunk {
            partition: Arc::new(File),
            start: Position::BEGINNING,
            data: guarded(data, permit.clone()),
            ends: Arc::new(ends),
            delimiter_len: 1,
            last_is_bare: is_bare,
            source_ends: None,
            made: None,
            record_ends: None,
            partitions: None,
            rows: None,
            origins: None,
            earlier: None,
            is_processed: false,
            arrival: Timestamp::UNIX_EPOCH,
            failed_at: None,
            permit,
        }
    }

    async fn content(payload: &Payload) -> Vec<u8> {
        match (payload.parts(), payload.file()) {
            (Some(parts), _) => parts.concat(),
            (None, Some((path, _))) => std::fs::read(path).unwrap(),
            (None, None) => unreachable!(),
        }
    }

    #[tokio::test]
    async fn what_is_pushed_of_one_chunk_is_handed_over_as_one_piece() {
        let budget = MemoryBudget::new(1 << 20).join();
        let chunk = chunk(&vec![b"record".to_vec(); 1000], false, &budget);
        let folder = tempfile::tempdir().unwrap();
        let forming = Forming {
            table: None,
            codec: Codec::new(Compression::None),
            output_delimiter: b";".as_slice().into(),
            is_same_delimiter: true,
            is_framed: false,
            entry_name: String::from("p"),
            at: Timestamp::UNIX_EPOCH,
            folder: folder.path().to_owned(),
            memory_max: 1 << 20,
            log: Arc::default(),
        };
        let mut good = Lane::open(forming.clone(), ComputePool::new());
        let mut failed = Lane::open(forming, ComputePool::new());
        for index in (0..1000).step_by(2) {
            good.push(&chunk, index, index + 1).await;
            failed.push_ready(Content::Bytes(Bytes::from_static(b"line\n")), 1, &chunk.permit).await;
        }
        for (lane, length) in [(&mut good, 7), (&mut failed, 5)] {
            assert_eq!((lane.pieces.capacity(), lane.held()), (WAITING, 500 * length), "nothing is handed over yet");
            lane.hand_over().await;
            assert_eq!(lane.pieces.capacity(), WAITING - 1);
        }
        for (lane, record) in [(good, "record;"), (failed, "line\n")] {
            let formed = lane.finish().await;
            assert_eq!((formed.records, content(&formed.payload).await), (500, record.repeat(500).into_bytes()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_payload_holds_every_record_once_with_its_delimiter(
            chunks in proptest::collection::vec(
                (proptest::collection::vec(("[a-z\n]{0,6}", any::<bool>()), 1..6), any::<bool>()), 1..6),
            delimiter in "[;\n]?",
            compressed in any::<bool>(),
            memory_max in 0u64..100,
        ) {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let memory = MemoryBudget::new(1 << 20);
            let budget = memory.join();
            let (mut expected, mut records) = (Vec::new(), 0);
            let compression = if compressed { Compression::Gzip { level: 1 } } else { Compression::None };
            let forming = Forming {
                table: None,
                codec: Codec::new(compression),
                output_delimiter: delimiter.as_bytes().into(),
                is_same_delimiter: delimiter == ";",
                is_framed: false,
                entry_name: String::from("p"),
                at: Timestamp::UNIX_EPOCH,
                folder: folder.path().to_owned(),
                memory_max,
                log: Arc::default(),
            };
            let formed = runtime.block_on(async {
                let mut lane = Lane::open(forming, ComputePool::new());
                for (texts, is_bare) in &chunks {
                    let records_of: Vec<Vec<u8>> = texts.iter().map(|(text, _)| text.clone().into_bytes()).collect();
                    // A last record without delimiter and without bytes is no record.
                    let is_bare = *is_bare && !records_of[records_of.len() - 1].is_empty();
                    let chunk = chunk(&records_of, is_bare, &budget);
                    for (index, (text, goes_elsewhere)) in texts.iter().enumerate() {
                        if *goes_elsewhere {
                            continue;
                        }
                        expected.extend_from_slice(text.as_bytes());
                        if !text.as_bytes().ends_with(delimiter.as_bytes()) {
                            expected.extend_from_slice(delimiter.as_bytes());
                        }
                        records += 1;
                        lane.push(&chunk, index, index + 1).await;
                        if index % 2 == 1 {
                            expected.extend_from_slice(b"ready");
                            records += 2;
                            lane.push_ready(Content::Bytes(Bytes::from_static(b"ready")), 2, &chunk.permit).await;
                        }
                    }
                    if !is_bare {
                        lane.hand_over().await;
                    }
                }
                lane.finish().await
            });
            prop_assert_eq!(formed.records, records);
            let mut found = runtime.block_on(content(&formed.payload));
            prop_assert_eq!(found.len() as u64, formed.payload.len());
            if compressed {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(found.as_slice()), &mut plain).unwrap();
                found = plain;
            }
            prop_assert_eq!(found, expected);
            drop((formed, runtime));
            prop_assert_eq!(memory.used(), 0, "all memory is given back");
        }
    }
}
