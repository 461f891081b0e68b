//! How nodes get to know each other, and how they part.

use crate::Cluster;
use crate::io::{Level, LinkId};
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::{Header, NodeFlags};
use node_server_protocol::{Address, NodeId};

/// Least time that a handshake gets, in milliseconds.
const HANDSHAKE_MIN_MS: u64 = 1000;
/// Most handshakes at a time; above it MEETs are ignored. The largest cluster that is supported.
const HANDSHAKES_MAX: usize = 2000;

impl Cluster {
    /// CLUSTER MEET: a node under a made-up name, until it says its own.
    pub(crate) fn meet(&mut self, address: Address) {
        self.add_handshake(address, NodeFlags::HANDSHAKE.with(NodeFlags::MEET));
    }

    /// A MEET from a stranger: connect back to it.
    pub(crate) fn start_handshake_with(&mut self, id: LinkId, header: &Header) {
        let address = self.sender_address(id, header);
        if address.has_ip() {
            self.add_handshake(address, NodeFlags::HANDSHAKE);
        }
    }

    fn add_handshake(&mut self, address: Address, flags: NodeFlags) {
        let handshakes = || self.view.others().filter(|n| n.in_handshake());
        if handshakes().any(|n| n.address == address) || handshakes().count() >= HANDSHAKES_MAX {
            return;
        }
        let (id, shard_id) = (self.rng.node_id(), self.rng.node_id());
        let node = Node::new(id, address, flags, shard_id, self.now);
        self.view.nodes.insert(id, node);
    }

    /// Our connection to the node is up: introduce ourselves. An older unanswered PING still counts.
    pub(crate) fn greet(&mut self, id: NodeId) {
        let Some(node) = self.view.node(id) else { return };
        let unanswered = node.ping_sent;
        let meet = node.has(NodeFlags::MEET);
        self.send_to(id, if meet { Message::Meet } else { Message::Ping });
        if let (Some(sent), Some(node)) = (unanswered, self.view.node_mut(id)) {
            node.ping_sent = Some(sent);
        }
        self.guard_greet(id);
    }

    /// The answer on our connection to a node in handshake. True when the node now has its name, false when it was
    /// known already.
    pub(crate) fn finish_handshake(&mut self, link: LinkId, made_up: NodeId, header: &Header) -> bool {
        let known = self.view.known(header.sender).map(|n| n.id);
        let (met, address) = self.view.node(made_up).map(|n| (n.created, n.address)).unzip();
        // Whoever is introduced is not forgotten any more, and others are not told so.
        self.forgotten.remove(header.sender);
        if let Some(known) = known {
            if let Some(node) = self.view.node_mut(known) {
                node.met = met;
            }
            self.close_link(link);
            self.view.nodes.remove(&made_up);
            let label = self.view.label(known);
            let text = format!("Handshake: we already know node {label}, updating the address if needed.");
            self.log(Level::Verbose, text);
            if let Some(address) = address.filter(|_| known != self.view.me) {
                self.move_node(known, address);
            }
            return false;
        }
        let Some(mut node) = self.view.nodes.remove(&made_up) else { return false };
        self.log(Level::Debug, format!("Handshake with node {} completed.", header.sender));
        node.id = header.sender;
        node.met = met;
        node.set(NodeFlags::HANDSHAKE.with(NodeFlags::MEET), false);
        let role = header.flags.bits() & (NodeFlags::MASTER | NodeFlags::REPLICA).bits();
        node.flags |= NodeFlags::from_bits(role);
        node.set(NodeFlags::EXTENSIONS, header.flags.contains(NodeFlags::EXTENSIONS));
        node.offset = Some(header.offset);
        node.data_received = self.now;
        if let Some(link) = self.links.all.get_mut(&link) {
            link.node = Some(node.id);
        }
        self.view.nodes.insert(node.id, node);
        self.topology_changed();
        true
    }

    /// The node was found at another address than the known one, which does not answer.
    fn move_node(&mut self, id: NodeId, address: Address) {
        let Some(node) = self.view.node_mut(id) else { return };
        let lost = node.has(NodeFlags::NOADDR | NodeFlags::PFAIL | NodeFlags::FAIL);
        if !lost || node.address == address || !address.has_ip() {
            return;
        }
        node.address = address;
        node.set(NodeFlags::NOADDR, false);
        node.last_connect = None;
        self.close_outbound(id);
        self.topology_changed();
        if self.view.myself().master == Some(id) {
            self.follow_master();
        }
    }

    pub(crate) fn expire_handshakes(&mut self) {
        let timeout = self.config.node_timeout_ms.max(HANDSHAKE_MIN_MS);
        let old = |n: &&Node| n.in_handshake() && self.age(n.created) > timeout;
        let expired: Vec<NodeId> = self.view.others().filter(old).map(|n| n.id).collect();
        for id in expired {
            self.remove_node(id);
        }
        self.forgotten.expire(self.now);
    }

    /// Drops a node: its slots have no owner, its reports do not count.
    pub(crate) fn remove_node(&mut self, id: NodeId) {
        let Some(node) = self.view.nodes.get(&id) else { return };
        let links = [node.link, node.inbound];
        let slots = node.slots.clone();
        let was_known = !node.in_handshake();
        for link in links.into_iter().flatten() {
            self.close_link(link);
        }
        self.view.unassign(&slots);
        self.view.nodes.remove(&id);
        self.view.lacking.remove(&id);
        for node in self.view.nodes.values_mut() {
            node.reports.remove(&id);
            if node.master == Some(id) {
                node.master = None;
            }
        }
        self.view.migrating.retain(|_, end| *end != id);
        self.view.importing.retain(|_, end| *end != id);
        self.view.imported.retain(|_, imported| imported.from != id);
        if was_known {
            self.topology_changed();
        }
    }
}
