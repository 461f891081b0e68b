//! Messages in: what each says about its sender, then what it is for.

use crate::Cluster;
use crate::dialect::Dialect;
use crate::io::{Level, LinkId};
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::{
    Body, DecodeError, Extension, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet, Update,
    decode,
};
use node_server_protocol::{Millis, NodeId, SlotSet};
use std::net::SocketAddr;

impl Cluster {
    pub(crate) fn on_frame(&mut self, id: LinkId, bytes: &[u8]) {
        if !self.links.all.contains_key(&id) {
            return;
        }
        let packet = match decode(bytes) {
            Ok(packet) => packet,
            // Published messages: the shell has no subscribers in the cluster yet.
            Err(DecodeError::Light) => return,
            Err(error) => {
                self.log(Level::Warning, format!("Bus message dropped: {error}"));
                return;
            }
        };
        self.stats.received(packet.body.name());
        self.on_packet(id, packet);
    }

    fn on_packet(&mut self, id: LinkId, packet: Packet) {
        let Packet { header, body } = packet;
        let sender = self.view.known(header.sender).map(|n| n.id).filter(|s| *s != self.view.me);
        if let Some(sender) = sender {
            self.bind_inbound(id, sender);
            self.on_header(sender, &header, body.heartbeat().is_some());
        }
        match body {
            Body::Ping(heartbeat) => {
                self.answer_ping(id, sender);
                self.on_heartbeat(id, Kind::Ping, &header, &heartbeat);
            }
            Body::Meet(heartbeat) => {
                if sender.is_none() && header.sender != self.view.me {
                    self.start_handshake_with(id, &header);
                }
                self.answer_ping(id, sender);
                self.on_heartbeat(id, Kind::Meet, &header, &heartbeat);
            }
            Body::Pong(heartbeat) => self.on_heartbeat(id, Kind::Pong, &header, &heartbeat),
            Body::Fail { node } => self.on_fail(sender, node),
            Body::AuthRequest => self.on_auth_request(sender, &header),
            Body::AuthAck => self.on_auth_ack(sender, &header),
            Body::Update(update) => self.on_update(sender, &update),
            Body::MfStart => self.on_mf_start(sender),
            Body::Publish(_) | Body::PublishShard(_) | Body::Module(_) | Body::Unknown { .. } => {}
        }
    }

