//! Whether a file is the one whose checkpoint is in the journal.
//!
//! Device and inode are not enough, as inodes are used again: with each checkpoint hashes are stored of the file's first
//! bytes and of the bytes just before the checkpoint, and a file is the same only if both are, and if what deliveries
//! hold behind the checkpoint is still there as well.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::SystemTime;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::journal::ReadTo;

use super::content::Content;
use super::prefix::{BLOCK, Link, Prefix};
use super::text::has_text;

/// Bytes hashed at the beginning and before the checkpoint, at most.
const SAMPLE: u64 = 1024;
/// Bytes behind the checkpoint that are compared when a file is found again, at most: what may have been in flight.
const COMPARED_MAX: u64 = 256 << 20;

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
    /// Of the first bytes; of a compressed file, as they stand in the file.
    head: Sample,
    /// Of the bytes just before the checkpoint; of a compressed file, of its last ones.
    tail: Sample,
    /// The chain of hashes over what was read, at the last block's start before the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Link>,
    /// The checkpoint that all this goes with, should a later one be stored without evidence of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    /// The hash of everything that was read before the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
    /// Names that the file had before, the last ones: copies were made of it under them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// Of a compressed file: its size, and how many bytes it decompresses to. It is complete, so it never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
    /// Of a copy: what it shares with its original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared: Option<Shared>,
    /// When the file was made, in nanoseconds since 1970, where the file system says it: of two files with the same inode number
    /// one after the other, this is what differs even if both are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
    /// The encoding that a byte order mark has decided on, of this file or of what it held before it was truncated: its writer may
    /// go on without another mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<String>,
}

/// What a copy shares with its original, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shared {
    /// Up to there both were compared and are equal.
    pub equal_to: u64,
    /// A file that differs before this is no copy: so much of the original was read when the file was seen first. 0 where
    /// that is not known.
    pub needed: u64,
}

/// Sizes of a complete compressed file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    pub size: u64,
    pub unpacked: u64,
}

fn born(metadata: &Metadata) -> Option<u64> {
    let since_1970 = metadata.created().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since_1970.as_nanos()).ok()
}

/// Length and XXH3 hash of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    length: u64,
    xxh3: String,
}

impl Sample {
    fn is_hole(&self) -> bool {
        let nothing = [0; SAMPLE as usize];
        self.length > 0 && nothing.get(..self.length as usize).is_some_and(|bytes| hash(bytes) == self.xxh3)
    }
}

impl Evidence {
    /// Takes the evidence of an open file at `checkpoint`. At its very beginning that is what the file holds by now.
    pub fn take(content: &Content, checkpoint: u64, chain: Option<Link>) -> io::Result<Self> {
        Self::take_of_read(content, checkpoint, checkpoint, chain)
    }

    /// Likewise of a file of which `read` bytes were read: those stay as they are.
    pub fn take_of_read(content: &Content, checkpoint: u64, read: u64, chain: Option<Link>) -> io::Result<Self> {
        let file = &content.file;
        let metadata = file.metadata()?;
        let (size, born) = (metadata.len(), born(&metadata));
        if content.is_unpacked() {
            let length = size.min(SAMPLE);
            let (head, tail) = (sample(file, 0, length)?, sample(file, size - length, length)?);
            let packed = Some(Packed { size, unpacked: content.look()?.size });
            return Ok(Self {
                head,
                tail,
                chain,
                at: None,
                whole: None,
                names: Vec::new(),
                packed,
                shared: None,
                born,
                order: None,
            });
        }
        let head = if checkpoint == 0 { written(content, read, size.min(SAMPLE))? } else { checkpoint.min(SAMPLE) };
        let tail = checkpoint.min(SAMPLE);
        let (head, tail) = (sample(file, 0, head)?, sample(file, checkpoint - tail, tail)?);
        let mut whole = chain.as_ref().and_then(Prefix::resume);
        if let Some(prefix) = &mut whole {
            extend(prefix, content, checkpoint)?;
        }
        let whole = whole.map(|prefix| prefix.to_text());
        Ok(Self {
            head,
            tail,
            chain,
            at: Some(checkpoint),
            whole,
            names: Vec::new(),
            packed: None,
            shared: None,
            born,
            order: None,
        })
    }

