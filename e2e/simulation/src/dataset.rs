//! A node's keys, as far as the simulation needs them: versions of numbered keys, an ordered log, and the rules of
//! PSYNC (reference: replication id, second id after a promotion, partial resync from a log offset).

use node_server_protocol::Slot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A key is a number; its slot is derived from it so that a run touches a chosen few slots often.
pub type Key = u32;
/// Every write to a key has a greater version than the one before.
pub type Version = u64;

/// Which history of writes an offset belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct History(pub u64);

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The key has this version now.
    Set(Slot, Key, Version),
    /// The key has gone: it moved to another node.
    Gone(Slot, Key),
    /// CLUSTER SETSLOT for the replicas' cluster cores.
    SetSlot(Vec<Vec<u8>>),
}

/// Everything a replica needs for a full sync.
#[derive(Clone, Debug)]
pub struct Copy {
    keys: BTreeMap<(Slot, Key), Version>,
    history: History,
    offset: u64,
}

/// What a master answers to PSYNC.
#[derive(Clone, Debug)]
pub enum Sync {
    /// `+CONTINUE`: the records from the asked offset of the asked history on.
    Partial { history: History, asked: History, from: u64, effects: Vec<Effect> },
    /// `+FULLRESYNC`.
    Full(Box<Copy>),
}

/// Records kept for partial resyncs; older ones force a full sync. Enough for the open slots that follow a snapshot.
const BACKLOG_RECORDS: usize = 2_000;

/// One node's data. It is in memory: what a crash leaves of it is in [`crate::disk`].
#[derive(Clone, Debug)]
pub struct Dataset {
    keys: BTreeMap<(Slot, Key), Version>,
    backlog: VecDeque<Effect>,
    offset: u64,
    history: History,
    earlier: Option<(History, u64)>,
}

impl Dataset {
    /// Without a key, in a history of its own.
    #[must_use]
    pub fn new(history: History) -> Self {
        Self { keys: BTreeMap::new(), backlog: VecDeque::new(), offset: 0, history, earlier: None }
    }

    /// Records written in this history.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The history it is in.
    #[must_use]
    pub fn history(&self) -> History {
        self.history
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The version held.
    #[must_use]
    pub fn get(&self, slot: Slot, key: Key) -> Option<Version> {
        self.keys.get(&(slot, key)).copied()
    }

    /// Keys in one slot.
    pub fn keys_in(&self, slot: Slot) -> impl Iterator<Item = (Key, Version)> + '_ {
        self.keys.range((slot, 0)..=(slot, Key::MAX)).map(|((_, key), version)| (*key, *version))
    }

    /// Slots that hold keys.
    #[must_use]
    pub fn slots(&self) -> BTreeSet<Slot> {
        self.keys.keys().map(|(slot, _)| *slot).collect()
    }

    /// A master's own write: applied and logged.
    pub fn write(&mut self, effect: Effect) {
        self.apply(&effect);
        self.backlog.push_back(effect);
        self.offset += 1;
        if self.backlog.len() > BACKLOG_RECORDS {
            self.backlog.pop_front();
        }
    }

    /// A promotion: a new history begins where the old one ends.
    pub fn promote(&mut self, history: History) {
        self.earlier = Some((self.history, self.offset));
        self.history = history;
    }

    /// Read from a file: where the log goes on is known, its records are not.
    pub fn forget_backlog(&mut self) {
        self.backlog.clear();
    }

    /// The answer to a replica that has `offset` records of `history`.
    #[must_use]
    pub fn sync(&self, history: History, offset: u64) -> Sync {
        let known =
            history == self.history || self.earlier.is_some_and(|(id, end)| id == history && offset <= end);
        let oldest = self.offset - self.backlog.len() as u64;
        if known && (oldest..=self.offset).contains(&offset) {
            let effects = self.backlog.range((offset - oldest) as usize..).cloned().collect();
            return Sync::Partial { history: self.history, asked: history, from: offset, effects };
        }
        Sync::Full(Box::new(Copy { keys: self.keys.clone(), history: self.history, offset: self.offset }))
    }

    /// A replica takes what its master sent and returns the SETSLOTs among it; `None` when it does not fit (an answer
    /// to an older question).
    pub fn follow(&mut self, sync: Sync) -> Option<Vec<Vec<Vec<u8>>>> {
        match sync {
            Sync::Full(copy) => {
                let Copy { keys, history, offset } = *copy;
                *self = Self { keys, backlog: VecDeque::new(), offset, history, earlier: None };
                Some(Vec::new())
            }
            Sync::Partial { history, asked, from, effects } => {
                if from != self.offset || asked != self.history {
                    return None;
                }
                self.history = history;
                self.earlier = None;
                let mut commands = Vec::new();
                for effect in effects {
                    if let Effect::SetSlot(args) = &effect {
                        commands.push(args.clone());
                    }
                    self.write(effect);
                }
                Some(commands)
            }
        }
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Set(slot, key, version) => {
                self.keys.insert((*slot, *key), *version);
            }
            Effect::Gone(slot, key) => {
                self.keys.remove(&(*slot, *key));
            }
            Effect::SetSlot(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: Key) -> Effect {
        Effect::Set(Slot::FIRST, key, 1)
    }

    #[test]
    fn a_replica_catches_up_partially_and_across_a_promotion() {
        let mut master = Dataset::new(History(1));
        let mut replica = Dataset::new(History(2));
        master.write(set(1));
        assert!(replica.follow(master.sync(replica.history(), replica.offset())).is_some(), "full sync");
        master.write(set(2));
        assert!(matches!(master.sync(replica.history(), replica.offset()), Sync::Partial { .. }));
        assert!(replica.follow(master.sync(replica.history(), replica.offset())).is_some());
        replica.promote(History(3));
        replica.write(set(3));
        assert!(matches!(replica.sync(master.history(), master.offset()), Sync::Partial { .. }));
        assert!(master.follow(replica.sync(master.history(), master.offset())).is_some());
        assert_eq!(master.keys, replica.keys);
    }

    #[test]
    fn a_diverged_master_needs_a_full_sync() {
        let mut old = Dataset::new(History(1));
        old.write(set(1));
        let mut new = old.clone();
        new.promote(History(2));
        old.write(set(9));
        assert!(matches!(new.sync(old.history(), old.offset()), Sync::Full(_)));
    }
}
