//! Where the records of requests lie in a payload.
//!
//! Always true: the parts of a payload follow each other and hold every frame of it once.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::error;

use crate::destination::receiver::Misfit;
use crate::encode::frames::{self, Header, Layout};
use crate::encode::payload::{Payload, PayloadWriter};
use crate::envelope::{RECORD_MISFITS, RECORD_TOO_LARGE};
use crate::pool::{ComputePool, join};
use crate::positions::RecordSet;
use crate::requests::{Cut, Cutter, Finder, Item, Limits, Reason, Request, RequestState, Whole};

use super::sending::Way;

/// After an error of the file system, until it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A body with what it is made of takes less than three times its size.
const BODIES_IN_SHARE: u64 = 4;

/// A request, and where its records lie in the payload.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) request: Request,
    pub(super) cut: Cut,
}

/// A payload without some of its records.
pub(super) struct Without {
    pub(super) payload: Payload,
    pub(super) records: u64,
}

impl Part {
    pub(super) fn records(&self) -> u64 {
        self.request.end - self.request.first
    }

    /// Of its frames, which is a little more than that of its records.
    pub(super) fn bytes(&self) -> u64 {
        self.cut.payload.end - self.cut.payload.start
    }
}

/// The receiver's limits, and those of memory: a body is formed whole, from its frames, and compressed.
fn limits(way: &Way) -> Limits {
    let limits = way.receiver.limits();
    Limits { several_bytes_max: limits.several_bytes_max.min(body_bytes(way)), ..limits }
}

/// Bytes of a body that there is memory for.
pub(super) fn body_bytes(way: &Way) -> u64 {
    let in_flight = way.receiver.patience().in_flight.max(1) as u64;
    way.shipping.budget.share() / BODIES_IN_SHARE / in_flight
}

/// In which order the records of a payload are numbered.
pub(super) async fn layout(pool: &ComputePool, payload: &Arc<Payload>) -> Arc<Layout> {
    Arc::new(read(pool, payload, Layout::of).await)
}

/// What becomes of a whole payload.
pub(super) async fn cut(way: &Way) -> Vec<Part> {
    let limits = limits(way);
    let (layout, misfits) = (way.layout.clone(), way.receiver.misfits());
    let of_records = misfits.clone();
    let cuts = read(&way.shipping.pool, &way.payload, move |payload| {
        let mut cutter = Cutter::new(limits);
        match &of_records {
            None => scan(&layout, payload, |item| cutter.push(item))?,
            Some(misfits) => layout.scan_whole(payload, |frame, length| {
                let is_refused = misfits(frame.data).is_some();
                let (bytes, begins) = (frame.data.len() as u64, frame.ordinal == 0);
                let old_name = frame.earlier.len() as u64;
                cutter.push(Item { bytes, old_name, begins, is_refused, length });
            })?,
        }
        Ok(cutter.finish())
    });
    let mut parts = Vec::new();
    for cut in cuts.await {
        if cut.is_refused {
            parts.extend(refused(way, cut, misfits.clone(), limits).await);
        } else {
            parts.push(Part { request: Request::planned(cut.first, cut.end), cut });
        }
    }
    parts
}

/// Records that are never sent, as runs with the same reason.
async fn refused(way: &Way, cut: Cut, misfits: Option<Misfit>, limits: Limits) -> Vec<Part> {
    let frames = frames_of(way, &cut).await;
    let _covered = way.shipping.budget.overdraw(frames.len() as u64);
    let refuse = move || {
        let ended_ms = crate::record::now().as_millisecond();
        let (mut ends, mut reasons) = (Vec::new(), Vec::<Arc<Reason>>::new());
        for (record, frame) in (cut.first..).zip(frames::each(&[&frames])) {
            let reason = never_sent(frame.data, misfits.as_ref(), &limits, ended_ms);
            if reasons.last().is_some_and(|last| **last == reason) {
                ends.pop();
            } else {
                reasons.push(Arc::new(reason));
            }
            ends.push(record + 1);
        }
        let parts = runs(&frames, &cut, &ends).into_iter().zip(reasons).map(|((mut part, whole), reason)| {
            part.request.state = RequestState::Failed(Some(reason), whole);
            part
        });
        parts.collect()
    };
    join(way.shipping.pool.spawn(refuse)).await
}

