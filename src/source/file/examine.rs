//! Decompresses files to their ends, away from the thread that follows rotation, to see whether they are whole and what they
//! repeat.
//!
//! Always true: an examination only reads; what comes of it is decided by whoever asked. One thread per source, which ends
//! with it.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::record::PartitionId;

use super::content::{Content, CountedFile, Packing};
use super::prefix::Prefix;
use super::text::Extent;
use super::watch::Waker;

/// Bytes decompressed at once.
const STEP: usize = 64 << 10;

/// A compressed file, and what it may repeat.
pub struct Examination {
    pub file: Arc<CountedFile>,
    pub path: PathBuf,
    pub packing: Packing,
    pub rivals: Vec<Rival>,
}

/// A partition of which the file may be the twin.
pub struct Rival {
    pub id: PartitionId,
    pub known_by: KnownBy,
}

pub enum KnownBy {
    /// So many bytes of it were read; their hash.
    Hash { length: u64, hash: String },
    /// It is open, and so much of it was read.
    Content { content: Arc<Content>, read: u64 },
}

/// What came of an examination.
pub struct Examined {
    pub file: Arc<CountedFile>,
    pub path: PathBuf,
    pub packing: Packing,
    /// Bytes that it decompresses to, and how many of those are text.
    pub extent: Extent,
    /// Why no more could be decompressed, if it is not whole.
    pub error: Option<io::Error>,
    /// The partitions that it repeats, with the bytes that are known to be equal.
    pub repeats: Vec<(PartitionId, u64)>,
    /// The partitions with whose open files it was compared. If one was truncated meanwhile, that says nothing.
    pub compared: Vec<PartitionId>,
}

/// The thread that examines. Dropped, it is stopped and waited for.
pub struct Examiner {
    work: Option<Sender<Examination>>,
    done: Receiver<Examined>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Examiner {
    /// `waker` is called whenever an examination is done.
    pub fn start(waker: Waker) -> io::Result<Self> {
        let (work, examinations) = channel::<Examination>();
        let (results, done) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            for examination in examinations {
                let Some(examined) = examination.run(&stopped) else { return };
                if results.send(examined).is_err() {
                    return;
                }
                waker.call();
            }
        };
        let thread = std::thread::Builder::new().name(String::from("examiner")).spawn(run)?;
        Ok(Self { work: Some(work), done, thread: Some(thread), stop })
    }

    pub fn begin(&self, examination: Examination) {
        // It has ended only if it panicked; then the file is examined in the next life.
        let _ = self.work.as_ref().map(|work| work.send(examination));
    }

    pub fn next_done(&self) -> Option<Examined> {
        self.done.try_recv().ok()
    }
}

impl Drop for Examiner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How far a rival is equal.
struct Race {
    id: PartitionId,
    known_by: KnownBy,
    prefix: Option<Prefix>,
    equal_to: Option<u64>,
}

impl Examination {
    /// `None` when stopped.
    pub fn run(self, stop: &AtomicBool) -> Option<Examined> {
        let Self { file, path, packing, rivals } = self;
        let is_open = |rival: &&Rival| matches!(rival.known_by, KnownBy::Content { .. });
        let compared = rivals.iter().filter(is_open).map(|rival| rival.id).collect();
        let mut races: Vec<Race> = rivals.into_iter().filter_map(Race::new).collect();
        let mut extent = Extent::default();
        let error = match decode(packing, &file, stop, |bytes| {
            races.iter_mut().for_each(|race| race.step(extent.length, bytes));
            extent.push(bytes);
        }) {
            Ok(true) => None,
            Ok(false) => return None,
            Err(error) => Some(error),
        };
        let repeats = races.iter().filter_map(|race| Some((race.id, race.equal_to(extent.length)?))).collect();
        Some(Examined { file, path, packing, extent, error, repeats, compared })
    }
}

