//! Bus connections between simulated nodes.

use crate::network::Party;
use crate::world::{Event, World};
use node_server_cluster::{Input, LinkId};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How long a connect takes to fail when nothing comes back at all.
const CONNECT_TIMEOUT_MS: u64 = 1_000;

/// One end.
#[derive(Clone, Copy, Debug)]
struct End {
    node: usize,
    incarnation: u32,
    link: LinkId,
    open: bool,
}

/// Every connection that may still carry something.
#[derive(Default)]
pub struct Wires {
    connections: BTreeMap<u64, (End, Option<End>)>,
    next: u64,
}

impl Wires {
    /// The node at an end.
    #[must_use]
    pub fn end(&self, connection: u64, initiator: bool) -> Option<usize> {
        self.get(connection, initiator).map(|e| e.node)
    }

    fn get(&self, connection: u64, initiator: bool) -> Option<End> {
        let (from, to) = self.connections.get(&connection)?;
        if initiator { Some(*from) } else { *to }
    }

    fn close_end(&mut self, connection: u64, initiator: bool) {
        let Some((from, to)) = self.connections.get_mut(&connection) else { return };
        match (initiator, to) {
            (true, _) => from.open = false,
            (false, Some(to)) => to.open = false,
            (false, None) => {}
        }
        let dead =
            self.connections.get(&connection).is_some_and(|(f, t)| !f.open && t.is_none_or(|t| !t.open));
        if dead {
            self.connections.remove(&connection);
        }
    }
}

impl World {
    /// A node's core wants a connection.
    pub fn connect(&mut self, node: usize, link: LinkId, to: SocketAddr) {
        let incarnation = self.nodes[node].incarnation;
        let target = self.listening_at(to);
        let from = Party::Node(node);
        let reachable = target.is_some_and(|t| self.both_ways(from, Party::Node(t)));
        let delay = 1 + self.network.delay() + self.network.delay();
        let failed = Event::ConnectFailed { node, incarnation, link };
        match target {
            Some(target) if reachable => {
                self.wires.next += 1;
                let connection = self.wires.next;
                let initiator = End { node, incarnation, link, open: true };
                self.wires.connections.insert(connection, (initiator, None));
                self.nodes[node].links.insert(link, connection);
                let number = self.nodes[target].next_inbound | LinkId::INBOUND;
                self.nodes[target].next_inbound += 1;
                let acceptor = End {
                    node: target,
                    incarnation: self.nodes[target].incarnation,
                    link: LinkId(number),
                    open: true,
                };
                if let Some(entry) = self.wires.connections.get_mut(&connection) {
                    entry.1 = Some(acceptor);
                }
                self.at(self.now + delay, Event::Established { connection });
            }
            Some(_) => self.at(self.now + CONNECT_TIMEOUT_MS, failed),
            None => self.at(self.now + delay, failed),
        }
    }

    pub(crate) fn established(&mut self, connection: u64) {
        let (Some(from), Some(to)) = (self.wires.get(connection, true), self.wires.get(connection, false))
        else {
            return;
        };
        let gone = self.nodes[to.node].incarnation != to.incarnation || self.nodes[to.node].cluster.is_none();
        if gone {
            self.wires.connections.remove(&connection);
            let failed =
                Event::ConnectFailed { node: from.node, incarnation: from.incarnation, link: from.link };
            return self.at(self.now, failed);
        }
        if !from.open {
            return;
        }
        if self.nodes[from.node].paused || self.nodes[to.node].paused {
            // One of them hears of it when it goes on; until then nothing flows.
            return self.at(self.now + 10, Event::Established { connection });
        }
        let peer = SocketAddr::new(self.nodes[from.node].address.ip, 40_000);
        let (from_ip, to_ip) = (self.nodes[from.node].address.ip, self.nodes[to.node].address.ip);
        self.nodes[to.node].links.insert(to.link, connection);
        self.input_to(to.node, to.incarnation, Input::Accepted { link: to.link, peer, local_ip: to_ip });
        self.input_to(from.node, from.incarnation, Input::Connected { link: from.link, local_ip: from_ip });
    }

    /// The node at the other end of a link.
    #[must_use]
    pub fn other_end(&self, node: usize, link: LinkId) -> Option<usize> {
        let connection = *self.nodes[node].links.get(&link)?;
        let initiator = self.wires.get(connection, true).is_some_and(|e| e.node == node && e.link == link);
        self.wires.end(connection, !initiator)
    }

    /// A node's core sends a frame.
    pub fn send(&mut self, node: usize, link: LinkId, bytes: Vec<u8>) {
        let Some(&connection) = self.nodes[node].links.get(&link) else { return };
        let from_initiator =
            self.wires.get(connection, true).is_some_and(|e| e.node == node && e.link == link);
        let Some(other) = self.wires.get(connection, !from_initiator) else { return };
        let (from, to) = (Party::Node(node), Party::Node(other.node));
        for arrival in self.network.send(self.now, from, to, (connection, from_initiator)) {
            let event = Event::Frame { connection, to_initiator: !from_initiator, bytes: bytes.clone() };
            self.at(arrival, event);
        }
    }

    pub(crate) fn frame(&mut self, connection: u64, to_initiator: bool, bytes: Vec<u8>) {
        let Some(end) = self.wires.get(connection, to_initiator).filter(|e| e.open) else { return };
        if self.nodes[end.node].links.get(&end.link) == Some(&connection) {
            self.stats.frames += 1;
            self.input_to(end.node, end.incarnation, Input::Frame { link: end.link, bytes });
        }
    }

    /// A node's core closes a connection; the other end hears of it if anything can reach it.
    pub fn close(&mut self, node: usize, link: LinkId) {
        let Some(connection) = self.nodes[node].links.remove(&link) else { return };
        let initiator = self.wires.get(connection, true).is_some_and(|e| e.node == node && e.link == link);
        self.hang_up(connection, initiator);
    }

    /// Every connection of a process that has ended.
    pub fn close_all(&mut self, node: usize) {
        let links: Vec<LinkId> = self.nodes[node].links.keys().copied().collect();
        for link in links {
            self.close(node, link);
        }
    }

    fn hang_up(&mut self, connection: u64, initiator: bool) {
        let here = self.wires.end(connection, initiator);
        let there = self.wires.end(connection, !initiator);
        if let (Some(here), Some(there)) = (here, there)
            && let Some(arrival) = self.network.datagram(self.now, Party::Node(here), Party::Node(there))
        {
            // Behind the frames that are under way.
            let arrival = arrival.max(self.network.stream_tail(connection, initiator));
            self.at(arrival, Event::Closed { connection, to_initiator: !initiator });
        }
        self.wires.close_end(connection, initiator);
    }

    pub(crate) fn closed(&mut self, connection: u64, to_initiator: bool) {
        let Some(end) = self.wires.get(connection, to_initiator).filter(|e| e.open) else { return };
        self.wires.close_end(connection, to_initiator);
        self.network.forget_stream(connection);
        if self.nodes[end.node].links.remove(&end.link).is_some() {
            self.input_to(end.node, end.incarnation, Input::Closed { link: end.link });
        }
    }
}
