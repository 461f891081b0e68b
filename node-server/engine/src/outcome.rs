//! How a request ended.

use crate::migrate::MigrateRequest;
use node_server_protocol::{Millis, NodeId, Slot};

/// What [`crate::Engine::execute`] made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply has been written.
    Done,
    /// The reply (if any) has been written; close the connection after sending it.
    Close,
    /// Nothing was done: the session is on a waiter list. Run the same request again after [`crate::Host::wake`], and
    /// no later one of the session before it. Also [`crate::Engine::execute_offloaded`] may return it.
    Park,
    /// Nothing was done: the request has no time bound. Hand session and request to a worker thread that calls
    /// [`crate::Engine::execute_offloaded`].
    Offload,
    /// Nothing was written: the shell answers later.
    Defer(Deferred),
}

/// Requests that the shell answers later. The request's arguments are with the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deferred {
    /// A CLUSTER command for the cluster core.
    Cluster,
    /// EXEC of CLUSTER commands for the cluster core: an array of their replies. Nothing comes between them.
    ClusterTransaction(Vec<Vec<Vec<u8>>>),
    /// MIGRATE, parsed: see [`crate::Engine::migrate_begin`].
    Migrate(MigrateRequest),
    /// Answer with the number of replicas that acknowledged `offset`, as soon as that is `replicas`, or at `deadline`
    /// (`None`: never give up). Ask the replicas with GETACK ([`crate::Engine::append_getack`]).
    Wait {
        /// How many are wanted.
        replicas: usize,
        /// What they have to have, as a log offset.
        offset: u64,
        /// When to answer with what there is.
        deadline: Option<Millis>,
        /// WAITAOF: it has to be on their disks, and on this node's as well if so many as 1 are asked for. Answer with
        /// both numbers.
        local: Option<usize>,
    },
    /// REPLICAOF: answer when the role has changed.
    ReplicaOf(Option<MasterAddress>),
    /// FAILOVER.
    Failover(FailoverRequest),
    /// SAVE: answer when the file is there.
    Save,
    /// BGSAVE.
    BackgroundSave {
        /// SCHEDULE: it may wait for a rewrite of the append-only file.
        schedule: bool,
    },
    /// BGREWRITEAOF.
    RewriteAof,
    /// DEBUG RELOAD and DEBUG LOADAOF: answer when the files have taken the place of the data.
    Reload(Reload),
    /// End the process.
    Shutdown(Shutdown),
    /// The connection becomes a replica's.
    Psync(PsyncRequest),
}

/// What a replica asks for. SYNC is `replid` empty and `offset` -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsyncRequest {
    /// The history to continue; `?` for none.
    pub replid: Vec<u8>,
    /// First offset wanted, as Redis counts: one more than what the replica has; -1 for none.
    pub offset: i64,
    /// FAILOVER: it is our master, which has stopped its clients and wants to change places.
    pub failover: bool,
}

/// What FAILOVER asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailoverRequest {
    /// ABORT.
    Abort,
    /// Everything else.
    Begin {
        /// TO: who is to take over; `None`: any replica.
        target: Option<MasterAddress>,
        /// FORCE: at the timeout it takes over whatever it has.
        force: bool,
        /// TIMEOUT.
        timeout_ms: Option<u64>,
    },
}

/// The master that REPLICAOF names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    /// A name or an IP address.
    pub host: String,
    /// Its client port.
    pub port: u16,
}

impl std::fmt::Display for MasterAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which files DEBUG reads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// RELOAD: the RDB file, which is saved before unless NOSAVE was said.
    Rdb {
        /// Whether it is saved before.
        save: bool,
    },
    /// LOADAOF: the append-only file.
    AppendOnly,
}

/// Options of SHUTDOWN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// SAVE.
    pub save: bool,
    /// NOSAVE.
    pub nosave: bool,
    /// NOW: no handover is awaited.
    pub now: bool,
    /// FORCE: errors are ignored.
    pub force: bool,
    /// ABORT: a shutdown under way is taken back.
    pub abort: bool,
}

/// The gate before a reply (rule 6): what was just written for this session may not leave before the log is on the disk
/// up to `disk`, and a replica in sync has acknowledged `offset` or `deadline` has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Log offset for replicas; zero: none is waited for.
    pub offset: u64,
    /// When no replica is waited for any more.
    pub deadline: Millis,
    /// Log offset for the disk; it is waited for without end, as a write that is not on it is not acknowledged.
    pub disk: u64,
    /// The reply is ASK and nothing else: this slot, and to whom. It may leave at once when the slot is owned there.
    pub asks: Option<(Slot, NodeId)>,
}
