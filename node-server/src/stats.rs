//! Counters for INFO, written by many threads.

use parking_lot::Mutex;
use std::collections::BTreeMap;
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

/// Error replies by code.
#[derive(Debug, Default)]
pub struct Errors {
    by_code: Mutex<BTreeMap<String, u64>>,
}

/// More codes than there are (Redis: ERROR_STATS_NUMBER); more come under `ERRORSTATS_DISABLED`, as in Redis.
const CODES_MAX: usize = 128;

impl Errors {
    /// Counts a reply, if it is an error.
    pub fn count(&self, reply: &[u8]) {
        let [b'-', text @ ..] = reply else { return };
        let end = text.iter().position(|b| matches!(b, b' ' | b'\r')).unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end]).into_owned();
        let mut by_code = self.by_code.lock();
        let full = by_code.len() >= CODES_MAX && !by_code.contains_key(&code);
        let code = if full { "ERRORSTATS_DISABLED".into() } else { code };
        *by_code.entry(code).or_default() += 1;
    }

    /// How often each code was sent.
    #[must_use]
    pub fn by_code(&self) -> BTreeMap<String, u64> {
        self.by_code.lock().clone()
    }

    /// How many errors were sent.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_code.lock().values().sum()
    }

    fn reset(&self) {
        self.by_code.lock().clear();
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
    /// Full syncs given to replicas.
    pub full_syncs: Counter,
    /// Partial syncs granted.
    pub partial_syncs: Counter,
    /// Partial syncs refused.
    pub partial_syncs_refused: Counter,
    /// Clients closed because of `client-output-buffer-limit`.
    pub output_limit_closed: Counter,
    /// Clients closed because of the query buffer's limit.
    pub query_limit_closed: Counter,
    /// Bus connections open now.
    pub bus_links: Counter,
    /// Connections kept for MIGRATE.
    pub migrate_sockets: Counter,
    /// Error replies.
    pub errors: Errors,
}

impl Stats {
    /// CONFIG RESETSTAT: everything but what counts things that exist now.
    pub fn reset(&self) {
        for counter in [
            &self.connections,
            &self.rejected,
            &self.commands,
            &self.input_bytes,
            &self.output_bytes,
            &self.replication_input_bytes,
            &self.replication_output_bytes,
            &self.full_syncs,
            &self.partial_syncs,
            &self.partial_syncs_refused,
            &self.output_limit_closed,
            &self.query_limit_closed,
        ] {
            counter.reset();
        }
        self.errors.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code_within_a_bound() {
        let errors = Errors::default();
        errors.count(b"+OK\r\n");
        errors.count(b"-ERR no\r\n");
        errors.count(b"-MOVED 1 a:1\r\n");
        errors.count(b"-ERR\r\n");
        assert_eq!((errors.by_code()["ERR"], errors.total()), (2, 3));
        for i in 0..1000 {
            errors.count(format!("-CODE{i} x\r\n").as_bytes());
        }
        assert!(errors.by_code().len() <= CODES_MAX + 1);
        assert_eq!(errors.total(), 1003);
    }
}
