//! Where a reader stands in its shard.
//!
//! Pure. Always true: an iterator that is asked for begins right behind the last record that was taken, or where the
//! reader began while there is none; and the place changes only with an answer that was taken whole.
//!
//! ```text
//!   no iterator ──asked for──▶ iterator ──answer with a next one──▶ iterator
//!        ▲                        │ │
//!        └── expired, too old ────┘ └── answer without: the end, once it is certain
//! ```

use std::time::{Duration, Instant};

use crate::sequence_number::SequenceNumber;
use crate::source::kinesis::page::{ChildShard, Page, StartingPosition, StreamRecord};
use crate::source::kinesis::response::Unreadable;

/// An iterator lives for five minutes; one that is nearly as old is not worth the call.
const ITERATOR_AGE_MAX: Duration = Duration::from_secs(270);
/// An end without child shards is believed when it has been said so many times, each time of a new iterator.
const ENDS_BELIEVED: u32 = 3;

/// An answer with records, parsed.
#[derive(Debug)]
pub struct Answer {
    pub records: Vec<StreamRecord>,
    /// `None` at the end of a closed shard.
    pub next_iterator: Option<String>,
    pub behind_ms: Option<u64>,
    /// Unreadable ones are none: the stream's list has them, too.
    pub children: Vec<ChildShard>,
}

#[derive(Debug)]
pub struct Place {
    shard_id: String,
    start: StartingPosition,
    /// The last record that was taken.
    last: Option<SequenceNumber>,
    iterator: Option<ShardIterator>,
    /// In a row, without an answer that goes on.
    ends: u32,
    ended: Option<Vec<ChildShard>>,
}

#[derive(Debug)]
struct ShardIterator {
    text: String,
    since: Instant,
}

impl Place {
    pub fn new(shard_id: String, start: StartingPosition) -> Self {
        Self { shard_id, start, last: None, iterator: None, ends: 0, ended: None }
    }

    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// The children, once the shard has been read to its end.
    pub fn ended(&self) -> Option<&[ChildShard]> {
        self.ended.as_deref()
    }

    /// The iterator to be read from; `None` where a new one has to be asked for.
    pub fn iterator(&self, now: Instant) -> Option<&str> {
        let iterator = self.iterator.as_ref()?;
        let age = now.saturating_duration_since(iterator.since);
        (age < ITERATOR_AGE_MAX).then_some(iterator.text.as_str())
    }

    /// Where a new iterator begins.
    pub fn position(&self) -> StartingPosition {
        self.last.map_or(self.start, StartingPosition::After)
    }

    /// A new iterator for [`Self::position`], asked for at `since`.
    pub fn set_iterator(&mut self, text: String, since: Instant) {
        self.iterator = Some(ShardIterator { text, since });
    }

    /// It has expired, or is not accepted.
    pub fn drop_iterator(&mut self) {
        self.iterator = None;
    }

    /// The page of an answer to a call that began at `since`. One whose records are out of order changes nothing.
    pub fn take(&mut self, answer: Answer, since: Instant) -> Result<Page, Unreadable> {
        self.check_order(&answer.records)?;
        self.last = answer.records.last().map(|record| record.sequence_number).or(self.last);
        let page = Page { records: answer.records, behind_ms: answer.behind_ms, ..Page::default() };
        if let Some(text) = answer.next_iterator {
            self.ends = 0;
            self.set_iterator(text, since);
            return Ok(page);
        }
        self.iterator = None;
        self.ends += 1;
        if self.is_certain(&answer.children) || self.ends >= ENDS_BELIEVED {
            self.ended = Some(answer.children);
        }
        Ok(Page { ended: self.ended.clone(), ..page })
    }

    fn check_order(&self, records: &[StreamRecord]) -> Result<(), Unreadable> {
        let mut last = self.last;
        for record in records {
            if last.is_some_and(|last| record.sequence_number <= last) {
                return Err(format!("record {} comes behind {}", record.sequence_number, last.unwrap_or_default()));
            }
            last = Some(record.sequence_number);
        }
        Ok(())
    }

