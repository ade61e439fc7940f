//! What is written is read by the library's own reader as what went in.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression as Codec, Encoding};
use parquet::data_type::{AsBytes, Int96};
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use proptest::prelude::*;

use super::generate::{columns, records};
use super::*;

fn write(
    decoder: &Decoder,
    schema: &[schema::Column],
    options: &ParquetOptions,
    batches: &[Vec<Vec<u8>>],
) -> (Bytes, Vec<Json>) {
    let file_schema = Arc::new(FileSchema::new(schema, options.timestamps).unwrap());
    let metadata = vec![(String::from("delivery_stream"), String::from("web"))];
    let mut writer = ParquetWriter::new(Vec::new(), file_schema, Arc::new(options.clone()), metadata, None).unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
        let (mut columns, _) = decode(&mut decoder.clone(), &batch);
        rows.extend((0..columns.rows()).map(|index| row(&columns, schema, index)));
        writer.write(&mut columns).unwrap();
        assert!(columns.is_empty());
        assert_eq!(writer.rows(), rows.len() as u64);
    }
    let written = writer.close().unwrap();
    assert_eq!((written.rows, written.bytes), (rows.len() as u64, written.sink.len() as u64));
    (Bytes::from(written.sink), rows)
}

fn read(file: &Bytes) -> Vec<Json> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| group(&row.unwrap())).collect()
}

