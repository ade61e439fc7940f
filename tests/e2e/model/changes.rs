//! What the operations do to the files on disk, and what they make of the account.

use std::path::{Path, PathBuf};

use crate::support::Rng;
use crate::support::lines::LineId;

use super::file::{Known, ModelFile};
use super::operation::Operation;
use super::world::{LINKED, LOGS, World};

impl World {
    pub fn change_files(&mut self, operation: Operation, rng: &mut Rng) {
        let any = rng.between(0, LOGS as u64) as usize;
        let log = any % LINKED;
        match operation {
            Operation::Append => self.append(any, rng),
            Operation::TornAppend => self.append_torn(any, rng),
            Operation::GiveRoom => self.give_room(any, rng),
            Operation::Rotate => self.rotate(log, rng),
            Operation::RenameInGlob => self.rename_in_glob(log, rng),
            Operation::RenameOut => self.rename_out(log, rng),
            Operation::DeleteDelivered => self.delete_delivered(log, rng),
            Operation::Delete => self.delete_any(log, rng),
            Operation::Recreate => self.recreate(log, rng),
            Operation::Copytruncate => self.copytruncate(log, false, rng),
            Operation::CopytruncateStale => self.copytruncate(log, true, rng),
            Operation::CopyOnly => self.copy(log, rng),
            Operation::WriteToCopy => self.write_to_copy(log, rng),
            Operation::Gzip => self.compress(log, "gz", rng),
            Operation::Zstd => self.compress(log, "zst", rng),
            Operation::TruncateDelivered => self.truncate(log, true, rng),
            Operation::Truncate => self.truncate(log, false, rng),
            Operation::SwapLink => self.swap_link(rng),
            Operation::Terminate | Operation::Kill | Operation::Pause | Operation::Glimpse => {
                unreachable!("these change no file")
            }
        }
    }

    fn append(&mut self, log: usize, rng: &mut Rng) {
        let count = if rng.one_in(16) { rng.between(500, 2_000) } else { rng.between(1, 40) };
        let file = self.current(log);
        self.write(file, count, rng);
    }

    fn append_torn(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        self.write(file, rng.between(0, 5), rng);
        let id = self.new_line(file);
        self.note(format!("torn: {id:?}"));
        self.files[file].tear(id, rng);
    }

    fn give_room(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        let bytes = if rng.one_in(3) { 0 } else { rng.between(1, 20_000) };
        self.note(format!("{bytes} bytes of room"));
        self.files[file].give_room(bytes);
    }

    fn rotate(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        self.shift(log, rng);
        let to = self.log_path(log, ".1");
        self.files[file].rename(&to);
        self.logs[log].rotated.insert(0, Some(file));
        self.leave(log, rng);
    }

    fn rename_in_glob(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        let to = format!("-{}", self.name());
        let to = self.log_path(log, &to);
        self.files[file].rename(&to);
        self.leave(log, rng);
    }

    fn rename_out(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        let name = self.name();
        let to = format!("old-{}-{name}", self.logs[log].name);
        let to = self.scratch.logs().join(to);
        self.files[file].rename(&to);
        self.files[file].is_in_glob = false;
        self.leave(log, rng);
        self.give_up_torn(file);
        self.check_losses(&self.files[file].lines.clone());
    }

    fn delete_delivered(&mut self, log: usize, rng: &mut Rng) {
        let Some(file) = self.pick(log, rng, |_| true) else { return self.note("nothing to delete") };
        self.wait_for_lines(&self.files[file].lines.clone(), rng);
        self.delete(file, 0, rng);
    }

    fn delete_any(&mut self, log: usize, rng: &mut Rng) {
        let Some(file) = self.pick(log, rng, |_| true) else { return self.note("nothing to delete") };
        let late = if self.files[file].is_written() && rng.one_in(2) { rng.between(1, 6) } else { 0 };
        self.delete(file, late, rng);
    }

    fn recreate(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        let count = self.files[file].lines.len() as u64;
        self.delete(file, 0, rng);
        self.dawdle(rng);
        let file = self.current(log);
        self.write(file, count + rng.between(0, 20), rng);
    }

    fn copytruncate(&mut self, log: usize, is_stale: bool, rng: &mut Rng) {
        let file = self.current(log);
        // A hole of a single byte is data: nobody can tell.
        let is_stale = is_stale && self.files[file].size() != 1;
        self.shift(log, rng);
        let to = self.log_path(log, ".1");
        self.copy_slowly(file, &to, rng);
        let copy = self.twin(file, &to);
        self.files[copy].torn = self.files[file].torn.clone();
        self.logs[log].rotated.insert(0, Some(copy));
        // Hydrant may meet both in one walk before it has read of either, and then it cannot know.
        if self.life.is_up() {
            self.doubt_unless_read(file);
        }
        self.dawdle(rng);
        self.empty(file, is_stale);
        self.dawdle(rng);
        if rng.one_in(2) {
            self.write(file, rng.between(1, 40), rng);
        }
    }

