//! A chunk through the processors of its stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use encoding_rs::Encoding;
use jiff::Timestamp;

use crate::convert::Room;
use crate::envelope;
use crate::memory::{StreamBudget, blocks, guarded};
use crate::partition::{Partition, Partitioner};
use crate::record::{self, Chunk, Content, OldId, Partitions, Rows};

use super::conversion::{Conversion, Converting, FailedObject};
use super::sequence::{Passed, Slice};
use super::wasm::{BATCH_RECORDS_MAX, FirstFailure, Handling, Pace, Stop, Transform};
use super::{
    Apart, ConfigError, Ec2Metadata, ErrorCode, ErrorType, FailedPart, Failure, Goal, OUTPUT_BYTES_MAX, Origin,
    Pipeline, Processed, ProcessorConfig, Records, Scratch, Sequence, StepConfig, Surroundings, ec2,
};

/// Once so much has been made of a chunk, the rest of it waits for its own turn; of rows, [`super::conversion::ROWS_MAX`].
const MADE_MAX: usize = 8 << 20;

/// A source record of which more parts than that have failed fails as a whole.
const FAILED_PARTS_MAX: usize = 1_000;

/// The processors of one stream, and what stands between the records that they make.
pub struct Processing {
    /// For files of each encoding; the first where a file does not say which.
    sequences: Vec<(&'static Encoding, Sequence)>,
    /// For records that have all steps behind them.
    no_steps: Sequence,
    output_delimiter: Arc<[u8]>,
    pub(super) shape: Shape,
}

/// What is done with records after all steps.
#[derive(Default)]
pub struct Shape {
    pub partitioner: Option<Arc<Partitioner>>,
    pub conversion: Option<Conversion>,
    /// The destination takes records one by one: where each of those that were made ends has to stay known.
    pub keeps_ends: bool,
}

impl Shape {
    /// Whether records stay as they are.
    pub fn is_nothing(&self) -> bool {
        self.partitioner.is_none() && self.conversion.is_none()
    }
}

/// Bytes that have failed, and why.
type Failures = Vec<(Vec<u8>, Failure)>;

/// Names and values that transforms have set for a record.
type SetKeys<'k> = &'k [(String, String)];

/// What has been made of a chunk so far.
#[derive(Default)]
struct Made {
    data: Vec<u8>,
    /// For each source record.
    ends: Vec<u32>,
    records: Vec<u32>,
    /// Where each made record ends, if somebody has to know it.
    record_ends: Vec<u32>,
    /// What has become of `data`, where rows are made of it.
    rows: Option<Converting>,
    partitions: Partitions,
    known_partitions: HashMap<Partition, u32>,
    apart: Vec<Apart>,
    /// Bytes of all that is apart, in memory.
    apart_bytes: usize,
    /// Nothing but the record as it was read can be placed again.
    needs_keys: bool,
    /// One time for all of them, so that an earlier life's can be said again.
    failed_at: Option<Timestamp>,
}

/// A chunk on its way through the steps.
pub struct Work {
    chunk: Chunk,
    made: Made,
    /// Of the slice that is next.
    first_failure: Option<FirstFailure>,
    has_waited: bool,
    /// Records that it may have: fewer where more had been made than may be held.
    slice_records_max: usize,
}

/// What has become of a chunk.
pub enum Progress {
    /// The second is the rest of a chunk of which as much was made as may be held.
    Done(Box<(Processed, Option<Chunk>)>),
    Later(Box<(Work, Next)>),
}

/// How a chunk that is not done goes on.
pub enum Next {
    Quick,
    /// Where it takes no core from other streams.
    Patient,
    Wait {
        transform: Arc<Transform>,
        delay: Duration,
    },
}

impl Work {
    pub fn new(chunk: Chunk) -> Self {
        Self {
            chunk,
            made: Made::default(),
            first_failure: None,
            has_waited: false,
            slice_records_max: BATCH_RECORDS_MAX,
        }
    }
}

impl Made {
    fn reserve(&mut self, chunk: &Chunk) {
        if self.ends.is_empty() {
            self.data = blocks::take(chunk.data.len() + chunk.data.len() / 2);
            self.ends.reserve(chunk.records());
            self.records.reserve(chunk.records());
        }
    }

