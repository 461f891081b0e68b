//! Work that no client asks for: expiration, records that belong to no key, keys of lost slots.

use crate::Engine;
use crate::effects::Effects;
use crate::keyspace::{Expired, Keys};
use crate::log::put_command;
use crate::options::EXPIRE_BATCH;
use crate::session::{Origin, Session, SessionId};
use node_server_protocol::{Millis, Slot, SlotSet};

/// Most keys in one DEL record.
const DELETE_BATCH: usize = 1024;

impl Engine {
    /// To be called every 100 ms or sooner: ends a pause whose time is over and deletes up to `budget` keys whose time
    /// has passed (a master does; a replica, a paused master and one that reads its files do not). Returns how many. Skips slots that are locked.
    pub fn tick(&self, now: Millis, budget: usize) -> usize {
        self.end_pause(now);
        if self.is_replica() || self.is_loading_files() {
            return 0;
        }
        let mut left = budget;
        for slot in self.keyspace.due(now) {
            if left == 0 {
                self.keyspace.expire_from(slot);
                break;
            }
            // Batch after batch, so that others get at the slot in between.
            loop {
                let batch = left.min(EXPIRE_BATCH);
                let deleted = self.expire_slot(slot, batch, now);
                left -= deleted;
                if deleted < batch || left == 0 {
                    break;
                }
            }
        }
        if left < budget {
            self.host.log_grew();
        }
        budget - left
    }

    fn expire_slot(&self, slot: Slot, max: usize, now: Millis) -> usize {
        let Some(mut guard) = self.keyspace.try_lock(slot) else { return 0 };
        let mut session = internal_session();
        let expired = self.expired(&session, &guard, self.gate.is_closed());
        if expired != Expired::Delete {
            return 0;
        }
        let mut effects = Effects::new(Vec::new());
        let deleted =
            Keys::new(&self.keyspace, &mut guard, &mut effects, now, expired, &session).delete_expired(max);
        self.log_effects(&mut session, &guard, &mut effects);
        deleted
    }

    /// Appends PING to the log of a master, for its replicas. False while writes are held back or on a replica.
    pub fn append_ping(&self) -> bool {
        self.append_record(&[b"PING"]).is_some()
    }

    /// Appends `REPLCONF GETACK *`: every replica acknowledges at once.
    pub fn append_getack(&self) -> bool {
        self.append_record(&[b"REPLCONF", b"GETACK", b"*"]).is_some()
    }

    /// Appends a record that belongs to no key, such as CLUSTER SETSLOT; the offset behind it. `None` on a replica and
    /// while writes are held back or the files of the start are read.
    pub fn append_record(&self, args: &[&[u8]]) -> Option<u64> {
        let mut record = Vec::new();
        put_command(&mut record, args);
        let may_log = || !self.is_replica() && !self.gate.is_closed() && !self.is_loading_files();
        let end = self.log.append_plain(&record, may_log);
        if end.is_some() {
            self.host.log_grew();
        }
        end
    }

    /// Deletes all keys of slots that this node has lost, and logs it. A slot that it may write by now is left alone.
    /// Waits for slots: not on a data thread. Returns how many keys there were. On a replica nothing is deleted: its
    /// master does.
    pub fn drop_slots(&self, slots: &SlotSet, now: Millis) -> u64 {
        if self.is_replica() {
            return 0;
        }
        let dropped =
            slots.iter().filter(|s| self.keyspace.slot_len(*s) > 0).map(|s| self.drop_slot(s, now)).sum();
        if dropped > 0 {
            self.host.log_grew();
        }
        dropped
    }

    fn drop_slot(&self, slot: Slot, now: Millis) -> u64 {
        let mut guard = self.keyspace.lock(slot);
        if guard.state().writable() || self.gate.is_closed() {
            return 0;
        }
        let session = internal_session();
        let mut effects = Effects::off();
        let removed =
            Keys::new(&self.keyspace, &mut guard, &mut effects, now, Expired::Ignore, &session).remove_all();
        let names: Vec<&[u8]> = removed.iter().map(crate::keyspace::Entry::key).collect();
        let mut records = Vec::new();
        for batch in names.chunks(DELETE_BATCH) {
            let mut record: Vec<&[u8]> = vec![b"DEL"];
            record.extend(batch);
            put_command(&mut records, &record);
        }
        if self.log.append(&records, 0, || !self.is_replica()).is_none() {
            self.set_needs_full_resync();
        }
        guard.wake_leaving();
        removed.len() as u64
    }

    /// Deletes everything without logging it (CLUSTER RESET of a replica; a data set that is void), and begins the log
    /// anew in the history `replid`. Waits for slots: not on a data thread. Returns how many keys there were.
    pub fn forget_all(&self, replid: String, now: Millis) -> u64 {
        // A snapshot that began now would show a part of it, at an offset of the old history.
        let _no_snapshot = self.gate.exclude_barriers();
        let dropped = self.drop_all(now);
        self.restart_log(replid, 0, 0);
        self.clear_full_resync();
        dropped
    }

    fn drop_all(&self, now: Millis) -> u64 {
        let session = internal_session();
        let mut dropped = 0;
        for slot in Slot::all().filter(|s| self.keyspace.slot_len(*s) > 0) {
            let mut guard = self.keyspace.lock(slot);
            let mut none = Effects::off();
            let removed =
                Keys::new(&self.keyspace, &mut guard, &mut none, now, Expired::Ignore, &session).remove_all();
            guard.wake_leaving();
            drop(guard);
            dropped += removed.len() as u64;
        }
        dropped
    }
}

/// The session of what the engine does by itself.
fn internal_session() -> Session {
    let mut session = Session::new(SessionId(0), Millis(0));
    session.origin = Origin::Client;
    session.no_touch = true;
    session
}
