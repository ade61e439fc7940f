//! Which delivery streams read a file, and how far each has delivered it.
//!
//! Always true: in doubt a file is not delivered. It is the file of a checkpoint only if device, inode and content are; a
//! delivery stream that reads it, or whose globs match it, counts even if it has never seen it; and what comes to the file
//! after the journal was looked at is unread; what was never read is not delivered; of a
//! compressed file the content counts, and one that cannot be decompressed to its end is not delivered.

mod progress;

pub use progress::{Part, Progress, State};

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::model::{BackupMode, DeliveryStreamConfig, FileSourceConfig};
use crate::journal::{FileRow, JournalView};
use crate::source::file::{self, Content, CountedFile, Discovery, Evidence, FileKey, Packing};

/// All delivery streams that read files, and the files that their globs match.
pub struct Readers(Vec<Reader>);

/// One delivery stream, as far as its files are concerned.
pub struct Reader {
    pub stream: String,
    pub source: FileSourceConfig,
    /// Whether a backup takes every record too.
    needs_copies: bool,
    discovery: Discovery,
    /// The files that its globs matched at the last scan, each with its path: of several the first.
    matched: HashMap<FileKey, PathBuf>,
}

/// How far one delivery stream has come with a file; `None` if it has never seen it.
pub struct Standing<'a> {
    pub reader: &'a Reader,
    pub progress: Option<Progress>,
    /// What the journal has of it.
    row: Option<FileRow>,
}

/// Records in each state. A last line without its delimiter counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    pub delivered: u64,
    pub in_flight: u64,
    pub unread: u64,
    pub skipped: u64,
}

impl Readers {
    pub fn new(streams: &[DeliveryStreamConfig]) -> Result<Self, globset::Error> {
        streams.iter().filter_map(Reader::new).collect::<Result<_, _>>().map(Self)
    }

    /// Looks which files the globs match now. Blocks.
    pub fn scan(&mut self) {
        self.0.iter_mut().for_each(Reader::scan);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Reader> {
        self.0.iter()
    }

    /// How far each delivery stream concerned has come with an open file that is at `path`, by the journal as it was in
    /// `view`. Empty where no stream reads it.
    pub fn standings(&self, file: &File, path: &Path, view: &JournalView) -> io::Result<Vec<Standing<'_>>> {
        let key = FileKey::of(&file.metadata()?);
        let mut standings = Vec::new();
        for reader in &self.0 {
            let row = view.file(&reader.stream, key.device, key.inode);
            let progress = match row {
                Some(row) if is_file_of(row, &content_of(file, Some(row))?)? => {
                    // Behind the look at the journal: what has come since is unread.
                    let size = reader.text_size(&content_of(file, Some(row))?, row.checkpoint.offset())?;
                    // A file that was cut shorter this moment is another one.
                    (size >= row.checkpoint.offset()).then(|| Progress::new(row, size, reader.needs_copies))
                }
                Some(_) | None => None,
            };
            if progress.is_some() || reader.matches(&key, path) {
                standings.push(Standing { reader, progress, row: row.cloned() });
            }
        }
        Ok(standings)
    }
}

impl Reader {
    /// `None` of a delivery stream that reads no files.
    fn new(config: &DeliveryStreamConfig) -> Option<Result<Self, globset::Error>> {
        let source = config.source.file()?;
        Some(Discovery::new(source).map(|discovery| Self {
            stream: config.name.clone(),
            needs_copies: config.backup.as_ref().is_some_and(|backup| backup.mode == BackupMode::All),
            discovery,
            matched: HashMap::new(),
            source: source.clone(),
        }))
    }

    fn scan(&mut self) {
        // What cannot be read now is not read by the stream either, and is no file that could be asked about.
        let paths = self.discovery.scan().files;
        self.matched.clear();
        for (path, _) in paths {
            if let Ok(metadata) = std::fs::metadata(&path) {
                self.matched.entry(FileKey::of(&metadata)).or_insert(path);
            }
        }
    }

