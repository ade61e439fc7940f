//! What becomes of records, for whoever wants to see it: the same steps, and nothing is delivered.

use std::ops::Range;

use crate::partition::Partition;
use crate::record::Chunk;

use super::chunks::{Shape, fail_as_a_whole, has_died, slice_end, too_large};
use super::sequence::{Passed, Slice};
use super::wasm::{BATCH_RECORDS_MAX, Handling, Pace, Stop};
use super::{Failure, Origin, PartitionKeys, Processing};

/// What becomes of one source record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    pub outputs: Vec<Leaving>,
    /// What has failed of it: the bytes that the failing step had got, and why.
    pub failures: Vec<(Vec<u8>, Failure)>,
}

/// What leaves of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Without the output delimiter.
    pub data: Vec<u8>,
    /// What transforms have set, and what the queries of dynamic partitioning have found.
    pub keys: PartitionKeys,
    /// With dynamic partitioning.
    pub partition: Option<Partition>,
}

impl Fate {
    /// Of a record that nothing is done with.
    pub fn unchanged(record: &[u8]) -> Self {
        let output = Leaving { data: record.to_vec(), ..Leaving::default() };
        Self { outputs: vec![output], failures: Vec::new() }
    }
}

/// Why no record can be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// The component fails whatever it is given.
    #[error("the transform `{component}` fails for every batch: {reason}")]
    Fails { component: String, reason: String },
    /// That is not the component's fault.
    #[error("no instance of the transform `{component}` can be made now: {reason}")]
    NoRoom { component: String, reason: String },
}

impl Processing {
    /// The fate of each record of a chunk. Burns CPU.
    pub fn try_out(&self, chunk: &Chunk) -> Result<Vec<Fate>, Down> {
        let mut fates = vec![Fate::default(); chunk.records()];
        self.try_slices(chunk, |passed| take(passed, &mut fates))?;
        for (index, fate) in fates.iter_mut().enumerate() {
            self.try_shape(fate);
            if has_died(&fate.failures) && fate.outputs.len() + fate.failures.len() > 1 {
                fate.outputs.clear();
                fail_as_a_whole(chunk.record(index), &mut fate.failures);
            }
        }
        Ok(fates)
    }

    /// What comes after all steps: outputs that belong to no partition, or are no rows, fail.
    fn try_shape(&self, fate: &mut Fate) {
        for output in std::mem::take(&mut fate.outputs) {
            self.shape.try_out(output, fate);
        }
    }

    /// The chunk through all steps, for nothing but the time it takes; how many records leave.
    pub fn run_alone(&self, chunk: &Chunk) -> Result<usize, Down> {
        let mut records = 0;
        self.try_slices(chunk, |passed| records += passed.passing.records.len())?;
        Ok(records)
    }

    fn try_slices(&self, chunk: &Chunk, mut take: impl FnMut(Passed)) -> Result<(), Down> {
        let Some((encoding, sequence)) = self.sequence(chunk.partition.encoding()) else { return Ok(()) };
        let name = chunk.partition.name();
        let header = chunk.partition.header();
        let header = header.map(|header| encoding.decode_without_bom_handling(&header).0.into_owned());
        let header = header.as_deref().map(str::as_bytes).map_err(|reason| *reason);
        let (shard, position, arrival) = (chunk.partition.shard(), chunk.start, chunk.arrival);
        let origin = Origin { name: &name, shard, partition_key: "", position, arrival, header };
        let mut records_max = BATCH_RECORDS_MAX;
        let (mut from, mut pace, mut first_failure) = (0, Pace::Quick, None);
        while from < chunk.records() {
            let to = slice_end(chunk, from, sequence.slice_bytes(), records_max);
            let slice = Slice { chunk, from, to, origin };
            let handling =
                Handling { pace, first_failure: first_failure.as_ref(), has_waited: true, had_failed: false };
            let passed = match sequence.run(slice, &handling) {
                Ok(passed) => passed,
                Err(Stop::TooLarge) if to - from > 1 => {
                    records_max = (to - from) / 2;
                    continue;
                }
                Err(Stop::TooLarge) => too_large(slice),
                Err(Stop::Patience(first)) => {
                    (pace, first_failure) = (Pace::Patient, first);
                    continue;
                }
                Err(Stop::Wait { down, .. }) => return Err(down),
            };
            take(passed);
            (from, pace, first_failure) = (to, Pace::Quick, None);
            records_max = (2 * records_max).min(BATCH_RECORDS_MAX);
        }
        Ok(())
    }
}

impl Shape {
    /// Of several objects in a record some may be rows and others fail.
    fn try_out(&self, mut output: Leaving, fate: &mut Fate) {
        if let Some(partitioner) = &self.partitioner {
            match partitioner.partition(&output.data, &output.keys) {
                Ok(partition) => output.partition = Some(partition),
                Err(error) => return fate.failures.push((output.data, Failure::of_partitioning(&error))),
            }
            output.keys.extend(partitioner.queried(&output.data));
        }
        let Some(conversion) = &self.conversion else { return fate.outputs.push(output) };
        let record = output.data.as_slice();
        let (mut room, mut failed) = (conversion.room(record.len()), Vec::new());
        conversion.apart(record, &mut room, &mut failed);
        if failed.is_empty() {
            return fate.outputs.push(output);
        }
        let mut from = 0;
        for (range, failure) in failed {
            fate.outputs.extend(rows(&output, from..range.start));
            from = range.end;
            fate.failures.push((record[range].to_vec(), failure));
        }
        fate.outputs.extend(rows(&output, from..record.len()));
    }
}

/// What stands between failed objects, if that is anything.
fn rows(output: &Leaving, range: Range<usize>) -> Option<Leaving> {
    let data = output.data[range].trim_ascii();
    (!data.is_empty()).then(|| Leaving { data: data.to_vec(), ..output.clone() })
}

fn take(passed: Passed, fates: &mut [Fate]) {
    for (record, source, keys) in passed.passing.iter() {
        let keys = keys.as_ref().map_or_else(Vec::new, |keys| keys.to_vec());
        fates[source as usize].outputs.push(Leaving { data: record.to_vec(), keys, partition: None });
    }
    for part in passed.failed {
        fates[part.source as usize].failures.push((part.data, part.failure));
    }
}
