//! A master votes: once in an epoch, on disk before it is said, and for one replica of a failed master at a time.

use crate::Cluster;
use crate::config::Mutant;
use crate::gate::Promise;
use crate::io::Level;
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::{Header, MessageFlags};
use node_server_protocol::{Epoch, Millis, NodeId};
use std::collections::BTreeMap;

/// A replica that was voted for has this long, from when the vote left, to say that it has won, before another of the same
/// master gets a vote. Both would win, each in its epoch, and what the first acknowledges until it hears of the second is
/// lost. Redis refuses the second for two node timeouts, which leaves a split vote undecided for four; Valkey 9.1 votes at
/// once. A candidate counts votes for two seconds or more, those that waited as well. In milliseconds.
pub(crate) const VOTES_APART_MS: u64 = 500;

/// Whom this master voted for, and who waits for what comes of it.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// By failed master. A node follows one master, so these are at most as many as there are nodes.
    given: BTreeMap<NodeId, Given>,
    /// By candidate, which are at most as many as there are nodes: its last request.
    waiting: BTreeMap<NodeId, Header>,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    to: NodeId,
    /// When it must have been heard to have won.
    until: Millis,
}

impl Cluster {
    pub(crate) fn on_auth_request(&mut self, sender: Option<NodeId>, header: &Header) {
        let Some(sender) = sender else { return };
        self.give_way_to(sender);
        self.successor_asks(sender);
        self.judge(sender, header, false);
    }

    /// `waited`: the request came when its epoch was the newest, and has waited since.
    fn judge(&mut self, sender: NodeId, header: &Header, waited: bool) {
        if !self.view.myself().votes() || self.state.is_starting(self.now, self.view.myself()) {
            return;
        }
        if let Err(reason) = self.may_vote(sender, header, waited) {
            self.log(
                Level::Warning,
                format!("Failover auth denied to {}: {reason}", self.view.label(sender)),
            );
            return;
        }
        if let Some(owner) = self.newer_owner(sender, header) {
            let text = format!(
                "Failover auth denied to {sender}: slots of {owner} epoch > reqEpoch ({})",
                header.config_epoch
            );
            self.log(Level::Warning, text);
            self.promise(Promise::Send(sender, Message::Update(owner)));
            return;
        }
        match self.rival(sender).filter(|_| !waited) {
            Some(rival) => self.wait_for(rival, sender, header),
            None => self.vote(sender, header.current_epoch),
        }
    }

    /// Another replica of the candidate's master that was voted for and has not been heard to have won.
    fn rival(&self, candidate: NodeId) -> Option<Given> {
        let master = self.view.node(candidate)?.master?;
        let given = *self.votes.given.get(&master).filter(|given| given.to != candidate)?;
        self.view.node(given.to).is_some_and(|n| n.is_replica_of(master)).then_some(given)
    }

    /// However long ago it was: after a stall its victory may be among what has not been read yet.
    fn wait_for(&mut self, rival: Given, candidate: NodeId, request: &Header) {
        if rival.until > self.now {
            let text = format!(
                "Failover auth for {} waits for what comes of the vote for {}",
                self.view.label(candidate),
                self.view.label(rival.to)
            );
            self.log(Level::Notice, text);
        }
        self.votes.waiting.insert(candidate, request.clone());
    }

    /// Judges requests again that need not wait any more. At a deadline only: whatever has come by then was read.
    pub(crate) fn run_votes(&mut self) {
        let candidates: Vec<NodeId> = self.votes.waiting.keys().copied().collect();
        for candidate in candidates {
            // The vote for the one before may be what this one waits for now.
            let waits = self.rival(candidate).is_some_and(|rival| rival.until > self.now);
            if !waits && let Some(request) = self.votes.waiting.remove(&candidate) {
                self.judge(candidate, &request, true);
            }
        }
    }

    /// When requests that wait have to be looked at again; it may have passed.
    pub(crate) fn votes_deadline(&self) -> Option<Millis> {
        let rivals = self.votes.waiting.keys().filter_map(|candidate| self.rival(*candidate));
        rivals.map(|rival| rival.until).min()
    }

