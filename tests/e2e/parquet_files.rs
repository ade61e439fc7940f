//! What the configuration says of Parquet is in the files, and bad records harm no others, however many there are.

use std::collections::BTreeMap;
use std::fmt::Write;

use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use crate::conversion::{converted, failed, rows};
use crate::support::{Hydrant, Rng, Scratch, objects::keys};

type File = SerializedFileReader<bytes::Bytes>;

/// The file that a stream with these options makes of so many rows: `at`, `level` and `text`, which does not compress.
fn file(parquet: &Value, records: u64) -> File {
    let scratch = Scratch::new();
    let (mut log, mut rng) = (String::new(), Rng::new(1));
    for n in 0..records {
        let text: String = (0..10).map(|_| format!("{:016x}", rng.next())).collect();
        let (minute, level) = (n / 60 % 60, ["info", "warn", "error"][(n % 3) as usize]);
        let _ = writeln!(
            log,
            "{{\"at\":\"2026-11-21T10:{minute:02}:{:02}Z\",\"level\":\"{level}\",\"text\":\"{text}\"}}",
            n % 60
        );
    }
    scratch.log("s.log", log);
    let table = scratch.path("schemas/web/access");
    std::fs::create_dir_all(&table).expect("a registry");
    let columns = [("at", "timestamp"), ("level", "string"), ("text", "string")]
        .map(|(name, data_type)| json!({ "name": name, "type": data_type }));
    std::fs::write(table.join("3.yaml"), json!({ "columns": columns }).to_string()).expect("a version");
    let schema = json!({ "registry": "lake", "database": "web", "table": "access" });
    let more = json!({
        "format_conversion": { "schema": schema, "parquet": parquet },
        "buffering": { "size_mb": 128, "interval_seconds": 900 },
    });
    let mut config = converted(&scratch, "p/", &more);
    config["schema_registries"] = json!({ "lake": { "directory": { "path": scratch.path("schemas") } } });
    Hydrant::drain(&scratch, &config);
    let objects = keys(&scratch.out());
    assert_eq!(objects.len(), 1, "{objects:?}");
    let bytes = std::fs::read(scratch.out().join(&objects[0])).expect("an object");
    let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a Parquet file");
    assert_eq!(file.metadata().file_metadata().num_rows() as u64, records);
    file
}

/// Of one column: whether all data pages are of version 2, and the size of the largest.
fn pages(file: &File, column: usize) -> (bool, usize) {
    let group = file.get_row_group(0).expect("a row group");
    let pages = group.get_column_page_reader(column).expect("pages").map(|page| page.expect("a page"));
    pages.filter(|page| !matches!(page, Page::DictionaryPage { .. })).fold((true, 0), |(is_v2, largest), page| {
        (is_v2 && matches!(page, Page::DataPageV2 { .. }), largest.max(page.buffer().len()))
    })
}

fn has_dictionary(file: &File, column: usize) -> bool {
    file.metadata().row_group(0).column(column).encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY)
}

fn type_of_at(file: &File) -> Type {
    file.metadata().row_group(0).column(0).column_descr().physical_type()
}

