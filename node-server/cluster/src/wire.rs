//! Messages out: headers, heartbeats with gossip, broadcasts.

use crate::Cluster;
use crate::dialect::Dialect;
use crate::gate::{Claim, Promise};
use crate::io::{LinkId, Output};
use crate::node::Node;
use node_server_protocol::bus::{
    Body, Extension, GossipEntry, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet, Update,
};
use node_server_protocol::{Epoch, Millis, NodeId};
use std::borrow::Cow;

/// Least number of nodes that a heartbeat tells of.
const GOSSIP_MIN: usize = 3;
/// A heartbeat tells of one in this many nodes.
const GOSSIP_SHARE: usize = 10;

/// A message in short; its packet is built when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Ping,
    Pong,
    Meet,
    Fail(NodeId),
    /// For this epoch, whatever the clock says by the time it leaves. `force`: vote even if the master seems to live.
    AuthRequest {
        epoch: Epoch,
        force: bool,
    },
    /// A vote given in this epoch; with a later one it would count in an election that it was not given in.
    AuthAck {
        epoch: Epoch,
    },
    Update(NodeId),
    MfStart,
}

impl Cluster {
    /// What is true of this node now, on disk or not.
    pub(crate) fn live_claim(&self) -> Claim {
        let source = self.view.shard_master();
        Claim {
            current_epoch: self.view.current_epoch,
            config_epoch: source.config_epoch,
            slots: source.slots.clone(),
            master: self.view.myself().master,
            shard_id: self.view.myself().shard_id,
        }
    }

