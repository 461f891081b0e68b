//! The persistence thread: it reads the log and writes the append-only file, group by group, syncs it as `appendfsync`
//! says, and begins and ends what other threads write: a rewrite's base, BGSAVE.

use super::open::Open;
use super::rdb_file::{self, Saving, Waiter};
use super::rewrite::{Rewrite, SOON, Written};
use super::status::HasBegun;
use super::{Files, Found, HANGS_MS, Holds, NO_AOF, Request};
use crate::append_only::AofError;
use crate::config::{Fsync, Settings};
use crate::files_first::First;
use crate::node::{Node, now};
use crate::shutdown;
use node_server_protocol::Millis;
use node_server_protocol::routing::Serving;
use node_server_rdb::aof::Names;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

/// Where nobody waits for the disk, this long is gathered before the next write.
const GATHER: Duration = Duration::from_millis(5);
/// How soon a write that failed is tried again.
const RETRY_MS: u64 = 100;
/// How soon files that could not be opened are tried again.
const REOPEN_MS: u64 = 1000;
/// Longest sleep: settings and save points are looked at this often.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// The longest rest after rewrites that failed is 2 to the power of this, in seconds (Redis: AOF_REWRITE_LIMITE_*).
const REST_POWER_MAX: u32 = 7;
/// The same while nothing can be written before one succeeds.
const REST_POWER_MAX_STALE: u32 = 2;

/// The thread's state.
pub(super) struct Keeper {
    pub(super) node: Arc<Node>,
    requests: Receiver<Request>,
    pub(super) open: Option<Open>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) saving: Option<Saving>,
    /// SAVE or BGSAVE was asked for and has not begun.
    pub(super) save_wanted: bool,
    /// Who waits for it.
    pub(super) save_replies: Vec<Waiter>,
    /// What the save that a shutdown asked for shows: the log's history and its end in it.
    pub(super) prepared: Option<(u64, u64)>,
    /// When a save last failed.
    pub(super) save_failed_at: Millis,
    pub(super) settings: Arc<Settings>,
    buffer: Vec<u8>,
    /// Nothing was loaded, and nothing has been written since.
    no_data: bool,
    /// The append-only file cannot be written.
    failing: bool,
    /// Nothing is synced, for the sake of what is written beside it (`no-appendfsync-on-rewrite`).
    unsynced: bool,
    /// When files that could not be opened are tried again.
    reopen_at: Millis,
    /// Earliest time for the next automatic rewrite, after failures.
    rewrite_not_before: Millis,
    rewrite_failures: u32,
    /// Since when a base that replies wait for has not been able to begin.
    base_waits_since: Option<Millis>,
    /// Full syncs wait for that base.
    base_first: Option<First>,
    /// Full syncs wait for the last save.
    pub(super) save_first: Option<First>,
}

impl Keeper {
    pub(super) fn new(node: Arc<Node>, requests: Receiver<Request>, found: Found) -> Self {
        let settings = node.config.settings();
        node.persistence.status.update(|status| {
            status.last_save = node.started;
            status.saved_changes = node.engine.changes();
        });
        let open = found.files.map(|files| Open::at_start(&node, files, !found.needs_base));
        let keeper = Self {
            node,
            requests,
            open,
            rewrite: None,
            saving: None,
            save_wanted: false,
            save_replies: Vec::new(),
            prepared: None,
            save_failed_at: Millis(0),
            settings,
            buffer: Vec::new(),
            no_data: !found.has_data,
            failing: false,
            unsynced: false,
            reopen_at: Millis(0),
            rewrite_not_before: Millis(0),
            rewrite_failures: 0,
            base_waits_since: None,
            base_first: None,
            save_first: None,
        };
        keeper.hold_or_not();
        keeper.tell();
        keeper
    }

    pub(super) fn run(mut self) {
        loop {
            self.follow_settings();
            self.write();
            self.end_rewrite();
            self.end_saving();
            while let Ok(request) = self.requests.try_recv() {
                // What CONFIG SET has answered before holds for it.
                self.follow_settings();
                if !self.answer(request) {
                    return;
                }
            }
            self.begin_rewrite_if_due();
            self.begin_save_if_due();
            self.sync_or_not();
            self.tell();
            self.sleep();
        }
    }