    /// Whether all of the chunk is done, or as much as may be held.
    fn is_enough(&self, chunk: &Chunk) -> bool {
        self.ends.len() == chunk.records()
            || self.data.len() + self.apart_bytes >= MADE_MAX
            || self.rows.as_ref().is_some_and(Converting::is_enough)
    }

    /// `is_whole`: nothing of record `index` goes on.
    fn fail(&mut self, chunk: &Chunk, index: usize, is_whole: bool, failures: &mut Failures) {
        if failures.is_empty() {
            return;
        }
        let at = *self.failed_at.get_or_insert_with(|| chunk.failed_at.unwrap_or_else(record::now));
        let keeps_source = |error_type| match error_type {
            ErrorType::Processing => is_whole,
            ErrorType::Metadata => is_whole && self.needs_keys,
            // Firehose keeps what has come to its conversion.
            ErrorType::Conversion => false,
        };
        for failed in failed_record(chunk, index, at, keeps_source, failures) {
            self.put_apart(failed);
        }
    }

    fn put_apart(&mut self, apart: Apart) {
        self.apart_bytes += match &apart.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Rows(columns, _) => columns.memory(),
        };
        self.apart.push(apart);
    }

    /// Makes rows of what was made of source record `index`, which stands in `data` from `start` on and whose parts end at the
    /// ends from `first` on; those are not needed any more.
    fn convert(
        &mut self,
        conversion: &Conversion,
        chunk: &Chunk,
        index: usize,
        (start, first): (usize, usize),
        room: &mut Room,
    ) {
        let mut rows = self.rows.take().unwrap_or_else(|| conversion.begin());
        let starts = std::iter::once(start).chain(self.record_ends[first..].iter().map(|&end| end as usize));
        let ends = self.record_ends[first..].iter().map(|&end| end as usize);
        let mut failed = Vec::new();
        conversion.record(&mut rows, &self.data, starts.zip(ends).map(|(start, end)| start..end), room, &mut failed);
        self.record_ends.truncate(first);
        if let Some(records) = self.records.last_mut() {
            *records = rows.last_rows();
        }
        let data = std::mem::take(&mut self.data);
        self.fail_objects(chunk, index, &data, &mut failed);
        self.data = data;
        self.rows = Some(rows);
    }

    /// The same with what of it leaves to another partition.
    fn convert_apart(
        &mut self,
        conversion: &Conversion,
        chunk: &Chunk,
        index: usize,
        (partition, data): (Partition, &[u8]),
        room: &mut Room,
    ) {
        let mut failed = Vec::new();
        let columns = conversion.apart(data, room, &mut failed);
        self.fail_objects(chunk, index, data, &mut failed);
        let records = columns.rows() as u64;
        if records > 0 {
            let content = Content::Rows(Arc::new(columns), data.len() as u64);
            self.put_apart(Apart { index, goal: Goal::Partition(partition), content, records });
        }
    }

    /// Puts apart what of `data` is no row.
    fn fail_objects(&mut self, chunk: &Chunk, index: usize, data: &[u8], failed: &mut Vec<FailedObject>) {
        if !failed.is_empty() {
            let mut failures = failed.drain(..).map(|(range, failure)| (data[range].to_vec(), failure)).collect();
            self.fail(chunk, index, false, &mut failures);
        }
    }

    /// The number of a partition in this chunk.
    fn partition(&mut self, partition: Partition) -> u32 {
        let next = self.partitions.all.len() as u32;
        *self.known_partitions.entry(partition).or_insert_with_key(|partition| {
            self.partitions.all.push(partition.clone());
            next
        })
    }
}

