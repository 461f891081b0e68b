//! Counters for INFO, written by many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only INFO reads: no ordering with anything else is promised.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts; the caller added before.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero, for CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Counters of the shell.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections open now.
    pub connected: Counter,
    /// Connections accepted since the start.
    pub connections: Counter,
    /// Connections refused for `maxclients`.
    pub rejected: Counter,
    /// Requests executed.
    pub commands: Counter,
    /// Bytes received from clients.
    pub input_bytes: Counter,
    /// Bytes sent to clients.
    pub output_bytes: Counter,
    /// Bytes received on replication links.
    pub replication_input_bytes: Counter,
    /// Bytes sent on replication links.
    pub replication_output_bytes: Counter,
    /// Clients closed because of `client-output-buffer-limit`.
    pub output_limit_closed: Counter,
    /// Clients closed because of the query buffer's limit.
    pub query_limit_closed: Counter,
    /// Sessions that are parked or wait for a deferred reply.
    pub blocked: Counter,
}
