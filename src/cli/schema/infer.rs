//! `hydrant schema infer`: a schema from sample records.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Error;
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::convert::Samples;
use crate::schema::infer::{Inference, Proposal};

/// Proposes a schema from sample records: JSON objects, one a line, from FILE or from standard input.
///
/// Standard output is a file of a directory registry. A remark stands as a comment in front of the column that it is about,
/// and on standard error: where samples do not fit together, which kinds there were, how often, with an example.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant schema infer access.ndjson > access.yaml
  hydrant transform --stream web --json access.log | jq -r '.outputs[].data' | hydrant schema infer

Every column is nullable: samples do not show what is always there. Integers are bigint, a decimal(20,0) where one is too \
large for that; text is date or timestamp if every sample is of a form that is read without `timestamp_formats`. Exits with \
1 if there is no object in the samples.")]
pub struct Arguments {
    /// The records; standard input without it, or with `-`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Default)]
struct Counts {
    objects: u64,
    others: u64,
    /// The line of the first of them, and what is wrong with it.
    first_other: Option<(u64, String)>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let mut inference = Inference::default();
    let counts = take_all(Lines::open(arguments.file.as_deref())?, &mut inference)?;
    if let Some((line, reason)) = &counts.first_other {
        eprintln!("{} of the samples are no objects; the first is in line {line}: {reason}", counts.others);
    }
    if counts.objects == 0 {
        eprintln!("there is no JSON object in the samples");
        return Ok(ExitCode::from(super::super::FAILED));
    }
    let Proposal { table, remarks } = inference.propose()?;
    let yaml = crate::schema::to_yaml_with(&table, |column| {
        let own = remarks.iter().filter(|remark| remark.column == column.name);
        own.map(|remark| remark.text.clone()).collect()
    });
    for remark in &remarks {
        eprintln!("{}", remark.text);
    }
    eprintln!("{} columns from {} records", table.columns().len(), counts.objects);
    let mut stdout = io::stdout().lock();
    stdout.write_all(yaml.as_bytes())?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A line may hold several objects, as a record may.
fn take_all(mut lines: Lines, inference: &mut Inference) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    while let Some(Line { number, text }) = lines.next()? {
        let Some(text) = text else {
            return Err(Error::Wrong(format!("line {number} is longer than {} MB", LINE_BYTES_MAX >> 20)));
        };
        for value in Samples::new(text) {
            let reason = match value {
                Ok(value) if inference.add(&value)? => {
                    counts.objects += 1;
                    continue;
                }
                Ok(_) => String::from("a value that is no object"),
                Err(error) => error.to_string(),
            };
            counts.others += 1;
            counts.first_other.get_or_insert((number, reason));
        }
    }
    Ok(counts)
}
