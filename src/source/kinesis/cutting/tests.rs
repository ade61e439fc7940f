//! The cutter against a naive model: a shard of all kinds of records is read by one life, and by another one that begins anywhere,
//! with what the first has left in the journal, other pages, another configuration, and maybe without what has expired.

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::*;
use crate::batches::{Batches, ToldOf};
use crate::record::PartitionId;
use crate::source::kinesis::aggregation::encoder::{aggregate_of, message};

const SHARD: PartitionId = PartitionId(3);
const RANGE: HashKeyRange = HashKeyRange { start: 0, end: 999 };
const INSIDE: &str = "5";
const OUTSIDE: &str = "1000";

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Aggregate(u64),
    Misrouted(u64),
    Empty,
    Broken,
}

/// A record of the shard; each record of the user has so many bytes besides its name.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u64,
    kind: Kind,
    padding: usize,
}

/// What becomes of a part of the shard, up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Record(Position, Vec<u8>),
    Refused(Position, &'static str),
    Skipped(Position, Skip),
}

/// How a life reads.
#[derive(Debug, Clone)]
struct Life {
    on_misrouted: OnMisrouted,
    bytes_max: usize,
    page_records: Vec<usize>,
}

impl Entry {
    fn sequence_number(&self) -> SequenceNumber {
        self.number.to_string().parse().unwrap()
    }

    fn data(&self, user: u64) -> Vec<u8> {
        format!("{}/{user}:{}", self.number, "x".repeat(self.padding)).into_bytes()
    }

    fn arrival(&self) -> Timestamp {
        Timestamp::from_millisecond(self.number as i64).unwrap()
    }

    fn record(&self) -> StreamRecord {
        let aggregate = |count: u64, last: u64| {
            let data: Vec<_> = (0..count).map(|user| self.data(user)).collect();
            let hash = |user: usize| if user + 1 == data.len() { last } else { 0 };
            let users: Vec<_> =
                data.iter().enumerate().map(|(user, data)| (0, Some(hash(user)), data.as_slice())).collect();
            aggregate_of(&message(&["key"], &[INSIDE, OUTSIDE], &users))
        };
        let data = match self.kind {
            Kind::Plain => self.data(0).into(),
            Kind::Aggregate(count) => aggregate(count, 0),
            Kind::Misrouted(count) => aggregate(count, 1),
            Kind::Empty => aggregate(0, 0),
            Kind::Broken => aggregate_of(&message(&["key"], &[], &[(7, None, b"x")])),
        };
        let (sequence_number, arrival) = (self.sequence_number(), Some(self.arrival()));
        StreamRecord { sequence_number, arrival, partition_key: "key".to_owned(), data }
    }

    fn units(&self, on_misrouted: OnMisrouted, is_begun: bool) -> Vec<Unit> {
        let end = |user: u64| Position::behind(self.sequence_number(), user);
        let users = |count: u64| (0..count).map(|user| Unit::Record(end(user), self.data(user))).collect();
        match (self.kind, on_misrouted) {
            (Kind::Plain, _) => users(1),
            (Kind::Aggregate(count), _) | (Kind::Misrouted(count), OnMisrouted::Deliver) => users(count),
            (Kind::Misrouted(count), _) if is_begun => users(count),
            (Kind::Misrouted(count), OnMisrouted::Drop) => vec![Unit::Skipped(end(count - 1), Skip::Dropped(count))],
            (Kind::Misrouted(count), OnMisrouted::ErrorOutput) => vec![Unit::Refused(end(count - 1), MISROUTED)],
            (Kind::Empty, _) => vec![Unit::Skipped(end(0), Skip::Empty)],
            (Kind::Broken, _) => vec![Unit::Refused(end(0), BROKEN)],
        }
    }

    /// Whether a position is behind a record of it, but not behind the last one.
    fn is_parted_at(&self, position: Position) -> bool {
        match self.kind {
            Kind::Aggregate(count) | Kind::Misrouted(count) => {
                position.sequence_number() == self.sequence_number() && position.offset() < count
            }
            Kind::Plain | Kind::Empty | Kind::Broken => false,
        }
    }
}

