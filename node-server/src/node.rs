//! What the threads of a node share: the engine, the configuration, and the ways in which one thread asks another
//! for something. No thread waits for another here: every `ask` is a bounded queue that may refuse.

pub use crate::clock::now;

use crate::clients::{Client, Clients, ReplicaHello};
use crate::config::ConfigStore;
use crate::files_first::FilesFirst;
use crate::host::NodeHost;
use crate::mailbox::{Mail, Mailboxes, ReplyTo};
use crate::persistence::{Loading, PersistenceHandle};
use crate::rates::Rates;
use crate::shutdown::ShutdownHandle;
use crate::stats::Stats;
use arc_swap::ArcSwap;
pub use node_server_cluster::HandOver;
use node_server_cluster::{Asker, Command};
use node_server_engine::{Engine, FailoverRequest, MasterAddress, MigrateRequest, PsyncRequest};
use node_server_protocol::resp::Protocol;
use node_server_protocol::{Millis, NodeId};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;
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
    /// The way to the persistence thread.
    pub persistence: PersistenceHandle,
    /// How the load of the start stands.
    pub loading: Loading,
    /// The way to the thread that ends the process.
    pub shutdown: ShutdownHandle,
    /// The keys and the commands on them.
    pub engine: Arc<Engine>,
    /// Everybody who is connected.
    pub clients: Clients,
    /// Counters for INFO.
    pub stats: Stats,
    /// Rates for INFO.
    pub rates: Rates,
    /// When the process started.
    pub started: Millis,
    /// Random 40 hex digits of this process, INFO's `run_id`.
    pub run_id: NodeId,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    clients_max: AtomicU64,
    stopping: AtomicBool,
    last_round: AtomicU64,
    /// When the wait before the end is over; 0: there is none.
    shutdown_at: AtomicU64,
}

/// What a node is made of.
pub struct Parts {
    /// Settings.
    pub config: ConfigStore,
    /// One box per data thread.
    pub mailboxes: Mailboxes,
    /// What will be loaded.
    pub loading: Loading,
    /// Made with the host that [`Node::new`] gets.
    pub engine: Arc<Engine>,
    /// The way to the thread that ends the process.
    pub shutdown: ShutdownHandle,
    /// When the process started.
    pub started: Millis,
    /// Random.
    pub run_id: NodeId,
    /// Most clients at a time.
    pub clients_max: u64,
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
        /// How the reply has to be written, and where its reader can reach.
        asker: Asker,
        /// What was asked.
        command: Command,
    },
    /// A client's transaction of CLUSTER commands: nothing comes between them. Each is answered as a `Command`.
    Transaction {
        /// How the replies have to be written.
        asker: Asker,
        /// What was asked, and where each reply goes.
        commands: Vec<(ReplyTo, Command)>,
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
    /// The process does not end after all: hand nothing over.
    Stay,
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
    /// REPLICAOF: this node follows `master` from now on (`None`: it is a master). Only without cluster mode.
    ReplicaOf {
        /// Whom.
        master: Option<MasterAddress>,
        /// The client, for the log.
        from: String,
        /// Told when the role has changed.
        answer: RoleAnswer,
    },
    /// FAILOVER. Only without cluster mode.
    Failover {
        /// What is asked for.
        request: FailoverRequest,
        /// Told when it has begun, was refused or was aborted.
        reply_to: ReplyTo,
    },
    /// End the thread; links are closed.
    Stop,
}

/// Who waits for a change of role.
#[derive(Debug)]
pub enum RoleAnswer {
    /// A client.
    Client(ReplyTo),
    /// A worker thread that runs a transaction; it is told the text of the reply. Never blocks.
    Worker(std::sync::mpsc::SyncSender<&'static str>),
}

/// A connection that turned out to be a replica.
#[derive(Debug)]
pub struct NewReplica {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// Its entry in CLIENT LIST.
    pub client: Arc<Client>,
    /// What it said about itself.
    pub hello: ReplicaHello,
    /// What it asks for.
    pub wanted: PsyncRequest,
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
    /// What was asked.
    pub request: MigrateRequest,
    /// The database of the keys, which is the client's.
    pub db: u16,
}

/// The way to the replication thread, and what it last said about itself.
pub struct ReplicationHandle {
    sender: Sender<ToReplication>,
    /// Notified when the log has grown and there are replicas to send it to, or an acknowledgement is wanted.
    pub log_grew: Notify,
    /// Notified when more of the log is on the disk, which a replica tells its master.
    pub synced: Notify,
    /// The persistence thread needs the snapshot.
    pub(crate) files_first: FilesFirst,
    /// The largest offset whose acknowledgement some reply waits for.
    wanted_ack: AtomicU64,
    /// Written by the replication thread on change and each 100 ms; read by INFO, ROLE, WAIT and the bus thread.
    pub status: ArcSwap<ReplicationStatus>,
}

thread_local! {
    /// Set on a data thread while it executes a turn's requests: many writes, one notice.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    static GREW: Cell<bool> = const { Cell::new(false) };
}

impl ReplicationHandle {
    /// The log has grown: the replication thread is woken, if it has replicas. Within a turn of a data thread the
    /// notice waits for the turn's end.
    /// True: now; tell the persistence thread as well.
    pub fn note_growth(&self) -> bool {
        if Self::note_later() {
            return false;
        }
        if !self.status.load().replicas.is_empty() {
            self.log_grew.notify_one();
        }
        true
    }