    /// The time in which it can win begins when the vote is on disk and leaves.
    pub(crate) fn vote_leaves(&mut self, candidate: NodeId) {
        let until = self.now.after(VOTES_APART_MS);
        let given = self.votes.given.values_mut().filter(|given| given.to == candidate);
        given.for_each(|given| given.until = until);
    }

    fn note_vote(&mut self, candidate: NodeId) {
        let Some(master) = self.view.node(candidate).and_then(|n| n.master) else { return };
        let view = &self.view;
        self.votes
            .given
            .retain(|master, given| view.node(given.to).is_some_and(|n| n.is_replica_of(*master)));
        let until = self.now.after(self.attempt_ms());
        self.votes.given.insert(master, Given { to: candidate, until });
    }

    fn vote(&mut self, candidate: NodeId, epoch: Epoch) {
        self.view.last_vote_epoch = epoch;
        self.note_vote(candidate);
        let vote = Promise::Send(candidate, Message::AuthAck { epoch });
        if self.config.is_mutant(Mutant::VoteBeforePersisted) {
            self.keep_promise(vote);
        } else {
            self.changed();
            self.promise(vote);
        }
        self.log(
            Level::Notice,
            format!("Failover auth granted to {} for epoch {epoch}", self.view.label(candidate)),
        );
    }

    fn may_vote(&self, sender: NodeId, header: &Header, waited: bool) -> Result<(), String> {
        let (asked, current, last) =
            (header.current_epoch, self.view.current_epoch, self.view.last_vote_epoch);
        if asked < current && !waited {
            return Err(format!("reqEpoch ({asked}) < curEpoch({current})"));
        }
        if last >= asked && !self.config.is_mutant(Mutant::TwoVotesInAnEpoch) {
            return Err(format!("already voted for epoch {last}"));
        }
        let Some(node) = self.view.node(sender) else { return Err("I don't know it".into()) };
        if node.is_master() {
            return Err("it is a master node".into());
        }
        let master = node.master.and_then(|m| self.view.node(m));
        let Some(master) = master else { return Err("I don't know its master".into()) };
        let forced = header.message_flags.contains(MessageFlags::FORCE_ACK);
        if !master.is_failed() && !forced {
            return Err("its master is up".into());
        }
        Ok(())
    }

    /// The owner, by a newer claim, of a slot that the candidate would take over. Of slots that are another shard's the
    /// candidate has to know more than this node: with an epoch of its master's that is known here, it has only missed
    /// that they have moved. (Redis compares the owner's epoch alone; a collision may have raised the old owner's.)
    ///
    /// A sibling that is a master has won. Its epoch is that of the candidate's master if that one took the same, which
    /// needs no vote for its own moves; and where their master had only slots on their way to it, it owns none.
    fn newer_owner(&self, candidate: NodeId, header: &Header) -> Option<NodeId> {
        let master = self.view.node(candidate).and_then(|n| n.master);
        let heard = master.and_then(|m| self.view.node(m));
        let heard = heard.is_some_and(|m| header.config_epoch <= m.config_epoch);
        let newer = |n: &&Node| {
            let moved = heard && Some(n.id) != master && !self.view.same_shard(n.id, candidate);
            let asked = n.slots.intersection(&header.slots);
            // What its owner does not claim any more has moved on.
            let moved = moved && !asked.difference(&self.view.unclaimed).is_empty();
            let sibling = n.is_master() && master.is_some_and(|m| n.id != m && self.view.same_shard(n.id, m));
            let lives = sibling && !n.is_failed();
            let is_newer = n.config_epoch > header.config_epoch;
            let equal = n.config_epoch == header.config_epoch;
            let owns = !asked.is_empty() && (is_newer || (sibling && equal));
            moved || owns || (lives && is_newer && header.slots.is_empty())
        };
        self.view.nodes.values().find(newer).map(|n| n.id)
    }
}
