//! Record format conversion in the data path: what a chunk's records leave behind as rows.
//!
//! Always true: each object of a record becomes one row or one failure, in the record's order, but for a record of which very
//! many fail. The rows of one record take no more memory than was said, and whoever converts a chunk can tell after each record
//! how much its rows take.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::convert::{self, Columns, Decoder, Room};
use crate::envelope::DataCatalogTable;
use crate::record::Rows;

use super::{ErrorCode, Failure};

/// Decoders that have learnt how records look are kept, as many as there may be chunks at a time on most machines.
const DECODERS_MAX: usize = 16;
/// Bytes of room that their columns may keep together: nobody else counts them.
const KEPT_MAX: usize = 8 << 20;
/// Once the rows of a chunk take about as much, the rest of it waits for its own turn.
pub const ROWS_MAX: usize = 4 << 20;
/// Of one record no more than that fails in parts.
const FAILED_PARTS_MAX: usize = 1_000;

/// Converts by one schema.
pub struct Conversion {
    table: Option<Arc<DataCatalogTable>>,
    fresh: Decoder,
    /// Each with columns that have room for as much as it has last made: what grows while it is filled is copied again and again,
    /// and leaves holes of all sizes behind.
    learned: Mutex<Vec<(Decoder, Columns)>>,
}

/// Rows of records, while they are made.
pub struct Converting {
    decoder: Decoder,
    columns: Columns,
    /// For each record the rows up to its end.
    ends: Vec<u32>,
    /// What the rows take in memory, or a little more.
    bytes: usize,
    failed: Vec<convert::Failure>,
}

/// An object's bytes, and why it is no row.
pub type FailedObject = (Range<usize>, Failure);

impl Conversion {
    /// `table` is what failures name, if the schema is one of a registry.
    pub fn new(decoder: Decoder, table: Option<DataCatalogTable>) -> Self {
        Self { table: table.map(Arc::new), fresh: decoder, learned: Mutex::default() }
    }

    /// No rows yet.
    pub fn columns(&self) -> Columns {
        self.fresh.columns()
    }

    /// What all rows of one source record may take, of which so many bytes of JSON were made.
    pub fn room(&self, json_bytes: usize) -> Room {
        self.fresh.room(json_bytes)
    }

    /// How many records make no more rows than are made at a time, if each is one row without arrays and maps.
    pub fn records_at_a_time(&self) -> usize {
        (ROWS_MAX / self.fresh.row_bytes()).max(1)
    }

    /// Begins without rows; [`Conversion::end`] takes back what was learnt.
    pub fn begin(&self) -> Converting {
        let learned = self.learned().pop();
        let (decoder, columns) = learned.unwrap_or_else(|| (self.fresh.clone(), self.fresh.columns()));
        Converting { decoder, columns, ends: Vec::new(), bytes: 0, failed: Vec::new() }
    }

    /// Converts a record that stands in `pieces` of `data`, one behind the other; what fails is added to `failures`. Burns CPU.
    pub fn record(
        &self,
        converting: &mut Converting,
        data: &[u8],
        mut pieces: impl Iterator<Item = Range<usize>>,
        room: &mut Room,
        failures: &mut Vec<FailedObject>,
    ) {
        let (taken, failed_before) = (room.taken(), failures.len());
        let Converting { decoder, columns, ends, bytes, failed } = converting;
        while let Some(piece) = pieces.next() {
            if failures.len() - failed_before >= FAILED_PARTS_MAX {
                let end = pieces.last().map_or(piece.end, |last| last.end);
                let message = "very many parts of the record failed, so that the rest of it does as a whole";
                let failure = Failure::new(message.to_owned());
                failures.push((
                    piece.start..end,
                    Failure { code: ErrorCode::NotInSchema, table: self.table.clone(), ..failure },
                ));
                break;
            }
            *bytes += piece.len();
            if let Err(full) = decoder.decode_within(data, piece.clone(), columns, failed, room) {
                // A chunk is far smaller than what columns take.
                failures.push((piece, Failure::new(full.to_string())));
            }
            failures.extend(failed.drain(..).map(|failure| (failure.bytes.clone(), self.failure(failure))));
        }
        *bytes += room.taken() - taken;
        ends.push(columns.rows() as u32);
    }

    /// Rows of what is one record's alone and leaves by itself. The columns' own memory is taken from `room`, too.
    pub fn apart(&self, data: &[u8], room: &mut Room, failures: &mut Vec<FailedObject>) -> Columns {
        let columns = self.fresh.columns();
        room.reduce(columns.memory());
        let mut converting = Converting { columns, ..self.begin() };
        self.record(&mut converting, data, std::iter::once(0..data.len()), room, failures);
        let Converting { decoder, columns, .. } = converting;
        self.keep(decoder, self.fresh.columns());
        columns
    }

    pub fn end(&self, converting: Converting) -> Rows {
        let Converting { decoder, columns, ends, .. } = converting;
        self.keep(decoder, columns.emptied());
        Rows { columns: Arc::new(columns), start: 0, ends }
    }

    fn keep(&self, decoder: Decoder, room: Columns) {
        let mut learned = self.learned();
        if learned.len() < DECODERS_MAX {
            let kept = learned.iter().map(|(_, room)| room.memory()).sum::<usize>();
            let room = if kept + room.memory() <= KEPT_MAX { room } else { self.fresh.columns() };
            learned.push((decoder, room));
        }
    }

    fn learned(&self) -> std::sync::MutexGuard<'_, Vec<(Decoder, Columns)>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, failure: convert::Failure) -> Failure {
        let code = match failure.code {
            convert::ErrorCode::ParseError => ErrorCode::NotJson,
            convert::ErrorCode::MalformedData => ErrorCode::NotInSchema,
        };
        Failure { code, table: self.table.clone(), ..Failure::new(failure.message) }
    }
}

impl Converting {
    /// Whether as many rows have been made as are made at a time.
    pub fn is_enough(&self) -> bool {
        self.bytes >= ROWS_MAX
    }

    /// Records that were converted.
    pub fn records(&self) -> usize {
        self.ends.len()
    }

    /// Rows of the record that was converted last.
    pub fn last_rows(&self) -> u32 {
        match self.ends.as_slice() {
            [.., before, last] => last - before,
            [only] => *only,
            [] => 0,
        }
    }
}
