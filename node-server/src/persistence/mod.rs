//! Data on the disk: the append-only file, RDB files, and loading them at the start.
//!
//! One thread (`keeper`) reads the log and writes the append-only file; snapshots (a rewrite's base, BGSAVE) are
//! written by threads of their own. Nothing here holds a slot's lock while it writes.

mod keeper;
mod key_delay;
mod load;
mod loading;
mod open;
mod rdb_file;
mod reload;
mod rewrite;
mod status;

#[cfg(test)]
mod crash_tests;

pub(crate) use key_delay::KeyDelay;
pub use load::{Found, Plan, plan, plan_in};
pub use loading::Loading;
pub use rdb_file::SaveError;
pub use status::Status;

use crate::append_only::AppendOnly;
use crate::append_only::RealFiles;
use crate::config::{ConfigStore, Fsync};
use crate::mailbox::ReplyTo;
use crate::node::{Busy, Node};
use crate::{shutdown, start};
use node_server_engine::{Engine, Log, Reload};
use node_server_protocol::Millis;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;

/// Most requests that wait for the thread; each client has at most one under way.
const REQUESTS_MAX: usize = 4096;

/// With `everysec` replies wait for a disk that has not answered for so long; what it was asked to sync may be a second
/// old.
const HANGS_MS: u64 = 800;

/// BGREWRITEAOF without `appendonly`.
pub const NO_AOF: &str =
    "ERR appendonly is off: there is no append only file to rewrite; CONFIG SET appendonly yes";

/// Logged when clients are served (Redis's words, which scripts wait for).
pub const READY: &str = "Ready to accept connections tcp";

/// The append-only file of this process.
pub type Files = AppendOnly<RealFiles>;

/// Asked of the persistence thread.
#[derive(Debug)]
pub enum Request {
    /// SAVE: answered when the file is there.
    Save(ReplyTo),
    /// BGSAVE; with SCHEDULE it waits for a rewrite under way.
    BackgroundSave {
        /// Who asked; a transaction has its answer already.
        reply_to: Option<ReplyTo>,
        /// SCHEDULE was said.
        schedule: bool,
    },
    /// BGREWRITEAOF; a transaction has its answer already.
    Rewrite(Option<ReplyTo>),
    /// The process is about to leave: save if save points say so, and have a complete append-only file, while everything
    /// goes on.
    Prepare {
        /// SHUTDOWN SAVE and NOSAVE; `None`: if there are save points.
        save: Option<bool>,
        /// Told how it went.
        done: SyncSender<Result<(), String>>,
    },
    /// DEBUG RELOAD and LOADAOF.
    Reload {
        /// Who asked.
        reply_to: ReplyTo,
        /// Which files.
        what: Reload,
    },
    /// The process leaves: write and sync what there is, save if save points say so, and tell how it went.
    Stop {
        /// SHUTDOWN SAVE and NOSAVE; `None`: if there are save points.
        save: Option<bool>,
        /// Told when the data is on the disk.
        done: SyncSender<Result<(), String>>,
    },
}

/// What decides whether replies wait for the disk.
#[derive(Debug, Default)]
struct Holds {
    /// There is a file for which `appendfsync` holds.
    promises: bool,
    /// Since when the thread has been writing and syncing without coming back.
    busy_since: Option<Millis>,
    /// That is too long.
    stalled: bool,
    /// The file does not continue the data, or its base is not complete: nothing that is written now counts before
    /// there is one, however long that takes.
    baseless: bool,
    /// The restart of the log that the file belongs to ([`node_server_engine::Standing::restarts`]).
    restarts: u64,
}

impl Holds {
    /// Whether replies wait for the disk.
    fn wait(&self, policy: Fsync, log: &Log) -> bool {
        self.promises
            && match policy {
                Fsync::Always => true,
                Fsync::EverySecond => self.stalled || self.baseless || self.restarts != log.restarts(),
                Fsync::No => false,
            }
    }
}

/// The way to the persistence thread, and what it last said about itself.
#[derive(Debug)]
pub struct PersistenceHandle {
    sender: SyncSender<Request>,
    receiver: Mutex<Option<Receiver<Request>>>,
    thread: Mutex<Option<Thread>>,
    /// The thread sleeps and wants to be woken by growth.
    asleep: AtomicBool,
    holds: Mutex<Holds>,
    /// DEBUG AOF-FLUSH-SLEEP: each write of the append-only file waits so many microseconds first.
    pub(crate) flush_sleep_us: AtomicU64,
    /// For INFO.
    pub status: Status,
}

impl Default for PersistenceHandle {
    fn default() -> Self {
        let (sender, receiver) = sync_channel(REQUESTS_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            thread: Mutex::default(),
            asleep: AtomicBool::new(false),
            holds: Mutex::default(),
            flush_sleep_us: AtomicU64::new(0),
            status: Status::default(),
        }
    }
}

