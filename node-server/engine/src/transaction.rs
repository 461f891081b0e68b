//! MULTI, EXEC, DISCARD, WATCH: the state that a session keeps.

use crate::command::{Command, Flags};
use node_server_protocol::Slot;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request that waits for EXEC.
pub(crate) struct Queued {
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} arguments", self.command.spec.name, self.args.len())
    }
}

/// An open MULTI.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    pub queue: Vec<Queued>,
    /// Bytes of all arguments.
    pub bytes: usize,
    /// A command could not be queued: EXEC will refuse.
    pub aborted: bool,
}

impl Multi {
    /// Whether the cluster core answers what is queued; `None`: nothing is.
    pub(crate) fn is_by_core(&self) -> Option<bool> {
        self.queue.first().map(Queued::is_by_core)
    }
}

impl Queued {
    fn is_by_core(&self) -> bool {
        self.command.spec.flags.has(Flags::BY_CORE)
    }
}

/// A key that the session watches.
#[derive(Debug)]
pub(crate) struct Watched {
    pub slot: Slot,
    pub key: Vec<u8>,
    /// The key's counter of changes, shared with the slot.
    pub counter: Arc<AtomicU64>,
    /// What it was when WATCH was sent.
    pub seen: u64,
    /// The key was there, so its expiry is a change.
    pub existed: bool,
}

impl Watched {
    /// Whether the key was changed since.
    pub(crate) fn is_changed(&self) -> bool {
        self.counter.load(Ordering::Acquire) != self.seen
    }
}
