//! Whether one file holds what was read of another: by the hash of all of it, or byte by byte.
//!
//! Always true: an error or a missing hash means no. Whoever asks takes the file for another one then, and reads it. What was
//! read must be more than the head of the other file's first line, or of its hole: any file of that log may begin so.

use std::io;

use crate::journal::PartitionRow;

use super::content::Content;
use super::cutting::{Cutting, Order};
use super::identity::{Evidence, Shared, extend};
use super::open_file::OpenFile;
use super::prefix::Prefix;
use super::read_so_far::CHECKED;
use super::tail::Tail;

/// Bytes compared at once.
const WINDOW: u64 = 256 << 10;

/// Whether a copy holds everything that was read of a file, by its hash. Where nothing was read, it is known by the first bytes
/// that were seen of the file.
pub(super) fn holds_all(original: &Tail, copy: &Content) -> bool {
    let (file, position) = (&original.file, original.position);
    if position == 0 {
        return copy.look().is_ok_and(|seen| seen.size >= original.size) && file.is_ahead_in(copy);
    }
    let Some(whole) = file.prefix().filter(|prefix| prefix.at() == position) else { return false };
    let mut prefix = whole.again();
    extend(&mut prefix, copy, position).is_ok()
        && prefix.hash() == whole.hash()
        && !is_mere_head(copy, position, original.cutting(), file.order())
}

/// Whether no more than the head of a longer file's first line was read, or of a longer hole. `order` is that of what was read.
pub(super) fn is_mere_head(content: &Content, read: u64, cutting: &Cutting, order: Order) -> bool {
    cutting.is_in_first_line(content, order, read).unwrap_or(true) || is_in_hole(content, read).unwrap_or(true)
}

/// Whether a file begins with a hole that goes on at `position`: it may be that of any writer, and only its end says whose it is.
fn is_in_hole(content: &Content, position: u64) -> io::Result<bool> {
    let mut bytes = Vec::with_capacity(CHECKED + 1);
    content.read(&mut bytes, 0, 1)?;
    if bytes != [0] {
        return Ok(false);
    }
    let length = position.min(CHECKED as u64);
    content.read(&mut bytes, position - length, length + 1)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// Whether a file holds everything that the journal knows to have been read of a partition.
pub(super) fn holds_read(row: &PartitionRow, content: &Content, cutting: &Cutting) -> bool {
    let evidence = Evidence::from_json(&row.evidence);
    let order = evidence.as_ref().and_then(Evidence::order);
    row.read_to.as_ref().is_some_and(|read| {
        has_hash(content, read.position.offset(), &read.hash)
            && !is_mere_head(content, read.position.offset(), cutting, order)
            && match &evidence {
                Some(evidence) => evidence.has_head(content),
                // None could be taken of what was truncated; a hash from the first byte on needs no head beside it.
                None => Prefix::like(&read.hash).is_some_and(|prefix| prefix.at() == 0),
            }
    })
}

/// Whether a file holds everything before a partition's checkpoint, and more.
pub(super) fn holds_settled(row: &PartitionRow, content: &Content, cutting: &Cutting) -> bool {
    let evidence = Evidence::from_json(&row.evidence);
    let order = evidence.as_ref().and_then(Evidence::order);
    evidence.as_ref().and_then(Evidence::whole).is_some_and(|(at, hash)| {
        at == row.checkpoint.offset()
            && at > 0
            && content.look().is_ok_and(|seen| seen.size > at)
            && has_hash(content, at, hash)
            && !is_mere_head(content, at, cutting, order)
    }) && evidence.is_some_and(|evidence| evidence.has_head(content))
}

pub(super) fn has_hash(content: &Content, length: u64, hash: &str) -> bool {
    let Some(mut prefix) = Prefix::like(hash).filter(|prefix| length > 0 && prefix.at() <= length) else {
        return false;
    };
    extend(&mut prefix, content, length).is_ok() && prefix.to_text() == hash
}

/// Up to where a file is known to be equal to one that is open, if it may be a copy of that: nothing in it differs from what
/// was read, or it is still empty.
pub(super) fn begins_like(original: &OpenFile, copy: &Content, size: u64) -> Option<u64> {
    let tail = &original.tail;
    let content = tail.file.content().ok()?;
    let end = content.look().ok()?.size;
    let needed = match tail.position {
        0 => end,
        read => read.min(end),
    };
    let bound = size.min(needed).min(WINDOW);
    if end == 0 || equal_up_to(copy, &content, 0, bound).ok()? < bound {
        return None;
    }
    // What nobody has read yet is compared as well: the original may be gone before there is another look.
    equal_up_to(copy, &content, bound, size.min(end).min(WINDOW)).ok()
}

/// Likewise if that was truncated just now, which the next look at it will see.
pub(super) fn was_like(original: &OpenFile, copy: &Content) -> Option<u64> {
    let tail = &original.tail;
    let size = tail.file.look().ok()?.size;
    let is_there = size >= tail.position && tail.file.is_unchanged().unwrap_or(true);
    (!is_there && holds_all(tail, copy)).then_some(tail.position)
}

/// The position up to which two files are equal, from `from` where they are, at most `to`.
pub(super) fn equal_up_to(one: &Content, other: &Content, mut from: u64, to: u64) -> io::Result<u64> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    while from < to {
        a.clear();
        b.clear();
        one.read(&mut a, from, (to - from).min(WINDOW))?;
        other.read(&mut b, from, (to - from).min(WINDOW))?;
        let equal = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        from += equal as u64;
        if equal < a.len().max(b.len()) || equal == 0 {
            break;
        }
    }
    Ok(from)
}

/// The hash of a copy's bytes before `position`. Of a compressed one, which would have to be decompressed again, the chain
/// begins there.
pub(super) fn prefix_up_to(content: &Content, position: u64) -> Option<Prefix> {
    let is_whole = !content.is_unpacked();
    let mut prefix = Prefix::beginning_at(if is_whole { 0 } else { position });
    (!is_whole || extend(&mut prefix, content, position).is_ok()).then_some(prefix)
}

/// What a copy is known by.
pub(super) fn copy_evidence(content: &Content, shared: Shared, order: Order) -> io::Result<Evidence> {
    let chain = Prefix::beginning_at(shared.equal_to).link_before(shared.equal_to);
    Ok(Evidence::take(content, shared.equal_to, chain)?.with_shared(shared).with_order(order))
}