/// Where requests of an earlier life lie now.
pub(super) async fn find(way: &Way, requests: Vec<Request>) -> Vec<Part> {
    let (known, layout) = (requests.clone(), way.layout.clone());
    let found = read(&way.shipping.pool, &way.payload, move |payload| {
        let mut finder = Finder::new(&known);
        scan(&layout, payload, |item| finder.push(item))?;
        Ok(finder.finish())
    });
    requests.into_iter().zip(found.await).map(|(request, cut)| Part { request, cut }).collect()
}

/// A part cut into runs that end at these records, and what each of them holds whole.
pub(super) async fn cut_at(way: &Way, part: &Part, ends: Vec<u64>) -> Vec<(Part, Whole)> {
    let (frames, cut) = (frames_of(way, &part.cut).await, part.cut.clone());
    let _covered = way.shipping.budget.overdraw(frames.len() as u64);
    join(way.shipping.pool.spawn(move || runs(&frames, &cut, &ends))).await
}

fn runs(frames: &[u8], whole: &Cut, ends: &[u64]) -> Vec<(Part, Whole)> {
    let (mut rest, mut first, mut at) = (frames, whole.first, whole.payload.start);
    let mut runs = Vec::new();
    for &end in ends {
        let begin = rest;
        for _ in first..end {
            rest = frames::take(rest).map_or(&[][..], |(_, rest)| rest);
        }
        let held = &begin[..begin.len() - rest.len()];
        let is_continued = frames::take(rest).map_or(whole.is_continued, |(frame, _)| frame.ordinal > 0);
        let payload = at..at + held.len() as u64;
        let cut = Cut { first, end, payload, is_refused: false, is_continued };
        let records = whole_in(held, &cut);
        (first, at) = (end, cut.payload.end);
        runs.push((Part { request: Request::planned(cut.first, end), cut }, records));
    }
    runs
}

/// The payload without the records of `done`.
pub(super) async fn without(way: &Way, done: Arc<RecordSet>) -> Without {
    let (folder, memory_max) = way.shipping.child.place.room();
    let (folder, name) = (folder.to_owned(), format!("{}-rest", way.uuid));
    let layout = way.layout.clone();
    read(&way.shipping.pool, &way.payload, move |payload| {
        let mut writer = PayloadWriter::new(&folder, &name, memory_max);
        let (mut at, mut records, mut result) = (0, 0, Ok(()));
        layout.scan(payload, |header| {
            if result.is_ok() && !is_in(&done, &header) {
                let frame = layout.read(payload, at..at + header.length);
                result = frame.and_then(|frame| writer.append(&Bytes::from(frame)));
                records += 1;
            }
            at += header.length;
        })?;
        result?;
        Ok(Without { payload: writer.finish(), records })
    })
    .await
}

/// The frames of a part.
pub(super) async fn frames_of(way: &Way, cut: &Cut) -> Vec<u8> {
    let (range, layout) = (cut.payload.clone(), way.layout.clone());
    read(&way.shipping.pool, &way.payload, move |payload| layout.read(payload, range.clone())).await
}

/// The frames in each of several ranges.
pub(super) async fn frames_in(way: &Way, ranges: Vec<Range<u64>>) -> Vec<Bytes> {
    let layout = way.layout.clone();
    let frames = read(&way.shipping.pool, &way.payload, move |payload| {
        ranges.iter().map(|range| layout.read(payload, range.clone()).map(Bytes::from)).collect()
    });
    frames.await
}

/// The source records that a part holds whole, by its frames.
pub(super) fn whole_in(frames: &[u8], cut: &Cut) -> Whole {
    let (mut rest, mut whole, mut last) = (frames, RecordSet::default(), None);
    while let Some((frame, behind)) = frames::take(rest) {
        if frame.ordinal == 0 {
            if let Some((partition, range)) = last.take() {
                whole.add(partition, range);
            }
            last = Some((frame.partition, frame.range));
        }
        rest = behind;
    }
    if let Some((partition, range)) = last.filter(|_| !cut.is_continued) {
        whole.add(partition, range);
    }
    Whole::of(&whole)
}