fn group(row: &Row) -> Json {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

fn value(field: &Field) -> Json {
    match field {
        Field::Null => Json::Null,
        Field::Bool(value) => json!(value),
        Field::Byte(value) => json!(value),
        Field::Short(value) => json!(value),
        Field::Int(value) | Field::Date(value) => json!(value),
        Field::Long(value) | Field::TimestampMicros(value) => json!(value),
        // How the reader has INT96.
        Field::TimestampMillis(value) => json!(value * 1000),
        Field::Float(value) if !value.is_finite() => json!(value.to_string()),
        Field::Float(value) => json!(value),
        Field::Double(value) if !value.is_finite() => json!(value.to_string()),
        Field::Double(value) => json!(value),
        Field::Decimal(decimal) => {
            let bytes = decimal.data();
            let sign = if bytes[0] & 0x80 != 0 { -1 } else { 0 };
            json!(bytes.iter().fold(sign, |number: i128, byte| number << 8 | i128::from(*byte)).to_string())
        }
        Field::Str(text) => json!(text),
        Field::Bytes(bytes) => json!(bytes.as_bytes()),
        Field::Group(row) => group(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let key = |field: &Field| match value(field) {
                Json::String(key) => key,
                key => key.to_string(),
            };
            map.entries().iter().map(|(name, field)| (key(name), value(field))).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The reader has only milliseconds of INT96.
fn in_millis(row: &Json) -> Json {
    let mut row = row.clone();
    if let Some(time) = row["ts"].as_i64() {
        row["ts"] = json!(time.div_euclid(1000) * 1000);
    }
    row
}

fn options() -> impl Strategy<Value = ParquetOptions> {
    let compression = prop::sample::select(vec![
        Compression::None,
        Compression::Snappy,
        Compression::Gzip { level: 2 },
        Compression::Zstd { level: 1 },
        Compression::Lz4,
    ]);
    let dictionary = prop::sample::select(vec![Dictionary::Auto, Dictionary::Always, Dictionary::Never]);
    let version = prop::sample::select(vec![WriterVersion::V1, WriterVersion::V2]);
    let timestamps = prop::sample::select(vec![TimestampType::Int64Micros, TimestampType::Int96]);
    (compression, dictionary, version, timestamps, any::<bool>(), 1..3u32, any::<bool>()).prop_map(
        |(compression, dictionary, writer_version, timestamps, statistics, page_kb, has_filters)| ParquetOptions {
            compression,
            row_group_mb: 1,
            page_kb,
            dictionary,
            bloom_filters: if has_filters { vec![String::from("s"), String::from("st")] } else { Vec::new() },
            writer_version,
            statistics: if statistics { Statistics::Page } else { Statistics::None },
            timestamps,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)))]

    #[test]
    fn files_hold_what_was_decoded(batches in prop::collection::vec(records(), 0..4), options in options()) {
        let schema = columns();
        // Years that nanoseconds have no room for are not for this reader.
        let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
        let (file, rows) = write(&decoder, &schema, &options, &batches);
        let expected: Vec<_> = match options.timestamps {
            TimestampType::Int64Micros => rows,
            TimestampType::Int96 => rows.iter().map(in_millis).collect(),
        };
        prop_assert_eq!(read(&file), expected);
    }
}

/// SplitMix64.
fn mixed(index: usize) -> u64 {
    let mut mixed = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn log(rows: usize) -> Vec<Vec<u8>> {
    let line = |index: usize| {
        let random = mixed(index);
        format!(
            "{{\"ts\":{},\"level\":\"{}\",\"trace\":\"{random:016x}{:016x}\",\"n\":{},\"random\":{},\"text\":\"the same words again and again: {index}\"}}\n",
            1_700_000_000_000 + index as u64 * 7 + random % 7,
            ["info", "warn", "error"][(random >> 8) as usize % 3],
            mixed(index + 1_000_000),
            (random >> 16) % 5,
            random as i64,
        )
        .into_bytes()
    };
    (0..rows).map(line).collect()
}

const LOG: [(&str, &str); 6] = [
    ("ts", "timestamp"),
    ("level", "string"),
    ("trace", "string"),
    ("n", "int"),
    ("random", "bigint"),
    ("text", "string"),
];

#[test]
fn encodings_follow_the_first_rows() {
    let schema = schema(&LOG);
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let (file, _) = write(&decoder, &schema, &ParquetOptions::default(), &[log(3000), log(3000)]);
    let reader = SerializedFileReader::new(file).unwrap();
    let group = reader.metadata().row_group(0);
    let has = |column: usize, encoding| group.column(column).encodings().any(|known| known == encoding);
    let chosen: Vec<_> = (0..6)
        .map(|column| {
            let is_compressed = group.column(column).compression() == Codec::SNAPPY;
            (has(column, Encoding::RLE_DICTIONARY), has(column, Encoding::DELTA_BINARY_PACKED), is_compressed)
        })
        .collect();
    let dictionary = (true, false, false);
    // Times as deltas, words that repeat in a dictionary, random digits as they are, and only text compressed.
    assert_eq!(chosen[..4], [(false, true, false), dictionary, (false, false, false), dictionary]);
    assert!(!chosen[4].0 && !chosen[4].2);
    assert_eq!(chosen[5], (false, false, true));
    let metadata = reader.metadata().file_metadata();
    assert_eq!(
        metadata.key_value_metadata().unwrap(),
        &[KeyValue::new(String::from("delivery_stream"), String::from("web"))]
    );
    assert!(metadata.created_by().unwrap().starts_with("hydrant version "));
    assert_eq!(metadata.schema().name(), "hive_schema");
    assert!(group.column(0).statistics().is_some_and(|statistics| statistics.min_bytes_opt().is_some()));
}

#[test]
fn options_say_how_pages_look() {
    let schema = schema(&LOG);
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let options = ParquetOptions {
        compression: Compression::Zstd { level: 3 },
        dictionary: Dictionary::Never,
        statistics: Statistics::None,
        bloom_filters: vec![String::from("trace")],
        ..ParquetOptions::default()
    };
    let (file, _) = write(&decoder, &schema, &options, &[log(1000)]);
    let reader = SerializedFileReader::new(file).unwrap();
    for (index, column) in reader.metadata().row_group(0).columns().iter().enumerate() {
        assert!(matches!(column.compression(), Codec::ZSTD(_)));
        assert!(!column.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY));
        assert!(column.statistics().is_none_or(|statistics| statistics.min_bytes_opt().is_none()));
        assert_eq!(column.bloom_filter_offset().is_some(), index == 2);
    }
    let missing = ParquetOptions { bloom_filters: vec![String::from("x")], ..options.clone() };
    let file_schema = Arc::new(FileSchema::new(&schema, options.timestamps).unwrap());
    let refused =
        |options| ParquetWriter::new(Vec::new(), file_schema.clone(), Arc::new(options), Vec::new(), None).err();
    assert!(matches!(refused(missing), Some(WriteError::NoSuchColumn { name }) if name == "x"));
    let wrong = ParquetOptions { compression: Compression::Zstd { level: 23 }, ..options };
    assert!(matches!(refused(wrong), Some(WriteError::Parquet(_))));
}

/// Counts what it gets.
struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn closed_row_groups_leave_at_once() {
    let schema = schema(&LOG);
    let mut decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let options = Arc::new(ParquetOptions { row_group_mb: 1, ..ParquetOptions::default() });
    let file_schema = Arc::new(FileSchema::new(&schema, options.timestamps).unwrap());
    let sink = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut writer = ParquetWriter::new(Sink(sink.clone()), file_schema, options, Vec::new(), None).unwrap();
    assert_eq!((writer.memory(), sink.lock().unwrap().len()), (0, 0));
    let lines = log(2000);
    let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
    let mut most = 0;
    for _ in 0..40 {
        let (mut columns, _) = decode(&mut decoder, &lines);
        writer.write(&mut columns).unwrap();
        most = most.max(writer.memory());
    }
    let before = sink.lock().unwrap().len();
    assert!(before > 1 << 20, "{before} bytes have left");
    assert!(most < 4 << 20, "{most} bytes were held");
    assert_eq!(writer.bytes_written(), before as u64);
    let encodings = writer.encodings().cloned();
    assert!(encodings.is_some());
    writer.close_group().unwrap();
    assert!(sink.lock().unwrap().len() > before);
    assert!(writer.memory() < 64 << 10);
    writer.close_group().unwrap();
    let written = writer.close().unwrap();
    assert_eq!(written.rows, 80_000);
    let reader = SerializedFileReader::new(Bytes::from(sink.lock().unwrap().clone())).unwrap();
    assert_eq!(reader.num_row_groups(), written.row_groups);
    assert!(written.row_groups > 2);
}

#[test]
fn a_file_without_rows_is_a_file() {
    let schema = schema(&LOG);
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let (file, _) = write(&decoder, &schema, &ParquetOptions::default(), &[]);
    assert_eq!(read(&file), Vec::<Json>::new());
}

#[test]
fn int96_is_the_day_and_its_nanoseconds_at_every_level() {
    let schema = schema(&[("ts", "timestamp"), ("nested", "array<map<string,struct<t:timestamp>>>")]);
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let lines = [
        r#"{"ts":"1970-01-01T00:00:00.000001Z","nested":[{"a":{"t":1},"b":{"t":null},"c":null},{},null]}"#,
        r#"{"ts":"1969-12-31T23:59:59.999999Z","nested":[]}"#,
        r#"{"ts":null,"nested":null}"#,
        r#"{"nested":[{"a":{"t":2}},{"b":{"t":3}}]}"#,
    ];
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    let options = ParquetOptions { timestamps: TimestampType::Int96, ..ParquetOptions::default() };
    let (file, rows) = write(&decoder, &schema, &options, &[lines.clone(), lines]);
    let micros = |row: &Json| {
        let mut row = row.clone();
        row["ts"] = row["ts"].as_i64().map_or(Json::Null, |time| json!(time.div_euclid(1000) * 1000));
        row
    };
    assert_eq!(read(&file), rows.iter().map(micros).collect::<Vec<_>>());
    let reader = SerializedFileReader::new(file).unwrap();
    let mut column = reader.get_row_group(0).unwrap().get_column_reader(0).unwrap();
    let parquet::column::reader::ColumnReader::Int96ColumnReader(column) = &mut column else { panic!("no INT96") };
    let (mut values, mut definitions) = (Vec::<Int96>::new(), Vec::new());
    column.read_records(8, Some(&mut definitions), None, &mut values).unwrap();
    assert_eq!(definitions, [1, 1, 0, 0, 1, 1, 0, 0]);
    let nanos: Vec<_> = values.iter().map(|value| (value.data()[2], value.to_nanos())).collect();
    assert_eq!(nanos[..2], [(2_440_588, 1000), (2_440_587, -1000)]);
}
