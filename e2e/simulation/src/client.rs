//! Clients of the simulated cluster: write and read a few keys, follow redirections, remember what was acknowledged.

use crate::dataset::{Effect, Key, Version};
use crate::network::Party;
use crate::node::Life;
use crate::rng::Rng;
use crate::world::{Event, World};
use node_server_protocol::routing::Serving;
use node_server_protocol::{NodeId, Role, Slot};
use std::collections::BTreeMap;

/// Time between two operations.
const OPERATION_MS: u64 = 12;
/// Keys in use.
pub const KEYS: Key = 64;
/// Slots that they are in, spread over all.
const SLOTS: u32 = 16;
/// How long an attempt waits for its answer.
const ANSWER_MS: u64 = 600;
/// Attempts of one operation.
const ATTEMPTS_MAX: u32 = 12;
/// Pause before an attempt that was told to try again.
const AGAIN_MS: u64 = 20;

/// The slot of a key.
#[must_use]
pub fn slot_of(key: Key) -> Slot {
    Slot::from_hash(((key % SLOTS) * 1021 + 7) as u16)
}

/// Something of the clients'.
#[derive(Debug)]
pub enum ClientEvent {
    /// Time for another operation.
    Tick,
    /// A request arrives at a node.
    Arrived { operation: u64, attempt: u32, node: usize, incarnation: u32 },
    /// An answer arrives.
    Answered { operation: u64, attempt: u32, node: usize, answer: Answer },
    /// No answer came in time, or it is time to try again.
    Again { operation: u64, attempt: u32 },
}

impl ClientEvent {
    /// The node that has to be awake for it.
    #[must_use]
    pub fn node(&self) -> Option<usize> {
        match self {
            Self::Arrived { node, .. } => Some(*node),
            Self::Tick | Self::Answered { .. } | Self::Again { .. } => None,
        }
    }
}

/// What a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; a read gives the version.
    Done(Option<Version>),
    /// MOVED.
    Moved(NodeId),
    /// ASK.
    Ask(NodeId),
    /// CLUSTERDOWN, TRYAGAIN, or a session that waits.
    Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write(Version),
    Read { at_least: Version },
}

#[derive(Clone, Debug)]
struct Operation {
    key: Key,
    kind: Kind,
    attempt: u32,
    asking: bool,
    to: Option<usize>,
}

/// All clients.
pub struct Clients {
    rng: Rng,
    operations: BTreeMap<u64, Operation>,
    next: u64,
    versions: BTreeMap<Key, Version>,
}

impl Clients {
    /// No operation yet.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, operations: BTreeMap::new(), next: 0, versions: BTreeMap::new() }
    }
}