/// Why a record is never sent.
fn never_sent(data: &[u8], misfits: Option<&Misfit>, limits: &Limits, ended_ms: i64) -> Reason {
    let (code, message) = match misfits.and_then(|misfits| misfits(data)) {
        Some(why) => (RECORD_MISFITS, why.to_owned()),
        None => {
            let largest = limits.record_bytes_max;
            (
                RECORD_TOO_LARGE,
                format!("the record is larger than a request may hold; one record has {largest} bytes at most"),
            )
        }
    };
    Reason { code: code.to_owned(), message, attempts: 0, ended_ms }
}

fn is_in(done: &RecordSet, header: &Header) -> bool {
    let next = done.ranges(header.partition).behind(header.range.start).first();
    next.is_some_and(|range| range.start <= header.range.start)
}

fn scan(layout: &Layout, payload: &Payload, mut with: impl FnMut(Item)) -> io::Result<()> {
    layout.scan(payload, |header| {
        let Header { bytes, earlier: old_name, ordinal, length, .. } = header;
        with(Item { bytes, old_name, begins: ordinal == 0, is_refused: false, length });
    })
}

/// Reads a payload on the compute pool, again and again while the disk does not let it.
pub(super) async fn read<T: Send + 'static>(
    pool: &ComputePool,
    payload: &Arc<Payload>,
    call: impl Fn(&Payload) -> io::Result<T> + Send + Sync + 'static,
) -> T {
    let call = Arc::new(call);
    loop {
        let (payload, attempt) = (payload.clone(), call.clone());
        match join(pool.spawn(move || attempt(&payload))).await {
            Ok(value) => return value,
            Err(error) => {
                error!(%error, retry_in = ?RETRY, "a payload cannot be read; the delivery waits");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::put_varint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_hold_whole_what_no_other_run_has_a_part_of(
            made in prop::collection::vec(1u64..4, 1..20),
            ends in prop::collection::btree_set(1u64..60, 0..12),
            is_continued in any::<bool>(),
        ) {
            let (mut frames, mut sources) = (Vec::new(), Vec::new());
            for (source, &made) in (0u64..).zip(&made) {
                for ordinal in 0..made {
                    for number in [1, 5, source * 10, 10, ordinal, 0, 0] {
                        put_varint(&mut frames, number);
                    }
                    frames.push(b'x');
                    sources.push(source);
                }
            }
            let all = sources.len() as u64;
            let length = frames.len() as u64;
            let whole = Cut { first: 7, end: 7 + all, payload: 100..100 + length, is_refused: false, is_continued };
            let ends: Vec<u64> = ends.into_iter().filter(|&end| end < all).chain([all]).map(|end| end + 7).collect();
            let runs = runs(&frames, &whole, &ends);
            let (mut at, mut payload) = (7, 100);
            for ((part, records), &end) in runs.iter().zip(&ends) {
                prop_assert_eq!((part.request.first, part.request.end, part.cut.payload.start), (at, end, payload));
                let held = &sources[at as usize - 7..end as usize - 7];
                let elsewhere = |source: &u64| {
                    let is_here = held.iter().filter(|held| *held == source).count();
                    is_here < sources.iter().filter(|one| *one == source).count()
                        || (is_continued && source == sources.last().unwrap())
                };
                let mut expected: Vec<u64> = held.iter().copied().filter(|source| !elsewhere(source)).collect();
                expected.dedup();
                let found: Vec<u64> = records.ranges().into_iter()
                    .flat_map(|(_, range)| (range.start.offset()..range.end.offset()).step_by(10)).map(|at| at / 10).collect();
                prop_assert_eq!(found, expected);
                (at, payload) = (end, part.cut.payload.end);
            }
            prop_assert_eq!((at, payload), (whole.end, whole.payload.end));
        }
    }
}
