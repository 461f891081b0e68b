//! SETSLOT: the moves of slots, kept in nodes.conf and at the replicas.
//!
//! On the replication stream a finished import carries the new config epoch (`SETSLOT slot NODE id EPOCH n`), so that
//! a replica that is promoted at that very moment claims the slot with it.

use super::execute::Before;
use super::{NodeName, SetSlot, SetSlotAction, parse};
use crate::Cluster;
use crate::gate::Promise;
use crate::io::{DatasetInfo, Level, Output};
use crate::view::Imported;
use crate::wire::Message;
use node_server_protocol::{Epoch, NodeId, Slot, SlotSet};

impl Cluster {
    pub(super) fn set_slot(&mut self, command: &SetSlot, keys: DatasetInfo) -> Result<Before, String> {
        if !self.view.i_am_master() {
            return Err("ERR Please use SETSLOT only with masters.".into());
        }
        let slot = command.slot;
        let mine = self.view.myself().slots.contains(slot);
        let was_open = self.view.migrating.contains_key(&slot) || self.view.importing.contains_key(&slot);
        let mut epoch = None;
        let mut concerns_replicas = mine || was_open;
        match &command.action {
            SetSlotAction::Migrating(name) if !mine => {
                let _ = name;
                return Err(format!("ERR I'm not the owner of hash slot {slot}"));
            }
            SetSlotAction::Importing(_) if mine => {
                return Err(format!("ERR I'm already the owner of hash slot {slot}"));
            }
            SetSlotAction::Migrating(name) => {
                let target = self.other_end(name)?;
                self.begin_migrating(slot, target);
            }
            SetSlotAction::Importing(name) => {
                let source = self.other_end(name)?;
                self.view.importing.insert(slot, source);
                concerns_replicas = true;
            }
            SetSlotAction::Stable => {
                self.view.migrating.remove(&slot);
                self.view.importing.remove(&slot);
            }
            SetSlotAction::Node(name) => {
                let owner = self.master_named(name, |n| format!("ERR Unknown node {n}"))?;
                epoch = self.set_owner(slot, owner, keys)?;
                concerns_replicas |= owner == self.view.me;
            }
        }
        self.changed_by_command();
        if !concerns_replicas {
            return Ok(Before::Disk);
        }
        Ok(Before::DiskAndReplicas(to_args(command, epoch)))
    }

    fn begin_migrating(&mut self, slot: Slot, target: NodeId) {
        self.view.migrating.insert(slot, target);
        let back = self.view.imported.get(&slot).is_some_and(|i| self.view.same_shard(target, i.from));
        if let Some(imported) = self.view.imported.get_mut(&slot) {
            imported.returns = if back { imported.returns.or(Some(self.now)) } else { None };
        }
    }

    fn other_end(&self, name: &NodeName) -> Result<NodeId, String> {
        let end = self.master_named(name, |n| format!("ERR I don't know about node {n}"))?;
        if end == self.view.me { Err("ERR Target node is myself".into()) } else { Ok(end) }
    }

    fn master_named(&self, name: &NodeName, unknown: impl Fn(&NodeName) -> String) -> Result<NodeId, String> {
        let node = name.id().and_then(|id| self.view.known(id)).ok_or_else(|| unknown(name))?;
        if node.is_replica() { Err("ERR Target node is not a master".into()) } else { Ok(node.id) }
    }

    /// SETSLOT NODE. Gives the config epoch that replicas have to know of.
    fn set_owner(&mut self, slot: Slot, owner: NodeId, keys: DatasetInfo) -> Result<Option<Epoch>, String> {
        let me = self.view.me;
        let was_mine = self.view.myself().slots.contains(slot);
        if was_mine && owner != me && keys.in_slot > 0 {
            return Err(format!(
                "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
            ));
        }
        self.view.migrating.remove(&slot);
        self.view.assign(&SlotSet::from_iter([slot]), owner);
        self.view.imported.remove(&slot);
        let mut epoch = None;
        if owner == me {
            if let Some(source) = self.view.importing.remove(&slot) {
                self.view.imported.insert(slot, Imported { from: source, returns: None });
                if self.bump_epoch().is_some() {
                    let text = "configEpoch updated after importing slot";
                    self.log(Level::Notice, format!("{text} {slot}"));
                }
                self.broadcast_pong_once();
            }
            epoch = Some(self.view.myself().config_epoch);
        } else if was_mine && self.view.myself().slots.is_empty() && self.config.allow_replica_migration {
            let text = "Configuration change detected. Reconfiguring myself as a replica of";
            self.log(Level::Notice, format!("{text} {owner}"));
            self.become_replica_of(owner);
        }
        Ok(epoch)
    }

