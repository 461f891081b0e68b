//! How connections end while the process leaves.
//!
//! TCP cannot ask a client to send nothing more, so a request can always cross the end of its connection. A client
//! that waits for each reply crosses nothing when the end comes with a reply, as its last packet says it. So every reply
//! carries the end, from the first on: a client that still asks here has just been told where to ask (MOVED), and may
//! connect again. Only who has been silent for long is closed without a reply.

use super::connection::{Connection, State};
use super::{DataThread, Hub};
use crate::node::now;
use node_server_protocol::Millis;
use rustix::net::{SendFlags, send};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::Ordering;

/// A connection that was silent this long while the process leaves has nothing under way. Shorter than
/// `shutdown::DRAIN_MS` by more than a busy machine holds up a thread, so that at the deadline nobody is left but who was
/// not answered.
const SILENT_MS: u64 = 900;

impl DataThread {
    /// The process leaves, and no connection is left but such as have been told the end. Who listens is the last to go.
    pub(super) fn is_over(&self) -> bool {
        let Some(deadline) = self.hub.draining else { return false };
        let listens_for_others = self.acceptor.is_some() && !self.hub.node.mailboxes.others_ended();
        let all_parted = || self.hub.connections.iter().flatten().all(|c| c.parted);
        self.hub.now >= deadline || (!listens_for_others && all_parted())
    }
}

impl Hub {
    /// While the process leaves: ends connections with nothing under way. What a client sends at this very moment is
    /// read and thrown away, so that it sees the end and no reset.
    pub(super) fn part_from_silent(&mut self) {
        for at in self.silent_for(SILENT_MS) {
            let Some(connection) = self.connection(at) else { continue };
            connection.end_output();
            connection.parted = true;
        }
    }

    /// `timeout`: closes clients that sent nothing for so long and wait for nothing.
    pub(super) fn close_silent(&mut self, ms: u64) {
        for at in self.silent_for(ms) {
            let Some(connection) = self.connection(at) else { continue };
            tracing::debug!("Closing idle client: id={}", connection.client.id);
            // Now, not in the next turn: the look for unread requests is as old as the end then.
            connection.end_output();
            connection.closing = true;
            self.next.push(at);
        }
    }

    fn silent_for(&self, ms: u64) -> Vec<usize> {
        let is_silent = |c: &Connection| {
            let last = Millis(c.client.last_active.load(Ordering::Relaxed));
            let silent = self.now.since(last) >= ms && !c.is_blocked() && c.output.is_done();
            silent && !c.closing && !c.parted && !c.has_unread()
        };
        let silent = |at: &usize| self.connections[*at].as_deref().is_some_and(is_silent);
        (0..self.connections.len()).filter(silent).collect()
    }

    /// Whether the end comes with what is sent now.
    pub(super) fn ends_with_reply(&self, at: usize, received: usize) -> bool {
        let between_requests =
            || self.connections[at].as_deref().is_some_and(Connection::is_between_requests);
        self.draining.is_some() && received == 0 && between_requests()
    }

    /// When a client was last heard or answered. While the process leaves it depends on that, and a turn may take long on
    /// a busy machine: its own time is too old then.
    pub(super) fn moment(&self) -> Millis {
        if self.draining.is_some() { now() } else { self.now }
    }
}

impl Connection {
    /// Whether every request that has come is answered by what may be sent now, and no transaction is open.
    fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Open)
            && !self.readable
            && !self.closing
            && !self.parted
            && self.output.pending() == 0
            && self.output.sendable().len() == self.output.unsent()
            && !self.session.as_ref().is_some_and(|session| session.in_multi())
    }

    /// Whether requests lie in the socket, which the kernel has not told of yet.
    fn has_unread(&self) -> bool {
        match self.socket.peek(&mut [0]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    /// Sends as much as the socket takes. With `last`, and if it takes everything, the end leaves in the packet of
    /// the last byte: the kernel holds that one back for more.
    pub(super) fn send(&mut self, last: bool) -> std::io::Result<usize> {
        let bytes = self.output.sendable();
        let more = if last { SendFlags::MORE } else { SendFlags::empty() };
        let sent = send(&self.socket, bytes, SendFlags::NOSIGNAL | more)?;
        if last && sent == bytes.len() {
            self.end_output();
            self.parted = true;
        }
        Ok(sent)
    }

    fn end_output(&mut self) {
        // Fails when the client has broken the connection: nobody is there to be told.
        self.dead |= self.socket.shutdown(Shutdown::Write).is_err();
    }
}