impl Processing {
    /// The processors of `steps`, for each encoding that files may have, and what comes after them; `None` where there is nothing
    /// and records stay as they are. `output_delimiter` is put after each record that does not end with it already.
    pub async fn open(
        stream: &str,
        steps: Vec<(&'static Encoding, Vec<StepConfig>)>,
        output_delimiter: &[u8],
        shape: Shape,
    ) -> Result<Option<Self>, ConfigError> {
        if steps.iter().all(|(_, steps)| steps.is_empty()) && shape.is_nothing() {
            return Ok(None);
        }
        let needs_ec2 =
            |step: &StepConfig| matches!(&step.processor, ProcessorConfig::AddMetadata(config) if config.needs_ec2());
        let needs_ec2 = steps.iter().flat_map(|(_, steps)| steps).any(needs_ec2);
        let ec2 = if needs_ec2 { ec2::fetch().await } else { Ec2Metadata::default() };
        let environment = |name: &str| std::env::var(name).ok();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let surroundings = Surroundings { host, ec2, environment: &environment };
        let sequence = |(encoding, steps)| {
            Ok((encoding, Sequence::new(stream, steps, &surroundings).map_err(|(_, error)| error)?))
        };
        let sequences = steps.into_iter().map(sequence).collect::<Result<_, _>>()?;
        let no_steps = Sequence::new(stream, Vec::new(), &surroundings).map_err(|(_, error)| error)?;
        Ok(Some(Self { sequences, no_steps, output_delimiter: output_delimiter.into(), shape }))
    }

    /// Goes on with `work`, until the chunk or as much of it as may be held is done, or until it has to wait. Burns CPU.
    pub fn run(&self, mut work: Work, pace: Pace, budget: &StreamBudget) -> Progress {
        work.made.needs_keys = self.shape.partitioner.as_ref().is_some_and(|known| known.needs_transform_keys());
        let Some((encoding, sequence)) = self.sequence(work.chunk.partition.encoding()) else {
            let chunk = work.chunk;
            return Progress::Done(Box::new((Processed { source: chunk.clone(), chunk, apart: Vec::new() }, None)));
        };
        let sequence = if work.chunk.is_processed { &self.no_steps } else { sequence };
        if let (None, Some(conversion), true) = (&self.shape.partitioner, &self.shape.conversion, sequence.is_nothing())
        {
            return Progress::Done(Box::new(self.convert_source(work, conversion, budget)));
        }
        let partition = work.chunk.partition.clone();
        let (name, header) = (partition.name(), partition.header());
        let header = header.map(|header| encoding.decode_without_bom_handling(&header).0.into_owned());
        let origin = Origin {
            name: &name,
            shard: partition.shard(),
            partition_key: "",
            position: work.chunk.start,
            arrival: work.chunk.arrival,
            header: header.as_deref().map(str::as_bytes).map_err(|reason| *reason),
        };
        let result = match sequence.processors() {
            Some(pipeline) => Ok(self.run_records(work, pipeline, origin)),
            None => self.run_slices(work, sequence, origin, pace),
        };
        match result {
            Ok(Work { chunk, made, .. }) => {
                let done = made.ends.len();
                let rest = (done < chunk.records()).then(|| chunk.from(done));
                Progress::Done(Box::new((self.processed(chunk.until(done), made, budget), rest)))
            }
            Err(later) => Progress::Later(later),
        }
    }

    fn run_records(&self, mut work: Work, pipeline: &Pipeline, origin: Origin<'_>) -> Work {
        let Work { chunk, made, .. } = &mut work;
        made.reserve(chunk);
        let (mut scratch, mut records, mut failures) = (Scratch::default(), Records::default(), Vec::new());
        while !made.is_enough(chunk) {
            let index = made.ends.len();
            let origin = origin.of_record(chunk, index);
            records.clear();
            pipeline.run(chunk.record(index), &origin, &mut scratch, &mut records, &mut failures);
            if failures.len() > FAILED_PARTS_MAX {
                records.clear();
                fail_as_a_whole(chunk.record(index), &mut failures);
            }
            let records = records.iter().map(|record| (record, [].as_slice()));
            let passed = self.take(made, chunk, index, records, &mut failures);
            made.fail(chunk, index, passed == 0, &mut failures);
        }
        work
    }

    /// A slice is what one call of a component takes.
    fn run_slices(
        &self,
        mut work: Work,
        sequence: &Sequence,
        origin: Origin<'_>,
        pace: Pace,
    ) -> Result<Work, Box<(Work, Next)>> {
        work.made.reserve(&work.chunk);
        while !work.made.is_enough(&work.chunk) {
            let chunk = work.chunk.clone();
            let from = work.made.ends.len();
            let rows_max = self.shape.conversion.as_ref().map_or(usize::MAX, Conversion::records_at_a_time);
            let to = slice_end(&chunk, from, sequence.slice_bytes(), work.slice_records_max.min(rows_max));
            let slice = Slice { chunk: &chunk, from, to, origin };
            let handling = Handling {
                pace,
                first_failure: work.first_failure.as_ref(),
                has_waited: work.has_waited,
                had_failed: chunk.failed_at.is_some(),
            };
            match sequence.run(slice, &handling) {
                Ok(passed) => self.take_slice(&mut work.made, slice, passed),
                Err(Stop::TooLarge) if to - from > 1 => {
                    // A smaller batch has not failed yet.
                    work.first_failure = None;
                    work.slice_records_max = (to - from) / 2;
                    continue;
                }
                Err(Stop::TooLarge) => self.take_slice(&mut work.made, slice, too_large(slice)),
                Err(Stop::Patience(first_failure)) => {
                    work.first_failure = first_failure;
                    return Err(Box::new((work, Next::Patient)));
                }
                Err(Stop::Wait { transform, delay, .. }) => {
                    // After the wait it is tried again, whatever came of it before.
                    (work.has_waited, work.first_failure) = (true, None);
                    return Err(Box::new((work, Next::Wait { transform, delay })));
                }
            }
            (work.first_failure, work.has_waited) = (None, false);
            work.slice_records_max = (2 * work.slice_records_max).min(BATCH_RECORDS_MAX);
            if pace == Pace::Patient && !work.made.is_enough(&work.chunk) {
                return Err(Box::new((work, Next::Quick)));
            }
        }
        Ok(work)
    }

    fn take_slice(&self, made: &mut Made, slice: Slice<'_>, passed: Passed) {
        let Passed { passing, failed } = passed;
        let mut failed = failed.into_iter().peekable();
        let (mut next, mut failures) = (0, Vec::new());
        for index in slice.from..slice.to {
            let of_this = passing.sources[next..].iter().take_while(|&&source| source as usize == index).count();
            let keys = |at: usize| passing.keys[at].as_ref().map_or([].as_slice(), |keys| keys.as_slice());
            let records = (next..next + of_this).filter_map(|at| Some((passing.records.get(at)?, keys(at))));
            next += of_this;
            while let Some(part) = failed.next_if(|part| part.source as usize == index) {
                failures.push((part.data, part.failure));
            }
            let is_split = of_this > 0 || failures.len() > 1;
            if failures.len() > FAILED_PARTS_MAX || (is_split && has_died(&failures)) {
                fail_as_a_whole(slice.chunk.record(index), &mut failures);
                self.take(made, slice.chunk, index, std::iter::empty(), &mut failures);
                made.fail(slice.chunk, index, true, &mut failures);
            } else {
                let passed = self.take(made, slice.chunk, index, records, &mut failures);
                made.fail(slice.chunk, index, passed == 0, &mut failures);
            }
        }
    }

    pub(super) fn sequence(&self, encoding: Option<&'static Encoding>) -> Option<&(&'static Encoding, Sequence)> {
        let own = self.sequences.iter().find(|(known, _)| Some(*known) == encoding);
        own.or(self.sequences.first())
    }

    /// Takes what was made of source record `index`, each with the keys that were set for it; what belongs nowhere is added to
    /// `failures`. Returns how many of them leave, with the chunk or apart.
    fn take<'r>(
        &self,
        made: &mut Made,
        chunk: &Chunk,
        index: usize,
        records: impl Iterator<Item = (&'r [u8], SetKeys<'r>)>,
        failures: &mut Failures,
    ) -> usize {
        let known = self.old_partition(chunk, index);
        let (mut partition, mut count, mut apart) = (None, 0, None::<BTreeMap<Partition, (Vec<u8>, u64)>>);
        let (start, first) = (made.data.len(), made.record_ends.len());
        for (record, keys) in records {
            if let Some(partitioner) = &self.shape.partitioner {
                let found = known.clone().map_or_else(|| partitioner.partition(record, keys), Ok);
                match found {
                    Ok(found) if partition.as_ref().is_some_and(|first| *first != found) => {
                        let (bytes, records) = apart.get_or_insert_default().entry(found).or_default();
                        self.push(record, bytes);
                        *records += 1;
                        continue;
                    }
                    Ok(found) => partition = Some(found),
                    Err(error) => {
                        failures.push((record.to_vec(), Failure::of_partitioning(&error)));
                        continue;
                    }
                }
            }
            self.push(record, &mut made.data);
            count += 1;
            if self.shape.conversion.is_some() || self.shape.keeps_ends {
                made.record_ends.push(made.data.len() as u32);
            }
        }
        made.ends.push(made.data.len() as u32);
        made.records.push(count);
        if self.shape.partitioner.is_some() {
            let number = partition.map_or(0, |partition| made.partition(partition));
            made.partitions.of.push(number);
        }
        let leaving = count as usize + apart.as_ref().map_or(0, BTreeMap::len);
        let made_bytes =
            made.data.len() - start + apart.iter().flatten().map(|(_, (bytes, _))| bytes.len()).sum::<usize>();
        let apart = apart.into_iter().flatten();
        let Some(conversion) = &self.shape.conversion else {
            for (partition, (bytes, records)) in apart {
                let content = Content::Bytes(Bytes::from(bytes));
                made.put_apart(Apart { index, goal: Goal::Partition(partition), content, records });
            }
            return leaving;
        };
        let mut room = conversion.room(made_bytes);
        for (partition, (bytes, _)) in apart {
            made.convert_apart(conversion, chunk, index, (partition, &bytes), &mut room);
        }
        made.convert(conversion, chunk, index, (start, first), &mut room);
        leaving
    }

