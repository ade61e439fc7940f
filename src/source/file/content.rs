//! The content of an open file: its bytes, or what they decompress to.
//!
//! Always true: positions are offsets in the content, so a compressed twin has the positions of its plain original. A
//! compressed content is read in order and in bounded memory; going back begins again at its start.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use super::identity::FileKey;
use super::text::Extent;

/// Compressed bytes read at once, and decompressed bytes thrown away at once on the way to a later offset.
const STEP: usize = 64 << 10;
/// The largest window that a zstd frame may ask for, as a power of two: what `zstd -d` allows too.
const ZSTD_WINDOW_LOG: u32 = 27;

/// [`CountedFile`]s of all sources of the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Whether another file may be opened: sockets, payloads and the journal need descriptors too.
pub fn has_room_for_another() -> bool {
    static MOST: LazyLock<usize> = LazyLock::new(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        limit - (limit / 2).min(256)
    });
    OPEN.load(Ordering::Relaxed) < *MOST
}

/// A file that counts against the limit of descriptors while it is open.
pub struct CountedFile(File);

impl CountedFile {
    pub fn new(file: File) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(file)
    }
}

impl Deref for CountedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By the name and by the first bytes; both have to agree.
    pub fn of(path: &Path, file: &File) -> io::Result<Option<Self>> {
        let packing = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => return Ok(None),
        };
        Ok(Self::by_magic(file)?.filter(|found| *found == packing))
    }

    /// By the first bytes alone.
    pub fn by_magic(file: &File) -> io::Result<Option<Self>> {
        let mut first = [0; 4];
        let read = file.read_at(&mut first, 0)?;
        Ok(match &first[..read] {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Self::Zstd),
            _ => None,
        })
    }

    /// Whether a file of this name holds no more than the beginning of what tells that it is compressed: somebody may be about
    /// to write the rest.
    pub fn is_begun(path: &Path, file: &File) -> io::Result<bool> {
        let magic: &[u8] = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => &[0x1f, 0x8b],
            Some("zst" | "zstd") => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => return Ok(false),
        };
        let mut first = [0; 4];
        let read = file.read_at(&mut first, 0)?;
        Ok(read < magic.len() && magic.starts_with(&first[..read]))
    }

    /// Everything the file decompresses to, member after member.
    pub fn decoder(self, file: Arc<CountedFile>) -> io::Result<Box<dyn Read + Send>> {
        let bytes = BufReader::with_capacity(STEP, FromStart { file, at: 0 });
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// Reads a file from its start without moving the place at which others read it.
struct FromStart {
    file: Arc<CountedFile>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// An open file's content.
pub struct Content {
    pub key: FileKey,
    pub file: Arc<CountedFile>,
    unpacked: Option<Mutex<Unpacked>>,
    /// Where the content ends for whoever reads it, although the file goes on.
    limit: Option<u64>,
}

/// A compressed file's content as far as it can be decoded.
struct Unpacked {
    packing: Packing,
    length: u64,
    decoder: Option<Box<dyn Read + Send>>,
    at: u64,
}

/// What one look at a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Of the content, in bytes.
    pub size: u64,
    /// Whether it still has a name.
    pub is_named: bool,
    /// When it was written to last, by its own account.
    pub modified: Option<SystemTime>,
    /// Change time, in seconds and nanoseconds: another one where the file was written to.
    changed: (i64, i64),
}

impl Content {
    pub fn plain(file: CountedFile) -> io::Result<Self> {
        let key = FileKey::of(&file.metadata()?);
        Ok(Self { key, file: Arc::new(file), unpacked: None, limit: None })
    }

    /// A compressed file of which `length` bytes can be decoded.
    pub fn unpacked(file: Arc<CountedFile>, packing: Packing, length: u64) -> io::Result<Self> {
        let key = FileKey::of(&file.metadata()?);
        let unpacked = Unpacked { packing, length, decoder: None, at: 0 };
        Ok(Self { key, file, unpacked: Some(Mutex::new(unpacked)), limit: None })
    }

    /// The same plain file up to `limit`. What comes behind it is somebody else's.
    pub fn up_to(&self, limit: u64) -> Self {
        Self { key: self.key, file: self.file.clone(), unpacked: None, limit: Some(limit) }
    }

    /// Whether nothing will ever be added to it.
    pub fn is_whole_as_it_is(&self) -> bool {
        self.unpacked.is_some() || self.limit.is_some()
    }

    /// Whether it is a part of a file that another partition reads.
    pub fn is_shared(&self) -> bool {
        self.limit.is_some()
    }

    pub fn is_unpacked(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Whether this is all that the file holds, but for NULs at its end. Decompresses a compressed one to its end; one that
    /// cannot be is not whole.
    pub fn is_whole(&self) -> bool {
        let Some(unpacked) = &self.unpacked else { return true };
        let (packing, length) = {
            let unpacked = unpacked.lock().unwrap_or_else(PoisonError::into_inner);
            (unpacked.packing, unpacked.length)
        };
        let mut decoded = Extent::default();
        let decoder = packing.decoder(self.file.clone());
        let is_read = decoder.and_then(|mut bytes| io::copy(&mut bytes, &mut decoded)).is_ok();
        is_read && (decoded.text..=decoded.length).contains(&length)
    }

    pub fn look(&self) -> io::Result<Seen> {
        let metadata = self.file.metadata()?;
        let size = match &self.unpacked {
            Some(unpacked) => unpacked.lock().unwrap_or_else(PoisonError::into_inner).length,
            None => metadata.len().min(self.limit.unwrap_or(u64::MAX)),
        };
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Seen { size, is_named: metadata.nlink() > 0, modified: metadata.modified().ok(), changed })
    }

    /// Appends up to `length` bytes at `at`, fewer where the content ends.
    pub fn read(&self, data: &mut Vec<u8>, at: u64, length: u64) -> io::Result<()> {
        let length = self.limit.map_or(length, |limit| length.min(limit.saturating_sub(at)));
        let base = data.len();
        data.reserve_exact(length as usize);
        match &self.unpacked {
            None => read_plain(&self.file, data, base + length as usize, at)?,
            Some(unpacked) => {
                let mut unpacked = unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                let length = length.min(unpacked.length.saturating_sub(at));
                let result = unpacked.read(&self.file, data, at, length);
                if result.is_err() {
                    unpacked.decoder = None;
                }
                result?;
            }
        }
        data.truncate(base + length as usize);
        Ok(())
    }
}

fn read_plain(file: &File, data: &mut Vec<u8>, end: usize, at: u64) -> io::Result<()> {
    let base = data.len();
    while data.len() < end {
        let offset = at + (data.len() - base) as u64;
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, rustix::buffer::spare_capacity(data), offset))?;
        if read == 0 {
            break;
        }
    }
    Ok(())
}

