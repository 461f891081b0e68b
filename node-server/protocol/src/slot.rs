//! One of the 16384 slots, and ranges of them.

use std::fmt;
use std::str::FromStr;

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16_384;

/// A slot number, 0 to 16383.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The lowest slot.
    pub const FIRST: Self = Self(0);
    /// The highest slot.
    pub const LAST: Self = Self(SLOT_COUNT - 1);

    /// A slot by number; `None` from 16384 on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a 16-bit hash: its lower 14 bits.
    #[must_use]
    pub const fn from_hash(hash: u16) -> Self {
        Self(hash & (SLOT_COUNT - 1))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every slot in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..SLOT_COUNT).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Slots from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    start: Slot,
    end: Slot,
}

/// Text that is not a slot or range of slots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a slot range (two numbers from 0 to 16383 as in \"0-5460\"): {0:?}")]
pub struct BadSlotRange(pub String);

impl SlotRange {
    /// `None` when `start` is above `end`.
    #[must_use]
    pub fn new(start: Slot, end: Slot) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// First slot.
    #[must_use]
    pub const fn start(&self) -> Slot {
        self.start
    }

    /// Last slot.
    #[must_use]
    pub const fn end(&self) -> Slot {
        self.end
    }

    /// How many slots; never zero, so there is no `is_empty`.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.end.0 - self.start.0 + 1
    }

    /// The slots in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Slot> + use<> {
        (self.start.0..=self.end.0).map(Slot)
    }
}

/// `5461` for one slot, `0-5460` for more, as CLUSTER NODES writes them.
impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end {
            write!(f, "{}", self.start)
        } else {
            write!(f, "{}-{}", self.start, self.end)
        }
    }
}

impl FromStr for SlotRange {
    type Err = BadSlotRange;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let slot = |t: &str| {
            let plain = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            t.parse().ok().filter(|_| plain).and_then(Slot::new)
        };
        let (start, end) = s.split_once('-').unwrap_or((s, s));
        slot(start).zip(slot(end)).and_then(|(a, b)| Self::new(a, b)).ok_or_else(|| BadSlotRange(s.into()))
    }
}

#[cfg(test)]
mod tests;
