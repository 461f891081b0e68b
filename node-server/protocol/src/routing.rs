//! What the cluster core publishes and the engine routes by: who owns which slot, seen from this node.

use crate::{Family, NodeId, Role, SLOT_COUNT, Slot};
use std::collections::BTreeMap;

/// A node that commands can be redirected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNode {
    /// Its name.
    pub id: NodeId,
    /// What redirections say: IP, host name or `?`, as `cluster-preferred-endpoint-type` wants it.
    pub endpoint: String,
    /// What they say to clients that came by IPv6, where that is something else.
    pub endpoint_v6: Option<String>,
    /// The port that redirections say.
    pub port: u16,
    /// Its IP and client port for MIGRATE and the like; may be unknown.
    pub address: crate::Address,
}

impl RouteNode {
    /// What redirections of a client say.
    #[must_use]
    pub fn endpoint_for(&self, client: Family) -> &str {
        let special = self.endpoint_v6.as_deref().filter(|_| client == Family::V6);
        special.unwrap_or(&self.endpoint)
    }
}

/// Whether the cluster serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Every rule of reference/cluster-bus §1.9 is met.
    Ok,
    /// `-CLUSTERDOWN The cluster is down`; reads pass where `allow_reads` says so.
    Down {
        /// `cluster-allow-reads-when-down`.
        allow_reads: bool,
    },
    /// This master started without the data it owned slots for (design: an empty master never serves).
    /// Nothing is served until a replica has taken over or `CLUSTER REOPEN` was sent.
    ClosedEmpty,
}

/// The whole table. Immutable; a new one is published for every change.
#[derive(Clone, Debug)]
pub struct Routing {
    /// Grows with every published table.
    pub version: u64,
    /// This node.
    pub myself: NodeId,
    /// This node's role.
    pub role: Role,
    /// Whether commands are served.
    pub serving: Serving,
    /// Whether a replica of this node is believed to live. One that has no link may have been elected: what must not be
    /// lost waits for it a while.
    pub expects_replica: bool,
    nodes: Vec<RouteNode>,
    owners: Box<[u16; SLOT_COUNT as usize]>,
    migrating: BTreeMap<Slot, NodeId>,
    importing: BTreeMap<Slot, NodeId>,
}

/// No owner.
const NOBODY: u16 = u16::MAX;

impl Routing {
    /// A table in which nobody owns anything.
    #[must_use]
    pub fn new(version: u64, myself: NodeId, role: Role, serving: Serving, nodes: Vec<RouteNode>) -> Self {
        assert!(nodes.len() < usize::from(NOBODY), "more nodes than a slot table can name");
        let owners = Box::new([NOBODY; SLOT_COUNT as usize]);
        Self {
            version,
            myself,
            role,
            serving,
            expects_replica: false,
            nodes,
            owners,
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
        }
    }

    /// Makes `nodes()[index]` the owner.
    pub fn set_owner(&mut self, slot: Slot, index: usize) {
        assert!(index < self.nodes.len(), "owner index out of range");
        self.owners[slot.index()] = index as u16;
    }

    /// Marks one of this node's slots as moving to `target`.
    pub fn set_migrating(&mut self, slot: Slot, target: NodeId) {
        self.migrating.insert(slot, target);
    }

    /// Marks a slot as coming from `source` to this node.
    pub fn set_importing(&mut self, slot: Slot, source: NodeId) {
        self.importing.insert(slot, source);
    }

    /// Every node that may be named.
    #[must_use]
    pub fn nodes(&self) -> &[RouteNode] {
        &self.nodes
    }

    /// A node by name.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&RouteNode> {
        self.nodes.iter().find(|n| n.id == id)
    }

    /// Who owns the slot, if anybody.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&RouteNode> {
        self.nodes.get(usize::from(self.owners[slot.index()]))
    }

    /// Whether this node owns the slot (a replica owns none: its master does).
    #[must_use]
    pub fn is_mine(&self, slot: Slot) -> bool {
        self.owner(slot).is_some_and(|n| n.id == self.myself)
    }

    /// Where one of this node's slots is going.
    #[must_use]
    pub fn migrating_to(&self, slot: Slot) -> Option<&RouteNode> {
        self.migrating.get(&slot).and_then(|id| self.node(*id))
    }

    /// Where a slot comes from that this node is importing.
    #[must_use]
    pub fn importing_from(&self, slot: Slot) -> Option<NodeId> {
        self.importing.get(&slot).copied()
    }
}
