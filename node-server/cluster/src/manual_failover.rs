//! CLUSTER FAILOVER: the master holds its writes, the replica catches up and is elected (reference/cluster-bus §1.13).

use crate::Cluster;
use crate::io::{Level, Output};
use crate::wire::Message;
use node_server_protocol::{Millis, NodeId};

/// The master holds its writes for this much longer than the replica tries, in milliseconds, so that a vote won at
/// the last moment is known before they go on.
const MASTER_GRACE_MS: u64 = 500;
/// And for so much more once the replica has asked for votes: a winner says so when its disk has it, and what is written
/// here between the victory and that is lost. In milliseconds.
const ASKED_GRACE_MS: u64 = 2500;
/// If this node stops to run, the engine lets writes go on after this many timeouts.
const PAUSE_TIMEOUTS: u64 = 2;

/// How often the replica asks its master again, in milliseconds: a master ignores it as long as it does not know that
/// this node is its replica, as right after a failover, and a link may break.
const ASK_AGAIN_MS: u64 = 500;

#[derive(Debug, Default)]
pub(crate) struct ManualFailover {
    /// Until when, while one is under way.
    pub(crate) end: Option<Millis>,
    /// On the master: who takes over.
    replica: Option<NodeId>,
    /// On the master: its log ends here and no write is under way.
    paused_at: Option<u64>,
    /// On the master: a replica has asked for votes since its writes stand still.
    asked: bool,
    /// On the replica: when to ask its master again.
    ask_at: Option<Millis>,
    /// On the replica: what the master's log ends at.
    master_offset: Option<u64>,
    /// On the replica: the election may begin.
    pub(crate) can_start: bool,
}

impl ManualFailover {
    pub(crate) fn paused_at(&self) -> Option<u64> {
        self.paused_at
    }

    pub(crate) fn replica(&self) -> Option<NodeId> {
        self.replica
    }
}

impl Cluster {
    /// On the replica. Asked for again while it is under way, it goes on: begun anew, it would lose the votes that it has.
    pub(crate) fn start_manual_failover(&mut self, force: bool) {
        if !force && self.manual.end.is_some() {
            return;
        }
        self.end_manual_failover();
        self.manual.end = Some(self.now.after(self.config.manual_failover_timeout_ms));
        if force {
            self.log(Level::Notice, "Forced failover user request accepted.".into());
            self.manual.can_start = true;
        } else {
            self.log(Level::Notice, "Manual failover user request accepted.".into());
            self.ask_for_the_pause();
        }
    }

    fn ask_for_the_pause(&mut self) {
        self.manual.ask_at = Some(self.now.after(ASK_AGAIN_MS));
        if let Some(master) = self.view.myself().master {
            self.send_to(master, Message::MfStart);
        }
    }

    /// On the master: its replica wants to take over. On the replica: its master wants it to (ours; a Redis or Valkey
    /// replica ignores this message, since it does not come from its replica).
    pub(crate) fn on_mf_start(&mut self, sender: Option<NodeId>) {
        // Until its files are read a master has no log to catch up with, and a replica no data to take over with.
        let Some(sender) = sender.filter(|_| !self.loading) else { return };
        if self.view.myself().master == Some(sender) {
            if self.manual.end.is_none() {
                self.start_manual_failover(false);
            }
            return;
        }
        let mine = self.view.node(sender).is_some_and(|n| n.is_replica_of(self.view.me));
        if !mine || !self.view.i_am_master() || self.guard.is_closed() {
            return;
        }
        self.log(
            Level::Warning,
            format!("Manual failover requested by replica {}.", self.view.label(sender)),
        );
        let timeout = self.config.manual_failover_timeout_ms;
        let grace = if self.manual.asked { MASTER_GRACE_MS + ASKED_GRACE_MS } else { MASTER_GRACE_MS };
        self.manual.replica = Some(sender);
        // Another may have been asked before, and be about to win.
        self.manual.end = self.manual.end.max(Some(self.now.after(timeout + grace)));
        self.after_publish.retain(|o| !matches!(o, Output::ResumeWrites));
        self.emit(Output::PauseWrites { until: self.now.after(timeout * PAUSE_TIMEOUTS) });
        self.handover_answered();
    }

    /// On the master: a replica of it asks for votes.
    pub(crate) fn successor_asks(&mut self, candidate: NodeId) {
        let mine = self.view.node(candidate).is_some_and(|n| n.is_replica_of(self.view.me));
        if mine && self.manual.replica.is_some() && !self.manual.asked {
            self.manual.asked = true;
            self.manual.end = self.manual.end.map(|end| end.after(ASKED_GRACE_MS));
        }
    }

    /// No write is under way any more; now the replica may be told where the log ends.
    pub(crate) fn on_writes_paused(&mut self, offset: u64) {
        let Some(replica) = self.manual.replica else { return };
        self.manual.paused_at = Some(offset);
        self.replication.offset = offset;
        self.send_to(replica, Message::Ping);
    }

    pub(crate) fn ping_while_paused(&mut self) {
        if self.manual.paused_at.is_some()
            && let Some(replica) = self.manual.replica
        {
            self.send_to(replica, Message::Ping);
        }
    }

    /// On the replica: the first header that says so tells where the log ends.
    pub(crate) fn on_master_paused(&mut self, offset: u64) {
        if self.manual.end.is_some() && self.manual.master_offset.is_none() && !self.manual.can_start {
            self.manual.master_offset = Some(offset);
            self.manual.ask_at = None;
            self.log(
                Level::Warning,
                format!("Received replication offset for paused master manual failover: {offset}"),
            );
        }
    }

    pub(crate) fn run_manual_failover(&mut self) {
        if self.manual.end.is_some_and(|end| end <= self.now) {
            self.log(Level::Warning, "Manual failover timed out.".into());
            self.end_manual_failover();
            self.hand_over_again();
        }
        if self.manual.ask_at.is_some_and(|at| at <= self.now) {
            self.ask_for_the_pause();
        }
        let caught_up = self.manual.master_offset == Some(self.replication.offset);
        if caught_up && !self.manual.can_start {
            self.manual.can_start = true;
            let text = "All master replication stream processed, manual failover can start.";
            self.log(Level::Warning, text.into());
        }
    }

    /// Whatever its outcome: a master lets its writes go on, which find the slot map of that moment.
    pub(crate) fn end_manual_failover(&mut self) {
        if self.manual.replica.is_some() {
            self.after_publish.push(Output::ResumeWrites);
        }
        self.manual = ManualFailover::default();
    }
}