    fn copy(&mut self, log: usize, rng: &mut Rng) {
        let file = self.current(log);
        self.write(file, 0, rng);
        let to = format!("-copy-{}", self.name());
        let to = self.log_path(log, &to);
        self.copy_slowly(file, &to, rng);
        let copy = self.twin(file, &to);
        self.files[copy].is_copy = true;
        self.files[copy].made_of = Some(file);
        self.doubt_unless_read(file);
    }

    fn write_to_copy(&mut self, log: usize, rng: &mut Rng) {
        let Some(copy) = self.pick(log, rng, |file| file.is_copy) else { return self.note("no copy to write to") };
        // Once its own lines follow, it is no beginning of the original any more; if that was longer, no copy of it.
        if self.files[copy].known == Known::No || self.files[copy].is_short {
            self.doubt(copy);
        }
        self.files[copy].open_writer();
        self.write(copy, rng.between(1, 10), rng);
        self.files[copy].close();
    }

    fn compress(&mut self, log: usize, extension: &str, rng: &mut Rng) {
        let is_plain = |file: &ModelFile| !file.is_compressed && !file.is_copy && file.torn.is_none();
        let is_fit = |file: &ModelFile| is_plain(file) && !file.is_written();
        let Some(plain) = self.pick(log, rng, is_fit) else { return self.note("nothing to compress") };
        let path = self.files[plain].path().to_owned();
        let to = PathBuf::from(format!("{}.{extension}", path.display()));
        let content = std::fs::read(&path).expect("a log read");
        let cut = if rng.one_in(2) { content.len() } else { rng.between(0, content.len() as u64 + 1) as usize };
        let bytes = [&content[..cut], &content[cut..]].map(|member| compressed(member, extension)).concat();
        let (head, tail) = bytes.split_at(rng.between(0, bytes.len() as u64) as usize);
        std::fs::write(&to, head).expect("the first half");
        self.dawdle(rng);
        crate::support::scratch::append(&to, tail);
        self.dawdle(rng);
        let twin = self.twin(plain, &to);
        self.files[twin].is_compressed = true;
        if self.life.is_up() {
            self.doubt_unless_read(plain);
        }
        for rotated in self.logs[log].rotated.iter_mut().filter(|file| **file == Some(plain)) {
            *rotated = Some(twin);
        }
        self.delete(plain, 0, rng);
    }

    fn truncate(&mut self, log: usize, is_delivered: bool, rng: &mut Rng) {
        let file = self.current(log);
        if is_delivered {
            self.wait_for_lines(&self.files[file].lines.clone(), rng);
        }
        self.give_up_torn(file);
        self.empty(file, false);
        self.dawdle(rng);
        if rng.one_in(2) {
            self.write(file, rng.between(1, 40), rng);
        }
    }

    fn swap_link(&mut self, rng: &mut Rng) {
        let file = self.current(LINKED);
        self.logs[LINKED].current = None;
        self.current(LINKED);
        self.files[file].is_in_glob = false;
        self.write_late(file, rng);
        self.give_up_torn(file);
        self.check_losses(&self.files[file].lines.clone());
    }

    /// The file that is written, made if there is none.
    fn current(&mut self, log: usize) -> usize {
        if let Some(file) = self.logs[log].current {
            return file;
        }
        let generation = self.new_generation(log);
        let path = self.log_path(log, "");
        let file = if log == LINKED {
            let target = self.scratch.logs().join(format!("targets/target-{generation}"));
            let file = ModelFile::create(&target, log, generation);
            let link = self.scratch.path("new-link");
            std::os::unix::fs::symlink(&target, &link).expect("a link");
            std::fs::rename(link, path).expect("a link renamed");
            file
        } else {
            ModelFile::create(&path, log, generation)
        };
        self.files.push(file);
        self.logs[log].current = Some(self.files.len() - 1);
        self.files.len() - 1
    }

    /// The current file has another name now: perhaps late writes, perhaps the next file at once.
    fn leave(&mut self, log: usize, rng: &mut Rng) {
        let Some(file) = self.logs[log].current.take() else { return };
        if rng.one_in(2) {
            self.current(log);
        }
        self.write_late(file, rng);
    }

    fn write_late(&mut self, file: usize, rng: &mut Rng) {
        self.dawdle(rng);
        if rng.one_in(2) {
            self.write(file, rng.between(0, 6), rng);
        }
        self.files[file].close();
    }

    /// What `cp` does, in two writes.
    fn copy_slowly(&mut self, file: usize, to: &Path, rng: &mut Rng) {
        let content = std::fs::read(self.files[file].path()).expect("a log read");
        let (head, tail) = content.split_at(rng.between(0, content.len() as u64 + 1) as usize);
        std::fs::write(to, "").expect("an empty copy");
        self.dawdle(rng);
        crate::support::scratch::append(to, head);
        self.dawdle(rng);
        crate::support::scratch::append(to, tail);
        self.dawdle(rng);
    }

    /// `.1` → `.2` and so on, which leaves `.1` free.
    fn shift(&mut self, log: usize, rng: &mut Rng) {
        for n in (0..self.logs[log].rotated.len()).rev() {
            let Some(file) = self.logs[log].rotated[n] else { continue };
            let extension = match self.files[file].path().extension() {
                Some(extension) if self.files[file].is_compressed => format!(".{}", extension.display()),
                _ => String::new(),
            };
            let to = self.log_path(log, &format!(".{}{extension}", n + 2));
            self.files[file].rename(&to);
            self.dawdle(rng);
        }
    }

