//! One client's connection.

use super::output::Output;
use crate::clients::Client;
use node_server_engine::{PsyncRequest, Session};
use node_server_protocol::Millis;
use std::sync::Arc;

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Executes requests as they come.
    Open,
    /// Its next request waits for a slot, a barrier, a pause or a marked key; a wake says when to try again.
    Parked,
    /// A worker has its session and runs its request.
    Offloaded,
    /// Requests are answered by other threads; nothing is executed until then.
    Deferred,
    /// WAIT and WAITAOF: for `replicas` to acknowledge `offset`, or the deadline.
    Waiting {
        /// How many replicas.
        replicas: usize,
        /// How far.
        offset: u64,
        /// Until when; `None`: for ever.
        deadline: Option<Millis>,
        /// Number of the deferred reply.
        seq: u64,
        /// WAITAOF: on disks, and how many of them this node's own has to be.
        local: Option<usize>,
    },
    /// PSYNC: goes to the replication thread when every earlier reply has left.
    Leaving(PsyncRequest),
}

/// A client's connection, without its input, which requests borrow from while the rest changes.
pub(super) struct Connection {
    /// The socket.
    pub(super) socket: mio::net::TcpStream,
    /// What others see of it.
    pub(super) client: Arc<Client>,
    /// The engine's side; on a worker while [`State::Offloaded`].
    pub(super) session: Option<Session>,
    /// Its replies.
    pub(super) output: Output,
    /// What it is doing.
    pub(super) state: State,
    /// The socket may have more to read.
    pub(super) readable: bool,
    /// The socket may take more.
    pub(super) writable: bool,
    /// The client has closed its side.
    pub(super) peer_closed: bool,
    /// To be closed once every reply has left.
    pub(super) closing: bool,
    /// Its last reply has left together with the end of the stream: nothing more is executed, and what still comes
    /// is thrown away, until the client has closed its side.
    pub(super) parted: bool,
    /// To be closed now.
    pub(super) dead: bool,
    /// Listed for this turn.
    pub(super) listed: bool,
    /// Counted by `Mailboxes::gated`.
    pub(super) gated: bool,
    /// Was not served because its client does not read.
    pub(super) paused: bool,
    /// Bytes of input executed in this turn.
    pub(super) consumed: usize,
    /// When the timers look at it next.
    pub(super) timer: Option<Millis>,
    /// Since when its output is above the soft limit.
    pub(super) above_soft_since: Option<Millis>,
}

impl Connection {
    /// Whether the next request may be executed: nothing is under way, and the client reads its replies.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
            && !self.closing
            && !self.parted
            && !self.dead
            && self.output.unsent() < super::send::OUTPUT_PAUSE
    }

    /// Whether something was asked that is not answered yet.
    #[must_use]
    pub(super) fn is_blocked(&self) -> bool {
        !matches!(self.state, State::Open) || self.output.pending() > 0
    }
}