#[test]
fn without_options_a_file_is_as_firehose_makes_it() {
    let file = file(&json!({}), 20_000);
    let group = file.metadata().row_group(0);
    assert_eq!((file.num_row_groups(), type_of_at(&file)), (1, Type::INT64));
    assert_eq!(group.column(1).compression(), Compression::SNAPPY);
    assert_eq!((has_dictionary(&file, 1), has_dictionary(&file, 2)), (true, false), "chosen by the first rows");
    assert!(!pages(&file, 2).0 && pages(&file, 2).1 > 256 << 10);
    for column in group.columns() {
        assert!(column.statistics().is_some_and(|statistics| statistics.min_bytes_opt().is_some()));
        assert_eq!((column.bloom_filter_offset(), column.column_index_offset()), (None, None));
    }
    let metadata = file.metadata().file_metadata().key_value_metadata().expect("metadata");
    let metadata: BTreeMap<_, _> =
        metadata.iter().map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or_default())).collect();
    let expected = [
        ("hydrant.delivery_stream", "s"),
        ("hydrant.schema", "lake/web/access"),
        ("hydrant.schema_version", "3"),
        ("hydrant.version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(metadata, BTreeMap::from(expected));
}

#[test]
fn every_option_reaches_the_file() {
    let options = json!({
        "compression": { "zstd": { "level": 3 } },
        "row_group_mb": 1,
        "page_kb": 64,
        "dictionary": "never",
        "bloom_filters": ["text"],
        "writer_version": 2,
        "statistics": "none",
        "timestamps": "int96",
    });
    let file = file(&options, 20_000);
    assert!((3..=8).contains(&file.num_row_groups()), "{} row groups", file.num_row_groups());
    assert_eq!(type_of_at(&file), Type::INT96);
    for (index, column) in file.metadata().row_group(0).columns().iter().enumerate() {
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{:?}", column.compression());
        assert!(column.statistics().is_none_or(|statistics| statistics.min_bytes_opt().is_none()));
        assert_eq!((column.bloom_filter_offset().is_some(), has_dictionary(&file, index)), (index == 2, false));
        let (is_v2, largest) = pages(&file, index);
        // The library looks at a page's size between batches of rows.
        assert!(is_v2 && largest < 192 << 10, "column {index}: {largest} bytes");
    }
    let file = self::file(&json!({ "dictionary": "always", "statistics": "page" }), 1_000);
    for index in 0..3 {
        assert!(has_dictionary(&file, index), "column {index}");
        assert!(file.metadata().row_group(0).column(index).column_index_offset().is_some(), "column {index}");
    }
}

#[test]
fn every_compression_reaches_the_file() {
    for (name, is_it) in [
        ("none", (|found| found == Compression::UNCOMPRESSED) as fn(Compression) -> bool),
        ("snappy", |found| found == Compression::SNAPPY),
        ("gzip", |found| matches!(found, Compression::GZIP(_))),
        ("zstd", |found| matches!(found, Compression::ZSTD(_))),
        ("lz4", |found| found == Compression::LZ4_RAW),
    ] {
        let file = file(&json!({ "compression": name }), 1_000);
        let found = file.metadata().row_group(0).column(1).compression();
        assert!(is_it(found), "{name}: {found:?}");
    }
}

#[test]
fn one_bad_record_in_ten_thousand_or_in_two_harms_itself_alone() {
    const RECORDS: u64 = 30_000;
    for each in [10_000, 2] {
        let scratch = Scratch::new();
        let (mut log, mut bad) = (String::new(), Vec::new());
        for n in 0..RECORDS {
            let record = match n % (3 * each) {
                0 => format!("{{\"n\":{n},"),
                m if m == each => format!("{{\"n\":\"no number {n}\"}}"),
                m if m == 2 * each => format!("{{\"n\":{n}.5}}"),
                _ => format!("{{\"n\":{n}}}"),
            };
            let _ = writeln!(log, "{record}");
            if n % each == 0 {
                bad.push(record);
            }
        }
        scratch.log("s.log", log);
        let conversion = json!({ "schema": { "inline": [{ "name": "n", "type": "int" }] } });
        Hydrant::drain(&scratch, &converted(&scratch, "p/", &json!({ "format_conversion": conversion })));
        let mut found: Vec<_> =
            rows(&scratch).into_values().flatten().map(|row| row["n"].as_u64().expect("a number")).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq((0..RECORDS).filter(|n| n % each != 0)), "every good record, once");
        let mut failed = failed(&scratch, "format-conversion-failed", "lastErrorMessage");
        for (raw, message) in &failed {
            let reason = match raw.as_bytes() {
                [.., b','] => "malformed JSON",
                [.., b'"', b'}'] => "For input string: \"no number",
                _ => "is no integer",
            };
            assert!(message.contains(reason), "{raw}: {message}");
        }
        failed.sort();
        bad.sort();
        assert!(failed.iter().map(|(raw, _)| raw).eq(&bad), "{} of {} bad records", failed.len(), bad.len());
    }
}
