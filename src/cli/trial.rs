//! Records through a delivery stream's processing, for the commands that show what becomes of them.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config::model::{Config, DeliveryStreamConfig, DestinationConfig, FileSourceConfig};
use crate::memory::{MemoryBudget, Permit, StreamBudget};
use crate::partition::Partition;
use crate::processing::{ConfigError, Down, Fate, Leaving, Processing};
use crate::record::Chunk;
use crate::source::file::{Piece, for_each_chunk};

/// Nobody else needs memory here.
const MEMORY: u64 = 1 << 40;

/// Why records could not be tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrialError {
    #[error("there is no delivery stream `{name}`; there are {known}")]
    NoStream { name: String, known: String },
    #[error("the delivery stream `{name}` reads no files")]
    NoFiles { name: String },
    #[error("the delivery stream cannot be tried out")]
    Stream(#[from] Box<crate::stream::StreamError>),
    #[error(transparent)]
    Processing(#[from] ConfigError),
    #[error(transparent)]
    Down(#[from] Down),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One delivery stream's processing.
pub(super) struct Trial<'a> {
    pub stream: &'a DeliveryStreamConfig,
    source: &'a FileSourceConfig,
    processing: Option<Processing>,
    budget: Arc<StreamBudget>,
}

/// A source record and what becomes of it.
pub(super) struct Tried<'a> {
    /// Its first byte in the file.
    pub position: u64,
    pub record: Outcome<'a>,
}

pub(super) enum Outcome<'a> {
    Fate(&'a [u8], &'a Fate),
    /// Longer than `max_record_kb`: so many bytes.
    TooLarge(u64),
}

impl<'a> Trial<'a> {
    /// The processing of the stream `name`.
    pub fn open(config: &'a Config, name: &str) -> Result<Self, TrialError> {
        let stream = config.delivery_streams.iter().find(|stream| stream.name == name).ok_or_else(|| {
            let known: Vec<_> = config.delivery_streams.iter().map(|stream| format!("`{}`", stream.name)).collect();
            TrialError::NoStream { name: name.to_owned(), known: known.join(", ") }
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let source = stream.source.file().ok_or_else(|| TrialError::NoFiles { name: name.to_owned() })?;
        let steps = source.encodings().into_iter().map(|encoding| (encoding, stream.steps(encoding)));
        let shape = runtime.block_on(crate::stream::shape_to_look(stream, &config.state_dir)).map_err(Box::new)?;
        let processing = runtime.block_on(Processing::open(name, steps.collect(), &stream.output_delimiter, shape))?;
        Ok(Self { stream, source, processing, budget: MemoryBudget::new(MEMORY).join() })
    }

    /// All records of `file` as the stream's source cuts them, and their fates, in order.
    pub fn run<E: From<TrialError> + From<io::Error>>(
        &self,
        file: File,
        name: &Path,
        mut show: impl FnMut(Tried<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.for_each(file, name, |piece| match piece {
            Piece::Oversize { start, length } => show(Tried { position: start, record: Outcome::TooLarge(length) }),
            Piece::Chunk(chunk) => {
                let fates = self.fates(&chunk).map_err(TrialError::from)?;
                for (index, fate) in fates.iter().enumerate() {
                    let record = Outcome::Fate(chunk.record(index), fate);
                    show(Tried { position: chunk.position(index).offset(), record })?;
                }
                Ok(())
            }
        })
    }

    /// The records of `file` as they are read.
    pub fn for_each<E: From<io::Error>>(
        &self,
        file: File,
        name: &Path,
        take: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        for_each_chunk(file, name.to_owned(), self.source(), &self.budget, take)
    }

    /// For a chunk that is made here.
    pub fn permit(&self) -> io::Result<Arc<Permit>> {
        let permit = self.budget.acquire(1, &CancellationToken::new(), Duration::MAX);
        permit.ok_or_else(|| io::Error::other("no memory is granted"))
    }

    pub fn fates(&self, chunk: &Chunk) -> Result<Vec<Fate>, Down> {
        match &self.processing {
            Some(processing) => processing.try_out(chunk),
            None => Ok((0..chunk.records()).map(|index| Fate::unchanged(chunk.record(index))).collect()),
        }
    }

    /// Whether where something goes depends on its records.
    pub fn is_partitioned(&self) -> bool {
        self.stream.destination.template().is_some_and(|(template, _)| template.dynamic().len() > 0)
    }

    /// The prefix of the object, or the index, in which something would be delivered that arrives at `at`. A random string is none
    /// yet.
    pub fn prefix(&self, output: &Leaving, at: Timestamp) -> String {
        if let DestinationConfig::OpenSearch(cluster) = &self.stream.destination {
            return cluster.index.name(at, output.partition.as_ref().map(Partition::values).unwrap_or_default());
        }
        let Some(layout) = self.stream.destination.layout() else { return String::new() };
        let values = output.partition.as_ref().map(Partition::values).unwrap_or_default();
        layout.prefix.evaluate(at, &layout.time_zone, None, values, &mut || String::from("!{firehose:random-string}"))
    }

    pub fn source(&self) -> &FileSourceConfig {
        self.source
    }
}

/// The file, or standard input from its beginning to its end, and a name for it. A pipe is read to its end, too.
pub(super) fn open_input(path: Option<&Path>) -> io::Result<(File, PathBuf)> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        return Ok((unnamed(&mut io::stdin().lock())?, PathBuf::from("standard input")));
    };
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        file = unnamed(&mut file)?;
    }
    Ok((file, path.to_owned()))
}

/// A file without a name that holds what `from` gives: what is read more than once has to be somewhere.
pub(super) fn unnamed(from: &mut dyn Read) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("hydrant-{}", uuid::Uuid::new_v4()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    io::copy(from, &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}
