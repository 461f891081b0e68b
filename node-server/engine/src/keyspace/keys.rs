//! The keys of a locked slot, as commands see them: expired keys are not there.

use super::hash::HashKeys as _;
use super::thin::USED_MAX;
use super::{Content, Counters, Entry, Keyspace, SlotGuard, SlotState, Table, Value};
use crate::effects::Effects;
use crate::session::Session;
use node_server_protocol::{Millis, Slot};
use std::sync::atomic::Ordering;

/// What is done with keys whose time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// A master deletes and logs them when it meets them.
    Delete,
    /// They are hidden: a replica never deletes by its own clock, and a paused master logs nothing.
    Hide,
    /// They are there: the master, whose commands run here, has not deleted them yet.
    Ignore,
}

/// The keys of one slot during one command. Every change wakes WATCH and keeps running snapshots whole.
pub struct Keys<'a, 'k> {
    keyspace: &'k Keyspace,
    guard: &'a mut SlotGuard<'k>,
    effects: &'a mut Effects,
    now: Millis,
    expired: Expired,
    touch: bool,
    /// A key whose hash is known already.
    known: Option<(&'a [u8], u64)>,
}

impl<'a, 'k> Keys<'a, 'k> {
    pub(crate) fn new(
        keyspace: &'k Keyspace,
        guard: &'a mut SlotGuard<'k>,
        effects: &'a mut Effects,
        now: Millis,
        expired: Expired,
        session: &Session,
    ) -> Self {
        Self { keyspace, guard, effects, now, expired, touch: !session.no_touch, known: None }
    }

    /// The hash of a key is known already.
    pub(crate) fn with_known(self, known: Option<(&'a [u8], u64)>) -> Self {
        Self { known, ..self }
    }

    /// The slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.guard.slot()
    }

    /// The time of the command; it stands still until the command ends.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The clock of OBJECT IDLETIME, in seconds.
    fn clock_s(&self) -> u32 {
        (self.now.0 / 1000) as u32
    }

    fn hash(&self, key: &[u8]) -> u64 {
        match self.known {
            Some((known, hash)) if std::ptr::eq(known, key) => hash,
            _ => self.keyspace.hasher.hash(key),
        }
    }

    fn table(&self) -> Option<&Table> {
        self.guard.table().map(|t| &t.keys)
    }

    pub(crate) fn guard(&mut self) -> &mut SlotGuard<'k> {
        self.guard
    }

    /// What the command does, for the log.
    pub fn effects(&mut self) -> &mut Effects {
        self.effects
    }

    /// A key's entry, without any trace of having been read.
    #[must_use]
    pub fn peek(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.table()?.get(self.hash(key), key)?;
        let hidden = self.expired != Expired::Ignore && entry.is_expired(self.now);
        (!hidden).then_some(entry)
    }

    /// Where a key is. One whose time has passed is deleted, if this node is the one to do so, and is not there.
    fn live(&mut self, hash: u64, key: &[u8]) -> Option<usize> {
        let table = self.table()?;
        let position = table.position(hash, key)?;
        if self.expired == Expired::Ignore || !table.at(position).is_expired(self.now) {
            return Some(position);
        }
        if self.expired == Expired::Delete {
            self.delete(position, key);
            self.effects.push(&[b"DEL", key]);
            self.counters().expired.fetch_add(1, Ordering::Relaxed);
        }
        None
    }

