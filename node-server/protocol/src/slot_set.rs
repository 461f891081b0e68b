//! A set of slots as a bitmap of 2 KiB.

use crate::{SLOT_COUNT, Slot, SlotRange};
use std::fmt;

const WORDS: usize = SLOT_COUNT as usize / 64;

/// Any set of the 16384 slots.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet(Box<[u64; WORDS]>);

impl SlotSet {
    /// Bytes of the bus form.
    pub const BITMAP_LEN: usize = SLOT_COUNT as usize / 8;

    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// All 16384 slots.
    #[must_use]
    pub fn full() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// Adds a slot; true when it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let was = self.contains(slot);
        self.0[slot.index() / 64] |= 1 << (slot.index() % 64);
        !was
    }

    /// Adds a range, a word at a time.
    pub fn insert_range(&mut self, range: SlotRange) {
        let (start, end) = (range.start().index(), range.end().index());
        for word in start / 64..=end / 64 {
            let low = start.max(word * 64) % 64;
            let high = end.min(word * 64 + 63) % 64;
            self.0[word] |= (u64::MAX << low) & (u64::MAX >> (63 - high));
        }
    }

    /// Takes a slot out; true when it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let was = self.contains(slot);
        self.0[slot.index() / 64] &= !(1 << (slot.index() % 64));
        was
    }

    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    /// How many slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.runs().flat_map(|run| run.iter())
    }

    /// The fewest ranges that make up the set, ascending.
    #[must_use]
    pub fn ranges(&self) -> Vec<SlotRange> {
        self.runs().collect()
    }

    /// Runs of slots, found a word at a time.
    fn runs(&self) -> impl Iterator<Item = SlotRange> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next_with(from, true)?;
            let end = self.next_with(start, false).unwrap_or(usize::from(SLOT_COUNT));
            from = end;
            SlotRange::new(Slot::new(start as u16)?, Slot::new(end as u16 - 1)?)
        })
    }

    /// The first slot from `from` on that is in the set (or, with `wanted` false, is not).
    fn next_with(&self, from: usize, wanted: bool) -> Option<usize> {
        let mut word = from / 64;
        let flip = if wanted { 0 } else { u64::MAX };
        let mut bits = (self.0.get(word)? ^ flip) & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = self.0.get(word)? ^ flip;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// Slots in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Slots in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Slots here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = self.clone();
        for (a, b) in out.0.iter_mut().zip(other.0.iter()) {
            *a = f(*a, *b);
        }
        out
    }

    /// From the bus form: slot s is bit s % 8 (lowest first) of byte s / 8.
    #[must_use]
    pub fn from_bitmap(bytes: &[u8; Self::BITMAP_LEN]) -> Self {
        let mut out = Self::new();
        for (word, chunk) in out.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
        }
        out
    }

    /// The bus form.
    #[must_use]
    pub fn to_bitmap(&self) -> [u8; Self::BITMAP_LEN] {
        let mut bytes = [0; Self::BITMAP_LEN];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0.iter()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::new();
        set.extend(slots);
        set
    }
}

impl Extend<Slot> for SlotSet {
    fn extend<I: IntoIterator<Item = Slot>>(&mut self, slots: I) {
        for slot in slots {
            self.insert(slot);
        }
    }
}

impl FromIterator<SlotRange> for SlotSet {
    fn from_iter<I: IntoIterator<Item = SlotRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert_range(range);
        }
        set
    }
}

/// `0-5460,5500`, or `-` for none.
impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for range in self.ranges() {
            write!(f, "{separator}{range}")?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({self})")
    }
}

#[cfg(test)]
mod tests;
