//! How each column is best encoded, judged by its first rows.
//!
//! Dictionaries pay where values repeat, and cost where they do not; deltas pay for times and counters; and compressing what
//! does not become smaller is lost time for the writer and for every reader.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::io;
use std::sync::Arc;

use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression as Codec, Encoding};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::file::writer::SerializedFileWriter;

use super::arrays;
use super::column::{Column, Columns, Values};
use super::file_schema::{FileSchema, Leaf};
use super::keys::Fold;
use super::parquet_options::{Compression, Dictionary, ParquetOptions};
use super::writer::{WriteError, properties};

/// Values of a column that are looked at.
const SAMPLE: usize = 4096;
/// Rows that are compressed for a try.
const TRIAL: usize = 1024;
/// Fewer values say nothing.
const SAMPLE_MIN: usize = 64;
/// Leaves of a schema in which those that cannot be judged have no dictionary: the library takes 70 KB for one before there is a
/// value, which is much for thousands of columns that are mostly null.
const WIDE: usize = 256;
/// What compression must reach to be kept.
const RATIO_MIN: f64 = 1.2;

/// An encoding for each column, for files of one schema. Cheap to clone: judge once and use it for every partition's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encodings(Arc<[LeafEncoding]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LeafEncoding {
    kind: Kind,
    is_compressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dictionary,
    Plain,
    Delta,
    /// What the library would do.
    Default,
}

impl Encodings {
    /// Judges by `columns`; where the options leave no choice, or there are no rows, it is the library's own.
    ///
    /// # Errors
    ///
    /// The library's, for columns of another schema.
    pub fn choose(schema: &FileSchema, columns: &Columns, options: &ParquetOptions) -> Result<Self, WriteError> {
        let is_wide = options.dictionary == Dictionary::Auto && schema.leaves.len() > WIDE;
        let undecided = LeafEncoding { kind: if is_wide { Kind::Plain } else { Kind::Default }, is_compressed: true };
        let mut encodings = vec![undecided; schema.leaves.len()];
        if options.dictionary == Dictionary::Auto && !columns.is_empty() {
            for (encoding, leaf) in encodings.iter_mut().zip(&schema.leaves) {
                let judged = find(columns, leaf).map(|column| kind(column, schema.is_int96(leaf)));
                encoding.kind = judged.filter(|&kind| kind != Kind::Default).unwrap_or(encoding.kind);
            }
            if matches!(options.compression, Compression::Snappy | Compression::Lz4) {
                let tried = Self(encodings.as_slice().into());
                let ratios = ratios(schema, columns, options, &tried)?;
                for (encoding, ratio) in encodings.iter_mut().zip(ratios) {
                    encoding.is_compressed = ratio >= RATIO_MIN;
                }
            }
        }
        Ok(Self(encodings.into()))
    }

    pub(super) fn apply(
        &self,
        schema: &FileSchema,
        mut properties: WriterPropertiesBuilder,
    ) -> WriterPropertiesBuilder {
        for (leaf, encoding) in schema.leaves.iter().zip(self.0.iter()) {
            let path = || leaf.path.clone();
            properties = match encoding.kind {
                Kind::Default => properties,
                Kind::Dictionary => properties.set_column_dictionary_enabled(path(), true),
                Kind::Plain => {
                    properties.set_column_dictionary_enabled(path(), false).set_column_encoding(path(), Encoding::PLAIN)
                }
                Kind::Delta => properties
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
            };
            if !encoding.is_compressed {
                properties = properties.set_column_compression(path(), Codec::UNCOMPRESSED);
            }
        }
        properties
    }
}

/// The column at the end of a leaf's way.
pub(super) fn find<'a>(columns: &'a Columns, leaf: &Leaf) -> Option<&'a Column> {
    let (first, way) = leaf.way.split_first()?;
    way.iter().try_fold(columns.columns.get(*first)?, |column, &part| match &column.values {
        Values::List(_, items) => Some(items.as_ref()),
        Values::Map(_, entries) => Some(if part == 0 { &entries.0 } else { &entries.1 }),
        Values::Struct(_, fields) => fields.get(part),
        _ => None,
    })
}

