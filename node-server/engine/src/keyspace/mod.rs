//! 16384 small tables, each behind its own lock (rule 1).

pub mod cell;
pub mod collection;
pub mod expiry;
pub mod hash;
pub mod keys;
pub mod slot_table;
pub mod state;
pub mod table;
#[cfg(test)]
mod table_tests;
mod thin;
pub mod value;
pub mod waiters;

pub use cell::{AllSlots, SlotGuard};
pub use keys::{Expired, Keys};
pub use slot_table::SlotTable;
pub use state::SlotState;
pub use table::Table;
pub use thin::Entry;
pub use value::{Content, Text, TextRef, Value, ValueRef};
pub use waiters::{WaitFor, Waiters};

use crate::Host;
use crate::session::SessionId;
use crate::snapshot::Snapshots;
use cell::{Cell, Published};
use hash::{HashKeys, KeyHasher};
use node_server_protocol::{Millis, SLOT_COUNT, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

/// All slots.
pub struct Keyspace {
    cells: Box<[Cell]>,
    published: Box<[Published]>,
    /// What this node may do with each slot, dense because every request looks there.
    states: Box<[AtomicU8]>,
    pub(crate) waiters: Waiters,
    pub(crate) snapshots: Snapshots,
    pub(crate) counters: Counters,
    hasher: KeyHasher,
    totals: Totals,
    host: Arc<dyn Host>,
    /// Where the expiration cycle goes on.
    expiry_at: AtomicU64,
}

/// Sums over all slots.
#[derive(Debug, Default)]
struct Totals {
    keys: AtomicI64,
    volatile: AtomicI64,
    expiring_hashes: AtomicI64,
    bytes: AtomicI64,
}

/// Counters for INFO's Stats.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads that found their key.
    pub hits: AtomicU64,
    /// Reads that did not.
    pub misses: AtomicU64,
    /// Keys deleted because their time had passed.
    pub expired: AtomicU64,
}

impl Keyspace {
    pub(crate) fn new(seed: u64, host: Arc<dyn Host>) -> Self {
        Self {
            cells: (0..SLOT_COUNT).map(|_| Cell::default()).collect(),
            published: (0..SLOT_COUNT).map(|_| Published::default()).collect(),
            states: (0..SLOT_COUNT).map(|_| AtomicU8::new(SlotState::FOREIGN.bits())).collect(),
            waiters: Waiters::default(),
            snapshots: Snapshots::default(),
            counters: Counters::default(),
            hasher: KeyHasher::new(seed),
            totals: Totals::default(),
            host,
            expiry_at: AtomicU64::new(0),
        }
    }

    fn cell(&self, slot: Slot) -> &Cell {
        &self.cells[slot.index()]
    }

    fn published(&self, slot: Slot) -> &Published {
        &self.published[slot.index()]
    }

    /// How many keys there are, expired ones that are not deleted yet included.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.totals.keys.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a field of a hash expires.
    #[must_use]
    pub(crate) fn has_field_expiry(&self) -> bool {
        self.totals.expiring_hashes.load(Ordering::Relaxed) > 0
    }

