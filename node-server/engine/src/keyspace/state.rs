//! What this node may do with a slot (rule 3), in one byte that is published without a lock.

/// Bits of a slot's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotState(u8);

impl SlotState {
    /// Nobody's, or another master's.
    pub const FOREIGN: Self = Self(0);
    /// This master owns it and serves it: the usual case.
    pub const OWNED: Self = Self(1);
    /// It is moving to another node.
    pub const MIGRATING: Self = Self(2);
    /// It is coming from another node.
    pub const IMPORTING: Self = Self(4);
    /// This replica's master owns it.
    pub const REPLICA: Self = Self(8);
    /// The cluster does not serve.
    pub const DOWN: Self = Self(16);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a bit is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether this node may change the slot's keys and log it.
    #[must_use]
    pub const fn writable(self) -> bool {
        self.has(Self(Self::OWNED.0 | Self::IMPORTING.0))
    }

    /// For the atomic.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From the atomic.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}
