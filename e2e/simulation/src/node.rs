//! One simulated process: its cluster state machine, its disk, its keys and its clock.

use crate::dataset::{Dataset, History, Key};
use crate::disk::{End, Volume};
use crate::outputs::{Held, Record};
use crate::rng::Rng;
use node_server_cluster::{Cluster, Config, LinkId, NodesConf, ReplicationStatus, Start};
use node_server_protocol::routing::Routing;
use node_server_protocol::{Address, Millis, NodeId, Slot};
use operator_planner::MemberId;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Node timeout in the simulation: short, so that a minute holds many elections.
pub const NODE_TIMEOUT_MS: u64 = 1_000;
/// When the simulation begins, as the nodes' clocks have it.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// What the platform would say of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Running, perhaps standing still.
    Up,
    /// Ended; the platform starts it again.
    Down,
    /// Removed for good.
    Removed,
}

/// A node's clock: it may jump and run fast or slow.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: u64,
    since: u64,
    percent: u64,
}

impl Clock {
    const TRUE: Self = Self { base: EPOCH_MS, since: 0, percent: 100 };

    /// The node's time at `now`.
    #[must_use]
    pub fn read(&self, now: u64) -> Millis {
        Millis(self.base + (now - self.since) * self.percent / 100)
    }

    /// When the node's clock will show `local`.
    #[must_use]
    pub fn when(&self, local: Millis, now: u64) -> u64 {
        let ahead = local.since(self.read(now));
        now + (ahead * 100).div_ceil(self.percent)
    }

    /// Jumps forward and changes its speed. (Backwards is left out: the shell's clock does not go backwards.)
    pub fn drift(&mut self, now: u64, jump_ms: u64, percent: u64) {
        *self = Self { base: self.read(now).0 + jump_ms, since: now, percent };
    }
}

/// Who a replica follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Its master.
    pub master: NodeId,
    /// Where.
    pub address: Address,
}

/// What a master knows of a replica that asked it for data.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaSeen {
    /// The offset it had.
    pub offset: u64,
    /// When it asked, true time.
    pub at: u64,
}

/// One process.
pub struct Node {
    /// Which member it is.
    pub member: MemberId,
    /// Alive or not.
    pub life: Life,
    /// Grows with each start; what was meant for an earlier life is dropped.
    pub incarnation: u32,
    /// Standing still until it is woken.
    pub paused: bool,
    /// The state machine, while it runs.
    pub cluster: Option<Cluster>,
    /// nodes.conf as it is on disk.
    pub disk: Option<String>,
    /// The same, parsed, for those who watch.
    pub disk_conf: Option<NodesConf>,
    /// When what is on disk was true, true time; the same of the write under way.
    pub disk_made: u64,
    /// See there.
    pub write_made: u64,
    /// Its keys.
    pub data: Dataset,
    /// The same on its volume, where it has one.
    pub volume: Volume,
    /// Its address.
    pub address: Address,
    /// Its clock.
    pub clock: Clock,
    /// The last published table.
    pub routing: Option<Arc<Routing>>,
    /// Whom it follows.
    pub following: Option<Following>,
    /// Its data is a copy that follows the master.
    pub link_up: bool,
    /// It has been since it was told to follow it, in this life.
    pub link_was_up: bool,
    /// When something last came from the master, its own time.
    pub last_master_io: Option<Millis>,
    /// When the link was lost last, true time.
    pub link_lost: u64,
    /// When the last answer of the master came, true time.
    pub master_answered: u64,
    /// Writes are held back until then, its own time.
    pub writes_paused_until: Option<Millis>,
    /// Bus connections by link.
    pub links: BTreeMap<LinkId, u64>,
    /// Number of the next accepted link.
    pub next_inbound: u64,
    /// Its replicas by node index.
    pub replicas: BTreeMap<usize, ReplicaSeen>,
    /// Log offset of the last deletion by MIGRATE in each slot.
    pub gone_at: BTreeMap<Slot, u64>,
    /// Keys under way to another node.
    pub leaving: BTreeMap<Key, u64>,
    /// Replies that wait for a replica.
    pub held: Vec<Held>,
    /// Records that wait until writes go on.
    pub unlogged: Vec<Record>,
    /// The question to its master that was answered last: a stream keeps its order.
    pub answered: u64,
    /// The deadline that is scheduled, true time.
    pub deadline: Option<u64>,
    /// It was removed from the platform on purpose.
    pub uid: String,
}

