//! Whether a file is the one whose checkpoint is in the journal.
//!
//! Device and inode are not enough, as inodes are used again: with each checkpoint hashes are stored of the file's first
//! bytes and of the bytes just before the checkpoint, and a file is the same only if both are.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes hashed at the beginning and before the checkpoint, at most.
const SAMPLE: u64 = 1024;

/// Device and inode number: what names a file as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey {
    pub device: u64,
    pub inode: u64,
}

impl FileKey {
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What is stored beside a checkpoint, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of the first bytes.
    head: Sample,
    /// Of the bytes just before the checkpoint.
    tail: Sample,
}

/// Length and XXH3 hash of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    length: u64,
    xxh3: String,
}

impl Evidence {
    /// Takes the evidence of an open file at `checkpoint`. At its very beginning that is what the file holds by now.
    pub fn take(file: &File, checkpoint: u64) -> io::Result<Self> {
        let head = if checkpoint == 0 { file.metadata()?.len().min(SAMPLE) } else { checkpoint.min(SAMPLE) };
        let tail = checkpoint.min(SAMPLE);
        Ok(Self { head: sample(file, 0, head)?, tail: sample(file, checkpoint - tail, tail)? })
    }

    /// Whether `file` is the one of this evidence at this checkpoint.
    pub fn matches(&self, file: &File, checkpoint: u64) -> io::Result<bool> {
        let size = file.metadata()?.len();
        if size < checkpoint || size < self.head.length || checkpoint < self.tail.length {
            return Ok(false);
        }
        Ok(sample(file, 0, self.head.length)? == self.head
            && sample(file, checkpoint - self.tail.length, self.tail.length)? == self.tail)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` where nothing usable is stored.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|e: &Self| e.head.length <= SAMPLE && e.tail.length <= SAMPLE)
    }
}

fn sample(file: &File, at: u64, length: u64) -> io::Result<Sample> {
    let mut bytes = [0; SAMPLE as usize];
    let bytes = &mut bytes[..length as usize];
    file.read_exact_at(bytes, at)?;
    Ok(Sample { length, xxh3: format!("{:016x}", xxh3_64(bytes)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    #[test]
    fn a_grown_file_is_the_same_and_a_rewritten_one_is_not() {
        let evidence = Evidence::take(&file(b"one\ntwo\n"), 4).unwrap();
        let stored = Evidence::from_json(&evidence.to_json()).unwrap();
        assert_eq!(stored, evidence);
        assert!(stored.matches(&file(b"one\ntwo\nthree\n"), 4).unwrap());
        assert!(!stored.matches(&file(b"One\ntwo\nthree\n"), 4).unwrap());
        assert!(!stored.matches(&file(b"on"), 4).unwrap());
    }

    #[test]
    fn files_that_differ_only_before_the_checkpoint_are_told_apart() {
        let (mut one, mut other) = (vec![b'h'; 5000], vec![b'h'; 5000]);
        one[4000] = b'1';
        other[4000] = b'2';
        let evidence = Evidence::take(&file(&one), 4500).unwrap();
        assert!(evidence.matches(&file(&one), 4500).unwrap());
        assert!(!evidence.matches(&file(&other), 4500).unwrap());
    }

    #[test]
    fn at_the_beginning_the_head_that_is_there_counts() {
        let evidence = Evidence::take(&file(b"abc"), 0).unwrap();
        assert!(evidence.matches(&file(b"abcdef"), 0).unwrap());
        assert!(!evidence.matches(&file(b"xbcdef"), 0).unwrap());
        assert!(Evidence::take(&file(b""), 0).unwrap().matches(&file(b"anything"), 0).unwrap());
        assert_eq!(Evidence::from_json("{}"), None);
    }
}