    /// Of a redriven record that was sent to its index before: it needs none of what decides over a partition.
    fn old_partition(&self, chunk: &Chunk, index: usize) -> Option<Partition> {
        match &chunk.earlier(index)?.id {
            Some(OldId::Document { index, .. }) if !index.is_empty() => self.shape.partitioner.as_ref()?.of_old_index(),
            Some(OldId::Document { .. } | OldId::Endpoint { .. }) | None => None,
        }
    }

    fn push(&self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(record);
        if !record.ends_with(&self.output_delimiter) {
            out.extend_from_slice(&self.output_delimiter);
        }
    }

    /// Rows of a chunk whose records nothing else is done with: they are read where they lie. Where they become too many, the
    /// rest of the chunk is given back.
    fn convert_source(&self, work: Work, conversion: &Conversion, budget: &StreamBudget) -> (Processed, Option<Chunk>) {
        let Work { chunk, mut made, .. } = work;
        let (mut rows, mut failed) = (conversion.begin(), Vec::new());
        while rows.records() < chunk.records() && !rows.is_enough() && made.apart_bytes < MADE_MAX {
            let index = rows.records();
            let start = chunk.record_start(index) as usize;
            let length = chunk.record(index).len();
            let record = std::iter::once(start..start + length);
            conversion.record(&mut rows, &chunk.data, record, &mut conversion.room(length), &mut failed);
            made.records.push(rows.last_rows());
            made.fail_objects(&chunk, index, &chunk.data, &mut failed);
        }
        let done = rows.records();
        made.ends = chunk.ends[..done].to_vec();
        let rest = (done < chunk.records()).then(|| chunk.from(done));
        (self.finished(chunk.until(done), made, Some(conversion.end(rows)), budget), rest)
    }

