//! What goes into the state machine and what comes out.

use crate::command::Command;
use node_server_protocol::resp::Protocol;
use node_server_protocol::routing::Routing;
use node_server_protocol::{Address, Family, Millis, NodeId, SlotSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A bus connection. The core numbers those that it asks for (`Output::Connect`), from 1; the shell numbers those
/// that it accepted, with [`LinkId::INBOUND`] set. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// Set in the numbers of accepted connections.
    pub const INBOUND: u64 = 1 << 63;

    /// Whether the other side connected to us.
    #[must_use]
    pub const fn is_inbound(self) -> bool {
        self.0 & Self::INBOUND != 0
    }
}

/// A client's command that waits for its reply. Chosen by the shell, given back with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A client, as far as it matters for what it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// How replies have to be written.
    pub protocol: Protocol,
    /// Which addresses it can use.
    pub family: Family,
}

/// What a command has to know of the keys; read by the shell just before it hands the command over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetInfo {
    /// Keys on this node.
    pub total: u64,
    /// Keys in [`Command::slot_to_count`]'s slot; 0 where it names none.
    pub in_slot: u64,
    /// For CLUSTER INFO: how many of [`crate::Cluster::foreign_slots`] have keys, …
    pub quarantined_slots: u64,
    /// … and how many keys those are.
    pub quarantined_keys: u64,
}

/// This node's replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationStatus {
    /// End of the log on a master, end of what was applied on a replica, in bytes.
    pub offset: u64,
    /// On a replica: whose link the two below are about. It may still be the former master's.
    pub master: Option<NodeId>,
    /// On a replica: the link to the master is up and synced.
    pub master_link_up: bool,
    /// On a replica: when something of the master's log last came; `None`: never since it was told to follow it. A snapshot
    /// under way does not count: until its end the data is what it was.
    pub last_master_io: Option<Millis>,
    /// A full sync is being loaded.
    pub loading: bool,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Another node connected.
    Accepted {
        /// Number with [`LinkId::INBOUND`] set.
        link: LinkId,
        /// The other end.
        peer: SocketAddr,
        /// Our end, as the other node reached us.
        local_ip: IpAddr,
    },
    /// An `Output::Connect` succeeded.
    Connected {
        /// As in the output.
        link: LinkId,
        /// Our end.
        local_ip: IpAddr,
    },
    /// An `Output::Connect` failed; the link is gone.
    ConnectFailed {
        /// As in the output.
        link: LinkId,
    },
    /// A connection ended, or its queue grew too long and the shell ended it. Not sent after `Output::Close`.
    Closed {
        /// Which.
        link: LinkId,
    },
    /// One whole message, as framed by `bus::frame_len`.
    Frame {
        /// Where it came from.
        link: LinkId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A client's CLUSTER command. Answered by exactly one `Output::Reply` or `Output::ReplicateThenReply`.
    Command {
        /// Comes back with the reply.
        token: Token,
        /// What [`crate::command::parse`] made of the arguments.
        command: Command,
        /// Who wants to know.
        asker: Asker,
        /// What the command has to know of the keys.
        keys: DatasetInfo,
    },
    /// A client's transaction of CLUSTER commands: one change of the cluster's state, each answered as a `Command`.
    Transaction {
        /// In order, each with its token and what it has to know of the keys.
        commands: Vec<(Token, Command, DatasetInfo)>,
        /// Who wants to know.
        asker: Asker,
    },
    /// `Output::Persist` with this number is on disk, and with it all before.
    Persisted {
        /// As in the output.
        seq: u64,
    },
    /// This node's replication, on change and each 100 ms.
    Replication(ReplicationStatus),
    /// `Output::PauseWrites` has taken effect: no write is under way and the log ends at `offset`.
    WritesPaused {
        /// End of the log in bytes.
        offset: u64,
    },
    /// CLUSTER SETSLOT that came down the replication stream from the master, `args[0]` included.
    ReplicatedSetSlot {
        /// The command and its arguments.
        args: Vec<Vec<u8>>,
    },
    /// A replica has finished a full sync, which says nothing of open slots: they are put on the log again for it.
    ReplicaSynced,
    /// The process is about to end: hand over to a replica. Answered by one `Output::HandOver`.
    HandOver {
        /// When to give up.
        deadline: Millis,
        /// Client addresses of the replicas that are online and in sync, the one that acknowledged most first.
        replicas: Vec<SocketAddr>,
    },
    /// The process does not end after all: no handover any more, nor an answer to it.
    Stay,
    /// The files of the start are loaded; after [`crate::Cluster::begin_load`].
    Loaded {
        /// Slots that have keys now.
        occupied: SlotSet,
    },
}

