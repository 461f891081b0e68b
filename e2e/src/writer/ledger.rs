//! The keys of one connection and all that it did to them.

use super::evidence::Evidence;
use super::history::{Basis, History, Mastership, Seen, State};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys that one connection writes at a time.
const SINGLES: usize = 32;
const COUNTERS: usize = 8;
const GROUPS: usize = 8;
/// Keys per connection, with those that were given up because an outcome stayed unknown.
const KEYS_MAX: usize = 100_000;

/// A key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) is_counter: bool,
    pub(super) history: History,
    /// Nothing but reads until it is seen to be gone, which it must be from this moment of the run on.
    pub(super) expires: Option<u64>,
}

/// Keys of one slot that change together: three texts and a counter.
pub(super) type Group = [usize; 4];

/// All keys of one connection. Keys are named by their index, which never changes.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    prefix: String,
    keys: Vec<Key>,
    singles: Vec<usize>,
    counters: Vec<usize>,
    groups: Vec<Group>,
    /// Those that were given up as well.
    all_groups: Vec<Group>,
    /// What reads have shown of the ends of masterships.
    pub(super) evidence: Evidence,
    /// Acknowledged writes per master, and when the last one was acknowledged.
    pub(super) acknowledged: BTreeMap<Arc<Mastership>, (u64, u64)>,
}

impl Ledger {
    pub(super) fn new(prefix: String) -> Self {
        let acknowledged = BTreeMap::new();
        let (singles, counters, groups, all_groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (keys, evidence) = (Vec::new(), Evidence::default());
        let mut ledger = Self { prefix, keys, singles, counters, groups, all_groups, evidence, acknowledged };
        ledger.singles = (0..SINGLES).map(|_| ledger.add("s", false)).collect();
        ledger.counters = (0..COUNTERS).map(|_| ledger.add("n", true)).collect();
        ledger.groups = (0..GROUPS).map(|_| ledger.add_group()).collect();
        ledger
    }

    fn add(&mut self, kind: &str, is_counter: bool) -> usize {
        let name = format!("{}:{kind}{}", self.prefix, self.keys.len());
        self.add_named(name, is_counter)
    }

    fn add_group(&mut self) -> Group {
        let tag = format!("{{{}:g{}}}", self.prefix, self.keys.len());
        let group = ["a", "b", "c", "n"].map(|part| self.add_named(format!("{tag}{part}"), part == "n"));
        self.all_groups.push(group);
        group
    }

    /// All groups that there ever were.
    pub(super) fn all_groups(&self) -> &[Group] {
        &self.all_groups
    }

    fn add_named(&mut self, name: String, is_counter: bool) -> usize {
        assert!(self.keys.len() < KEYS_MAX, "more than {KEYS_MAX} keys: far too many outcomes are unknown");
        let first = if is_counter { State::Number(0) } else { State::Absent };
        self.keys.push(Key { name, is_counter, history: History::new(first), expires: None });
        self.keys.len() - 1
    }

    pub(super) fn key(&self, index: usize) -> &Key {
        &self.keys[index]
    }

    pub(super) fn key_mut(&mut self, index: usize) -> &mut Key {
        &mut self.keys[index]
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn single(&self, pick: u64) -> usize {
        self.singles[pick as usize % self.singles.len()]
    }

    pub(super) fn counter(&self, pick: u64) -> usize {
        self.counters[pick as usize % self.counters.len()]
    }

    pub(super) fn group(&self, pick: u64) -> Group {
        self.groups[pick as usize % self.groups.len()]
    }

    /// What a read of a key by that master showed ([`History::observe`]).
    pub(super) fn observe(
        &mut self,
        index: usize,
        state: State,
        basis: Basis,
        below: u64,
        by: &Arc<Mastership>,
    ) -> Seen {
        let key = &mut self.keys[index];
        let seen = key.history.observe(state, basis, below);
        match (&seen, state) {
            (Seen::Backwards { .. }, _) => {
                key.history.lost_last().for_each(|lost| self.evidence.missing(&key.name, &lost, by));
            }
            // Another number may look the same.
            (Seen::Fine, State::Text(seq)) => {
                let kept = key.history.survivor().filter(|kept| kept.seq == seq);
                kept.iter().for_each(|kept| self.evidence.kept(&key.name, kept, by));
            }
            _ => {}
        }
        seen
    }

    /// Never writes these keys again; fresh ones take their places.
    pub(super) fn give_up(&mut self, keys: &[usize]) {
        for i in 0..self.singles.len() {
            if keys.contains(&self.singles[i]) {
                self.singles[i] = self.add("s", false);
            }
        }
        for i in 0..self.counters.len() {
            if keys.contains(&self.counters[i]) {
                self.counters[i] = self.add("n", true);
            }
        }
        for i in 0..self.groups.len() {
            if self.groups[i].iter().any(|key| keys.contains(key)) {
                self.groups[i] = self.add_group();
            }
        }
    }

    /// One more acknowledged write.
    pub(super) fn count(&mut self, by: &Arc<Mastership>, now: u64) {
        let (writes, last) = self.acknowledged.entry(Arc::clone(by)).or_default();
        *writes += 1;
        *last = now;
    }
}
