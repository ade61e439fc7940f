//! `hydrant transform --bench`: how much each step of a delivery stream's processing takes in a second.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use std::sync::Arc;

use crate::processing::Shape;
use crate::processing::{Processing, StepConfig};
use crate::record::Chunk;
use crate::source::file::Piece;

use super::trial::{Trial, TrialError, open_input};

/// Each step is measured for so long.
const DURATION: Duration = Duration::from_secs(1);
/// More of a file is not held in memory.
const BYTES_MAX: u64 = 64 << 20;

/// Prints records and MB of input a second for each step, one after the other, on the thread that it is called on.
pub(super) fn bench(trial: &Trial<'_>, path: Option<&Path>) -> Result<(), TrialError> {
    let mut chunks = read(trial, path)?;
    let Some(first) = chunks.first() else {
        eprintln!("there is no record to measure with");
        return Ok(());
    };
    let encoding = first.partition.encoding().unwrap_or(trial.source().encoding);
    let mut out = io::stdout().lock();
    writeln!(out, "step\tprocessor\trecords_per_second\tmb_per_second\trecords\tbytes\toutputs")?;
    for (number, step) in trial.stream.steps(encoding).into_iter().enumerate() {
        let measured = measure(trial, &chunks, step)?;
        let Measured { name, seconds, rounds, records, bytes, .. } = measured;
        let rate = f64::from(rounds) / seconds;
        let (records_rate, mb_rate) = (records as f64 * rate, bytes as f64 * rate / 1e6);
        let outputs: usize = measured.outputs.iter().map(Chunk::records).sum();
        writeln!(out, "{}\t{name}\t{records_rate:.0}\t{mb_rate:.1}\t{records}\t{bytes}\t{outputs}", number + 1)?;
        chunks = measured.outputs;
    }
    Ok(())
}

struct Measured {
    name: &'static str,
    seconds: f64,
    rounds: u32,
    /// Of one round.
    records: usize,
    bytes: usize,
    outputs: Vec<Chunk>,
}

fn read(trial: &Trial<'_>, path: Option<&Path>) -> Result<Vec<Chunk>, TrialError> {
    let (file, name) = open_input(path)?;
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    trial.for_each(file, &name, |piece| -> Result<(), TrialError> {
        if let Piece::Chunk(chunk) = piece
            && bytes < BYTES_MAX
        {
            bytes += chunk.data.len() as u64;
            chunks.push(chunk);
        }
        Ok(())
    })?;
    Ok(chunks)
}

fn measure(trial: &Trial<'_>, chunks: &[Chunk], step: StepConfig) -> Result<Measured, TrialError> {
    let name = step.processor.name();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let encoding = trial.source().encoding;
    let processing =
        runtime.block_on(Processing::open(&trial.stream.name, vec![(encoding, vec![step])], &[], Shape::default()))?;
    let mut outputs = Vec::new();
    for chunk in chunks {
        let fates = match &processing {
            Some(processing) => processing.try_out(chunk)?,
            None => trial.fates(chunk)?,
        };
        let records = fates.into_iter().flat_map(|fate| fate.outputs).map(|output| output.data);
        outputs.extend(chunk_of(records, chunk));
    }
    let (begun, mut rounds) = (Instant::now(), 0);
    while begun.elapsed() < DURATION {
        for chunk in chunks {
            if let Some(processing) = &processing {
                std::hint::black_box(processing.run_alone(chunk)?);
            }
        }
        rounds += 1;
    }
    let (records, bytes) = (chunks.iter().map(Chunk::records).sum(), chunks.iter().map(|chunk| chunk.data.len()).sum());
    Ok(Measured { name, seconds: begun.elapsed().as_secs_f64(), rounds, records, bytes, outputs })
}

/// Records as the next step gets them; none makes no chunk.
fn chunk_of(records: impl Iterator<Item = Vec<u8>>, like: &Chunk) -> Option<Chunk> {
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for record in records {
        data.extend_from_slice(&record);
        ends.push(data.len() as u32);
    }
    let chunk = Chunk {
        data: Bytes::from(data),
        ends: Arc::new(ends),
        delimiter_len: 0,
        last_is_bare: false,
        source_ends: None,
        ..like.clone()
    };
    (chunk.records() > 0).then_some(chunk)
}