    /// The service says the children of every shard that has ended. An answer without is somebody else's, or cut.
    fn is_certain(&self, children: &[ChildShard]) -> bool {
        !children.is_empty() && children.iter().all(|child| child.parents.contains(&self.shard_id))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::source::kinesis::page::HashKeyRange;

    const SHARD: &str = "shardId-000000000000";

    fn number(value: u64) -> SequenceNumber {
        value.to_string().parse().unwrap()
    }

    fn answer(records: &[u64], next_iterator: Option<&str>) -> Answer {
        let record = |value: &u64| StreamRecord {
            sequence_number: number(*value),
            arrival: None,
            partition_key: "k".to_owned(),
            data: Bytes::new(),
        };
        let records = records.iter().map(record).collect();
        Answer { records, next_iterator: next_iterator.map(str::to_owned), behind_ms: Some(0), children: Vec::new() }
    }

    fn child(parent: &str) -> ChildShard {
        ChildShard { id: "child".to_owned(), parents: vec![parent.to_owned()], hash_keys: HashKeyRange::ALL }
    }

    fn place() -> Place {
        Place::new(SHARD.to_owned(), StartingPosition::TrimHorizon)
    }

    #[test]
    fn an_iterator_that_is_too_old_is_asked_for_behind_the_last_record() {
        let (mut place, now) = (place(), Instant::now());
        place.set_iterator("i".to_owned(), now);
        assert_eq!(place.iterator(now + Duration::from_secs(269)), Some("i"));
        assert_eq!(place.iterator(now + Duration::from_secs(270)), None);
        assert_eq!(place.position(), StartingPosition::TrimHorizon);
        place.take(answer(&[3, 7], Some("j")), now).unwrap();
        place.take(answer(&[], Some("k")), now).unwrap();
        assert_eq!(place.iterator(now), Some("k"));
        assert_eq!(place.position(), StartingPosition::After(number(7)));
    }

    #[test]
    fn records_out_of_order_change_nothing() {
        let (mut place, now) = (place(), Instant::now());
        place.take(answer(&[3], Some("j")), now).unwrap();
        for records in [&[3][..], &[2, 9], &[5, 4], &[5, 5]] {
            place.take(answer(records, Some("x")), now).unwrap_err();
            assert_eq!((place.iterator(now), place.position()), (Some("j"), StartingPosition::After(number(3))));
        }
    }

    #[test]
    fn an_end_with_children_is_believed_at_once_and_one_without_the_third_time() {
        let (mut place, now) = (place(), Instant::now());
        let last = Answer { children: vec![child(SHARD)], ..answer(&[3], None) };
        assert_eq!(place.take(last, now).unwrap().ended, Some(vec![child(SHARD)]));
        assert_eq!(place.ended(), Some(&[child(SHARD)][..]));

        let mut place = self::place();
        assert_eq!(place.take(answer(&[3], None), now).unwrap().ended, None);
        assert_eq!((place.iterator(now), place.position()), (None, StartingPosition::After(number(3))));
        let strange = Answer { children: vec![child("other")], ..answer(&[], None) };
        assert_eq!(place.take(strange, now).unwrap().ended, None);
        assert_eq!(place.take(answer(&[], None), now).unwrap().ended, Some(Vec::new()));
    }

    #[test]
    fn an_end_that_is_taken_back_is_none() {
        let (mut place, now) = (place(), Instant::now());
        for _ in 0..5 {
            assert_eq!(place.take(answer(&[], None), now).unwrap().ended, None);
            assert_eq!(place.take(answer(&[], None), now).unwrap().ended, None);
            assert_eq!(place.take(answer(&[], Some("i")), now).unwrap().ended, None);
        }
    }

    /// What happens to a reader of a shard with the records 0 to 99.
    #[derive(Debug, Clone)]
    enum Step {
        /// Answered with so many records.
        Answer(usize),
        /// Answered, and nobody heard.
        Lost,
        Expired,
        HeldUp(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..20).prop_map(Step::Answer),
            1 => Just(Step::Lost),
            1 => Just(Step::Expired),
            1 => (0u64..600).prop_map(Step::HeldUp),
        ]
    }

    proptest! {
        #[test]
        fn every_record_is_taken_once_and_in_order(start in 0u64..50, steps in prop::collection::vec(step(), 0..80)) {
            let mut place = Place::new(SHARD.to_owned(), StartingPosition::At(number(start)));
            let (mut now, mut read) = (Instant::now(), Vec::new());
            for step in steps {
                // The model's iterator is the number of the record that it begins with.
                if place.iterator(now).is_none() {
                    let from = match place.position() {
                        StartingPosition::At(at) => at.to_string(),
                        StartingPosition::After(after) => (after.to_string().parse::<u64>().unwrap() + 1).to_string(),
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    };
                    place.set_iterator(from, now);
                }
                let from: u64 = place.iterator(now).unwrap().parse().unwrap();
                match step {
                    Step::Answer(count) => {
                        let records: Vec<u64> = (from..100).take(count).collect();
                        let next = (from + records.len() as u64).to_string();
                        let page = place.take(answer(&records, Some(&next)), now).unwrap();
                        read.extend(page.records.iter().map(|record| record.sequence_number));
                    }
                    Step::Lost => {}
                    Step::Expired => place.drop_iterator(),
                    Step::HeldUp(seconds) => now += Duration::from_secs(seconds),
                }
            }
            let whole: Vec<SequenceNumber> = (start..100).map(number).collect();
            prop_assert_eq!(&read[..], &whole[..read.len()]);
        }
    }
}
