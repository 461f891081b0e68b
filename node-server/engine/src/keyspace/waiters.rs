//! Sessions that wait for a slot, or for writes to go on. No thread waits: a session that finds its slot taken is put
//! on a list, and whoever lets go of the slot wakes the list.
//!
//! No wake-up is lost: the waiter puts itself on the list and tries again before it parks; the holder lets go and then
//! looks at the list. One of the two sees the other (both sides put a sequentially consistent fence in between).

use crate::session::SessionId;
use node_server_protocol::Slot;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitFor {
    /// The slot's lock.
    Slot(Slot),
    /// A key of the slot that is on its way to another node.
    Leaving(Slot),
    /// The end of a barrier or a pause of writes.
    Writes,
}

/// All lists. A session is on at most one, so their length is bounded by the number of connections (`maxclients`).
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
    lists: Mutex<BTreeMap<WaitFor, Vec<SessionId>>>,
}

impl Waiters {
    /// Puts a session on a list. The caller tries once more afterwards.
    pub fn push(&self, what: WaitFor, session: SessionId) {
        let mut lists = self.lists.lock();
        let list = lists.entry(what).or_default();
        if !list.contains(&session) {
            list.push(session);
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        drop(lists);
        fence(Ordering::SeqCst);
    }

    /// The session got what it waits for after all.
    pub fn remove(&self, what: WaitFor, session: SessionId) {
        let mut lists = self.lists.lock();
        let Some(list) = lists.get_mut(&what) else { return };
        let before = list.len();
        list.retain(|s| *s != session);
        self.count.fetch_sub(before - list.len(), Ordering::SeqCst);
        if list.is_empty() {
            lists.remove(&what);
        }
    }

    /// Takes a whole list, first come first.
    #[must_use]
    pub fn take(&self, what: WaitFor) -> Vec<SessionId> {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let list = self.lists.lock().remove(&what).unwrap_or_default();
        self.count.fetch_sub(list.len(), Ordering::SeqCst);
        list
    }
}
