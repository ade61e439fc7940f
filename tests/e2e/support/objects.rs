//! What a destination holds: every object of a folder, or of a bucket that is one, read back and decompressed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::{Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Everything seen so far. Looking again reads only what is new; an object that changes or goes fails the test.
pub struct Objects {
    root: PathBuf,
    by_key: BTreeMap<String, Vec<u8>>,
}

impl Objects {
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), by_key: BTreeMap::new() }
    }

    /// All that is there now, read afresh.
    pub fn read(root: &Path) -> Self {
        let mut objects = Self::of(root);
        objects.look();
        objects
    }

    /// Takes up what has come since the last look.
    pub fn look(&mut self) {
        for key in keys(&self.root) {
            let path = self.root.join(&key);
            self.by_key.entry(key).or_insert_with_key(|key| {
                let bytes = std::fs::read(&path).expect("an object can be read");
                decode(key, &bytes)
            });
        }
    }

    /// Reads everything once more: whoever stands under a key stays there as it was.
    #[track_caller]
    pub fn check_unchanged(&self) {
        let now = Self::read(&self.root);
        for (key, data) in &self.by_key {
            assert!(now.by_key.get(key) == Some(data), "the object {key} has changed or gone");
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.by_key.iter().map(|(key, data)| (key.as_str(), data.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// How many lines all objects hold together.
    pub fn lines_total(&self) -> usize {
        self.by_key.values().map(|data| memchr::memchr_iter(b'\n', data).count()).sum()
    }

    /// All records of all objects, sorted, without their newlines.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, data) in self.iter() {
            let text = std::str::from_utf8(data).unwrap_or_else(|_| panic!("{key} is not UTF-8"));
            let text = text.strip_suffix('\n').unwrap_or_else(|| panic!("{key} ends within a line"));
            lines.extend(text.split('\n').map(str::to_owned));
        }
        lines.sort();
        lines
    }
}

/// The sorted lines of everything under a folder.
#[track_caller]
pub fn delivered_lines(root: &Path) -> Vec<String> {
    Objects::read(root).lines()
}

/// Keys of all objects, without the folder in which the directory destination forms them.
pub fn keys(root: &Path) -> Vec<String> {
    let mut keys = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.expect("a folder can be listed");
            let path = entry.path();
            let key = path.strip_prefix(root).expect("it lies below").to_str().expect("keys are UTF-8").to_owned();
            if key.split('/').next() == Some(".hydrant") {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => keys.push(key),
            }
        }
    }
    keys.sort();
    keys
}

/// The rows of a Parquet file.
pub fn rows(bytes: &[u8]) -> Vec<serde_json::Value> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).expect("a Parquet file");
    let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
    for batch in reader.build().expect("it can be read") {
        lines.write(&batch.expect("rows")).expect("memory takes all");
    }
    lines.finish().expect("memory takes all");
    let lines = String::from_utf8(lines.into_inner()).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The texts of a Parquet file's first column, each as a line.
fn first_column(bytes: &[u8]) -> Vec<u8> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).expect("a Parquet file");
    let mut lines = Vec::new();
    for batch in reader.build().expect("it can be read") {
        let batch = batch.expect("rows");
        let column = batch.column(0);
        let texts = column.as_any().downcast_ref::<StringArray>().expect("a column of texts");
        for text in texts {
            lines.extend_from_slice(text.expect("a text").as_bytes());
            lines.push(b'\n');
        }
    }
    lines
}

/// By its extension; readers that are not ours check the codecs elsewhere, here the records count.
pub fn decode(key: &str, bytes: &[u8]) -> Vec<u8> {
    match key.rsplit('.').next() {
        Some("gz") => {
            let mut data = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut data).unwrap_or_else(|e| panic!("{key}: {e}"));
            data
        }
        Some("zst") => zstd::stream::decode_all(bytes).unwrap_or_else(|e| panic!("{key}: {e}")),
        Some("zip") => unzip(bytes),
        Some("parquet") => first_column(bytes),
        Some("snappy") if bytes.starts_with(b"\x82SNAPPY\0") => xerial(&bytes[16..]),
        Some("snappy") => hadoop(bytes),
        _ => bytes.to_owned(),
    }
}

fn u32_be(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

fn u32_le(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

fn u16_le(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes")) as usize
}

fn snappy_block(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(bytes).expect("a snappy block")
}

fn xerial(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while !bytes.is_empty() {
        let (block, rest) = bytes[4..].split_at(u32_be(bytes, 0));
        data.extend(snappy_block(block));
        bytes = rest;
    }
    data
}

fn hadoop(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while !bytes.is_empty() {
        let frame_end = data.len() + u32_be(bytes, 0);
        bytes = &bytes[4..];
        while data.len() < frame_end {
            let (block, rest) = bytes[4..].split_at(u32_be(bytes, 0));
            data.extend(snappy_block(block));
            bytes = rest;
        }
    }
    data
}

/// The one entry of an archive, found through its central directory.
fn unzip(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06").expect("an end of central directory");
    assert_eq!(u16_le(bytes, end + 10), 1, "one entry");
    let central = u32_le(bytes, end + 16);
    let (compressed, plain, local) =
        (u32_le(bytes, central + 20), u32_le(bytes, central + 24), u32_le(bytes, central + 42));
    let start = local + 30 + u16_le(bytes, local + 26) + u16_le(bytes, local + 28);
    let mut data = Vec::new();
    let entry = &bytes[start..start + compressed];
    flate2::read::DeflateDecoder::new(entry).read_to_end(&mut data).expect("a deflated entry");
    assert_eq!(data.len(), plain, "the entry's length");
    data
}
