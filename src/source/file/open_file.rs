//! A file that is open, and what is expected of it.
//!
//! Always true: it is quiet or done with only when all of it is read and settled.

use std::io;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::failpoint;
use crate::record::SourcePartition;

use super::tail::Tail;

/// After an error of the file system, until the file is tried again.
pub const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// How long a file that was rotated or left the globs may go without growing; then its last line counts as complete.
const LINGER: Duration = Duration::from_secs(300);
const LINGER_DELETED: Duration = Duration::from_secs(30);
/// A file that is open.
pub struct OpenFile {
    pub tail: Tail,
    /// With `--drain`: where the present end was, and whether it has been reached.
    pub target: u64,
    pub is_done: bool,
    /// Whether the globs matched it at the last scan.
    pub(super) is_matched: bool,
    /// Whether it is a rotated file, as far as the last scan has looked.
    pub(super) is_rotated: bool,
    pub(super) last_growth: Instant,
    /// Not before this moment, after an error.
    pub(super) not_before: Option<Instant>,
}

impl OpenFile {
    pub(super) fn new(tail: Tail) -> Self {
        let last_growth = Instant::now();
        Self {
            tail,
            target: u64::MAX,
            is_done: false,
            is_matched: true,
            is_rotated: false,
            last_growth,
            not_before: None,
        }
    }

    /// Whether a look finds that what was read is not there any more.
    pub(super) fn is_truncated(&mut self) -> bool {
        let before = self.tail.size;
        let seen = self.tail.look();
        if self.tail.size != before {
            self.last_growth = Instant::now();
        }
        matches!(seen, Ok(false))
    }

    /// Whether it waits for nothing but to be written to.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_matched && self.owes_nothing() && !self.tail.may_have_more()
    }

    /// Whether all of it is read and settled.
    pub(super) fn owes_nothing(&self) -> bool {
        !self.tail.is_deleted && self.tail.behind() == 0 && self.tail.file.is_settled(self.tail.position)
    }

    /// Whether a read would bring something.
    pub fn is_due(&self, now: Instant, drain: bool) -> bool {
        if self.not_before.is_some_and(|moment| now < moment) {
            return false;
        }
        let is_complete = || self.is_left(now) || self.tail.quiet_at().is_some_and(|moment| now >= moment);
        if drain { !self.is_done } else { self.tail.has_news() || (self.tail.behind() > 0 && is_complete()) }
    }

    /// After an error of the file system: the file is left alone for a moment.
    pub fn postpone(&mut self, error: &io::Error) {
        warn!(path = self.tail.file.name(), %error, "a file cannot be read at this moment; it is tried again");
        self.not_before = Some(Instant::now() + ERROR_PAUSE);
    }

    /// Whether nobody is expected to write to the file any more, so that its last line is complete as it stands.
    pub fn is_left(&self, now: Instant) -> bool {
        if self.tail.file.content().is_ok_and(|content| content.is_whole_as_it_is()) {
            return true;
        }
        let linger = match (self.is_matched, self.tail.is_deleted) {
            (_, true) => LINGER_DELETED,
            (false, false) => LINGER,
            (true, false) if self.is_rotated => LINGER,
            (true, false) => return false,
        };
        now.duration_since(self.last_growth) >= failpoint::wait(linger)
    }

    pub(super) fn is_finished(&self, now: Instant) -> bool {
        let is_here = self.is_matched && !self.tail.is_deleted;
        // Behind NULs there may be text that was not looked for yet.
        let is_read = self.tail.behind() == 0 && !self.tail.may_have_more();
        !is_here && self.is_left(now) && is_read && self.tail.file.is_settled(self.tail.position)
    }
}