impl Unit {
    fn end(&self) -> Position {
        match self {
            Self::Record(end, _) | Self::Refused(end, _) | Self::Skipped(end, _) => *end,
        }
    }
}

/// What must come of these entries behind `position`.
fn model(entries: &[Entry], mut position: Position, cuts: &[Position], on_misrouted: OnMisrouted) -> Vec<Unit> {
    let mut units = Vec::new();
    let cuts: Vec<_> = cuts.iter().copied().filter(|&cut| cut > position).collect();
    for entry in entries {
        let is_begun = entry.is_parted_at(position) || cuts.iter().any(|&cut| entry.is_parted_at(cut));
        for unit in entry.units(on_misrouted, is_begun) {
            if unit.end() <= position {
                continue;
            }
            let expired = cuts.iter().copied().filter(|&cut| position < cut && cut < unit.end()).max();
            units.extend(expired.map(|cut| Unit::Skipped(cut, Skip::Expired)));
            position = unit.end();
            units.push(unit);
        }
    }
    units
}

fn read(cutter: &mut Cutter, entries: &[Entry], page_records: &[usize]) -> Vec<Piece> {
    let (mut pieces, mut rest, mut pages) = (Vec::new(), entries, page_records.iter().cycle());
    while !rest.is_empty() {
        let (page, behind) = rest.split_at((*pages.next().unwrap()).min(rest.len()));
        pieces.extend(cutter.cut(page.iter().map(Entry::record).collect()));
        rest = behind;
    }
    pieces
}

fn cutter(position: Position, cuts: &[Position], batches: &[Batch], life: &Life) -> Cutter {
    let (mut coded, mut told) = (Batches::default(), ToldOf::default());
    batches.iter().for_each(|&batch| coded.add(SHARD, batch));
    told.add(&coded);
    let cutting = Cutting { hash_keys: RANGE, on_misrouted: life.on_misrouted, bytes_max: life.bytes_max };
    Cutter::new(position, cuts.to_vec(), told.take(SHARD), cutting)
}

fn range_of(piece: &Piece) -> PositionRange {
    match piece {
        Piece::Records(gathered) => PositionRange { start: gathered.start, end: *gathered.source_ends.last().unwrap() },
        Piece::Skipped { range, .. } => *range,
        Piece::Refused(refused) => refused.range,
    }
}

fn units_of(piece: &Piece) -> Vec<Unit> {
    match piece {
        Piece::Records(gathered) => {
            let starts = std::iter::once(0).chain(gathered.ends.iter().copied());
            let parts = starts.zip(&gathered.ends).map(|(start, &end)| &gathered.data[start as usize..end as usize]);
            let records = gathered.source_ends.iter().zip(parts);
            records.map(|(&end, data)| Unit::Record(end, data.to_vec())).collect()
        }
        Piece::Skipped { range, why } => vec![Unit::Skipped(range.end, *why)],
        Piece::Refused(refused) => vec![Unit::Refused(refused.range.end, refused.code)],
    }
}

/// They follow each other from `position` to where the cutter is, and each is within a batch or outside of all.
fn check(cutter: &Cutter, pieces: &[Piece], position: Position, batches: &[Batch], life: &Life) {
    let mut at = position;
    for piece in pieces {
        let range = range_of(piece);
        assert!(range.start == at && range.end > at, "{range:?} behind {at}");
        at = range.end;
        let Piece::Records(gathered) = piece else { continue };
        assert_eq!(gathered.ends.len(), gathered.source_ends.len());
        let holds = |batch: &&Batch| batch.range.start <= range.start && range.end <= batch.range.end;
        assert_eq!(gathered.batch, batches.iter().find(holds).copied());
        for batch in batches {
            let is_of = |end: &&Position| batch.range.start < **end && **end <= batch.range.end;
            let count = gathered.source_ends.iter().filter(is_of).count();
            assert!(count == 0 || count == gathered.ends.len(), "{gathered:?} lies across {batch:?}");
        }
        let before_last = gathered.ends.len().checked_sub(2).map_or(0, |last| gathered.ends[last] as usize);
        assert!(gathered.batch.is_some() || before_last < life.bytes_max, "{} bytes too many", before_last);
        let first = gathered.source_ends[0].sequence_number().to_string();
        assert_eq!(gathered.arrival.as_millisecond().to_string(), first);
    }
    assert_eq!(cutter.position(), at);
}