    /// How many keys expire.
    #[must_use]
    pub fn volatile(&self) -> u64 {
        u64::try_from(self.totals.volatile.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// An estimate of the memory that keys take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.totals.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// How many keys a slot has; takes no lock.
    #[must_use]
    pub fn slot_len(&self, slot: Slot) -> u64 {
        u64::from(self.published(slot).len())
    }

    /// How many keys hold back the end of a slot's move: those that are here, and those that may be at the target as
    /// they once were. One that is both counts twice. Takes no lock.
    #[must_use]
    pub fn slot_unmoved(&self, slot: Slot) -> u64 {
        let unclear =
            if self.state(slot).has(SlotState::MIGRATING) { self.published(slot).unclear() } else { 0 };
        self.slot_len(slot) + u64::from(unclear)
    }

    /// How many of a slot's keys expire; takes no lock.
    #[must_use]
    pub fn slot_volatile(&self, slot: Slot) -> u64 {
        u64::from(self.published(slot).volatile())
    }

    /// What this node may do with a slot, as last published.
    #[must_use]
    pub fn state(&self, slot: Slot) -> SlotState {
        SlotState::from_bits(self.states[slot.index()].load(Ordering::SeqCst))
    }

    /// The log ends here behind a change of the slot.
    pub(crate) fn set_logged(&self, slot: Slot, end: u64) {
        self.published(slot).logged().store(end, Ordering::Release);
    }

    /// Where the log ended behind the slot's last change that [`Keyspace::set_logged`] was told of.
    pub(crate) fn logged(&self, slot: Slot) -> u64 {
        self.published(slot).logged().load(Ordering::Acquire)
    }

    /// Publishes a slot's state. Takes no lock.
    pub(crate) fn set_state(&self, slot: Slot, state: SlotState) {
        self.states[slot.index()].store(state.bits(), Ordering::SeqCst);
    }

    /// The slot's lock, if nobody has it.
    pub(crate) fn try_lock(&self, slot: Slot) -> Option<SlotGuard<'_>> {
        let table = self.cell(slot).table.try_lock()?;
        Some(SlotGuard::new(self, slot, table))
    }

    /// Waits for the slot's lock: only on worker threads.
    pub(crate) fn lock(&self, slot: Slot) -> SlotGuard<'_> {
        SlotGuard::new(self, slot, self.cell(slot).table.lock())
    }

    /// The slot's lock, or the session is on its waiter list.
    pub(crate) fn lock_or_park(&self, slot: Slot, session: SessionId) -> Option<SlotGuard<'_>> {
        if let Some(guard) = self.try_lock(slot) {
            return Some(guard);
        }
        self.waiters.push(WaitFor::Slot(slot), session);
        let guard = self.try_lock(slot)?;
        self.waiters.remove(WaitFor::Slot(slot), session);
        Some(guard)
    }

    /// Several slots' locks, or none when one is taken.
    pub(crate) fn try_lock_all(&self, slots: impl Iterator<Item = Slot>) -> Option<AllSlots<'_>> {
        let mut all = AllSlots::new(self, Vec::new());
        for slot in slots {
            let guard = self.try_lock(slot)?;
            all.push(guard);
        }
        Some(all)
    }

    /// Prefetches what every request to a slot needs.
    pub(crate) fn prefetch_cell(&self, slot: Slot) {
        thin::prefetch(std::ptr::from_ref(self.cell(slot)).addr());
    }

    /// Prefetches where a hash is in a slot's table.
    pub(crate) fn prefetch_position(&self, slot: Slot, hash: u64) {
        Table::prefetch_position(self.cell(slot).hint(), hash);
    }

    /// Prefetches the key with a hash, if the slot is free.
    pub(crate) fn prefetch_entry(&self, slot: Slot, hash: u64) {
        let cell = self.cell(slot);
        if cell.hint() == 0 {
            return;
        }
        if let Some(table) = cell.table.try_lock() {
            table.keys.prefetch_entry(hash);
            drop(table);
            // As after every lock: somebody may have found it taken.
            self.wake(WaitFor::Slot(slot));
        }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    pub(crate) fn hasher(&self) -> &impl HashKeys {
        &self.hasher
    }

    /// Whether a key is there and has not expired.
    pub(crate) fn is_there(&self, guard: &SlotGuard<'_>, key: &[u8], now: Millis) -> bool {
        let entry = guard.table().and_then(|t| t.keys.get(self.hasher.hash(key), key));
        entry.is_some_and(|e| !e.is_expired(now))
    }

    /// Wakes a list of waiters; call it without a lock.
    pub(crate) fn wake(&self, what: WaitFor) {
        for session in self.waiters.take(what) {
            self.host.wake(session);
        }
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("totals", &self.totals).finish_non_exhaustive()
    }
}
