//! Where the pages of a row group wait until it is closed: Parquet wants each column in one piece, and rows bring all of them.
//!
//! Always true: what was put is taken back as it was. What the disk does not take stays in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::ParquetError;
use tracing::warn;

use crate::log_limit::LogLimit;

/// A smaller page, or what stands before one, is not worth a call of the system.
const PAGE_MIN: usize = 4096;

/// The pages of one Parquet file, a row group at a time.
#[derive(Debug, Clone)]
pub(super) struct Pages(Arc<Mutex<Room>>);

#[derive(Debug)]
struct Room {
    folder: PathBuf,
    /// Of the file, until it is open: it loses its name then, and ends with this process.
    name: String,
    /// Bytes that stay in memory.
    memory_max: usize,
    in_memory: usize,
    file: Option<File>,
    /// Bytes of the file that are in use.
    end: u64,
    /// How many are there.
    pages: usize,
    log: Arc<LogLimit>,
}

/// The pages of one column.
struct Column {
    room: Pages,
    pages: Vec<Place>,
    resident: usize,
}

enum Place {
    Memory(Bytes),
    File { start: u64, len: usize },
    Taken,
}

impl Pages {
    /// Up to `memory_max` bytes stay in memory, more go to a file in `folder`, for which `name` is free.
    pub fn new(folder: PathBuf, name: String, memory_max: u64, log: Arc<LogLimit>) -> Self {
        Self(Arc::new(Mutex::new(Room {
            folder,
            name,
            memory_max: usize::try_from(memory_max).unwrap_or(usize::MAX),
            in_memory: 0,
            file: None,
            end: 0,
            pages: 0,
            log,
        })))
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> parquet::errors::Result<Box<dyn PageStore>> {
        Ok(Box::new(Column { room: self.clone(), pages: Vec::new(), resident: 0 }))
    }
}

impl Room {
    fn place(&mut self, page: Bytes) -> Place {
        let len = page.len();
        if len >= PAGE_MIN && self.in_memory + len > self.memory_max {
            match self.write(&page) {
                Ok(start) => return Place::File { start, len },
                Err(error) => {
                    if let Some(failures) = self.log.failed() {
                        let folder = self.folder.display();
                        warn!(%error, %folder, failures, "pages of row groups stay in memory");
                    }
                }
            }
        }
        self.in_memory += len;
        // A page may come in a buffer that is larger than it.
        Place::Memory(Bytes::copy_from_slice(&page))
    }

    fn write(&mut self, page: &[u8]) -> io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                std::fs::create_dir_all(&self.folder)?;
                let path = self.folder.join(&self.name);
                let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
                std::fs::remove_file(&path)?;
                empty.insert(file)
            }
        };
        file.write_all_at(page, self.end)?;
        self.end += page.len() as u64;
        Ok(self.end - page.len() as u64)
    }

    /// The last page of a row group takes what the file holds with it.
    fn forget(&mut self) {
        self.pages -= 1;
        if self.pages == 0 {
            self.end = 0;
            if let Some(file) = &self.file
                && file.set_len(0).is_err()
            {
                self.file = None;
            }
        }
    }
}

impl PageStore for Column {
    fn put(&mut self, page: Bytes) -> parquet::errors::Result<PageKey> {
        let mut room = self.room.room();
        let place = room.place(page);
        room.pages += 1;
        drop(room);
        if let Place::Memory(page) = &place {
            self.resident += page.len();
        }
        self.pages.push(place);
        Ok(PageKey::new(self.pages.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> parquet::errors::Result<Bytes> {
        let place = self.pages.get_mut(key.get() as usize).map(|place| std::mem::replace(place, Place::Taken));
        let mut room = self.room.room();
        let page = match place {
            Some(Place::Memory(page)) => {
                room.in_memory -= page.len();
                self.resident -= page.len();
                page
            }
            Some(Place::File { start, len }) => {
                let mut page = vec![0; len];
                let file = room.file.as_ref().ok_or_else(|| ParquetError::General(String::from("no file of pages")))?;
                file.read_exact_at(&mut page, start)?;
                Bytes::from(page)
            }
            Some(Place::Taken) | None => return Err(ParquetError::General(format!("no page {}", key.get()))),
        };
        room.forget();
        Ok(page)
    }

    fn memory_size(&self) -> usize {
        self.resident
    }
}

impl Drop for Column {
    /// A row group that is given up takes its pages with it.
    fn drop(&mut self) {
        let mut room = self.room.room();
        for place in &self.pages {
            match place {
                Place::Memory(page) => room.in_memory -= page.len(),
                Place::File { .. } => {}
                Place::Taken => continue,
            }
            room.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(pages: &Pages) -> Column {
        Column { room: pages.clone(), pages: Vec::new(), resident: 0 }
    }

    #[test]
    fn pages_come_back_as_they_were_wherever_they_have_been() {
        let folder = tempfile::tempdir().unwrap();
        for folder in [folder.path().join("made"), PathBuf::from("/dev/null/nowhere")] {
            let pages = Pages::new(folder, String::from("p"), 20_000, Arc::default());
            for _ in 0..2 {
                let mut columns = [column(&pages), column(&pages)];
                let page = |n: usize| Bytes::from(vec![n as u8; [10, 15_000, 9_000, 10][n % 4]]);
                let keys: Vec<_> = (0..40).map(|n| columns[n % 2].put(page(n)).unwrap()).collect();
                for (n, key) in keys.into_iter().enumerate().rev() {
                    assert_eq!(columns[n % 2].take(key).unwrap(), page(n));
                    assert!(columns[n % 2].take(key).is_err());
                }
                assert_eq!((columns[0].memory_size(), columns[1].memory_size()), (0, 0));
                let room = pages.room();
                assert_eq!((room.in_memory, room.end, room.pages), (0, 0, 0));
            }
        }
    }

    #[test]
    fn a_column_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pages = Pages::new(folder.path().to_owned(), String::from("p"), 5_000, Arc::default());
        let mut column = column(&pages);
        for _ in 0..3 {
            column.put(Bytes::from(vec![1; 4_500])).unwrap();
        }
        assert_eq!((column.memory_size(), pages.room().end), (4_500, 9_000));
        drop(column);
        let room = pages.room();
        assert_eq!((room.in_memory, room.end, room.pages), (0, 0, 0));
        assert_eq!(room.file.as_ref().unwrap().metadata().unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
    }
}
