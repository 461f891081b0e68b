//! What a [`super::Scanner`] hands out.

use super::AofError;
use super::frame::frame;
use super::seal::{RunningCrc, Seal};

/// One thing in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A command with its arguments.
    Command(Vec<Vec<u8>>),
    /// `#TS:`: what follows was written at this Unix second (`aof-timestamp-enabled`).
    Timestamp(u64),
}

/// What is handed out at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A stretch that is what was written.
    Sealed {
        /// In order.
        records: Vec<Record>,
        /// What was said about it.
        seal: Seal,
    },
    /// One command or one transaction of a file that has no seal so far.
    Loose(Vec<Record>),
}

/// The tail is not whole. The reasons are those of [`AofError::Torn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where the first thing begins that is not whole.
    pub at: u64,
    /// The length to truncate the file to.
    pub complete_until: u64,
}

impl From<Torn> for AofError {
    fn from(Torn { at, complete_until }: Torn) -> Self {
        Self::Torn { at, complete_until }
    }
}

/// Where writing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Length of the file, after it is truncated if it is torn.
    pub len: u64,
    /// Of what is there behind the last seal.
    pub crc: RunningCrc,
}

/// The end of the file. Whether its tail is used is for the caller to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Ending {
    /// Whole commands that no seal stands behind.
    pub tail: Vec<Record>,
    /// Behind the tail: for who uses it.
    pub resume: Resume,
    /// What a seal proves ends here: for who does not. In a file without seals that is its beginning.
    pub proved: Resume,
    /// So many of the tail stand before that: a seal within a transaction proves what is before its MULTI.
    pub proved_tail: usize,
    /// What follows the tail is not whole.
    pub torn: Option<Torn>,
    /// Not a cut alone: what was sealed there, or whole bytes between others, are not what was written.
    pub wrong: bool,
}

/// Where the first thing stands that was written behind a given second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later {
    /// The annotation that says so, or, where it stands in a transaction, that one's beginning.
    pub at: u64,
    /// Whether the file holds nothing before it: what was before that second is not known then.
    pub is_first: bool,
}

/// A record that was read before.
pub(super) fn record(bytes: &[u8]) -> Record {
    if let Some(second) = timestamp(bytes) {
        return Record::Timestamp(second);
    }
    let mut args = Vec::new();
    // Its frame was found when it was read.
    let _ = frame(bytes, |arg| args.push(arg.to_vec()));
    Record::Command(args)
}

/// The annotation that what follows was written at this Unix second. As redis-server writes it (aof.c:
/// genAofTimestampAnnotationIfNeeded).
#[must_use]
pub fn timestamp_line(second: u64) -> Vec<u8> {
    format!("#TS:{second}\r\n").into_bytes()
}

pub(super) fn timestamp(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.strip_prefix(b"#TS:")?).ok()?.trim_end().parse().ok()
}