/// How a handover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// Not a master with slots, or no replica could take over: nothing to wait for.
    NotNeeded,
    /// A replica has taken over and this node knows it: it answers MOVED.
    Done,
    /// The deadline passed, or no replica is left that understands the request.
    GaveUp,
}

/// How grave a log line is; Redis's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// Too much for production.
    Verbose,
    /// Worth knowing.
    Notice,
    /// Somebody should look.
    Warning,
}

/// Something to do.
#[derive(Debug)]
pub enum Output {
    /// Open a bus connection; answered by `Connected` or `ConnectFailed`.
    Connect {
        /// Its number from now on.
        link: LinkId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send one message.
    Send {
        /// On which connection.
        link: LinkId,
        /// The message.
        frame: Vec<u8>,
    },
    /// Close a connection (or give up connecting). No `Closed` is expected.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Write nodes.conf atomically and fsync it, then `Input::Persisted`. At most one is under way at a time.
    Persist {
        /// Grows with each.
        seq: u64,
        /// The whole file.
        text: String,
    },
    /// The reply to a command, as RESP.
    Reply {
        /// Of the command.
        token: Token,
        /// Whole reply.
        bytes: Vec<u8>,
    },
    /// Append `command` to the replication log, wait (bounded) until a replica in sync acknowledged it, then reply.
    /// Where no replica is in sync, reply at once.
    ReplicateThenReply {
        /// Of the command.
        token: Token,
        /// The command and its arguments, for `Input::ReplicatedSetSlot` at the replicas.
        command: Vec<Vec<u8>>,
        /// Whole reply.
        bytes: Vec<u8>,
    },
    /// Append `command` to the replication log; nobody waits for it.
    Replicate {
        /// The command and its arguments, for `Input::ReplicatedSetSlot` at the replicas.
        command: Vec<Vec<u8>>,
    },
    /// The slot map changed. At most one each time the outputs are drained.
    Publish(Arc<Routing>),
    /// Replicate from this master (also sent when its address changed).
    Follow {
        /// Whom.
        master: NodeId,
        /// Where; its IP may be unknown for a while, then try again with the next `Follow`.
        address: Address,
        /// Its data may be a continuation of ours: ask for a partial resync.
        same_shard: bool,
    },
    /// This node is a master from now on.
    BecomeMaster,
    /// Delete all keys of slots that this node has lost.
    DropKeys {
        /// Which.
        slots: SlotSet,
    },
    /// Delete all keys of the node (CLUSTER RESET of a replica).
    DropAllKeys,
    /// Hold back writes and anything else that grows the log, then `Input::WritesPaused`. May be repeated with a
    /// later time.
    PauseWrites {
        /// When writes go on by themselves.
        until: Millis,
    },
    /// Let writes go on.
    ResumeWrites,
    /// How `Input::HandOver` ended.
    HandOver(HandOver),
    /// A log line.
    Log {
        /// How grave.
        level: Level,
        /// What.
        message: String,
    },
    /// The node cannot go on: log and exit with failure.
    Fatal {
        /// Why, and what to do.
        message: String,
    },
}
