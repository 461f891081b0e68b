//! One slot's lock and what can be read without it.

use super::{Keyspace, SlotState, SlotTable, WaitFor};
use node_server_protocol::Slot;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What every request to a slot needs: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Cell {
    pub(super) table: Mutex<SlotTable>,
    /// Where the table's positions are, to be prefetched without the lock: it may be out of date.
    hint: AtomicU64,
}

impl Cell {
    pub(super) fn hint(&self) -> u64 {
        self.hint.load(Ordering::Relaxed)
    }
}

const _: () = assert!(size_of::<Cell>() == 64, "an empty slot is small, and a cell is one cache line");

/// What can be read of a slot without its lock, kept up to date by whoever lets the lock go.
#[derive(Debug)]
pub(super) struct Published {
    keys: AtomicU32,
    volatile: AtomicU32,
    unclear: AtomicU32,
    /// Log offset behind the last change of the slot, while replies wait for the disk.
    logged: AtomicU64,
    /// No key expires before this; `u64::MAX` when none does.
    soonest: AtomicU64,
    /// The snapshot that has this slot already; see `snapshot`. Read and written under the slot's lock.
    saved_by: AtomicU64,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            keys: AtomicU32::new(0),
            volatile: AtomicU32::new(0),
            unclear: AtomicU32::new(0),
            logged: AtomicU64::new(0),
            soonest: AtomicU64::new(u64::MAX),
            saved_by: AtomicU64::new(0),
        }
    }
}

impl Published {
    pub(super) fn len(&self) -> u32 {
        self.keys.load(Ordering::Relaxed)
    }

    pub(super) fn volatile(&self) -> u32 {
        self.volatile.load(Ordering::Relaxed)
    }

    pub(super) fn unclear(&self) -> u32 {
        self.unclear.load(Ordering::Relaxed)
    }

    pub(super) fn logged(&self) -> &AtomicU64 {
        &self.logged
    }

    pub(super) fn soonest(&self) -> u64 {
        self.soonest.load(Ordering::Relaxed)
    }
}

/// A slot that is locked. Letting it go wakes those who wait for it.
pub struct SlotGuard<'k> {
    keyspace: &'k Keyspace,
    slot: Slot,
    table: Option<MutexGuard<'k, SlotTable>>,
    before: Sums,
    wake_leaving: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Sums {
    keys: usize,
    volatile: usize,
    expiring_hashes: usize,
    unclear: usize,
    bytes: usize,
    soonest: u64,
    hint: u64,
}

impl Sums {
    fn of(table: &SlotTable) -> Self {
        Self {
            keys: table.keys.len(),
            volatile: table.keys.volatile(),
            expiring_hashes: table.keys.expiring_hashes(),
            unclear: table.unclear().len(),
            bytes: table.keys.bytes(),
            soonest: table.keys.soonest().unwrap_or(u64::MAX),
            hint: table.keys.hint(),
        }
    }
}

impl<'k> SlotGuard<'k> {
    pub(super) fn new(keyspace: &'k Keyspace, slot: Slot, table: MutexGuard<'k, SlotTable>) -> Self {
        let before = Sums::of(&table);
        Self { keyspace, slot, table: Some(table), before, wake_leaving: false }
    }

    /// Which slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// What the slot may do now; read again whenever it matters.
    #[must_use]
    pub fn state(&self) -> SlotState {
        self.keyspace.state(self.slot)
    }

    /// The slot's content, if it has any.
    #[must_use]
    pub fn table(&self) -> Option<&SlotTable> {
        self.table.as_deref().filter(|table| !table.is_idle())
    }

    /// The slot's content to be read or marked; an empty one has nothing that a running snapshot lacks.
    pub(crate) fn table_mut(&mut self) -> &mut SlotTable {
        let table = self.table.as_deref_mut().expect("a guard has its table until it is dropped");
        if table.is_idle() {
            self.keyspace
                .published(self.slot)
                .saved_by
                .store(self.keyspace.snapshots.generation(), Ordering::Relaxed);
        }
        table
    }

    /// The slot's content for change; a running snapshot gets its old content first (rule 8).
    pub(crate) fn table_to_write(&mut self) -> &mut SlotTable {
        let keyspace = self.keyspace;
        let slot = self.slot;
        if keyspace.snapshots.is_active() && !self.is_saved_by(keyspace.snapshots.generation()) {
            self.set_saved_by(keyspace.snapshots.generation());
            keyspace.snapshots.hand_over(slot, &self.table_mut().keys);
        }
        self.table_mut()
    }

