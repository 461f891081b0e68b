//! Everybody who runs tells everybody who is known, until nothing changes; then replicas copy.

use super::Model;
use super::node::{Line, Node};
use node_server_protocol::{Address, NodeId, Role, SlotSet};
use std::collections::BTreeMap;

/// What a node tells of itself.
struct Header {
    id: NodeId,
    address: Address,
    role: Role,
    epoch: u64,
    current_epoch: u64,
    slots: SlotSet,
}

impl Header {
    fn of(node: &Node) -> Self {
        let (epoch, current_epoch) = (node.epoch(), node.current_epoch);
        Self {
            id: node.id,
            address: node.address,
            role: node.role,
            epoch,
            current_epoch,
            slots: node.slots(),
        }
    }
}

impl Model {
    pub(crate) fn introduce(&mut self, a: usize, b: usize) {
        for (at, peer) in [(a, b), (b, a)] {
            let (id, address) = (self.nodes[peer].id, self.nodes[peer].address);
            let fresh = Line { address, master: None, epoch: 0, slots: SlotSet::new() };
            self.nodes[at].view.entry(id).or_insert(fresh).address = address;
        }
    }

    pub(crate) fn settle(&mut self) {
        const MAX_GOSSIP: usize = 12;
        for _ in 0..MAX_GOSSIP {
            let before = self.views();
            self.gossip();
            if self.views() == before {
                break;
            }
        }
        self.collide();
        self.replicate();
    }

    fn views(&self) -> Vec<(Role, BTreeMap<NodeId, Line>)> {
        self.nodes.iter().map(|n| (n.role, n.view.clone())).collect()
    }

    fn gossip(&mut self) {
        for to in 0..self.nodes.len() {
            for from in 0..self.nodes.len() {
                let both_run = self.nodes[to].running() && self.nodes[from].running();
                if to != from && both_run && self.mutual(to, from) {
                    self.tell(from, to);
                }
            }
        }
    }

    fn mutual(&self, a: usize, b: usize) -> bool {
        self.nodes[a].view.contains_key(&self.nodes[b].id)
            && self.nodes[b].view.contains_key(&self.nodes[a].id)
    }

    fn tell(&mut self, from: usize, to: usize) {
        let sender = Header::of(&self.nodes[from]);
        let strangers = self.nodes[from].view.keys().filter(|id| !self.nodes[to].view.contains_key(id));
        let fit = strangers.filter(|id| !self.nodes[to].banned.contains(id)).copied().collect::<Vec<_>>();
        for id in fit {
            if let Some(other) = self.by_id(id).filter(|i| self.nodes[*i].running()) {
                self.introduce(to, other);
            }
        }
        let epoch = sender.current_epoch.max(sender.epoch);
        let drained_follows = self.drained_follows;
        let receiver = &mut self.nodes[to];
        receiver.current_epoch = receiver.current_epoch.max(epoch);
        hear(receiver, &sender, drained_follows);
    }

    /// Two masters with one epoch: the one with the lower id takes a new one.
    fn collide(&mut self) {
        for a in 0..self.nodes.len() {
            let node = &self.nodes[a];
            let claims = |n: &Node| n.running() && n.role.is_master() && !n.slots().is_empty();
            let same = |b: &Node| claims(b) && b.epoch() == node.epoch() && b.id > node.id;
            let known = |b: &&Node| node.view.contains_key(&b.id);
            if claims(node) && self.nodes.iter().filter(known).any(same) {
                let node = &mut self.nodes[a];
                let epoch = node.max_epoch() + 1;
                node.current_epoch = epoch;
                node.me_mut().epoch = epoch;
                self.gossip();
            }
        }
    }

    fn replicate(&mut self) {
        for i in 0..self.nodes.len() {
            let Role::Replica { of } = self.nodes[i].role else {
                continue;
            };
            let Some(master) = self.by_id(of).map(|m| self.nodes[m].clone()) else {
                continue;
            };
            if self.nodes[i].running() && master.running() && master.role.is_master() && !master.closed_empty
            {
                self.nodes[i].keys.clone_from(&master.keys);
                self.nodes[i].offset = master.offset;
            }
        }
    }
}

/// A header arrives: role, epoch, claims.
fn hear(receiver: &mut Node, sender: &Header, drained_follows: bool) {
    let had = receiver.slots();
    if let Some(line) = receiver.view.get_mut(&sender.id) {
        line.master = sender.role.master();
        line.epoch = sender.epoch;
        line.address = sender.address;
        if line.master.is_some() {
            line.slots = SlotSet::new();
        }
    }
    if sender.role.is_master() {
        claim(receiver, sender);
    }
    let lost = had.difference(&receiver.slots());
    for slot in lost.iter() {
        receiver.keys.remove(&slot);
        receiver.open.remove(&slot);
    }
    let drained = !had.is_empty() && receiver.slots().is_empty() && receiver.role.is_master();
    if drained
        && (drained_follows || had.difference(&sender.slots).is_empty() && same_shard(receiver, sender))
    {
        receiver.follow(sender.id);
    }
    follow_the_new_master(receiver, sender);
}

/// In the model a failover's winner has all that its master had; a move's target is elsewhere.
fn same_shard(receiver: &Node, sender: &Header) -> bool {
    receiver.address.port / 10 == sender.address.port / 10 || receiver.closed_empty
}

fn claim(receiver: &mut Node, sender: &Header) {
    let mut won = sender.slots.clone();
    let ids: Vec<NodeId> = receiver.view.keys().copied().filter(|id| *id != sender.id).collect();
    for id in ids {
        let Some(line) = receiver.view.get_mut(&id) else {
            continue;
        };
        if line.epoch < sender.epoch {
            line.slots = line.slots.difference(&won);
        } else {
            won = won.difference(&line.slots);
        }
    }
    if let Some(line) = receiver.view.get_mut(&sender.id) {
        line.slots = line.slots.union(&won);
    }
}

/// A replica whose master was replaced, or became a replica itself, follows on.
fn follow_the_new_master(receiver: &mut Node, sender: &Header) {
    let Role::Replica { of } = receiver.role else {
        return;
    };
    let demoted = of == sender.id && sender.role.master().is_some();
    let next = match (demoted, sender.role) {
        (true, Role::Replica { of: next }) if next != receiver.id => Some(next),
        _ => None,
    };
    if let Some(next) = next {
        receiver.follow(next);
    }
    let empty = receiver.view.get(&of).is_some_and(|l| l.slots.is_empty());
    if empty && same_shard(receiver, sender) && sender.role.is_master() && !sender.slots.is_empty() {
        receiver.follow(sender.id);
    }
}
