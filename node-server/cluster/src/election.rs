//! A replica stands for election (reference/cluster-bus §1.10, Valkey 9.1's timing).

use crate::Cluster;
use crate::config::Mutant;
use crate::gate::Promise;
use crate::io::Level;
use crate::node::Node;
use crate::vote::VOTES_APART_MS;
use crate::wire::Message;
use node_server_protocol::bus::{Header, NodeFlags};
use node_server_protocol::{Epoch, Millis, NodeId};
use std::collections::BTreeSet;

/// The unit of delay is the node timeout by this …
const DELAY_SHARE: u64 = 30;
/// … and at most this, in milliseconds.
const DELAY_MAX_MS: u64 = 500;
/// More for a replica that never received anything, in milliseconds.
const NO_DATA_DELAY_MS: u64 = 500;
/// An attempt lasts this many node timeouts …
const ATTEMPT_TIMEOUTS: u64 = 2;
/// … and at least this, in milliseconds.
const ATTEMPT_MIN_MS: u64 = 2000;
/// The next attempt begins after this many times the length of one.
const RETRY_ATTEMPTS: u64 = 2;
/// A manual failover, which has little time, tries again after this, in milliseconds.
const MANUAL_RETRY_MS: u64 = 2500;

#[derive(Debug, Default)]
pub(crate) struct Election {
    /// When the attempt begins or began.
    pub(crate) at: Option<Millis>,
    rank: usize,
    failed_rank: usize,
    force: bool,
    /// The votes were asked for, in this epoch …
    pub(crate) sent: bool,
    /// … and the request has left: nodes.conf with the epoch is on disk.
    left: bool,
    pub(crate) epoch: Epoch,
    votes: BTreeSet<NodeId>,
    /// A sibling has asked for votes: until then it will be heard if it wins.
    not_before: Option<Millis>,
    /// Why it does not go on, so that the log says it once.
    reason: Option<&'static str>,
}

impl Election {
    /// What siblings have asked for remains.
    pub(crate) fn reset(&mut self) {
        *self = Self { not_before: self.not_before, ..Self::default() };
    }
}

impl Cluster {
    fn delay_unit(&self) -> u64 {
        (self.config.node_timeout_ms / DELAY_SHARE).clamp(1, DELAY_MAX_MS)
    }

    pub(crate) fn attempt_ms(&self) -> u64 {
        (self.config.node_timeout_ms * ATTEMPT_TIMEOUTS).max(ATTEMPT_MIN_MS)
    }

    /// Whether this replica may and should replace its master.
    fn stands(&self) -> bool {
        let Some(master) = self.view.my_master().filter(|_| !self.view.i_am_master()) else { return false };
        let manual = self.manual.can_start;
        let willing = manual || !self.view.myself().has(NodeFlags::NO_FAILOVER);
        // Keys may have crossed to a master that owns no slot yet. While its log still comes, nobody misses it: it may be
        // new to this node, which only heard that it had failed.
        let crossed = !self.view.importing.is_empty() && (manual || !self.replication.master_link_up);
        let worth = !master.slots.is_empty() || crossed;
        // Half a full sync is no data, nor are files half read; CLUSTER FAILOVER TAKEOVER alone passes this by.
        (master.is_failed() || manual) && willing && worth && !self.replication.loading && !self.loading
    }

    pub(crate) fn run_election(&mut self) {
        if !self.stands() {
            if self.election.at.is_some() {
                self.election.reset();
            }
            return;
        }
        let manual = self.manual.can_start;
        if !self.has_copy {
            self.log_reason("My data is no copy of my master's: not in sync since I was told to follow it.");
            return;
        }
        if !manual && !self.data_is_fresh() {
            if !self.election.sent {
                self.election.at = None;
            }
            self.log_reason(
                "Disconnected from master for longer than allowed. Please check the 'cluster-replica-validity-factor' configuration option.",
            );
            return;
        }
        let retry =
            if manual && self.election.left { MANUAL_RETRY_MS } else { self.attempt_ms() * RETRY_ATTEMPTS };
        match self.election.at {
            Some(at) if !self.election.sent => self.await_turn(at, manual),
            Some(at) if self.age(at) <= retry => {
                if self.age(at) > self.attempt_ms() {
                    self.log_reason("Failover attempt expired.");
                }
            }
            _ => self.schedule(manual),
        }
    }

    /// When the election has to be looked at again.
    pub(crate) fn election_deadline(&self) -> Option<Millis> {
        self.election.at.filter(|_| !self.election.sent)
    }

    fn schedule(&mut self, manual: bool) {
        let (rank, failed_rank) = (self.rank(), self.failed_rank());
        let unit = self.delay_unit();
        let mut delay = 0;
        if !manual {
            delay = unit + self.rng.below(unit) + rank as u64 * 2 * unit + failed_rank as u64 * unit;
            if self.replication.offset == 0 {
                delay += NO_DATA_DELAY_MS;
            }
        }
        self.election.reset();
        self.election.at = Some(self.now.after(delay));
        self.election.rank = rank;
        self.election.failed_rank = failed_rank;
        let offset = self.replication.offset;
        let text = format!(
            "Start of election delayed for {delay} milliseconds (rank #{rank}, primary rank #{failed_rank}, offset {offset})."
        );
        self.log(Level::Notice, text);
        self.promise(Promise::PongToShard);
        if let Some(at) = self.election.at {
            self.await_turn(at, manual);
        }
    }

    fn await_turn(&mut self, at: Millis, manual: bool) {
        let mut at = at;
        if manual {
            at = at.min(self.now);
        } else {
            at = self.rank_again(at);
            if self.everybody_agrees() {
                self.election.force = true;
                at = at.min(self.now);
            }
            at = at.max(self.election.not_before.unwrap_or(at));
        }
        self.election.at = Some(at);
        if at <= self.now {
            self.ask_for_votes(manual);
        }
    }