fn kind(column: &Column, is_int96: bool) -> Kind {
    let present = |index: &usize| column.validity.is_valid(*index);
    let sample: Vec<usize> = (0..column.len()).filter(present).take(SAMPLE).collect();
    if sample.len() < SAMPLE_MIN {
        return Kind::Default;
    }
    let integers = |value: &dyn Fn(usize) -> i64, bits: u32| {
        let values: Vec<i64> = sample.iter().map(|&index| value(index)).collect();
        integer_kind(&values, bits)
    };
    match &column.values {
        Values::Long(values) if is_int96 => by_distinct(sample.iter().map(|&index| values[index])),
        Values::Int(values) => integers(&|index| values[index].into(), 32),
        Values::Long(values) => integers(&|index| values[index], 64),
        Values::Float(values) => by_distinct(sample.iter().map(|&index| values[index].to_bits())),
        Values::Double(values) => by_distinct(sample.iter().map(|&index| values[index].to_bits())),
        Values::Decimal(values) => by_distinct(sample.iter().map(|&index| values[index])),
        Values::Text(text) => {
            let offsets = &text.offsets.0;
            by_distinct(sample.iter().map(|&index| &text.bytes[offsets[index] as usize..offsets[index + 1] as usize]))
        }
        Values::Boolean(_) | Values::List(..) | Values::Map(..) | Values::Struct(..) => Kind::Default,
    }
}

fn distinct<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<HashSet<T, BuildHasherDefault<Fold>>>().len()
}

/// A dictionary where each value comes twice or more often: more rows only make it better then.
fn by_distinct<T: std::hash::Hash + Eq>(values: impl ExactSizeIterator<Item = T>) -> Kind {
    let total = values.len();
    if distinct(values) * 2 <= total { Kind::Dictionary } else { Kind::Plain }
}

/// The smaller of deltas and dictionary; neither if both hardly save anything.
fn integer_kind(values: &[i64], bits: u32) -> Kind {
    let total = values.len() as u64;
    let known = distinct(values.iter().copied()) as u64;
    let dictionary = known * u64::from(bits) + total * u64::from(64 - known.saturating_sub(1).leading_zeros());
    let delta = delta_bits(values);
    let plain = total * u64::from(bits);
    if known * 2 <= total && dictionary <= delta {
        Kind::Dictionary
    } else if delta * 4 <= plain * 3 {
        Kind::Delta
    } else if known * 2 <= total {
        Kind::Dictionary
    } else {
        Kind::Plain
    }
}

/// Bits of the values in DELTA_BINARY_PACKED: blocks of 128 deltas with a least one, packed by 32.
fn delta_bits(values: &[i64]) -> u64 {
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let of_block = |block: &[i64]| {
        let least = block.iter().copied().min().unwrap_or(0);
        let of_part = |part: &[i64]| {
            let most = part.iter().map(|delta| delta.wrapping_sub(least) as u64).max().unwrap_or(0);
            part.len() as u64 * u64::from(64 - most.leading_zeros())
        };
        80 + block.chunks(32).map(of_part).sum::<u64>()
    };
    deltas.chunks(128).map(of_block).sum()
}

/// How much smaller each leaf becomes: the first rows are written, and thrown away.
fn ratios(
    schema: &FileSchema,
    columns: &Columns,
    options: &ParquetOptions,
    encodings: &Encodings,
) -> Result<Vec<f64>, WriteError> {
    let properties = Arc::new(encodings.apply(schema, properties(schema, options)?).build());
    let file = SerializedFileWriter::new(io::sink(), schema.root.clone(), properties)?;
    let mut writers =
        ArrowRowGroupWriterFactory::new(&file, schema.arrow.clone()).create_column_writers(0)?.into_iter();
    let mut leaves = schema.leaves.iter();
    let mut ratios = Vec::with_capacity(schema.leaves.len());
    let first = columns.first(TRIAL);
    for (field, column) in schema.arrow.fields().iter().zip(first.columns) {
        for values in compute_leaves(field, &arrays::array(column, field.data_type())?)? {
            let (Some(mut writer), Some(leaf)) = (writers.next(), leaves.next()) else { break };
            if schema.is_int96(leaf) {
                ratios.push(f64::INFINITY); // not tried
                continue;
            }
            writer.write(&values)?;
            let chunk = writer.close()?;
            let metadata = &chunk.close().metadata;
            ratios.push(metadata.uncompressed_size() as f64 / metadata.compressed_size().max(1) as f64);
        }
    }
    Ok(ratios)
}