    /// Within a turn: the notice will be given at its end.
    pub(crate) fn note_later() -> bool {
        if IN_TURN.get() {
            GREW.set(true);
        }
        IN_TURN.get()
    }

    /// This data thread begins to execute a turn's requests.
    pub fn begin_turn(&self) {
        IN_TURN.set(true);
    }

    /// They are executed. True: the log has grown meanwhile.
    pub fn end_turn(&self) -> bool {
        IN_TURN.set(false);
        let grew = GREW.take();
        if grew {
            self.note_growth();
        }
        grew
    }

    /// A reply waits until a replica has acknowledged `offset`: ask the replicas (REPLCONF GETACK).
    pub fn want_ack(&self, offset: u64) {
        if self.wanted_ack.fetch_max(offset, Ordering::AcqRel) < offset {
            self.log_grew.notify_one();
        }
    }

    /// The largest offset that [`ReplicationHandle::want_ack`] was called with.
    #[must_use]
    pub fn wanted_ack(&self) -> u64 {
        self.wanted_ack.load(Ordering::Acquire)
    }

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
    /// Whether a full sync is being loaded.
    pub loading: bool,
    /// How a FAILOVER stands.
    pub failover: FailoverState,
}

/// How a FAILOVER stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverState {
    /// There is none.
    #[default]
    None,
    /// Writes are held back, until a replica has everything.
    WaitingForSync,
    /// This node follows the target, which has not yet said that it takes over.
    InProgress,
}

impl FailoverState {
    /// INFO's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "no-failover",
            Self::WaitingForSync => "waiting-for-sync",
            Self::InProgress => "failover-in-progress",
        }
    }
}

impl ReplicationStatus {
    /// How many replicas have everything but what was written in the last `lag_s` seconds, counted as INFO's `lag` is.
    #[must_use]
    pub fn good_replicas(&self, now: Millis, lag_s: u64) -> usize {
        let good = |r: &&ReplicaLink| r.state == "online" && now.since(r.last_ack) / 1000 <= lag_s;
        self.replicas.iter().filter(good).count()
    }
}

/// A replica's link to its master.
#[derive(Clone, Debug)]
pub struct MasterLink {
    /// The master's IP or name.
    pub host: String,
    /// Its client port.
    pub port: u16,
    /// Its name, in cluster mode.
    pub id: Option<NodeId>,
    /// `connect`, `connecting`, `handshake`, `sync` or `connected` (ROLE's words).
    pub state: &'static str,
    /// When something of its log last came. A snapshot's bytes are none of it: the data stays as old as it is until the
    /// snapshot has ended.
    pub last_io: Option<Millis>,
    /// A full sync was granted and has not ended, maybe broken off: the data is what it was, and its log is too far behind
    /// to go on.
    pub resync: bool,
    /// When the link went down, while it is. `None` also while it has never been up: what this replica has may be old,
    /// and `master_link_down_since_seconds:-1` says so, as in Redis.
    pub down_since: Option<Millis>,
}

impl MasterLink {
    /// A link that is to be made.
    #[must_use]
    pub fn begin(to: &MasterAddress) -> Self {
        let (host, port, state) = (to.host.clone(), to.port, "connect");
        Self { host, port, id: None, state, last_io: None, resync: false, down_since: None }
    }

    /// A step of the link, in INFO's words.
    pub fn enter(&mut self, state: &'static str, at: Millis) {
        if state == "connected" {
            self.down_since = None;
        } else if self.state == "connected" {
            self.down_since = Some(at);
        }
        self.resync = state == "sync" || (self.resync && state != "connected");
        self.state = state;
    }

