//! Several nodes in one process, in virtual time: every message takes a millisecond, every write of nodes.conf five.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a harness: each test file uses its part, and failures panic"
)]

use node_server_cluster::command::{Parsed, parse};
use node_server_cluster::{
    Asker, Cluster, Config, DatasetInfo, HandOver, Input, LinkId, NodesConf, Output, ReplicationStatus,
    Start, Token,
};
use node_server_protocol::bus::{Packet, decode};
use node_server_protocol::routing::Serving;
use node_server_protocol::{Millis, NodeId, Role, SlotSet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

pub(crate) const LATENCY_MS: u64 = 1;
pub(crate) const DISK_MS: u64 = 5;
/// Replication is looked at this often.
const REPLICATION_MS: u64 = 100;
pub(crate) const TIMEOUT_MS: u64 = 3000;

enum Event {
    Input(usize, u64, Input),
    Replication,
}

pub(crate) struct Peer {
    pub(crate) core: Cluster,
    pub(crate) disk: String,
    pub(crate) offset: u64,
    pub(crate) follows: Option<NodeId>,
    pub(crate) last_io: Option<Millis>,
    pub(crate) keys: u64,
    pub(crate) paused: bool,
    pub(crate) logs: Vec<String>,
    pub(crate) dropped: SlotSet,
    pub(crate) handover: Option<HandOver>,
    pub(crate) commands: Vec<Vec<Vec<u8>>>,
    /// Grows with every restart: what was meant for an earlier life is lost.
    life: u64,
    pub(crate) up: bool,
    pub(crate) ip: IpAddr,
    links: BTreeMap<LinkId, (usize, LinkId)>,
    inbound: u64,
}

pub(crate) struct Net {
    pub(crate) now: Millis,
    pub(crate) peers: Vec<Peer>,
    pub(crate) config: Config,
    events: BTreeMap<(Millis, u64), Event>,
    sequence: u64,
    /// Pairs that cannot reach each other.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) replies: BTreeMap<u64, String>,
    token: u64,
    steps: u64,
    stepped: Millis,
    /// Messages as they left: who, when, what.
    pub(crate) sent: Vec<(usize, Millis, Packet)>,
    /// Writes of nodes.conf as they finished.
    pub(crate) persisted: Vec<(usize, Millis, String)>,
    /// Nodes whose disk stands still.
    pub(crate) disk_stuck: BTreeSet<usize>,
    /// Their writes.
    stuck: Vec<(usize, u64, String)>,
}

pub(crate) fn ip_of(index: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, index as u8 + 1])
}

pub(crate) fn id_of(index: usize) -> NodeId {
    NodeId::from_bytes([index as u8 + 1; 20])
}