impl Unpacked {
    fn read(&mut self, file: &Arc<CountedFile>, data: &mut Vec<u8>, at: u64, length: u64) -> io::Result<()> {
        let (mut decoder, from) = match self.decoder.take().filter(|_| self.at <= at) {
            Some(decoder) => (decoder, self.at),
            None => (self.packing.decoder(file.clone())?, 0),
        };
        io::copy(&mut decoder.by_ref().take(at - from), &mut io::sink())?;
        let read = decoder.by_ref().take(length).read_to_end(data)?;
        self.at = at + read as u64;
        self.decoder = Some(decoder);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn open(name: &str, bytes: &[u8]) -> (Option<Packing>, Arc<CountedFile>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        (Packing::of(Path::new(name), &file).unwrap(), Arc::new(CountedFile::new(file)))
    }

    #[test]
    fn a_compressed_content_is_read_at_any_offset() {
        let text: Vec<u8> = (0..300_000u32).map(|n| (n / 7 % 251) as u8).collect();
        let (one, other) = text.split_at(100_000);
        let members = [gzip(one), gzip(other)].concat();
        let frames = [zstd::encode_all(one, 1).unwrap(), zstd::encode_all(other, 1).unwrap()].concat();
        for (name, bytes) in [("a.gz", members), ("a.zst", frames)] {
            let (packing, file) = open(name, &bytes);
            let content = Content::unpacked(file, packing.unwrap(), text.len() as u64).unwrap();
            for (at, length) in [(0, 10), (99_990, 30), (299_990, 30), (5, 5), (400_000, 5)] {
                let mut data = b"x".to_vec();
                content.read(&mut data, at, length).unwrap();
                let end = (at + length).min(text.len() as u64).max(at) as usize;
                assert_eq!(&data[1..], text.get(at as usize..end).unwrap_or_default(), "{name} {at}");
            }
        }
    }

    #[test]
    fn a_compressed_content_is_whole_only_if_the_file_ends_with_it() {
        let packed = gzip(b"some lines");
        let is_whole = |bytes: &[u8], length| {
            let (packing, file) = open("a.gz", bytes);
            Content::unpacked(file, packing.unwrap(), length).unwrap().is_whole()
        };
        assert!(is_whole(&packed, 10));
        assert!(!is_whole(&packed, 9), "there is more in it");
        assert!(!is_whole(&packed[..packed.len() - 4], 10), "it is cut off");
        assert!(!is_whole(&[&packed[..], &packed[..5]].concat(), 10), "a second member is cut off");
    }

    #[test]
    fn name_and_first_bytes_must_both_say_that_it_is_compressed() {
        let packed = gzip(b"x");
        assert_eq!(open("a.log.gz", &packed).0, Some(Packing::Gzip));
        assert_eq!(open("a.log", &packed).0, None);
        assert_eq!(open("a.log.gz", b"plain\n").0, None);
        assert_eq!(open("a.log.gz", b"").0, None);
        assert_eq!(open("a.zstd", &zstd::encode_all(&b"x"[..], 1).unwrap()).0, Some(Packing::Zstd));
    }
}
