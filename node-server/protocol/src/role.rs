//! What a node is.

use crate::NodeId;

/// Master (may own slots) or replica of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May own slots, with or without any.
    Master,
    /// Copies `of` and may take over its slots.
    Replica {
        /// The master it copies.
        of: NodeId,
    },
}

impl Role {
    /// True for a master, with or without slots.
    #[must_use]
    pub const fn is_master(&self) -> bool {
        matches!(self, Self::Master)
    }

    /// The master that a replica copies.
    #[must_use]
    pub const fn master(&self) -> Option<NodeId> {
        match self {
            Self::Master => None,
            Self::Replica { of } => Some(*of),
        }
    }
}
