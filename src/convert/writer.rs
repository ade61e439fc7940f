//! A Parquet file, row group after row group, into any sink.
//!
//! What is held is the row group that is being built, encoded and compressed already, unless its pages are put elsewhere; a
//! closed group leaves at once.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::ArrowError;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, InMemoryPageStoreFactory, PageStoreFactory, compute_leaves,
};
use parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use parquet::data_type::Int96Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;

use super::arrays;
use super::column::Columns;
use super::encodings::Encodings;
use super::file_schema::FileSchema;
use super::int96::Int96Values;
use super::parquet_options::{Compression, Dictionary, ParquetOptions, Statistics, WriterVersion};

/// Distinct values of a row group that Bloom filters are made for, at a false positive rate of 5 %: 128 KB each while a group
/// is built; the filter that is written is as small as its values allow.
const BLOOM_DISTINCT: u64 = 1 << 17;
/// What a closed column chunk's metadata takes, about.
const METADATA: usize = 600;

/// Why a file could not be written. The file is of no use after it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The sink's errors too; the library keeps them as text or as source.
    #[error("cannot write Parquet")]
    Parquet(#[from] ParquetError),
    #[error("cannot form columns")]
    Arrow(#[from] ArrowError),
    #[error("no column in the file is named `{name}`, for which a Bloom filter is wished")]
    NoSuchColumn { name: String },
    #[error("the file is closed")]
    Closed,
}

/// Writes one file.
pub struct ParquetWriter<W: Write + Send> {
    schema: Arc<FileSchema>,
    options: Arc<ParquetOptions>,
    metadata: Vec<(String, String)>,
    encodings: Option<Encodings>,
    pages: Arc<dyn PageStoreFactory>,
    file: File<W>,
    group: Option<Group>,
    rows: u64,
}

enum File<W: Write + Send> {
    /// Until the first rows tell the encodings, nothing is written.
    Unopened(W),
    Open(Box<SerializedFileWriter<Counted<W>>>, ArrowRowGroupWriterFactory),
    /// By an error on the way to [`File::Open`].
    Closed,
}

/// The row group that is being built.
struct Group {
    writers: Vec<ArrowColumnWriter>,
    /// For the leaves that Arrow's writer cannot write.
    int96: Vec<Option<Int96Values>>,
    rows: u64,
}

/// A sink that knows what it has got, the footer included.
struct Counted<W> {
    sink: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

/// A complete file.
#[derive(Debug)]
pub struct Written<W> {
    pub sink: W,
    pub rows: u64,
    pub row_groups: usize,
    /// Size of the file.
    pub bytes: u64,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A file with this key-value metadata in its footer. `encodings` come from [`Encodings::choose`] or from another file's
    /// [`ParquetWriter::encodings`]; without them the first rows decide.
    ///
    /// # Errors
    ///
    /// [`WriteError::NoSuchColumn`]; a level that the codec does not have.
    pub fn new(
        sink: W,
        schema: Arc<FileSchema>,
        options: Arc<ParquetOptions>,
        metadata: Vec<(String, String)>,
        encodings: Option<Encodings>,
    ) -> Result<Self, WriteError> {
        properties(&schema, &options)?;
        let pages = Arc::new(InMemoryPageStoreFactory);
        Ok(Self { schema, options, metadata, encodings, pages, file: File::Unopened(sink), group: None, rows: 0 })
    }

    /// Complete pages of the row group that is being built go there; in memory, if this is not called before there are rows.
    #[must_use]
    pub fn with_pages(self, pages: Arc<dyn PageStoreFactory>) -> Self {
        Self { pages, ..self }
    }

    /// Appends all rows of `columns`, which are empty afterwards. A row group is closed after the rows that fill it, so that
    /// it is larger than its bound by what one call brings: some MB at most are best.
    ///
    /// # Errors
    ///
    /// The sink's, and the library's for columns of another schema.
    pub fn write(&mut self, columns: &mut Columns) -> Result<(), WriteError> {
        let empty = columns.emptied();
        let columns = std::mem::replace(columns, empty);
        if columns.is_empty() {
            return Ok(());
        }
        if self.encodings.is_none() {
            self.encodings = Some(Encodings::choose(&self.schema, &columns, &self.options)?);
        }
        let index = self.open()?.0.flushed_row_groups().len();
        let group = match &mut self.group {
            Some(group) => group,
            empty => {
                let File::Open(_, factory) = &self.file else { return Err(WriteError::Closed) };
                let int96 = |leaf| self.schema.is_int96(leaf).then(Int96Values::default);
                let int96 = self.schema.leaves.iter().map(int96).collect();
                empty.insert(Group { writers: factory.create_column_writers(index)?, int96, rows: 0 })
            }
        };
        self.rows += columns.rows as u64;
        group.write(&self.schema, columns)?;
        if group.size() >= (self.options.row_group_mb as usize) << 20 {
            self.close_group()?;
        }
        Ok(())
    }

    /// Closes the row group that is being built, if there is one: for when memory is short.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn close_group(&mut self) -> Result<(), WriteError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let (file, _) = self.open()?;
        let mut row_group = file.next_row_group()?;
        for (writer, int96) in group.writers.into_iter().zip(group.int96) {
            let Some(int96) = int96 else {
                writer.close()?.append_to_row_group(&mut row_group)?;
                continue;
            };
            if let Some(mut column) = row_group.next_column()? {
                let (definitions, repetitions) = (&int96.definitions, &int96.repetitions);
                column.typed::<Int96Type>().write_batch(&int96.values, Some(definitions), Some(repetitions))?;
                column.close()?;
            }
        }
        row_group.close()?;
        // The library keeps the last few KB back.
        file.flush().map_err(ParquetError::from)?;
        Ok(())
    }

    /// Writes what is left and the footer. A file without rows is a file, too.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn close(mut self) -> Result<Written<W>, WriteError> {
        self.close_group()?;
        let rows = self.rows;
        self.open()?;
        let File::Open(file, _) = self.file else { return Err(WriteError::Closed) };
        let row_groups = file.flushed_row_groups().len();
        let Counted { sink, bytes } = file.into_inner()?;
        Ok(Written { sink, rows, row_groups, bytes })
    }

    /// Bytes of memory that are held: the row group that is being built, and the metadata of those that have left.
    pub fn memory(&self) -> usize {
        self.group.as_ref().map_or(0, Group::memory) + self.metadata_memory()
    }

    /// Of that, what is held until the file is closed.
    pub fn metadata_memory(&self) -> usize {
        let closed = match &self.file {
            File::Open(file, _) => file.flushed_row_groups().len(),
            File::Unopened(_) | File::Closed => 0,
        };
        closed * self.schema.leaves.len() * METADATA
    }

    /// Rows that have been written, those of the row group that is being built included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the sink has got.
    pub fn bytes_written(&self) -> u64 {
        match &self.file {
            File::Open(file, _) => file.bytes_written() as u64,
            File::Unopened(_) | File::Closed => 0,
        }
    }

    /// What has been chosen, once there were rows.
    pub fn encodings(&self) -> Option<&Encodings> {
        self.encodings.as_ref()
    }

    fn open(&mut self) -> Result<(&mut SerializedFileWriter<Counted<W>>, &ArrowRowGroupWriterFactory), WriteError> {
        if let File::Unopened(_) = self.file
            && let File::Unopened(sink) = std::mem::replace(&mut self.file, File::Closed)
        {
            let properties = properties(&self.schema, &self.options)?;
            let properties = match &self.encodings {
                Some(encodings) => encodings.apply(&self.schema, properties),
                None => properties,
            };
            let entry = |(key, value): (String, String)| KeyValue::new(key, value);
            let metadata: Vec<_> = std::mem::take(&mut self.metadata).into_iter().map(entry).collect();
            let metadata = (!metadata.is_empty()).then_some(metadata);
            let properties: Arc<WriterProperties> = Arc::new(properties.set_key_value_metadata(metadata).build());
            let sink = Counted { sink, bytes: 0 };
            let file = SerializedFileWriter::new(sink, self.schema.root.clone(), properties)?;
            let factory = ArrowRowGroupWriterFactory::new(&file, self.schema.arrow.clone())
                .with_page_store_factory(self.pages.clone());
            self.file = File::Open(Box::new(file), factory);
        }
        match &mut self.file {
            File::Open(file, factory) => Ok((file, factory)),
            File::Unopened(_) | File::Closed => Err(WriteError::Closed),
        }
    }
}

