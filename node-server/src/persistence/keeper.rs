//! The persistence thread: it reads the log and writes the append-only file, group by group, syncs it as `appendfsync`
//! says, and begins and ends what other threads write: a rewrite's base, BGSAVE.

use super::rdb_file::{self, Saving};
use super::rewrite::{Rewrite, Written};
use super::{Files, Found, Request};
use crate::append_only::AofError;
use crate::config::{Fsync, Settings};
use crate::node::{Node, now};
use crate::shutdown;
use node_server_engine::{NotInBacklog, Pin};
use node_server_protocol::Millis;
use node_server_rdb::aof::{Names, Replid};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Bytes of the log that are written at a time.
const WRITE_LEN: usize = 1 << 20;
/// Where nobody waits for the disk, this long is gathered before the next write.
const GATHER: Duration = Duration::from_millis(5);
/// `appendfsync everysec`.
const SYNC_EVERY_MS: u64 = 1000;
/// How soon a write that failed is tried again.
const RETRY_MS: u64 = 100;
/// Longest sleep: settings and save points are looked at this often.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The open append-only file and how far it is.
pub(super) struct Open {
    files: Files,
    /// The log is in the file up to here.
    offset: u64,
    /// Of this history's restart; see [`node_server_engine::Log::read_for_file`].
    restarts: u64,
    /// Keeps the log from `offset` on.
    pin: Pin,
    replid: Option<Replid>,
    /// Something is written and not synced.
    dirty: bool,
    synced_at: Millis,
    /// After an error: not before this.
    retry_at: Millis,
    /// The file does not continue the data: nothing is appended until a new base is there.
    stale: bool,
}

/// The thread's state.
pub(super) struct Keeper {
    pub(super) node: Arc<Node>,
    requests: Receiver<Request>,
    open: Option<Open>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) saving: Option<Saving>,
    /// BGSAVE was asked for and has not begun.
    pub(super) save_wanted: bool,
    /// When a save last failed.
    pub(super) save_failed_at: Millis,
    pub(super) settings: Arc<Settings>,
    buffer: Vec<u8>,
    /// Earliest time for the next automatic rewrite, after failures.
    rewrite_not_before: Millis,
    rewrite_failures: u32,
}

impl Keeper {
    pub(super) fn new(node: Arc<Node>, requests: Receiver<Request>, found: Found) -> Self {
        let settings = node.config.settings();
        node.persistence.status.update(|status| {
            status.last_save = node.started;
            status.rewrite_scheduled = found.needs_base;
            status.saved_changes = node.engine.changes();
        });
        let open = found.files.map(|files| Open::new(&node, files, found.needs_base));
        node.engine.durability().set_holds(open.is_some() && settings.appendfsync == Fsync::Always);
        Self {
            node,
            requests,
            open,
            rewrite: None,
            saving: None,
            save_wanted: false,
            save_failed_at: Millis(0),
            settings,
            buffer: Vec::new(),
            rewrite_not_before: Millis(0),
            rewrite_failures: 0,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            self.write();
            self.end_rewrite();
            self.end_saving();
            while let Ok(request) = self.requests.try_recv() {
                if !self.answer(request) {
                    return;
                }
            }
            self.begin_what_is_due();
            self.tell();
            self.sleep();
        }
    }

    /// Until the log grows, or something may be due.
    fn sleep(&self) {
        let handle = &self.node.persistence;
        let waits =
            |open: &Open| !open.stale && open.offset < self.node.engine.log().end() && now() >= open.retry_at;
        if self.settings.appendfsync != Fsync::Always {
            std::thread::park_timeout(GATHER);
        }
        handle.asleep.store(true, std::sync::atomic::Ordering::SeqCst);
        if !self.open.as_ref().is_some_and(waits) {
            let soon = self.rewrite.is_some() || self.saving.is_some() || self.is_stale();
            std::thread::park_timeout(if soon { GATHER } else { SLEEP_MAX });
        }
        handle.asleep.store(false, std::sync::atomic::Ordering::SeqCst);
    }

