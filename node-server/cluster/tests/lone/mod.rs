//! One node whose neighbours are played by the test, message by message.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a harness: each test file uses its part, and failures panic"
)]

use node_server_cluster::command::{Command, Parsed, parse};
use node_server_cluster::{
    Asker, Cluster, Config, DatasetInfo, Input, LinkId, NodesConf, Output, ReplicationStatus, Start, Token,
};
use node_server_protocol::bus::{
    Body, GossipEntry, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet, decode,
};
use node_server_protocol::{Epoch, Millis, NodeId, Slot, SlotSet};
use std::collections::BTreeMap;

pub(crate) const TIMEOUT_MS: u64 = 3000;

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

pub(crate) fn slots(from: u16, to: u16) -> SlotSet {
    (from..=to).filter_map(Slot::new).collect()
}

/// Nodes 1 to 3 are masters of a third each with epochs 1 to 3, nodes 4 to 6 their replicas.
fn conf(me: u8) -> String {
    let ranges = ["0-5460", "5461-10922", "10923-16383"];
    let mut text = String::new();
    for n in 1..=6u8 {
        let myself = if n == me { "myself," } else { "" };
        let role = if n <= 3 { "master -".to_owned() } else { format!("slave {}", id(n - 3)) };
        let owned = ranges.get(usize::from(n) - 1).copied().unwrap_or_default();
        let epoch = if n <= 3 { n } else { 0 };
        let shard = id(if n <= 3 { n + 100 } else { n + 97 });
        text += &format!(
            "{} 10.0.0.{n}:6379@16379,,shard-id={shard} {myself}{role} 0 0 {epoch} connected {owned}\n",
            id(n)
        );
    }
    text + "vars currentEpoch 3 lastVoteEpoch 0\n"
}

pub(crate) struct Lone {
    pub(crate) core: Cluster,
    pub(crate) now: Millis,
    /// Our connection to each node, by the last byte of its address.
    pub(crate) to: BTreeMap<u8, LinkId>,
    inbound: u64,
}

impl Lone {
    /// This node, with all its connections up, after the start delay; nothing left in the queue.
    pub(crate) fn new(me: u8) -> Self {
        Self::start(me, false, Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() })
    }

    pub(crate) fn start(me: u8, empty: bool, config: Config) -> Self {
        Self::begin(me, empty, config, false)
    }

    /// As [`Lone::new`], and it still reads its files.
    pub(crate) fn loading(me: u8, config: Config) -> Self {
        Self::begin(me, false, config, true)
    }

    fn begin(me: u8, empty: bool, config: Config, loading: bool) -> Self {
        let start = Start::Loaded(NodesConf::parse(&conf(me)).unwrap());
        let now = Millis(1_700_000_000_000);
        let mut core = Cluster::new(config, start, empty, 1, now);
        if loading {
            core.begin_load();
        }
        let mut lone = Self { core, now, to: BTreeMap::new(), inbound: 0 };
        lone.settle();
        lone.pass(100);
        for _ in 0..24 {
            lone.alive();
            lone.pass(100);
        }
        lone.settle();
        lone
    }

    /// Everybody answers.
    pub(crate) fn alive(&mut self) {
        self.alive_but(0);
    }

    /// Everybody answers but one.
    pub(crate) fn alive_but(&mut self, silent: u8) {
        for n in self.to.clone().into_keys().filter(|n| *n <= 6 && *n != silent) {
            self.pong_from(n);
        }
    }

    pub(crate) fn pong_from(&mut self, n: u8) {
        let packet = Packet { header: header(n), body: Body::Pong(Heartbeat::default()) };
        self.receive(self.to[&n], packet);
    }

    /// Outputs so far; connections come up and writes are on disk at once.
    pub(crate) fn settle(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match &output {
                Output::Connect { link, to } => {
                    if let std::net::IpAddr::V4(ip) = to.ip() {
                        self.to.insert(ip.octets()[3], *link);
                    }
                    let local_ip = [10, 0, 0, 99].into();
                    self.core.handle_input(self.now, Input::Connected { link: *link, local_ip });
                }
                Output::Persist { seq, .. } => {
                    self.core.handle_input(self.now, Input::Persisted { seq: *seq });
                }
                _ => {}
            }
            all.push(output);
        }
        all
    }

    /// Outputs so far, and nothing happens to them.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Output> {
        let until = self.now.after(ms);
        let mut all = Vec::new();
        while let Some(due) = self.core.poll_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.core.handle_deadline(self.now);
            all.extend(self.settle());
        }
        self.now = until;
        all
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
    }

    pub(crate) fn receive(&mut self, link: LinkId, packet: Packet) {
        self.input(Input::Frame { link, bytes: packet.encode() });
    }

    /// A connection from node `n`.
    pub(crate) fn accept(&mut self, n: u8) -> LinkId {
        self.inbound += 1;
        let link = LinkId(LinkId::INBOUND | self.inbound);
        let peer = ([10, 0, 0, n], 40_000).into();
        self.input(Input::Accepted { link, peer, local_ip: [10, 0, 0, 77].into() });
        link
    }

    /// A message from node `n`, on a connection of its own.
    pub(crate) fn hear(&mut self, header: Header, body: Body) -> LinkId {
        let n = header.sender.as_bytes()[0];
        let link = self.accept(n);
        self.receive(link, Packet { header, body });
        link
    }

    pub(crate) fn nodes(&self) -> String {
        self.core.nodes_text()
    }

    pub(crate) fn line(&self, n: u8) -> String {
        let start = id(n).to_string();
        self.nodes().lines().find(|l| l.starts_with(&start)).unwrap_or_default().to_owned()
    }
}

