//! RDB files: SAVE, BGSAVE, save points, and the last save before the process leaves.

use super::keeper::Keeper;
use super::rewrite::{SOON, write_chunks};
use crate::append_only::{FileLayer, RealFiles};
use crate::mailbox::ReplyTo;
use crate::node::{Node, now};
use crate::process::step_behind;
use node_server_engine::{Snapshot, SnapshotError};
use node_server_protocol::Millis;
use node_server_rdb::Dialect;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// Redis's words, which clients match.
pub(super) const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
     persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report \
     errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs \
     for details about the RDB error.";
/// After a failure the next automatic save waits so long (Redis: CONFIG_BGSAVE_RETRY_DELAY).
const RETRY_MS: u64 = 5000;
/// How often a snapshot is tried for, a millisecond apart, when the process leaves.
const BEGIN_TRIES: usize = 10_000;

/// Why a file was not saved. The old one is whole.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The system refused.
    #[error("{path}: could not {doing}: {source}; the old file is whole", path = path.display())]
    System {
        /// Which file.
        path: PathBuf,
        /// A verb and what it is done to.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The snapshot did not come to its end.
    #[error("the snapshot was not written: {0}")]
    Snapshot(String),
    /// None could begin.
    #[error("{0}")]
    Begin(#[from] SnapshotError),
    /// An empty file would pass for the data.
    #[error("this master started without the data of its slots: there is nothing to save")]
    NoData,
}

/// Who waits for a save.
pub(super) enum Waiter {
    /// SAVE.
    Client(ReplyTo),
    /// The process is about to leave.
    Shutdown(SyncSender<Result<(), String>>),
}

/// A save under way. Dropping it makes its thread give up.
pub(super) struct Saving {
    pub(super) begun: Millis,
    changes: u64,
    /// See [`Keeper::prepared`].
    shows: (u64, u64),
    result: Receiver<Result<(), SaveError>>,
    waiters: Vec<Waiter>,
    given_up: Arc<AtomicBool>,
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
    }
}

/// Saves now, on this thread.
pub(super) fn save(node: &Arc<Node>, name: &str) -> Result<(), SaveError> {
    let mut begun = node.engine.begin_snapshot(now(), Dialect::Valkey);
    for _ in 0..BEGIN_TRIES {
        if begun.is_ok() {
            break;
        }
        std::thread::sleep(SOON);
        begun = node.engine.begin_snapshot(now(), Dialect::Valkey);
    }
    let mut snapshot = begun?;
    snapshot.pin = None;
    write_file(&RealFiles, snapshot, name, &AtomicBool::new(false))
}

/// A temporary file that takes the place of the old one when it is on the disk.
pub(super) fn write_file<L: FileLayer>(
    files: &L,
    mut snapshot: Snapshot,
    name: &str,
    given_up: &AtomicBool,
) -> Result<(), SaveError> {
    let temporary = PathBuf::from(format!("temp-{}.rdb", std::process::id()));
    let written = write_and_rename(files, &mut snapshot, &temporary, Path::new(name), given_up);
    if written.is_err() {
        // It may be the disk that is full or gone; the next save writes over it.
        let _ = files.remove(&temporary);
    }
    written
}

fn write_and_rename<L: FileLayer>(
    files: &L,
    snapshot: &mut Snapshot,
    temporary: &Path,
    path: &Path,
    given_up: &AtomicBool,
) -> Result<(), SaveError> {
    let system = |doing| move |source| SaveError::System { path: temporary.to_owned(), doing, source };
    let mut file = files.open_append(temporary).map_err(system("create the file"))?;
    files.truncate(&mut file, 0).map_err(system("empty the file"))?;
    let mut refused = None;
    let written = write_chunks(snapshot, given_up, |bytes| {
        files.write(&mut file, bytes).map_err(|error| refused.insert(error).to_string())
    });
    written.map_err(|reason| match refused {
        Some(source) => system("write the file")(source),
        None => SaveError::Snapshot(reason),
    })?;
    files.sync(&mut file).map_err(system("sync the file"))?;
    files.rename(temporary, path).map_err(system("rename the file"))?;
    files.sync_dir(Path::new(".")).map_err(system("sync the directory of the file"))
}

impl Keeper {
    /// SAVE: as BGSAVE, with the answer at the end.
    pub(super) fn save_now(&mut self, reply_to: ReplyTo) {
        if self.saving.is_some() {
            self.node.mailboxes.reply(reply_to, b"-ERR Background save already in progress\r\n".to_vec());
        } else {
            self.save_wanted = true;
            self.save_replies.push(Waiter::Client(reply_to));
        }
    }

