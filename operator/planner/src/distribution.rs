//! Who should own which slot: a pure function of what is declared and who owns what now.
//!
//! The fewest slots move; of the ways to do that, a master gets slots next to those it has, then the lowest. A fresh
//! cluster is cut as `redis-cli --cluster create` does. Moving in ascending order and stopping anywhere leads, asked
//! again, to the same end.

use crate::desired::{Desired, Distribution};
use node_server_protocol::{SLOT_COUNT, Slot, SlotSet};
use std::collections::BTreeSet;

/// Nobody.
const NOBODY: u16 = u16::MAX;

/// The slots that each of the declared masters should own, given what shard 0, 1, … own now. `present` may be shorter
/// (new shards own nothing) or longer (shards that are to go); slots in none of its sets have no owner. A slot in two
/// sets counts as the first's.
#[must_use]
pub fn targets(desired: &Desired, present: &[SlotSet]) -> Vec<SlotSet> {
    if let Distribution::Declared(sets) = desired.distribution() {
        return sets.clone();
    }
    if let Some(settled) = settled(desired, present) {
        return settled;
    }
    let mut table = Table::new(present);
    let wants = wanted_counts(desired, &table.counts(desired.masters()));
    table.settle(&wants);
    table.sets(desired.masters())
}

/// What there is, where nothing has to move: by far the most frequent case, and a hundred times cheaper to find out.
fn settled(desired: &Desired, present: &[SlotSet]) -> Option<Vec<SlotSet>> {
    let masters = usize::from(desired.masters());
    let have: Vec<usize> = present.iter().map(SlotSet::len).collect();
    let (kept, leaving) = have.split_at_checked(masters)?;
    if leaving.iter().any(|count| *count > 0) || *kept != wanted_counts(desired, kept) {
        return None;
    }
    let mut union = SlotSet::new();
    present.iter().for_each(|set| union = union.union(set));
    (union.len() == usize::from(SLOT_COUNT)).then(|| present[..masters].to_vec())
}

/// How many slots each master should own: its exact share rounded down or up. Rounded up are first those that have
/// more than their share already (it saves moves), then the largest remainders, then those that `redis-cli` would
/// round up in a fresh cluster, then the lowest.
fn wanted_counts(desired: &Desired, have: &[usize]) -> Vec<usize> {
    let masters = usize::from(desired.masters());
    let weights: Vec<usize> = match desired.distribution() {
        Distribution::Weighted(weights) => weights.iter().map(|w| usize::from(*w)).collect(),
        Distribution::Balanced | Distribution::Declared(_) => vec![1; masters],
    };
    let total: usize = weights.iter().sum();
    let slots = usize::from(SLOT_COUNT);
    let mut wants: Vec<usize> = weights.iter().map(|w| slots * w / total).collect();
    let fresh = fresh_counts(masters);
    let mut order: Vec<usize> = (0..masters).collect();
    order.sort_by_key(|i| {
        let saves = have[*i] > wants[*i];
        let remainder = slots * weights[*i] % total;
        (!saves, std::cmp::Reverse(remainder), fresh[*i] <= slots / masters, *i)
    });
    let missing = slots - wants.iter().sum::<usize>();
    for i in order.into_iter().take(missing) {
        wants[i] += 1;
    }
    wants
}

/// How many slots each master gets from `redis-cli --cluster create`: the end of range i is (i + 1) × 16384 / masters - 1
/// rounded half up, and the last ends at 16383.
fn fresh_counts(masters: usize) -> Vec<usize> {
    let slots = usize::from(SLOT_COUNT);
    let end = |i: usize| (2 * i * slots + masters) / (2 * masters);
    (0..masters).map(|i| end(i + 1) - end(i)).collect()
}

/// Who owns each slot, changed until everybody has what it wants.
struct Table {
    owners: Vec<u16>,
}

impl Table {
    fn new(present: &[SlotSet]) -> Self {
        let mut owners = vec![NOBODY; usize::from(SLOT_COUNT)];
        for (shard, set) in (0..NOBODY).zip(present).rev() {
            for slot in set.iter() {
                owners[slot.index()] = shard;
            }
        }
        Self { owners }
    }

    fn counts(&self, masters: u16) -> Vec<usize> {
        let mut counts = vec![0; usize::from(masters)];
        for owner in &self.owners {
            if let Some(count) = counts.get_mut(usize::from(*owner)) {
                *count += 1;
            }
        }
        counts
    }

    fn sets(&self, masters: u16) -> Vec<SlotSet> {
        let mut sets = vec![SlotSet::new(); usize::from(masters)];
        for slot in Slot::all() {
            if let Some(set) = sets.get_mut(usize::from(self.owners[slot.index()])) {
                set.insert(slot);
            }
        }
        sets
    }

    fn settle(&mut self, wants: &[usize]) {
        let masters = u16::try_from(wants.len()).unwrap_or(NOBODY);
        let have = self.counts(masters);
        let mut surplus: Vec<usize> = have.iter().zip(wants).map(|(h, w)| h.saturating_sub(*w)).collect();
        let mut deficit: Vec<usize> = have.iter().zip(wants).map(|(h, w)| w.saturating_sub(*h)).collect();
        for shard in 0..masters {
            self.grow(shard, &mut deficit[usize::from(shard)], &mut surplus);
        }
        self.fill(&mut deficit, &mut surplus);
    }

    /// Takes slots that border on the shard's own, the lowest first.
    fn grow(&mut self, shard: u16, deficit: &mut usize, surplus: &mut [usize]) {
        if *deficit == 0 {
            return;
        }
        let is_own = |s: &usize| self.owners.get(*s) == Some(&shard);
        let own = (0..self.owners.len()).filter(is_own);
        let mut borders: BTreeSet<usize> = own.flat_map(neighbours).filter(|s| !is_own(s)).collect();
        while *deficit > 0
            && let Some(slot) = borders.pop_first()
        {
            if self.take(slot, shard, surplus) {
                *deficit -= 1;
                borders.extend(neighbours(slot));
            }
        }
    }

    /// Gives what is still missing: the lowest free slots, shard by shard; a donor is relieved from its front.
    fn fill(&mut self, deficit: &mut [usize], surplus: &mut [usize]) {
        let mut slot = 0;
        for shard in 0..u16::try_from(deficit.len()).unwrap_or(NOBODY) {
            while deficit[usize::from(shard)] > 0 && slot < self.owners.len() {
                if self.take(slot, shard, surplus) {
                    deficit[usize::from(shard)] -= 1;
                }
                slot += 1;
            }
        }
    }

    /// Gives the slot to the shard if its owner has too many, is to go, or there is none.
    fn take(&mut self, slot: usize, shard: u16, surplus: &mut [usize]) -> bool {
        let Some(owner) = self.owners.get_mut(slot) else {
            return false;
        };
        match surplus.get_mut(usize::from(*owner)) {
            Some(0) => return false,
            Some(spare) => *spare -= 1,
            None => {}
        }
        *owner = shard;
        true
    }
}

/// Slots below and above; one past the last is no slot, and nobody can take it.
fn neighbours(slot: usize) -> impl Iterator<Item = usize> {
    slot.checked_sub(1).into_iter().chain([slot + 1])
}

#[cfg(test)]
mod tests;
