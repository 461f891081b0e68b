//! Phase 1: receive from every connection that has something.

use super::DataThread;
use super::input::Received;
use crate::mailbox::PENDING_MAX;
use std::sync::atomic::Ordering;

/// How much is received ahead from a client whose requests cannot be executed now.
const READ_AHEAD_MAX: usize = 64 * 1024;

impl DataThread {
    pub(super) fn receive(&mut self) {
        let mut total = 0;
        for i in 0..self.hub.active.len() {
            let at = self.hub.active[i];
            total += self.receive_one(at);
        }
        self.hub.node.stats.input_bytes.add(total as u64);
    }

    fn receive_one(&mut self, at: usize) -> usize {
        let (now, limit) = (self.hub.moment(), self.hub.settings.query_buffer_limit as usize);
        let input = &mut self.inputs[at];
        let Some(connection) = self.hub.connections[at].as_deref_mut() else { return 0 };
        let serves = connection.is_open() && connection.output.pending() < PENDING_MAX;
        let wants = connection.readable && (serves || input.len() < READ_AHEAD_MAX);
        if !wants || connection.closing || connection.dead || connection.peer_closed {
            return 0;
        }
        let received = match input.receive(&mut connection.socket, &mut self.scratch) {
            Ok(Received::Drained(bytes)) => {
                connection.readable = false;
                bytes
            }
            Ok(Received::More(bytes)) => {
                self.hub.next.push(at);
                bytes
            }
            Ok(Received::Closed(bytes)) => {
                connection.readable = false;
                connection.peer_closed = true;
                bytes
            }
            Err(_) => {
                connection.dead = true;
                0
            }
        };
        if connection.parted {
            drop(input.take());
        } else if received > 0 {
            connection.client.last_active.store(now.0, Ordering::Relaxed);
        }
        if input.len() > limit {
            tracing::warn!(
                "Closing client that reached max query buffer length: id={}",
                connection.client.id
            );
            self.hub.node.stats.query_limit_closed.add(1);
            connection.dead = true;
        }
        received
    }
}
