//! One row of CSV, value by value.
//!
//! Invariant: a row has one value more than it has delimiters outside of quotes.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::super::Failure;

/// A value as it stands in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Plain(&'a [u8]),
    /// What is between the quotes, quotes in it still doubled.
    Quoted(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value's text in pieces: between two of them was one half of a doubled quote.
    pub fn pieces(self, quote: Option<u8>) -> Pieces<'a> {
        match self {
            Self::Plain(text) => Pieces { rest: Some(text), quote: None },
            Self::Quoted(text) => Pieces { rest: Some(text), quote },
        }
    }

    pub fn text(self, quote: Option<u8>) -> Cow<'a, [u8]> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Quoted(_) => Cow::Owned(self.pieces(quote).flatten().copied().collect()),
        }
    }
}

pub(super) struct Pieces<'a> {
    rest: Option<&'a [u8]>,
    quote: Option<u8>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(first) = self.quote.and_then(|quote| memchr::memchr(quote, rest)) else { return Some(rest) };
        self.rest = rest.get(first + 2..);
        Some(&rest[..=first])
    }
}

/// Gives the values of a row; after a failure none.
pub(super) struct Row<'a> {
    row: &'a [u8],
    /// Where the next value begins; none after the last.
    at: Option<usize>,
    values: usize,
    delimiter: &'a Finder<'static>,
    quote: Option<u8>,
}

impl<'a> Row<'a> {
    pub fn new(row: &'a [u8], delimiter: &'a Finder<'static>, quote: Option<u8>) -> Self {
        Self { row, at: Some(0), values: 0, delimiter, quote }
    }

    fn plain(&mut self, start: usize) -> Value<'a> {
        let rest = &self.row[start..];
        let found = match self.delimiter.needle() {
            [byte] => memchr::memchr(*byte, rest),
            _ => self.delimiter.find(rest),
        };
        self.at = found.map(|len| start + len + self.delimiter.needle().len());
        Value::Plain(&rest[..found.unwrap_or(rest.len())])
    }

    fn quoted(&mut self, quote: u8, start: usize) -> Result<Value<'a>, Failure> {
        let mut end = start;
        loop {
            let Some(found) = memchr::memchr(quote, &self.row[end..]) else {
                return Err(Failure::new(format!("column {} has no closing quote", self.values)));
            };
            end += found;
            if self.row.get(end + 1) != Some(&quote) {
                break;
            }
            end += 2;
        }
        let behind = &self.row[end + 1..];
        if behind.starts_with(self.delimiter.needle()) {
            self.at = Some(end + 1 + self.delimiter.needle().len());
        } else if !behind.is_empty() {
            return Err(Failure::new(format!("column {} has text behind its closing quote", self.values)));
        }
        Ok(Value::Quoted(&self.row[start..end]))
    }
}

impl<'a> Iterator for Row<'a> {
    type Item = Result<Value<'a>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at.take()?;
        self.values += 1;
        match self.quote.filter(|quote| self.row.get(start) == Some(quote)) {
            Some(quote) => Some(self.quoted(quote, start + 1)),
            None => Some(Ok(self.plain(start))),
        }
    }
}
