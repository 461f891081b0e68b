//! What stands behind one slot's lock.

use super::table::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// One slot: its keys and what is known about them.
#[derive(Debug, Default)]
pub struct SlotTable {
    /// The keys.
    pub keys: Table,
    /// Things few slots have.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// Watched keys and their counters of changes, owned by the sessions.
    watched: BTreeMap<Box<[u8]>, Weak<AtomicU64>>,
    /// Keys on their way to another node: reads pass, writers wait.
    leaving: BTreeMap<Box<[u8]>, u64>,
    /// Keys that may be at the target of a move as they once were: this node answers for them, there or not, until a
    /// MIGRATE has settled it.
    unclear: BTreeSet<Box<[u8]>>,
    /// Log offset of the last deletion of a key that has crossed.
    crossed_at: u64,
}

impl SlotTable {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn tidy(&mut self) {
        let empty = |r: &Rare| {
            r.watched.is_empty() && r.leaving.is_empty() && r.unclear.is_empty() && r.crossed_at == 0
        };
        if self.rare.as_deref().is_some_and(empty) {
            self.rare = None;
        }
    }

    /// The key's counter of changes, for a session that watches it. It lives as long as somebody holds it.
    pub fn watch(&mut self, key: &[u8]) -> Arc<AtomicU64> {
        let watched = &mut self.rare().watched;
        if let Some(counter) = watched.get(key).and_then(Weak::upgrade) {
            return counter;
        }
        // Those that nobody holds any more go when there is a new one, so there are never more than twice the watches.
        watched.retain(|_, counter| counter.strong_count() > 0);
        let counter = Arc::new(AtomicU64::new(0));
        watched.insert(key.into(), Arc::downgrade(&counter));
        counter
    }

    /// A key was changed.
    pub fn touched(&mut self, key: &[u8]) {
        let Some(rare) = &mut self.rare else { return };
        let Some(counter) = rare.watched.get(key) else { return };
        match counter.upgrade() {
            Some(counter) => {
                counter.fetch_add(1, Ordering::Release);
            }
            None => {
                rare.watched.remove(key);
                self.tidy();
            }
        }
    }

    /// The watched keys that are there, by `is_there`, are about to go. Those that are not do not change by that.
    pub fn touched_where(&mut self, is_there: impl Fn(&Table, &[u8]) -> bool) {
        let Some(rare) = &self.rare else { return };
        let there = rare.watched.keys().filter(|key| is_there(&self.keys, key));
        let there: Vec<Box<[u8]>> = there.cloned().collect();
        there.iter().for_each(|key| self.touched(key));
    }

    /// Every key was changed.
    pub fn touched_all(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        for counter in std::mem::take(&mut rare.watched).values().filter_map(Weak::upgrade) {
            counter.fetch_add(1, Ordering::Release);
        }
        self.tidy();
    }

    /// Marks a key as on its way, for the move numbered `id`; false when it already is.
    pub fn mark_leaving(&mut self, key: &[u8], id: u64) -> bool {
        let leaving = &mut self.rare().leaving;
        if leaving.contains_key(key) {
            return false;
        }
        leaving.insert(key.into(), id);
        true
    }

    /// The move numbered `id` is over for this key.
    pub fn unmark_leaving(&mut self, key: &[u8], id: u64) {
        if let Some(rare) = &mut self.rare
            && rare.leaving.get(key) == Some(&id)
        {
            rare.leaving.remove(key);
        }
        self.tidy();
    }

    /// Whether a key is on its way.
    #[must_use]
    pub fn is_leaving(&self, key: &[u8]) -> bool {
        self.rare.as_ref().is_some_and(|r| r.leaving.contains_key(key))
    }

    /// A key was sent, and nobody knows whether it has arrived.
    pub fn mark_unclear(&mut self, key: &[u8]) {
        self.rare().unclear.insert(key.into());
    }

    /// It is known now what the target has of a key.
    pub fn settle(&mut self, key: &[u8]) {
        if let Some(rare) = &mut self.rare {
            rare.unclear.remove(key);
        }
        self.tidy();
    }

    /// Whether the target may have an old copy of a key.
    #[must_use]
    pub fn is_unclear(&self, key: &[u8]) -> bool {
        self.rare.as_ref().is_some_and(|r| r.unclear.contains(key))
    }

    /// The keys of which the target may have old copies.
    pub fn unclear(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        static NONE: BTreeSet<Box<[u8]>> = BTreeSet::new();
        self.rare.as_ref().map_or(&NONE, |r| &r.unclear).iter().map(AsRef::as_ref)
    }

    /// Notes where in the log the deletion of keys stands that have crossed.
    pub fn set_crossed_at(&mut self, offset: u64) {
        self.rare().crossed_at = offset;
    }

    /// Where the last such deletion stands; 0 for none.
    #[must_use]
    pub fn crossed_at(&self) -> u64 {
        self.rare.as_ref().map_or(0, |r| r.crossed_at)
    }

    /// Whether nothing is kept here: the slot need not be there at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.rare.is_none()
    }

    /// How many keys are on their way.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.rare.as_ref().map_or(0, |r| r.leaving.len())
    }

    /// Forgets all moves: the keys are others now.
    pub fn clear_moves(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.leaving.clear();
            rare.unclear.clear();
            rare.crossed_at = 0;
        }
        self.tidy();
    }
}
