//! Whether the cluster serves, seen from here (reference/cluster-bus §1.9).

use crate::Cluster;
use crate::io::Level;
use crate::node::Node;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::{Millis, SlotSet};

/// A master that was part of a cluster serves and votes only after this, in milliseconds: time to hear that it was
/// replaced.
const WRITABLE_DELAY_MS: u64 = 2000;
/// A master that was in a minority serves again after a node timeout within these bounds, in milliseconds.
const REJOIN_DELAY_MS: (u64, u64) = (500, 5000);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ok: bool,
    /// When this node started, unless it was never part of a cluster.
    started: Option<Millis>,
    /// When it was last in a minority.
    minority: Option<Millis>,
}

impl State {
    pub(crate) const fn new(started: Option<Millis>) -> Self {
        Self { ok: false, started, minority: None }
    }

    pub(crate) fn is_starting(&self, now: Millis, myself: &Node) -> bool {
        myself.is_master() && self.started.is_some_and(|at| now.since(at) < WRITABLE_DELAY_MS)
    }
}

impl Cluster {
    pub(crate) fn update_state(&mut self) {
        let voters = || self.view.nodes.values().filter(|n| n.votes());
        let reachable = voters().filter(|n| !n.has(NodeFlags::FAIL.with(NodeFlags::PFAIL))).count();
        let minority = reachable < self.view.quorum();
        let covered = !self.config.require_full_coverage || self.is_covered();
        // A node that reads its files serves nothing.
        let ok = covered && !minority && !self.loading;
        let now = self.now;
        if minority {
            self.state.minority = Some(now);
        }
        if ok == self.state.ok {
            return;
        }
        if ok && self.state.is_starting(now, self.view.myself()) {
            return;
        }
        let (least, most) = REJOIN_DELAY_MS;
        let rejoin = self.config.node_timeout_ms.clamp(least, most);
        let healing = self.state.started.is_some() || self.was_ok;
        let recent = self.state.minority.is_some_and(|at| now.since(at) < rejoin);
        if ok && healing && recent && self.view.i_am_master() {
            return;
        }
        self.state.ok = ok;
        self.was_ok |= ok;
        let text = if ok { "Cluster state changed: ok" } else { "Cluster state changed: fail" };
        self.log(Level::Notice, text.into());
        if !ok && minority && self.view.size() > 0 {
            self.log(Level::Notice, "Cluster is currently down: I am part of a minority partition.".into());
        }
        self.publish_soon();
    }

    /// Every slot has an owner that has not failed.
    fn is_covered(&self) -> bool {
        let alive = self.view.nodes.values().filter(|n| !n.is_failed() && !n.slots.is_empty());
        let mut covered = SlotSet::new();
        for node in alive {
            covered = covered.union(&node.slots);
        }
        covered.len() == usize::from(node_server_protocol::SLOT_COUNT)
    }
}
