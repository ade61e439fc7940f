//! Record format conversion in the data path: what a chunk's records leave behind as rows.
//!
//! Always true: each object of a record becomes one row or one failure, in the record's order.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::convert::{self, Columns, Decoder};
use crate::envelope::DataCatalogTable;

use super::{ErrorCode, Failure};

/// Decoders that have learnt how records look are kept, as many as there may be chunks at a time on most machines.
const DECODERS_MAX: usize = 16;

/// Converts by one schema.
pub struct Conversion {
    table: Option<Arc<DataCatalogTable>>,
    fresh: Decoder,
    /// Each with columns that have room for as much as it has last made: what grows while it is filled is copied again and again,
    /// and leaves holes of all sizes behind.
    learned: Mutex<Vec<(Decoder, Columns)>>,
}

/// What has become of some records.
pub struct Converted {
    pub columns: Columns,
    /// For each record the rows up to its end.
    pub ends: Vec<u32>,
    /// Ascending by record: its number, the object's bytes, and why it is no row.
    pub failures: Vec<(usize, Range<usize>, Failure)>,
}

impl Conversion {
    /// `table` is what failures name, if the schema is one of a registry.
    pub fn new(decoder: Decoder, table: Option<DataCatalogTable>) -> Self {
        Self { table: table.map(Arc::new), fresh: decoder, learned: Mutex::default() }
    }

    /// No rows yet.
    pub fn columns(&self) -> Columns {
        self.fresh.columns()
    }

    /// Converts for each record the pieces of `data` in which it stands, one made record each. Burns CPU.
    pub fn convert<P: Iterator<Item = Range<usize>>>(
        &self,
        data: &[u8],
        records: impl Iterator<Item = P>,
    ) -> Converted {
        let learned = self.learned().pop();
        let (mut decoder, columns) = learned.unwrap_or_else(|| (self.fresh.clone(), self.fresh.columns()));
        let mut converted = Converted { columns, ends: Vec::new(), failures: Vec::new() };
        let mut failed = Vec::new();
        for (index, pieces) in records.enumerate() {
            for piece in pieces {
                if let Err(full) = decoder.decode(data, piece.clone(), &mut converted.columns, &mut failed) {
                    // A chunk is far smaller than what columns take.
                    converted.failures.push((index, piece, Failure::new(full.to_string())));
                }
                let failure = |failure: convert::Failure| (index, failure.bytes.clone(), self.failure(failure));
                converted.failures.extend(failed.drain(..).map(failure));
            }
            converted.ends.push(converted.columns.rows() as u32);
        }
        let room = converted.columns.emptied();
        let mut learned = self.learned();
        if learned.len() < DECODERS_MAX {
            learned.push((decoder, room));
        }
        converted
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
