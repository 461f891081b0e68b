//! How connections end while the process leaves.
//!
//! TCP cannot ask a client to send nothing more, so a request can always cross the end of its connection. A client
//! that waits for each reply crosses nothing when the end comes with a reply, as its last packet says it. That is
//! what a client gets that does not fall silent by itself in the first part of the time.

use super::connection::{Connection, State};
use super::{DataThread, Hub};
use node_server_protocol::Millis;
use rustix::net::{SendFlags, send};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::atomic::Ordering;

/// A connection that was silent this long while the process leaves has nothing under way.
const SILENT_MS: u64 = 400;
/// Connections that are still open this long before the deadline end with their next reply.
const LAST_REPLY_MS: u64 = 500;

impl DataThread {
    /// The process leaves, and no connection is left.
    pub(super) fn is_over(&self) -> bool {
        self.hub.draining.is_some_and(|deadline| self.hub.by_id.is_empty() || self.hub.now >= deadline)
    }
}

impl Hub {
    /// While the process leaves: closes connections with nothing under way.
    pub(super) fn close_silent(&mut self) {
        self.close_those_silent_for(SILENT_MS);
    }

    pub(super) fn close_those_silent_for(&mut self, ms: u64) {
        let now = self.now;
        for at in 0..self.connections.len() {
            let Some(connection) = self.connection(at) else { continue };
            let last = Millis(connection.client.last_active.load(Ordering::Relaxed));
            let silent = now.since(last) >= ms && !connection.is_blocked() && connection.output.is_done();
            if silent && !connection.closing && !connection.has_unread() {
                tracing::debug!("Closing idle client: id={}", connection.client.id);
                // Now, not in the next turn: the look for unread requests is as old as the end then.
                connection.end_output();
                connection.closing = true;
                self.next.push(at);
            }
        }
    }

    /// Whether the end comes with what is sent now.
    pub(super) fn ends_with_reply(&self, at: usize, received: usize) -> bool {
        let late = self.draining.is_some_and(|deadline| self.now.after(LAST_REPLY_MS) >= deadline);
        late && received == 0 && self.connections[at].as_deref().is_some_and(Connection::is_between_requests)
    }
}

impl Connection {
    /// Whether every request that has come is answered by what may be sent now, and no transaction is open.
    fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Open)
            && !self.readable
            && !self.closing
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
