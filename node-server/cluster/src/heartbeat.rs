//! The clock: links, PINGs, timeouts (reference/cluster-bus §1.7).

use crate::Cluster;
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::NodeId;
use node_server_protocol::bus::NodeFlags;

/// The clock's turn, in milliseconds.
pub(crate) const TICK_MS: u64 = 100;
/// Every this many turns one node is pinged although nothing asks for it.
const RANDOM_PING_TURNS: u64 = 10;
/// Among how many the one that was heard from least recently is chosen.
const RANDOM_PING_SAMPLES: usize = 5;

impl Cluster {
    pub(crate) fn tick(&mut self) {
        self.turns += 1;
        self.apply_config();
        self.expire_handshakes();
        self.open_links();
        self.drop_stuck_links();
        if self.turns.is_multiple_of(RANDOM_PING_TURNS) {
            self.ping_at_random();
        }
        self.ping_the_quiet();
        self.ping_while_paused();
        self.find_suspects();
        self.join_an_orphan();
        self.guard_tick();
    }

    /// A connection that swallows PINGs is made anew: after half a node timeout when nothing else comes from the node
    /// either, after a whole one when it is heard on its own connection, since only an answer on ours takes back a
    /// suspicion.
    fn drop_stuck_links(&mut self) {
        let (timeout, half) = (self.config.node_timeout_ms, self.config.node_timeout_ms / 2);
        let stuck = |n: &&Node| {
            let old =
                n.link.and_then(|l| self.links.all.get(&l)).is_some_and(|l| self.age(l.created) > timeout);
            let unanswered = n.ping_sent.map_or(0, |sent| self.age(sent));
            old && (unanswered > timeout || (unanswered > half && self.age(n.data_received) > half))
        };
        let stuck: Vec<NodeId> = self.view.others().filter(stuck).map(|n| n.id).collect();
        stuck.into_iter().for_each(|id| self.close_outbound(id));
    }

    fn ping_at_random(&mut self) {
        let idle = |n: &&Node| n.link.is_some() && n.ping_sent.is_none() && !n.has(NodeFlags::HANDSHAKE);
        let idle: Vec<_> = self.view.others().filter(idle).map(|n| (n.pong_received, n.id)).collect();
        let oldest = self.rng.pick(idle, RANDOM_PING_SAMPLES).into_iter().min();
        if let Some((_, id)) = oldest {
            self.send_to(id, Message::Ping);
        }
    }

    /// Nobody stays unasked for longer than half a node timeout.
    fn ping_the_quiet(&mut self) {
        let half = self.config.node_timeout_ms / 2;
        let quiet = |n: &&Node| {
            let silent = NodeFlags::HANDSHAKE.with(NodeFlags::NOADDR);
            !n.has(silent) && n.link.is_some() && n.ping_sent.is_none() && self.age(n.pong_received) > half
        };
        let quiet: Vec<NodeId> = self.view.others().filter(quiet).map(|n| n.id).collect();
        quiet.into_iter().for_each(|id| self.send_to(id, Message::Ping));
    }
}
