//! One node as this one knows it.

use crate::announced::Announced;
use crate::dialect::Dialect;
use crate::io::LinkId;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::{Address, Epoch, Millis, NodeId, Role, SlotSet};
use std::collections::BTreeMap;

/// A node of the cluster, this one included.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
    pub(crate) announced: Announced,
    pub(crate) dialect: Dialect,
    /// It is a node of this project, by what it said last.
    pub(crate) is_own: bool,
    pub(crate) shard_id: NodeId,
    /// Whether it told its shard id itself; otherwise a replica has that of its master.
    pub(crate) told_shard_id: bool,
    pub(crate) flags: NodeFlags,
    pub(crate) master: Option<NodeId>,
    pub(crate) config_epoch: Epoch,
    /// Its master's epoch, when it last said that it is a replica. Whoever is elected has a later one.
    pub(crate) follows_epoch: Epoch,
    pub(crate) slots: SlotSet,
    /// Since when this node knows it.
    pub(crate) created: Millis,
    /// When it was last introduced by a MEET, an administrator's or its own; `None`: not since this node's start.
    pub(crate) met: Option<Millis>,
    /// When the PING went out that is unanswered.
    pub(crate) ping_sent: Option<Millis>,
    /// When its last PONG came, by itself or by gossip; zero for never.
    pub(crate) pong_received: Millis,
    /// When it last said that it is a master.
    pub(crate) claimed: Millis,
    /// When it last said that it is one and serves; `None`: not since this node's start.
    pub(crate) served: Option<Millis>,
    /// When anything came from it.
    pub(crate) data_received: Millis,
    /// Since when it is `FAIL`.
    pub(crate) fail_since: Millis,
    /// End of its replication stream; `None` until it was heard since this node's start.
    pub(crate) offset: Option<u64>,
    /// Who reported it as failing, and when last.
    pub(crate) reports: BTreeMap<NodeId, Millis>,
    /// Our connection to it.
    pub(crate) link: Option<LinkId>,
    /// Its connection to us.
    pub(crate) inbound: Option<LinkId>,
    /// When a connection was last tried.
    pub(crate) last_connect: Option<Millis>,
}

impl Node {
    pub(crate) fn new(id: NodeId, address: Address, flags: NodeFlags, shard_id: NodeId, now: Millis) -> Self {
        Self {
            id,
            address,
            announced: Announced::default(),
            dialect: Dialect::default(),
            is_own: false,
            shard_id,
            told_shard_id: false,
            flags,
            master: None,
            config_epoch: Epoch(0),
            follows_epoch: Epoch(0),
            slots: SlotSet::new(),
            created: now,
            met: None,
            ping_sent: None,
            pong_received: Millis(0),
            claimed: Millis(0),
            served: None,
            data_received: Millis(0),
            fail_since: Millis(0),
            offset: None,
            reports: BTreeMap::new(),
            link: None,
            inbound: None,
            last_connect: None,
        }
    }

    pub(crate) const fn has(&self, flag: NodeFlags) -> bool {
        self.flags.intersects(flag)
    }

    pub(crate) fn set(&mut self, flag: NodeFlags, on: bool) {
        self.flags = if on { self.flags.with(flag) } else { self.flags.without(flag) };
    }

    pub(crate) const fn is_master(&self) -> bool {
        self.has(NodeFlags::MASTER)
    }

    pub(crate) const fn is_replica(&self) -> bool {
        self.has(NodeFlags::REPLICA)
    }

    pub(crate) const fn is_failed(&self) -> bool {
        self.has(NodeFlags::FAIL)
    }

    pub(crate) const fn is_suspect(&self) -> bool {
        self.has(NodeFlags::PFAIL)
    }

    pub(crate) const fn in_handshake(&self) -> bool {
        self.has(NodeFlags::HANDSHAKE)
    }

    /// Whom it followed until now, if a claim with this epoch is one that it was elected with. It is not when it comes late,
    /// from when the node had not conceded yet.
    pub(crate) fn succeeds(&self, epoch: Epoch) -> Option<NodeId> {
        self.master.filter(|_| self.follows_epoch < epoch)
    }

    pub(crate) fn is_replica_of(&self, master: NodeId) -> bool {
        self.is_replica() && self.master == Some(master)
    }

    /// A master with slots: its vote counts.
    pub(crate) fn votes(&self) -> bool {
        self.is_master() && !self.slots.is_empty()
    }

    pub(crate) fn role(&self) -> Role {
        match self.master {
            Some(of) if self.is_replica() => Role::Replica { of },
            _ => Role::Master,
        }
    }

    /// What others think of it does not concern it any more.
    pub(crate) fn make_master(&mut self) {
        self.master = None;
        self.set(NodeFlags::REPLICA, false);
        self.set(NodeFlags::MASTER, true);
    }

    pub(crate) fn make_replica_of(&mut self, master: NodeId) {
        self.master = Some(master);
        self.set(NodeFlags::MASTER.with(NodeFlags::MIGRATE_TO), false);
        self.set(NodeFlags::REPLICA, true);
    }
}
