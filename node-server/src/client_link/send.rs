//! Phase 4: one send per connection; and what happens to clients that do not read.

use super::{DataThread, Hub};
use crate::config::OutputLimit;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;

/// A client that has not read this much is not served until it has; so one that never reads costs this and one reply.
/// `client-output-buffer-limit normal` closes such a client earlier, where it is set.
pub(super) const OUTPUT_PAUSE: usize = 64 * 1024 * 1024;

impl DataThread {
    pub(super) fn send(&mut self) {
        let mut total = 0;
        for i in 0..self.hub.active.len() {
            let at = self.hub.active[i];
            let received = self.inputs[at].len();
            total += self.hub.send_one(at, received);
            self.hub.after_send(at, received);
        }
        self.hub.node.stats.output_bytes.add(total as u64);
    }
}

impl Hub {
    fn send_one(&mut self, at: usize, received: usize) -> usize {
        let (now, last) = (self.moment(), self.ends_with_reply(at, received));
        let Some(connection) = self.connection(at) else { return 0 };
        let bytes = connection.output.sendable();
        if bytes.is_empty() || !connection.writable || connection.dead {
            return 0;
        }
        let wanted = bytes.len();
        match connection.send(last) {
            Ok(sent) => {
                // What was not taken goes when the socket says that it takes more.
                connection.writable = sent == wanted;
                connection.output.sent(sent);
                // One that waited long for its reply was not silent.
                connection.client.last_active.store(now.0, Ordering::Relaxed);
                sent
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.writable = false;
                0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.next.push(at);
                0
            }
            Err(_) => {
                connection.dead = true;
                0
            }
        }
    }

    /// Books what is left, and closes clients above their limit.
    fn after_send(&mut self, at: usize, received: usize) {
        let (now, limit) = (self.now, self.settings.output_limits[0]);
        let Some(connection) = self.connection(at) else { return };
        let unsent = connection.output.unsent();
        let blocked = connection.is_blocked();
        let was_paused = std::mem::replace(&mut connection.paused, unsent >= OUTPUT_PAUSE);
        let goes_on = was_paused && !connection.paused;
        connection.client.input_bytes.store(received as u64, Ordering::Relaxed);
        connection.client.output_bytes.store(unsent as u64, Ordering::Relaxed);
        connection.client.blocked.store(blocked, Ordering::Relaxed);
        if let Some(session) = &connection.session {
            connection.client.copy(session);
        }
        let above_soft = limit.soft > 0 && unsent as u64 > limit.soft;
        connection.above_soft_since = above_soft.then(|| connection.above_soft_since.unwrap_or(now));
        if is_above(limit, unsent as u64, connection.above_soft_since.map(|since| now.since(since))) {
            let line = connection.client.line(now);
            connection.dead = true;
            self.node.stats.output_limit_closed.add(1);
            tracing::warn!(
                "Client {line} scheduled to be closed ASAP for overcoming of output buffer limits."
            );
        } else if goes_on {
            self.next.push(at);
        }
    }
}

/// Whether a client with `unsent` bytes, above the soft limit for `soft_ms`, is to be closed.
fn is_above(limit: OutputLimit, unsent: u64, soft_ms: Option<u64>) -> bool {
    let hard = limit.hard > 0 && unsent > limit.hard;
    let soft = soft_ms.is_some_and(|ms| ms >= limit.soft_seconds * 1000 && limit.soft_seconds > 0);
    hard || soft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_hard_or_lasting() {
        let limit = OutputLimit { hard: 100, soft: 10, soft_seconds: 2 };
        assert!(!is_above(limit, 100, None));
        assert!(is_above(limit, 101, None));
        assert!(!is_above(limit, 50, Some(1999)));
        assert!(is_above(limit, 50, Some(2000)));
        assert!(!is_above(OutputLimit::default(), u64::MAX, None));
    }
}
