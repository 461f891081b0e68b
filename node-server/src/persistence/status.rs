//! What INFO tells of the files.

use node_server_protocol::Millis;
use parking_lot::Mutex;

/// Shared by the threads that write files and by INFO.
#[derive(Debug, Default)]
pub struct Status(Mutex<State>);

/// One moment of it.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The append-only file is written.
    pub aof_on: bool,
    /// Its length, and what that was behind the last rewrite.
    pub aof_size: u64,
    /// See `aof_size`.
    pub aof_base_size: u64,
    /// A rewrite runs since then.
    pub rewriting_since: Option<Millis>,
    /// One is wanted as soon as it can begin.
    pub rewrite_scheduled: bool,
    /// How long the last rewrite took, in milliseconds.
    pub last_rewrite_ms: Option<u64>,
    /// Whether the last one failed.
    pub last_rewrite_failed: bool,
    /// How many there were.
    pub rewrites: u64,
    /// Whether the append-only file cannot be written.
    pub aof_write_failed: bool,
    /// BGSAVE runs since then.
    pub saving_since: Option<Millis>,
    /// Of the two above, what has really begun: where it is only wanted, a transaction may want it again, as in Redis.
    pub has_begun: HasBegun,
    /// When the data was last saved, in Unix milliseconds.
    pub last_save: Millis,
    /// How long that took, in milliseconds.
    pub last_save_ms: Option<u64>,
    /// Whether the last attempt failed.
    pub last_save_failed: bool,
    /// How many saves there were.
    pub saves: u64,
    /// `Engine::changes` at the last save.
    pub saved_changes: u64,
}

/// Which of the two write files now.
#[derive(Clone, Copy, Debug, Default)]
pub struct HasBegun {
    /// A rewrite of the append-only file.
    pub rewrite: bool,
    /// A save.
    pub save: bool,
}

impl Status {
    /// What it is now.
    #[must_use]
    pub fn get(&self) -> State {
        self.0.lock().clone()
    }

    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
    }
}
