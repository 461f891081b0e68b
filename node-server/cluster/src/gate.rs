//! Persist before promise. Whatever promises something waits here until nodes.conf with it is on disk; headers
//! claim only what is on disk. While one write is under way, further changes gather for the next (group commit).

use crate::io::{LinkId, Output};
use crate::wire::Message;
use node_server_protocol::{Epoch, NodeId, SlotSet};
use std::collections::VecDeque;

/// Most messages to other nodes that wait for the disk; above it new ones are dropped as a network would drop them.
/// Replies to commands are not counted: the shell bounds how many commands it hands over.
const WAITING_SENDS_MAX: usize = 4096;

/// What a header says of its sender and must not say before it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) current_epoch: Epoch,
    pub(crate) config_epoch: Epoch,
    pub(crate) slots: SlotSet,
    pub(crate) master: Option<NodeId>,
    /// No promise of its own, but it must change together with the role: receivers judge the one by the other.
    pub(crate) shard_id: NodeId,
}

/// Something that promises.
#[derive(Debug)]
pub(crate) enum Promise {
    /// A message to one node, built when it may leave.
    Send(NodeId, Message),
    /// A late answer on a connection.
    Answer(LinkId, Message),
    /// A message to every node.
    Broadcast(Message),
    /// PONG to the replicas of this shard: they learn this one's offset.
    PongToShard,
    /// A reply.
    Output(Output),
}

#[derive(Debug)]
pub(crate) struct Gate {
    /// Something changed since the last `Persist`.
    dirty: bool,
    next_seq: u64,
    /// The write under way, and what it makes known.
    writing: Option<(u64, Claim)>,
    announced: Claim,
    waiting: VecDeque<(u64, Promise)>,
}

impl Gate {
    pub(crate) fn new(announced: Claim) -> Self {
        Self { dirty: false, next_seq: 1, writing: None, announced, waiting: VecDeque::new() }
    }

    /// nodes.conf has to be written.
    pub(crate) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// What is on disk.
    pub(crate) fn announced(&self) -> &Claim {
        &self.announced
    }

    /// The write that has to be done before what is true now may be promised.
    pub(crate) fn needed(&self) -> Option<u64> {
        if self.dirty { Some(self.next_seq) } else { self.writing.as_ref().map(|(seq, _)| *seq) }
    }

    /// The number that the next write will have.
    pub(crate) fn next_write(&self) -> u64 {
        self.next_seq
    }

    /// Queues a promise behind the write it needs, or gives it back when nothing is to be waited for.
    pub(crate) fn hold(&mut self, promise: Promise) -> Option<Promise> {
        let Some(seq) = self.needed() else { return Some(promise) };
        let is_send = !matches!(promise, Promise::Output(_));
        if !is_send || self.waiting.len() < WAITING_SENDS_MAX {
            self.waiting.push_back((seq, promise));
        }
        None
    }

    /// The number of the write to begin now, if there is one. `claim`: what is true now.
    pub(crate) fn begin(&mut self, claim: Claim) -> Option<u64> {
        if !self.dirty || self.writing.is_some() {
            return None;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.dirty = false;
        self.writing = Some((seq, claim));
        Some(seq)
    }

    /// A write is on disk: false when it is not the one under way.
    pub(crate) fn done(&mut self, seq: u64) -> bool {
        match self.writing.take_if(|(writing, _)| *writing == seq) {
            Some((_, claim)) => {
                self.announced = claim;
                true
            }
            None => false,
        }
    }

    /// Promises that nothing holds back any more, in order.
    pub(crate) fn release(&mut self) -> Vec<Promise> {
        let reached = self.writing.as_ref().map_or(self.next_seq, |(seq, _)| *seq);
        let count = self.waiting.iter().take_while(|(seq, _)| *seq < reached).count();
        self.waiting.drain(..count).map(|(_, promise)| promise).collect()
    }
}