    /// Until the log grows, or something may be due.
    fn sleep(&self) {
        let handle = &self.node.persistence;
        if self.settings.appendfsync != Fsync::Always {
            // Not parked: a request that comes meanwhile ends the sleep below.
            std::thread::sleep(GATHER);
        }
        handle.fall_asleep();
        if !self.open.as_ref().is_some_and(|open| open.is_behind(&self.node)) {
            let soon = self.rewrite.is_some() || self.saving.is_some() || self.save_wanted || self.is_stale();
            std::thread::park_timeout(if soon { GATHER } else { SLEEP_MAX });
        }
        handle.wake_up();
    }

    fn is_stale(&self) -> bool {
        self.open.as_ref().is_some_and(Open::is_stale)
    }

    /// A master that started without the data of its slots must not look after its next start as if the empty data were
    /// its own: as long as it is closed nothing is written.
    pub(super) fn is_closed_empty(&self) -> bool {
        let closed = || {
            let routing = self.node.engine.routing();
            routing.version == 0 || routing.serving == Serving::ClosedEmpty
        };
        self.no_data && self.settings.cluster_enabled && closed()
    }

    /// Brings the file to the end of the log, and to the disk if it is time.
    fn write(&mut self) {
        self.busy(Some(now()));
        self.write_and_sync();
        self.busy(None);
    }

    fn write_and_sync(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| now() >= open.retry_at) else { return };
        let sleep_us = self.node.persistence.flush_sleep_us.load(Ordering::Relaxed);
        if sleep_us > 0 && open.is_behind(&self.node) {
            std::thread::sleep(Duration::from_micros(sleep_us));
        }
        // What works again is believed when it is on the disk.
        let policy = match self.settings.appendfsync {
            _ if self.failing => Fsync::Always,
            _ if self.unsynced => Fsync::No,
            policy => policy,
        };
        let written = open.catch_up(&self.node, None, &mut self.buffer);
        match written.and_then(|()| open.sync_if_due(policy, now())) {
            Ok(Some(offset)) => {
                self.synced(offset);
                self.healed();
            }
            Ok(None) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn synced(&self, offset: u64) {
        if let Some(open) = &self.open {
            self.node.engine.set_synced_of(open.restarts(), offset);
        }
        // What was held while the disk hung goes on as well.
        self.busy(None);
        self.node.mailboxes.acks_advanced();
        self.node.replication.synced.notify_one();
    }

    /// Whether syncs are left out now. Who would have waited for one waits no longer; behind the end of what is written
    /// beside, everything is synced at once. What failed is believed to work again only when it is on the disk.
    fn sync_or_not(&mut self) {
        let writes_beside = self.rewrite.is_some() || self.saving.is_some();
        let unsynced = self.settings.aof.unsynced_on_rewrite && writes_beside && !self.failing;
        if unsynced == self.unsynced {
            return;
        }
        self.unsynced = unsynced;
        self.hold_or_not();
        self.node.mailboxes.acks_advanced();
        if !unsynced {
            self.write();
        }
    }

    /// Whether replies wait for the disk.
    fn hold_or_not(&self) {
        self.decide(|_| {});
    }

    /// As a replica it decides as a master would: nothing is held there, and whoever is promoted holds at once.
    fn decide(&self, change: impl FnOnce(&mut Holds)) {
        // Beside the rewrite that makes the base that goes with the data, too: there is no other file.
        let left_out = |open: &Open| self.unsynced && open.is_good();
        let promises = self.open.as_ref().is_some_and(|open| open.promises() && !left_out(open));
        let node = &self.node;
        // A node that serves nothing waits for nothing, and its file for its first data.
        let open = self.open.as_ref().filter(|_| !self.is_closed_empty());
        let baseless = open.is_some_and(|open| !open.is_good());
        let restarts = open.map_or_else(|| node.engine.log().restarts(), Open::restarts);
        let let_go = node.persistence.decide(&node.engine, &node.config, |holds| {
            (holds.promises, holds.baseless, holds.restarts) = (promises, baseless, restarts);
            change(holds);
        });
        if let_go {
            node.mailboxes.acks_advanced();
        }
    }

    /// Writes and syncs begin, or are through: the cron thread watches how long they take.
    fn busy(&self, since: Option<Millis>) {
        self.decide(|holds| (holds.busy_since, holds.stalled) = (since, false));
    }

    fn healed(&mut self) {
        if self.failing {
            tracing::warn!("AOF write error looks solved, Redis can write again.");
            self.set_failing(false);
        }
    }

    fn set_failing(&mut self, failing: bool) {
        self.failing = failing;
        self.node.persistence.status.update(|s| s.aof_write_failed = failing);
        self.refuse_or_not();
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
        if !self.failing {
            tracing::error!("Error writing to the AOF file: {error}");
            self.set_failing(true);
        }
        if let Some(open) = &mut self.open {
            open.retry_at = now().after(RETRY_MS);
            // What the kernel may have dropped is only made good by a new base.
            if matches!(error, AofError::Poisoned { .. }) {
                open.make_stale(&self.node, "after an error of the disk it is not known what is in it");
            }
        }
    }

    /// Whether clients' writes are taken.
    pub(super) fn refuse_or_not(&self) {
        let status = self.node.persistence.status.get();
        let durability = self.node.engine.durability();
        if self.failing {
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
                self.tell();
                if let Some(reply_to) = reply_to {
                    self.node.mailboxes.reply(reply_to, format!("{text}\r\n").into());
                }
            }
            Request::Reload { reply_to, what } => self.reload(reply_to, what),
            Request::Prepare { save, done } => self.prepare(save, done),
            Request::Stop { save, done } => {
                let result = self.finish(save);
                // Whoever asked may have given up waiting.
                let _ = done.send(result);
                return false;
            }
        }
        true
    }

