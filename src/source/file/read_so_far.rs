//! How far a file was read, and by which bytes it is known to be the same file still.
//!
//! Always true: the hash covers exactly the bytes before `position`, or there is none; `recent` are the last of them.

use std::io;

use super::content::Content;
use super::prefix::Prefix;

/// Bytes before the position that are kept of a file that is being written.
const RECENT: usize = 16 << 10;
/// Of these, what is compared before more is read: a file that was truncated and has grown again differs in it.
pub(super) const CHECKED: usize = 512;
/// Position, hash and last bytes of a file that is read.
pub(super) struct ReadSoFar {
    pub(super) position: u64,
    /// `None` when it could not be kept up: no copy is known by it then.
    pub(super) prefix: Option<Prefix>,
    /// The last bytes before `position`.
    pub(super) recent: Vec<u8>,
    /// The first bytes that were seen at or behind `position` and not read yet, and where they stand. They are kept only
    /// where `recent` tells one content from another no better than nothing does.
    pub(super) ahead: (u64, Vec<u8>),
}

impl ReadSoFar {
    /// What is compared before more is read.
    pub(super) fn checked(&self) -> &[u8] {
        &self.recent[self.recent.len().saturating_sub(CHECKED)..]
    }

    /// A hole may be that of any writer that went on at its old offset.
    pub(super) fn says_nothing(&self) -> bool {
        self.checked().iter().all(|&byte| byte == 0)
    }

    /// Whether a content has the bytes that were seen behind the position. Where NULs were seen, somebody may have written since.
    pub(super) fn has_ahead(&self, content: &Content) -> io::Result<bool> {
        let (at, ahead) = &self.ahead;
        if ahead.is_empty() || *at < self.position {
            return Ok(true);
        }
        let mut there = Vec::with_capacity(ahead.len());
        content.read(&mut there, *at, ahead.len() as u64)?;
        Ok(there.len() == ahead.len() && ahead.iter().zip(&there).all(|(&seen, &now)| seen == 0 || seen == now))
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        let Some(prefix) = &mut self.prefix else { return };
        prefix.update(data);
        self.position = self.position.max(prefix.at());
        let kept = RECENT.saturating_sub(data.len()).min(self.recent.len());
        self.recent.drain(..self.recent.len() - kept);
        self.recent.extend_from_slice(&data[data.len().saturating_sub(RECENT)..]);
    }
}