impl Net {
    pub(crate) fn new(count: usize) -> Self {
        let config = Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() };
        let mut net = Self {
            now: Millis(1_700_000_000_000),
            peers: Vec::new(),
            config,
            events: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            replies: BTreeMap::new(),
            token: 0,
            steps: 0,
            stepped: Millis(0),
            sent: Vec::new(),
            persisted: Vec::new(),
            disk_stuck: BTreeSet::new(),
            stuck: Vec::new(),
        };
        for index in 0..count {
            net.add(index);
        }
        let at = net.now.after(REPLICATION_MS);
        net.schedule(at, Event::Replication);
        net
    }

    /// Six nodes: masters 0 to 2, replicas 3 to 5 of them in order, in sync.
    pub(crate) fn three_masters() -> Self {
        Self::with_masters(3, 1)
    }

    pub(crate) fn with_masters(masters: usize, replicas: usize) -> Self {
        let count = masters * (1 + replicas);
        let mut net = Self::new(count);
        let share = 16384 / masters;
        for m in 0..masters {
            let end = if m + 1 == masters { 16383 } else { (m + 1) * share - 1 };
            net.ok(m, &format!("ADDSLOTSRANGE {} {end}", m * share));
            net.ok(m, &format!("SET-CONFIG-EPOCH {}", m + 1));
        }
        for other in 1..count {
            net.ok(0, &format!("MEET 10.0.0.{} 6379", other + 1));
        }
        net.run_until(20_000, |n| n.peers.iter().all(|p| p.core.nodes_text().lines().count() == count));
        for replica in masters..count {
            net.ok(replica, &format!("REPLICATE {}", id_of(replica % masters)));
        }
        net.run_until(20_000, |n| n.all_ok() && n.peers.iter().skip(masters).all(|p| p.offset > 0));
        net.run(2 * TIMEOUT_MS);
        net
    }

    fn write(&mut self, node: usize, seq: u64, text: String) {
        self.persisted.push((node, self.now.after(DISK_MS), text.clone()));
        self.peers[node].disk = text;
        self.later(DISK_MS, node, Input::Persisted { seq });
    }

    /// Its disk goes on.
    pub(crate) fn release_disk(&mut self, node: usize) {
        self.disk_stuck.remove(&node);
        let (released, stuck) = std::mem::take(&mut self.stuck).into_iter().partition(|(of, ..)| *of == node);
        self.stuck = stuck;
        let released: Vec<(usize, u64, String)> = released;
        released.into_iter().for_each(|(node, seq, text)| self.write(node, seq, text));
    }

    pub(crate) fn all_ok(&self) -> bool {
        self.peers.iter().filter(|p| p.up).all(|p| p.core.routing().serving == Serving::Ok)
    }

    fn add(&mut self, index: usize) {
        let start = Start::Fresh { id: id_of(index), shard_id: NodeId::from_bytes([index as u8 + 101; 20]) };
        let core = Cluster::new(self.config.clone(), start, true, index as u64 + 1, self.now);
        self.peers.push(Peer {
            core,
            disk: String::new(),
            offset: 0,
            follows: None,
            last_io: None,
            keys: 0,
            paused: false,
            logs: Vec::new(),
            dropped: SlotSet::new(),
            handover: None,
            commands: Vec::new(),
            life: 0,
            up: true,
            ip: ip_of(index),
            links: BTreeMap::new(),
            inbound: 0,
        });
        self.drain(index);
    }

    fn schedule(&mut self, at: Millis, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn later(&mut self, ms: u64, to: usize, input: Input) {
        let life = self.peers[to].life;
        self.schedule(self.now.after(ms), Event::Input(to, life, input));
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    pub(crate) fn isolate(&mut self, node: usize) {
        for other in (0..self.peers.len()).filter(|o| *o != node) {
            self.cut.insert((node, other));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        self.peers[node].up = false;
        self.peers[node].life += 1;
        let links = std::mem::take(&mut self.peers[node].links);
        for (_, (other, link)) in links {
            self.peers[other].links.remove(&link);
            self.later(LATENCY_MS, other, Input::Closed { link });
        }
    }

    /// Starts a killed node from its nodes.conf.
    pub(crate) fn restart(&mut self, node: usize, empty: bool) {
        let conf = NodesConf::parse(&self.peers[node].disk).unwrap();
        let peer = &mut self.peers[node];
        peer.up = true;
        peer.life += 1;
        peer.follows = None;
        peer.last_io = None;
        peer.paused = false;
        if empty {
            peer.offset = 0;
            peer.keys = 0;
        }
        peer.core = Cluster::new(self.config.clone(), Start::Loaded(conf), empty, 77 + peer.life, self.now);
        self.drain(node);
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        if !self.peers[node].up {
            return;
        }
        let now = self.now;
        self.peers[node].core.handle_input(now, input);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.peers[node].core.poll_output() {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        match output {
            Output::Connect { link, to } => self.connect(node, link, to),
            Output::Send { link, frame } => {
                self.sent.push((node, self.now, decode(&frame).unwrap()));
                if let Some((to, far)) = self.peers[node].links.get(&link).copied()
                    && self.reachable(node, to)
                {
                    self.later(LATENCY_MS, to, Input::Frame { link: far, bytes: frame });
                }
            }
            Output::Close { link } => {
                if let Some((to, far)) = self.peers[node].links.remove(&link) {
                    self.peers[to].links.remove(&far);
                    self.later(LATENCY_MS, to, Input::Closed { link: far });
                }
            }
            Output::Persist { seq, text } => {
                if self.disk_stuck.contains(&node) {
                    self.stuck.push((node, seq, text));
                } else {
                    self.write(node, seq, text);
                }
            }
            Output::Reply { token, bytes } => {
                self.replies.insert(token.0, String::from_utf8(bytes).unwrap());
            }
            Output::ReplicateThenReply { token, command, bytes } => {
                self.replies.insert(token.0, String::from_utf8(bytes).unwrap());
                self.replicate(node, command);
            }
            Output::Replicate { command } => self.replicate(node, command),
            Output::Follow { master, .. } => self.peers[node].follows = Some(master),
            Output::BecomeMaster => self.peers[node].follows = None,
            Output::DropKeys { slots } => self.peers[node].dropped.extend(slots.iter()),
            Output::DropAllKeys => self.peers[node].keys = 0,
            Output::PauseWrites { .. } => {
                self.peers[node].paused = true;
                let offset = self.peers[node].offset;
                self.later(LATENCY_MS, node, Input::WritesPaused { offset });
            }
            Output::ResumeWrites => self.peers[node].paused = false,
            Output::HandOver(outcome) => self.peers[node].handover = Some(outcome),
            Output::Log { message, .. } => self.peers[node].logs.push(message),
            Output::Fatal { message } => panic!("node {node}: {message}"),
            Output::Publish(_) => {}
        }
    }

    fn connect(&mut self, node: usize, link: LinkId, to: SocketAddr) {
        let target = self.peers.iter().position(|p| p.up && p.ip == to.ip());
        let Some(target) = target.filter(|t| self.reachable(node, *t)) else {
            self.later(LATENCY_MS, node, Input::ConnectFailed { link });
            return;
        };
        self.peers[target].inbound += 1;
        let far = LinkId(LinkId::INBOUND | self.peers[target].inbound | (self.peers[target].life << 32));
        self.peers[node].links.insert(link, (target, far));
        self.peers[target].links.insert(far, (node, link));
        let (from, local_ip) = (self.peers[node].ip, self.peers[target].ip);
        let peer = SocketAddr::new(from, 40_000);
        self.later(LATENCY_MS, target, Input::Accepted { link: far, peer, local_ip });
        self.later(LATENCY_MS, node, Input::Connected { link, local_ip: from });
    }

    fn replicate(&mut self, master: usize, command: Vec<Vec<u8>>) {
        self.peers[master].commands.push(command.clone());
        let id = self.peers[master].core.id();
        for replica in 0..self.peers.len() {
            if self.peers[replica].follows == Some(id) && self.reachable(master, replica) {
                self.later(LATENCY_MS, replica, Input::ReplicatedSetSlot { args: command.clone() });
            }
        }
    }

    /// Masters' streams grow, replicas follow.
    fn replication(&mut self) {
        for node in 0..self.peers.len() {
            if !self.peers[node].up {
                continue;
            }
            let mut up = false;
            match self.peers[node].follows {
                None if !self.peers[node].paused => self.peers[node].offset += 10,
                None => {}
                Some(master) => {
                    let master = self.index_of(master);
                    let open = master.filter(|m| {
                        let peer = &self.peers[*m];
                        peer.up && self.reachable(node, *m) && !peer.core.is_closed_empty()
                    });
                    if let Some(master) = open {
                        self.peers[node].offset = self.peers[master].offset;
                        self.peers[node].last_io = Some(self.now);
                        up = true;
                    }
                }
            }
            let peer = &self.peers[node];
            let status = ReplicationStatus {
                offset: peer.offset,
                master: peer.follows,
                master_link_up: up,
                last_master_io: peer.last_io,
                loading: false,
            };
            self.input(node, Input::Replication(status));
        }
        let at = self.now.after(REPLICATION_MS);
        self.schedule(at, Event::Replication);
    }

    pub(crate) fn index_of(&self, id: NodeId) -> Option<usize> {
        self.peers.iter().position(|p| p.core.id() == id)
    }

    /// One event or deadline, not later than `until`; false when there is none.
    fn step(&mut self, until: Millis) -> bool {
        self.steps = if self.now == self.stepped { self.steps + 1 } else { 0 };
        self.stepped = self.now;
        assert!(self.steps < 100_000, "time stands still: a deadline that is never done with");
        let event = self.events.keys().next().copied();
        let deadline = (0..self.peers.len())
            .filter(|i| self.peers[*i].up)
            .filter_map(|i| self.peers[i].core.poll_deadline().map(|at| (at, i)))
            .min();
        let event_first = match (event, deadline) {
            (Some((at, _)), Some((due, _))) => at <= due,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if event_first {
            let Some(key) = event.filter(|(at, _)| *at <= until) else { return false };
            self.now = self.now.max(key.0);
            match self.events.remove(&key) {
                Some(Event::Input(to, life, input)) if self.peers[to].life == life => self.input(to, input),
                Some(Event::Replication) => self.replication(),
                _ => {}
            }
            return true;
        }
        let Some((due, node)) = deadline.filter(|(due, _)| *due <= until) else { return false };
        self.now = self.now.max(due);
        let now = self.now;
        self.peers[node].core.handle_deadline(now);
        self.drain(node);
        true
    }

    pub(crate) fn run(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until it holds; how long it took, in milliseconds. Panics when it takes longer than `limit`.
    pub(crate) fn run_until(&mut self, limit: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        let until = self.now.after(limit);
        while !holds(self) {
            if !self.step(until) {
                let views: Vec<String> =
                    self.peers.iter().filter(|p| p.up).map(|p| p.core.nodes_text()).collect();
                panic!("not within {limit} ms:\n{}", views.join("\n"));
            }
        }
        self.now.since(start)
    }

    /// Sends a CLUSTER command and gives the number under which its reply will be.
    pub(crate) fn ask(&mut self, node: usize, command: &str, keys: DatasetInfo) -> u64 {
        self.token += 1;
        let token = self.token;
        let args: Vec<&str> = std::iter::once("CLUSTER").chain(command.split(' ')).collect();
        match parse(&args) {
            Ok(Parsed::Core(command)) => {
                let asker = Asker::default();
                self.input(node, Input::Command { token: Token(token), command, asker, keys });
            }
            Ok(Parsed::Keys(_)) => panic!("{command} is for the engine"),
            Err(error) => {
                self.replies.insert(token, format!("-{error}\r\n"));
            }
        }
        token
    }

    /// Sends a CLUSTER command and waits for its reply.
    pub(crate) fn reply(&mut self, node: usize, command: &str) -> String {
        let total = self.peers[node].keys;
        let token = self.ask(node, command, DatasetInfo { total, ..DatasetInfo::default() });
        self.run_until(1000, |n| n.replies.contains_key(&token));
        self.replies[&token].clone()
    }

    pub(crate) fn ok(&mut self, node: usize, command: &str) {
        assert_eq!(self.reply(node, command), "+OK\r\n", "node {node}: {command}");
    }

    pub(crate) fn role(&self, node: usize) -> Role {
        self.peers[node].core.role()
    }

    pub(crate) fn is_serving_master(&self, node: usize, slot: u16) -> bool {
        let routing = self.peers[node].core.routing();
        let slot = node_server_protocol::Slot::new(slot).unwrap();
        self.peers[node].up
            && routing.serving == Serving::Ok
            && routing.is_mine(slot)
            && routing.role.is_master()
    }

    /// Whether every running node agrees about who owns which slot, and all slots are owned.
    pub(crate) fn agreed(&self) -> bool {
        let views: BTreeSet<Vec<Option<NodeId>>> =
            self.peers.iter().filter(|p| p.up).map(|p| owners(&p.core)).collect();
        views.len() == 1 && views.first().is_some_and(|v| v.iter().all(Option::is_some))
    }

    pub(crate) fn logged(&self, node: usize, text: &str) -> bool {
        self.peers[node].logs.iter().any(|l| l.contains(text))
    }
}

pub(crate) fn owners(core: &Cluster) -> Vec<Option<NodeId>> {
    let routing = core.routing();
    node_server_protocol::Slot::all().map(|s| routing.owner(s).map(|n| n.id)).collect()
}