    /// A sibling has asked for votes. Whoever asks right after it is elected as well, in the next epoch, by voters that give
    /// both their vote (Valkey 9.1); others refuse the one or the other, and both try again much later.
    pub(crate) fn give_way_to(&mut self, candidate: NodeId) {
        let Some(master) = self.view.myself().master else { return };
        if self.view.node(candidate).is_some_and(|n| n.is_replica_of(master)) {
            self.election.not_before = Some(self.now.after(VOTES_APART_MS));
        }
    }

    /// Siblings' offsets arrive while this replica waits.
    fn rank_again(&mut self, at: Millis) -> Millis {
        let unit = self.delay_unit();
        let (rank, failed_rank) = (self.rank(), self.failed_rank());
        let mut added = 0;
        if rank > self.election.rank {
            added += (rank - self.election.rank) as u64 * 2 * unit;
            self.election.rank = rank;
            self.log(
                Level::Notice,
                format!("Replica rank updated to #{rank}, added {added} milliseconds of delay."),
            );
        }
        if failed_rank > self.election.failed_rank {
            added += (failed_rank - self.election.failed_rank) as u64 * unit;
            self.election.failed_rank = failed_rank;
        }
        at.after(added)
    }

    /// The best replica need not wait when all of them see the master as failed. Voters may not know it yet, hence
    /// the force; the failure itself was agreed by a majority.
    fn everybody_agrees(&self) -> bool {
        let Some(master) = self.view.my_master() else { return false };
        let best = self.rank() == 0 && self.failed_rank() == 0 && self.replication.offset > 0;
        let sees = |n: &Node| n.id == self.view.me || n.is_failed() || n.has(NodeFlags::MY_MASTER_FAIL);
        best && self.view.replicas_of(master.id).all(sees)
    }

    /// How many siblings have more of the master's data.
    fn rank(&self) -> usize {
        let (me, own) = (self.view.me, self.replication.offset);
        let Some(master) = self.view.my_master() else { return 0 };
        let inverted = self.config.is_mutant(Mutant::StalerReplicaElected);
        let better = |n: &&Node| {
            let theirs = n.offset.unwrap_or(0);
            let more = if inverted { theirs < own } else { theirs > own };
            let able = n.id != me && !n.has(NodeFlags::NO_FAILOVER.with(NodeFlags::FAIL));
            able && (more || (theirs == own && n.id < me))
        };
        self.view.replicas_of(master.id).filter(better).count()
    }

    /// How many other shards without a master come first: elections at one moment split the votes.
    fn failed_rank(&self) -> usize {
        let own = self.view.myself().shard_id;
        let failed = |n: &&Node| n.votes() && n.is_failed() && n.shard_id < own;
        self.view.others().filter(failed).count()
    }

    /// The data must not be much older than the failure.
    fn data_is_fresh(&self) -> bool {
        if self.config.is_mutant(Mutant::StalerReplicaElected) {
            return true;
        }
        let timeout = self.config.node_timeout_ms;
        let factor = self.config.replica_validity_factor;
        let Some(last) = self.replication.last_master_io else {
            // Never synced since the start. An empty one has nothing to offer, whatever is configured.
            return factor == 0 && !self.started_empty;
        };
        let age = self.age(last).saturating_sub(timeout);
        factor == 0 || age <= self.config.repl_ping_period_ms + timeout * factor
    }

    fn ask_for_votes(&mut self, manual: bool) {
        let epoch = self.view.current_epoch.next();
        self.view.current_epoch = epoch;
        self.election.epoch = epoch;
        self.election.sent = true;
        self.election.votes.clear();
        let force = manual || self.election.force;
        self.log(Level::Notice, format!("Starting a failover election for epoch {epoch}."));
        self.changed();
        self.promise(Promise::Broadcast(Message::AuthRequest { epoch, force }));
    }

    pub(crate) fn on_auth_ack(&mut self, sender: Option<NodeId>, header: &Header) {
        let Some(sender) = sender else { return };
        let votes = self.view.node(sender).is_some_and(Node::votes);
        // A sibling may have been elected since.
        let lasts =
            if self.manual.can_start { self.attempt_ms().max(MANUAL_RETRY_MS) } else { self.attempt_ms() };
        let expired = self.election.at.is_none_or(|at| self.age(at) > lasts);
        if expired
            || !votes
            || !self.election.sent
            || header.current_epoch < self.election.epoch
            || !self.stands()
        {
            return;
        }
        self.election.votes.insert(sender);
        if self.election.votes.len() < self.view.quorum() {
            self.log_reason("Waiting for votes, but majority still not reached.");
            return;
        }
        let epoch = self.election.epoch;
        self.log(Level::Notice, "Failover election won: I'm the new master.".into());
        if self.view.myself().config_epoch < epoch {
            self.view.myself_mut().config_epoch = epoch;
            self.log(Level::Notice, format!("configEpoch set to {epoch} after successful failover"));
        }
        self.replace_master();
    }

    /// The attempt lasts from here: votes cannot come before.
    pub(crate) fn request_leaves(&mut self, epoch: Epoch) {
        if self.election.sent && self.election.epoch == epoch {
            self.election.at = Some(self.now);
            self.election.left = true;
        }
    }

    fn log_reason(&mut self, reason: &'static str) {
        if self.election.reason != Some(reason) {
            self.election.reason = Some(reason);
            self.log(Level::Notice, format!("Currently unable to failover: {reason}"));
        }
    }
}
