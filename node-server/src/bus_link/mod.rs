//! The bus thread: it alone drives the cluster core. Sockets, nodes.conf, commands and replication feed it; it never
//! waits for any of them, so that a PONG is never late.

mod config;
mod core;
mod outputs;
mod replies;
mod role;
mod sockets;

pub(crate) use config::core_config;

use crate::links::{Between, Opened};
use crate::node::{Node, ToBus, now};
use crate::start::{random_id, random_u64};
use crate::storage::{StorageError, Writer};
use anyhow::Context as _;
use node_server_cluster::{Cluster, LinkId, Start};
use node_server_protocol::Millis;
use sockets::Sockets;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

/// Most things that wait for the core; connections wait when it is full.
const EVENTS_MAX: usize = 4096;
/// Most events and commands that are handed to the core before its outputs are drained: one fsync for all of them.
const BATCH_MAX: usize = 1024;
/// How often the core is told of replication, and the longest sleep.
const TICK_MS: u64 = 100;
/// How long a new node may take to write its name down before it serves.
const FIRST_WRITE: Duration = Duration::from_secs(10);
/// Threads for deletions, which may wait for slots.
const BLOCKING_THREADS: usize = 2;

/// Something that happened outside the core.
#[derive(Debug)]
pub(crate) enum Event {
    /// Another node connected.
    Incoming {
        /// Its connection.
        stream: TcpStream,
        /// Its end.
        peer: SocketAddr,
    },
    /// A connection that the core asked for is there.
    Connected {
        /// Which.
        link: LinkId,
        /// Our end.
        local_ip: IpAddr,
    },
    /// It could not be made.
    ConnectFailed {
        /// Which.
        link: LinkId,
    },
    /// A connection ended.
    Closed {
        /// Which.
        link: LinkId,
    },
    /// A message.
    Frame {
        /// From where.
        link: LinkId,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// nodes.conf was written, or could not be.
    Persisted(u64, Result<(), StorageError>),
    /// All keys have been deleted, as [`node_server_cluster::Output::DropAllKeys`] wanted.
    AllDropped,
}

/// Starts the thread. It ends after [`ToBus::Stop`]. A new node's name is on disk when this returns, so that nobody
/// hears of a name that a crash would change.
///
/// # Errors
/// The system refuses threads or sockets, or nodes.conf cannot be written.
pub(crate) fn start(
    node: Arc<Node>,
    requests: Receiver<ToBus>,
    between: Arc<Between>,
    records: Receiver<Vec<Vec<u8>>>,
    opened: Opened,
) -> anyhow::Result<JoinHandle<()>> {
    let Opened { file, conf, listeners, config, has_data } = opened;
    let is_new = conf.is_none();
    let begin = match conf {
        Some(conf) => Start::Loaded(conf),
        None => Start::Fresh { id: random_id()?, shard_id: random_id()? },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("the bus thread's runtime")?;
    let (sender, events) = channel(EVENTS_MAX);
    let written = sender.clone();
    let (first, first_written) = sync_channel(1);
    let writer = Writer::start(
        file,
        Box::new(move |seq, result| {
            // Full after the first, which is the only one that is waited for.
            let _ = first.try_send(());
            // Fails only when the bus thread has ended, and then nobody waits for it.
            let _ = written.blocking_send(Event::Persisted(seq, result));
        }),
    )?;
    let mut cluster = Cluster::new(config, begin, !has_data, random_u64()?, now());
    let loading = !node.loading.is_over();
    if loading {
        cluster.begin_load();
    }
    let thread = std::thread::Builder::new().name("bus".into()).spawn(move || {
        runtime.block_on(async move {
            let sockets = Sockets::new(sender.clone());
            for listener in listeners {
                match TcpListener::from_std(listener) {
                    Ok(listener) => sockets.listen(listener),
                    Err(error) => tracing::error!("the cluster bus does not listen: {error}"),
                }
            }
            let bus = Bus { loading, ..Bus::new(node, between, cluster, sockets, writer, sender) };
            bus.run(Inboxes { events, requests, records }).await;
        });
    })?;
    if is_new {
        first_written
            .recv_timeout(FIRST_WRITE)
            .context("nodes.conf was not written: is the disk overloaded?")?;
    }
    Ok(thread)
}

/// Where things arrive.
struct Inboxes {
    events: Receiver<Event>,
    requests: Receiver<ToBus>,
    records: Receiver<Vec<Vec<u8>>>,
}

/// The thread's state.
struct Bus {
    node: Arc<Node>,
    between: Arc<Between>,
    cluster: Cluster,
    sockets: Sockets,
    writer: Option<Writer>,
    events: Sender<Event>,
    replies: replies::Replies,
    role: role::RoleChange,
    replication: core::ReplicationFeed,
    /// The core knows that the files of the start are being read.
    loading: bool,
    /// When writes go on by themselves, while the core waits for the pause to take effect.
    pausing: Option<Millis>,
    handover: Option<std::sync::mpsc::SyncSender<node_server_cluster::HandOver>>,
    /// Records that could not be logged while writes were held back.
    unlogged: VecDeque<outputs::Record>,
    stopped: Option<std::sync::mpsc::SyncSender<()>>,
    clock: Millis,
}

impl Bus {
    fn new(
        node: Arc<Node>,
        between: Arc<Between>,
        cluster: Cluster,
        sockets: Sockets,
        writer: Writer,
        events: Sender<Event>,
    ) -> Self {
        Self {
            node,
            between,
            cluster,
            sockets,
            writer: Some(writer),
            events,
            replies: replies::Replies::default(),
            role: role::RoleChange::default(),
            replication: core::ReplicationFeed::default(),
            loading: false,
            pausing: None,
            handover: None,
            unlogged: VecDeque::new(),
            stopped: None,
            clock: now(),
        }
    }

    /// Deletes keys on a thread that may wait for slots.
    fn delete(&self, work: impl FnOnce(&Node) + Send + 'static) {
        let node = Arc::clone(&self.node);
        // Nobody waits for it here; what follows it is an event.
        drop(spawn_blocking(move || work(&node)));
    }
}