    /// The same master is to be found elsewhere. What was copied of it stays as old as it is.
    pub fn move_to(&mut self, to: &MasterAddress, at: Millis) {
        (self.host, self.port) = (to.host.clone(), to.port);
        self.enter("connect", at);
    }
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
    /// A node and the ends that its other threads take. `host` is what the engine was made with.
    #[must_use]
    pub fn new(parts: Parts, host: &NodeHost) -> (Arc<Self>, Receivers) {
        let Parts { config, mailboxes, loading, engine, shutdown, started, run_id, clients_max } = parts;
        engine.set_loading_files(!loading.is_over());
        let (bus_sender, bus) = mpsc::channel(BUS_QUEUE_MAX);
        let (replication_sender, replication) = mpsc::channel(REPLICATION_QUEUE_MAX);
        let (migrate_sender, migrate) = mpsc::channel(MIGRATE_QUEUE_MAX);
        let replication_handle = ReplicationHandle {
            sender: replication_sender,
            status: ArcSwap::default(),
            log_grew: Notify::new(),
            synced: Notify::new(),
            files_first: FilesFirst::default(),
            wanted_ack: AtomicU64::new(0),
        };
        let node = Arc::new(Self {
            config,
            mailboxes,
            bus: BusHandle { sender: bus_sender },
            replication: replication_handle,
            migrate: migrate_sender,
            persistence: PersistenceHandle::default(),
            loading,
            shutdown,
            engine,
            clients: Clients::default(),
            stats: Stats::default(),
            rates: Rates::default(),
            started,
            run_id,
            active_expire: AtomicBool::new(true),
            clients_max: AtomicU64::new(clients_max),
            stopping: AtomicBool::new(false),
            last_round: AtomicU64::new(started.0),
            shutdown_at: AtomicU64::new(0),
        });
        host.attach(&node);
        (node, Receivers { bus, replication, migrate })
    }

    /// Most clients at a time: `maxclients`, or what the limit of open files allows.
    #[must_use]
    pub fn clients_max(&self) -> u64 {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// An estimate of the bytes that keys and log take.
    #[must_use]
    pub fn used_memory(&self) -> u64 {
        self.engine.keyspace().bytes() + self.engine.log().backlog().1 as u64
    }

    /// CONFIG RESETSTAT.
    pub fn reset_statistics(&self) {
        self.stats.reset();
        node_server_engine::command::all().for_each(node_server_engine::command::Command::reset_counters);
        let counters = self.engine.counters();
        for counter in [&counters.hits, &counters.misses, &counters.expired] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Tells the engine what it has to refuse: before anybody is served, and after every change.
    pub fn set_refusals(&self) {
        self.engine.set_password(self.config.settings().requirepass.0.as_bytes());
        self.look_for_replicas(now());
    }

    /// Tells the engine how RDB is written and read: before it is, and after every change.
    pub fn set_rdb_form(&self) {
        let settings = self.config.settings();
        self.engine.set_rdb_compression(settings.rdb.compression);
        self.engine.set_rdb_checksum(settings.rdb.checksum);
    }

    /// `min-replicas-to-write`: whether writes are taken depends on how many replicas are good now.
    pub fn look_for_replicas(&self, now: Millis) {
        let wanted = self.config.settings().min_replicas_to_write;
        let good = self.good_replicas(now);
        self.engine.set_lacks_replicas(good.is_some_and(|good| (good as u64) < wanted));
    }

    /// Replicas that were heard of within `min-replicas-max-lag`; `None`: nobody asks for any.
    #[must_use]
    pub fn good_replicas(&self, now: Millis) -> Option<usize> {
        let settings = self.config.settings();
        let (wanted, lag_s) = (settings.min_replicas_to_write, settings.min_replicas_max_lag_s);
        (wanted > 0 && lag_s > 0).then(|| self.replication.status.load().good_replicas(now, lag_s))
    }

    /// CONFIG SET changed something: everybody looks again.
    pub fn settings_changed(&self) {
        let settings = self.config.settings();
        self.set_refusals();
        self.set_rdb_form();
        crate::log::set_level(&settings.loglevel);
        self.clients_max.store(crate::process::allow_clients(settings.maxclients), Ordering::Relaxed);
        self.engine.log().set_capacity(settings.repl_backlog_size as usize);
        self.persistence.settings_changed(&self.engine, &self.config);
        self.mailboxes.broadcast(|| Mail::Settings);
        let mut told = vec![self.replication.ask(ToReplication::ConfigChanged)];
        // Without a cluster there is no bus thread.
        if settings.cluster_enabled {
            told.push(self.bus.ask(ToBus::ConfigChanged));
        }
        if told.iter().any(Result::is_err) {
            tracing::warn!("a thread did not take the changed configuration: it is overloaded or has ended");
        }
    }

    /// Whether the process is on its way out; threads end soon after.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The process waits at most until then before it leaves; `None`: it stays.
    pub fn set_shutdown(&self, at: Option<Millis>) {
        self.shutdown_at.store(at.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    /// When the wait before the end is over; `None`: the process is not about to leave.
    #[must_use]
    pub fn shutdown_at(&self) -> Option<Millis> {
        Some(Millis(self.shutdown_at.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    /// When the background thread last ended a round.
    #[must_use]
    pub fn last_round(&self) -> Millis {
        Millis(self.last_round.load(Ordering::Relaxed))
    }

    /// The background thread has ended a round.
    pub fn note_round(&self, at: Millis) {
        self.last_round.store(at.0, Ordering::Relaxed);
    }

    /// From now on [`Node::is_stopping`].
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
