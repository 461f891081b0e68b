//! What is being waited for. Nothing here blocks anything that does not depend on it.

use crate::member::MemberId;
use crate::observed::Why;
use crate::text;
use node_server_protocol::{NodeId, SlotSet};
use serde::{Deserialize, Serialize};

/// Something that is not so yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// The platform did not say which members there are.
    Platform(Why),
    /// A member does not run yet; why, in words.
    Start {
        /// Which.
        member: MemberId,
        /// Why not.
        reason: String,
    },
    /// A member ended; the platform starts it again.
    Restart {
        /// Which.
        member: MemberId,
    },
    /// A member runs, or may, and does not answer.
    Answer {
        /// Which.
        member: MemberId,
        /// Why not.
        why: Why,
    },
    /// A member was asked to go.
    Leave {
        /// Which.
        member: MemberId,
    },
    /// Two nodes are being introduced.
    Handshake {
        /// Who has not heard of it yet.
        at: MemberId,
        /// Of whom.
        peer: MemberId,
    },
    /// The views of the nodes differ about these slots.
    ViewsAgree {
        /// Which slots.
        #[serde(with = "text::slot_set")]
        slots: SlotSet,
    },
    /// A node thinks that the cluster is down.
    ClusterOk {
        /// Which.
        member: MemberId,
    },
    /// A replica copies its master's data.
    ReplicaSync {
        /// Which.
        member: MemberId,
    },
    /// A master's death is not proven, or its replicas are about to elect.
    Failover {
        /// Of which shard.
        shard: u16,
        /// The master.
        #[serde(with = "text::node_id")]
        master: NodeId,
        /// What is missing, in words.
        reason: String,
    },
    /// Slots cannot leave or reach a shard before it has a master that serves.
    ServingMaster {
        /// Which shard.
        shard: u16,
    },
    /// A returned master has not yet become a replica of its successor.
    Demotion {
        /// Which.
        member: MemberId,
    },
    /// A step of another shard goes first: at most so many disruptive steps at a time.
    Turn {
        /// Whose step is held.
        shard: u16,
    },
}
