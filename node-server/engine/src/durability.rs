//! What the engine knows of the files: how far the log is on the disk, whether replies wait for that, and whether writes
//! are refused because it cannot be written. The shell's persistence thread says so; nothing here touches a file.

use crate::command::{CommandError, CommandResult, Spec};
use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
#[derive(Debug, Default)]
pub struct Durability {
    /// `appendfsync always`: replies wait for the disk.
    holds: AtomicBool,
    /// There is a file that promises something.
    promises: AtomicBool,
    /// The log is on the disk up to here.
    synced: AtomicU64,
    /// `appendonly`.
    on: AtomicBool,
    refused: AtomicBool,
    refusal: RwLock<String>,
}

impl Durability {
    /// Whether replies wait until what they depend on is on the disk.
    pub fn set_holds(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }

    /// Whether there is a file that promises something: replies wait as soon as the data is another one than its.
    pub fn set_promises(&self, promises: bool) {
        self.promises.store(promises, Ordering::SeqCst);
    }

    /// The log has another history, of which no file has anything: not even what is written before the shell notices is
    /// acknowledged without it.
    pub(crate) fn begun_anew(&self) {
        self.set_synced(0);
        if self.promises.load(Ordering::SeqCst) {
            self.set_holds(true);
        }
    }

    /// Whether there is an append-only file.
    pub fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    /// Whether there is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// What a replica says of its disk (FACK), and a master to WAITAOF; `None` without an append-only file.
    #[must_use]
    pub fn on_disk(&self) -> Option<u64> {
        self.is_on().then(|| self.synced())
    }

    /// Whether they do.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    /// The log is on the disk up to `offset`; zero: it is not known how far. The shell then lets gates look again.
    pub fn set_synced(&self, offset: u64) {
        self.synced.store(offset, Ordering::Release);
    }

    /// Up to where the log is on the disk.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Up to where gates see the log on the disk: everything, where none waits for it.
    #[must_use]
    pub fn passed(&self) -> u64 {
        if self.holds() { self.synced() } else { u64::MAX }
    }

    /// From now on clients' writes are refused with this error, code and all; `None`: they are taken again.
    pub fn refuse_writes(&self, error: Option<&str>) {
        error.unwrap_or_default().clone_into(&mut self.refusal.write());
        self.refused.store(error.is_some(), Ordering::SeqCst);
    }

    /// Whether writes are taken.
    pub(crate) fn check_writes(&self) -> CommandResult {
        if !self.refused.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(CommandError::text(self.refusal.read().clone()))
    }

    /// Redis refuses PING with the writes, so that who checks a node by it notices.
    pub(crate) fn check(&self, spec: &Spec) -> CommandResult {
        if spec.is_write() || spec.name == "ping" { self.check_writes() } else { Ok(()) }
    }
}
