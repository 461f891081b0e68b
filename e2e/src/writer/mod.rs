//! The checked writer: clients that know what they were promised, and check it.
//!
//! Every disruptive test runs one. At least 8 connections follow redirections and send a mix of SET, INCR, DEL,
//! PEXPIRE, MSET and MGET with hash tags and MULTI/EXEC; one value in a hundred has 256 KiB. Every outcome is written
//! down; at the end every key must hold its last acknowledged value or that of a later attempt, every counter must
//! lie between acknowledged and attempted, deleted keys must be absent, and no read may ever have gone backwards.

mod check;
mod evidence;
pub mod history;
pub mod latency;
mod ledger;
mod link;
mod preload;
pub mod report;
mod router;
mod shared;
mod slot_map;
mod value;
mod worker;

pub use preload::{Keys, Preloaded};
pub use report::{Loss, LostWrites, Report, Tally};
pub use router::Counts;

use anyhow::{Result, ensure};
use router::Router;
use shared::Shared;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use worker::Worker;

/// How long a busy machine may take for a reply: a failover alone may hold a write for eight seconds, and one that is tried
/// again for as long as `shutdown-timeout`.
const REPLY_LIMIT: Duration = Duration::from_secs(45);

/// How to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes to begin with, as `host:port`.
    pub seeds: Vec<String>,
    /// The only seed serves all keys and knows no CLUSTER commands: a server outside cluster mode.
    pub standalone: bool,
    /// Connections that write; each has one TCP connection per node.
    pub connections: usize,
    /// Commands per second of all connections together.
    pub operations_per_second: u64,
    /// What may get lost.
    pub loss: Loss,
    /// First part of every key's name.
    pub prefix: String,
    /// Chooses the commands.
    pub seed: u64,
    /// For AUTH.
    pub password: Option<String>,
    /// How long a reply may take before its command counts as unknown.
    pub reply_limit: Duration,
    /// How much later than it should a key may expire, in milliseconds: clocks of several machines differ, and who sends may
    /// have to wait for a busy machine.
    pub expiry_slack_ms: u64,
}

impl Options {
    /// 8 connections, 2000 commands per second, nothing may get lost.
    #[must_use]
    pub fn new<A: ToString>(seeds: &[A]) -> Self {
        Self {
            seeds: seeds.iter().map(A::to_string).collect(),
            standalone: false,
            connections: 8,
            operations_per_second: 2000,
            loss: Loss::None,
            prefix: "checked".into(),
            seed: 1,
            password: None,
            reply_limit: REPLY_LIMIT,
            expiry_slack_ms: 2000,
        }
    }

    fn router(&self) -> Router {
        let router = Router::new(self.seeds.clone(), self.password.clone(), self.reply_limit);
        if self.standalone { router.standalone() } else { router }
    }
}

/// A writer at work. Its keys must not exist before it starts.
pub struct Writer {
    shared: Arc<Shared>,
    workers: JoinSet<Tally>,
}

/// A writer that has stopped and not checked yet.
pub struct Stopped {
    shared: Arc<Shared>,
    tally: Tally,
    ran: Ran,
}

/// How a run was as a whole.
struct Ran {
    duration_ms: u64,
    longest_gap_ms: BTreeMap<String, u64>,
}

impl Writer {
    /// Asks the seeds for the owners and begins to write, on the running tokio runtime.
    ///
    /// # Errors
    /// No seed says who owns the slots.
    pub async fn start(options: Options) -> Result<Self> {
        ensure!(options.connections > 0, "a writer needs connections");
        let mut router = options.router();
        ensure!(router.refresh(None).await, "none of {:?} answers CLUSTER SLOTS", options.seeds);
        let shared = Arc::new(Shared::new(options, router.map().clone()));
        let mut workers = JoinSet::new();
        for id in 0..shared.options.connections {
            workers.spawn(Worker::new(id, Arc::clone(&shared), shared.options.router()).run());
        }
        Ok(Self { shared, workers })
    }

    /// Writes acknowledged until now.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// The longest time in milliseconds without a write to the slots of any owner, since this was last asked.
    #[must_use]
    pub fn take_recent_gap(&self) -> u64 {
        self.shared.take_recent_gap()
    }

    /// When it began: the report counts milliseconds from here.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    /// Not so within `limit`.
    pub async fn wait_for_writes(&self, more: u64, limit: Duration) -> Result<()> {
        let goal = self.acknowledged() + more;
        crate::wait::until_async("the writer goes on", limit, async || self.acknowledged() >= goal).await
    }

    /// Stops; what is under way is waited for.
    ///
    /// # Errors
    /// A connection's task panicked.
    pub async fn stop(mut self) -> Result<Stopped> {
        // Waiting for what is under way is no stall.
        let ran = Ran { duration_ms: self.shared.now(), longest_gap_ms: self.shared.close_gaps() };
        self.shared.stop();
        let mut tally = Tally::default();
        while let Some(joined) = self.workers.join_next().await {
            tally += &joined?;
        }
        Ok(Stopped { shared: self.shared, tally, ran })
    }

    /// Stops at once, for nodes that are dead: what is under way is dropped, its outcome unknown.
    ///
    /// # Errors
    /// A connection's task panicked.
    pub async fn halt(self) -> Result<Stopped> {
        self.shared.halt();
        self.stop().await
    }

    /// Stops and checks.
    ///
    /// # Errors
    /// A connection's task panicked.
    pub async fn finish(self) -> Result<Report> {
        Ok(self.stop().await?.check().await)
    }
}

impl Stopped {
    /// Writes that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Reads every key and reports.
    pub async fn check(self) -> Report {
        let mut router = self.shared.options.router();
        check::check(&self.shared, &mut router, self.tally, self.ran).await
    }
}
