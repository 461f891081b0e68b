//! What the threads of a node share: the engine, the configuration, and the ways in which one thread asks another
//! for something. No thread waits for another here: every `ask` is a bounded queue that may refuse.

use crate::config::ConfigStore;
use crate::mailbox::{Mailboxes, ReplyTo};
use crate::stats::Stats;
use arc_swap::ArcSwap;
use node_server_cluster::Command;
pub use node_server_cluster::HandOver;
use node_server_protocol::resp::Protocol;
use node_server_protocol::{Millis, NodeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Most CLUSTER commands and notices that wait for the bus thread.
pub const BUS_QUEUE_MAX: usize = 65_536;
/// Most requests that wait for the replication thread.
pub const REPLICATION_QUEUE_MAX: usize = 1024;
/// Most MIGRATE commands that wait; each client has at most one under way.
pub const MIGRATE_QUEUE_MAX: usize = 16_384;

/// One node: everything its threads share.
pub struct Node {
    /// Settings as configured and as changed by CONFIG SET.
    pub config: ConfigStore,
    /// The way back to the connections of the data threads.
    pub mailboxes: Mailboxes,
    /// The way to the bus thread.
    pub bus: BusHandle,
    /// The way to the replication thread.
    pub replication: ReplicationHandle,
    /// The way to the threads that run MIGRATE.
    pub migrate: Sender<ToMigrate>,
    /// Counters for INFO.
    pub stats: Stats,
    /// When the process started.
    pub started: Millis,
    /// Random 40 hex digits of this process, INFO's `run_id`.
    pub run_id: NodeId,
    stopping: AtomicBool,
}

/// The receiving ends, one for each thread that `links` runs.
pub struct Receivers {
    /// For the bus thread.
    pub bus: Receiver<ToBus>,
    /// For the replication thread.
    pub replication: Receiver<ToReplication>,
    /// For MIGRATE.
    pub migrate: Receiver<ToMigrate>,
}

/// The receiving thread has [`BUS_QUEUE_MAX`] (or the like) waiting, or has ended. The client is told to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that answers this is overloaded or has ended; try again")]
pub struct Busy;

/// Asked of the bus thread.
#[derive(Debug)]
pub enum ToBus {
    /// A client's CLUSTER command. Answer with [`Mailboxes::reply`]. Those of one connection come in its order.
    Command {
        /// Who asked.
        reply_to: ReplyTo,
        /// How the reply has to be written.
        protocol: Protocol,
        /// What was asked.
        command: Command,
    },
    /// CONFIG SET changed something; read `node.config.settings()` again.
    ConfigChanged,
    /// The process is about to end: hand over if there is somebody to hand over to, then call `done`.
    HandOver {
        /// When to give up.
        deadline: Millis,
        /// Tells the shutdown thread how it went. Never blocks.
        done: std::sync::mpsc::SyncSender<HandOver>,
    },
    /// Finish writing nodes.conf, end the thread, and drop or use `done` then.
    Stop {
        /// Tells the shutdown thread that the bus thread has ended.
        done: std::sync::mpsc::SyncSender<()>,
    },
}

/// The way to the bus thread.
#[derive(Clone)]
pub struct BusHandle {
    sender: Sender<ToBus>,
}

impl BusHandle {
    /// Queues a request.
    ///
    /// # Errors
    /// The queue is full or the thread has ended.
    pub fn ask(&self, request: ToBus) -> Result<(), Busy> {
        self.sender.try_send(request).map_err(|_| Busy)
    }
}

/// Asked of the replication thread.
#[derive(Debug)]
pub enum ToReplication {
    /// A client sent PSYNC or SYNC: from now on its socket belongs to the replication thread. The socket is
    /// non-blocking, and every earlier reply has been sent.
    Psync(NewReplica),
    /// CONFIG SET changed something; read `node.config.settings()` again.
    ConfigChanged,
    /// This node follows `master` from now on (`None`: it is a master). Sent by the bus thread.
    Follow {
        /// Master, its client address, and whether its data may be a continuation of ours.
        master: Option<(NodeId, SocketAddr, bool)>,
    },
    /// End the thread; links are closed.
    Stop,
}

/// A connection that turned out to be a replica.
#[derive(Debug)]
pub struct NewReplica {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// `REPLCONF listening-port`; 0 when it did not say.
    pub listening_port: u16,
    /// `REPLCONF ip-address`, where it said.
    pub announced_ip: Option<String>,
    /// Every `REPLCONF capa`, lower case.
    pub capabilities: Vec<String>,
    /// The replication id it asks to continue; `?` for none. Empty for SYNC.
    pub replid: Vec<u8>,
    /// The first offset it lacks; -1 for none.
    pub offset: i64,
    /// Bytes that came after the PSYNC in the same read.
    pub unread: Vec<u8>,
}

/// A MIGRATE of a client.
#[derive(Debug)]
pub struct ToMigrate {
    /// Who waits for it.
    pub reply_to: ReplyTo,
    /// How the reply has to be written.
    pub protocol: Protocol,
    /// The command and its arguments, checked by the engine for arity alone.
    pub args: Vec<Vec<u8>>,
}

/// The way to the replication thread, and what it last said about itself.
pub struct ReplicationHandle {
    sender: Sender<ToReplication>,
    /// Written by the replication thread on change and each 100 ms; read by INFO, ROLE, WAIT and the bus thread.
    pub status: ArcSwap<ReplicationStatus>,
}

impl ReplicationHandle {
    /// Queues a request.
    ///
    /// # Errors
    /// The queue is full or the thread has ended.
    pub fn ask(&self, request: ToReplication) -> Result<(), Busy> {
        self.sender.try_send(request).map_err(|_| Busy)
    }
}

/// How replication stands, for INFO and ROLE.
#[derive(Clone, Debug, Default)]
pub struct ReplicationStatus {
    /// The link to the master, on a replica.
    pub master: Option<MasterLink>,
    /// Replicas of this node.
    pub replicas: Vec<ReplicaLink>,
    /// This history's name: 40 hex digits.
    pub replid: String,
    /// The history before the last failover, 40 zeros for none.
    pub replid2: String,
    /// Up to where `replid2` is valid; -1 for none.
    pub second_offset: i64,
    /// Whether a full sync is being loaded.
    pub loading: bool,
    /// First offset in the backlog and how many bytes it holds; `None` when there is none.
    pub backlog: Option<(u64, u64)>,
    /// Full syncs given to replicas so far.
    pub full_syncs: u64,
    /// Partial syncs granted.
    pub partial_syncs: u64,
    /// Partial syncs refused.
    pub partial_syncs_refused: u64,
}

/// A replica's link to its master.
#[derive(Clone, Debug)]
pub struct MasterLink {
    /// The master's IP or name.
    pub host: String,
    /// Its client port.
    pub port: u16,
    /// `connect`, `connecting`, `handshake`, `sync` or `connected` (ROLE's words).
    pub state: &'static str,
    /// When something last came from it.
    pub last_io: Option<Millis>,
    /// When the link went down, while it is.
    pub down_since: Option<Millis>,
}

/// A replica as its master sees it.
#[derive(Clone, Debug)]
pub struct ReplicaLink {
    /// Its IP or announced address.
    pub ip: String,
    /// Its client port.
    pub port: u16,
    /// `wait_bgsave`, `send_bulk` or `online` (INFO's words).
    pub state: &'static str,
    /// The offset it acknowledged last.
    pub offset: u64,
    /// When it acknowledged.
    pub last_ack: Millis,
}

impl Node {
    /// A node and the ends that its other threads take.
    #[must_use]
    pub fn new(
        config: ConfigStore,
        mailboxes: Mailboxes,
        started: Millis,
        run_id: NodeId,
    ) -> (Arc<Self>, Receivers) {
        let (bus_sender, bus) = mpsc::channel(BUS_QUEUE_MAX);
        let (replication_sender, replication) = mpsc::channel(REPLICATION_QUEUE_MAX);
        let (migrate_sender, migrate) = mpsc::channel(MIGRATE_QUEUE_MAX);
        let node = Self {
            config,
            mailboxes,
            bus: BusHandle { sender: bus_sender },
            replication: ReplicationHandle { sender: replication_sender, status: ArcSwap::default() },
            migrate: migrate_sender,
            stats: Stats::default(),
            started,
            run_id,
            stopping: AtomicBool::new(false),
        };
        (Arc::new(node), Receivers { bus, replication, migrate })
    }

    /// Whether the process is on its way out; threads end soon after.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// From now on [`Node::is_stopping`].
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// The wall clock. The shell reads it here and hands it to the pure crates.
#[must_use]
pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Millis(since.map_or(0, |d| d.as_millis() as u64))
}
