//! The barrier for what concerns the whole node (rule 7), and the pause of writes for a failover: new writes park,
//! running ones end.
//!
//! Writers look at the gate while they hold their slot. Whoever closes it then takes every slot's lock once: after
//! that no writer is inside, and none gets in. Writers pay one load for it.

use crate::Engine;
use crate::command::{CommandError, CommandResult};
use crate::keyspace::{AllSlots, WaitFor};
use crate::options::{BARRIER_ROUNDS, BARRIER_TRIES};
use crate::session::SessionId;
use node_server_protocol::{Millis, Slot};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A worker gave up.
pub(crate) fn node_is_busy() -> CommandError {
    CommandError::text("BUSY A command has been holding its slot for too long; try again later")
}

/// Closed by a barrier.
const BARRIER: u8 = 1;
/// Closed by a pause.
const PAUSED: u8 = 2;

/// Whether writes may begin.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicU8,
    paused_until: AtomicU64,
    /// Held by the one barrier there may be.
    barrier: Mutex<()>,
}

impl Gate {
    /// Whether writes have to wait. Read with a slot's or the log's lock held.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != 0
    }

    /// While it lives no barrier begins, and so no snapshot; writes go on.
    pub(crate) fn exclude_barriers(&self) -> MutexGuard<'_, ()> {
        self.barrier.lock()
    }
}

/// No write is under way and none begins while this lives.
pub struct Barrier<'e> {
    engine: &'e Engine,
    _only: MutexGuard<'e, ()>,
}

impl Drop for Barrier<'_> {
    fn drop(&mut self) {
        self.engine.open_gate(BARRIER);
    }
}

impl Engine {
    /// Stops writes for an action that concerns the whole node. `None`: a write (or a long command) is still under
    /// way, and nothing has been stopped; try again in a while.
    pub fn try_barrier(&self) -> Option<Barrier<'_>> {
        let only = self.gate.barrier.try_lock()?;
        self.gate.closed.fetch_or(BARRIER, Ordering::SeqCst);
        let barrier = Barrier { engine: self, _only: only };
        self.no_writer_inside().then_some(barrier)
    }

    /// As [`Engine::try_barrier`], again and again, a millisecond apart: only on worker threads.
    pub(crate) fn wait_for_barrier(&self) -> Option<Barrier<'_>> {
        for _ in 0..BARRIER_TRIES {
            if let Some(barrier) = self.try_barrier() {
                return Some(barrier);
            }
            self.host.pause(1);
        }
        None
    }

    /// Every slot's lock (the databases' without cluster mode), again and again, a millisecond apart, so that a slot
    /// which is held for long keeps nobody from the others: only on worker threads.
    pub(crate) fn lock_all(&self) -> CommandResult<AllSlots<'_>> {
        for _ in 0..BARRIER_TRIES {
            if let Some(all) = self.keyspace.try_lock_all(Slot::all().take(usize::from(self.slots()))) {
                return Ok(all);
            }
            self.host.pause(1);
        }
        Err(node_is_busy())
    }

    /// Takes every slot's lock once.
    fn no_writer_inside(&self) -> bool {
        let mut busy: Vec<Slot> = Slot::all().filter(|s| self.keyspace.try_lock(*s).is_none()).collect();
        for _ in 0..BARRIER_ROUNDS {
            if busy.is_empty() {
                return true;
            }
            std::thread::yield_now();
            busy.retain(|s| self.keyspace.try_lock(*s).is_none());
        }
        busy.is_empty()
    }

    /// Holds back writes and whatever else makes the log grow, until [`Engine::resume_writes`] or `until`. May be
    /// called again with another time. Ask [`Engine::writes_settled`] when it has taken effect.
    pub fn pause_writes(&self, until: Millis) {
        self.gate.paused_until.store(until.0, Ordering::SeqCst);
        self.gate.closed.fetch_or(PAUSED, Ordering::SeqCst);
    }

    /// Lets writes go on.
    pub fn resume_writes(&self) {
        self.open_gate(PAUSED);
    }

    /// Whether writes are paused.
    #[must_use]
    pub fn writes_paused(&self) -> bool {
        self.gate.closed.load(Ordering::SeqCst) & PAUSED != 0
    }

    /// While writes are paused: the end of the log, once no write is under way; it stays the end until writes go on.
    /// `None`: ask again in a while.
    #[must_use]
    pub fn writes_settled(&self) -> Option<u64> {
        // A flush that had its barrier before the pause logs without a slot's lock; one that gets it later sees the pause.
        let _no_flush = self.gate.barrier.try_lock()?;
        (self.writes_paused() && self.no_writer_inside()).then(|| self.log.settled_end())
    }

    /// Ends a pause whose time is over.
    pub(crate) fn end_pause(&self, now: Millis) {
        if self.writes_paused() && now.0 >= self.gate.paused_until.load(Ordering::SeqCst) {
            self.resume_writes();
        }
    }

    fn open_gate(&self, bit: u8) {
        self.gate.closed.fetch_and(!bit, Ordering::SeqCst);
        if !self.gate.is_closed() {
            self.keyspace.wake(WaitFor::Writes);
        }
    }

    /// For a writer that holds its slot: true when it has been put on the list of those who wait for the gate.
    pub(crate) fn waits_for_gate(&self, session: SessionId) -> bool {
        if !self.gate.is_closed() {
            return false;
        }
        self.keyspace.waiters.push(WaitFor::Writes, session);
        if self.gate.is_closed() {
            return true;
        }
        self.keyspace.waiters.remove(WaitFor::Writes, session);
        false
    }
}