/// False when stopped.
fn decode(
    packing: Packing,
    file: &Arc<CountedFile>,
    stop: &AtomicBool,
    mut take: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let mut decoder = packing.decoder(file.clone())?;
    let mut bytes = vec![0; STEP];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match decoder.read(&mut bytes) {
            Ok(0) => return Ok(true),
            Ok(read) => take(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Race {
    fn new(rival: Rival) -> Option<Self> {
        let prefix = match &rival.known_by {
            KnownBy::Hash { hash, .. } => Some(Prefix::like(hash)?),
            KnownBy::Content { .. } => None,
        };
        Some(Self { id: rival.id, known_by: rival.known_by, prefix, equal_to: Some(0) })
    }

    /// The decompressed bytes at `at`.
    fn step(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        match &self.known_by {
            KnownBy::Hash { length, .. } => {
                let Some(prefix) = &mut self.prefix else { return };
                let (from, to) = (prefix.at().max(at), end.min(*length));
                if from < to && prefix.at() >= at {
                    prefix.update(&bytes[(from - at) as usize..(to - at) as usize]);
                }
            }
            KnownBy::Content { content, .. } => {
                if self.equal_to != Some(at) {
                    return; // It differs, or ends before.
                }
                let mut there = Vec::with_capacity(bytes.len());
                let read = content.read(&mut there, at, bytes.len() as u64);
                self.equal_to = (read.is_ok() && bytes.starts_with(&there)).then_some(at + there.len() as u64);
            }
        }
    }

    /// How much of the rival the file of this length is known to repeat: all that was read of it, or it repeats nothing.
    fn equal_to(&self, whole: u64) -> Option<u64> {
        match &self.known_by {
            KnownBy::Hash { length, hash } => {
                let prefix = self.prefix.as_ref()?;
                (prefix.at() == *length && prefix.to_text() == *hash).then_some(*length)
            }
            // A twin of a file that is still there is never longer; a longer one only begins with the same bytes.
            KnownBy::Content { read, .. } => {
                self.equal_to.filter(|&equal| equal > 0 && equal >= *read && equal == whole)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::file::content::Content;
    use std::io::Write;

    fn file(bytes: &[u8]) -> CountedFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        CountedFile::new(file)
    }

    fn examined(packed: &[u8], known_by: Vec<KnownBy>) -> Examined {
        let rivals = known_by.into_iter().zip(1..).map(|(known_by, id)| Rival { id: PartitionId(id), known_by });
        let file = Arc::new(file(packed));
        let path = PathBuf::from("a.zst");
        let examination = Examination { file, path, packing: Packing::Zstd, rivals: rivals.collect() };
        examination.run(&AtomicBool::new(false)).unwrap()
    }

    fn hash_of(bytes: &[u8]) -> KnownBy {
        let mut prefix = Prefix::beginning_at(0);
        prefix.update(bytes);
        KnownBy::Hash { length: bytes.len() as u64, hash: prefix.to_text() }
    }

    fn content(bytes: &[u8], read: u64) -> KnownBy {
        KnownBy::Content { content: Arc::new(Content::plain(file(bytes)).unwrap()), read }
    }

    #[test]
    fn a_twin_repeats_what_was_read_and_no_other_file() {
        let text: Vec<u8> = (0..200_000u32).map(|n| (n / 3 % 251) as u8).collect();
        let mut other = text.clone();
        other[150_000] ^= 1;
        let packed = zstd::encode_all(&text[..], 1).unwrap();
        let rivals = vec![
            hash_of(&text[..123_456]),
            hash_of(&other[..160_000]),
            content(&text, 0),
            content(&text, 200_000),
            content(&other, 10),
            content(&text[..100], 100),
            hash_of(&[&text[..], b"more"].concat()),
            content(&[&text[..], b"more"].concat(), 200_000),
            content(b"", 0),
        ];
        let examined = examined(&packed, rivals);
        assert_eq!(examined.extent.length, 200_000);
        assert!(examined.error.is_none());
        let repeats = examined.repeats;
        assert_eq!(
            repeats,
            [
                (PartitionId(1), 123_456),
                (PartitionId(3), 200_000),
                (PartitionId(4), 200_000),
                (PartitionId(8), 200_000)
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_whole_is_decoded_as_far_as_it_goes() {
        let packed = zstd::encode_all(&vec![7; 300_000][..], 1).unwrap();
        let examined = examined(&[&packed[..], &packed[..packed.len() / 2]].concat(), Vec::new());
        assert!(examined.error.is_some());
        assert!(examined.extent.length >= 300_000);
    }
}