    fn is_stale(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.stale)
    }

    /// Brings the file to the end of the log, and to the disk if it is time.
    fn write(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| now() >= open.retry_at) else { return };
        let result = match open.catch_up(&self.node, None, &mut self.buffer) {
            Ok(()) => open.sync_if_due(self.settings.appendfsync, now()),
            Err(error) => Err(error),
        };
        match result {
            Ok(synced) => {
                if synced {
                    self.node.engine.durability().set_synced(open.offset);
                    self.node.mailboxes.acks_advanced();
                }
                self.healed();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn healed(&mut self) {
        let status = &self.node.persistence.status;
        if status.get().aof_write_failed {
            tracing::warn!("AOF write error looks solved, Redis can write again.");
            status.update(|s| s.aof_write_failed = false);
            self.refuse_or_not();
        }
    }

    /// As Redis: with `always` nothing can be promised any more, so the process ends; else writes are refused until
    /// the disk is back.
    fn failed(&mut self, error: &AofError) {
        if self.settings.appendfsync == Fsync::Always {
            let message = format!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {error}. Exiting..."
            );
            self.node.shutdown.request(shutdown::Request::Fatal(message));
        }
        let status = &self.node.persistence.status;
        if !status.get().aof_write_failed {
            tracing::error!("Error writing to the AOF file: {error}");
        }
        status.update(|s| s.aof_write_failed = true);
        if let Some(open) = &mut self.open {
            open.retry_at = now().after(RETRY_MS);
        }
        // What the kernel may have dropped is only made good by a new base.
        if matches!(error, AofError::Poisoned { .. }) {
            status.update(|s| s.rewrite_scheduled = true);
        }
        self.refuse_or_not();
    }

    /// Whether clients' writes are taken.
    pub(super) fn refuse_or_not(&self) {
        let status = self.node.persistence.status.get();
        let durability = self.node.engine.durability();
        if status.aof_write_failed {
            durability
                .refuse_writes(Some("MISCONF Errors writing to the AOF file: see the log of the server"));
        } else if status.last_save_failed
            && self.settings.stop_writes_on_bgsave_error
            && !self.settings.save.is_empty()
        {
            durability.refuse_writes(Some(rdb_file::MISCONF));
        } else {
            durability.refuse_writes(None);
        }
    }

    /// False: the thread ends.
    fn answer(&mut self, request: Request) -> bool {
        match request {
            Request::Save(reply_to) => self.save_now(reply_to),
            Request::BackgroundSave { reply_to, schedule } => self.background_save(reply_to, schedule),
            Request::Rewrite(reply_to) => {
                let text = self.ask_for_rewrite();
                self.node.mailboxes.reply(reply_to, text.into());
            }
            Request::ConfigChanged => self.follow_settings(),
            Request::Stop { save, done } => {
                let result = self.finish(save);
                // Whoever asked may have given up waiting.
                let _ = done.send(result);
                return false;
            }
        }
        true
    }

    fn ask_for_rewrite(&mut self) -> &'static str {
        if self.rewrite.is_some() {
            return "-ERR Background append only file rewriting already in progress\r\n";
        }
        if self.open.is_none() {
            return "-ERR appendonly is off: there is no append only file to rewrite; CONFIG SET appendonly yes\r\n";
        }
        self.node.persistence.status.update(|s| s.rewrite_scheduled = true);
        if self.saving.is_some() {
            return "+Background append only file rewriting scheduled\r\n";
        }
        "+Background append only file rewriting started\r\n"
    }

    fn follow_settings(&mut self) {
        self.settings = self.node.config.settings();
        match (&self.open, self.settings.appendonly) {
            (None, true) => self.open_files(),
            (Some(_), false) => self.close_files(),
            _ => {}
        }
        let holds = self.open.is_some() && self.settings.appendfsync == Fsync::Always;
        self.node.engine.durability().set_holds(holds);
        self.node.mailboxes.acks_advanced();
        self.refuse_or_not();
    }

    /// CONFIG SET appendonly yes: what was in the files counts until the new base is complete.
    fn open_files(&mut self) {
        let settings = &self.settings;
        let opened = Names::new(&settings.appendfilename).map_err(anyhow::Error::from).and_then(|names| {
            let (mut files, to_load) =
                Files::open(crate::append_only::RealFiles, Path::new("."), &settings.appenddirname, names)?;
            if to_load.last().is_some_and(|last| files.is_increment(last)) {
                files.leave_unloaded()?;
            }
            Ok(files)
        });
        match opened {
            Ok(files) => {
                self.open = Some(Open::new(&self.node, files, true));
                self.node.persistence.status.update(|s| s.rewrite_scheduled = true);
            }
            Err(error) => {
                tracing::error!("appendonly: {error:#}");
                self.node.persistence.status.update(|s| s.aof_write_failed = true);
            }
        }
    }

    fn close_files(&mut self) {
        if let Err(error) = self.sync_everything() {
            tracing::error!("the append only file was turned off and its end is not on the disk: {error}");
        }
        self.open = None;
        self.rewrite = None;
        self.node.persistence.status.update(|s| {
            (s.aof_on, s.aof_write_failed, s.rewrite_scheduled, s.rewriting_since) =
                (false, false, false, None);
        });
    }

    fn sync_everything(&mut self) -> Result<(), AofError> {
        let Some(open) = self.open.as_mut().filter(|open| !open.stale) else { return Ok(()) };
        open.catch_up(&self.node, None, &mut self.buffer)?;
        open.files.sync()?;
        self.node.engine.durability().set_synced(open.offset);
        self.node.mailboxes.acks_advanced();
        Ok(())
    }

    /// The process leaves.
    fn finish(&mut self, save: Option<bool>) -> Result<(), String> {
        self.sync_everything().map_err(|error| error.to_string())?;
        if save.unwrap_or(!self.settings.save.is_empty()) {
            tracing::info!("Saving the final RDB snapshot before exiting.");
            rdb_file::save(&self.node, &self.settings.dbfilename).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn tell(&self) {
        let (size, base) = self.open.as_ref().map_or((0, 0), |o| (o.files.size(), o.files.base_size()));
        let since = self.rewrite.as_ref().map(|r| r.begun);
        self.node.persistence.status.update(|s| {
            (s.aof_on, s.aof_size, s.aof_base_size) = (self.open.is_some(), size, base);
            s.rewriting_since = since;
            s.saving_since = self.saving.as_ref().map(|saving| saving.begun);
        });
    }
}

/// Rewrites.
impl Keeper {
    fn begin_what_is_due(&mut self) {
        self.begin_rewrite_if_due();
        self.begin_save_if_due();
    }

    fn begin_rewrite_if_due(&mut self) {
        let status = self.node.persistence.status.get();
        let Some(open) = &mut self.open else { return };
        let grown = open.has_grown(&self.settings) && now() >= self.rewrite_not_before;
        let wanted = status.rewrite_scheduled || open.stale || grown;
        if !wanted || self.rewrite.is_some() || self.saving.is_some() {
            return;
        }
        match Rewrite::begin(&self.node, open, &mut self.buffer) {
            Ok(Some(rewrite)) => {
                self.rewrite = Some(rewrite);
                self.node.persistence.status.update(|s| s.rewrite_scheduled = false);
                tracing::info!("Background append only file rewriting started");
            }
            // A write or another snapshot is in the way.
            Ok(None) => {}
            Err(error) => {
                tracing::error!("Can't rewrite append only file: {error}");
                self.rewrite_failed();
            }
        }
    }

    fn end_rewrite(&mut self) {
        let Some(written) = self.rewrite.as_mut().and_then(Rewrite::ended) else { return };
        let Some(rewrite) = self.rewrite.take() else { return };
        let Some(open) = &mut self.open else { return };
        let took = now().since(rewrite.begun);
        let result = match written {
            Written::Base(base) => open.files.finish_rewrite(base).map_err(|error| error.to_string()),
            Written::Failed(base, reason) => {
                open.files.abandon_rewrite(base);
                Err(reason)
            }
            Written::Lost => Err("the thread that wrote the base has ended".into()),
        };
        match result {
            Ok(()) => {
                open.stale = false;
                self.rewrite_failures = 0;
                tracing::info!("Background AOF rewrite finished successfully");
                if let Err(error) = open.files.remove_history() {
                    tracing::warn!("{error}");
                }
                self.node.persistence.status.update(|s| {
                    (s.last_rewrite_failed, s.last_rewrite_ms) = (false, Some(took));
                    s.rewrites += 1;
                });
            }
            Err(reason) => {
                tracing::error!("Background AOF rewrite terminated with error: {reason}");
                self.rewrite_failed();
            }
        }
    }

    /// The next automatic one waits, longer each time (Redis: AOF_REWRITE_LIMITE_*).
    fn rewrite_failed(&mut self) {
        self.rewrite_failures = (self.rewrite_failures + 1).min(7);
        self.rewrite_not_before = now().after(1000 << self.rewrite_failures);
        self.node.persistence.status.update(|s| {
            (s.last_rewrite_failed, s.rewrite_scheduled) = (true, false);
        });
    }
}

impl Open {
    fn new(node: &Node, files: Files, stale: bool) -> Self {
        let standing = node.engine.log().standing();
        Self {
            files,
            offset: standing.end,
            restarts: standing.restarts,
            pin: node.engine.log().pin(standing.end),
            replid: None,
            dirty: false,
            synced_at: now(),
            retry_at: Millis(0),
            stale,
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
        let standing = node.engine.log().standing();
        let end = limit.unwrap_or(standing.end);
        let replid = Replid::new(standing.replid.as_bytes());
        let is_there = self.offset >= end && replid == self.replid && standing.restarts == self.restarts;
        if self.stale || is_there || !self.write_until(node, end, buffer)? {
            return Ok(());
        }
        if let Some(id) = replid {
            self.files.seal(self.offset, &id)?;
            self.dirty = true;
        }
        self.replid = replid;
        self.pin.advance(self.offset);
        Ok(())
    }

    fn write_until(&mut self, node: &Node, end: u64, buffer: &mut Vec<u8>) -> Result<bool, AofError> {
        while self.offset < end {
            // A piece may end within a record; the seal comes behind the last.
            buffer.clear();
            let max = WRITE_LEN.min((end - self.offset) as usize);
            match node.engine.log().read_for_file(self.restarts, self.offset, max, buffer) {
                Ok(Some(len)) => {
                    self.files.append(buffer)?;
                    self.offset += len as u64;
                    self.dirty = true;
                }
                Ok(None) | Err(NotInBacklog { .. }) => {
                    self.stale = true;
                    return Ok(false);
                }
            }
        }
        self.stale = node.engine.log().standing().restarts != self.restarts;
        Ok(!self.stale)
    }

    /// True when everything that was written is on the disk.
    fn sync_if_due(&mut self, policy: Fsync, at: Millis) -> Result<bool, AofError> {
        let due = match policy {
            Fsync::Always => true,
            Fsync::EverySecond => at.since(self.synced_at) >= SYNC_EVERY_MS,
            Fsync::No => false,
        };
        if !self.dirty || !due {
            return Ok(false);
        }
        self.files.sync()?;
        self.dirty = false;
        self.synced_at = at;
        Ok(true)
    }

    fn has_grown(&self, settings: &Settings) -> bool {
        let (size, base) = (self.files.size(), self.files.base_size().max(1));
        let percentage = settings.auto_aof_rewrite_percentage;
        percentage > 0
            && size >= settings.auto_aof_rewrite_min_size
            && size.saturating_sub(base).saturating_mul(100) / base >= percentage
    }

    /// A snapshot was taken at `offset` of a log that the file does not continue: the file will go on from there.
    pub(super) fn begin_anew(&mut self, node: &Node, offset: u64) {
        let standing = node.engine.log().standing();
        (self.offset, self.restarts, self.replid) = (offset, standing.restarts, None);
        self.pin = node.engine.log().pin(offset);
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.files
    }
}