    /// What may be said of this node now: what is on disk.
    fn claim(&self) -> Cow<'_, Claim> {
        if self.promises_early() {
            Cow::Owned(self.live_claim())
        } else {
            Cow::Borrowed(self.gate.announced())
        }
    }

    /// For a receiver that understands so much.
    fn header(&self, to: Dialect) -> Header {
        let claim = self.claim();
        let myself = self.view.myself();
        let role = if claim.master.is_some() { NodeFlags::REPLICA } else { NodeFlags::MASTER };
        let mut flags = role.with(NodeFlags::MYSELF).with(NodeFlags::EXTENSIONS);
        if myself.has(NodeFlags::NO_FAILOVER) {
            flags |= NodeFlags::NO_FAILOVER;
        }
        if to >= Dialect::Valkey && self.view.my_master().is_some_and(Node::is_failed) {
            flags |= NodeFlags::MY_MASTER_FAIL;
        }
        let mut message_flags = MessageFlags::EXT_DATA;
        if self.manual.paused_at().is_some() {
            message_flags |= MessageFlags::PAUSED;
        }
        Header {
            sender: self.view.me,
            port: myself.address.port,
            secondary_port: 0,
            bus_port: myself.address.bus_port,
            ip: self.config.announce_ip,
            current_epoch: claim.current_epoch,
            config_epoch: claim.config_epoch,
            offset: self.manual.paused_at().unwrap_or(self.replication.offset),
            slots: claim.slots.clone(),
            master: claim.master,
            flags,
            // A closed master has nothing to serve: who lost slots to it keeps their keys.
            cluster_down: !self.state.ok || self.guard.is_closed(),
            message_flags,
            own: if to >= Dialect::Valkey {
                OwnFlags::READS_ALL | OwnFlags::SAYS_ALL
            } else {
                OwnFlags::READS_ALL
            },
        }
    }

    fn dialect_of(&self, to: Option<NodeId>) -> Dialect {
        to.and_then(|id| self.view.node(id)).map_or(Dialect::Plain, |n| n.dialect)
    }

    fn packet(&mut self, message: Message, to: Option<NodeId>) -> Option<Packet> {
        let mut header = self.header(self.dialect_of(to));
        let body = match message {
            Message::Ping => Body::Ping(self.heartbeat(to)),
            Message::Pong => Body::Pong(self.heartbeat(to)),
            Message::Meet => Body::Meet(self.heartbeat(to)),
            Message::Fail(node) => Body::Fail { node },
            Message::AuthRequest { epoch, force } => {
                header.current_epoch = epoch;
                if force {
                    header.message_flags |= MessageFlags::FORCE_ACK;
                }
                Body::AuthRequest
            }
            Message::AuthAck { epoch } => {
                header.current_epoch = epoch;
                Body::AuthAck
            }
            Message::Update(owner) => {
                let owner = self.view.node(owner)?;
                let slots = owner.slots.difference(&self.view.unclaimed);
                Body::Update(Update { config_epoch: owner.config_epoch, node: owner.id, slots })
            }
            Message::MfStart => Body::MfStart,
        };
        Some(Packet { header, body })
    }

    /// Sends on one connection, in answer to what came on it.
    pub(crate) fn send_on(&mut self, link: LinkId, message: Message) {
        let Some(known) = self.links.all.get(&link) else { return };
        let (up, to) = (known.up, known.node);
        if message == Message::Ping || message == Message::Meet {
            let now = self.now;
            if let Some(node) = to.and_then(|id| self.view.node_mut(id)) {
                node.ping_sent = Some(now);
            }
        }
        if !up {
            return;
        }
        let Some(packet) = self.packet(message, to) else { return };
        self.stats.sent(packet.body.name());
        self.emit(Output::Send { link, frame: packet.encode() });
    }

    /// Sends to a node on our connection to it; nothing happens when there is none.
    pub(crate) fn send_to(&mut self, node: NodeId, message: Message) {
        if let Some(link) = self.view.node(node).and_then(|n| n.link) {
            self.send_on(link, message);
        }
    }

    pub(crate) fn broadcast(&mut self, message: Message) {
        let to: Vec<NodeId> = self.view.others().filter(|n| !n.in_handshake()).map(|n| n.id).collect();
        for node in to {
            self.send_to(node, message);
        }
    }

    /// Sends it when what is true now is on disk.
    pub(crate) fn promise(&mut self, promise: Promise) {
        if self.promises_early() {
            self.keep_promise(promise);
        } else if let Some(promise) = self.gate.hold(promise) {
            self.keep_promise(promise);
        }
    }

    pub(crate) fn keep_promise(&mut self, promise: Promise) {
        match promise {
            Promise::Send(node, message) => {
                if matches!(message, Message::AuthAck { .. }) {
                    self.vote_leaves(node);
                }
                self.send_to(node, message);
            }
            Promise::Answer(link, message) => self.send_on(link, message),
            Promise::Broadcast(message) => {
                if let Message::AuthRequest { epoch, .. } = message {
                    self.request_leaves(epoch);
                }
                self.broadcast(message);
            }
            Promise::PongToShard => {
                let Some(master) = self.view.myself().master else { return };
                let me = self.view.me;
                let to: Vec<NodeId> =
                    self.view.replicas_of(master).map(|n| n.id).filter(|id| *id != me).collect();
                for node in to {
                    self.send_to(node, Message::Pong);
                }
            }
            Promise::Output(output) => self.emit(output),
        }
    }

    /// Gossip and extensions for one receiver.
    fn heartbeat(&mut self, to: Option<NodeId>) -> Heartbeat {
        let total = self.view.nodes.len();
        let wanted = (total / GOSSIP_SHARE).max(GOSSIP_MIN).min(total.saturating_sub(2));
        let told = |n: &&Node| Some(n.id) != to && !n.in_handshake() && !n.has(NodeFlags::NOADDR);
        let dull = NodeFlags::PFAIL;
        let useful = |n: &&Node| !n.has(dull) && (n.link.is_some() || !n.slots.is_empty());
        let some: Vec<NodeId> = self.view.others().filter(told).filter(useful).map(|n| n.id).collect();
        let mut chosen = self.rng.pick(some, wanted);
        chosen.extend(self.view.others().filter(told).filter(|n| n.is_suspect()).map(|n| n.id));
        let gossip = chosen.iter().filter_map(|id| self.view.node(*id)).map(gossip_entry).collect();
        let extensions = self.extensions(self.dialect_of(to));
        Heartbeat { gossip, extensions }
    }

    fn extensions(&mut self, to: Dialect) -> Vec<Extension> {
        let mut all = self.view.myself().announced.extensions(to);
        if to >= Dialect::Redis {
            all.extend(self.forgotten_nodes());
            // That of the role in the header. With the next one's, Valkey takes the node for a master of the shard that it
            // is only about to join, and then ignores every "I am a replica" of a lower epoch as out of date.
            all.push(Extension::ShardId(self.claim().shard_id));
        }
        all
    }
}

fn gossip_entry(node: &Node) -> GossipEntry {
    let seconds = |t: Millis| u32::try_from(t.0 / 1000).unwrap_or(u32::MAX);
    let shown = NodeFlags::MASTER | NodeFlags::REPLICA | NodeFlags::PFAIL | NodeFlags::FAIL;
    let shown = shown.with(NodeFlags::NO_FAILOVER).with(NodeFlags::EXTENSIONS);
    GossipEntry {
        id: node.id,
        ping_sent_s: node.ping_sent.map_or(0, seconds),
        pong_received_s: seconds(node.pong_received),
        ip: node.address.has_ip().then_some(node.address.ip),
        port: node.address.port,
        bus_port: node.address.bus_port,
        flags: NodeFlags::from_bits(node.flags.bits() & shown.bits()),
        secondary_port: 0,
    }
}
