//! A cluster simple enough to trust: nodes with views, slots and keys, gossip that settles at once, replication
//! without lag. It executes the commands of steps, so a wrong command shows as well as a wrong plan.
#![allow(dead_code, reason = "helpers for whichever test comes next")]

mod command;
mod gossip;
mod node;
mod seen;

pub(crate) use node::{Line, Node};

use node_server_protocol::{Address, NodeId, Slot, SlotSet};
use operator_planner::commands::{Errors, Phase};
use operator_planner::observed::Gone;
use operator_planner::{Desired, Distribution, Life, MemberId, PlannedStep, Proof, Spec, Step, Why, plan};
use std::collections::BTreeMap;

/// A declaration with everything usual.
pub(crate) fn desired(masters: u16, replicas_per_master: u16) -> Desired {
    spec(masters, replicas_per_master, Distribution::Balanced, false)
}

pub(crate) fn spec(
    masters: u16,
    replicas_per_master: u16,
    distribution: Distribution,
    allow_data_loss: bool,
) -> Desired {
    let name = "demo".into();
    Desired::parse(Spec { name, masters, replicas_per_master, distribution, allow_data_loss, paused: false })
        .unwrap()
}

#[derive(Clone)]
pub(crate) struct Model {
    /// By index; members name theirs. Foreign nodes are nobody's.
    pub(crate) nodes: Vec<Node>,
    pub(crate) members: BTreeMap<MemberId, usize>,
    pub(crate) gone: Vec<Gone>,
    /// A master that loses its last slot becomes a replica of who took it, as Redis 7 does.
    pub(crate) drained_follows: bool,
    /// Every command that was accepted.
    pub(crate) log: Vec<String>,
    /// Slots have owners, and must keep them.
    pub(crate) formed: bool,
    /// How often each slot was given to a new owner.
    pub(crate) moves: BTreeMap<u16, usize>,
    /// Stop after so many commands: the operator is killed.
    pub(crate) fuel: Option<usize>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let (nodes, members) = (Vec::new(), BTreeMap::new());
        Self {
            nodes,
            members,
            gone: Vec::new(),
            drained_follows: false,
            log: Vec::new(),
            formed: false,
            moves: BTreeMap::new(),
            fuel: None,
        }
    }

    /// A converged cluster with some keys.
    pub(crate) fn formed(desired: &Desired) -> Self {
        let mut model = Self::new();
        model.converge(desired);
        model.formed = true;
        for slot in Slot::all().filter(|s| s.number() % 97 == 0) {
            model.write(slot);
        }
        model
    }

    pub(crate) fn node(&self, member: MemberId) -> &Node {
        &self.nodes[self.members[&member]]
    }

    pub(crate) fn node_mut(&mut self, member: MemberId) -> &mut Node {
        let index = self.members[&member];
        &mut self.nodes[index]
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|n| n.id == id)
    }

    fn by_address(&self, address: &Address) -> Option<usize> {
        self.nodes.iter().position(|n| n.running() && n.address.client() == address.client())
    }

    /// A key is written to the slot's owner and its replicas.
    pub(crate) fn write(&mut self, slot: Slot) {
        let best = (0..self.nodes.len())
            .filter(|i| self.nodes[*i].running() && self.nodes[*i].slots().contains(slot));
        let Some(owner) = best.max_by_key(|i| self.nodes[*i].epoch()) else {
            return;
        };
        let node = &mut self.nodes[owner];
        node.keys.entry(slot).or_default().insert(format!("key-{slot}"));
        node.offset += 10;
        self.settle();
    }

    /// Every key of every node that runs, by slot.
    pub(crate) fn keys(&self) -> BTreeMap<Slot, usize> {
        let mut all: BTreeMap<Slot, std::collections::BTreeSet<&String>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|n| n.running()) {
            for (slot, keys) in &node.keys {
                all.entry(*slot).or_default().extend(keys);
            }
        }
        all.into_iter().map(|(slot, keys)| (slot, keys.len())).filter(|(_, n)| *n > 0).collect()
    }

    /// The process ends. It keeps its nodes.conf, and its data where there is a disk.
    pub(crate) fn kill(&mut self, member: MemberId, keeps_data: bool) {
        let node = self.node_mut(member);
        node.life = Life::Terminated(Proof::Terminated);
        if !keeps_data {
            node.keys.clear();
            node.offset = 0;
        }
        self.settle();
    }

    /// It is silent, and nobody can say why.
    pub(crate) fn silence(&mut self, member: MemberId) {
        self.node_mut(member).silent = Some(Why::TimedOut);
        self.settle();
    }

    /// The platform starts it again; an empty master that had slots closes.
    pub(crate) fn restart(&mut self, member: MemberId) {
        let node = self.node_mut(member);
        node.life = Life::Running;
        node.silent = None;
        node.closed_empty = node.role.is_master() && !node.slots().is_empty() && node.offset == 0;
        self.settle();
    }

    /// The member gets another process without any memory, at the same address.
    pub(crate) fn replace(&mut self, member: MemberId) {
        let (id, address) = (self.node(member).id, self.node(member).address);
        self.gone.push(Gone { id, member, proof: Proof::Terminated });
        self.add(member, address);
        self.settle();
    }

    pub(crate) fn add(&mut self, member: MemberId, address: Address) {
        let number = self.nodes.len() as u8 + 1;
        self.nodes.push(Node::new(number, address));
        self.members.insert(member, self.nodes.len() - 1);
    }

    /// One node that is nobody's member, known to all.
    pub(crate) fn add_foreign(&mut self) -> NodeId {
        let address = address(900);
        self.nodes.push(Node::new(200, address));
        let last = self.nodes.len() - 1;
        let first = *self.members.values().next().unwrap();
        self.introduce(first, last);
        self.settle();
        self.nodes[last].id
    }

    /// Looks, plans, executes. Returns the steps that were planned.
    pub(crate) fn round(&mut self, desired: &Desired) -> Vec<Step> {
        let planned = plan(desired, &self.observe());
        for step in planned.due() {
            self.execute(step);
            self.settle();
        }
        planned.steps.into_iter().map(|s| s.step).collect()
    }

    /// Rounds until the plan is empty.
    pub(crate) fn converge(&mut self, desired: &Desired) -> usize {
        const MAX_ROUNDS: usize = 60;
        for round in 0..MAX_ROUNDS {
            if plan(desired, &self.observe()).is_converged() {
                return round;
            }
            self.round(desired);
        }
        let last = plan(desired, &self.observe());
        panic!("not converged after {MAX_ROUNDS} rounds: {last:#?}\n{}", self.tail());
    }

    /// The end of the log.
    fn tail(&self) -> String {
        self.log[self.log.len().saturating_sub(20)..].join("\n")
    }

    /// One attempt, as the operator makes it.
    pub(crate) fn execute(&mut self, planned: &PlannedStep) {
        let reports = self.reports();
        let holds =
            |e: &operator_planner::Expect| reports.get(&e.member).is_some_and(|r| e.violated_by(r).is_none());
        if !planned.expect.iter().all(holds) {
            return;
        }
        for phase in planned.step.commands() {
            if !self.phase(&planned.step, phase) {
                return;
            }
        }
    }

    fn phase(&mut self, step: &Step, phase: Phase) -> bool {
        match phase {
            Phase::Platform => self.platform(step),
            Phase::Report => self.log.push(format!("{step:?}")),
            Phase::MoveKeys { source, target, slots, replace } => {
                return slots
                    .iter()
                    .all(|slot| self.burn() && self.move_keys(source.id, target.id, slot, replace));
            }
            Phase::Send { commands, errors } => {
                for command in commands {
                    if !self.burn() {
                        return false;
                    }
                    let sent = self.command(command.to, &command.args);
                    if sent.is_err() && errors == Errors::Stop {
                        self.log.push(format!("{} refused: {sent:?}", command.args.join(" ")));
                        return false;
                    }
                }
            }
        }
        true
    }

    /// One command's worth of life left?
    fn burn(&mut self) -> bool {
        match &mut self.fuel {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    fn platform(&mut self, step: &Step) {
        match step {
            Step::EnsureMember { member } => self.add(*member, address(member.shard * 10 + member.ordinal)),
            Step::RemoveMember { member, .. } => {
                let index = self.members.remove(member).unwrap();
                self.nodes[index].life = Life::Terminated(Proof::Terminated);
                let id = self.nodes[index].id;
                self.gone.push(Gone { id, member: *member, proof: Proof::Terminated });
            }
            other => panic!("not for the platform: {other:?}"),
        }
    }

    /// Owners as the running masters claim them: every slot once.
    pub(crate) fn ranges(&self) -> BTreeMap<MemberId, String> {
        let masters = self.members.iter().map(|(m, i)| (*m, &self.nodes[*i]));
        masters
            .filter(|(_, n)| n.role.is_master() && n.running())
            .map(|(m, n)| (m, n.slots().to_string()))
            .collect()
    }

    /// Slots that nobody who runs claims.
    pub(crate) fn orphaned(&self) -> SlotSet {
        let running = self.nodes.iter().filter(|n| n.running() && n.role.is_master());
        running.fold(SlotSet::full(), |left, n| left.difference(&n.slots()))
    }
}

pub(crate) fn address(number: u16) -> Address {
    let port = 7001 + number;
    Address { ip: [127, 0, 0, 1].into(), port, bus_port: port + 10_000 }
}
