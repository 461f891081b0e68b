//! Who has failed: suspected by this node alone (`PFAIL`), agreed by a majority of the masters (`FAIL`).

use crate::Cluster;
use crate::config::Mutant;
use crate::io::Level;
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::NodeId;
use node_server_protocol::bus::NodeFlags;

/// Reports count for this many node timeouts.
const REPORT_TIMEOUTS: u64 = 2;
/// A master with slots that is reachable again stays `FAIL` for this many node timeouts, time for a replica to win.
const UNDO_TIMEOUTS: u64 = 2;

impl Cluster {
    /// The clock's view: who has not been heard from for a node timeout.
    pub(crate) fn find_suspects(&mut self) {
        let (now, timeout, me) = (self.now, self.config.node_timeout_ms, self.view.me);
        let mut suspects = Vec::new();
        for node in self.view.nodes.values_mut() {
            let Some(sent) = node.ping_sent else { continue };
            if node.id == me || node.has(NodeFlags::HANDSHAKE.with(NodeFlags::NOADDR)) {
                continue;
            }
            let silent = now.since(sent).min(now.since(node.data_received));
            if silent > timeout && !node.has(NodeFlags::PFAIL.with(NodeFlags::FAIL)) {
                node.set(NodeFlags::PFAIL, true);
                suspects.push(node.id);
            }
        }
        for id in &suspects {
            self.log(Level::Debug, format!("*** NODE {} possibly failing", self.view.label(*id)));
            self.topology_changed();
            self.mark_failed_if_agreed(*id);
        }
        if !suspects.is_empty() {
            self.report_suspects();
        }
        if self.config.is_mutant(Mutant::SilentRemoved) {
            let silent = |n: &&Node| n.is_failed() && self.age(n.fail_since) > timeout * UNDO_TIMEOUTS;
            let silent: Vec<NodeId> = self.view.others().filter(silent).map(|n| n.id).collect();
            silent.into_iter().for_each(|id| self.remove_node(id));
        }
    }

    /// Tells the other masters at once instead of with the next heartbeats: an unasked PONG, whose gossip has every
    /// suspect in it and which disturbs no open PING.
    fn report_suspects(&mut self) {
        if !self.view.myself().votes() {
            return;
        }
        let voters: Vec<NodeId> = self.view.others().filter(|n| n.votes()).map(|n| n.id).collect();
        voters.into_iter().for_each(|id| self.send_to(id, Message::Pong));
    }

    /// How many masters report the node, in time.
    pub(crate) fn failure_reports(&mut self, id: NodeId) -> usize {
        let (now, valid) = (self.now, self.config.node_timeout_ms * REPORT_TIMEOUTS);
        let Some(node) = self.view.node_mut(id) else { return 0 };
        node.reports.retain(|_, at| now.since(*at) <= valid);
        node.reports.len()
    }

    pub(crate) fn mark_failed_if_agreed(&mut self, id: NodeId) {
        if !self.view.node(id).is_some_and(|n| n.is_suspect() && !n.is_failed()) {
            return;
        }
        let own = usize::from(self.view.myself().votes());
        if self.failure_reports(id) + own < self.view.quorum() {
            return;
        }
        self.log(Level::Notice, format!("Marking node {} as failing (quorum reached).", self.view.label(id)));
        let now = self.now;
        if let Some(node) = self.view.node_mut(id) {
            node.set(NodeFlags::PFAIL, false);
            node.set(NodeFlags::FAIL, true);
            node.fail_since = now;
        }
        self.broadcast(Message::Fail(id));
        self.topology_changed();
    }

    /// A replica says itself that it has taken over: it lives. Two nodes of a shard that both had this flag replaced each
    /// other for ever, each as soon as it had heard that it was a replica, before any answer could take the flag away.
    pub(crate) fn clear_failure_of_successor(&mut self, id: NodeId) {
        let Some(node) = self.view.node_mut(id).filter(|n| n.is_failed()) else { return };
        node.set(NodeFlags::FAIL, false);
        self.log(Level::Notice, format!("Clear FAIL state for node {id}: replica has taken over."));
        self.topology_changed();
    }

    /// A failed node answered.
    pub(crate) fn clear_failure(&mut self, id: NodeId) {
        let Some(node) = self.view.node(id) else { return };
        let text = if !node.votes() {
            let what = if node.is_replica() { "replica" } else { "master without slots" };
            format!("Clear FAIL state for node {id}: {what} is reachable again.")
        } else if self.age(node.fail_since) > self.config.node_timeout_ms * UNDO_TIMEOUTS {
            format!(
                "Clear FAIL state for node {id}: is reachable again and nobody is serving its slots after some time."
            )
        } else {
            return;
        };
        if let Some(node) = self.view.node_mut(id) {
            node.set(NodeFlags::FAIL, false);
        }
        self.log(Level::Notice, text);
        self.topology_changed();
    }
}
