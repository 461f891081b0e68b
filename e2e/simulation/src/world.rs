//! Everything there is in a run, and the queue of what happens next. The clock is virtual: it jumps from event to event.

use crate::client::Clients;
use crate::dataset::{Effect, Sync};
use crate::faults::Scheduled;
use crate::monitor::Monitor;
use crate::network::{Network, Party};
use crate::node::{Life, Node};
use crate::operator::Operator;
use crate::replication::Question;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::wires::Wires;
use node_server_cluster::{Config, Input, LinkId, NodesConf, Token};
use node_server_protocol::{Millis, NodeId};
use operator_planner::MemberId;
use std::collections::BTreeMap;

/// Most events in one run: a run that needs more has gone astray.
const EVENTS_MAX: u64 = 30_000_000;

/// Something that happens at a time.
#[derive(Debug)]
pub enum Event {
    /// A bus connection stands.
    Established { connection: u64 },
    /// A connection could not be made.
    ConnectFailed { node: usize, incarnation: u32, link: LinkId },
    /// A frame arrives at one end.
    Frame { connection: u64, to_initiator: bool, bytes: Vec<u8> },
    /// One end hears that the other has closed.
    Closed { connection: u64, to_initiator: bool },
    /// The state machine asked to be woken.
    Deadline { node: usize, incarnation: u32 },
    /// nodes.conf is on disk.
    Persisted { node: usize, incarnation: u32, seq: u64, text: String },
    /// A replica asks its master for more, and every node tells its core how replication stands.
    ReplicationTick { node: usize, incarnation: u32 },
    /// The question arrives at the master.
    SyncAsked { master: usize, asked: Question },
    /// The answer arrives at the replica.
    SyncAnswered { asked: Question, master: NodeId, sync: Sync },
    /// Replies that waited for a replica are looked at again.
    GateTick { node: usize, incarnation: u32 },
    /// Something of the clients.
    Client(crate::client::ClientEvent),
    /// Something of the operator.
    Operator(crate::operator::OperatorEvent),
    /// A fault begins.
    FaultBegins(Scheduled),
    /// A fault ends.
    FaultEnds(crate::happen::Ending),
}

impl Event {
    /// The node that has to be awake for it, if it is about one.
    fn node(&self, wires: &Wires) -> Option<usize> {
        match self {
            Self::ConnectFailed { node, .. }
            | Self::Deadline { node, .. }
            | Self::ReplicationTick { node, .. }
            | Self::GateTick { node, .. } => Some(*node),
            Self::SyncAsked { master, .. } => Some(*master),
            Self::SyncAnswered { asked, .. } => Some(asked.replica),
            Self::Frame { connection, to_initiator, .. } | Self::Closed { connection, to_initiator } => {
                wires.end(*connection, *to_initiator)
            }
            Self::Client(event) => event.node(),
            Self::Operator(event) => event.node(),
            // The kernel accepts connections and the disk syncs for a process that stands still; its core hears later,
            // which the handlers see to.
            Self::Established { .. } | Self::Persisted { .. } | Self::FaultBegins(_) | Self::FaultEnds(_) => {
                None
            }
        }
    }
}

/// A defect that ends the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in milliseconds of the run.
    pub at: u64,
    /// What.
    pub what: String,
}

