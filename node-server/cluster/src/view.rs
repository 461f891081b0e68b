//! The cluster as this node sees it. Slots of different nodes never overlap.

use crate::announced::Announced;
use crate::node::Node;
use crate::nodes_conf::NodesConf;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::topology::NodeLine;
use node_server_protocol::{Epoch, Family, Millis, NodeId, Slot, SlotSet};
use std::collections::BTreeMap;

/// The auxiliary field of nodes.conf for the shard's name.
pub(crate) const SHARD_ID: &str = "shard-id";

/// Where an imported slot came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Imported {
    pub(crate) from: NodeId,
    /// Since when it has been open towards there.
    pub(crate) returns: Option<Millis>,
}

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) me: NodeId,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) current_epoch: Epoch,
    pub(crate) last_vote_epoch: Epoch,
    /// Open slots of this node, or of its master while it is a replica, so that a failover keeps them.
    pub(crate) migrating: BTreeMap<Slot, NodeId>,
    pub(crate) importing: BTreeMap<Slot, NodeId>,
    /// Slots that this shard imported, with the source, until that is heard to claim them no more. A claim of the source
    /// before that is what it said before it knew, however high its epoch has become meanwhile.
    pub(crate) imported: BTreeMap<Slot, Imported>,
    /// Slots whose owner no longer claims them: still routed to it, but not vouched for in UPDATEs.
    pub(crate) unclaimed: SlotSet,
    /// Those of them by owner, and since when its headers have lacked just these. What SETSLOT or a master's log tells of
    /// a gain is known before the bus says so, so headers that were under way lack it for a moment.
    pub(crate) lacking: BTreeMap<NodeId, (SlotSet, Millis)>,
}

impl View {
    pub(crate) fn new(myself: Node) -> Self {
        Self {
            me: myself.id,
            nodes: BTreeMap::from([(myself.id, myself)]),
            current_epoch: Epoch(0),
            last_vote_epoch: Epoch(0),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            imported: BTreeMap::new(),
            unclaimed: SlotSet::new(),
            lacking: BTreeMap::new(),
        }
    }

    pub(crate) fn myself(&self) -> &Node {
        self.nodes.get(&self.me).expect("this node is never removed from its own view")
    }

    pub(crate) fn myself_mut(&mut self) -> &mut Node {
        self.nodes.get_mut(&self.me).expect("this node is never removed from its own view")
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// A node whose name is known, so not one of a handshake.
    pub(crate) fn known(&self, id: NodeId) -> Option<&Node> {
        self.node(id).filter(|n| !n.in_handshake())
    }

    /// Every node but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|n| n.id != self.me)
    }

    pub(crate) fn i_am_master(&self) -> bool {
        self.myself().is_master()
    }

    pub(crate) fn my_master(&self) -> Option<&Node> {
        self.myself().master.and_then(|id| self.node(id))
    }

    /// The master of this node's shard: itself or its master.
    pub(crate) fn shard_master(&self) -> &Node {
        self.my_master().unwrap_or_else(|| self.myself())
    }

    /// How many masters have slots: half of them and one more are a majority.
    pub(crate) fn size(&self) -> usize {
        self.nodes.values().filter(|n| n.votes()).count()
    }

    pub(crate) fn quorum(&self) -> usize {
        self.size() / 2 + 1
    }