impl Group {
    fn write(&mut self, schema: &FileSchema, columns: Columns) -> Result<(), WriteError> {
        self.rows += columns.rows as u64;
        for (leaf, int96) in schema.leaves.iter().zip(&mut self.int96) {
            if let (Some(int96), Some((first, way))) = (int96, leaf.way.split_first())
                && let Some(column) = columns.columns.get(*first)
            {
                int96.append(column, way);
            }
        }
        let mut writers = self.writers.iter_mut().zip(&self.int96);
        for (field, column) in schema.arrow.fields().iter().zip(columns.columns) {
            for leaf in compute_leaves(field, &arrays::array(column, field.data_type())?)? {
                if let Some((writer, None)) = writers.next() {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }

    fn int96_memory(&self) -> usize {
        self.int96.iter().flatten().map(Int96Values::memory).sum()
    }

    /// Bytes in the file, as far as they are known.
    fn size(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>() + self.int96_memory()
    }

    fn memory(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::memory_size).sum::<usize>() + self.int96_memory()
    }
}

/// All but what is chosen by looking at rows.
pub(super) fn properties(schema: &FileSchema, options: &ParquetOptions) -> Result<WriterPropertiesBuilder, WriteError> {
    let version = match options.writer_version {
        WriterVersion::V1 => parquet::file::properties::WriterVersion::PARQUET_1_0,
        WriterVersion::V2 => parquet::file::properties::WriterVersion::PARQUET_2_0,
    };
    let codec = match options.compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Gzip { level } => Codec::GZIP(GzipLevel::try_new(level.into())?),
        Compression::Zstd { level } => Codec::ZSTD(ZstdLevel::try_new(level.into())?),
        Compression::Lz4 => Codec::LZ4_RAW,
    };
    let statistics = match options.statistics {
        Statistics::None => EnabledStatistics::None,
        Statistics::Chunk => EnabledStatistics::Chunk,
        Statistics::Page => EnabledStatistics::Page,
    };
    let mut properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_created_by(concat!("hydrant version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_data_page_size_limit((options.page_kb as usize) << 10)
        .set_dictionary_enabled(options.dictionary != Dictionary::Never)
        .set_statistics_enabled(statistics);
    for leaf in schema.leaves.iter().filter(|leaf| schema.is_int96(leaf)) {
        // There was no agreed order for them for long, and who reads them still is old.
        properties = properties.set_column_statistics_enabled(leaf.path.clone(), EnabledStatistics::None);
    }
    for name in &options.bloom_filters {
        let is_named =
            |path: &str| path == name || path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let mut named = schema.leaves.iter().filter(|leaf| is_named(&leaf.path.string())).peekable();
        if named.peek().is_none() {
            return Err(WriteError::NoSuchColumn { name: name.clone() });
        }
        for leaf in named {
            properties = properties
                .set_column_bloom_filter_enabled(leaf.path.clone(), true)
                .set_column_bloom_filter_max_ndv(leaf.path.clone(), BLOOM_DISTINCT);
        }
    }
    Ok(properties)
}
