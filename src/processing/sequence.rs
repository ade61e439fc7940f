//! All steps of a delivery stream: processors, which take records one by one, and components, which take batches.
//!
//! Invariant: what goes in comes out as outputs or failures, in the order of the source records; or, after a [`Stop`], nothing
//! has become of it and the same records come again.

use std::sync::Arc;

use crate::record::Chunk;

use super::passing::{FailedPart, Passing};
use super::wasm::{Batch, Handling, Place, Record, Seed, Sink, Stop, Transform};
use super::{ConfigError, Failure, Origin, Pipeline, ProcessorConfig, Scratch, StepConfig, Surroundings};

/// The steps of a stream, in order.
pub struct Sequence {
    parts: Vec<Part>,
}

enum Part {
    Processors(Pipeline),
    Transform(Arc<Transform>),
}

/// Some records of a chunk, and what they all have in common.
#[derive(Clone, Copy)]
pub struct Slice<'a> {
    pub chunk: &'a Chunk,
    pub from: usize,
    pub to: usize,
    /// Its position is the chunk's; each record has its own.
    pub origin: Origin<'a>,
}

/// What has become of a slice.
#[derive(Default)]
pub struct Passed {
    pub passing: Passing,
    /// In the order of the source records.
    pub failed: Vec<FailedPart>,
}

impl Sequence {
    /// Builds the steps; an error comes with the number of its step, from 0.
    pub fn new(
        stream: &str,
        configs: Vec<StepConfig>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, (usize, ConfigError)> {
        let (mut parts, mut processors, steps) = (Vec::new(), Vec::new(), configs.len());
        for (step, config) in configs.into_iter().enumerate() {
            let ProcessorConfig::Wasm(wasm) = config.processor else {
                processors.push(config);
                continue;
            };
            if !processors.is_empty() {
                add_processors(&mut parts, &mut processors, step, surroundings)?;
            }
            let transform = Transform::new(step, stream, *wasm)
                .map_err(|error| (step, ConfigError { key: "component", message: error.message, help: error.help }))?;
            let transform = Arc::new(transform);
            transform.register();
            parts.push(Part::Transform(transform));
        }
        // Records must pass through something: without any step through processors of which there are none.
        if parts.is_empty() || !processors.is_empty() {
            add_processors(&mut parts, &mut processors, steps, surroundings)?;
        }
        Ok(Self { parts })
    }

    /// The processors, where there is nothing else.
    pub fn processors(&self) -> Option<&Pipeline> {
        match self.parts.as_slice() {
            [Part::Processors(pipeline)] => Some(pipeline),
            _ => None,
        }
    }

    /// Whether records pass as they are.
    pub fn is_nothing(&self) -> bool {
        self.processors().is_some_and(Pipeline::is_empty)
    }

    /// Bytes of records that a slice should have: what one call of a component takes.
    pub fn slice_bytes(&self) -> u64 {
        self.parts.iter().filter_map(Part::batch_bytes_max).min().unwrap_or(u64::MAX)
    }

    /// Runs a slice through all steps. Burns CPU.
    pub fn run(&self, slice: Slice<'_>, handling: &Handling<'_>) -> Result<Passed, Stop> {
        let mut failed = Vec::new();
        let mut passing = None;
        for part in &self.parts {
            let given: Vec<Record<'_>> = match &passing {
                None => (slice.from..slice.to).map(|index| slice.record(index)).collect(),
                Some(passing) => slice.records(passing),
            };
            let mut next = Passing::default();
            match part {
                Part::Processors(pipeline) => {
                    next.reserve(&given);
                    run_processors(pipeline, slice, &given, &mut next, &mut failed)?;
                }
                // It brings its answer's buffer.
                Part::Transform(transform) => {
                    let mut sink = Sink { passing: &mut next, failed: &mut failed };
                    transform.run(slice.batch(), &given, handling, &mut sink)?;
                }
            }
            passing = Some(next);
        }
        failed.sort_by_key(|part| part.source);
        Ok(Passed { passing: passing.unwrap_or_default(), failed })
    }
}

impl Part {
    fn batch_bytes_max(&self) -> Option<u64> {
        match self {
            Self::Processors(_) => None,
            Self::Transform(transform) => Some(transform.batch_bytes_max()),
        }
    }
}

impl<'a> Slice<'a> {
    /// What all its batches have in common.
    fn batch(self) -> Batch<'a> {
        let (partition, chunk) = (&self.chunk.partition, self.chunk);
        let seed = Seed {
            arrival_ms: self.origin.arrival.as_millisecond().unsigned_abs(),
            partition: partition.identity().map_or(partition.id().0, u64::cast_signed),
            position: self.origin.position.fold(),
            step: 0,
            index: 0,
        };
        let place = match (self.origin.shard, &chunk.origins) {
            (Some(names), Some(origins)) => Place::Shard { shard_id: &names.shard_id, origins },
            (None, _) | (_, None) => Place::File { path: self.origin.name },
        };
        Batch { place, seed }
    }

    fn record(self, index: usize) -> Record<'a> {
        let (data, position) = (self.chunk.record(index), self.chunk.record_position(index));
        Record { data, source: index as u32, position, keys: None }
    }

    fn records<'p>(self, passing: &'p Passing) -> Vec<Record<'p>> {
        let position = |source: u32| self.chunk.record_position(source as usize);
        let record = |(data, source, keys): (&'p [u8], u32, &'p Option<_>)| Record {
            data,
            source,
            position: position(source),
            keys: keys.as_ref(),
        };
        passing.iter().map(record).collect()
    }
}

/// Processors that were collected become one part; `next_step` is the number of the step behind them.
fn add_processors(
    parts: &mut Vec<Part>,
    processors: &mut Vec<StepConfig>,
    next_step: usize,
    surroundings: &Surroundings<'_>,
) -> Result<(), (usize, ConfigError)> {
    let first = next_step - processors.len();
    let pipeline =
        Pipeline::new(std::mem::take(processors), surroundings).map_err(|(step, error)| (first + step, error))?;
    parts.push(Part::Processors(pipeline));
    Ok(())
}

fn run_processors(
    pipeline: &Pipeline,
    slice: Slice<'_>,
    given: &[Record<'_>],
    out: &mut Passing,
    failed: &mut Vec<FailedPart>,
) -> Result<(), Stop> {
    let (mut scratch, mut failures): (_, Vec<(Vec<u8>, Failure)>) = (Scratch::default(), Vec::new());
    for record in given {
        let origin = slice.origin.of_record(slice.chunk, record.source as usize);
        pipeline.run(record.data, &origin, &mut scratch, &mut out.records, &mut failures);
        out.name_last(record.source, record.keys.cloned());
        let part = |(data, failure)| FailedPart { source: record.source, data, failure };
        failed.extend(failures.drain(..).map(part));
        if out.is_too_large() {
            return Err(Stop::TooLarge);
        }
    }
    Ok(())
}