    /// What every message of a known node says: it lives, the epochs, its offset.
    fn on_header(&mut self, sender: NodeId, header: &Header, heartbeat: bool) {
        let now = self.now;
        if header.current_epoch > self.view.current_epoch {
            self.view.current_epoch = header.current_epoch;
            self.changed();
        }
        let paused = header.message_flags.contains(MessageFlags::PAUSED);
        let is_my_master = self.view.myself().master == Some(sender);
        let Some(node) = self.view.node_mut(sender) else { return };
        node.data_received = now;
        node.offset = Some(header.offset);
        let extensions = header.flags.contains(NodeFlags::EXTENSIONS)
            || header.message_flags.contains(MessageFlags::EXT_DATA);
        node.set(NodeFlags::EXTENSIONS, extensions);
        let dialect = Dialect::of(header);
        // Redis 7.0 shows that it has extensions only where some follow.
        if heartbeat || dialect > node.dialect {
            node.dialect = dialect;
        }
        node.is_own = header.own.contains(OwnFlags::READS_ALL);
        node.set(NodeFlags::NO_FAILOVER, header.flags.contains(NodeFlags::NO_FAILOVER));
        node.set(NodeFlags::MY_MASTER_FAIL, header.flags.contains(NodeFlags::MY_MASTER_FAIL));
        if header.master.is_some() {
            node.follows_epoch = header.config_epoch;
        } else {
            node.claimed = now;
            node.served = if header.cluster_down { node.served } else { Some(now) };
        }
        if header.master.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.changed();
            self.newer_claim_ends_election(header);
        }
        if paused && is_my_master {
            self.on_master_paused(header.offset);
        }
        self.guard_heard(sender, header);
    }

    /// PONG, on the link that the PING came on; a closed master may be silent.
    fn answer_ping(&mut self, id: LinkId, sender: Option<NodeId>) {
        if sender.is_some() {
            self.learn_own_ip(id);
        }
        if self.guard_is_silent() {
            self.guard.owe(id);
            return;
        }
        self.send_on(id, Message::Pong);
    }

    fn on_heartbeat(&mut self, id: LinkId, kind: Kind, header: &Header, heartbeat: &Heartbeat) {
        if kind == Kind::Meet {
            self.learn_own_ip_from_meet(id);
        }
        let outbound = self.outbound_node(id);
        if let Some(expected) = outbound {
            if self.view.node(expected).is_some_and(|n| n.in_handshake()) {
                if !self.finish_handshake(id, expected, header) {
                    return;
                }
                self.on_header(header.sender, header, true);
            } else if expected != header.sender {
                self.on_stranger(id, expected);
                return;
            }
        }
        let sender = self.view.known(header.sender).map(|n| n.id).filter(|s| *s != self.view.me);
        let Some(sender) = sender else { return };
        if kind != Kind::Pong {
            self.update_address(id, sender, header);
        }
        if kind == Kind::Pong && outbound.is_some() {
            self.on_pong(sender);
        }
        // Before the sender says which shard it has gone to.
        let of_its_shard = header.master.filter(|master| self.view.same_shard(sender, *master));
        if self.put_off(sender, header, of_its_shard) {
            return;
        }
        let succeeds = self.view.node(sender).and_then(|n| n.succeeds(header.config_epoch));
        self.on_extensions(sender, &heartbeat.extensions, header);
        self.on_role(sender, header, of_its_shard);
        self.on_claim(sender, header, succeeds);
        self.drop_what_is_served_elsewhere(sender, header);
        self.on_collision(sender, header);
        self.on_gossip(sender, &heartbeat.gossip);
    }

    /// The node that our own connection goes to.
    fn outbound_node(&self, id: LinkId) -> Option<NodeId> {
        self.links.all.get(&id).filter(|_| !id.is_inbound()).and_then(|l| l.node)
    }

    /// Somebody else answers at this node's address.
    fn on_stranger(&mut self, id: LinkId, expected: NodeId) {
        let now = self.now;
        if let Some(node) = self.view.node_mut(expected) {
            let age = now.since(node.created);
            let flags = node.flags.bits();
            node.set(NodeFlags::NOADDR, true);
            node.address.ip = [0, 0, 0, 0].into();
            node.address.port = 0;
            node.address.bus_port = 0;
            let text = format!(
                "PONG contains mismatching sender ID. About node {expected} added {age} ms ago, having flags {flags}"
            );
            self.log(Level::Debug, text);
        }
        self.close_link(id);
        self.topology_changed();
    }

    fn on_pong(&mut self, sender: NodeId) {
        let now = self.now;
        let Some(node) = self.view.node_mut(sender) else { return };
        node.pong_received = now;
        node.ping_sent = None;
        if node.is_suspect() {
            node.set(NodeFlags::PFAIL, false);
            self.topology_changed();
        } else if node.is_failed() {
            self.clear_failure(sender);
        }
    }

    fn on_extensions(&mut self, sender: NodeId, extensions: &[Extension], header: &Header) {
        if let Some(node) = self.view.node_mut(sender) {
            let announced = node.announced.after(extensions, header);
            if node.announced != announced {
                node.announced = announced;
                self.topology_changed();
            }
        }
        let shard_id = extensions.iter().find_map(|extension| match extension {
            Extension::ShardId(id) => Some(*id),
            _ => None,
        });
        self.learn_shard(sender, shard_id, header.master);
        for extension in extensions {
            if let Extension::ForgottenNode { node, ttl_s } = extension {
                self.forget_on_request(sender, *node, *ttl_s);
            }
        }
    }

    /// A replica is of its master's shard. What it says itself it may have made up, when it followed a master that it knew
    /// from gossip alone; it goes by that only where the master has not told its own.
    fn learn_shard(&mut self, sender: NodeId, told: Option<NodeId>, master: Option<NodeId>) {
        let master = master.and_then(|m| self.view.node(m));
        let of_master = master.map(|m| m.shard_id);
        let knows = |m: &Node| m.is_master() && (m.told_shard_id || m.id == self.view.me);
        let certain = of_master.filter(|_| master.is_some_and(knows));
        let Some(node) = self.view.node_mut(sender) else { return };
        let guessed = of_master.filter(|_| !node.told_shard_id);
        let shard_id = certain.or(told).or(guessed).unwrap_or(node.shard_id);
        node.told_shard_id |= told.is_some();
        if node.shard_id != shard_id {
            node.shard_id = shard_id;
            self.changed();
        }
        // A replica is of its master's shard, also when it followed before it knew which that is (a node known from gossip
        // alone has a made-up one).
        if self.view.myself().master == Some(sender) && self.view.myself().shard_id != shard_id {
            self.view.myself_mut().shard_id = shard_id;
            self.changed();
        }
    }

    fn on_fail(&mut self, sender: Option<NodeId>, failed: NodeId) {
        let Some(sender) = sender else {
            self.log(Level::Notice, format!("Ignoring FAIL message from unknown node about {failed}"));
            return;
        };
        let now = self.now;
        let me = self.view.me;
        let Some(node) = self.view.node_mut(failed).filter(|n| n.id != me && !n.is_failed()) else { return };
        node.set(NodeFlags::FAIL, true);
        node.set(NodeFlags::PFAIL, false);
        node.fail_since = now;
        let (from, about) = (self.view.label(sender), self.view.label(failed));
        self.log(Level::Notice, format!("FAIL message received from {from} about {about}"));
        self.topology_changed();
    }

    fn on_update(&mut self, sender: Option<NodeId>, update: &Update) {
        let known = self.view.known(update.node).map(|n| (n.id, n.config_epoch));
        let Some((id, epoch)) = known.filter(|(id, _)| sender.is_some() && *id != self.view.me) else {
            return;
        };
        if epoch == update.config_epoch {
            return self.on_more_slots(id, &update.slots);
        }
        if epoch > update.config_epoch {
            return;
        }
        let succeeds = self.view.node(id).and_then(|n| n.succeeds(update.config_epoch));
        if self.view.node(id).is_some_and(|n| n.is_replica()) {
            self.set_master_role(id);
        }
        if let Some(node) = self.view.node_mut(id) {
            node.config_epoch = update.config_epoch;
        }
        self.changed();
        self.take_slots(id, update.config_epoch, &update.slots, succeeds);
    }

    /// An UPDATE with the epoch that is known already. A node takes its slots one after the other, with one epoch; who was cut
    /// off after the first of them, and does not hear the node itself any more, would never hear of the others. (Redis and
    /// Valkey do not look at such a message.) A replica must: promoted without a vote it claims what it takes for its
    /// master's. A master hears of its own slots from who takes them.
    fn on_more_slots(&mut self, owner: NodeId, slots: &SlotSet) {
        let Some(node) = self.view.node(owner).filter(|n| n.is_master()) else { return };
        let claim = node.slots.union(slots);
        if claim != node.slots && !self.view.i_am_master() {
            let epoch = node.config_epoch;
            self.take_slots(owner, epoch, &claim, None);
        }
    }

    /// Where a message came from: what its header says, else what the socket says.
    pub(crate) fn sender_address(&self, id: LinkId, header: &Header) -> node_server_protocol::Address {
        let peer = self.links.all.get(&id).and_then(|l| l.peer).map(|p: SocketAddr| p.ip());
        let ip = header.ip.or(peer).unwrap_or([0, 0, 0, 0].into());
        node_server_protocol::Address { ip, port: header.port, bus_port: header.bus_port }
    }

    /// A PING tells the node's address; our own connection has to follow it.
    fn update_address(&mut self, id: LinkId, sender: NodeId, header: &Header) {
        let address = self.sender_address(id, header);
        let Some(node) = self.view.node_mut(sender) else { return };
        let same = node.address == address && !node.has(NodeFlags::NOADDR);
        if same || node.link == Some(id) || !address.has_ip() {
            return;
        }
        node.address = address;
        node.set(NodeFlags::NOADDR, false);
        node.last_connect = None;
        let text = format!("Address updated for node {}, now {}", node.label(), address.client());
        self.log(Level::Warning, text);
        self.close_outbound(sender);
        self.topology_changed();
        if self.view.myself().master == Some(sender) {
            self.follow_master();
        }
    }

    fn learn_own_ip(&mut self, id: LinkId) {
        let known = self.view.myself().address.has_ip();
        if !known || !self.own_ip_confirmed {
            self.learn_own_ip_from_meet(id);
        }
    }

    /// Others reach this node by the address that their connection ends at.
    fn learn_own_ip_from_meet(&mut self, id: LinkId) {
        let ip = self.links.all.get(&id).filter(|_| id.is_inbound()).and_then(|l| l.local_ip);
        let Some(ip) = ip.filter(|ip| self.config.announce_ip.is_none() && !ip.is_unspecified()) else {
            return;
        };
        self.own_ip_confirmed = true;
        if self.view.myself().address.ip != ip {
            self.view.myself_mut().address.ip = ip;
            self.log(Level::Warning, format!("IP address for this node updated to {ip}"));
            self.topology_changed();
        }
    }

    /// `now - since`, where something has happened at all.
    pub(crate) fn age(&self, since: Millis) -> u64 {
        self.now.since(since)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ping,
    Pong,
    Meet,
}
