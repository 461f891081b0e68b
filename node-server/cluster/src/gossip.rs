//! What nodes tell of others.

use crate::Cluster;
use crate::dialect::Dialect;
use crate::io::Level;
use crate::node::Node;
use node_server_protocol::bus::{GossipEntry, NodeFlags};
use node_server_protocol::{Millis, NodeId};

/// How far ahead of our clock a gossiped time may be to be believed, in milliseconds.
const CLOCK_TOLERANCE_MS: u64 = 500;
/// Most nodes that are known; gossip about more is ignored. Twice the largest cluster that is supported.
const NODES_MAX: usize = 4096;

impl Cluster {
    pub(crate) fn on_gossip(&mut self, sender: NodeId, entries: &[GossipEntry]) {
        for entry in entries {
            match self.view.node(entry.id) {
                Some(node) if node.in_handshake() || node.id == self.view.me => {}
                Some(_) => {
                    self.on_report(sender, entry);
                    self.on_gossiped_pong(entry);
                    self.on_gossiped_address(entry);
                }
                None => self.on_new_node(entry),
            }
        }
    }

    /// A master's word on whether a node has failed.
    fn on_report(&mut self, sender: NodeId, entry: &GossipEntry) {
        if !self.view.node(sender).is_some_and(Node::votes) {
            return;
        }
        let now = self.now;
        let (from, about) = (self.view.label(sender), self.view.label(entry.id));
        let Some(node) = self.view.node_mut(entry.id) else { return };
        if entry.flags.intersects(NodeFlags::PFAIL | NodeFlags::FAIL) {
            if node.reports.insert(sender, now).is_none() {
                let text = format!("Node {from} reported node {about} as not reachable.");
                self.log(Level::Verbose, text);
            }
            self.mark_failed_if_agreed(entry.id);
        } else if node.reports.remove(&sender).is_some() {
            let text = format!("Node {from} reported node {about} is back online.");
            self.log(Level::Verbose, text);
        }
    }

    /// Others hear from it, so that not everybody has to ask.
    fn on_gossiped_pong(&mut self, entry: &GossipEntry) {
        let latest = self.now.after(CLOCK_TOLERANCE_MS);
        let pong = Millis(u64::from(entry.pong_received_s) * 1000);
        let failing = entry.flags.intersects(NodeFlags::PFAIL | NodeFlags::FAIL);
        let Some(node) = self.view.node_mut(entry.id) else { return };
        let quiet = node.ping_sent.is_none() && node.reports.is_empty();
        if !failing && quiet && pong <= latest && pong > node.pong_received {
            node.pong_received = pong;
        }
    }

    /// We cannot reach it where we think it is; the sender can, elsewhere.
    fn on_gossiped_address(&mut self, entry: &GossipEntry) {
        let trouble = NodeFlags::PFAIL | NodeFlags::FAIL;
        let address = entry.address();
        let Some(node) = self.view.node_mut(entry.id) else { return };
        let theirs_is_good = !entry.flags.intersects(trouble.with(NodeFlags::NOADDR)) && address.has_ip();
        if !node.has(trouble.with(NodeFlags::NOADDR)) || !theirs_is_good || node.address == address {
            return;
        }
        node.address = address;
        node.set(NodeFlags::NOADDR, false);
        node.last_connect = None;
        self.close_outbound(entry.id);
        self.topology_changed();
        if self.view.myself().master == Some(entry.id) {
            self.follow_master();
        }
    }

    fn on_new_node(&mut self, entry: &GossipEntry) {
        let address = entry.address();
        let usable = !entry.flags.contains(NodeFlags::NOADDR) && address.has_ip();
        if !usable || self.is_forgotten(entry.id) || self.view.nodes.len() >= NODES_MAX {
            return;
        }
        let kept = NodeFlags::MASTER | NodeFlags::REPLICA | NodeFlags::NO_FAILOVER | NodeFlags::EXTENSIONS;
        let flags = NodeFlags::from_bits(entry.flags.bits() & kept.bits());
        let shard_id = self.rng.node_id();
        let mut node = Node::new(entry.id, address, flags, shard_id, self.now);
        node.dialect = Dialect::by_hearsay(entry.flags);
        self.view.nodes.insert(entry.id, node);
        self.topology_changed();
    }
}
