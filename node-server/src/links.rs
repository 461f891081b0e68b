//! Everything between this node and others: nodes.conf, the bus, replication, MIGRATE.

use crate::config::Settings;
use crate::node::{MasterLink, Node, Receivers};
use crate::storage::NodesFile;
use crate::{bus_link, listener, migrate, replica_link};
use anyhow::Context as _;
use node_server_cluster::{Config, NodesConf};
use node_server_engine::MasterAddress;
use node_server_protocol::Address;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Most SETSLOT records of a master that wait for the bus thread.
const RECORDS_MAX: usize = 16_384;

/// What is taken before the node exists, so that a second node in the same directory or on the same port is refused
/// at once. `None` without cluster mode.
pub struct Storage {
    cluster: Option<Opened>,
}

impl Storage {
    /// Whether nodes.conf says that this node is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        let conf = self.cluster.as_ref().and_then(|opened| opened.conf.as_ref());
        conf.is_some_and(|conf| conf.myself().master.is_some())
    }

    /// Whether data was found on the disk, be it empty: else what nodes.conf says this master owned is not here.
    pub fn set_has_data(&mut self, has_data: bool) {
        if let Some(opened) = &mut self.cluster {
            opened.has_data = has_data;
        }
    }
}

/// For the bus thread.
pub(crate) struct Opened {
    pub(crate) file: NodesFile,
    pub(crate) conf: Option<NodesConf>,
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) config: Config,
    pub(crate) has_data: bool,
}

/// Locks and reads nodes.conf and listens on the bus port. Call it with `dir` as the working directory.
///
/// # Errors
/// nodes.conf is in use or bad, the bus port is in use, or a directive cannot be used.
pub fn open(settings: &Settings) -> anyhow::Result<Storage> {
    if !settings.cluster_enabled {
        return Ok(Storage { cluster: None });
    }
    let config = bus_link::core_config(settings)?;
    let path =
        std::path::absolute(&settings.cluster_config_file).context("the working directory has gone")?;
    let (file, conf) = NodesFile::open(&path)?;
    let listeners = listener::listen_all(&settings.bind, settings.bus_port(), settings.tcp_backlog)
        .context("the cluster bus (cluster-port, or port + 10000) cannot be opened")?;
    Ok(Storage { cluster: Some(Opened { file, conf, listeners, config, has_data: false }) })
}

/// Starts the threads. `storage` gives up what it holds.
///
/// # Errors
/// The system refuses threads or sockets, or nodes.conf cannot be written.
pub fn start(node: &Arc<Node>, receivers: Receivers, storage: &mut Storage) -> anyhow::Result<()> {
    let Receivers { bus, replication, migrate } = receivers;
    let cluster = storage.cluster.take();
    let master = cluster.as_ref().and_then(|opened| opened.conf.as_ref()).and_then(master_of);
    let (between, records) = Between::new(cluster.is_none());
    replica_link::start(Arc::clone(node), replication, Arc::clone(&between), master)?;
    if let Some(opened) = cluster {
        bus_link::start(Arc::clone(node), bus, between, records, opened)?;
    }
    migrate::start(Arc::clone(node), migrate)?;
    Ok(())
}

/// The link to the master that nodes.conf names, where it says how to reach it.
fn master_of(conf: &NodesConf) -> Option<MasterLink> {
    let id = conf.myself().master?;
    let Address { ip, port, .. } = conf.nodes.iter().find(|node| node.id == id)?.address;
    let address = MasterAddress { host: ip.to_string(), port };
    (!ip.is_unspecified()).then(|| MasterLink { id: Some(id), ..MasterLink::begin(&address) })
}

/// What the bus thread and the replication thread tell each other.
#[derive(Debug)]
pub(crate) struct Between {
    /// Replication has changed: offset, link, acknowledgements, role.
    pub(crate) progress: Notify,
    /// A change of role is through.
    pub(crate) roles: Notify,
    /// A replica has acknowledged more.
    pub(crate) acks: Notify,
    /// CLUSTER SETSLOT records from the master, for the core.
    pub(crate) records: Sender<Vec<Vec<u8>>>,
    /// How many [`crate::node::ToReplication::Follow`] the replication thread has carried out.
    roles_done: AtomicU64,
    /// How many syncs of replicas have begun.
    syncs: AtomicU64,
    /// Whether this node may give its data to replicas: not while its empty restart is guarded, or its files are read.
    gives_data: AtomicBool,
}

impl Between {
    /// The other value receives the records.
    pub(crate) fn new(gives_data: bool) -> (Arc<Self>, Receiver<Vec<Vec<u8>>>) {
        let (records, receiver) = mpsc::channel(RECORDS_MAX);
        let between = Self {
            progress: Notify::new(),
            roles: Notify::new(),
            acks: Notify::new(),
            records,
            roles_done: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            gives_data: AtomicBool::new(gives_data),
        };
        (Arc::new(between), receiver)
    }

    /// A change of role has been carried out.
    pub(crate) fn role_done(&self) {
        self.roles_done.fetch_add(1, Ordering::AcqRel);
        self.roles.notify_one();
    }

    /// How many have been.
    pub(crate) fn roles_done(&self) -> u64 {
        self.roles_done.load(Ordering::Acquire)
    }

    /// A replica begins to read the log, behind a snapshot or where its own ends.
    pub(crate) fn sync_begun(&self) {
        self.syncs.fetch_add(1, Ordering::AcqRel);
        self.progress.notify_one();
    }

    /// How many have.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Acquire)
    }

    /// Whether PSYNC may be answered.
    pub(crate) fn gives_data(&self) -> bool {
        self.gives_data.load(Ordering::Acquire)
    }

    /// Allows or forbids it.
    pub(crate) fn set_gives_data(&self, gives: bool) {
        self.gives_data.store(gives, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_knows_its_master_before_it_serves() {
        let (master, replica) = ("a".repeat(40), "b".repeat(40));
        let of = |address: &str, flags: &str, myself: &str| {
            let text = format!(
                "{master} {address} {flags} - 0 0 1 connected 0-16383\n{replica} 127.0.0.1:7001@17001 {myself} 0 0 1 \
                 connected\nvars currentEpoch 1 lastVoteEpoch 0\n"
            );
            master_of(&NodesConf::parse(&text).unwrap()).map(|link| (link.host, link.port, link.id))
        };
        let follows = format!("myself,slave {master}");
        let id = Some(master.parse().unwrap());
        assert_eq!(of("127.0.0.1:7000@17000", "master", &follows), Some(("127.0.0.1".into(), 7000, id)));
        assert_eq!(of(":0@0", "master,noaddr", &follows), None);
        assert_eq!(of("127.0.0.1:7000@17000", "master", "myself,master -"), None);
    }
}