    pub(super) fn background_save(&mut self, reply_to: Option<ReplyTo>, schedule: bool) {
        let text = if self.saving.is_some() {
            "-ERR Background save already in progress\r\n".to_owned()
        } else if self.rewrite.is_some() && !schedule {
            "-ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.\r\n"
                .to_owned()
        } else {
            self.save_wanted = true;
            let word = if self.rewrite.is_some() { "scheduled" } else { "started" };
            self.tell();
            format!("+Background saving {word}\r\n")
        };
        if let Some(reply_to) = reply_to {
            self.node.mailboxes.reply(reply_to, text.into_bytes());
        }
    }

    pub(super) fn begin_save_if_due(&mut self) {
        if self.saving.is_some() || self.rewrite.is_some() || !(self.save_wanted || self.save_point_is_due())
        {
            return;
        }
        match self.begin_saving() {
            // When it cannot begin yet, the next round tries again.
            Ok(()) | Err(SaveError::Begin(_)) => {}
            Err(error) => {
                (self.save_wanted, self.save_first) = (false, None);
                let waiters = std::mem::take(&mut self.save_replies);
                self.save_failed(&error);
                self.answer_all(waiters, &Err(error));
            }
        }
    }

    fn save_point_is_due(&self) -> bool {
        let status = self.node.persistence.status.get();
        let changes = self.node.engine.changes().saturating_sub(status.saved_changes);
        let since = now().since(status.last_save);
        let may_try = !status.last_save_failed || now().since(self.save_failed_at) > RETRY_MS;
        may_try
            && self.settings.save.iter().any(|(seconds, least)| changes >= *least && since > seconds * 1000)
    }

    fn answer_all(&self, waiters: Vec<Waiter>, result: &Result<(), SaveError>) {
        for waiter in waiters {
            match (waiter, result) {
                (Waiter::Client(reply_to), Ok(())) => {
                    self.node.mailboxes.reply(reply_to, b"+OK\r\n".to_vec())
                }
                (Waiter::Client(reply_to), Err(error)) => {
                    self.node.mailboxes.reply(reply_to, format!("-ERR {error}\r\n").into_bytes());
                }
                (Waiter::Shutdown(done), result) => {
                    // Whoever asked may have given up waiting.
                    let _ = done.send(result.as_ref().copied().map_err(ToString::to_string));
                }
            }
        }
    }

    fn begin_saving(&mut self) -> Result<(), SaveError> {
        if self.is_closed_empty() {
            return Err(SaveError::NoData);
        }
        let changes = self.node.engine.changes();
        let mut snapshot = self.node.engine.begin_snapshot(now(), Dialect::Valkey)?;
        // Nobody reads on from there.
        snapshot.pin = None;
        let shows = (snapshot.restarts, snapshot.offset);
        let (sender, result) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let (gives_up, name) = (Arc::clone(&given_up), self.settings.dbfilename.clone());
        let spawned = std::thread::Builder::new().name("bgsave".into()).spawn(move || {
            step_behind();
            // Fails only when the keeper has gone.
            let _ = sender.send(write_file(&RealFiles, snapshot, &name, &gives_up));
        });
        spawned.map_err(|source| SaveError::System {
            path: (&self.settings.dbfilename).into(),
            doing: "start a thread to save",
            source,
        })?;
        tracing::info!("Background saving started");
        (self.save_wanted, self.save_first) = (false, None);
        let waiters = std::mem::take(&mut self.save_replies);
        self.saving = Some(Saving { begun: now(), changes, shows, result, waiters, given_up });
        Ok(())
    }

    /// Ends a save under way, so that another one may write; who waited for it.
    pub(super) fn give_up_saving(&mut self) -> Vec<Waiter> {
        let Some(mut saving) = self.saving.take() else { return Vec::new() };
        saving.given_up.store(true, Ordering::Release);
        // Its result does not matter: it is not the last one.
        let _ = saving.result.recv();
        std::mem::take(&mut saving.waiters)
    }

    pub(super) fn end_saving(&mut self) {
        let result = match self.saving.as_ref().map(|saving| saving.result.try_recv()) {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Err(TryRecvError::Disconnected)) => Err(SaveError::Snapshot("its thread has ended".into())),
            Some(Ok(result)) => result,
        };
        let Some(mut saving) = self.saving.take() else { return };
        match &result {
            Ok(()) => {
                tracing::info!("Background saving terminated with success");
                self.prepared = Some(saving.shows);
                self.node.persistence.status.update(|s| {
                    (s.last_save, s.saved_changes, s.last_save_failed) = (now(), saving.changes, false);
                    s.last_save_ms = Some(now().since(saving.begun));
                    s.saves += 1;
                });
            }
            Err(error) => self.save_failed(error),
        }
        self.answer_all(std::mem::take(&mut saving.waiters), &result);
        self.refuse_or_not();
    }

    fn save_failed(&mut self, error: &SaveError) {
        tracing::error!("Background saving error: {error}");
        self.save_failed_at = now();
        self.node.persistence.status.update(|s| s.last_save_failed = true);
        self.refuse_or_not();
    }
}