/// One run.
pub struct World {
    /// Milliseconds since the run began.
    pub now: u64,
    /// The seed's numbers for what has no generator of its own.
    pub rng: Rng,
    /// The network between all.
    pub network: Network,
    /// Bus connections.
    pub wires: Wires,
    /// Every process there ever was.
    pub nodes: Vec<Node>,
    /// The real planner and who carries out what it plans.
    pub operator: Operator,
    /// Who writes and reads.
    pub clients: Clients,
    /// Who watches.
    pub monitor: Monitor,
    /// What was done.
    pub stats: Stats,
    /// Settings of every node; a mutant among them.
    pub config: Config,
    /// Every node's keys are on a volume, which outlives its process.
    pub volumes: bool,
    /// Print every event.
    pub verbose: bool,
    /// Faults under way or to come may still change things.
    pub healed: bool,
    stalled: BTreeMap<usize, Vec<Event>>,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    next_token: u64,
    pub(crate) next_question: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, config: Config, operator: Operator, volumes: bool, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            now: 0,
            network: Network::new(rng.fork()),
            wires: Wires::default(),
            nodes: Vec::new(),
            operator,
            clients: Clients::new(rng.fork()),
            monitor: Monitor::default(),
            stats: Stats::default(),
            config,
            volumes,
            verbose,
            healed: false,
            stalled: BTreeMap::new(),
            queue: BTreeMap::new(),
            order: 0,
            next_token: 0,
            next_question: 0,
            rng,
        }
    }

    /// Queues an event.
    pub fn at(&mut self, when: u64, event: Event) {
        self.order += 1;
        self.queue.insert((when.max(self.now), self.order), event);
    }

    /// A number for a command that waits for its reply.
    pub fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Writes a line when somebody follows the run.
    pub fn log(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>7} {}", self.now, line());
        }
    }

    /// Notes a defect.
    pub fn violation(&mut self, what: String) {
        self.log(|| format!("VIOLATION {what}"));
        self.monitor.violations.push(Violation { at: self.now, what });
    }

    /// Runs until `until` or the first violation.
    pub fn run_until(&mut self, until: u64) {
        while self.monitor.violations.is_empty() {
            let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= until) else { break };
            let ((when, _), event) = entry.remove_entry();
            self.now = when;
            self.stats.events += 1;
            if self.stats.events > EVENTS_MAX {
                self.violation(format!("more than {EVENTS_MAX} events"));
            }
            self.handle(event);
        }
        self.now = self.now.max(until);
    }

    fn handle(&mut self, event: Event) {
        if let Some(node) = event.node(&self.wires)
            && self.nodes[node].paused
        {
            self.stalled.entry(node).or_default().push(event);
            return;
        }
        match event {
            Event::Established { connection } => self.established(connection),
            Event::ConnectFailed { node, incarnation, link } => {
                self.input_to(node, incarnation, Input::ConnectFailed { link });
            }
            Event::Frame { connection, to_initiator, bytes } => self.frame(connection, to_initiator, bytes),
            Event::Closed { connection, to_initiator } => self.closed(connection, to_initiator),
            Event::Deadline { node, incarnation } => self.deadline(node, incarnation),
            Event::Persisted { node, incarnation, seq, text } => self.persisted(node, incarnation, seq, text),
            Event::ReplicationTick { node, incarnation } => self.replication_tick(node, incarnation),
            Event::SyncAsked { master, asked } => self.sync_asked(master, asked),
            Event::SyncAnswered { asked, master, sync } => self.sync_answered(asked, master, sync),
            Event::GateTick { node, incarnation } => self.gate_tick(node, incarnation),
            Event::Client(event) => self.client_event(event),
            Event::Operator(event) => self.operator_event(event),
            Event::FaultBegins(scheduled) => self.fault_begins(scheduled),
            Event::FaultEnds(ending) => self.fault_ends(ending),
        }
    }

    /// A process goes on: everything that came meanwhile is handled now, in its order.
    pub fn wake(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for event in self.stalled.remove(&node).unwrap_or_default() {
            self.at(self.now, event);
        }
    }

    /// What came for a process that ended is lost with it.
    pub fn drop_stalled(&mut self, node: usize) {
        self.stalled.remove(&node);
    }

    /// The node's own time.
    #[must_use]
    pub fn local(&self, node: usize) -> Millis {
        self.nodes[node].clock.read(self.now)
    }

    /// Hands an input to a node of that life and does what it wants done.
    pub fn input_to(&mut self, node: usize, incarnation: u32, input: Input) {
        if self.nodes[node].incarnation == incarnation {
            self.input(node, input);
        }
    }

    /// Hands an input to a node and does what it wants done.
    pub fn input(&mut self, node: usize, input: Input) {
        let now = self.local(node);
        if let Some(cluster) = &mut self.nodes[node].cluster {
            cluster.handle_input(now, input);
            self.drain(node);
        }
    }

    fn deadline(&mut self, node: usize, incarnation: u32) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].deadline != Some(self.now) {
            return;
        }
        self.nodes[node].deadline = None;
        let now = self.local(node);
        if let Some(cluster) = &mut self.nodes[node].cluster {
            cluster.handle_deadline(now);
            self.drain(node);
        }
    }

    fn persisted(&mut self, node: usize, incarnation: u32, seq: u64, text: String) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].life != Life::Up {
            return;
        }
        match NodesConf::parse(&text) {
            Ok(conf) => {
                self.watch_open_slots(node, &conf);
                self.nodes[node].disk_conf = Some(conf);
            }
            Err(error) => {
                let member = self.nodes[node].member;
                self.violation(format!("{member} writes a nodes.conf that it cannot read: {error}"));
            }
        }
        self.nodes[node].disk = Some(text);
        self.nodes[node].disk_made = self.nodes[node].write_made;
        self.watch_owner_epochs(node);
        self.input(node, Input::Persisted { seq });
    }

    /// The node with this address, if a process listens there.
    #[must_use]
    pub fn listening_at(&self, bus: std::net::SocketAddr) -> Option<usize> {
        self.nodes.iter().position(|n| n.life == Life::Up && n.address.bus() == bus)
    }

    /// The running node with this name.
    #[must_use]
    pub fn node_with_id(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|n| n.life == Life::Up && n.id() == Some(id))
    }

    /// The process that is this member now.
    #[must_use]
    pub fn member(&self, member: MemberId) -> Option<usize> {
        self.nodes.iter().rposition(|n| n.member == member && n.life != Life::Removed)
    }

    /// Whether a message can go and come back.
    #[must_use]
    pub fn both_ways(&self, a: Party, b: Party) -> bool {
        self.network.reaches(a, b) && self.network.reaches(b, a)
    }

    /// A master's write: logged, and its replicas will ask for it.
    pub fn write(&mut self, node: usize, effect: Effect) -> u64 {
        self.nodes[node].data.write(effect);
        self.nodes[node].data.offset()
    }
}
