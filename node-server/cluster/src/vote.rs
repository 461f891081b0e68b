//! A master votes: once in an epoch, on disk before it is said, and for one replica of a failed master at a time.

use crate::Cluster;
use crate::config::Mutant;
use crate::gate::Promise;
use crate::io::Level;
use crate::node::Node;
use crate::wire::Message;
use node_server_protocol::bus::{Header, MessageFlags};
use node_server_protocol::{Millis, NodeId};
use std::collections::BTreeMap;

/// A replica that was voted for has this long to say that it has won, before another of the same master gets a vote. Both
/// would win, each in its epoch, and what the first acknowledges until it hears of the second is lost. Redis refuses the
/// second for two node timeouts, which leaves a split vote undecided for four; Valkey 9.1 votes at once. A request holds
/// for two seconds or more, so that a vote which waits still counts. In milliseconds.
const VOTE_APART_MS: u64 = 500;

/// What was voted lately, and who waits for what comes of it.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// By failed master: for whom, and when.
    given: BTreeMap<NodeId, (NodeId, Millis)>,
    /// By candidate, which are at most as many as there are nodes: its last request.
    waiting: BTreeMap<NodeId, Header>,
}

impl Cluster {
    pub(crate) fn on_auth_request(&mut self, sender: Option<NodeId>, header: &Header) {
        let Some(sender) = sender else { return };
        if !self.view.myself().votes() || self.state.is_starting(self.now, self.view.myself()) {
            return;
        }
        if let Err(reason) = self.may_vote(sender, header) {
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
        if let Some((rival, _)) = self.may_have_won(sender) {
            let text = format!(
                "Failover auth for {} waits for what comes of the vote for {rival}",
                self.view.label(sender)
            );
            self.log(Level::Notice, text);
            self.votes.waiting.insert(sender, header.clone());
            return;
        }
        self.vote(sender);
    }

    /// Judges requests again that need not wait any more.
    pub(crate) fn run_votes(&mut self) {
        let all = std::mem::take(&mut self.votes.waiting);
        let (waiting, due) =
            all.into_iter().partition(|(candidate, _)| self.may_have_won(*candidate).is_some());
        self.votes.waiting = waiting;
        let due: BTreeMap<NodeId, Header> = due;
        for (candidate, request) in due {
            self.on_auth_request(Some(candidate), &request);
        }
    }

    /// When requests that wait have to be looked at again.
    pub(crate) fn votes_deadline(&self) -> Option<Millis> {
        let ends = self.votes.waiting.keys().filter_map(|candidate| self.may_have_won(*candidate));
        ends.map(|(_, until)| until).min()
    }

    /// Another replica of the candidate's master that was voted for and may be about to say that it has won, and until
    /// when it may.
    fn may_have_won(&self, candidate: NodeId) -> Option<(NodeId, Millis)> {
        let master = self.view.node(candidate)?.master?;
        let (rival, at) = *self.votes.given.get(&master)?;
        let until = at.after(VOTE_APART_MS);
        let pending = rival != candidate && until > self.now;
        let node = self.view.node(rival).filter(|_| pending)?;
        (node.is_replica_of(master) && !node.is_failed()).then_some((rival, until))
    }

    fn vote(&mut self, candidate: NodeId) {
        let epoch = self.view.current_epoch;
        self.view.last_vote_epoch = epoch;
        if let Some(master) = self.view.node(candidate).and_then(|n| n.master) {
            self.votes.given.insert(master, (candidate, self.now));
        }
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

    fn may_vote(&self, sender: NodeId, header: &Header) -> Result<(), String> {
        let current = self.view.current_epoch;
        if header.current_epoch < current {
            return Err(format!("reqEpoch ({}) < curEpoch({current})", header.current_epoch));
        }
        if self.view.last_vote_epoch == current && !self.config.is_mutant(Mutant::TwoVotesInAnEpoch) {
            return Err(format!("already voted for epoch {current}"));
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
    fn newer_owner(&self, candidate: NodeId, header: &Header) -> Option<NodeId> {
        let master = self.view.node(candidate).and_then(|n| n.master);
        let heard = master.and_then(|m| self.view.node(m));
        let heard = heard.is_some_and(|m| header.config_epoch <= m.config_epoch);
        let newer = |n: &&Node| {
            let moved = heard && Some(n.id) != master && !self.view.same_shard(n.id, candidate);
            let asked = n.slots.intersection(&header.slots);
            // What its owner does not claim any more has moved on.
            let moved = moved && !asked.difference(&self.view.unclaimed).is_empty();
            moved || (n.config_epoch > header.config_epoch && !asked.is_empty())
        };
        self.view.nodes.values().find(newer).map(|n| n.id)
    }
}
