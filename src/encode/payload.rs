//! The content of one object, from its first block until the destination has it.
//!
//! A payload begins in memory and moves to a file once it has grown past a limit, so that a buffer of 128 MB does not cost
//! 128 MB. The file is removed when the payload is dropped; what a crash leaves behind is swept at the next start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// A finished payload.
pub struct Payload {
    body: Body,
    len: u64,
}

enum Body {
    Memory(Vec<Bytes>),
    File(PayloadFile),
}

/// A file that is removed when nobody needs it any more.
struct PayloadFile {
    path: PathBuf,
    file: File,
}

impl Drop for PayloadFile {
    fn drop(&mut self) {
        // A file that a destination has renamed to its final name is no longer under this one.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Payload {
    /// Bytes of the whole object.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts, when the payload is in memory.
    pub fn parts(&self) -> Option<&[Bytes]> {
        match &self.body {
            Body::Memory(parts) => Some(parts),
            Body::File(_) => None,
        }
    }

    /// The file, when the payload is in one.
    pub fn file(&self) -> Option<(&Path, &File)> {
        match &self.body {
            Body::Memory(_) => None,
            Body::File(file) => Some((&file.path, &file.file)),
        }
    }

    /// So many bytes from `offset` on, or as many as there are. Blocks where the payload is a file.
    pub fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let end = self.len.min(offset.saturating_add(bytes as u64));
        let mut read = Vec::with_capacity(end.saturating_sub(offset) as usize);
        match &self.body {
            Body::File(file) => {
                read.resize(read.capacity(), 0);
                file.file.read_exact_at(&mut read, offset)?;
            }
            Body::Memory(parts) => {
                let mut start = 0;
                for part in parts {
                    let (from, to) = (offset.max(start), end.min(start + part.len() as u64));
                    if from < to {
                        read.extend_from_slice(&part[(from - start) as usize..(to - start) as usize]);
                    }
                    start += part.len() as u64;
                }
            }
        }
        Ok(read)
    }

    /// A payload in memory, for tests and for small things.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { len: bytes.len() as u64, body: Body::Memory(vec![bytes]) }
    }
}

/// Collects the blocks of a payload.
pub struct PayloadWriter {
    folder: PathBuf,
    name: String,
    memory_max: u64,
    parts: Vec<Bytes>,
    file: Option<PayloadFile>,
    /// Bytes that are safely in `parts` or in the file.
    len: u64,
}

impl PayloadWriter {
    /// A payload that keeps up to `memory_max` bytes in memory, and more than that in `folder`/`name`.
    pub fn new(folder: &Path, name: &str, memory_max: u64) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned(), memory_max, parts: Vec::new(), file: None, len: 0 }
    }

    /// Bytes that are held in memory.
    pub fn memory(&self) -> u64 {
        if self.file.is_some() { 0 } else { self.len }
    }

    /// Appends one block if that takes no I/O.
    pub fn append_in_memory(&mut self, block: &Bytes) -> bool {
        let fits = self.file.is_none() && self.len + block.len() as u64 <= self.memory_max;
        if fits {
            self.parts.push(block.clone());
            self.len += block.len() as u64;
        }
        fits
    }

    /// Appends one block. After an error nothing has been appended, and the same call may be made again.
    pub fn append(&mut self, block: &Bytes) -> io::Result<()> {
        if self.append_in_memory(block) {
            return Ok(());
        }
        self.leave_memory()?;
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the payload has no file"))?;
        file.file.write_all_at(block, self.len)?;
        self.len += block.len() as u64;
        Ok(())
    }

    pub fn finish(self) -> Payload {
        let body = match self.file {
            Some(file) => Body::File(file),
            None => Body::Memory(self.parts),
        };
        Payload { body, len: self.len }
    }

    /// Moves what is in memory to the file. After an error nothing has been moved, and the same call may be made again.
    pub fn leave_memory(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(&self.name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let file = PayloadFile { path, file };
        let mut offset = 0;
        for part in &self.parts {
            file.file.write_all_at(part, offset)?;
            offset += part.len() as u64;
        }
        self.parts = Vec::new();
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_payload_that_outgrows_memory_moves_to_a_file_and_leaves_none_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = PayloadWriter::new(folder.path(), "p", 10);
        writer.append(&Bytes::from_static(b"0123456")).unwrap();
        assert_eq!(writer.memory(), 7);
        writer.append(&Bytes::from_static(b"789abc")).unwrap();
        assert_eq!(writer.memory(), 0);
        let payload = writer.finish();
        assert_eq!(payload.len(), 13);
        let (path, _) = payload.file().unwrap();
        let path = path.to_owned();
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789abc");
        drop(payload);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_told_to_leave_memory_does_and_what_follows_never_enters_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = PayloadWriter::new(folder.path(), "p", 1 << 20);
        writer.append(&Bytes::from_static(b"abc")).unwrap();
        writer.append(&Bytes::from_static(b"def")).unwrap();
        assert_eq!((writer.memory(), folder.path().join("p").exists()), (6, false));
        for _ in 0..2 {
            writer.leave_memory().unwrap();
            assert_eq!(
                (writer.memory(), std::fs::read(folder.path().join("p")).unwrap().as_slice()),
                (0, &b"abcdef"[..])
            );
        }
        assert!(!writer.append_in_memory(&Bytes::from_static(b"ghi")));
        writer.append(&Bytes::from_static(b"ghi")).unwrap();
        assert_eq!(writer.memory(), 0);
        let payload = writer.finish();
        assert_eq!(payload.read(0, 100).unwrap(), b"abcdefghi");
    }

    #[test]
    fn what_cannot_leave_memory_stays_there() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file-in-the-way");
        std::fs::write(&blocked, b"").unwrap();
        let mut writer = PayloadWriter::new(&blocked, "p", 1 << 20);
        writer.append(&Bytes::from_static(b"abc")).unwrap();
        assert!(writer.leave_memory().is_err());
        assert_eq!(writer.memory(), 3);
        writer.append(&Bytes::from_static(b"def")).unwrap();
        std::fs::remove_file(&blocked).unwrap();
        writer.leave_memory().unwrap();
        assert_eq!(writer.memory(), 0);
        assert_eq!(writer.finish().read(0, 100).unwrap(), b"abcdef");
    }

    #[test]
    fn a_block_that_could_not_be_written_can_be_appended_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file-in-the-way");
        std::fs::write(&blocked, b"").unwrap();
        let mut writer = PayloadWriter::new(&blocked, "p", 4);
        writer.append(&Bytes::from_static(b"abcd")).unwrap();
        assert!(writer.append(&Bytes::from_static(b"efgh")).is_err());
        std::fs::remove_file(&blocked).unwrap();
        writer.append(&Bytes::from_static(b"efgh")).unwrap();
        let payload = writer.finish();
        assert_eq!(std::fs::read(payload.file().unwrap().0).unwrap(), b"abcdefgh");
    }
}
