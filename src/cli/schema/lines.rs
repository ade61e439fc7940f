//! Lines of sample records, one at a time.
//!
//! Always true: no more than [`LINE_BYTES_MAX`] bytes of a file are in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use crate::source::file::{CountedFile, Packing};

use super::TargetError;

/// Longer lines are no records of anybody.
pub(super) const LINE_BYTES_MAX: usize = 64 << 20;

/// The lines of a file, decompressed as the file source would, or of standard input.
pub(super) struct Lines {
    from: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
}

/// One line, without its end.
pub(super) struct Line<'l> {
    /// From 1.
    pub number: u64,
    /// `None` for one that is too long.
    pub text: Option<&'l [u8]>,
}

impl Lines {
    /// Standard input without a path, or with `-`.
    pub fn open(path: Option<&Path>) -> Result<Self, TargetError> {
        let from: Box<dyn BufRead> = match path.filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let unreadable = |source| TargetError::File { path: path.to_owned(), source };
                Box::new(BufReader::with_capacity(1 << 16, content(path).map_err(unreadable)?))
            }
            None => Box::new(io::stdin().lock()),
        };
        Ok(Self { from, line: Vec::new(), number: 0 })
    }

    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        self.line.shrink_to(1 << 20);
        if self.from.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() && self.line.len() > LINE_BYTES_MAX {
            self.from.skip_until(b'\n')?;
            return Ok(Some(Line { number, text: None }));
        }
        Ok(Some(Line { number, text: Some(&self.line) }))
    }
}

fn content(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    let packing = if file.metadata()?.is_file() { Packing::of(path, &file)? } else { None };
    Ok(match packing {
        Some(packing) => packing.decoder(Arc::new(CountedFile::new(file)))?,
        None => Box::new(file),
    })
}
