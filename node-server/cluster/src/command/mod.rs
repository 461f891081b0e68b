//! CLUSTER subcommands: parsed here, answered here (reference/cluster-bus §1.15), except for those that only
//! the engine's keys can answer.

mod admin;
mod execute;
mod help;
pub mod parse;
mod query;
mod setslot;
mod shards;
mod slots;

pub use parse::parse;

use node_server_protocol::{Epoch, NodeId, Slot, SlotRange};
use std::fmt;
use std::net::IpAddr;

/// What became of the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// For `Input::Command`.
    Core(Command),
    /// For the shell and the engine.
    Keys(KeysQuery),
}

/// Questions about keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysQuery {
    /// CLUSTER KEYSLOT key: an integer.
    KeySlot(Vec<u8>),
    /// CLUSTER COUNTKEYSINSLOT slot: an integer.
    CountKeysInSlot(Slot),
    /// CLUSTER GETKEYSINSLOT slot count: an array of at most `count` keys.
    GetKeysInSlot(Slot, u64),
}

/// The reply to arguments that are no CLUSTER command: the text of a RESP error, its code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

/// A CLUSTER command for the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// MEET ip port [bus port].
    Meet {
        /// Where the other node is.
        ip: IpAddr,
        /// Its client port.
        port: u16,
        /// Its bus port.
        bus_port: u16,
    },
    /// FORGET id.
    Forget(NodeName),
    /// NODES.
    Nodes,
    /// INFO.
    Info,
    /// MYID.
    MyId,
    /// MYSHARDID.
    MyShardId,
    /// SLOTS.
    Slots,
    /// SHARDS.
    Shards,
    /// LINKS.
    Links,
    /// REPLICAS or SLAVES id.
    Replicas(NodeName),
    /// COUNT-FAILURE-REPORTS id.
    CountFailureReports(NodeName),
    /// ADDSLOTS and ADDSLOTSRANGE.
    AddSlots(Vec<SlotRange>),
    /// DELSLOTS and DELSLOTSRANGE.
    DelSlots(Vec<SlotRange>),
    /// FLUSHSLOTS.
    FlushSlots,
    /// SETSLOT.
    SetSlot(SetSlot),
    /// BUMPEPOCH.
    BumpEpoch,
    /// SET-CONFIG-EPOCH epoch.
    SetConfigEpoch(Epoch),
    /// REPLICATE id.
    Replicate(NodeName),
    /// FAILOVER [FORCE|TAKEOVER].
    Failover(FailoverKind),
    /// RESET [SOFT|HARD].
    Reset {
        /// HARD: new id, epochs 0.
        hard: bool,
    },
    /// SAVECONFIG.
    SaveConfig,
    /// REOPEN: a master that the empty-restart guard closed serves again (ours).
    Reopen,
    /// HELP.
    Help,
}

/// A node as a client named it. Text that is no id at all is simply a node that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(pub String);

impl NodeName {
    /// The id, if it is one.
    #[must_use]
    pub fn id(&self) -> Option<NodeId> {
        self.0.parse().ok()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As C shows it.
        f.write_str(self.0.split('\0').next().unwrap_or_default())
    }
}

/// SETSLOT slot …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSlot {
    /// Which slot.
    pub slot: Slot,
    /// What about it.
    pub action: SetSlotAction,
}

/// What SETSLOT does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetSlotAction {
    /// MIGRATING to.
    Migrating(NodeName),
    /// IMPORTING from.
    Importing(NodeName),
    /// STABLE.
    Stable,
    /// NODE.
    Node(NodeName),
}

/// Kinds of manual failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverKind {
    /// The master pauses its writers and takes part.
    Graceful,
    /// FORCE: without the master, by vote.
    Forced,
    /// TAKEOVER: without master and votes.
    Takeover,
}

impl Command {
    /// The slot whose keys the shell has to count for [`crate::DatasetInfo::in_slot`].
    #[must_use]
    pub fn slot_to_count(&self) -> Option<Slot> {
        match self {
            Self::SetSlot(SetSlot { slot, action: SetSlotAction::Node(_) }) => Some(*slot),
            _ => None,
        }
    }
}
