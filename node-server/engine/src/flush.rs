//! FLUSHALL and FLUSHDB.

use crate::Engine;
use crate::command::{CommandError, CommandResult};
use crate::effects::Effects;
use crate::execute::READ_ONLY;
use crate::gate::{Barrier, node_is_busy};
use crate::keyspace::{AllSlots, Expired, Keys, SlotGuard, Table, WaitFor};
use crate::log::put_command;
use crate::options::BARRIER_TRIES;
use crate::session::{Session, SessionId};
use node_server_protocol::{Millis, Slot};
use std::sync::atomic::Ordering;

impl Engine {
    /// The database that the command `name` empties; `None`: all of them.
    pub(crate) fn flushed_by(&self, session: &Session, name: &[u8]) -> Option<u16> {
        (!self.is_cluster() && name.eq_ignore_ascii_case(b"FLUSHDB")).then_some(session.db)
    }

    /// Removes all keys, or those of database `only`, behind a barrier: on a worker thread.
    pub(crate) fn flush(
        &self,
        session: &mut Session,
        name: &[u8],
        only: Option<u16>,
        now: Millis,
    ) -> CommandResult {
        let barrier = self.barrier_for_flush(session.id)?;
        let mut record = Vec::new();
        put_command(&mut record, &[name]);
        self.changes.fetch_add(1, Ordering::Relaxed);
        let end = self.log.append(&record, only.unwrap_or(session.db), || !self.is_replica());
        session.last_write = end.ok_or(CommandError::text(READ_ONLY))?;
        // Before anybody sees that keys are gone.
        self.all_logged(only, session.last_write);
        let slots = Slot::all().filter(|s| only.is_none_or(|db| db == s.number()));
        let mut removed = Vec::new();
        for slot in slots.filter(|s| self.keyspace.slot_len(*s) > 0) {
            let mut guard = self.keyspace.lock(slot);
            removed.push(self.empty(&mut guard, now));
        }
        drop(barrier);
        self.host.log_grew();
        // Freed here, without any lock.
        drop(removed);
        Ok(())
    }

    /// What is told of any slot, or of database `only`, depends on the log up to `end` from now on.
    pub(crate) fn all_logged(&self, only: Option<u16>, end: u64) {
        if self.durability.holds() {
            let slots = Slot::all().filter(|s| only.is_none_or(|db| db == s.number()));
            slots.for_each(|slot| self.keyspace.set_logged(slot, end));
        }
    }

    fn barrier_for_flush(&self, session: SessionId) -> CommandResult<Barrier<'_>> {
        for _ in 0..BARRIER_TRIES {
            if self.waits_for_gate(session) {
                return Err(CommandError::Wait(WaitFor::Writes));
            }
            let barrier = self.wait_for_barrier().ok_or_else(node_is_busy)?;
            // The barrier does not stop a flush; a pause that began meanwhile does. So do keys that are on their way:
            // they would come to life again at their target.
            if !self.writes_paused() && self.leaving.load(Ordering::SeqCst) == 0 {
                return Ok(barrier);
            }
            drop(barrier);
            self.host.pause(1);
        }
        Err(node_is_busy())
    }

    /// Every slot's lock while no key is on its way, which a flush would bring to life again at its target: only on
    /// worker threads.
    pub(crate) fn lock_all_without_leaving(&self) -> CommandResult<AllSlots<'_>> {
        for _ in 0..BARRIER_TRIES {
            let all = self.lock_all()?;
            if self.leaving.load(Ordering::SeqCst) == 0 {
                return Ok(all);
            }
            drop(all);
            self.host.pause(1);
        }
        Err(node_is_busy())
    }

    /// The same under locks that are held already.
    pub(crate) fn flush_held<'k>(&'k self, all: &mut AllSlots<'k>, only: Option<u16>, now: Millis) {
        for guard in all.iter_mut().filter(|g| only.is_none_or(|db| db == g.slot().number())) {
            self.empty(guard, now);
        }
    }

    fn empty<'k>(&'k self, guard: &mut SlotGuard<'k>, now: Millis) -> Table {
        let session = Session::master();
        let mut none = Effects::off();
        Keys::new(&self.keyspace, guard, &mut none, now, Expired::Ignore, &session).remove_all()
    }
}