    fn ask_for_rewrite(&mut self) -> String {
        if self.rewrite.is_some() {
            return "-ERR Background append only file rewriting already in progress".into();
        }
        if self.open.is_none() {
            return format!("-{NO_AOF}");
        }
        self.node.persistence.status.update(|s| s.rewrite_scheduled = true);
        self.begin_rewrite_if_due();
        if self.saving.is_some() {
            return "+Background append only file rewriting scheduled".into();
        }
        if self.rewrite.is_none() && !self.node.persistence.status.get().rewrite_scheduled {
            return "-ERR Can't execute an AOF background rewriting. Please check the server logs for more information.".into();
        }
        "+Background append only file rewriting started".into()
    }

    /// CONFIG SET may have changed something.
    fn follow_settings(&mut self) {
        let settings = self.node.config.settings();
        let changed = !Arc::ptr_eq(&settings, &self.settings);
        self.settings = settings;
        match (&self.open, self.settings.appendonly) {
            (None, true) if changed || now() >= self.reopen_at => self.open_files(),
            (Some(_), false) => self.close_files(),
            // It could not be opened and is not wanted any more.
            (None, false) if self.failing => self.set_failing(false),
            _ => {}
        }
        if changed {
            self.remove_history();
            self.hold_or_not();
            self.node.mailboxes.acks_advanced();
            self.refuse_or_not();
        }
    }

    /// CONFIG SET appendonly yes: what was in the files counts until the new base is complete.
    fn open_files(&mut self) {
        let settings = &self.settings;
        let opened = Names::new(&settings.appendfilename).map_err(anyhow::Error::from).and_then(|names| {
            let dir = Path::new(".");
            Ok(Files::open(crate::append_only::RealFiles, dir, &settings.appenddirname, names)?.0)
        });
        match opened {
            Ok(files) => self.open = Some(Open::at_run_time(&self.node, files)),
            Err(error) => {
                self.reopen_at = now().after(REOPEN_MS);
                if !self.failing {
                    tracing::error!("the append only file cannot be turned on: {error:#}");
                    self.set_failing(true);
                }
            }
        }
    }

    fn close_files(&mut self) {
        if let Err(error) = self.sync_everything() {
            tracing::error!("the append only file was turned off and its end is not on the disk: {error}");
        }
        self.open = None;
        self.rewrite = None;
        self.node.persistence.status.update(|s| s.rewrite_scheduled = false);
        self.set_failing(false);
    }

