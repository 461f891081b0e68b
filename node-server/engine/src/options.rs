//! What the engine is told at its start, and its named bounds.

/// Longest time that the gate holds a reply back for a replica's acknowledgement (rules 6 and 11).
pub const HOLD_MS: u64 = 1000;
/// The same for keys that cross while a replica is in sync: longer than one that stands still counts as in sync. It has that
/// time to go on, or the source deletes keys that this node alone has. In milliseconds.
pub const CROSSING_HOLD_MS: u64 = 4000;
/// Most bytes of queued commands in one MULTI.
pub const MULTI_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How often a sweep over busy slots is repeated before a barrier gives up.
pub const BARRIER_ROUNDS: usize = 64;
/// How often a worker tries for a barrier, a millisecond apart, before it tells its client to try again.
pub const BARRIER_TRIES: usize = 10_000;
/// How far a running full sync may hold back the trimming of the log, in bytes. A replica that falls further behind
/// starts its sync again.
pub const LOG_PIN_MAX: usize = 1 << 30;
/// Smallest `repl-backlog-size`, in bytes (Redis: CONFIG_REPL_BACKLOG_MIN_SIZE).
pub const BACKLOG_MIN: usize = 16 * 1024;
/// Most slots that one SCAN call looks into.
pub const SCAN_SLOTS_MAX: usize = 1024;
/// Most keys that an expiration cycle deletes under one hold of a slot.
pub const EXPIRE_BATCH: usize = 256;

/// How an engine is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// `cluster-enabled`. Without it, database *n* is slot *n*.
    pub cluster: bool,
    /// `databases`, without cluster mode.
    pub databases: u16,
    /// `repl-backlog-size` in bytes.
    pub backlog_size: usize,
    /// Secret of the hash tables and source of RANDOMKEY's choices.
    pub seed: u64,
    /// The replication id to begin with: 40 hex digits.
    pub replid: String,
    /// The version that HELLO tells.
    pub version: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: true,
            databases: 16,
            backlog_size: 1024 * 1024,
            seed: 0,
            replid: "0".repeat(40),
            version: "7.2.4".into(),
        }
    }
}
