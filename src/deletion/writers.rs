//! Whether anybody has a file open for writing.
//!
//! A read lease (`fcntl(2)`, `F_SETLEASE`) is granted only while nobody has, and whoever opens the file for writing waits
//! until it is given back. The kernel grants it to the file's owner and to `CAP_LEASE`; network file systems do not know
//! it. Where it cannot be asked for nothing is known, and how long the file was left alone has to be enough.

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
        // Given back: else opening it for writing would wait for as long as the kernel lets a lease live.
        let again = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(Writers::keep_out(&file).is_open_for_writing());
        drop(again);
    }
}