/// What node `n` says of itself in the beginning.
pub(crate) fn header(n: u8) -> Header {
    let shard = if n > 3 { n - 3 } else { n };
    let owned = match shard {
        1 => slots(0, 5460),
        2 => slots(5461, 10_922),
        _ => slots(10_923, 16_383),
    };
    Header {
        sender: id(n),
        port: 6379,
        secondary_port: 0,
        bus_port: 16_379,
        ip: None,
        current_epoch: Epoch(3),
        config_epoch: Epoch(u64::from(shard)),
        offset: 1000,
        slots: owned,
        master: (n > 3).then(|| id(n - 3)),
        flags: if n > 3 { NodeFlags::REPLICA } else { NodeFlags::MASTER },
        cluster_down: false,
        message_flags: MessageFlags::default(),
        own: OwnFlags::default(),
    }
}

/// As the master that it has become with this epoch.
pub(crate) fn elected(mut header: Header, epoch: u64) -> Header {
    (header.master, header.flags, header.config_epoch) = (None, NodeFlags::MASTER, Epoch(epoch));
    header
}

/// The write of nodes.conf that begins among outputs.
pub(crate) fn write_begun(outputs: &[Output]) -> Option<u64> {
    outputs.iter().find_map(|o| match o {
        Output::Persist { seq, .. } => Some(*seq),
        _ => None,
    })
}

/// Messages among outputs.
pub(crate) fn packets(outputs: &[Output]) -> Vec<(LinkId, Packet)> {
    let sent = |o: &Output| match o {
        Output::Send { link, frame } => Some((*link, decode(frame).unwrap())),
        _ => None,
    };
    outputs.iter().filter_map(sent).collect()
}

pub(crate) fn names(outputs: &[Output]) -> Vec<&'static str> {
    packets(outputs).iter().map(|(_, p)| p.body.name()).collect()
}

pub(crate) fn logged(outputs: &[Output], text: &str) -> bool {
    outputs.iter().any(|o| matches!(o, Output::Log { message, .. } if message.contains(text)))
}

pub(crate) fn ping() -> Body {
    Body::Ping(Heartbeat::default())
}

pub(crate) fn gossip(about: u8, flags: NodeFlags) -> Body {
    let entry = GossipEntry {
        id: id(about),
        ping_sent_s: 0,
        pong_received_s: 0,
        ip: Some([10, 0, 0, about].into()),
        port: 6379,
        bus_port: 16_379,
        flags,
        secondary_port: 0,
    };
    Body::Ping(Heartbeat { gossip: vec![entry], extensions: Vec::new() })
}

pub(crate) fn parsed(line: &str) -> Command {
    let args: Vec<&str> = std::iter::once("cluster").chain(line.split(' ')).collect();
    let Ok(Parsed::Core(command)) = parse(&args) else { panic!("{line}") };
    command
}

pub(crate) fn command(lone: &mut Lone, line: &str) {
    let command = parsed(line);
    let (token, asker, keys) = (Token(1), Asker::default(), DatasetInfo::default());
    lone.input(Input::Command { token, command, asker, keys });
}

pub(crate) fn replicate(lone: &mut Lone, offset: u64) {
    let (master, last_master_io) = (lone.core.role().master(), Some(lone.now));
    let status = ReplicationStatus { offset, master, master_link_up: true, last_master_io, loading: false };
    lone.input(Input::Replication(status));
}

pub(crate) fn request(n: u8, epoch: u64) -> Header {
    let mut header = header(n);
    header.current_epoch = Epoch(epoch);
    header
}
