//! One file of the model: what is on disk, and what Hydrant must know of it.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::support::Rng;
use crate::support::lines::LineId;

/// What is certain about Hydrant's knowledge of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    No,
    /// In an earlier life: it is in the journal, and found again as long as it has a name.
    Before,
    /// In this life: it is open, also without a name.
    Now,
}

pub struct ModelFile {
    /// Index of its log; probes belong to none.
    pub log: Option<usize>,
    /// `None` when it has no name any more.
    pub path: Option<PathBuf>,
    pub is_in_glob: bool,
    pub is_compressed: bool,
    pub is_copy: bool,
    /// The file that this copy was made of, while more may be read of that before the copy is seen.
    pub made_of: Option<usize>,
    /// More may have been read of its original than it holds before it was seen.
    pub is_short: bool,
    pub known: Known,
    /// Complete lines that are in it, those of the file it is a copy of included.
    pub lines: Vec<LineId>,
    pub torn: Option<Torn>,
    /// Of the lines that are written to it now.
    pub generation: u32,
    /// The writer's descriptor, with its offset.
    writer: Option<File>,
}

/// The head of a line, without the rest of it.
#[derive(Debug, Clone)]
pub struct Torn {
    pub id: LineId,
    written: usize,
}

impl Torn {
    /// What stands in the file.
    pub fn head(&self) -> String {
        self.id.text()[..self.written].to_owned()
    }
}

impl ModelFile {
    pub fn create(path: &Path, log: usize, generation: u32) -> Self {
        let writer = File::create_new(path).expect("a new file");
        Self { writer: Some(writer), ..Self::found(path, Some(log), generation, Vec::new()) }
    }

    /// A file that somebody else has made; nobody writes to it.
    pub fn found(path: &Path, log: Option<usize>, generation: u32, lines: Vec<LineId>) -> Self {
        Self {
            log,
            path: Some(path.to_owned()),
            is_in_glob: true,
            is_compressed: false,
            is_copy: false,
            made_of: None,
            is_short: false,
            known: Known::No,
            lines,
            torn: None,
            generation,
            writer: None,
        }
    }

    pub fn is_written(&self) -> bool {
        self.writer.is_some()
    }

    pub fn path(&self) -> &Path {
        self.path.as_deref().expect("only files with a name are chosen")
    }

    /// Bytes, without the room that it was given.
    pub fn size(&self) -> u64 {
        let content = std::fs::read(self.path()).expect("a file with a name");
        content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
    }

    /// So many NULs come behind its text, until they are written over.
    pub fn give_room(&self, bytes: u64) {
        let file = File::options().write(true).open(self.path()).expect("a file opened");
        file.set_len(self.size() + bytes).expect("a file with another size");
    }

    /// Completes the torn line, if there is one, and writes these lines; in two writes, if a place for the cut is given.
    pub fn write(&mut self, lines: &[LineId], rng: &mut Rng) -> Option<LineId> {
        let mut text = String::new();
        let completed = self.torn.take().map(|torn| {
            text.push_str(&torn.id.text()[torn.written..]);
            text.push('\n');
            torn.id
        });
        for line in lines {
            text.push_str(&line.text());
            text.push('\n');
        }
        let cut = if rng.one_in(2) { text.len() } else { rng.between(0, text.len() as u64 + 1) as usize };
        self.put(&text.as_bytes()[..cut]);
        self.put(&text.as_bytes()[cut..]);
        self.lines.extend(completed.iter().chain(lines).cloned());
        completed
    }

    /// Writes the head of a line, at least a byte and never all of it.
    pub fn tear(&mut self, id: LineId, rng: &mut Rng) {
        let text = id.text();
        let written = rng.between(1, text.len() as u64) as usize;
        self.put(&text.as_bytes()[..written]);
        self.torn = Some(Torn { id, written });
    }

    fn put(&mut self, bytes: &[u8]) {
        self.writer.as_mut().expect("only files with a writer are written").write_all(bytes).expect("bytes written");
    }

    /// The writer goes to another file: what is torn stays so.
    pub fn close(&mut self) {
        self.writer = None;
    }

    /// Somebody opens the file to append to it.
    pub fn open_writer(&mut self) {
        let mut file = File::options().write(true).open(self.path()).expect("a file opened");
        file.seek(std::io::SeekFrom::Start(self.size())).expect("its end");
        self.writer = Some(file);
    }

    /// Truncates the file to nothing. A writer that is not stale goes on at the beginning.
    pub fn truncate(&mut self, is_stale: bool) {
        let file = File::options().write(true).open(self.path()).expect("a file opened");
        file.set_len(0).expect("a file truncated");
        if let Some(writer) = self.writer.as_mut().filter(|_| !is_stale) {
            writer.rewind().expect("an offset");
        }
        self.lines.clear();
        self.torn = None;
    }

    pub fn rename(&mut self, to: &Path) {
        std::fs::rename(self.path(), to).expect("a file renamed");
        self.path = Some(to.to_owned());
    }
}