impl Node {
    /// A process that has not started yet.
    #[must_use]
    pub fn new(member: MemberId, index: usize, has_volume: bool) -> Self {
        Self {
            member,
            life: Life::Down,
            incarnation: 0,
            paused: false,
            cluster: None,
            disk: None,
            disk_conf: None,
            disk_made: 0,
            write_made: 0,
            data: Dataset::new(History(0)),
            volume: Volume::new(has_volume),
            address: address(index, 0),
            clock: Clock::TRUE,
            routing: None,
            following: None,
            link_up: false,
            link_was_up: false,
            last_master_io: None,
            link_lost: 0,
            master_answered: 0,
            writes_paused_until: None,
            links: BTreeMap::new(),
            next_inbound: 0,
            replicas: BTreeMap::new(),
            gone_at: BTreeMap::new(),
            leaving: BTreeMap::new(),
            held: Vec::new(),
            unlogged: Vec::new(),
            answered: 0,
            deadline: None,
            uid: format!("{member}.{index}"),
        }
    }

    /// Starts the process with what is on its disk.
    ///
    /// # Errors
    /// A nodes.conf that does not parse: the state machine wrote what it cannot read.
    pub fn start(&mut self, now: u64, config: Config, rng: &mut Rng) -> Result<(), String> {
        self.incarnation += 1;
        self.life = Life::Up;
        let history = History(rng.word());
        let start = match &self.disk {
            Some(text) => Start::Loaded(NodesConf::parse(text).map_err(|e| format!("nodes.conf: {e}"))?),
            None => Start::Fresh { id: random_id(rng), shard_id: random_id(rng) },
        };
        let found = self.volume.load();
        let is_replica = matches!(&start, Start::Loaded(conf) if conf.myself().master.is_some());
        let has_data = found.is_some();
        self.data = found.unwrap_or_else(|| Dataset::new(history));
        if has_data && !is_replica {
            // As in the node: its replicas may have more of the former history than the file has.
            self.data.promote(history);
        }
        let config = Config {
            node_timeout_ms: NODE_TIMEOUT_MS,
            // As in what the operator writes: it places replicas itself.
            migration_barrier: u64::MAX,
            announce_ip: Some(self.address.ip),
            announce_port: self.address.port,
            announce_bus_port: self.address.bus_port,
            ..config
        };
        self.cluster = Some(Cluster::new(config, start, !has_data, rng.word(), self.clock.read(now)));
        Ok(())
    }

    /// The process is gone, and with it everything that was not on disk.
    pub fn crash(&mut self, end: End) {
        self.volume.crash(&self.data, end);
        self.life = Life::Down;
        self.paused = false;
        self.cluster = None;
        self.routing = None;
        self.following = None;
        self.link_up = false;
        self.link_was_up = false;
        self.last_master_io = None;
        self.writes_paused_until = None;
        self.deadline = None;
        self.links.clear();
        self.replicas.clear();
        self.gone_at.clear();
        self.leaving.clear();
        self.held.clear();
        self.unlogged.clear();
        self.data = Dataset::new(History(0));
    }

    /// Its keys, in memory or waiting on its volume.
    #[must_use]
    pub fn keys(&self) -> Option<&Dataset> {
        match self.life {
            Life::Up => Some(&self.data),
            Life::Down => self.volume.waiting(),
            Life::Removed => None,
        }
    }

    /// It runs and does not stand still.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.life == Life::Up && !self.paused
    }

    /// Its name, once it has published it.
    #[must_use]
    pub fn id(&self) -> Option<NodeId> {
        self.routing.as_ref().map(|r| r.myself)
    }

    /// What it tells its cluster core about replication.
    #[must_use]
    pub fn replication_status(&self) -> ReplicationStatus {
        ReplicationStatus {
            offset: self.data.offset(),
            master: self.following.map(|f| f.master),
            master_link_up: self.link_up,
            last_master_io: self.last_master_io,
            loading: false,
        }
    }
}

/// The address of a node; a restart may give it another one.
#[must_use]
pub fn address(index: usize, move_count: u8) -> Address {
    let ip = IpAddr::V4(Ipv4Addr::new(10, move_count, 0, index as u8 + 1));
    Address { ip, port: 6379, bus_port: 16_379 }
}

fn random_id(rng: &mut Rng) -> NodeId {
    let mut bytes = [0; 20];
    for chunk in bytes.chunks_mut(8) {
        let word = rng.word().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    NodeId::from_bytes(bytes)
}
