//! Frames: a payload in which each record can be found again, with what is known of it.
//!
//! Always true: one frame holds one record as it leaves, and frames lie end to end. They are never sent: a destination that takes
//! records makes its own form of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::positions::{NO_FLAGS, put_distance, put_varint, take_distance, take_varint};
use crate::record::{Chunk, PartitionId, Position, PositionRange};

use super::payload::Payload;

/// A frame's header has five numbers and two positions.
const HEADER_BYTES_MAX: usize = 5 * 10 + 2 * 74;
/// How much is read of a payload at once.
const WINDOW: usize = 256 << 10;

/// One record of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub partition: PartitionId,
    /// Of its source record.
    pub range: PositionRange,
    /// Among what was made of its source record, from 0.
    pub ordinal: u64,
    /// Milliseconds since 1970.
    pub arrival_ms: i64,
    /// Of a record that had failed before, [`crate::record::Earlier`] as it is encoded; else nothing.
    pub earlier: &'a [u8],
    pub data: &'a [u8],
}

/// What is known of a frame without its data.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub bytes: u64,
    /// Of what is known of it from earlier, which stands before the data.
    pub earlier: u64,
    /// Of the whole frame.
    pub length: u64,
    pub partition: PartitionId,
    pub range: PositionRange,
    pub ordinal: u64,
    pub arrival_ms: i64,
}

impl Frame<'_> {
    fn append_to(&self, out: &mut Vec<u8>, delimiter: &[u8]) {
        let delimiter = if self.data.ends_with(delimiter) { &[] } else { delimiter };
        put_varint(out, (self.data.len() + delimiter.len()) as u64);
        put_varint(out, self.partition.0.unsigned_abs());
        put_distance(out, Position::BEGINNING, self.range.start, NO_FLAGS);
        put_distance(out, self.range.start, self.range.end, NO_FLAGS);
        put_varint(out, self.ordinal);
        put_varint(out, self.arrival_ms.unsigned_abs());
        put_varint(out, self.earlier.len() as u64);
        out.extend_from_slice(self.earlier);
        out.extend_from_slice(self.data);
        out.extend_from_slice(delimiter);
    }
}

/// Appends the records that leave for the source's records `from..to` of a chunk. `delimiter` goes behind those that have not been
/// given it in processing.
pub(super) fn append(chunk: &Chunk, from: usize, to: usize, delimiter: &[u8], out: &mut Vec<u8>) {
    let partition = chunk.partition.id();
    let Some(made) = &chunk.made else {
        for index in from..to {
            let (range, data) = (chunk.range(index, index + 1), chunk.record(index));
            let (arrival_ms, earlier) = known(chunk, index);
            Frame { partition, range, ordinal: 0, arrival_ms, earlier: &earlier, data }.append_to(out, delimiter);
        }
        return;
    };
    let ends = chunk.record_ends.as_deref().map_or(&[][..], Vec::as_slice);
    let mut next: usize = made[..from].iter().map(|&made| made as usize).sum();
    for index in from..to {
        let (mut start, range) = (chunk.record_start(index) as usize, chunk.range(index, index + 1));
        let (arrival_ms, earlier) = known(chunk, index);
        for ordinal in 0..u64::from(made[index]) {
            let end = ends.get(next).map_or(chunk.ends[index] as usize, |&end| end as usize);
            let data = &chunk.data[start..end];
            Frame { partition, range, ordinal, arrival_ms, earlier: &earlier, data }.append_to(out, &[]);
            (start, next) = (end, next + 1);
        }
    }
}

/// When a record arrived at first, and what is known of it from then.
fn known(chunk: &Chunk, index: usize) -> (i64, Vec<u8>) {
    match chunk.earlier(index) {
        Some(earlier) => (earlier.arrival_ms, earlier.encode()),
        None => (chunk.arrival(index).as_millisecond(), Vec::new()),
    }
}

/// The frame at the beginning of `bytes`, and what follows it; `None` where there is no whole one.
pub fn take(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let header = header(bytes)?;
    let (whole, rest) = bytes.split_at_checked(usize::try_from(header.length).ok()?)?;
    let (before, data) = whole.split_at(whole.len() - header.bytes as usize);
    let earlier = &before[before.len() - header.earlier as usize..];
    let Header { partition, range, ordinal, arrival_ms, .. } = header;
    Some((Frame { partition, range, ordinal, arrival_ms, earlier, data }, rest))
}

/// The frames of several pieces, one piece behind the other.
pub fn each<'a>(pieces: &'a [&'a [u8]]) -> impl Iterator<Item = Frame<'a>> {
    let of_piece = |&piece: &&'a [u8]| {
        let mut rest: &'a [u8] = piece;
        std::iter::from_fn(move || {
            let (frame, behind) = take(rest)?;
            rest = behind;
            Some(frame)
        })
    };
    pieces.iter().flat_map(of_piece)
}

