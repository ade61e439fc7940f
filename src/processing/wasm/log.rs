//! What guests say, in Hydrant's log: with the stream's and the component's name, and never more than somebody can read.
//!
//! Always true: whatever a guest writes is one line of bounded length in which nothing can pass for another line; of very many
//! some are left out, which is said with their number.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, error, info, warn};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::bindings::Level;

const LINE_BYTES_MAX: usize = 2048;
/// Lines that may be written in one [`WINDOW`] for each `wasm` step.
const LINES_MAX: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);

/// One line of a guest's.
pub(super) struct Line {
    level: Level,
    text: String,
}

impl Line {
    pub fn new(level: Level, message: &str) -> Self {
        Self { level, text: printable(message, LINE_BYTES_MAX) }
    }
}

/// Without control characters, and cut where it is longer than `bytes_max`.
pub(super) fn printable(message: &str, bytes_max: usize) -> String {
    let mut text = String::new();
    for character in message.trim_end().chars() {
        if text.len() >= bytes_max {
            text.push('…');
            break;
        }
        if character.is_control() && character != '\t' {
            let _ = write!(text, "{}", character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// Where the guests of one `wasm` step write. Cheap to clone.
#[derive(Clone)]
pub struct GuestLog {
    stream: Arc<str>,
    component: Arc<str>,
    window: Arc<Mutex<Window>>,
}

struct Window {
    begun: Instant,
    written: u32,
    left_out: u64,
}

impl GuestLog {
    pub fn new(stream: &str, component: &str) -> Self {
        let window = Window { begun: Instant::now(), written: 0, left_out: 0 };
        Self { stream: stream.into(), component: component.into(), window: Arc::new(Mutex::new(window)) }
    }

    pub(super) fn write(&self, line: &Line) {
        if !self.may_write() {
            return;
        }
        let (stream, component, message) = (&*self.stream, &*self.component, &line.text);
        match line.level {
            Level::Debug => debug!(stream, component, "{message}"),
            Level::Info => info!(stream, component, "{message}"),
            Level::Warn => warn!(stream, component, "{message}"),
            Level::Error => error!(stream, component, "{message}"),
        }
    }

    fn may_write(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begun.elapsed() >= WINDOW {
            let left_out = window.left_out;
            *window = Window { begun: Instant::now(), written: 0, left_out: 0 };
            if left_out > 0 {
                warn!(stream = %self.stream, component = %self.component, left_out, "lines of the component were left out of the log");
            }
        }
        let may = window.written < LINES_MAX;
        if may {
            window.written += 1
        } else {
            window.left_out += 1
        }
        may
    }

    /// A guest's standard output or error, line by line.
    pub(super) fn lines(&self, name: &'static str) -> Lines {
        Lines { log: self.clone(), name, partial: Arc::default() }
    }
}

/// Collects lines that arrive in pieces; what is left of the last one when the instance ends is written too.
#[derive(Clone)]
pub(super) struct Lines {
    log: GuestLog,
    name: &'static str,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    fn take(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = (4 * LINE_BYTES_MAX).saturating_sub(partial.len());
            partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.write_line(&mut partial);
            }
        }
    }

    fn write_line(&self, partial: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(partial);
        if !text.trim().is_empty() {
            self.log.write(&Line::new(Level::Info, &format!("{}: {text}", self.name)));
        }
        partial.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if Arc::strong_count(&self.partial) == 1 {
            let mut partial = std::mem::take(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner));
            self.write_line(&mut partial);
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 takes this one, which no component here can import.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(printable("a\nb\u{1b}[31m\tc\n", 100), "a\\nb\\u{1b}[31m\tc");
        assert_eq!(printable("äöü", 3), "äö…");
    }

    #[test]
    fn very_many_lines_are_left_out_and_counted() {
        let log = GuestLog::new("s", "c");
        let written = (0..1000).filter(|_| log.may_write()).count();
        assert_eq!(written as u32, LINES_MAX);
        assert_eq!(log.window.lock().unwrap().left_out, 1000 - u64::from(LINES_MAX));
    }

    #[test]
    fn pieces_of_a_line_come_together() {
        let lines = GuestLog::new("s", "c").lines("stderr");
        lines.take(b"one\ntw");
        assert_eq!(*lines.partial.lock().unwrap(), b"tw");
        lines.take(b"o\n");
        assert!(lines.partial.lock().unwrap().is_empty());
        lines.take(&vec![b'x'; 1 << 20]);
        assert_eq!(lines.partial.lock().unwrap().len(), 4 * LINE_BYTES_MAX);
    }
}