    /// Where the file does not continue the data there is nothing to sync.
    pub(super) fn sync_everything(&mut self) -> Result<(), AofError> {
        let Some(open) = self.open.as_mut().filter(|open| open.is_good()) else { return Ok(()) };
        open.catch_up(&self.node, None, &mut self.buffer)?;
        if open.is_good() {
            let offset = open.sync(now())?;
            self.synced(offset);
        }
        Ok(())
    }

    fn is_to_save(&self, save: Option<bool>) -> bool {
        save.unwrap_or(!self.settings.save.is_empty()) && !self.is_closed_empty()
    }

    /// The process is about to leave. What fails now fails while everything still runs (Redis: finishShutdown), and nobody
    /// is kept waiting: the save runs beside, as BGSAVE does.
    fn prepare(&mut self, save: Option<bool>, done: SyncSender<Result<(), String>>) {
        // A replica that does not read would keep the process from leaving.
        self.save_first = Some(self.node.replication.files_first.begin());
        if let Err(error) = self.complete_base() {
            self.save_first = None;
            // Whoever asked may have given up waiting.
            let _ = done.send(Err(error));
        } else if self.is_to_save(save) {
            tracing::info!("Saving the final RDB snapshot before exiting.");
            // Who waits for a save under way gets this one.
            let waiters = self.give_up_saving();
            self.save_replies.extend(waiters);
            self.save_replies.push(Waiter::Shutdown(done));
            self.save_wanted = true;
        } else {
            self.save_first = None;
            let _ = done.send(Ok(()));
        }
    }

    /// The process leaves.
    fn finish(&mut self, save: Option<bool>) -> Result<(), String> {
        // Whoever waits for it is about to be closed.
        drop(self.give_up_saving());
        self.complete_base()?;
        self.sync_everything().map_err(|error| error.to_string())?;
        if let Some(open) = &mut self.open {
            open.leave(now()).map_err(|error| error.to_string())?;
        }
        let standing = self.node.engine.log().standing();
        let is_saved = self.prepared == Some((standing.restarts, standing.end));
        if self.is_to_save(save) && !is_saved {
            tracing::info!("Saving what was written meanwhile.");
            self.rewrite = None;
            rdb_file::save(&self.node, &self.settings.dbfilename).map_err(|error| error.to_string())?;
            tracing::info!("DB saved on disk");
        }
        Ok(())
    }

    /// A master's data may be nowhere else. A replica's comes again, and until then its files show an older moment.
    pub(super) fn complete_base(&mut self) -> Result<(), String> {
        let needed = |keeper: &Self| {
            let incomplete = keeper.open.as_ref().is_some_and(|open| !open.is_complete(&keeper.node));
            incomplete && !keeper.node.engine.is_replica() && !keeper.is_closed_empty()
        };
        self.rewrite_not_before = Millis(0);
        self.rewrite_failures = 0;
        while needed(self) {
            self.write();
            // A save under way is in its way.
            self.end_saving();
            self.begin_rewrite_if_due();
            self.end_rewrite();
            if self.rewrite_failures > 0 {
                return Err(
                    "the append only file does not continue the data, and could not be written anew".into()
                );
            }
            std::thread::sleep(SOON);
        }
        Ok(())
    }

    /// For INFO. What has been answered with «started» counts as begun, also where a write keeps it from beginning for a
    /// moment: who asked must not see that nothing is under way.
    pub(super) fn tell(&self) {
        let (size, base) = self.open.as_ref().map_or((0, 0), Open::sizes);
        let rewriting = self.rewrite.as_ref().map(|rewrite| rewrite.begun);
        let saving = self.saving.as_ref().map(|saving| saving.begun);
        let may_rewrite = saving.is_none() && self.open.is_some() && !self.is_closed_empty();
        self.node.persistence.status.update(|s| {
            (s.aof_on, s.aof_size, s.aof_base_size) = (self.open.is_some(), size, base);
            s.has_begun = HasBegun { rewrite: rewriting.is_some(), save: saving.is_some() };
            s.rewriting_since = rewriting.or_else(|| (s.rewrite_scheduled && may_rewrite).then(now));
            s.saving_since = saving.or_else(|| (self.save_wanted && rewriting.is_none()).then(now));
        });
    }
}

