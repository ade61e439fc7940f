//! A place in a line, for scanners.
//!
//! Invariant: the place is never behind the end, and what is taken lies between two places.

use std::fmt;

/// What a line would have needed to match, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub expected: &'static str,
    /// Offset in bytes from the line's beginning.
    pub at: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    /// What has not been taken yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.line.len()
    }

    pub fn mismatch(&self, expected: &'static str) -> Mismatch {
        Mismatch { expected, at: self.at }
    }

    /// Takes the next `count` bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let rest = self.rest();
        let count = count.min(rest.len());
        self.at += count;
        &rest[..count]
    }

    /// Takes `literal` if it comes next.
    pub fn eat(&mut self, literal: &[u8]) -> bool {
        let is_next = self.rest().starts_with(literal);
        if is_next {
            self.at += literal.len();
        }
        is_next
    }

    /// Takes `literal`; `expected` says how to call it.
    pub fn expect(&mut self, literal: &[u8], expected: &'static str) -> Result<(), Mismatch> {
        if self.eat(literal) { Ok(()) } else { Err(self.mismatch(expected)) }
    }

    /// Takes bytes up to a space or the end, at least one.
    pub fn word(&mut self, expected: &'static str) -> Result<&'a [u8], Mismatch> {
        let len = memchr::memchr(b' ', self.rest()).unwrap_or(self.rest().len());
        if len == 0 { Err(self.mismatch(expected)) } else { Ok(self.take(len)) }
    }

    /// Takes a word and the space behind it.
    pub fn word_and_space(&mut self, expected: &'static str) -> Result<&'a [u8], Mismatch> {
        let word = self.word(expected)?;
        self.expect(b" ", "a space")?;
        Ok(word)
    }

    /// Takes digits, perhaps none.
    pub fn digits(&mut self) -> &'a [u8] {
        let len = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.take(len)
    }

    /// Takes what has the shape: `d` is a digit, `_` a digit or a space, `a` a letter, `s` a sign, the rest itself.
    pub fn eat_shape(&mut self, shape: &[u8]) -> bool {
        let is_next = has_shape(self.rest(), shape);
        if is_next {
            self.at += shape.len();
        }
        is_next
    }

    /// What has been taken since `start`.
    pub fn since(&self, start: Cursor<'a>) -> &'a [u8] {
        &self.line[start.at..self.at]
    }
}

/// Whether `text` begins with what has the shape.
pub(super) fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let is_like = |(&byte, &like): (&u8, &u8)| match like {
        b'd' => byte.is_ascii_digit(),
        b'_' => byte.is_ascii_digit() || byte == b' ',
        b'a' => byte.is_ascii_alphabetic(),
        b's' => byte == b'+' || byte == b'-',
        _ => byte == like,
    };
    text.len() >= shape.len() && text.iter().zip(shape).all(is_like)
}
