//! From a key in a record to its column, mostly without looking at more than whether it is the expected one.
//!
//! Programs write their fields in the same order again and again. So for each key it is remembered what stood between its
//! value and the next value the last time, `,"next":` with all blanks; if the same bytes stand there, that is the next key.
//! Where they do not, the key is read and looked up, and remembered in place of the other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::rules::Rules;
use super::scan::{self, BLOCK};

/// Spellings that are remembered; records with keys that never come again must not fill memory.
const KNOWN_MAX: usize = 4096;
const KNOWN_LEN_MAX: usize = 256;

/// A key that was met, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyId(u16);

/// Before an object's first key.
pub(super) const START: KeyId = KeyId(0);
/// Any of the keys that are not remembered.
const OTHER: KeyId = KeyId(1);

#[derive(Debug, Clone)]
pub(super) struct Keys {
    known: HashMap<Box<[u8]>, KeyId, BuildHasherDefault<Fold>>,
    /// By id: the key's column, and what is expected behind its value.
    entries: Vec<(Option<u16>, Expected)>,
}

/// What stood between two values the last time.
#[derive(Debug, Clone)]
struct Expected {
    /// Its beginning, and a bit for each byte of that; no bits where nothing is expected.
    head: [u8; BLOCK],
    mask: u32,
    /// What does not fit into a block.
    rest: Box<[u8]>,
    next: KeyId,
}

/// What is read in place of what was expected.
pub(super) enum Read {
    /// A key, its column, and where its value begins.
    Key(KeyId, Option<u16>, usize),
    /// The object ends, and where.
    End(usize),
}

impl Keys {
    pub(super) fn new() -> Self {
        let nothing = || (None, Expected::nothing());
        Self { known: HashMap::default(), entries: vec![nothing(), nothing()] }
    }

    /// The expected key, its column and the place of its value, if it is what stands at `at`.
    #[inline(always)]
    pub(super) fn expected(&self, before: KeyId, data: &[u8], at: usize) -> Option<(KeyId, Option<u16>, usize)> {
        let (_, expected) = self.entries.get(usize::from(before.0))?;
        let next = expected.matches(data, at)?;
        let (column, _) = self.entries.get(usize::from(expected.next.0))?;
        Some((expected.next, *column, next))
    }

    /// Whatever stands at `at`, and expects it the next time. `None` for what is no JSON, or has an escape in the key.
    #[inline(never)]
    pub(super) fn read(&mut self, rules: &Rules, before: KeyId, data: &[u8], at: usize) -> Option<Read> {
        let mut cursor = skip_blanks(data, at);
        let opening = if before == START { b'{' } else { b',' };
        match data.get(cursor) {
            Some(b'}') if before != START => return Some(Read::End(cursor + 1)),
            Some(sign) if *sign == opening => cursor = skip_blanks(data, cursor + 1),
            _ => return None,
        }
        match data.get(cursor) {
            Some(b'"') => {}
            Some(b'}') if before == START => return Some(Read::End(cursor + 1)),
            _ => return None,
        }
        let rest = data.get(cursor + 1..)?;
        let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
        if rest[length] != b'"' {
            return None;
        }
        let (id, column) = self.look_up(rules, &rest[..length])?;
        cursor = skip_blanks(data, cursor + length + 2);
        if data.get(cursor) != Some(&b':') {
            return None;
        }
        cursor = skip_blanks(data, cursor + 1);
        if let Some((_, expected)) = self.entries.get_mut(usize::from(before.0)) {
            expected.set(data.get(at..cursor)?, id);
        }
        Some(Read::Key(id, column, cursor))
    }

    fn look_up(&mut self, rules: &Rules, key: &[u8]) -> Option<(KeyId, Option<u16>)> {
        if let Some(&id) = self.known.get(key) {
            return Some((id, self.entries.get(usize::from(id.0))?.0));
        }
        let column = rules.column(std::str::from_utf8(key).ok()?).map(|index| index as u16);
        if self.known.len() >= KNOWN_MAX || key.len() > KNOWN_LEN_MAX {
            // What is not remembered must not be expected either: it has no place to keep its column in.
            return Some((OTHER, column));
        }
        let id = KeyId(self.entries.len() as u16);
        self.entries.push((column, Expected::nothing()));
        self.known.insert(key.into(), id);
        Some((id, column))
    }
}

impl Expected {
    fn nothing() -> Self {
        Self { head: [0; BLOCK], mask: 0, rest: Box::default(), next: OTHER }
    }

    fn set(&mut self, between: &[u8], next: KeyId) {
        if next == OTHER {
            *self = Self::nothing();
            return;
        }
        let (head, rest) = between.split_at(between.len().min(BLOCK));
        self.head[..head.len()].copy_from_slice(head);
        self.mask = u32::MAX >> (BLOCK - head.len());
        if *self.rest != *rest {
            self.rest = rest.into();
        }
        self.next = next;
    }

    /// Where the value begins.
    #[inline(always)]
    fn matches(&self, data: &[u8], at: usize) -> Option<usize> {
        let length = self.mask.trailing_ones() as usize;
        let is_head = match scan::block(data, at) {
            Some(block) => scan::equal(block, &self.head) & self.mask == self.mask,
            None => data.get(at..)?.starts_with(self.head.get(..length)?),
        };
        let end = at + length;
        if !is_head || length == 0 {
            return None;
        }
        if self.rest.is_empty() {
            return Some(end);
        }
        data.get(end..)?.starts_with(&self.rest).then_some(end + self.rest.len())
    }
}

#[inline]
pub(super) fn skip_blanks(data: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = data.get(at) {
        at += 1;
    }
    at
}

/// A hash of a few bytes. How many keys there are is bounded, so that chosen collisions cost little.
#[derive(Debug, Default)]
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for word in words.iter().chain([&last]) {
            let product =
                u128::from(self.0 ^ u64::from_le_bytes(*word) ^ 0x243F_6A88_85A3_08D3) * 0x9E37_79B9_7F4A_7C15;
            self.0 = (product as u64) ^ ((product >> 64) as u64);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
