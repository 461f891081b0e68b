//! The open append-only file: the log is written to it, sealed and synced.

use super::Files;
use crate::append_only::{AofError, NewBase, RealFiles};
use crate::config::{Fsync, Settings};
use crate::node::{Node, now};
use node_server_engine::{NotInBacklog, Pin, Snapshot};
use node_server_protocol::Millis;
use node_server_rdb::aof::Replid;

/// Bytes of the log that are written at a time.
const WRITE_LEN: usize = 1 << 20;
/// `appendfsync everysec`.
const SYNC_EVERY_MS: u64 = 1000;

/// The file and how far it is.
pub(super) struct Open {
    files: Files,
    /// The log is in the file up to here.
    offset: u64,
    /// Of this history's restart; see [`node_server_engine::Log::read_for_file`].
    restarts: u64,
    /// Keeps the log from `offset` on.
    pin: Pin,
    /// What the last seal said.
    replid: Option<Replid>,
    /// Nothing stands behind the last seal.
    sealed: bool,
    /// Something is written and not synced.
    dirty: bool,
    synced_at: Millis,
    /// After an error: not before this.
    pub(super) retry_at: Millis,
    /// The file does not continue the data: nothing is appended until another one has begun.
    stale: bool,
    /// What is appended has its base on the disk.
    based: bool,
    /// `appendfsync always` holds for it: since the start, or since its first base.
    promises: bool,
}

impl Open {
    /// The file of a start, which `continues` what was loaded, or needs a base.
    pub(super) fn at_start(node: &Node, files: Files, continues: bool) -> Self {
        Self { promises: true, ..Self::new(node, files, continues) }
    }

    /// The file of CONFIG SET appendonly yes, which needs a base.
    pub(super) fn at_run_time(node: &Node, files: Files) -> Self {
        Self::new(node, files, false)
    }

    fn new(node: &Node, files: Files, continues: bool) -> Self {
        let standing = node.engine.log().standing();
        Self {
            files,
            offset: standing.end,
            restarts: standing.restarts,
            pin: node.engine.log().pin(standing.end).for_file(),
            replid: None,
            sealed: false,
            dirty: false,
            synced_at: now(),
            retry_at: Millis(0),
            stale: !continues,
            based: continues,
            promises: false,
        }
    }

