//! A chunk through the processors of its stream.

use std::sync::Arc;

use bytes::Bytes;
use encoding_rs::Encoding;
use jiff::Timestamp;

use crate::envelope;
use crate::memory::{StreamBudget, guarded};
use crate::record::Chunk;

use super::{
    ConfigError, Ec2Metadata, FailedRecord, Failure, Origin, Pipeline, Processed, ProcessorConfig, Records, Scratch,
    StepConfig, Surroundings, ec2,
};

/// Once so much has been made of a chunk, the rest of it waits for its own turn.
const MADE_MAX: usize = 8 << 20;

/// A source record of which more parts than that have failed fails as a whole.
const FAILED_PARTS_MAX: usize = 1_000;

/// The processors of one stream, and what stands between the records that they make.
pub struct Processing {
    /// For files of each encoding; the first where a file does not say which.
    pipelines: Vec<(&'static Encoding, Pipeline)>,
    output_delimiter: Arc<[u8]>,
}

/// What has been made of a chunk so far.
#[derive(Default)]
struct Made {
    data: Vec<u8>,
    /// For each source record.
    ends: Vec<u32>,
    records: Vec<u32>,
    failed: Vec<FailedRecord>,
    /// Bytes of all lines in `failed`.
    failed_bytes: usize,
}

impl Processing {
    /// The processors of `steps`, for each encoding that files may have; `None` where there are none and records stay as
    /// they are. `output_delimiter` is put after each record that does not end with it already.
    pub async fn open(
        steps: Vec<(&'static Encoding, Vec<StepConfig>)>,
        output_delimiter: &[u8],
    ) -> Result<Option<Self>, ConfigError> {
        if steps.iter().all(|(_, steps)| steps.is_empty()) {
            return Ok(None);
        }
        let needs_ec2 =
            |step: &StepConfig| matches!(&step.processor, ProcessorConfig::AddMetadata(config) if config.needs_ec2());
        let needs_ec2 = steps.iter().flat_map(|(_, steps)| steps).any(needs_ec2);
        let ec2 = if needs_ec2 { ec2::fetch().await } else { Ec2Metadata::default() };
        let environment = |name: &str| std::env::var(name).ok();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let surroundings = Surroundings { host, ec2, environment: &environment };
        let pipeline =
            |(encoding, steps)| Ok((encoding, Pipeline::new(steps, &surroundings).map_err(|(_, error)| error)?));
        let pipelines = steps.into_iter().map(pipeline).collect::<Result<_, _>>()?;
        Ok(Some(Self { pipelines, output_delimiter: output_delimiter.into() }))
    }

    /// Processes a chunk, or as much of it as may be held; the second is the rest. Burns CPU.
    pub fn run(&self, chunk: Chunk, budget: &StreamBudget) -> (Processed, Option<Chunk>) {
        let (mut made, mut scratch, mut records) = (Made::default(), Scratch::default(), Records::default());
        made.data.reserve(chunk.data.len() + chunk.data.len() / 2);
        made.ends.reserve(chunk.records());
        made.records.reserve(chunk.records());
        let name = chunk.partition.name();
        let Some((encoding, pipeline)) = self.pipeline(chunk.partition.encoding()) else {
            return (Processed { source: chunk.clone(), chunk, failed: Vec::new() }, None);
        };
        let header =
            chunk.partition.header().map(|header| encoding.decode_without_bom_handling(&header).0.into_owned());
        let mut failures = Vec::new();
        let mut done = 0;
        while done < chunk.records() && made.data.len() + made.failed_bytes < MADE_MAX {
            let origin = Origin {
                name: &name,
                position: chunk.position(done).0,
                arrival: chunk.arrival,
                header: header.as_deref().map(str::as_bytes).map_err(|reason| *reason),
            };
            records.clear();
            pipeline.run(chunk.record(done), &origin, &mut scratch, &mut records, &mut failures);
            if failures.len() > FAILED_PARTS_MAX {
                fail_as_a_whole(chunk.record(done), &mut records, &mut failures);
            }
            self.take(&mut made, &records);
            if !failures.is_empty() {
                let failed = failed_record(&chunk, done, records.is_empty(), &mut failures);
                made.failed_bytes += failed.lines.len();
                made.failed.push(failed);
            }
            done += 1;
        }
        let rest = (done < chunk.records()).then(|| chunk.from(done));
        (self.processed(chunk.until(done), made, budget), rest)
    }

    fn pipeline(&self, encoding: Option<&'static Encoding>) -> Option<&(&'static Encoding, Pipeline)> {
        let own = self.pipelines.iter().find(|(known, _)| Some(*known) == encoding);
        own.or(self.pipelines.first())
    }

    fn take(&self, made: &mut Made, records: &Records) {
        for record in records.iter() {
            made.data.extend_from_slice(record);
            if !record.ends_with(&self.output_delimiter) {
                made.data.extend_from_slice(&self.output_delimiter);
            }
        }
        made.ends.push(made.data.len() as u32);
        made.records.push(records.len() as u32);
    }

    fn processed(&self, source: Chunk, made: Made, budget: &StreamBudget) -> Processed {
        let mut data = made.data;
        data.shrink_to_fit();
        let kept = (data.len() + made.failed_bytes + 8 * made.ends.len()) as u64;
        // Half of what was granted for the chunk is for what is made of it; what that does not cover is taken all the same.
        let granted = source.permit.split(kept.min(source.permit.bytes() / 2));
        granted.absorb(budget.overdraw(kept - granted.bytes()));
        let permit = Arc::new(granted);
        let ends = |index: usize| source.end_position(index).0 - source.start.0;
        let chunk = Chunk {
            data: guarded(data, permit.clone()),
            ends: Arc::new(made.ends),
            source_ends: Some(Arc::new((0..source.records()).map(ends).collect())),
            made: Some(Arc::new(made.records)),
            permit,
            ..source.clone()
        };
        Processed { source, chunk, failed: made.failed }
    }
}

/// One failure in place of very many, so that what a single record can cost is bounded.
fn fail_as_a_whole(record: &[u8], records: &mut Records, failures: &mut Vec<(Vec<u8>, Failure)>) {
    let (parts, first) = (failures.len(), failures.first().map_or("", |(_, failure)| failure.message.as_str()));
    let failure = Failure::new(format!("{parts} parts of the record failed, so all of it does; the first: {first}"));
    records.clear();
    *failures = vec![(record.to_vec(), failure)];
}

/// The lines for what of one record has failed. `is_whole`: nothing of it goes on.
fn failed_record(chunk: &Chunk, index: usize, is_whole: bool, failures: &mut Vec<(Vec<u8>, Failure)>) -> FailedRecord {
    let (place, now) = (envelope::place(chunk, index), Timestamp::now());
    let records = failures.len() as u64;
    let mut lines = Vec::new();
    for (data, failure) in failures.drain(..) {
        // What failed as one is kept as it was read, so that it can be sent through again.
        let raw = if is_whole && records == 1 { chunk.record(index) } else { &data };
        lines.extend_from_slice(&envelope::processing_failed(raw, &failure.message, &place, chunk.arrival, now));
    }
    FailedRecord { index, lines: Bytes::from(lines), records }
}