/// Rewrites.
impl Keeper {
    fn begin_rewrite_if_due(&mut self) {
        let scheduled = self.node.persistence.status.get().rewrite_scheduled;
        let closed = self.is_closed_empty();
        let Some(open) = &mut self.open else { return self.base_waits_no_more() };
        let rested = now() >= self.rewrite_not_before;
        let wanted = scheduled || (rested && (open.is_stale() || open.has_grown(&self.settings)));
        if !wanted || closed {
            return self.base_waits_no_more();
        }
        if self.rewrite.is_some() || self.saving.is_some() {
            return;
        }
        match Rewrite::begin(&self.node, open, &mut self.buffer) {
            Ok(Some(rewrite)) => {
                self.rewrite = Some(rewrite);
                self.node.persistence.status.update(|s| s.rewrite_scheduled = false);
                self.base_waits_no_more();
                tracing::info!("Background append only file rewriting started");
            }
            // A write or another snapshot is in the way.
            Ok(None) => self.base_waits(),
            Err(error) => {
                tracing::error!("Can't rewrite append only file: {error}");
                self.base_waits_no_more();
                self.rewrite_failed();
            }
        }
    }

    /// Replies wait for the base: that must not last until the slowest replica has its full sync.
    fn base_waits(&mut self) {
        if !self.is_stale() || self.node.engine.is_replica() {
            return self.base_waits_no_more();
        }
        let since = *self.base_waits_since.get_or_insert_with(now);
        if self.base_first.is_none() && now().since(since) >= HANGS_MS {
            self.base_first = Some(self.node.replication.files_first.begin());
        }
    }

    fn base_waits_no_more(&mut self) {
        (self.base_waits_since, self.base_first) = (None, None);
    }

    fn end_rewrite(&mut self) {
        let Some(written) = self.rewrite.as_mut().and_then(Rewrite::ended) else { return };
        let Some(rewrite) = self.rewrite.take() else { return };
        let Some(open) = &mut self.open else { return };
        let took = now().since(rewrite.begun);
        let result = match written {
            Written::Base(base) => open.files().finish_rewrite(base).map_err(|error| error.to_string()),
            Written::Failed(base, reason) => {
                open.files().abandon_rewrite(base);
                Err(reason)
            }
            Written::Lost => {
                open.files().rewrite_lost();
                Err("the thread that wrote the base has ended".into())
            }
        };
        match result {
            Ok(()) => {
                open.rewritten();
                self.remove_history();
                self.rewrite_failures = 0;
                self.no_data = false;
                self.hold_or_not();
                tracing::info!("Background AOF rewrite finished successfully");
                self.node.persistence.status.update(|s| {
                    (s.last_rewrite_failed, s.last_rewrite_ms) = (false, Some(took));
                    s.rewrites += 1;
                });
            }
            Err(reason) => {
                tracing::error!("Background AOF rewrite terminated with error: {reason}");
                open.not_rewritten();
                self.rewrite_failed();
            }
        }
    }

    /// Removes the files that rewrites have made history, unless they are to stay.
    fn remove_history(&mut self) {
        let Some(open) = self.open.as_mut().filter(|_| !self.settings.aof.keeps_history) else { return };
        if let Err(error) = open.files().remove_history() {
            tracing::warn!("{error}");
        }
    }

    /// The next automatic one waits, longer each time. Writes that go nowhere before one succeeds are refused.
    fn rewrite_failed(&mut self) {
        let is_stale = self.is_stale();
        let most = if is_stale { REST_POWER_MAX_STALE } else { REST_POWER_MAX };
        self.rewrite_failures = (self.rewrite_failures + 1).min(REST_POWER_MAX);
        self.rewrite_not_before = now().after(1000 << self.rewrite_failures.min(most));
        self.node.persistence.status.update(|s| {
            (s.last_rewrite_failed, s.rewrite_scheduled) = (true, false);
        });
        if is_stale && !self.failing {
            self.set_failing(true);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nobody else writes, and replies may wait for the disk.
        if std::thread::panicking() {
            let message = "the persistence thread has ended by a panic, nothing is written any more";
            self.node.shutdown.request(shutdown::Request::Fatal(message.into()));
        }
    }
}