    /// Whether `file` is the one of this evidence at this checkpoint, of which `read_to` was read.
    pub fn matches(&self, content: &Content, checkpoint: u64, read_to: Option<&ReadTo>) -> io::Result<bool> {
        let file = &content.file;
        let metadata = file.metadata()?;
        let size = metadata.len();
        if self.born.zip(born(&metadata)).is_some_and(|(before, now)| before != now) {
            return Ok(false);
        }
        if let Some(packed) = self.packed {
            return Ok(packed.size == size
                && self.tail.length <= size
                && sample(file, 0, self.head.length)? == self.head
                && sample(file, size - self.tail.length, self.tail.length)? == self.tail);
        }
        let at = self.at.unwrap_or(checkpoint);
        if size < checkpoint || size < self.head.length || size < at || at < self.tail.length {
            return Ok(false);
        }
        Ok(sample(file, 0, self.head.length)? == self.head
            && sample(file, at - self.tail.length, self.tail.length)? == self.tail
            && read_to.is_none_or(|read| self.may_have_been_read(content, size, read)))
    }

    /// Whether the bytes behind the chain's link are those that were read, as far as they are there and not too many.
    fn may_have_been_read(&self, content: &Content, size: u64, read_to: &ReadTo) -> bool {
        let Some(mut prefix) = self.prefix() else { return true };
        let end = read_to.position.offset();
        if end > size {
            // Cut off behind what is settled, or another file that begins like this one. What is left has to be known as far as it
            // can be: a few bytes are those of many a file, so is a header line, and a hole may be that of any writer.
            return match self.at {
                Some(0) | None => self.head.length == size.min(SAMPLE) && !self.head.is_hole(),
                Some(at) => size == at,
            };
        }
        if end < prefix.at() || end - prefix.at() > COMPARED_MAX {
            return true;
        }
        extend(&mut prefix, content, end).is_ok() && prefix.to_text() == read_to.hash
    }

    /// The chain over what was read, at the start of the block in which the checkpoint lies.
    pub fn prefix(&self) -> Option<Prefix> {
        self.chain.as_ref().and_then(Prefix::resume)
    }

    pub fn with_names(mut self, names: Vec<String>) -> Self {
        self.names = names;
        self
    }

    /// Names that the file had before.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it was taken of a file without text, and so fits every file.
    pub fn is_void(&self) -> bool {
        self.head.length == 0
    }

    /// Whether a file begins as this one did; of a compressed one its hash has to say so.
    pub fn has_head(&self, content: &Content) -> bool {
        let file = &content.file;
        content.is_unpacked()
            || self.packed.is_some()
            || sample(file, 0, self.head.length).is_ok_and(|head| head == self.head)
    }

    /// Where [`Evidence::whole`] ends, and the hash of everything that was read before.
    pub fn whole(&self) -> Option<(u64, &str)> {
        Some((self.at?, self.whole.as_deref()?))
    }

    pub fn with_shared(mut self, shared: Shared) -> Self {
        self.shared = Some(shared);
        self
    }

    pub fn shared(&self) -> Option<Shared> {
        self.shared
    }

    /// Whether the file system says that the file was made when the one of this evidence was. An inode number is given again,
    /// but not for the same moment.
    pub fn is_of_birth(&self, content: &Content) -> bool {
        self.born.is_some() && content.file.metadata().is_ok_and(|metadata| born(&metadata) == self.born)
    }

    pub fn with_order(mut self, order: Option<&'static Encoding>) -> Self {
        self.order = order.map(|encoding| encoding.name().to_owned());
        self
    }

