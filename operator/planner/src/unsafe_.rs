//! What is refused because it might lose a key, and the proof that is missing. Each one ends up in status.

use crate::member::MemberId;
use crate::text;
use node_server_protocol::{Address, NodeId, SlotSet};
use serde::{Deserialize, Serialize};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsafe {
    /// A node is in the view that is none of our members' and is not proven gone.
    ForeignNode {
        /// Its name.
        #[serde(with = "text::node_id")]
        id: NodeId,
        /// Where it is said to listen.
        #[serde(with = "text::address")]
        address: Address,
        /// Who knows it.
        seen_by: MemberId,
        /// Slots that it is said to own.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// A node that was ours does not answer, and nothing proves that it is gone: not forgotten.
    NotProvenGone {
        /// Its name.
        #[serde(with = "text::node_id")]
        id: NodeId,
        /// Where it was.
        #[serde(with = "text::address")]
        address: Address,
    },
    /// A new member already knows other nodes than ours: introducing it would merge two clusters.
    WouldMergeClusters {
        /// Which member.
        member: MemberId,
        /// One of the nodes that it knows.
        #[serde(with = "text::node_id")]
        knows: NodeId,
    },
    /// A new member has keys of its own: it is neither introduced nor made a replica, which would drop them.
    NotEmpty {
        /// Which.
        member: MemberId,
        /// How many keys.
        keys: u64,
    },
    /// A member is not removed: it still owns slots.
    OwnsSlots {
        /// Which.
        member: MemberId,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// A member is not removed: it still has keys, or nobody can say whether it has.
    HasKeys {
        /// Which.
        member: MemberId,
        /// How many; `None` when that is not known.
        keys: Option<u64>,
    },
    /// A member is not removed, or a node not forgotten, while this one does not answer.
    UnknownMember {
        /// What is not done to it.
        subject: MemberId,
        /// Who does not answer.
        silent: MemberId,
    },
    /// Slots without an owner are not assigned: this member does not answer and may own them.
    MayBeOwned {
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
        /// Who does not answer.
        silent: MemberId,
    },
    /// A dead master is not replaced by force: no majority is left, and its death is proven only by a refused
    /// connection.
    TakeoverNotProven {
        /// Of which shard.
        shard: u16,
        /// The master.
        #[serde(with = "text::node_id")]
        master: NodeId,
    },
    /// A dead master is not replaced: its data is on its volume, and the best replica was not in sync at its end, or for
    /// long before, so that it may lack much of it.
    OlderCopy {
        /// Of which shard.
        shard: u16,
        /// The master.
        #[serde(with = "text::node_id")]
        master: NodeId,
        /// The replica with the older copy.
        replica: MemberId,
    },
    /// A dead master has no replica with its data: its slots wait for its return.
    NoReplica {
        /// Of which shard.
        shard: u16,
        /// The master.
        #[serde(with = "text::node_id")]
        master: NodeId,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// Every copy of a shard is empty or gone, and losing data is not allowed.
    DataLoss {
        /// Which shard.
        shard: u16,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// A closed, empty master is not opened: a copy of its shard has data, or does not answer.
    CopyMayExist {
        /// Which shard.
        shard: u16,
        /// The copy.
        copy: MemberId,
    },
    /// A master of a member that is to go has no replica in sync among those that stay.
    NoSuccessor {
        /// Whose mastership cannot be moved.
        member: MemberId,
    },
    /// A key is in a slot that its node does not own, and the owner cannot take it now.
    StrayKeys {
        /// Where.
        member: MemberId,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// An open slot can be neither finished nor reverted now: the other side does not answer.
    OpenSlotStuck {
        /// Where it is open.
        member: MemberId,
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
}
