//! SIGTERM on a master: a replica takes over before the process ends.
//!
//! The master sends MFSTART, which otherwise only replicas send, to the replica of its choice. A replica of ours then
//! runs a manual failover as if it had been sent CLUSTER FAILOVER; any other ignores it and the next one is asked. They
//! are asked again and again: one that is slow, or did not know yet whose replica it is, may still take over.

use crate::Cluster;
use crate::io::{HandOver, Level, Output};
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::{Millis, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How long a replica may take to answer, in milliseconds.
const ANSWER_MS: u64 = 500;

/// How often one is asked that is not known to understand the question.
const FOREIGN_ASKED_MAX: usize = 4;

/// How long a replica that can be asked is waited for, in milliseconds: its connection may be between two attempts.
const NOBODY_MS: u64 = 2000;

#[derive(Debug)]
pub(crate) struct Handover {
    deadline: Millis,
    /// Those in sync, best first.
    in_sync: Vec<SocketAddr>,
    /// When the replica that was asked must have answered; `None` once it has.
    answer_by: Option<Millis>,
    /// How often each was asked.
    asked: BTreeMap<NodeId, usize>,
    /// Since when there is nobody to ask.
    nobody_since: Option<Millis>,
}

impl Handover {
    pub(crate) fn deadline(&self) -> Millis {
        self.answer_by.unwrap_or(self.deadline).min(self.deadline)
    }
}

impl Cluster {
    pub(crate) fn on_handover(&mut self, deadline: Millis, replicas: &[SocketAddr]) {
        let myself = self.view.myself();
        let owns = !myself.slots.is_empty() || !self.view.importing.is_empty();
        let needed = myself.is_master() && owns && !self.guard.is_closed() && !replicas.is_empty();
        let needed = needed && !self.loading;
        if !needed || !self.may_come_to_ask(replicas) {
            self.emit(Output::HandOver(HandOver::NotNeeded));
            return;
        }
        // One that is taking over already is the one.
        let answer_by = self.manual.replica().is_none().then_some(self.now);
        let (in_sync, asked) = (replicas.to_vec(), BTreeMap::new());
        self.handover = Some(Handover { deadline, in_sync, answer_by, asked, nobody_since: None });
    }

    /// Somebody has the data and is not barred from taking over.
    fn may_come_to_ask(&self, in_sync: &[SocketAddr]) -> bool {
        let barred = NodeFlags::FAIL.with(NodeFlags::NO_FAILOVER);
        let may = |n: &Node| !n.has(barred) && has_data(n, in_sync);
        self.manual.replica().is_some() || self.view.replicas_of(self.view.me).any(may)
    }

    /// Replicas that can take over, best first: as the shell ordered them, then by what they say of themselves.
    fn candidates(&self, in_sync: &[SocketAddr]) -> Vec<NodeId> {
        let unable = NodeFlags::PFAIL | NodeFlags::FAIL;
        let unable = unable.with(NodeFlags::NO_FAILOVER);
        let able = |n: &&Node| !n.has(unable) && self.links.is_up(n.link) && has_data(n, in_sync);
        let mut able: Vec<&Node> = self.view.replicas_of(self.view.me).filter(able).collect();
        let place = |n: &Node| in_sync.iter().position(|a| *a == n.address.client());
        able.sort_by_key(|n| (place(n).unwrap_or(usize::MAX), u64::MAX - n.offset.unwrap_or(0), n.id));
        able.into_iter().map(|n| n.id).collect()
    }

    /// The best of those that were asked least often.
    fn ask_somebody(&mut self) {
        let Some(handover) = &self.handover else { return };
        let times = |id: &NodeId| handover.asked.get(id).copied().unwrap_or(0);
        let own = |id: &NodeId| self.view.node(*id).is_some_and(|n| n.is_own);
        let able = self.candidates(&handover.in_sync);
        let listens = |id: &NodeId| own(id) || times(id) < FOREIGN_ASKED_MAX;
        let next = able.iter().copied().filter(listens).min_by_key(times);
        let answer_by = self.now.after(ANSWER_MS);
        let Some(handover) = &mut self.handover else { return };
        handover.answer_by = Some(answer_by);
        match next {
            Some(replica) => {
                handover.nobody_since = None;
                *handover.asked.entry(replica).or_default() += 1;
                self.log(Level::Notice, format!("Handing over to replica {replica}."));
                self.send_to(replica, Message::MfStart);
            }
            None if able.is_empty() => self.nobody_is_there(),
            None => self.handover_failed(),
        }
    }

    /// A connection may be between two attempts; a replica that has gone does not come back in time.
    fn nobody_is_there(&mut self) {
        let now = self.now;
        let Some(handover) = &mut self.handover else { return };
        if now.since(*handover.nobody_since.get_or_insert(now)) >= NOBODY_MS {
            self.handover_failed();
        }
    }

    /// The replica that takes over has no connection with this node, in neither direction.
    fn successor_is_gone(&self) -> bool {
        let successor = self.manual.replica().and_then(|id| self.view.node(id));
        successor.is_none_or(|n| !self.links.is_up(n.link) && n.inbound.is_none())
    }

    pub(crate) fn handover_answered(&mut self) {
        if let Some(handover) = &mut self.handover {
            handover.answer_by = None;
        }
    }

    /// The one that took over has not managed to.
    pub(crate) fn hand_over_again(&mut self) {
        if let Some(handover) = &mut self.handover {
            handover.answer_by = Some(self.now);
        }
    }

    pub(crate) fn run_handover(&mut self) {
        let Some(handover) = &self.handover else { return };
        let (over, asking) = (handover.deadline <= self.now, handover.answer_by);
        // The pause stays in every case: a failover that is under way may still be won, here or cut off from here.
        if over {
            self.handover_failed();
        } else if asking.is_some_and(|by| by <= self.now) {
            self.ask_somebody();
        } else if asking.is_none() && self.successor_is_gone() {
            self.nobody_is_there();
        } else if asking.is_none()
            && let Some(handover) = &mut self.handover
        {
            handover.nobody_since = None;
        }
    }

    /// The process stays after all. A failover that is under way ends by its own clock.
    pub(crate) fn on_stay(&mut self) {
        self.handover = None;
    }

    pub(crate) fn handover_done(&mut self) {
        self.end_handover(HandOver::Done);
    }

    pub(crate) fn handover_failed(&mut self) {
        self.end_handover(HandOver::GaveUp);
    }

    fn end_handover(&mut self, outcome: HandOver) {
        if self.handover.take().is_some() {
            self.after_publish.push(Output::HandOver(outcome));
        }
    }
}

/// One that has just synced may not have said its offset on the bus yet; the shell knows that it has the data.
fn has_data(replica: &Node, in_sync: &[SocketAddr]) -> bool {
    replica.offset.unwrap_or(0) > 0 || in_sync.contains(&replica.address.client())
}
