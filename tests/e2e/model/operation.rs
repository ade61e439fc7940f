//! What can happen to logs and to Hydrant, and random sequences of it that follow from a seed alone.

use crate::support::Rng;

/// One kind of thing that happens. The demands that each makes stand in the documentation of [`super`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Whole lines, in one write or two.
    Append,
    /// Lines and the head of one whose rest comes with the next write, if it comes.
    TornAppend,
    /// The log gets room behind its text, or less than it had, or none: its writer goes on at the end of the text.
    GiveRoom,
    /// `app.log` → `app.log.1` → `app.log.2` …, and perhaps late writes through the old descriptor.
    Rotate,
    /// `app.log` → `app.log-7`, a name that stays.
    RenameInGlob,
    /// `app.log` → `old-app.log-7`, which no glob matches.
    RenameOut,
    /// Once all of it was delivered.
    DeleteDelivered,
    /// Whether or not it was read; perhaps with late writes to the file without a name.
    Delete,
    /// Deleted and created at once under the same name, with more in it; on ext4 with the same inode if nobody has it open.
    Recreate,
    /// Shift, copy to `app.log.1`, truncate; the writer goes on at the beginning, as with O_APPEND.
    Copytruncate,
    /// The same with a writer that goes on at its old offset: a run of NUL bytes comes before its lines.
    CopytruncateStale,
    /// A copy `app.log-copy-7`, while the writer goes on in the original.
    CopyOnly,
    /// New lines of its own at the end of such a copy.
    WriteToCopy,
    /// `app.log.1` → `app.log.1.gz` in several writes, of one member or two, then the plain file is deleted.
    Gzip,
    /// The same with zstd.
    Zstd,
    /// Truncated once all of it was delivered.
    TruncateDelivered,
    Truncate,
    /// A link `app-2.log` is set on another file by a rename.
    SwapLink,
    /// SIGTERM; Hydrant is started again some operations later.
    Terminate,
    /// SIGKILL; likewise.
    Kill,
    /// Waits until all that is there is delivered.
    Pause,
    /// Waits until a little more is delivered.
    Glimpse,
}

use Operation::{
    Append, CopyOnly, Copytruncate, CopytruncateStale, Delete, DeleteDelivered, GiveRoom, Glimpse, Gzip, Kill, Pause,
    Recreate, RenameInGlob, RenameOut, Rotate, SwapLink, Terminate, TornAppend, Truncate, TruncateDelivered,
    WriteToCopy, Zstd,
};

impl Operation {
    pub const ALL: [Self; 22] = [
        Append,
        TornAppend,
        GiveRoom,
        Rotate,
        RenameInGlob,
        RenameOut,
        DeleteDelivered,
        Delete,
        Recreate,
        Copytruncate,
        CopytruncateStale,
        CopyOnly,
        WriteToCopy,
        Gzip,
        Zstd,
        TruncateDelivered,
        Truncate,
        SwapLink,
        Terminate,
        Kill,
        Pause,
        Glimpse,
    ];

    /// How often it is drawn, against the others.
    fn weight(self) -> u64 {
        match self {
            Append => 12,
            TornAppend | Pause => 5,
            Rotate | Kill | Glimpse | Copytruncate | Gzip => 4,
            GiveRoom | RenameInGlob | RenameOut | DeleteDelivered | Delete | Recreate | CopytruncateStale
            | CopyOnly | WriteToCopy | Zstd | TruncateDelivered | Truncate | SwapLink | Terminate => 2,
        }
    }

    fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|operation| format!("{operation:?}") == name);
        found.unwrap_or_else(|| panic!("no operation `{name}`; there are {:?}", Self::ALL))
    }

    /// From `HYDRANT_MODEL_OPERATIONS`, names with commas between; else all.
    pub fn chosen() -> Vec<Self> {
        match std::env::var("HYDRANT_MODEL_OPERATIONS") {
            Ok(names) => names.split(',').map(|name| Self::named(name.trim())).collect(),
            Err(_) => Self::ALL.to_vec(),
        }
    }
}

/// An operation with the random number that all its choices follow from.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub operation: Operation,
    pub dice: u64,
}

/// 10 to 60 operations.
pub fn sequence(operations: &[Operation], seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let length = rng.between(10, 61);
    (0..length).map(|_| Step { operation: draw(operations, &mut rng), dice: rng.next() }).collect()
}

fn draw(operations: &[Operation], rng: &mut Rng) -> Operation {
    let total = operations.iter().map(|operation| operation.weight()).sum();
    let mut left = rng.between(0, total);
    for &operation in operations {
        match left.checked_sub(operation.weight()) {
            Some(rest) => left = rest,
            None => return operation,
        }
    }
    unreachable!("the weights add up to the total")
}
