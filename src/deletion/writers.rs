//! Whether anybody has a file open for writing.
//!
//! A read lease (`fcntl(2)`, `F_SETLEASE`) is granted only while nobody has, and whoever opens the file for writing waits
//! until it is given back. The kernel grants it to the file's owner and to `CAP_LEASE`; network file systems do not know
//! it. Where it cannot be had nothing is known: a source may have closed a quiet file, and then nobody would read what is
//! written to it after its name is gone.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Which signal announces a waiting writer; from Linux' `asm-generic/fcntl.h`, the `libc` crate has it not.
const F_SETSIG: libc::c_int = 10;

/// A file that is looked at. While this lives nobody new gets to write to it, if the kernel grants that.
pub struct Writers<'a> {
    file: &'a File,
    lease: Lease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    Granted,
    /// Somebody has the file open for writing.
    Refused,
    /// Not ours to ask for, or not known to the file system.
    Unknown,
}

impl<'a> Writers<'a> {
    /// Asks for the lease on a file that is open for reading alone.
    pub fn keep_out(file: &'a File) -> Self {
        // A waiting writer is announced by a signal. The usual one ends the process, this one is ignored by it.
        let announced = fcntl(file, F_SETSIG, libc::SIGURG);
        let lease = match announced.and_then(|()| fcntl(file, libc::F_SETLEASE, libc::F_RDLCK)) {
            Ok(()) => Lease::Granted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Lease::Refused,
            Err(_) => Lease::Unknown,
        };
        Self { file, lease }
    }

    pub fn is_open_for_writing(&self) -> bool {
        self.lease == Lease::Refused
    }

    /// Whether the lease still stands, and nobody waits to write: who waits has found the file by its name already.
    pub fn are_kept_out(&self) -> bool {
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and this command takes no argument.
        self.lease == Lease::Granted && unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) } == libc::F_RDLCK
    }

    /// Whether the kernel says nothing about this file's writers.
    pub fn are_unknown(&self) -> bool {
        self.lease == Lease::Unknown
    }
}

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        if self.lease == Lease::Granted {
            // Should that fail, closing the file gives the lease back.
            let _ = fcntl(self.file, libc::F_SETLEASE, libc::F_UNLCK);
        }
    }
}

fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and these commands take an integer, no pointer.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn of_what_grants_no_lease_the_writers_are_unknown() {
        let device = File::open("/dev/null").unwrap();
        let writers = Writers::keep_out(&device);
        assert!(writers.are_unknown() && !writers.is_open_for_writing());
    }

    #[test]
    fn a_writer_is_seen_while_it_has_the_file_open_and_a_reader_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        if Writers::keep_out(&file).lease == Lease::Unknown {
            println!("this file system grants no leases: nothing to be seen here");
            return;
        }
        assert!(Writers::keep_out(&file).is_open_for_writing());
        drop(writer);
        let _reader = File::open(&path).unwrap();
        assert_eq!(Writers::keep_out(&file).lease, Lease::Granted);
        let writers = Writers::keep_out(&file);
        assert!(writers.are_kept_out());
        // Who would not wait is refused; the kernel has announced it all the same.
        let at_once = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(&path);
        assert_eq!(at_once.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!writers.are_kept_out(), "somebody has come");
        drop(writers);
        // Given back: else opening it for writing would wait for as long as the kernel lets a lease live.
        let again = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(Writers::keep_out(&file).is_open_for_writing());
        drop(again);
    }
}