impl World {
    pub(crate) fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Tick => self.client_tick(),
            ClientEvent::Arrived { operation, attempt, node, incarnation } => {
                self.serve(operation, attempt, node, incarnation);
            }
            ClientEvent::Answered { operation, attempt, node, answer } => {
                self.answered(operation, attempt, node, answer);
            }
            ClientEvent::Again { operation, attempt } => self.again(operation, attempt),
        }
    }

    fn client_tick(&mut self) {
        self.at(self.now + OPERATION_MS, Event::Client(ClientEvent::Tick));
        let key = self.clients.rng.below(u64::from(KEYS)) as Key;
        if self.clients.operations.values().any(|o| o.key == key) {
            return;
        }
        let kind = if self.clients.rng.percent(30) {
            Kind::Read { at_least: self.monitor.protected(key) }
        } else {
            let version = self.clients.versions.entry(key).or_default();
            *version += 1;
            Kind::Write(*version)
        };
        self.clients.next += 1;
        let number = self.clients.next;
        self.clients.operations.insert(number, Operation { key, kind, attempt: 0, asking: false, to: None });
        self.attempt(number);
    }

    fn attempt(&mut self, number: u64) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].life == Life::Up).collect();
        let anybody = self.clients.rng.pick(&up).copied();
        let Some(operation) = self.clients.operations.get_mut(&number) else { return };
        operation.attempt += 1;
        let attempt = operation.attempt;
        let target = operation.to.take().or(anybody);
        if attempt > ATTEMPTS_MAX {
            self.clients.operations.remove(&number);
            return;
        }
        self.at(self.now + ANSWER_MS, Event::Client(ClientEvent::Again { operation: number, attempt }));
        let Some(node) = target.filter(|n| self.nodes[*n].life == Life::Up) else { return };
        if let Some(arrival) = self.network.datagram(self.now, Party::Client, Party::Node(node)) {
            let incarnation = self.nodes[node].incarnation;
            let event = ClientEvent::Arrived { operation: number, attempt, node, incarnation };
            self.at(arrival, Event::Client(event));
        }
    }

    fn again(&mut self, number: u64, attempt: u32) {
        if self.clients.operations.get(&number).is_some_and(|o| o.attempt == attempt) {
            self.attempt(number);
        }
    }

    fn serve(&mut self, number: u64, attempt: u32, node: usize, incarnation: u32) {
        let Some(operation) = self.clients.operations.get(&number).cloned() else { return };
        if self.nodes[node].incarnation != incarnation || operation.attempt != attempt {
            return;
        }
        let answer = self.run(node, &operation);
        if let (Kind::Write(version), Answer::Done(_)) = (operation.kind, answer) {
            self.watch_written(node, operation.key, version);
        }
        if let Some(arrival) = self.network.datagram(self.now, Party::Node(node), Party::Client) {
            let event = ClientEvent::Answered { operation: number, attempt, node, answer };
            self.at(arrival, Event::Client(event));
        }
    }

    /// The engine's rules of routing, on the simulated keys.
    fn run(&mut self, node: usize, operation: &Operation) -> Answer {
        let Some(routing) = self.nodes[node].routing.clone() else { return Answer::Later };
        let slot = slot_of(operation.key);
        if routing.serving != Serving::Ok {
            return Answer::Later;
        }
        let Some(owner) = routing.owner(slot) else { return Answer::Later };
        let mine = owner.id == routing.myself && routing.role == Role::Master;
        let held = self.nodes[node].data.get(slot, operation.key);
        if mine
            && held.is_none()
            && let Some(target) = routing.migrating_to(slot)
        {
            return self.ask_when_safe(node, slot, target.id);
        }
        let imports = operation.asking && routing.importing_from(slot).is_some();
        if !mine && !imports {
            return Answer::Moved(owner.id);
        }
        let Kind::Write(version) = operation.kind else { return Answer::Done(held) };
        if self.writes_paused(node) || self.nodes[node].leaving.contains_key(&operation.key) {
            return Answer::Later;
        }
        if held.is_none_or(|v| v < version) {
            self.write(node, Effect::Set(slot, operation.key, version));
        }
        Answer::Done(Some(version))
    }

    /// The first ASK for a key that has crossed waits until a replica in sync knows that it has (design, rule 11).
    fn ask_when_safe(&self, node: usize, slot: Slot, target: NodeId) -> Answer {
        let gone_at = self.nodes[node].gone_at.get(&slot).copied().unwrap_or(0);
        let safe = self.replicas_in_sync(node).max().is_none_or(|offset| offset >= gone_at);
        if safe { Answer::Ask(target) } else { Answer::Later }
    }

    fn answered(&mut self, number: u64, attempt: u32, node: usize, answer: Answer) {
        let redirected = |world: &Self, id| world.node_with_id(id);
        let Some(operation) = self.clients.operations.get(&number) else { return };
        if operation.attempt != attempt {
            return;
        }
        let (to, asking) = match answer {
            Answer::Done(found) => return self.done(number, node, found),
            Answer::Moved(id) => (redirected(self, id), false),
            Answer::Ask(id) => (redirected(self, id), true),
            Answer::Later => {
                let again = ClientEvent::Again { operation: number, attempt };
                return self.at(self.now + AGAIN_MS, Event::Client(again));
            }
        };
        if let Some(operation) = self.clients.operations.get_mut(&number) {
            operation.to = to;
            operation.asking = asking;
        }
        self.attempt(number);
    }

    fn done(&mut self, number: u64, node: usize, found: Option<Version>) {
        let Some(operation) = self.clients.operations.remove(&number) else { return };
        match operation.kind {
            Kind::Write(version) => {
                self.stats.writes += 1;
                self.watch_acknowledged_write(operation.key, version);
            }
            Kind::Read { at_least } => {
                self.stats.reads += 1;
                self.watch_read(node, operation.key, found, at_least);
            }
        }
    }
}
