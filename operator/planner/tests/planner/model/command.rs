//! CLUSTER commands, with the refusals that matter.

use super::Model;
use super::node::Line;
use node_server_protocol::{Address, NodeId, Role, Slot, SlotRange, SlotSet};
use operator_planner::NodeRef;
use operator_planner::observed::OpenState;

impl Model {
    pub(crate) fn command(&mut self, to: NodeRef, args: &[String]) -> Result<(), String> {
        let node = self.by_id(to.id).filter(|i| self.nodes[*i].running()).ok_or("no answer")?;
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["CLUSTER", "MEET", _, port] => self.meet(node, port.parse().unwrap()),
            ["CLUSTER", "SET-CONFIG-EPOCH", epoch] => self.set_epoch(node, epoch.parse().unwrap()),
            ["CLUSTER", "ADDSLOTSRANGE", bounds @ ..] => self.add_slots(node, bounds),
            ["CLUSTER", "REPLICATE", master] => self.follow(node, master.parse().unwrap()),
            ["CLUSTER", "SETSLOT", slot, state @ ..] => {
                self.set_slot(node, Slot::new(slot.parse().unwrap()).unwrap(), state)
            }
            ["CLUSTER", "FAILOVER", mode @ ..] => self.fail_over(node, mode.first().copied()),
            ["CLUSTER", "FORGET", id] => self.forget(node, id.parse().unwrap()),
            ["CLUSTER", "RESET", "SOFT"] => self.reset(node),
            ["CLUSTER", "BUMPEPOCH"] => self.bump(node),
            ["CLUSTER", "REOPEN"] => {
                self.nodes[node].closed_empty = false;
                self.nodes[node].offset = 1;
                Ok(())
            }
            other => panic!("no such command: {other:?}"),
        }?;
        self.log.push(format!("{}: {}", to.member, args.join(" ")));
        self.watch(to, &words);
        Ok(())
    }

    /// After every command: no slot that had an owner is without one, and moves are counted.
    fn watch(&mut self, to: NodeRef, words: &[&str]) {
        if let ["CLUSTER", "SETSLOT", slot, "NODE", id] = words
            && to.id.to_string() == *id
        {
            *self.moves.entry(slot.parse().unwrap()).or_default() += 1;
        }
        let may_orphan = !words.contains(&"IMPORTING") && !words.contains(&"MIGRATING");
        if self.formed && may_orphan {
            let orphaned = self.orphaned();
            let dead = self
                .nodes
                .iter()
                .filter(|n| !n.running())
                .fold(SlotSet::new(), |all, n| all.union(&n.slots()));
            let ours = orphaned.difference(&dead);
            assert!(ours.is_empty(), "no owner of {ours} after {}: {}", to.member, words.join(" "));
        }
    }

    fn meet(&mut self, node: usize, port: u16) -> Result<(), String> {
        let address = Address { ip: [127, 0, 0, 1].into(), port, bus_port: port + 10_000 };
        let peer = self.by_address(&address).ok_or("nobody there")?;
        let (a, b) = (self.nodes[node].id, self.nodes[peer].id);
        self.nodes[node].banned.remove(&b);
        self.nodes[peer].banned.remove(&a);
        self.introduce(node, peer);
        Ok(())
    }

    fn set_epoch(&mut self, node: usize, epoch: u64) -> Result<(), String> {
        let node = &mut self.nodes[node];
        if node.view.len() > 1 || node.epoch() != 0 {
            return Err("knows others or has an epoch".into());
        }
        node.me_mut().epoch = epoch;
        node.current_epoch = node.current_epoch.max(epoch);
        Ok(())
    }

    fn add_slots(&mut self, node: usize, bounds: &[&str]) -> Result<(), String> {
        let pairs = bounds.chunks(2).map(|p| format!("{}-{}", p[0], p[1]).parse::<SlotRange>().unwrap());
        let slots: SlotSet = pairs.collect();
        let node = &mut self.nodes[node];
        if slots.iter().any(|s| node.owner(s).is_some()) {
            return Err("slot is already busy".into());
        }
        let me = node.me_mut();
        me.slots = me.slots.union(&slots);
        node.open.retain(|slot, _| !slots.contains(*slot));
        Ok(())
    }

    fn follow(&mut self, node: usize, master: NodeId) -> Result<(), String> {
        let node = &mut self.nodes[node];
        let known = node.view.get(&master).is_some_and(|l| l.master.is_none());
        if !known || (node.role.is_master() && (node.key_count() > 0 || !node.slots().is_empty())) {
            return Err(format!("cannot follow {master}"));
        }
        node.follow(master);
        Ok(())
    }

    fn set_slot(&mut self, node: usize, slot: Slot, state: &[&str]) -> Result<(), String> {
        let drained_follows = self.drained_follows;
        let node = &mut self.nodes[node];
        if !node.role.is_master() {
            return Err("SETSLOT only with masters".into());
        }
        let owner = node.owner(slot);
        match state {
            ["IMPORTING", _] if owner == Some(node.id) => return Err("already the owner".into()),
            ["IMPORTING", from] => {
                node.open.insert(slot, OpenState::ImportingFrom(from.parse().unwrap()));
            }
            ["MIGRATING", _] if owner != Some(node.id) => return Err("not the owner".into()),
            ["MIGRATING", to] => {
                node.open.insert(slot, OpenState::MigratingTo(to.parse().unwrap()));
            }
            ["STABLE"] => {
                node.open.remove(&slot);
            }
            ["NODE", to] => {
                let to: NodeId = to.parse().unwrap();
                if !node.view.contains_key(&to) || node.view[&to].master.is_some() {
                    return Err(format!("{to} is unknown or no master"));
                }
                if owner == Some(node.id) && to != node.id && node.key_count_in(slot) > 0 {
                    return Err("still has keys".into());
                }
                let importing = matches!(node.open.get(&slot), Some(OpenState::ImportingFrom(_)));
                if to == node.id && importing {
                    let epoch = node.max_epoch() + 1;
                    node.current_epoch = epoch;
                    node.me_mut().epoch = epoch;
                }
                node.set_owner(slot, to);
                if (to == node.id) == importing {
                    node.open.remove(&slot);
                }
                if drained_follows && owner == Some(node.id) && node.slots().is_empty() {
                    node.follow(to);
                }
            }
            other => panic!("no such state: {other:?}"),
        }
        Ok(())
    }

    fn fail_over(&mut self, node: usize, mode: Option<&str>) -> Result<(), String> {
        let replica = &self.nodes[node];
        let Role::Replica { of } = replica.role else {
            return Err("not a replica".into());
        };
        let masters: Vec<NodeId> =
            replica.view.iter().filter(|(_, l)| !l.slots.is_empty()).map(|(id, _)| *id).collect();
        let votes = |id: &&NodeId| {
            self.by_id(**id).is_some_and(|i| self.nodes[i].running() && !self.nodes[i].closed_empty)
        };
        let alive = masters.iter().filter(votes).count();
        if mode != Some("TAKEOVER") && alive * 2 <= masters.len() {
            return Err("no majority".into());
        }
        if mode.is_none() && !self.by_id(of).is_some_and(|i| self.nodes[i].running()) {
            return Err("master is down".into());
        }
        let slots = replica.view.get(&of).map(|l| l.slots.clone()).unwrap_or_default();
        let node = &mut self.nodes[node];
        let epoch = node.max_epoch() + 1;
        node.become_master();
        node.current_epoch = epoch;
        slots.iter().for_each(|slot| node.set_owner(slot, node.id));
        node.me_mut().epoch = epoch;
        Ok(())
    }

    fn forget(&mut self, node: usize, id: NodeId) -> Result<(), String> {
        let node = &mut self.nodes[node];
        if node.id == id || node.role == (Role::Replica { of: id }) {
            return Err("myself or my master".into());
        }
        node.view.remove(&id).ok_or("unknown node")?;
        node.banned.insert(id);
        Ok(())
    }

    fn reset(&mut self, node: usize) -> Result<(), String> {
        let node = &mut self.nodes[node];
        if node.role.is_master() && node.key_count() > 0 {
            return Err("has keys".into());
        }
        assert!(node.slots().is_empty(), "RESET on a node with slots");
        node.become_master();
        let me = Line { slots: SlotSet::new(), master: None, ..node.me().clone() };
        node.view = [(node.id, me)].into();
        node.keys.clear();
        node.open.clear();
        Ok(())
    }

    fn bump(&mut self, node: usize) -> Result<(), String> {
        let node = &mut self.nodes[node];
        let epoch = node.max_epoch() + 1;
        node.current_epoch = epoch;
        node.me_mut().epoch = epoch;
        Ok(())
    }

    /// MIGRATE of a whole slot.
    pub(crate) fn move_keys(&mut self, source: NodeId, target: NodeId, slot: Slot, replace: bool) -> bool {
        let (Some(from), Some(to)) = (self.by_id(source), self.by_id(target)) else {
            return false;
        };
        if !self.nodes[from].running() || !self.nodes[to].running() {
            return false;
        }
        let receiver = &self.nodes[to];
        let takes = receiver.owner(slot) == Some(target)
            || matches!(receiver.open.get(&slot), Some(OpenState::ImportingFrom(_)));
        let sends = self.nodes[from].owner(slot) == Some(source) || self.nodes[from].open.contains_key(&slot);
        if !takes || !sends {
            return false;
        }
        let keys = self.nodes[from].keys.remove(&slot).unwrap_or_default();
        let moved = !keys.is_empty();
        let there = self.nodes[to].keys.entry(slot).or_default();
        for key in keys {
            let busy = there.contains(&key) && !replace;
            if busy || !there.insert(key.clone()) && !replace {
                self.nodes[from].keys.entry(slot).or_default().insert(key);
                return false;
            }
        }
        self.nodes[to].offset += 1;
        self.nodes[from].offset += 1;
        if moved {
            self.replicate_now();
        }
        true
    }

    fn replicate_now(&mut self) {
        // Replicas follow at once, so that a death in the middle of a move loses nothing that crossed.
        for i in 0..self.nodes.len() {
            if let Role::Replica { of } = self.nodes[i].role
                && let Some(master) = self.by_id(of).filter(|m| self.nodes[*m].running())
                && self.nodes[i].running()
            {
                self.nodes[i].keys = self.nodes[master].keys.clone();
                self.nodes[i].offset = self.nodes[master].offset;
            }
        }
    }
}