    /// Writes and seals the log up to `limit`, or its end. A log that has begun anew, or that is no longer there, makes
    /// the file stale.
    pub(super) fn catch_up(
        &mut self,
        node: &Node,
        limit: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AofError> {
        if self.stale {
            return Ok(());
        }
        let standing = node.engine.log().standing();
        if standing.restarts != self.restarts {
            self.make_stale(node, "the data has become another one");
            return Ok(());
        }
        // Nothing that the log has now was written later than this.
        self.set_second(node);
        let end = limit.unwrap_or(standing.end);
        let replid = Replid::new(standing.replid.as_bytes());
        let is_there = self.offset >= end && self.sealed && replid == self.replid;
        if is_there || !self.write_until(node, end, buffer)? {
            return Ok(());
        }
        if let Some(id) = replid {
            self.files.seal(self.offset, &id)?;
            self.dirty = true;
        }
        (self.replid, self.sealed) = (replid, true);
        self.pin.advance(self.offset);
        Ok(())
    }

    fn set_second(&mut self, node: &Node) {
        let is_on = node.config.settings().aof.timestamps;
        self.files.set_second(is_on.then(|| now().0 / 1000));
    }

    /// False: the file is stale.
    fn write_until(&mut self, node: &Node, end: u64, buffer: &mut Vec<u8>) -> Result<bool, AofError> {
        while self.offset < end {
            // A piece may end within a record; the seal comes behind the last.
            buffer.clear();
            let max = WRITE_LEN.min((end - self.offset) as usize);
            match node.engine.log().read_for_file(self.restarts, self.offset, max, buffer) {
                Ok(Some(len)) => {
                    self.files.append(buffer)?;
                    self.offset += len as u64;
                    (self.sealed, self.dirty) = (false, true);
                }
                Ok(None) => {
                    self.make_stale(node, "the data has become another one");
                    return Ok(false);
                }
                Err(NotInBacklog { .. }) => {
                    self.make_stale(node, "the disk is too slow for what is written");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Nothing is appended any more: a new base is needed.
    pub(super) fn make_stale(&mut self, node: &Node, why: &str) {
        if self.stale {
            return;
        }
        tracing::warn!("The append only file does not continue the data ({why}): it is written anew");
        (self.stale, self.based) = (true, false);
        self.pin.advance(u64::MAX);
        node.engine.durability().set_synced(0);
        // Replies of a master that has become a replica are never sent.
        node.mailboxes.acks_advanced();
    }

    /// Syncs if it is time. `Some`: everything up to this offset is on the disk.
    pub(super) fn sync_if_due(&mut self, policy: Fsync, at: Millis) -> Result<Option<u64>, AofError> {
        let due = match policy {
            Fsync::Always => true,
            Fsync::EverySecond => at.since(self.synced_at) >= SYNC_EVERY_MS,
            Fsync::No => false,
        };
        if due && self.dirty && self.is_good() { self.sync(at).map(Some) } else { Ok(None) }
    }

    /// Syncs; the offset up to which everything is on the disk.
    pub(super) fn sync(&mut self, at: Millis) -> Result<u64, AofError> {
        self.files.sync()?;
        self.dirty = false;
        self.synced_at = at;
        Ok(self.offset)
    }

    /// Nothing more will be written. That everything is on the disk is known to a reader only from what stands behind it:
    /// what is damaged from now on is told from what a loss of power may leave.
    pub(super) fn leave(&mut self, at: Millis) -> Result<(), AofError> {
        if let Some(id) = self.replid.filter(|_| self.is_good() && self.sealed && !self.dirty) {
            self.files.seal(self.offset, &id)?;
            self.sync(at)?;
        }
        Ok(())
    }

    pub(super) fn has_grown(&self, settings: &Settings) -> bool {
        let (size, base) = (self.files.size(), self.files.base_size().max(1));
        let percentage = settings.auto_aof_rewrite_percentage;
        percentage > 0
            && size >= settings.auto_aof_rewrite_min_size
            && size.saturating_sub(base).saturating_mul(100) / base >= percentage
    }

    /// The file begins anew where `snapshot` was taken.
    pub(super) fn begin_anew(
        &mut self,
        node: &Node,
        snapshot: &mut Snapshot,
    ) -> Result<NewBase<RealFiles>, AofError> {
        let replid = Replid::new(snapshot.replid.as_bytes());
        self.set_second(node);
        let base = self.files.begin_anew(replid.map(|id| (snapshot.offset, id)))?;
        (self.offset, self.restarts, self.replid) = (snapshot.offset, snapshot.restarts, replid);
        (self.sealed, self.stale, self.based) = (replid.is_some(), false, false);
        let pin = snapshot.pin.take().unwrap_or_else(|| node.engine.log().pin(snapshot.offset));
        self.pin = pin.for_file();
        Ok(base)
    }

    /// The rewrite under way has ended, with its base in place.
    pub(super) fn rewritten(&mut self) {
        if !self.stale {
            (self.based, self.promises, self.dirty) = (true, true, true);
        }
    }

    /// The rewrite under way has failed.
    pub(super) fn not_rewritten(&mut self) {
        // What was appended goes with no base.
        self.stale |= !self.based;
    }

    /// Nothing is appended.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// What is appended counts.
    pub(super) fn is_good(&self) -> bool {
        self.based && !self.stale
    }

    /// Whether it goes with the data that is there now, which may have become another since anybody looked.
    pub(super) fn is_complete(&self, node: &Node) -> bool {
        self.is_good() && node.engine.log().restarts() == self.restarts
    }

    /// Whether `appendfsync always` holds for it.
    pub(super) fn promises(&self) -> bool {
        self.promises
    }

    /// Which restart of the log it belongs to.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Whether there is something to write now.
    pub(super) fn is_behind(&self, node: &Node) -> bool {
        !self.stale && self.offset < node.engine.log().end() && now() >= self.retry_at
    }

    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Length of all files, and what that was behind the last rewrite.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.files.size(), self.files.base_size())
    }
}