    /// The encoding that a byte order mark has decided on.
    pub fn order(&self) -> Option<&'static Encoding> {
        Encoding::for_label(self.order.as_deref()?.as_bytes())
    }

    pub fn packed(&self) -> Option<Packed> {
        self.packed
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` where nothing usable is stored.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|e: &Self| e.head.length <= SAMPLE && e.tail.length <= SAMPLE)
    }
}

/// Hashes a content's bytes up to `end`.
pub fn extend(prefix: &mut Prefix, content: &Content, end: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    while prefix.at() < end {
        bytes.clear();
        content.read(&mut bytes, prefix.at(), (end - prefix.at()).min(BLOCK))?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        prefix.update(&bytes);
    }
    Ok(())
}

/// How many of a file's first `length` bytes will stay as they are: a NUL that was not read may be filled yet. All of them, where
/// it begins with NULs that a writer has left behind.
fn written(content: &Content, read: u64, length: u64) -> io::Result<u64> {
    let mut bytes = [0; SAMPLE as usize];
    let bytes = &mut bytes[..length as usize];
    content.file.read_exact_at(bytes, 0)?;
    let behind_read = bytes.get(read as usize..).unwrap_or_default();
    Ok(match behind_read.iter().position(|&byte| byte == 0) {
        Some(0) if read == 0 && has_text(content)? => length,
        Some(at) => read + at as u64,
        None => length,
    })
}

fn sample(file: &File, at: u64, length: u64) -> io::Result<Sample> {
    let mut bytes = [0; SAMPLE as usize];
    let bytes = &mut bytes[..length as usize];
    file.read_exact_at(bytes, at)?;
    Ok(Sample { length, xxh3: hash(bytes) })
}

fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;
    use crate::source::file::content::CountedFile;

    fn content(bytes: &[u8]) -> Content {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        Content::plain(CountedFile::new(file)).unwrap()
    }

    /// Of a file that was made whenever the other one was.
    fn take(bytes: &[u8], checkpoint: u64) -> Evidence {
        Evidence { born: None, ..Evidence::take(&content(bytes), checkpoint, None).unwrap() }
    }

    fn matches(evidence: &Evidence, bytes: &[u8], checkpoint: u64) -> bool {
        evidence.matches(&content(bytes), checkpoint, None).unwrap()
    }

    #[test]
    fn a_grown_file_is_the_same_and_a_rewritten_one_is_not() {
        let evidence = take(b"one\ntwo\n", 4);
        let stored = Evidence::from_json(&evidence.to_json()).unwrap();
        assert_eq!(stored, evidence);
        assert!(matches(&stored, b"one\ntwo\nthree\n", 4));
        assert!(!matches(&stored, b"One\ntwo\nthree\n", 4));
        assert!(!matches(&stored, b"on", 4));
    }

    #[test]
    fn files_that_differ_only_before_the_checkpoint_are_told_apart() {
        let (mut one, mut other) = (vec![b'h'; 5000], vec![b'h'; 5000]);
        one[4000] = b'1';
        other[4000] = b'2';
        let evidence = take(&one, 4500);
        assert!(matches(&evidence, &one, 4500));
        assert!(!matches(&evidence, &other, 4500));
    }

    #[test]
    fn files_that_differ_only_in_what_was_read_behind_the_checkpoint_are_told_apart() {
        let mut read = Prefix::beginning_at(0);
        let link = read.link_before(0);
        read.update(b"header\nfirst\n");
        let read_to = ReadTo { position: Position::at(13), hash: read.to_text() };
        let evidence = Evidence { born: None, ..Evidence::take(&content(b"header\nfirst\n"), 7, link).unwrap() };
        let is_it = |bytes: &[u8]| evidence.matches(&content(bytes), 7, Some(&read_to)).unwrap();
        assert!(is_it(b"header\nfirst\nsecond\n"));
        assert!(!is_it(b"header\nother\nsecond\n"));
        assert!(is_it(b"header\n"), "what is left of it may be all that is left");
    }

    #[test]
    fn what_is_left_of_a_file_is_not_known_by_a_few_bytes_of_it() {
        let mut read = Prefix::beginning_at(0);
        let link = read.link_before(0);
        read.update(b"header\nfirst\n");
        let read_to = ReadTo { position: Position::at(13), hash: read.to_text() };
        let evidence = Evidence { born: None, ..Evidence::take(&content(b"head"), 0, link).unwrap() };
        let is_it = |bytes: &[u8]| evidence.matches(&content(bytes), 0, Some(&read_to)).unwrap();
        assert!(is_it(b"header\nfirst\nsecond\n"));
        assert!(!is_it(b"header\nother\nsecond\n"));
        assert!(is_it(b"head"));
        assert!(!is_it(b"head of it"), "another content begins so, too");
    }

    #[test]
    fn a_file_that_got_its_size_first_is_known_by_what_was_written_to_it() {
        let take = |bytes: &[u8], read| {
            let taken = Evidence::take_of_read(&content(bytes), 0, read, None).unwrap();
            Evidence { born: None, ..taken }
        };
        let empty = take(b"\0\0\0\0", 0);
        assert!(empty.is_void() && matches(&empty, b"one\n", 0), "nothing says anything of it");
        assert!(!take(b"\0\0\0\0one\n", 0).is_void());
        let seen = take(b"one\n\0\0\0\0", 0);
        assert!(matches(&seen, b"one\ntwo\n", 0));
        assert!(!matches(&seen, b"two\none\n", 0));
        let read = take(b"\0\0one\n\0\0", 6);
        assert!(matches(&read, b"\0\0one\nfo", 0));
        assert!(!matches(&read, b"fo\0one\n\0\0", 0), "NULs that were read are known");
        let torn = take(b"one\ntw\0\0", 4);
        assert!(matches(&torn, b"one\ntwo\n", 0));
        assert!(!matches(&torn, b"one\nthr\n", 0), "so is a line that is not whole yet");
    }

    #[test]
    fn what_is_left_of_a_file_is_not_known_by_a_hole() {
        let mut read = Prefix::beginning_at(0);
        let link = read.link_before(0);
        read.update(b"\0\0\0\0first\nsecond\n");
        let read_to = ReadTo { position: Position::at(17), hash: read.to_text() };
        for checkpoint in [0, 4] {
            let taken = Evidence::take(&content(b"\0\0\0\0"), checkpoint, link.clone()).unwrap();
            let evidence = Evidence { born: None, ..taken };
            let is_it = |bytes: &[u8]| evidence.matches(&content(bytes), checkpoint, Some(&read_to)).unwrap();
            assert!(is_it(b"\0\0\0\0first\nsecond\nthird\n"));
            assert!(!is_it(b"\0\0\0\0first\n"));
            assert!(!is_it(b"\0\0\0\0\0\0other\n"));
        }
    }

    #[test]
    fn of_two_files_with_the_same_content_the_one_made_then_is_it() {
        let one = content(b"");
        let evidence = Evidence::take(&one, 0, None).unwrap();
        assert!(evidence.matches(&one, 0, None).unwrap());
        let other = Evidence { born: evidence.born.map(|born| born + 1), ..evidence };
        assert_eq!(other.matches(&one, 0, None).unwrap(), other.born.is_none());
    }

    #[test]
    fn evidence_of_the_first_version_is_still_read() {
        let bytes = b"one\ntwo\n";
        let sample = |bytes: &[u8]| format!(r#"{{"length":{},"xxh3":"{:016x}"}}"#, bytes.len(), xxh3_64(bytes));
        let text = format!(r#"{{"head":{0},"tail":{0}}}"#, sample(b"one\n"));
        let evidence = Evidence::from_json(&text).unwrap();
        assert!(matches(&evidence, bytes, 4));
        assert!(!matches(&evidence, b"one,two\n", 4));
        assert!(evidence.prefix().is_none());
    }

    #[test]
    fn at_the_beginning_the_head_that_is_there_counts() {
        let evidence = take(b"abc", 0);
        assert!(matches(&evidence, b"abcdef", 0));
        assert!(!matches(&evidence, b"xbcdef", 0));
        assert!(matches(&take(b"", 0), b"anything", 0));
        assert_eq!(Evidence::from_json("{}"), None);
    }
}
