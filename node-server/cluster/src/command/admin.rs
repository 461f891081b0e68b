//! Commands that change the node or whom it knows.

use super::{FailoverKind, NodeName};
use crate::Cluster;
use crate::election::Election;
use crate::io::{DatasetInfo, Level, Output};
use crate::vote::Votes;
use node_server_protocol::{Epoch, NodeId, SlotSet};

impl Cluster {
    fn named(&self, name: &NodeName) -> Result<NodeId, String> {
        let known = name.id().and_then(|id| self.view.node(id));
        known.map(|n| n.id).ok_or_else(|| format!("ERR Unknown node {name}"))
    }

    pub(super) fn forget(&mut self, name: &NodeName) -> Result<(), String> {
        // Forgotten a moment ago by another node's word: that is what was asked for.
        if name.id().is_some_and(|id| self.view.node(id).is_none() && self.is_forgotten(id)) {
            return Ok(());
        }
        let id = self.named(name)?;
        if id == self.view.me {
            return Err("ERR I tried hard but I can't forget myself...".into());
        }
        if self.view.myself().master == Some(id) {
            return Err("ERR Can't forget my master!".into());
        }
        self.log(Level::Notice, format!("Cluster forget {} (user request).", self.view.label(id)));
        self.forget_node(id);
        Ok(())
    }

    pub(super) fn replicate(&mut self, name: &NodeName, keys: DatasetInfo) -> Result<(), String> {
        let id = self.named(name)?;
        if id == self.view.me {
            return Err("ERR Can't replicate myself".into());
        }
        if self.view.node(id).is_some_and(|n| n.is_replica()) {
            return Err("ERR I can only replicate a master, not a replica.".into());
        }
        let myself = self.view.myself();
        if myself.is_master() && (!myself.slots.is_empty() || keys.total > 0) {
            return Err("ERR To set a master the node must be empty and without assigned slots.".into());
        }
        if myself.master != Some(id) {
            // Moves of another master, if only within the shard: of its own the new one tells through the log. With these
            // this node would stand for election as soon as it took the new one for failed.
            self.view.migrating.clear();
            self.view.importing.clear();
            self.become_replica_of(id);
        }
        Ok(())
    }

    pub(super) fn failover(&mut self, kind: FailoverKind) -> Result<(), String> {
        let myself = self.view.myself();
        if myself.is_master() {
            return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
        }
        let Some(master) = self.view.my_master() else {
            return Err("ERR I'm a replica but my master is unknown to me".into());
        };
        let reachable = !master.is_failed() && self.links.is_up(master.link);
        if kind == FailoverKind::Graceful && !reachable {
            return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
        }
        match kind {
            FailoverKind::Graceful => self.start_manual_failover(false),
            FailoverKind::Forced => self.start_manual_failover(true),
            FailoverKind::Takeover => {
                self.log(Level::Notice, "Taking over the master (user request).".into());
                self.bump_epoch();
                self.replace_master();
            }
        }
        Ok(())
    }

    pub(super) fn set_config_epoch(&mut self, epoch: Epoch) -> Result<(), String> {
        if self.view.nodes.len() > 1 {
            return Err(
                "ERR The user can assign a config epoch only when the node does not know any other node."
                    .into(),
            );
        }
        if self.view.myself().config_epoch != Epoch(0) {
            return Err("ERR Node config epoch is already non-zero".into());
        }
        self.view.myself_mut().config_epoch = epoch;
        self.view.current_epoch = self.view.current_epoch.max(epoch);
        self.log(Level::Warning, format!("configEpoch set to {epoch} via CLUSTER SET-CONFIG-EPOCH"));
        self.changed();
        Ok(())
    }

    /// CLUSTER REOPEN: the data is given up for lost.
    pub(super) fn reopen(&mut self) {
        if self.guard.is_closed() {
            self.log(Level::Warning, "CLUSTER REOPEN: this master serves again, without its data.".into());
            self.open_guard();
            self.topology_changed();
        }
    }

    /// Out of the cluster: no slots, no other nodes; a replica becomes an empty master.
    pub(super) fn reset(&mut self, hard: bool, keys: DatasetInfo) -> Result<(), String> {
        if self.view.i_am_master() && keys.total > 0 {
            return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        if !self.view.i_am_master() {
            self.view.myself_mut().make_master();
            self.after_publish.retain(|o| !matches!(o, Output::Follow { .. }));
            self.after_publish.push(Output::DropAllKeys);
            self.become_master = true;
        }
        self.end_manual_failover();
        self.handover_failed();
        self.election = Election::default();
        self.votes = Votes::default();
        self.open_guard();
        let others: Vec<NodeId> = self.view.others().map(|n| n.id).collect();
        others.into_iter().for_each(|id| self.remove_node(id));
        self.view.migrating.clear();
        self.view.importing.clear();
        self.view.unclaimed = SlotSet::new();
        let shard_id = self.rng.node_id();
        let myself = self.view.myself_mut();
        myself.slots = SlotSet::new();
        myself.shard_id = shard_id;
        if hard {
            self.new_identity();
        }
        self.topology_changed();
        Ok(())
    }

    fn new_identity(&mut self) {
        let id = self.rng.node_id();
        let mut myself = self.view.myself().clone();
        self.view.nodes.clear();
        myself.id = id;
        myself.config_epoch = Epoch(0);
        self.view.nodes.insert(id, myself);
        self.view.me = id;
        self.view.current_epoch = Epoch(0);
        self.view.last_vote_epoch = Epoch(0);
        self.log(Level::Notice, format!("Node hard reset, now I'm {id}"));
    }
}