    fn counters(&self) -> &'k Counters {
        &self.keyspace.counters
    }

    /// A key's entry, for a command that reads: counts as a hit or a miss and marks the key as used.
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        let counters = self.counters();
        let found = self.find(key);
        let counter = if found.is_some() { &counters.hits } else { &counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// A key's entry, for a command that will change it: marks the key as used.
    pub fn find(&mut self, key: &[u8]) -> Option<&Entry> {
        let position = self.locate(key)?;
        self.table().map(|table| table.at(position))
    }

    /// Where a key is that is used now.
    fn locate(&mut self, key: &[u8]) -> Option<usize> {
        let position = self.live(self.hash(key), key)?;
        if self.touch {
            let clock = self.clock_s();
            self.guard.table_mut().keys.touch_at(position, clock);
        }
        Some(position)
    }

    /// Sets a key to a value with an expiry (`None`: it does not expire). Returns whether it is new.
    pub fn set(&mut self, key: &[u8], content: Content<'_>, expire_at: Option<Millis>) -> bool {
        let hash = self.hash(key);
        // One whose time has passed and that is not to be deleted is replaced as well.
        let live = self.live(hash, key);
        let position = live.or_else(|| self.table().and_then(|table| table.position(hash, key)));
        let (clock, keyspace) = (self.clock_s(), self.keyspace);
        let table = self.guard.table_to_write();
        table.touched(key);
        match position {
            Some(position) => table.keys.replace_at(position, content, expire_at, clock),
            None => table.keys.insert_new(&keyspace.hasher, (hash, key), content, expire_at, clock),
        }
        position.is_none()
    }

    /// Lets `change` have a key's value, keeping its expiry. `None`: there is no such key.
    pub fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        let position = self.locate(key)?;
        let table = self.guard.table_to_write();
        table.touched(key);
        Some(table.keys.update_at(position, change))
    }

    /// Sets or clears a key's expiry; false when there is no such key.
    pub fn set_expiry(&mut self, key: &[u8], expire_at: Option<Millis>) -> bool {
        let Some(position) = self.live(self.hash(key), key) else { return false };
        let table = self.guard.table_to_write();
        table.touched(key);
        table.keys.set_expiry_at(position, expire_at);
        true
    }

    /// Sets when a key was last used (RESTORE IDLETIME), in seconds before now.
    pub fn set_idle(&mut self, key: &[u8], idle_s: u32) {
        let hash = self.hash(key);
        // What was not used for longer than the clock can say counts as not used for as long as it can.
        let clock = self.clock_s().wrapping_sub(idle_s.min(USED_MAX));
        if let Some(position) = self.table().and_then(|t| t.position(hash, key)) {
            self.guard.table_mut().keys.touch_at(position, clock);
        }
    }

    /// How long ago a key was last used, in seconds.
    #[must_use]
    pub fn idle_s(&self, key: &[u8]) -> Option<u32> {
        self.peek(key).map(|e| e.idle_s(self.clock_s()))
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let position = self.live(self.hash(key), key)?;
        self.delete(position, key)
    }

    fn delete(&mut self, position: usize, key: &[u8]) -> Option<Entry> {
        let keyspace = self.keyspace;
        let table = self.guard.table_to_write();
        table.touched(key);
        table.keys.remove_at(&keyspace.hasher, position)
    }

    /// Removes every key of the slot and hands the table over, so that freeing it can happen without the lock.
    pub(crate) fn remove_all(&mut self) -> Table {
        if self.table().is_none_or(Table::is_empty) {
            return Table::default();
        }
        let hasher = &self.keyspace.hasher;
        let table = self.guard.table_to_write();
        table.touched_where(|keys, key| keys.get(hasher.hash(key), key).is_some());
        table.keys.take_all()
    }

    /// Every key that is there, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let hide = self.expired != Expired::Ignore;
        let now = self.now;
        self.table().into_iter().flat_map(Table::iter).filter(move |e| !(hide && e.is_expired(now)))
    }

    /// Every key, also those whose time has passed: they have to leave a slot like the others.
    pub fn iter_all(&self) -> impl Iterator<Item = &Entry> {
        self.table().into_iter().flat_map(Table::iter)
    }

    /// Whether the target of the slot's move may have an old copy of a key.
    #[must_use]
    pub fn is_unclear(&self, key: &[u8]) -> bool {
        self.guard.table().is_some_and(|t| t.is_unclear(key))
    }

    /// While the slot moves: keys that are not here and of which the target may have old copies.
    pub fn gone_and_unclear(&self) -> impl Iterator<Item = &[u8]> {
        let moving = self.guard.state().has(SlotState::MIGRATING);
        let unclear = self.guard.table().filter(|_| moving).into_iter().flat_map(|t| t.unclear());
        unclear.filter(|key| self.table().is_none_or(|t| t.get(self.hash(key), key).is_none()))
    }

    /// A key near a place in the table, unless its time has passed; for RANDOMKEY.
    #[must_use]
    pub fn near(&self, place: u64) -> Option<&Entry> {
        self.table()?.near(place as usize).filter(|e| !e.is_expired(self.now))
    }

    /// One step of a scan: calls `visit` with some keys and returns the next cursor. 0 begins, and 0 is the end.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        let hide = self.expired != Expired::Ignore;
        let now = self.now;
        self.table().map_or(0, |t| {
            t.scan(&self.keyspace.hasher, cursor, |entry| {
                if !(hide && entry.is_expired(now)) {
                    visit(entry);
                }
            })
        })
    }

    /// Deletes up to `max` keys whose time has passed and logs it; returns how many.
    pub(crate) fn delete_expired(&mut self, max: usize) -> usize {
        let now = self.now;
        if self.expired != Expired::Delete || self.guard.table().is_none() {
            return 0;
        }
        let keys = self.guard.table_mut().keys.expired(now, max);
        let mut deleted = 0;
        for key in &keys {
            if self.guard.table().is_some_and(|t| t.is_leaving(key)) {
                // It may stay: it is looked for again.
                self.guard.table_mut().keys.look_again(now);
                continue;
            }
            let hash = self.hash(key);
            self.live(hash, key);
            deleted += 1;
        }
        deleted
    }
}