    fn processed(&self, source: Chunk, mut made: Made, budget: &StreamBudget) -> Processed {
        let rows = match (&self.shape.conversion, made.rows.take()) {
            (Some(conversion), Some(rows)) => {
                blocks::give_back(std::mem::take(&mut made.data));
                Some(conversion.end(rows))
            }
            _ => None,
        };
        self.finished(source, made, rows, budget)
    }

    fn finished(&self, source: Chunk, mut made: Made, rows: Option<Rows>, budget: &StreamBudget) -> Processed {
        let data = if rows.is_some() { Vec::new() } else { fitting(std::mem::take(&mut made.data)) };
        let rows_bytes = rows.as_ref().map_or(0, |rows| rows.columns.memory() + 4 * rows.ends.len());
        let record_ends =
            (self.shape.keeps_ends && rows.is_none()).then(|| Arc::new(std::mem::take(&mut made.record_ends)));
        let ends_bytes = 8 * made.ends.len() + 4 * record_ends.as_ref().map_or(0, |ends| ends.len());
        let kept = (data.capacity() + rows_bytes + made.apart_bytes + ends_bytes) as u64;
        // Half of what was granted for the chunk is for what is made of it; what that does not cover is taken all the same.
        let granted = source.permit.split(kept.min(source.permit.bytes() / 2));
        granted.absorb(budget.overdraw(kept - granted.bytes()));
        let permit = Arc::new(granted);
        let source = Chunk { failed_at: made.failed_at, ..source };
        let chunk = Chunk {
            data: guarded(data, permit.clone()),
            ends: Arc::new(made.ends),
            source_ends: Some(source.every_source_end()),
            made: Some(Arc::new(made.records)),
            record_ends,
            partitions: self.shape.partitioner.is_some().then(|| Arc::new(made.partitions)),
            rows: rows.map(Arc::new),
            permit,
            ..source.clone()
        };
        made.apart.sort_by(|one, other| (one.index, &one.goal).cmp(&(other.index, &other.goal)));
        Processed { source, chunk, apart: made.apart }
    }
}