impl PersistenceHandle {
    /// Queues a request.
    ///
    /// # Errors
    /// The queue is full or the thread has ended.
    pub fn ask(&self, request: Request) -> Result<(), Busy> {
        self.sender.try_send(request).map_err(|_| Busy)?;
        self.wake();
        Ok(())
    }

    /// The log has grown.
    pub fn note_growth(&self) {
        // Either this sees that the thread sleeps, or the thread sees that the log has grown.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Acquire) && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// CONFIG SET changed something. `appendfsync always` is in force with its reply; the rest is the thread's.
    pub(crate) fn settings_changed(&self, engine: &Engine, config: &ConfigStore) {
        // The thread lets go of what waited.
        let _ = self.decide(engine, config, |_| {});
        self.wake();
    }

    /// Several times a second: where the disk hangs with `everysec`, replies wait for it after a while, so that no more
    /// than two seconds are acknowledged that are not on it (Redis holds everything up then).
    pub(crate) fn watch(&self, engine: &Engine, config: &ConfigStore, now: Millis) {
        let hangs = |holds: &Holds| holds.busy_since.is_some_and(|since| now.since(since) >= HANGS_MS);
        if hangs(&self.holds.lock()) {
            let _ = self.decide(engine, config, |holds| holds.stalled = hangs(holds));
        }
    }

    /// Changes what decides whether replies wait for the disk, and decides: one after the other, so that the last one
    /// knows all. True: replies do not wait any more.
    fn decide(&self, engine: &Engine, config: &ConfigStore, change: impl FnOnce(&mut Holds)) -> bool {
        let mut holds = self.holds.lock();
        change(&mut holds);
        let settings = config.settings();
        engine.durability().set_on(settings.appendonly);
        let durability = engine.durability();
        let (policy, before) = (settings.appendfsync, durability.holds());
        durability.set_promises(holds.promises && policy != Fsync::No);
        let waits = || holds.wait(policy, engine.log());
        durability.set_holds(waits());
        // The log may have begun anew just now, and said so before this.
        if !durability.holds() && waits() {
            durability.set_holds(true);
        }
        before && !durability.holds()
    }

    fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }
}

/// Loads what there is, on a thread of its own if there is something, and starts the thread that writes. `is_replica`:
/// nodes.conf says so.
///
/// # Errors
/// The system has no more threads.
pub fn load(node: &Arc<Node>, plan: Plan, is_replica: bool) -> anyhow::Result<()> {
    if !plan.has_data() {
        return begin(node, plan.load(node)?, is_replica);
    }
    let node = Arc::clone(node);
    let work = move || {
        let _guard = Guard(Arc::clone(&node));
        let loaded = plan.load(&node).and_then(|found| match node.loading.all_is_read() {
            true => begin(&node, found, is_replica),
            false => anyhow::bail!("the process leaves"),
        });
        match loaded {
            Ok(()) => tracing::info!("{READY}"),
            Err(_) if node.loading.is_given_up() => {}
            Err(error) => {
                let message = format!("Fatal error loading the DB: {error:#}");
                node.shutdown.request(shutdown::Request::Fatal(message));
            }
        }
    };
    std::thread::Builder::new().name("load".into()).spawn(work)?;
    Ok(())
}

/// Nobody waits for a load that has ended by a panic.
struct Guard(Arc<Node>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the thread that loads the data has ended by a panic";
            self.0.shutdown.request(shutdown::Request::Fatal(message.into()));
        }
    }
}

/// From here on the log grows, and is written: in this order, so that nothing is in the log that no file has.
fn begin(node: &Arc<Node>, found: Found, is_replica: bool) -> anyhow::Result<()> {
    begin_history(&node.engine, &found, is_replica || node.engine.is_replica())?;
    start_keeper(node, found)?;
    // The bus thread and the link to the master look at the first, clients' commands at the second: what these ask of the
    // others comes behind it.
    node.loading.end();
    node.engine.set_loading_files(false);
    Ok(())
}

/// The log goes on where the files end. A master's replicas may have more of the old history than the files: it goes on
/// under a new name, and only what is older than that is shared (Redis: loadDataFromDisk).
fn begin_history(engine: &Engine, found: &Found, is_replica: bool) -> anyhow::Result<()> {
    if let Some((replid, offset)) = &found.history {
        engine.log().restart(engine.durability(), replid.clone(), *offset, found.stream_db);
        if !is_replica {
            engine.promote(start::random_id()?.to_string());
        }
    }
    Ok(())
}

fn start_keeper(node: &Arc<Node>, found: Found) -> std::io::Result<()> {
    let handle = &node.persistence;
    let Some(requests) = handle.receiver.lock().take() else { return Ok(()) };
    let keeper = keeper::Keeper::new(Arc::clone(node), requests, found);
    let thread = std::thread::Builder::new().name("persistence".into()).spawn(move || keeper.run())?;
    *handle.thread.lock() = Some(thread.thread().clone());
    Ok(())
}