    pub(crate) fn replicas_of(&self, master: NodeId) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |n| n.is_replica_of(master))
    }

    pub(crate) fn same_shard(&self, a: NodeId, b: NodeId) -> bool {
        let shard = |id| self.node(id).map(|n: &Node| n.shard_id);
        a == b || shard(a).is_some_and(|s| shard(b) == Some(s))
    }

    pub(crate) fn max_epoch(&self) -> Epoch {
        let known = self.nodes.values().map(|n| n.config_epoch).max().unwrap_or_default();
        known.max(self.current_epoch)
    }

    /// Gives slots to `owner`, whoever has them.
    pub(crate) fn assign(&mut self, slots: &SlotSet, owner: NodeId) {
        self.unassign(slots);
        if let Some(node) = self.nodes.get_mut(&owner) {
            node.slots = node.slots.union(slots);
        }
    }

    /// Leaves slots without an owner.
    pub(crate) fn unassign(&mut self, slots: &SlotSet) {
        for node in self.nodes.values_mut().filter(|n| !n.slots.is_empty()) {
            node.slots = node.slots.difference(slots);
        }
        self.unclaimed = self.unclaimed.difference(slots);
    }

    /// Open slots that do not fit their owners any more are closed: what leaves must be ours (or our master's),
    /// what comes must not be.
    pub(crate) fn close_settled_slots(&mut self) {
        if self.migrating.is_empty() && self.importing.is_empty() && self.imported.is_empty() {
            return;
        }
        let own = self.shard_master().slots.clone();
        self.imported.retain(|slot, _| own.contains(*slot));
        self.migrating.retain(|slot, _| own.contains(*slot));
        self.importing.retain(|slot, _| !own.contains(*slot));
    }

    /// Open slots whose other end was `from` now have `to` there: it took over.
    pub(crate) fn redirect_open_slots(&mut self, from: NodeId, to: NodeId) -> bool {
        let ends = self.migrating.values_mut().chain(self.importing.values_mut());
        let mut changed = false;
        for end in ends.filter(|end| **end == from) {
            *end = to;
            changed = true;
        }
        changed
    }

    /// One line of CLUSTER NODES for such a client, or of nodes.conf.
    pub(crate) fn line(&self, node: &Node, connected: bool, client: Option<Family>) -> NodeLine {
        let mine = node.id == self.me;
        let master = node.master.filter(|_| node.is_replica());
        let epoch_of = master.and_then(|id| self.node(id)).unwrap_or(node);
        NodeLine {
            id: node.id,
            address: client.map_or(node.address, |family| node.address_for(family)),
            hostname: node.announced.hostname.clone().unwrap_or_default(),
            aux: BTreeMap::new(),
            flags: if mine { node.flags.with(NodeFlags::MYSELF) } else { node.flags },
            master,
            ping_sent: node.ping_sent.unwrap_or_default(),
            pong_received: node.pong_received,
            config_epoch: epoch_of.config_epoch,
            connected: connected || mine,
            slots: node.slots.clone(),
            migrating: self.open(mine, &self.migrating),
            importing: self.open(mine, &self.importing),
        }
    }

    fn open(&self, mine: bool, slots: &BTreeMap<Slot, NodeId>) -> Vec<(Slot, NodeId)> {
        if mine { slots.iter().map(|(slot, end)| (*slot, *end)).collect() } else { Vec::new() }
    }

    /// A node for log lines.
    pub(crate) fn label(&self, id: NodeId) -> String {
        self.node(id).map_or_else(|| id.to_string(), Node::label)
    }

    /// All of it as nodes.conf has it.
    pub(crate) fn to_conf(&self) -> NodesConf {
        let line = |node: &Node| {
            let mut line = self.line(node, node.link.is_some(), None);
            line.aux.insert(SHARD_ID.into(), node.shard_id.to_string());
            node.announced.write(&mut line.aux);
            line
        };
        NodesConf {
            nodes: self.nodes.values().filter(|n| !n.in_handshake()).map(line).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        }
    }

    /// From a nodes.conf. What was suspected or failed then still is; heartbeats start anew.
    pub(crate) fn from_conf(
        conf: &NodesConf,
        me: NodeId,
        random: impl FnMut() -> NodeId,
        now: Millis,
    ) -> Self {
        let mut random = random;
        let mut view = Self::new(Node::new(me, conf.myself().address, NodeFlags::empty(), me, now));
        for line in &conf.nodes {
            let shard_id = line.shard_id().and_then(|text| text.parse().ok());
            let told = shard_id.is_some();
            let shard_id = shard_id.unwrap_or_else(&mut random);
            let flags = line.flags.without(NodeFlags::MYSELF);
            let mut node = Node::new(line.id, line.address, flags, shard_id, now);
            node.told_shard_id = told;
            node.announced = Announced::read(&line.hostname, &line.aux);
            node.master = line.master;
            node.slots = line.slots.clone();
            node.config_epoch = if line.master.is_some() { Epoch(0) } else { line.config_epoch };
            node.ping_sent = (line.ping_sent > Millis(0)).then_some(now);
            node.pong_received = if line.pong_received > Millis(0) { now } else { Millis(0) };
            node.fail_since = now;
            view.nodes.insert(line.id, node);
        }
        view.migrating = conf.myself().migrating.iter().copied().collect();
        view.importing = conf.myself().importing.iter().copied().collect();
        view.last_vote_epoch = conf.last_vote_epoch;
        view.current_epoch = conf.current_epoch;
        view.current_epoch = view.max_epoch();
        view
    }
}