/// `data` in a buffer that is not much larger than it.
fn fitting(data: Vec<u8>) -> Vec<u8> {
    if data.len() >= data.capacity() / 2 {
        return data;
    }
    let fitting = data.as_slice().to_vec();
    blocks::give_back(data);
    fitting
}

/// Whether a component has died on one of the parts: another life may see it live, so parts of such a record are nothing to rely
/// on after a crash.
pub(super) fn has_died(failures: &[(Vec<u8>, Failure)]) -> bool {
    failures.iter().any(|(_, failure)| failure.code == ErrorCode::TransformFailed)
}

/// One failure in place of very many, so that what a single record can cost is bounded.
pub(super) fn fail_as_a_whole(record: &[u8], failures: &mut Vec<(Vec<u8>, Failure)>) {
    let parts = failures.len();
    let at = failures.iter().position(|(_, failure)| failure.code == ErrorCode::TransformFailed).unwrap_or(0);
    let Some((_, first)) = failures.get(at) else { return };
    let message = format!("{parts} parts of the record failed, so all of it does; the first: {}", first.message);
    let failure = Failure { message, ..first.clone() };
    *failures = vec![(record.to_vec(), failure)];
}

/// Where the slice that begins with record `from` ends; it has at least one record.
pub(super) fn slice_end(chunk: &Chunk, from: usize, bytes_max: u64, records_max: usize) -> usize {
    let end_max = (from + records_max.min(chunk.records() - from)).max(from + 1);
    let fits = |&to: &usize| chunk.len(from, to) <= bytes_max;
    (from + 1..=end_max).take_while(fits).last().unwrap_or(from + 1)
}

/// A slice of one record of which too much is made.
pub(super) fn too_large(slice: Slice<'_>) -> Passed {
    let limit = OUTPUT_BYTES_MAX >> 20;
    let failure = Failure::new(format!("one source record became more than {limit} MB in processing"));
    let data = slice.chunk.record(slice.from).to_vec();
    Passed { failed: vec![FailedPart { source: slice.from as u32, data, failure }], ..Passed::default() }
}

/// The lines for what of one record has failed, by error output. What failed as one is kept as it was read where `keeps_source`
/// says so, so that it can be sent through all steps again.
fn failed_record(
    chunk: &Chunk,
    index: usize,
    at: Timestamp,
    keeps_source: impl Fn(ErrorType) -> bool,
    failures: &mut Failures,
) -> Vec<Apart> {
    let place = envelope::place(chunk, index);
    let is_one = failures.len() == 1;
    let (partition, position) = (chunk.partition.id(), chunk.record_position(index));
    let (attempts, arrival) = envelope::first_attempts(chunk, index);
    let mut by_type = BTreeMap::<ErrorType, (Vec<u8>, u64)>::new();
    for (data, failure) in failures.drain(..) {
        let error_type = failure.code.error_type();
        let raw = if is_one && keeps_source(error_type) { chunk.record(index) } else { &data };
        let (lines, records) = by_type.entry(error_type).or_default();
        let origin = envelope::Origin { place: &place, partition, position, number: *records as usize, arrival };
        lines.extend_from_slice(&envelope::failed(raw, &failure.after(attempts), origin, at));
        *records += 1;
    }
    let apart = |(error_type, (lines, records))| Apart {
        index,
        goal: Goal::Failed(error_type),
        content: Content::Bytes(Bytes::from(lines)),
        records,
    };
    by_type.into_iter().map(apart).collect()
}