    /// Files whose deletion was interrupted, under the names that they have meanwhile. Blocks.
    pub fn left_aside(&self) -> Vec<PathBuf> {
        self.discovery.left_aside()
    }

    /// The files that the globs matched at the last scan.
    pub fn matched(&self) -> impl Iterator<Item = (&FileKey, &Path)> {
        self.matched.iter().map(|(key, path)| (key, path.as_path()))
    }

    /// Where the text of a file ends, of which everything before `from` is that: NULs behind it are no data.
    fn text_size(&self, content: &Content, from: u64) -> io::Result<u64> {
        file::text_end_by(&self.source, content, from)
    }

    /// By the path itself, and by any other path that leads to the same file.
    fn matches(&self, key: &FileKey, path: &Path) -> bool {
        self.matched.contains_key(key) || self.discovery.is_match(path)
    }
}

impl Standing<'_> {
    /// Whether the stream has delivered all of the file.
    pub fn is_complete(&self) -> bool {
        self.progress.as_ref().is_some_and(Progress::is_complete)
    }

    /// Whether a writer has given the file a size and nothing else yet: there are NULs alone in it.
    pub fn is_only_begun(&self, file: &File) -> io::Result<bool> {
        let is_empty = self.progress.as_ref().is_some_and(|progress| progress.size == 0);
        Ok(is_empty && !content_of(file, self.row.as_ref())?.is_unpacked())
    }

    /// How much there is in the file that could be delivered, in bytes.
    pub fn size(&self, file: &File) -> io::Result<u64> {
        match &self.progress {
            Some(progress) => Ok(progress.size),
            None => self.reader.text_size(&content_of(file, self.row.as_ref())?, 0),
        }
    }

    /// Whether what the stream reads of the file is all of it. Decompresses a compressed file.
    pub fn is_whole(&self, file: &File) -> io::Result<bool> {
        Ok(content_of(file, self.row.as_ref())?.is_whole())
    }

    /// Counts records as the stream's source cuts them. Reads the whole file.
    pub fn records(&self, file: &File) -> io::Result<Records> {
        let content = content_of(file, self.row.as_ref())?;
        let whole = Progress { size: self.size(file)?, checkpoint: 0, parts: Vec::new() };
        let progress = self.progress.as_ref().unwrap_or(&whole);
        let states: BTreeMap<u64, State> =
            progress.parts.iter().map(|part| (part.range.start.offset(), part.state)).collect();
        let cuts = progress.parts.iter().map(|part| part.range.end.offset()).collect();
        let mut records = Records::default();
        let evidence = self.row.as_ref().and_then(|row| Evidence::from_json(&row.evidence));
        let order = evidence.and_then(|evidence| evidence.order());
        file::for_each_record(Arc::new(content), &self.reader.source, order, progress.size, cuts, |start| {
            let state = states.range(..=start).next_back().map_or(State::Unread, |(_, &state)| state);
            match state {
                State::Delivered => records.delivered += 1,
                State::InFlight => records.in_flight += 1,
                State::Unread => records.unread += 1,
                State::Skipped => records.skipped += 1,
            }
        })?;
        Ok(records)
    }
}

/// What the source reads of an open file: of a compressed one that it knows, what it decompresses to.
fn content_of(file: &File, row: Option<&FileRow>) -> io::Result<Content> {
    let counted = CountedFile::new(file.try_clone()?);
    let evidence = row.and_then(|row| Evidence::from_json(&row.evidence));
    match (evidence.and_then(|evidence| evidence.packed()), Packing::by_magic(file)?) {
        (Some(packed), Some(packing)) => Content::unpacked(Arc::new(counted), packing, packed.unpacked),
        _ => Content::plain(counted),
    }
}

/// Whether an open file is the one of this row by its content; device and inode are equal. Without evidence nobody knows.
fn is_file_of(row: &FileRow, file: &Content) -> io::Result<bool> {
    match Evidence::from_json(&row.evidence) {
        Some(evidence) => evidence.matches(file, row.checkpoint.offset(), None),
        None => Ok(false),
    }
}
