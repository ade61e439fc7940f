//! How much memory the rows of one record may take. A null takes as much as any other value of its type, so that a little JSON
//! may ask for very much: `{}` for a row of a thousand columns.
//!
//! It is a function of the record and the schema alone, as all that becomes of a record is: another configuration of memory
//! changes nobody's fate.

use super::error::Misfit;

/// Any record may take so much; a record that becomes very many rows is very long, and may take twice its length.
const ROOM_MIN: usize = 16 << 20;

/// What the rows of one record may still take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    max: usize,
    left: usize,
}

impl Room {
    /// For a record of so many bytes, and rows that take so many at least.
    pub(super) fn new(json_bytes: usize, row_bytes: usize) -> Self {
        let max = ROOM_MIN.max(2 * json_bytes).max(4 * row_bytes);
        Self { max, left: max }
    }

    /// Bytes that have been taken.
    pub fn taken(&self) -> usize {
        self.max - self.left
    }

    /// Takes bytes that are not for values; what is more than is left leaves nothing.
    pub fn reduce(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Takes room for so many values of so many bytes, before they are there.
    #[inline]
    pub(super) fn take(&mut self, values: usize, bytes: usize) -> Result<(), Misfit> {
        let left = values.checked_mul(bytes).and_then(|taken| self.left.checked_sub(taken));
        self.left = left.ok_or(Misfit::TooLarge { max_mb: self.max >> 20 })?;
        Ok(())
    }
}