    /// Takes the name from a file, then writes `late` lines to it.
    fn delete(&mut self, file: usize, late: u64, rng: &mut Rng) {
        self.note(format!("deletes {}", self.files[file].path().display()));
        std::fs::remove_file(self.files[file].path()).expect("a file deleted");
        self.files[file].path = None;
        for log in &mut self.logs {
            log.rotated.iter_mut().for_each(|rotated| *rotated = rotated.filter(|rotated| *rotated != file));
            log.current = log.current.filter(|current| *current != file);
        }
        if late > 0 {
            self.write(file, late, rng);
        }
        self.files[file].close();
        self.give_up_torn(file);
        self.check_losses(&self.files[file].lines.clone());
    }

    /// Truncates to nothing; what follows are lines of another generation.
    fn empty(&mut self, file: usize, is_stale: bool) {
        let lines = self.files[file].lines.clone();
        if self.files[file].torn.is_some() {
            self.account.has_losses = true;
        }
        self.files[file].truncate(is_stale);
        let log = self.files[file].log.expect("probes stay as they are");
        self.files[file].generation = self.new_generation(log);
        // What follows is another file to Hydrant, and it has to see that first.
        self.files[file].known = Known::No;
        self.check_losses(&lines);
    }

    /// A second file with the lines of the first.
    fn twin(&mut self, file: usize, path: &Path) -> usize {
        self.note(format!("{} → {}", self.files[file].path().display(), path.display()));
        let log = self.files[file].log.expect("probes are not copied");
        let generation = self.new_generation(log);
        let lines = self.files[file].lines.clone();
        self.shared.extend(lines.iter().map(|line| (line.log.clone(), line.generation)));
        self.files.push(ModelFile::found(path, Some(log), generation, lines));
        self.files.len() - 1
    }

    /// A copy is only known by what was read of the original.
    fn doubt_unless_read(&mut self, file: usize) {
        if !self.files[file].lines.iter().any(|line| self.delivered.has(line)) {
            self.doubt(file);
        }
    }

    fn doubt(&mut self, file: usize) {
        let lines = self.files[file].lines.clone();
        self.note(format!("{} lines may be doubled", lines.len()));
        for line in &lines {
            self.account.fate(line).may_be_doubled = true;
            self.account.doubted_bytes += line.text().len() as u64 + 1;
        }
        if let Some(torn) = &self.files[file].torn {
            self.account.allow_fragment(&torn.head());
            self.account.doubted_bytes += torn.head().len() as u64;
        }
    }

    /// Nobody completes the torn line any more, and nobody has to deliver its head.
    fn give_up_torn(&mut self, file: usize) {
        if let Some(torn) = self.files[file].torn.take() {
            self.account.has_losses = true;
            self.account.allow_fragment(&torn.head());
        }
    }

    fn write(&mut self, file: usize, count: u64, rng: &mut Rng) {
        let lines: Vec<_> = (0..count).map(|_| self.new_line(file)).collect();
        for copy in self.files.iter_mut().filter(|copy| copy.made_of == Some(file) && copy.known == Known::No) {
            copy.is_short = true;
        }
        let completed = self.files[file].write(&lines, rng);
        completed.iter().chain(&lines).for_each(|line| self.account.add(line));
        if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
            let path = self.files[file].path.clone().unwrap_or_default();
            let range = format!("{} generation {}: {} to {}", first.log, first.generation, first.number, last.number);
            self.note(format!("{} takes {range}", path.display()));
        }
    }

    fn new_line(&mut self, file: usize) -> LineId {
        let generation = self.files[file].generation;
        let log = &mut self.logs[self.files[file].log.expect("probes are not written to")];
        log.next += 1;
        LineId { log: log.name.clone(), generation, number: log.next - 1 }
    }

    fn new_generation(&mut self, log: usize) -> u32 {
        self.logs[log].generations += 1;
        self.logs[log].generations - 1
    }

    fn log_path(&self, log: usize, suffix: &str) -> PathBuf {
        self.scratch.logs().join(format!("{}{suffix}", self.logs[log].name))
    }

    /// One of the log's files that has a name and can be seen.
    fn pick(&self, log: usize, rng: &mut Rng, is_fit: impl Fn(&ModelFile) -> bool) -> Option<usize> {
        let fits = |file: &ModelFile| file.log == Some(log) && file.path.is_some() && file.is_in_glob && is_fit(file);
        let fit: Vec<usize> = (0..self.files.len()).filter(|&n| fits(&self.files[n])).collect();
        (!fit.is_empty()).then(|| fit[rng.between(0, fit.len() as u64) as usize])
    }
}

fn compressed(content: &[u8], extension: &str) -> Vec<u8> {
    use std::io::Write;
    if extension == "zst" {
        return zstd::stream::encode_all(content, 1).expect("zstd into memory");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("gzip into memory");
    encoder.finish().expect("gzip into memory")
}
