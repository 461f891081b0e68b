//! The empty-restart guard: a master that lost its data never serves (design, The node, 12).
//!
//! A closed master does not answer PINGs while a replica could take over, and as soon as it hears one that has data
//! it declares itself failed: FAIL about itself, which Redis and Valkey accept like any other FAIL. The replica is
//! then elected without waiting for a node timeout; a closed master still votes in elections of other shards, or two
//! closed masters of three could never be replaced. It learns of its replacement as any old master does, and becomes
//! its replica. If every replica was heard and none has data, it answers PINGs and stays closed until CLUSTER REOPEN.

use crate::Cluster;
use crate::gate::Promise;
use crate::io::{Level, LinkId};
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::{Header, NodeFlags};
use node_server_protocol::{Millis, NodeId};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Guard {
    closed: bool,
    /// Since when it says that it failed, and when it last did.
    declared: Option<Millis>,
    /// Connections with a PING that was not answered: nobody asks again for a node timeout.
    owed: BTreeSet<LinkId>,
}

impl Guard {
    pub(crate) fn new(closed: bool) -> Self {
        Self { closed, declared: None, owed: BTreeSet::new() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn owe(&mut self, link: LinkId) {
        self.owed.insert(link);
    }
}

impl Cluster {
    /// Replaced or reopened: the PINGs are answered as soon as what this node is now is on disk.
    pub(crate) fn open_guard(&mut self) {
        let guard = std::mem::take(&mut self.guard);
        self.changed();
        for link in guard.owed {
            self.promise(Promise::Answer(link, Message::Pong));
        }
    }

    /// A header of any node: is it a replica of ours, and does it have data?
    pub(crate) fn guard_heard(&mut self, sender: NodeId, header: &Header) {
        if !self.guard.closed || header.master != Some(self.view.me) || header.offset == 0 {
            return;
        }
        if self.guard.declared.is_none() && !header.flags.contains(NodeFlags::NO_FAILOVER) {
            self.log(
                Level::Warning,
                format!("Started without data but replica {sender} has it: declaring myself failed."),
            );
            self.declare_failed();
        }
    }

    fn declare_failed(&mut self) {
        self.guard.declared = Some(self.now);
        self.broadcast(Message::Fail(self.view.me));
    }

    /// Whether PINGs stay unanswered.
    pub(crate) fn guard_is_silent(&self) -> bool {
        let unheard = |n: &Node| n.offset.is_none();
        self.guard.closed
            && (self.guard.declared.is_some() || self.view.replicas_of(self.view.me).any(unheard))
    }

    pub(crate) fn guard_greet(&mut self, node: NodeId) {
        if self.guard.declared.is_some() && self.view.known(node).is_some() {
            self.send_to(node, Message::Fail(self.view.me));
        }
    }

    /// Says it again, for those that missed it.
    pub(crate) fn guard_tick(&mut self) {
        let half = self.config.node_timeout_ms / 2;
        let links = &self.links.all;
        self.guard.owed.retain(|id| links.contains_key(id));
        if self.guard.declared.is_some_and(|at| self.age(at) >= half) {
            self.declare_failed();
        }
    }
}