fn header(bytes: &[u8]) -> Option<Header> {
    let mut rest = bytes;
    let (data, partition) = (take_varint(&mut rest)?, take_varint(&mut rest)?);
    let start = take_distance(&mut rest, 0)?.0.behind(Position::BEGINNING)?;
    let end = take_distance(&mut rest, 0)?.0.behind(start).filter(|&end| end > start)?;
    let (ordinal, arrival_ms, earlier) = (take_varint(&mut rest)?, take_varint(&mut rest)?, take_varint(&mut rest)?);
    Some(Header {
        bytes: data,
        earlier,
        length: data.checked_add(earlier)?.checked_add((bytes.len() - rest.len()) as u64)?,
        partition: PartitionId(i64::try_from(partition).ok()?),
        range: PositionRange { start, end },
        ordinal,
        arrival_ms: i64::try_from(arrival_ms).ok()?,
    })
}

/// The order in which the frames of a payload are numbered: those of each source partition together, in their order. Whoever forms
/// the payload again numbers them in the same way, however the partitions were read in turns.
#[derive(Debug, Default)]
pub struct Layout {
    /// Where each piece begins in that order, and where it lies in the payload.
    pieces: Vec<(u64, Range<u64>)>,
}

impl Layout {
    /// Blocks where the payload is a file.
    pub fn of(payload: &Payload) -> io::Result<Self> {
        let (mut by_partition, mut at) = (BTreeMap::<PartitionId, Vec<Range<u64>>>::new(), 0);
        scan(payload, 0..payload.len(), |header| {
            let pieces = by_partition.entry(header.partition).or_default();
            match pieces.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end += header.length,
                None => pieces.push(at..at + header.length),
            }
            at += header.length;
        })?;
        let mut begin = 0;
        let placed = by_partition.into_values().flatten().map(|piece| {
            let placed = (begin, piece.clone());
            begin += piece.end - piece.start;
            placed
        });
        Ok(Self { pieces: placed.collect() })
    }

    /// Calls `with` for each frame, in order. Blocks where the payload is a file.
    pub fn scan(&self, payload: &Payload, mut with: impl FnMut(Header)) -> io::Result<()> {
        self.pieces.iter().try_for_each(|(_, piece)| scan(payload, piece.clone(), &mut with))
    }

    /// The same with the records themselves, and the lengths of their frames.
    pub fn scan_whole(&self, payload: &Payload, mut with: impl FnMut(Frame<'_>, u64)) -> io::Result<()> {
        let (mut at, mut window) = (0, WINDOW as u64);
        while at < payload.len() {
            let bytes = self.read(payload, at..payload.len().min(at + window))?;
            let mut rest = bytes.as_slice();
            while let Some((frame, behind)) = take(rest) {
                with(frame, (rest.len() - behind.len()) as u64);
                rest = behind;
            }
            let taken = (bytes.len() - rest.len()) as u64;
            at += taken;
            if taken == 0 {
                if at + window >= payload.len() {
                    return Err(damaged());
                }
                window *= 2;
            }
        }
        Ok(())
    }

    /// The frames that lie in `range` of the order. Blocks where the payload is a file.
    pub fn read(&self, payload: &Payload, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut frames = Vec::with_capacity((range.end - range.start) as usize);
        let first = self.pieces.partition_point(|(begin, _)| *begin <= range.start).saturating_sub(1);
        for (begin, piece) in self.pieces[first..].iter().take_while(|(begin, _)| *begin < range.end) {
            let from = piece.start + range.start.saturating_sub(*begin);
            let to = piece.end.min(piece.start + (range.end - begin));
            frames.extend(payload.read(from, to.saturating_sub(from) as usize)?);
        }
        Ok(frames)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a payload's frames are damaged")
}

/// Calls `with` for each frame in `range` of a payload, which begins and ends with one.
fn scan(payload: &Payload, range: Range<u64>, mut with: impl FnMut(Header)) -> io::Result<()> {
    let (mut at, mut window, mut begin) = (range.start, Vec::new(), range.start);
    while at < range.end {
        let seen = (at - begin) as usize;
        let is_short = window.len().saturating_sub(seen) < HEADER_BYTES_MAX;
        if is_short && begin + (window.len() as u64) < range.end {
            window = payload.read(at, WINDOW.min((range.end - at) as usize))?;
            begin = at;
            continue;
        }
        let header = window.get(seen..).and_then(header).filter(|header| at + header.length <= range.end);
        let header = header.ok_or_else(damaged)?;
        at += header.length;
        with(header);
        if at > begin + window.len() as u64 {
            // The data of a large record was not needed.
            (window, begin) = (Vec::new(), at);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::payload::PayloadWriter;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Some had failed before.
    fn earlier_of((_, start, ordinal): &(Vec<u8>, u64, u64)) -> Vec<u8> {
        if start % 2 == 0 { Vec::new() } else { vec![b'e'; *ordinal as usize * 50 + 1] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_come_back_from_memory_and_from_a_file(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0u64..1 << 50, 0u64..3), 0..40),
            large in prop::option::of(0usize..40),
            memory_max in prop_oneof![Just(0u64), Just(1 << 30)],
            blocks in 1usize..5,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut records = records;
            if let Some((data, ..)) = large.and_then(|index| records.get_mut(index)) {
                data.resize(WINDOW * 2 + 7, b'x');
            }
            let frame = |(data, start, ordinal): &'_ (Vec<u8>, u64, u64)| {
                (PartitionId(3), PositionRange::new(*start, start + data.len() as u64 + 1), *ordinal, 1_700_000_000_123)
            };
            let mut writer = PayloadWriter::new(folder.path(), "p", memory_max);
            for some in records.chunks(blocks) {
                let mut block = Vec::new();
                for record in some {
                    let (partition, range, ordinal, arrival_ms) = frame(record);
                    let earlier = earlier_of(record);
                    Frame { partition, range, ordinal, arrival_ms, earlier: &earlier, data: &record.0 }
                        .append_to(&mut block, b"");
                }
                writer.append(&Bytes::from(block)).unwrap();
            }
            let payload = writer.finish();
            let mut headers = Vec::new();
            scan(&payload, 0..payload.len(), |header| headers.push(header)).unwrap();
            prop_assert_eq!(headers.len(), records.len());
            let mut whole = Vec::new();
            let layout = Layout::of(&payload).unwrap();
            layout.scan_whole(&payload, |frame, length| whole.push((frame.data.to_vec(), length))).unwrap();
            let expected: Vec<_> =
                headers.iter().zip(&records).map(|(header, (data, ..))| (data.clone(), header.length)).collect();
            prop_assert_eq!(whole, expected);
            let mut at = 0;
            for (header, record) in headers.iter().zip(&records) {
                prop_assert_eq!((header.partition, header.range, header.ordinal, header.arrival_ms), frame(record));
                let bytes = payload.read(at, header.length as usize).unwrap();
                let (found, rest) = take(&bytes).unwrap();
                prop_assert!(rest.is_empty());
                prop_assert_eq!(found.data, record.0.as_slice());
                prop_assert_eq!(found.earlier, earlier_of(record));
                at += header.length;
            }
        }

        #[test]
        fn any_bytes_are_frames_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = take(&bytes);
            let _ = Layout::of(&Payload::from_bytes(bytes));
        }
    }

    proptest! {
        #[test]
        fn frames_are_numbered_alike_however_partitions_were_read_in_turns(
            turns in prop::collection::vec((0i64..4, 0usize..30), 1..40),
            seed in any::<u64>(),
            from in 0.0..1.0,
            to in 0.0..1.0,
        ) {
            let form = |order: &[usize]| {
                let mut bytes = Vec::new();
                for &index in order {
                    let (partition, length) = turns[index];
                    let range = PositionRange::new(index as u64 * 100, index as u64 * 100 + 1);
                    let data = vec![b'x'; length];
                    Frame { partition: PartitionId(partition), range, ordinal: 0, arrival_ms: 0, earlier: b"", data: &data }
                        .append_to(&mut bytes, b"");
                }
                Payload::from_bytes(bytes)
            };
            let numbered = |payload: &Payload| {
                let layout = Layout::of(payload).unwrap();
                let mut numbered = Vec::new();
                layout.scan(payload, |header| numbered.push((header.partition, header.range, header.length))).unwrap();
                (layout, numbered)
            };
            let in_turns: Vec<usize> = (0..turns.len()).collect();
            // Another interleaving, in which each partition keeps its order.
            let mut queues: Vec<Vec<usize>> = (0..4)
                .map(|p| in_turns.iter().rev().copied().filter(|&index| turns[index].0 == p).collect()).collect();
            let (mut otherwise, mut dice) = (Vec::new(), seed);
            while otherwise.len() < turns.len() {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                otherwise.extend(queues[(dice >> 62) as usize].pop());
            }
            let (one, other) = (form(&in_turns), form(&otherwise));
            let ((layout, numbers), (again, numbers_again)) = (numbered(&one), numbered(&other));
            prop_assert_eq!(&numbers, &numbers_again);
            let (from, to) = ((from * turns.len() as f64) as usize, (to * turns.len() as f64) as usize);
            let (from, to) = (from.min(to), from.max(to));
            let offset = |n: usize| numbers[..n].iter().map(|(_, _, length)| length).sum::<u64>();
            let range = offset(from)..offset(to);
            let read = layout.read(&one, range.clone()).unwrap();
            prop_assert_eq!(read.len() as u64, range.end - range.start);
            prop_assert_eq!(&read, &again.read(&other, range).unwrap());
            let (mut rest, mut found) = (&read[..], Vec::new());
            while let Some((frame, behind)) = take(rest) {
                found.push((frame.partition, frame.range));
                rest = behind;
            }
            prop_assert_eq!(found, numbers[from..to].iter().map(|&(p, range, _)| (p, range)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_delimiter_is_appended_where_it_is_missing() {
        let range = PositionRange::new(0, 3);
        let frame = |data| Frame { partition: PartitionId(1), range, ordinal: 0, arrival_ms: 0, earlier: b"", data };
        for (data, delimiter, expected) in [("ab", "\n", "ab\n"), ("ab\n", "\n", "ab\n"), ("ab", "", "ab")] {
            let mut bytes = Vec::new();
            frame(data.as_bytes()).append_to(&mut bytes, delimiter.as_bytes());
            assert_eq!(take(&bytes).unwrap().0.data, expected.as_bytes());
        }
    }
}
