//! MIGRATE in the simulation: keys cross one by one, and each end has done its part before the other relies on it.

use crate::dataset::{Effect, Key, Version};
use crate::network::Party;
use crate::node::Life as NodeLife;
use crate::operator::{Crossing, OperatorEvent};
use crate::outputs::HeldReply;
use crate::world::{Event, World};
use node_server_protocol::routing::Serving;
use node_server_protocol::{NodeId, Role, Slot, SlotSet};

/// How long a MIGRATE may take before its keys stay where they are.
const MIGRATE_MS: u64 = 1_500;
/// Longest that a key's acknowledgement waits for a replica of the target.
const CROSSING_ACK_MS: u64 = 500;
/// How often a MIGRATE that cannot end while writes are held back looks again.
const HELD_BACK_MS: u64 = 10;
/// Rounds of MIGRATE in one attempt.
const MOVE_ROUNDS_MAX: u32 = 40;

impl World {
    pub(crate) fn move_round(
        &mut self,
        run: u64,
        node: usize,
        slots: SlotSet,
        target: NodeId,
        replace: bool,
        round: u32,
    ) {
        let Some(target_node) = self.node_with_id(target) else { return };
        if self.nodes[node].life != NodeLife::Up || !self.operator.runs.contains_key(&run) {
            return;
        }
        let data = &self.nodes[node].data;
        let waiting: Vec<(Slot, Key, Version)> = data
            .slots()
            .into_iter()
            .filter(|slot| slots.contains(*slot))
            .flat_map(|slot| data.keys_in(slot).map(move |(key, version)| (slot, key, version)))
            .filter(|(slot, key, _)| replace || self.nodes[target_node].data.get(*slot, *key).is_none())
            .collect();
        let done = waiting.is_empty();
        if done || round >= MOVE_ROUNDS_MAX {
            let error = (!done).then(|| "keys are left".to_owned());
            if let Some(arrival) = self.network.datagram(self.now, Party::Node(node), Party::Operator) {
                self.at(arrival, Event::Operator(OperatorEvent::Replied { run, error }));
            }
            return;
        }
        for (slot, key, version) in waiting {
            self.migrate_key(node, target_node, slot, key, version, replace);
        }
        let slots = Box::new(slots);
        let event = OperatorEvent::MoveRound { run, node, slots, target, replace, round: round + 1 };
        self.at(self.now + 30, Event::Operator(event));
    }

    /// One key of a MIGRATE: writers of it wait until its outcome is known or the time is over.
    fn migrate_key(
        &mut self,
        node: usize,
        target: usize,
        slot: Slot,
        key: Key,
        version: Version,
        replace: bool,
    ) {
        if self.nodes[node].leaving.contains_key(&key) || self.role(node) != Some(Role::Master) {
            return;
        }
        self.operator.next_crossing += 1;
        let id = self.operator.next_crossing;
        self.nodes[node].leaving.insert(key, id);
        let incarnation = self.nodes[node].incarnation;
        let target_life = (target, self.nodes[target].incarnation);
        let crossing = Crossing {
            source: (node, incarnation),
            target: target_life,
            slot,
            key,
            version,
            replace,
            id,
            restored: None,
        };
        let over = OperatorEvent::CrossingOver { node, incarnation, key, id };
        self.at(self.now + MIGRATE_MS, Event::Operator(over));
        if let Some(arrival) = self.network.datagram(self.now, Party::Node(node), Party::Node(target)) {
            self.at(arrival, Event::Operator(OperatorEvent::Crossing(crossing)));
        }
    }

    fn role(&self, node: usize) -> Option<Role> {
        self.nodes[node].routing.as_ref().map(|r| r.role)
    }

    /// RESTORE-ASKING at the target.
    pub(crate) fn crossing(&mut self, crossing: Crossing) {
        let (node, incarnation) = crossing.target;
        let Some(routing) = self.nodes[node].routing.clone() else { return };
        if self.nodes[node].incarnation != incarnation {
            return;
        }
        let takes = routing.is_mine(crossing.slot) || routing.importing_from(crossing.slot).is_some();
        let exists = self.nodes[node].data.get(crossing.slot, crossing.key).is_some();
        let refused = routing.role != Role::Master
            || routing.serving != Serving::Ok
            || !takes
            || self.writes_paused(node)
            || (exists && !crossing.replace);
        if refused {
            return self.reply_crossing(crossing, false);
        }
        let (member, key, version) = (self.nodes[node].member, crossing.key, crossing.version);
        self.log(|| format!("{member} restores key {key} at version {version}"));
        let offset = self.write(node, Effect::Set(crossing.slot, crossing.key, crossing.version));
        let restored = Some((self.nodes[node].data.history(), offset));
        self.hold(node, offset, CROSSING_ACK_MS, HeldReply::Crossed(Crossing { restored, ..crossing }));
    }

    /// The target's acknowledgement leaves, or its connection ends without one.
    pub(crate) fn reply_crossing(&mut self, crossing: Crossing, taken: bool) {
        let (from, to) = (Party::Node(crossing.target.0), Party::Node(crossing.source.0));
        if let Some(arrival) = self.network.datagram(self.now, from, to) {
            self.at(arrival, Event::Operator(OperatorEvent::Crossed { crossing, taken }));
        }
    }

    pub(crate) fn crossed_back(&mut self, crossing: &Crossing, taken: bool) {
        let (node, incarnation) = crossing.source;
        if self.nodes[node].incarnation != incarnation
            || self.nodes[node].leaving.get(&crossing.key) != Some(&crossing.id)
        {
            return;
        }
        let writable = self.role(node) == Some(Role::Master);
        if taken && writable && self.writes_paused(node) {
            // The key stays marked until the deletion can be logged.
            let event = OperatorEvent::Crossed { crossing: crossing.clone(), taken };
            return self.at(self.now + HELD_BACK_MS, Event::Operator(event));
        }
        self.nodes[node].leaving.remove(&crossing.key);
        // A demotion that overtook it leaves the copy alone: it is the new master's now.
        let same = self.nodes[node].data.get(crossing.slot, crossing.key) == Some(crossing.version);
        if taken && same && writable {
            let offset = self.write(node, Effect::Gone(crossing.slot, crossing.key));
            self.nodes[node].gone_at.insert(crossing.slot, offset);
            let (member, key) = (self.nodes[node].member, crossing.key);
            self.log(|| format!("{member} has given key {key} away"));
            self.watch_crossed(crossing);
            self.stats.keys_moved += 1;
        }
    }
}
