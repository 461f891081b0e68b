//! The slot map that the engine routes by.

use crate::Cluster;
use crate::config::EndpointType;
use crate::io::Output;
use crate::node::Node;
use node_server_protocol::routing::{RouteNode, Routing, Serving};
use node_server_protocol::{Family, Role, SlotSet};
use std::sync::Arc;

/// When the slot map has to be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    #[default]
    NotAtAll,
    /// Together with the next write of nodes.conf: one map for a whole batch of commands.
    WithPersist,
    /// With the outputs of this input.
    Now,
}

impl Cluster {
    /// What redirections of such clients name a node by.
    pub(crate) fn endpoint(&self, node: &Node, client: Family) -> String {
        let address = node.address_for(client);
        match self.config.endpoint_type {
            EndpointType::Ip if address.has_ip() => address.ip.to_string(),
            EndpointType::Hostname => node.announced.hostname.clone().unwrap_or_else(|| "?".into()),
            EndpointType::Ip | EndpointType::Unknown => String::new(),
        }
    }

    pub(crate) fn serving(&self) -> Serving {
        if self.guard.is_closed() {
            Serving::ClosedEmpty
        } else if self.state.ok {
            Serving::Ok
        } else {
            Serving::Down { allow_reads: self.config.allow_reads_when_down }
        }
    }

    /// Slots that this node owns but must not serve before that is on disk.
    fn unwritten_gains(&self) -> SlotSet {
        let myself = self.view.myself();
        if !myself.is_master() || self.promises_early() {
            return SlotSet::new();
        }
        myself.slots.difference(&self.gate.announced().slots)
    }

    /// A promotion that is not on disk yet: the old map holds until then.
    fn promotion_unwritten(&self) -> bool {
        self.view.i_am_master() && self.gate.announced().master.is_some() && !self.promises_early()
    }

    pub(crate) fn publish_when_due(&mut self) {
        let due = match self.urgency {
            Urgency::NotAtAll => false,
            Urgency::WithPersist => self.gate.needed().is_none(),
            Urgency::Now => true,
        };
        if due && !self.promotion_unwritten() {
            self.publish();
        }
    }

    pub(crate) fn publish_written(&mut self) {
        if self.urgency > Urgency::NotAtAll && !self.promotion_unwritten() {
            self.publish();
        }
    }

    fn publish(&mut self) {
        // What is masked because it is not on disk yet has to be shown then.
        let masked = !self.unwritten_gains().is_empty();
        self.urgency = if masked { Urgency::WithPersist } else { Urgency::NotAtAll };
        self.view.close_settled_slots();
        let routing = Arc::new(self.build_routing());
        self.published = Arc::clone(&routing);
        if std::mem::take(&mut self.become_master) {
            self.emit(Output::BecomeMaster);
        }
        self.emit(Output::Publish(routing));
    }

    fn route_node(&self, node: &Node) -> RouteNode {
        let endpoint = self.endpoint(node, Family::V4);
        let endpoint_v6 = Some(self.endpoint(node, Family::V6)).filter(|other| *other != endpoint);
        let port = node.address_for(Family::V4).port;
        RouteNode { id: node.id, endpoint, endpoint_v6, port, address: node.address }
    }

    fn build_routing(&self) -> Routing {
        let myself = self.view.myself();
        let known: Vec<&Node> = self.view.nodes.values().filter(|n| !n.in_handshake()).collect();
        let nodes = known.iter().map(|n| self.route_node(n)).collect();
        let version = self.published.version + 1;
        let mut routing = Routing::new(version, self.view.me, myself.role(), self.serving(), nodes);
        let lives = |n: &Node| !n.is_failed() && !n.is_suspect();
        routing.expects_replica = self.view.replicas_of(self.view.me).any(lives);
        let gains = self.unwritten_gains();
        for (index, node) in known.iter().enumerate() {
            let slots =
                if node.id == self.view.me { node.slots.difference(&gains) } else { node.slots.clone() };
            slots.iter().for_each(|slot| routing.set_owner(slot, index));
        }
        if myself.role() == Role::Master {
            self.view.migrating.iter().for_each(|(slot, end)| routing.set_migrating(*slot, *end));
        }
        self.view.importing.iter().for_each(|(slot, end)| routing.set_importing(*slot, *end));
        for slot in gains.iter() {
            let before = self.published.owner(slot).map(|n| n.id);
            if let Some(index) = before.and_then(|id| known.iter().position(|n| n.id == id)) {
                routing.set_owner(slot, index);
            }
            if let Some(source) = self.published.importing_from(slot) {
                routing.set_importing(slot, source);
            }
        }
        routing
    }
}
