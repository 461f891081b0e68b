//! How far replicas have acknowledged the log. Written by the replication thread, read by gates and WAIT.

use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// One replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaAck {
    /// Log offset that it acknowledged last (REPLCONF ACK).
    pub offset: u64,
    /// Log offset up to which it said that everything is on its disk (REPLCONF ACK … FACK).
    pub on_disk: u64,
    /// Its full sync is done, its link is up and its last acknowledgement is recent: gates wait for it.
    pub in_sync: bool,
}

/// All replicas of this node.
#[derive(Debug, Default)]
pub struct Acks {
    all: RwLock<Vec<ReplicaAck>>,
    in_sync: AtomicUsize,
    expected: AtomicBool,
    furthest: AtomicU64,
}

impl Acks {
    /// Replaces what is known. The shell then lets gates and WAITs look again.
    pub fn set(&self, replicas: Vec<ReplicaAck>) {
        let in_sync = || replicas.iter().filter(|r| r.in_sync);
        self.furthest.store(in_sync().map(|r| r.offset).max().unwrap_or(0), Ordering::Release);
        self.in_sync.store(in_sync().count(), Ordering::Release);
        *self.all.write() = replicas;
    }

    /// How many replicas are in sync.
    #[must_use]
    pub fn in_sync(&self) -> usize {
        self.in_sync.load(Ordering::Acquire)
    }

    /// Whether a replica is believed to live ([`node_server_protocol::routing::Routing::expects_replica`]).
    pub(crate) fn expect(&self, expected: bool) {
        self.expected.store(expected, Ordering::Release);
    }

    /// Whether replies are held until a replica has what they depend on (or their time is over): one is in sync, or one
    /// that lives may come back, or may have been elected meanwhile.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.in_sync() > 0 || self.expected.load(Ordering::Acquire)
    }

    /// The furthest offset that a replica in sync has acknowledged.
    #[must_use]
    pub fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::Acquire)
    }

    /// How many replicas have acknowledged `offset`.
    #[must_use]
    pub fn count(&self, offset: u64) -> usize {
        self.all.read().iter().filter(|r| r.offset >= offset).count()
    }

    /// How many replicas have `offset` on their disks.
    #[must_use]
    pub fn count_on_disk(&self, offset: u64) -> usize {
        self.all.read().iter().filter(|r| r.on_disk >= offset).count()
    }

    /// Whether a replica in sync has everything up to `offset`, or none is in sync.
    #[must_use]
    pub fn reached(&self, offset: u64) -> bool {
        self.in_sync() == 0 || self.furthest() >= offset
    }
}