    /// News of a claim, once for all commands that one write of nodes.conf covers.
    pub(crate) fn broadcast_pong_once(&mut self) {
        if self.pong_promised != self.gate.next_write() {
            self.changed();
            self.pong_promised = self.gate.next_write();
            self.promise(Promise::Broadcast(Message::Pong));
        }
    }

    /// From the master's stream.
    pub(crate) fn on_replicated_set_slot(&mut self, args: &[Vec<u8>]) {
        let (command, epoch) = match parse::parse_replicated_set_slot(args) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.log(Level::Warning, format!("SETSLOT of the replication stream ignored: {error}"));
                return;
            }
        };
        let Some(master) = self.view.myself().master else { return };
        let slot = command.slot;
        match command.action {
            SetSlotAction::Migrating(name) => {
                if let Some(end) = name.id() {
                    self.begin_migrating(slot, end);
                }
            }
            SetSlotAction::Importing(name) => {
                name.id().map(|end| self.view.importing.insert(slot, end));
            }
            SetSlotAction::Stable => {
                self.view.migrating.remove(&slot);
                self.view.importing.remove(&slot);
            }
            SetSlotAction::Node(name) => {
                self.view.migrating.remove(&slot);
                self.view.imported.remove(&slot);
                let source = self.view.importing.remove(&slot);
                if let Some(source) = source.filter(|_| name.id() == Some(master)) {
                    self.view.imported.insert(slot, Imported { from: source, returns: None });
                }
                self.replicated_owner(slot, &name, master, epoch);
            }
        }
        self.changed_by_command();
    }

    fn replicated_owner(&mut self, slot: Slot, name: &NodeName, master: NodeId, epoch: Option<Epoch>) {
        let Some(owner) = name.id().and_then(|id| self.view.known(id)).map(|n| n.id) else { return };
        self.view.assign(&SlotSet::from_iter([slot]), owner);
        if let (Some(epoch), true) = (epoch, owner == master) {
            self.view.current_epoch = self.view.current_epoch.max(epoch);
            if let Some(node) = self.view.node_mut(master) {
                node.config_epoch = node.config_epoch.max(epoch);
            }
        }
    }

    /// A full sync has no open slots in it.
    pub(crate) fn on_replica_synced(&mut self) {
        if !self.view.i_am_master() {
            return;
        }
        let name = |id: &NodeId| NodeName(id.to_string());
        let moving = self.view.migrating.iter().map(|(s, id)| (*s, SetSlotAction::Migrating(name(id))));
        let coming = self.view.importing.iter().map(|(s, id)| (*s, SetSlotAction::Importing(name(id))));
        let commands: Vec<_> =
            moving.chain(coming).map(|(slot, action)| to_args(&SetSlot { slot, action }, None)).collect();
        for command in commands {
            self.emit(Output::Replicate { command });
        }
    }
}

/// The command for the replication stream.
fn to_args(command: &SetSlot, epoch: Option<Epoch>) -> Vec<Vec<u8>> {
    let (word, name) = match &command.action {
        SetSlotAction::Migrating(name) => ("MIGRATING", Some(name)),
        SetSlotAction::Importing(name) => ("IMPORTING", Some(name)),
        SetSlotAction::Stable => ("STABLE", None),
        SetSlotAction::Node(name) => ("NODE", Some(name)),
    };
    let mut args = vec!["CLUSTER".to_owned(), "SETSLOT".into(), command.slot.to_string(), word.into()];
    args.extend(name.map(ToString::to_string));
    if let Some(epoch) = epoch {
        args.extend(["EPOCH".to_owned(), epoch.to_string()]);
    }
    args.into_iter().map(String::into_bytes).collect()
}
