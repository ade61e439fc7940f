//! Parquet against readers that share no code with the library that writes it: every type, null, nesting and option.

use std::path::PathBuf;
use std::sync::Arc;

use hydrant::convert::{
    Compression, Decoder, Deserializer, Dictionary, FileSchema, InputOptions, ParquetOptions, ParquetWriter,
    Statistics, TimestampType, WriterVersion,
};
use hydrant::schema::Column;
use serde_json::{Value, json};

use crate::reader::{Reader, parquet_rows};

/// Enough for encodings to be chosen by looking at them.
const ROWS: i64 = 300;

const SCHEMA: [(&str, &str); 17] = [
    ("a_boolean", "boolean"),
    ("a_tinyint", "tinyint"),
    ("a_smallint", "smallint"),
    ("an_int", "int"),
    ("a_bigint", "bigint"),
    ("a_float", "float"),
    ("a_double", "double"),
    ("a_decimal", "decimal(12,3)"),
    ("a_long_decimal", "decimal(38,10)"),
    ("a_string", "string"),
    ("a_varchar", "varchar(20)"),
    ("a_binary", "binary"),
    ("a_date", "date"),
    ("a_timestamp", "timestamp"),
    ("an_array", "array<array<int>>"),
    ("a_map", "map<string,struct<x:double,y:array<string>>>"),
    ("a_struct", "struct<a:bigint,b:struct<c:date,d:decimal(5,2)>>"),
];

#[test]
fn pyarrow_reads_every_file() {
    contract(Reader::PyArrow);
}

#[test]
fn duckdb_reads_every_file() {
    contract(Reader::DuckDb);
}

/// A record, and what a reader makes of it.
fn row(index: i64) -> (Value, Value) {
    let digits = index.wrapping_mul(0x5851_F42D_4C95_7F2D);
    let (word, base64, hex) =
        [("one", "", ""), ("two", "AP8=", "00ff"), ("three", "Zm9v", "666f6f")][(index % 3) as usize];
    let written = json!({
        "a_boolean": index % 3 == 0,
        "a_tinyint": index % 256 - 128,
        "a_smallint": index * 100 - 15_000,
        "an_int": (digits >> 32),
        "a_bigint": digits,
        "a_float": index as f64 / 8.0,
        "a_double": index as f64 / 7.0,
        "a_decimal": format!("{}.5", index - 150),
        "a_long_decimal": digits,
        "a_string": format!("text \"{digits}\" é\n"),
        "a_varchar": word,
        "a_binary": base64,
        "a_date": format!("20{:02}-02-{:02}", index % 100, index % 28 + 1),
        "a_timestamp": format!("2026-03-04 {:02}:05:06.{:06}", index % 24, index * 3331),
        "an_array": [[index], [], Value::Null, [1, Value::Null, 3]],
        "a_map": {"k": {"x": 0.5, "y": ["a", Value::Null]}, (index.to_string()): Value::Null},
        "a_struct": {"a": index, "b": {"c": "1999-12-31", "d": index % 100}},
    });
    let mut read = written.clone();
    read["a_decimal"] = json!(format!("{}.500", index - 150));
    read["a_long_decimal"] = json!(format!("{digits}.0000000000"));
    read["a_binary"] = json!(hex);
    let midnight = 1_772_582_400_000_000i64;
    read["a_timestamp"] = json!(midnight + (index % 24 * 3600 + 5 * 60 + 6) * 1_000_000 + index * 3331);
    read["a_struct"]["b"]["d"] = json!(format!("{}.00", index % 100));
    // Each column null now and then, and all of them once.
    let mut written = written;
    for (place, (name, _)) in SCHEMA.iter().enumerate() {
        if index == 77 || (index + place as i64) % 11 == 0 {
            written[*name] = Value::Null;
            read[*name] = Value::Null;
        }
    }
    // Hive takes no text for numbers, so that the record has a decimal as one.
    let text = written.to_string();
    let written = match written["a_decimal"].as_str() {
        Some(decimal) => serde_json::from_str(&text.replace(&format!("\"{decimal}\""), decimal)).unwrap(),
        None => written,
    };
    (written, read)
}

fn every_options() -> Vec<ParquetOptions> {
    let compressions = [
        Compression::None,
        Compression::Snappy,
        Compression::Gzip { level: 6 },
        Compression::Zstd { level: 1 },
        Compression::Lz4,
    ];
    let mut every = Vec::new();
    for (index, compression) in compressions.into_iter().enumerate() {
        for dictionary in [Dictionary::Auto, Dictionary::Always, Dictionary::Never] {
            for writer_version in [WriterVersion::V1, WriterVersion::V2] {
                for timestamps in [TimestampType::Int64Micros, TimestampType::Int96] {
                    every.push(ParquetOptions {
                        compression,
                        row_group_mb: 1,
                        page_kb: 1 + 63 * (index as u32 % 2),
                        dictionary,
                        bloom_filters: vec![String::from("a_string"), String::from("a_bigint")],
                        writer_version,
                        statistics: [Statistics::None, Statistics::Chunk, Statistics::Page][index % 3],
                        timestamps,
                    });
                }
            }
        }
    }
    every
}

fn contract(reader: Reader) {
    let schema: Vec<Column> = SCHEMA
        .iter()
        .map(|(name, data_type)| Column {
            name: (*name).to_owned(),
            data_type: data_type.parse().unwrap(),
            is_required: false,
            comment: None,
        })
        .collect();
    let (records, expected): (Vec<Value>, Vec<Value>) = (0..ROWS).map(row).unzip();
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<(PathBuf, ParquetOptions)> = Vec::new();
    for (index, options) in every_options().into_iter().enumerate() {
        let path = folder.path().join(format!("{index}.parquet"));
        std::fs::write(&path, file(&schema, &records, &options)).unwrap();
        files.push((path, options));
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| path.as_path()).collect();
    let Some(tables) = parquet_rows(reader, &paths) else { return };
    assert_eq!(tables.len(), files.len());
    for (table, (_, options)) in tables.iter().zip(&files) {
        let rows = table.as_array().unwrap();
        assert_eq!(rows.len(), expected.len(), "{options:?}");
        for (row, expected) in rows.iter().zip(&expected) {
            assert_eq!(row, expected, "{options:?}");
        }
    }
}

/// In two row groups.
fn file(schema: &[Column], records: &[Value], options: &ParquetOptions) -> Vec<u8> {
    let input = InputOptions { deserializer: Deserializer::Hive, ..InputOptions::default() };
    let mut decoder = Decoder::new(schema, input).unwrap();
    let file_schema = Arc::new(FileSchema::new(schema, options.timestamps).unwrap());
    let metadata = vec![(String::from("hydrant.delivery_stream"), String::from("web"))];
    let mut writer = ParquetWriter::new(Vec::new(), file_schema, Arc::new(options.clone()), metadata, None).unwrap();
    for half in records.chunks(records.len() / 2) {
        let (mut columns, mut failures) = (decoder.columns(), Vec::new());
        for record in half {
            let record = record.to_string();
            decoder.decode(record.as_bytes(), 0..record.len(), &mut columns, &mut failures).unwrap();
        }
        assert_eq!(failures, []);
        writer.write(&mut columns).unwrap();
        writer.close_group().unwrap();
    }
    writer.close().unwrap().sink
}