fn shard() -> impl Strategy<Value = Vec<Entry>> {
    let kind = prop_oneof![
        4 => Just(Kind::Plain),
        4 => (1u64..6).prop_map(Kind::Aggregate),
        2 => (1u64..6).prop_map(Kind::Misrouted),
        1 => Just(Kind::Empty),
        1 => Just(Kind::Broken),
    ];
    prop::collection::vec((kind, 0usize..40, 1u64..20), 1..25).prop_map(|steps| {
        let mut number = 0;
        let entry = |(kind, padding, step)| {
            number += step;
            Entry { number, kind, padding }
        };
        steps.into_iter().map(entry).collect()
    })
}

fn life() -> impl Strategy<Value = Life> {
    let on_misrouted = select(vec![OnMisrouted::ErrorOutput, OnMisrouted::Drop, OnMisrouted::Deliver]);
    let life = (on_misrouted, 1usize..200, prop::collection::vec(1usize..6, 1..4));
    life.prop_map(|(on_misrouted, bytes_max, page_records)| Life { on_misrouted, bytes_max, page_records })
}

/// Some of these, in their order.
fn some<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let count = of.len();
    subsequence(of, 0..=count)
}

/// A shard, what a first life has made of it, and which ends of that and which batches the journal still holds.
fn left() -> impl Strategy<Value = (Vec<Entry>, Vec<Position>, Vec<Position>, Vec<Batch>)> {
    (shard(), life()).prop_flat_map(|(entries, life)| {
        let mut first = cutter(Position::BEGINNING, &[], &[], &life);
        let pieces = read(&mut first, &entries, &life.page_records);
        check(&first, &pieces, Position::BEGINNING, &[], &life);
        let ends: Vec<_> = pieces.iter().flat_map(units_of).map(|unit| unit.end()).collect();
        let batches: Vec<_> =
            pieces.iter().filter(|piece| !matches!(piece, Piece::Skipped { .. })).map(batch).collect();
        (Just(entries), Just(ends.clone()), some(ends), some(batches))
    })
}

fn batch(piece: &Piece) -> Batch {
    Batch { range: range_of(piece), arrival_ms: 7, failed_ms: None }
}

proptest! {
    #[test]
    fn what_is_read_again_from_anywhere_is_cut_as_the_model_says(
        (entries, ends, cuts, batches) in left(), second in life(), begin in any::<Index>(), expired in any::<Index>(),
        has_expired in any::<bool>()
    ) {
        let position = [Position::BEGINNING].iter().chain(&ends).copied().nth(begin.index(ends.len() + 1)).unwrap();
        // The reader begins at the record of its position, which comes again.
        let mut rest = &entries[entries.partition_point(|entry| entry.sequence_number() < position.sequence_number())..];
        if has_expired {
            rest = &rest[expired.index(rest.len() + 1)..];
        }
        let mut cutter = cutter(position, &cuts, &batches, &second);
        let pieces = read(&mut cutter, rest, &second.page_records);
        check(&cutter, &pieces, position, &batches, &second);
        let units: Vec<_> = pieces.iter().flat_map(units_of).collect();
        prop_assert_eq!(units, model(rest, position, &cuts, second.on_misrouted));
        prop_assert_eq!(cutter.waits_for_more(), cuts.iter().any(|&cut| cut > cutter.position()));
    }
}
