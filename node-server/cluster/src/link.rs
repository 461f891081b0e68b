//! Connections: one of ours to every node, one of every node's to us.

use crate::Cluster;
use crate::io::{LinkId, Output};
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::{Millis, NodeId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Most attempts to connect to a node within half a node timeout (as Valkey 8.1).
const CONNECTS_PER_HALF_TIMEOUT: u64 = 10;
/// Least time between two attempts, in milliseconds: one turn of the clock.
const CONNECT_INTERVAL_MIN_MS: u64 = 100;
/// Most accepted connections; above it new ones are closed. Twice the largest cluster that is supported.
const INBOUND_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct Link {
    /// Whose it is; of an accepted one, once a known node was heard on it.
    pub(crate) node: Option<NodeId>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local_ip: Option<IpAddr>,
    pub(crate) created: Millis,
    pub(crate) up: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) all: BTreeMap<LinkId, Link>,
    last: u64,
}

impl Links {
    fn next(&mut self) -> LinkId {
        self.last += 1;
        LinkId(self.last)
    }

    pub(crate) fn is_up(&self, link: Option<LinkId>) -> bool {
        link.and_then(|id| self.all.get(&id)).is_some_and(|l| l.up)
    }
}

impl Cluster {
    pub(crate) fn on_accepted(&mut self, id: LinkId, peer: SocketAddr, local_ip: IpAddr) {
        let inbound = self.links.all.keys().filter(|l| l.is_inbound()).count();
        if inbound >= INBOUND_MAX {
            self.emit(Output::Close { link: id });
            return;
        }
        let (peer, local_ip) = (Some(peer), Some(local_ip));
        self.links.all.insert(id, Link { node: None, peer, local_ip, created: self.now, up: true });
    }

    pub(crate) fn on_connected(&mut self, id: LinkId, local_ip: IpAddr) {
        let Some(link) = self.links.all.get_mut(&id) else { return };
        link.up = true;
        link.local_ip = Some(local_ip);
        if let Some(node) = link.node {
            self.greet(node);
        }
    }

    /// The connection is gone, whoever ended it. An unanswered PING stays unanswered.
    pub(crate) fn on_link_gone(&mut self, id: LinkId) {
        let Some(link) = self.links.all.remove(&id) else { return };
        let now = self.now;
        let Some(node) = link.node.and_then(|n| self.view.node_mut(n)) else { return };
        if node.inbound == Some(id) {
            node.inbound = None;
        }
        if node.link == Some(id) {
            node.link = None;
            // A node that cannot be reached at all must become suspect as well.
            if !link.up && node.ping_sent.is_none() {
                node.ping_sent = Some(now);
            }
        }
    }

    /// Ends a connection from this side.
    pub(crate) fn close_link(&mut self, id: LinkId) {
        if self.links.all.contains_key(&id) {
            self.emit(Output::Close { link: id });
            self.on_link_gone(id);
        }
    }

    /// Ends our connection to a node; the next turn of the clock opens a new one.
    pub(crate) fn close_outbound(&mut self, node: NodeId) {
        if let Some(link) = self.view.node(node).and_then(|n| n.link) {
            self.close_link(link);
        }
    }

    /// Opens the connections that are missing.
    pub(crate) fn open_links(&mut self) {
        let half = self.config.node_timeout_ms / 2;
        let interval = (half / CONNECTS_PER_HALF_TIMEOUT).max(CONNECT_INTERVAL_MIN_MS);
        let now = self.now;
        let me = self.view.me;
        let mut connect = Vec::new();
        for node in self.view.nodes.values_mut() {
            let due = node.last_connect.is_none_or(|last| now.since(last) >= interval);
            if node.id == me || node.link.is_some() || !node.address.has_ip() || !due {
                continue;
            }
            if node.has(NodeFlags::NOADDR) {
                continue;
            }
            let id = self.links.next();
            node.link = Some(id);
            node.last_connect = Some(now);
            connect.push((id, node.id, node.address.bus()));
        }
        for (id, node, to) in connect {
            let link = Link { node: Some(node), peer: Some(to), local_ip: None, created: now, up: false };
            self.links.all.insert(id, link);
            self.emit(Output::Connect { link: id, to });
        }
    }

    /// Remembers whose accepted connection this is; an older one of the same node is of no use any more.
    pub(crate) fn bind_inbound(&mut self, id: LinkId, sender: NodeId) {
        let Some(link) = self.links.all.get_mut(&id) else { return };
        if !id.is_inbound() || link.node == Some(sender) {
            return;
        }
        link.node = Some(sender);
        let old = self.view.node_mut(sender).and_then(|n| n.inbound.replace(id));
        if let Some(old) = old.filter(|old| *old != id) {
            self.close_link(old);
        }
    }
}
