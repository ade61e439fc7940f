//! From a key in a record to its column, mostly without looking at more than whether it is the expected one.
//!
//! Programs write their fields in the same order again and again. So for each key it is remembered what stood between its
//! value and the next value the last time, `,"next":` with all blanks; if the same bytes stand there, that is the next key.
//! Where they do not, the key is read and looked up, and remembered in place of the other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::rules::{LEFT_OUT, Rules};
use super::scan::{self, BLOCK};

/// Spellings that are remembered; records with keys that never come again must not fill memory.
const KNOWN_MAX: usize = 4096;
const KNOWN_LEN_MAX: usize = 256;
/// Places for keys that were seen lately; a power of two.
const RECENT: usize = 256;

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
    /// Keys shorter than a block, each in the one place that it may have.
    recent: Box<[Recent; RECENT]>,
}

/// A key with the quote behind it, its length without that, and its id.
#[derive(Debug, Clone, Copy)]
struct Recent {
    key: [u8; BLOCK],
    length: u32,
    id: KeyId,
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
        // No key is as long as a block here, so that nothing is found in an empty place.
        let empty = Recent { key: [0; BLOCK], length: BLOCK as u32, id: OTHER };
        Self { known: HashMap::default(), entries: vec![nothing(), nothing()], recent: Box::new([empty; RECENT]) }
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
        let (id, column, length) = match self.recent(data, cursor + 1) {
            Some(known) => known,
            None => {
                let key = key(data, cursor + 1)?;
                let (id, column) = self.look_up(rules, key)?;
                self.remember(id, key);
                (id, column, key.len())
            }
        };
        cursor = skip_blanks(data, cursor + length + 2);
        if data.get(cursor) != Some(&b':') {
            return None;
        }
        cursor = skip_blanks(data, cursor + 1);
        if let Some((_, expected)) = self.entries.get_mut(usize::from(before.0)) {
            expected.set(data, at, cursor, id)?;
        }
        Some(Read::Key(id, column, cursor))
    }

    /// The key at `at`, if it has been seen lately: for records whose order cannot be foretold.
    #[inline]
    fn recent(&self, data: &[u8], at: usize) -> Option<(KeyId, Option<u16>, usize)> {
        let block = scan::block(data, at)?;
        let length = scan::stops(block).stop.trailing_zeros();
        if length as usize >= BLOCK {
            return None;
        }
        let recent = self.recent.get(slot(block, length))?;
        // With the quote behind it.
        let mask = u32::MAX >> (BLOCK as u32 - 1 - length);
        if recent.length != length || scan::equal(block, &recent.key) & mask != mask {
            return None;
        }
        let (column, _) = self.entries.get(usize::from(recent.id.0))?;
        Some((recent.id, *column, length as usize))
    }

    fn remember(&mut self, id: KeyId, key: &[u8]) {
        if id == OTHER || key.len() >= BLOCK {
            return;
        }
        let mut block = [b'"'; BLOCK];
        block[..key.len()].copy_from_slice(key);
        let length = key.len() as u32;
        if let Some(recent) = self.recent.get_mut(slot(&block, length)) {
            *recent = Recent { key: block, length, id };
        }
    }

    fn look_up(&mut self, rules: &Rules, key: &[u8]) -> Option<(KeyId, Option<u16>)> {
        if let Some(&id) = self.known.get(key) {
            return Some((id, self.entries.get(usize::from(id.0))?.0));
        }
        let name = std::str::from_utf8(key).ok()?;
        let left_out = || rules.is_left_out(name).then_some(LEFT_OUT);
        let column = rules.column(name).map(|index| index as u16).or_else(left_out);
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

    /// What stands in `data[at..end]`, which is not empty.
    fn set(&mut self, data: &[u8], at: usize, end: usize, next: KeyId) -> Option<()> {
        if next == OTHER {
            *self = Self::nothing();
            return Some(());
        }
        let between = data.get(at..end)?;
        let length = between.len().min(BLOCK);
        match scan::block(data, at) {
            // What is too much is masked out.
            Some(block) => self.head = *block,
            None => self.head[..length].copy_from_slice(&between[..length]),
        }
        self.mask = u32::MAX >> (BLOCK - length);
        if between.len() > BLOCK || !self.rest.is_empty() {
            self.rest = between[length..].into();
        }
        self.next = next;
        Some(())
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

/// The bytes of the key that begins at `at`, if there is no escape in it.
fn key(data: &[u8], at: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
    if rest[length] == b'"' { rest.get(..length) } else { None }
}

/// By the key's length and first eight bytes, or so many as it has.
#[inline]
fn slot(block: &[u8; BLOCK], length: u32) -> usize {
    let mut start = [0; 8];
    start.copy_from_slice(&block[..8]);
    let start = u64::from_le_bytes(start) & (u64::MAX >> (64 - 8 * length.clamp(1, 8)));
    let mixed = (start ^ u64::from(length)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - RECENT.trailing_zeros())) as usize
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
