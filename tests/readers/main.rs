//! Every codec, and Parquet, against readers that share no code with it.

mod parquet;
mod reader;

use std::process::Command;

use hydrant::config::model::Compression;
use hydrant::encode::codec::{BLOCK, Codec, Totals};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use reader::Reader;

const ENTRY: &str = "7f9c24e8-3b12-4fef-91e0-d8a1c5b3f6a2";

#[test]
fn gzip_reads_every_payload() {
    contract(Reader::Gzip, &[1, 3, 6, 12].map(|level| Compression::Gzip { level }));
}

#[test]
fn unzip_reads_every_payload() {
    contract(Reader::Unzip, &[1, 6, 9].map(|level| Compression::Zip { level }));
}

#[test]
fn zstd_reads_every_payload() {
    contract(Reader::Zstd, &[1, 3, 19].map(|level| Compression::Zstd { level }));
}

#[test]
fn snappy_readers_read_every_payload() {
    contract(Reader::Xerial, &[Compression::Snappy]);
}

#[test]
fn hadoop_readers_read_every_payload() {
    contract(Reader::Hadoop, &[Compression::HadoopSnappy]);
}

#[test]
fn an_archive_has_one_entry_with_its_name_and_time() {
    let bytes = payload(Codec::new(Compression::Zip { level: 6 }), &[b"a line\n"]);
    let Some(listing) = unzip("-ZT", &bytes) else { return };
    assert!(listing.contains("number of entries: 1\n"), "{listing}");
    assert!(listing.contains(&format!(" 20261120.121416 {ENTRY}\n")), "{listing}");
}

#[test]
fn zstd_frames_carry_their_size_and_checksum() {
    for input in [vec![], vec![b'a'; BLOCK]] {
        let bytes = payload(Codec::new(Compression::Zstd { level: 1 }), &[&input]);
        let descriptor = bytes[4];
        let (size_flag, single_segment, checksum) = (descriptor >> 6, descriptor & 0x20 != 0, descriptor & 0x04 != 0);
        assert!(checksum && (size_flag > 0 || single_segment), "{descriptor:#x}");
    }
}

/// The fixed cases at every level, and some random ones.
fn contract(reader: Reader, compressions: &[Compression]) {
    for compression in compressions {
        for (name, blocks) in fixed_cases() {
            let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let Some(decoded) = reader.decode(&payload(Codec::new(*compression), &blocks)) else { return };
            assert!(decoded == blocks.concat(), "{compression:?}, {name}: {} bytes came back", decoded.len());
        }
    }
    let config = Config { cases: 16, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&blocks(), |blocks| {
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let decoded = reader.decode(&payload(Codec::new(compressions[0]), &blocks));
        prop_assert!(decoded.is_none_or(|decoded| decoded == blocks.concat()));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{reader:?}: {error}"));
}

fn payload(codec: Codec, blocks: &[&[u8]]) -> Vec<u8> {
    let (mut bytes, mut totals) = (codec.header(ENTRY, at()), Totals::default());
    for input in blocks {
        let block = codec.encode(input).unwrap();
        totals.add(&block);
        bytes.extend(block.bytes);
    }
    bytes.extend(codec.trailer(ENTRY, at(), &totals));
    bytes
}

/// What unzip says about an archive.
fn unzip(option: &str, archive: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload.zip");
    std::fs::write(&path, archive).unwrap();
    let output = Reader::Unzip.run(Command::new("unzip").arg(option).arg(&path))?;
    Some(String::from_utf8(output).unwrap())
}

fn at() -> Timestamp {
    "2026-11-20T12:14:16Z".parse().unwrap()
}

fn fixed_cases() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let log = log_text(3 * BLOCK);
    let cut = |len: usize| vec![log[..len].to_vec()];
    vec![
        ("no block", vec![]),
        ("an empty block", vec![vec![]]),
        ("one byte", cut(1)),
        ("32 KiB less one byte", cut(32 * 1024 - 1)),
        ("32 KiB", cut(32 * 1024)),
        ("32 KiB and one byte", cut(32 * 1024 + 1)),
        ("three blocks of log lines", log.chunks(BLOCK).map(<[u8]>::to_vec).collect()),
        ("3 MiB in one block", vec![log.clone()]),
        ("random bytes", vec![noise(BLOCK + 17), noise(5)]),
        ("all kinds, empty ones between", vec![vec![], noise(70_000), vec![], log[..99_999].to_vec(), vec![]]),
    ]
}

/// A few blocks, each of noise or of something that repeats.
fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let random = prop::collection::vec(any::<u8>(), 0..2000);
    let repeated =
        (prop::collection::vec(any::<u8>(), 1..300), 0..1000usize).prop_map(|(part, times)| part.repeat(times));
    prop::collection::vec(prop_oneof![random, repeated], 0..6)
}

/// Lines that differ in some places, as a log's do.
fn log_text(len: usize) -> Vec<u8> {
    let mut text = String::with_capacity(len + 200);
    let mut state = 1;
    while text.len() < len {
        let n = next(&mut state);
        text += &format!(
            "10.{}.{}.7 - - [20/Nov/2026:12:14:{:02} +0000] \"GET /item/{} HTTP/1.1\" 200 {} \"-\" \"curl/8.5\"\n",
            n % 256,
            n / 256 % 256,
            n % 60,
            n / 7 % 100_000,
            n % 50_000,
        );
    }
    text.truncate(len);
    text.into_bytes()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    (0..len).map(|_| next(&mut state) as u8).collect()
}

/// A small generator of random numbers (an LCG's upper bits), the same on every run.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