    /// Whether the snapshot of this number has the slot already.
    pub(crate) fn is_saved_by(&self, snapshot: u64) -> bool {
        self.keyspace.published(self.slot).saved_by.load(Ordering::Relaxed) == snapshot
    }

    /// The snapshot of this number has the slot.
    pub(crate) fn set_saved_by(&self, snapshot: u64) {
        self.keyspace.published(self.slot).saved_by.store(snapshot, Ordering::Relaxed);
    }

    /// Letting go also wakes those who wait for keys on their way.
    pub(crate) fn wake_leaving(&mut self) {
        self.wake_leaving = true;
    }

    /// Keeps the books while the lock is held: later commands of a transaction look there for where keys are.
    pub(crate) fn keep_books(&mut self) {
        let Some(table) = &self.table else { return };
        let after = Sums::of(table);
        if after != self.before {
            self.account(after);
            self.before = after;
        }
    }

    /// Keeps the books and unlocks.
    fn unlock(&mut self) {
        let Some(table) = self.table.take() else { return };
        let after = Sums::of(&table);
        if after != self.before {
            self.account(after);
        }
    }

    fn account(&self, after: Sums) {
        let published = self.keyspace.published(self.slot);
        let totals = &self.keyspace.totals;
        let before = self.before;
        let moved = |total: &std::sync::atomic::AtomicI64, before: usize, after: usize| {
            if before != after {
                total.fetch_add(after as i64 - before as i64, Ordering::Relaxed);
            }
        };
        moved(&totals.keys, before.keys, after.keys);
        moved(&totals.volatile, before.volatile, after.volatile);
        moved(&totals.expiring_hashes, before.expiring_hashes, after.expiring_hashes);
        moved(&totals.bytes, before.bytes, after.bytes);
        published.keys.store(u32::try_from(after.keys).unwrap_or(u32::MAX), Ordering::Relaxed);
        published.volatile.store(u32::try_from(after.volatile).unwrap_or(u32::MAX), Ordering::Relaxed);
        published.unclear.store(u32::try_from(after.unclear).unwrap_or(u32::MAX), Ordering::Relaxed);
        published.soonest.store(after.soonest, Ordering::Relaxed);
        self.keyspace.cell(self.slot).hint.store(after.hint, Ordering::Relaxed);
    }

    fn wake(&self) {
        self.keyspace.wake(WaitFor::Slot(self.slot));
        if self.wake_leaving {
            self.keyspace.wake(WaitFor::Leaving(self.slot));
        }
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        if self.table.is_some() {
            self.unlock();
            self.wake();
        }
    }
}

/// Several slots, all locked. Nobody is woken before all are free again.
pub struct AllSlots<'k> {
    keyspace: &'k Keyspace,
    guards: Vec<SlotGuard<'k>>,
}

impl<'k> AllSlots<'k> {
    pub(super) fn new(keyspace: &'k Keyspace, guards: Vec<SlotGuard<'k>>) -> Self {
        Self { keyspace, guards }
    }

    pub(super) fn push(&mut self, guard: SlotGuard<'k>) {
        self.guards.push(guard);
    }

    /// The guard of one of the locked slots.
    pub(crate) fn get(&mut self, slot: Slot) -> Option<&mut SlotGuard<'k>> {
        // Ascending, and mostly the one at its own number.
        let at = self.guards.binary_search_by_key(&slot, SlotGuard::slot).ok()?;
        self.guards.get_mut(at)
    }

    /// The guard of one of the locked slots, to look only.
    pub(crate) fn peek(&self, slot: Slot) -> Option<&SlotGuard<'k>> {
        let at = self.guards.binary_search_by_key(&slot, SlotGuard::slot).ok()?;
        self.guards.get(at)
    }

    /// All guards in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut SlotGuard<'k>> {
        self.guards.iter_mut()
    }
}

impl Drop for AllSlots<'_> {
    fn drop(&mut self) {
        for guard in &mut self.guards {
            guard.unlock();
        }
        let mut woken = Vec::new();
        for guard in &self.guards {
            woken.extend(self.keyspace.waiters.take(WaitFor::Slot(guard.slot)));
            if guard.wake_leaving {
                woken.extend(self.keyspace.waiters.take(WaitFor::Leaving(guard.slot)));
            }
        }
        for session in woken {
            self.keyspace.host.wake(session);
        }
    }
}
