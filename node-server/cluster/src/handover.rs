//! SIGTERM on a master: a replica takes over before the process ends.
//!
//! The master sends MFSTART, which otherwise only replicas send, to the replica of its choice. A replica of ours then
//! runs a manual failover as if it had been sent CLUSTER FAILOVER; any other ignores it and the next one is asked. All
//! are asked several times: one that is slow, or did not know yet whose replica it is, may still take over.

use crate::Cluster;
use crate::io::{HandOver, Level, Output};
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::NodeFlags;
use node_server_protocol::{Millis, NodeId};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How long a replica may take to answer, in milliseconds.
const ANSWER_MS: u64 = 500;

/// How often each replica is asked.
const ROUNDS: usize = 4;

#[derive(Debug)]
pub(crate) struct Handover {
    deadline: Millis,
    /// When the replica that was asked must have answered; `None` once it has.
    answer_by: Option<Millis>,
    asked: NodeId,
    /// Whom to ask next.
    others: VecDeque<NodeId>,
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
        let able = if needed { self.candidates(replicas) } else { Vec::new() };
        let mut candidates: VecDeque<NodeId> = (0..ROUNDS).flat_map(|_| able.iter().copied()).collect();
        // One that is taking over already is the one.
        let under_way = self.manual.replica();
        let Some(first) = under_way.or_else(|| candidates.pop_front()).filter(|_| needed) else {
            self.emit(Output::HandOver(HandOver::NotNeeded));
            return;
        };
        let answer_by = under_way.is_none().then_some(self.now.after(ANSWER_MS));
        self.handover = Some(Handover { deadline, answer_by, asked: first, others: candidates });
        if under_way.is_none() {
            self.ask_to_take_over(first);
        }
    }

    /// Replicas that can take over, best first: as the shell ordered them, then by what they say of themselves.
    fn candidates(&self, in_sync: &[SocketAddr]) -> Vec<NodeId> {
        let unable = NodeFlags::PFAIL | NodeFlags::FAIL;
        let unable = unable.with(NodeFlags::NO_FAILOVER);
        // One that has just synced may not have said its offset on the bus yet; the shell knows that it has the data.
        let has_data = |n: &Node| n.offset.unwrap_or(0) > 0 || in_sync.contains(&n.address.client());
        let able = |n: &&Node| !n.has(unable) && self.links.is_up(n.link) && has_data(n);
        let mut able: Vec<&Node> = self.view.replicas_of(self.view.me).filter(able).collect();
        let place = |n: &Node| in_sync.iter().position(|a| *a == n.address.client());
        able.sort_by_key(|n| (place(n).unwrap_or(usize::MAX), u64::MAX - n.offset.unwrap_or(0), n.id));
        able.into_iter().map(|n| n.id).collect()
    }

    fn ask_to_take_over(&mut self, replica: NodeId) {
        self.log(Level::Notice, format!("Handing over to replica {replica}."));
        self.send_to(replica, Message::MfStart);
    }

    pub(crate) fn handover_answered(&mut self, replica: NodeId) {
        if let Some(handover) = &mut self.handover {
            handover.asked = replica;
            handover.answer_by = None;
        }
    }

    pub(crate) fn run_handover(&mut self) {
        let now = self.now;
        let Some(handover) = &mut self.handover else { return };
        if handover.deadline <= now {
            self.end_manual_failover();
            self.handover_failed();
        } else if handover.answer_by.is_some_and(|by| by <= now) {
            match handover.others.pop_front() {
                Some(next) => {
                    handover.asked = next;
                    handover.answer_by = Some(now.after(ANSWER_MS));
                    self.ask_to_take_over(next);
                }
                None => self.handover_failed(),
            }
        }
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
