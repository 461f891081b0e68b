//! The one ordered log (rule 4): every effect in the order in which it took place, as RESP commands. The replication
//! stream is these bytes; the backlog is its tail. Offsets count bytes since the beginning of the history, so an offset
//! is what Redis calls `master_repl_offset`: the number of bytes before it.

mod history;
mod skips;
#[cfg(test)]
mod tests;

pub use history::{History, NO_REPLID};

use crate::durability::Durability;
use crate::options::{BACKLOG_MIN, LOG_PIN_MAX};
use node_server_protocol::resp::put_number;
use parking_lot::Mutex;
use skips::Skips;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keeps bytes of the log from being trimmed while it lives; see [`Log::pin`].
#[derive(Debug)]
pub struct Pin {
    inner: Arc<Mutex<Inner>>,
    id: u64,
}

/// From where on a pin keeps the log.
#[derive(Clone, Copy, Debug)]
struct Pinned {
    from: u64,
    /// The append-only file's: no other node waits for these bytes.
    by_file: bool,
}

impl Pin {
    /// It is the append-only file's, which does not keep the backlog awake.
    #[must_use]
    pub fn for_file(self) -> Self {
        if let Some(pinned) = self.inner.lock().pins.get_mut(&self.id) {
            pinned.by_file = true;
        }
        self
    }

    /// What is before `offset` is not needed any more.
    pub fn advance(&self, offset: u64) {
        let mut inner = self.inner.lock();
        if let Some(pinned) = inner.pins.get_mut(&self.id) {
            pinned.from = offset;
        }
        inner.trim();
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut inner = self.inner.lock();
        inner.pins.remove(&self.id);
        inner.trim();
    }
}

/// The bytes are no longer in the backlog: the reader needs a full sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log offset {wanted} is not in the backlog, which has {start} to {end}; start a full sync")]
pub struct NotInBacklog {
    /// What was asked for.
    pub wanted: u64,
    /// First offset there is.
    pub start: u64,
    /// End of the log.
    pub end: u64,
}

/// Where the log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its end.
    pub end: u64,
    /// The history that the end belongs to.
    pub replid: String,
    /// How often another history has taken the place of its content.
    pub restarts: u64,
    /// The database that is selected there, for a reader that goes on from it.
    pub db: u16,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    inner: Arc<Mutex<Inner>>,
    end: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    tail: VecDeque<u8>,
    start: u64,
    capacity: usize,
    history: History,
    /// The database of the last record; `None`: the next record begins with SELECT.
    selected: Option<u16>,
    /// The database that a reader of everything so far has selected; see [`Log::database`].
    db: u16,
    /// Nothing is kept: see [`Log::sleep`].
    asleep: bool,
    pins: BTreeMap<u64, Pinned>,
    next_pin: u64,
    skips: Skips,
    /// How often [`Log::restart`] was called.
    restarts: u64,
}

impl Inner {
    fn end(&self) -> u64 {
        self.start + self.tail.len() as u64
    }

    /// A record that the append-only file does not have.
    fn append_skipped(&mut self, record: &[u8]) {
        self.skips.add(self.end(), record.len());
        self.append(record);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        self.trim();
    }

    fn read(&self, offset: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, NotInBacklog> {
        let to = self.end().min(offset.saturating_add(max as u64));
        self.copy(offset, to, out)?;
        Ok((to - offset) as usize)
    }

    fn read_for_file(&self, offset: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, NotInBacklog> {
        let to = self.end().min(offset.saturating_add(max as u64));
        let mut from = offset;
        for (start, end) in self.skips.between(offset, to) {
            self.copy(from, start.max(from), out)?;
            from = end.min(to);
        }
        self.copy(from, to, out)?;
        Ok((to - offset) as usize)
    }

    fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) -> Result<(), NotInBacklog> {
        if from < self.start || from > to || to > self.end() {
            return Err(NotInBacklog { wanted: from, start: self.start, end: self.end() });
        }
        let (from, to) = ((from - self.start) as usize, (to - self.start) as usize);
        let (front, back) = self.tail.as_slices();
        out.extend_from_slice(&front[from.min(front.len())..to.min(front.len())]);
        out.extend_from_slice(&back[from.saturating_sub(front.len())..to.saturating_sub(front.len())]);
        Ok(())
    }

    /// Drops what is older than the backlog and not pinned; a pin holds at most [`LOG_PIN_MAX`].
    fn trim(&mut self) {
        let capacity = if self.asleep { 0 } else { self.capacity };
        let keep_from = self.end().saturating_sub(capacity as u64);
        let oldest = self.end().saturating_sub(LOG_PIN_MAX.max(self.capacity) as u64);
        let pinned = self.pins.values().map(|pinned| pinned.from).min().unwrap_or(u64::MAX);
        let from = keep_from.min(pinned.max(oldest));
        if from > self.start {
            self.tail.drain(..(from - self.start) as usize);
            self.start = from;
            self.skips.trim(from);
        }
    }
}

impl Log {
    /// An empty log at offset 0.
    #[must_use]
    pub fn new(replid: String, capacity: usize) -> Self {
        let inner = Inner {
            tail: VecDeque::new(),
            start: 0,
            capacity: capacity.max(BACKLOG_MIN),
            history: History::new(replid),
            selected: None,
            db: 0,
            asleep: false,
            pins: BTreeMap::new(),
            next_pin: 0,
            skips: Skips::default(),
            restarts: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)), end: AtomicU64::new(0) }
    }

    /// Appends records that belong to database `db`, if `allowed` says so while nobody else can append. Returns the
    /// offset behind them.
    pub(crate) fn append(&self, records: &[u8], db: u16, allowed: impl FnOnce() -> bool) -> Option<u64> {
        self.append_across(records, db, db, allowed)
    }

    /// As [`Log::append`], for records that begin in one database and end in another.
    pub(crate) fn append_across(
        &self,
        records: &[u8],
        db: u16,
        last: u16,
        allowed: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let mut inner = self.inner.lock();
        if !allowed() {
            return None;
        }
        if inner.selected != Some(db) {
            let mut select = Vec::with_capacity(32);
            put_command(&mut select, &[b"SELECT", db.to_string().as_bytes()]);
            inner.append(&select);
        }
        inner.append(records);
        inner.selected = Some(last);
        inner.db = last;
        Some(self.publish(&inner))
    }

    /// Appends a record that belongs to no database (PING, REPLCONF GETACK, CLUSTER SETSLOT).
    pub(crate) fn append_plain(&self, record: &[u8], allowed: impl FnOnce() -> bool) -> Option<u64> {
        let mut inner = self.inner.lock();
        if !allowed() {
            return None;
        }
        inner.append_skipped(record);
        Some(self.publish(&inner))
    }

    /// On a replica: appends the master's bytes as they are; `db` is selected behind them. `allowed` as for
    /// [`Log::append`].
    pub(crate) fn append_verbatim(
        &self,
        bytes: &[u8],
        db: u16,
        allowed: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let mut inner = self.inner.lock();
        if !allowed() {
            return None;
        }
        inner.append(bytes);
        inner.db = db;
        Some(self.publish(&inner))
    }

    fn publish(&self, inner: &Inner) -> u64 {
        let end = inner.end();
        self.end.store(end, Ordering::Release);
        end
    }

    /// The end: `master_repl_offset`.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The end, behind everything that is being appended at this moment.
    #[must_use]
    pub fn settled_end(&self) -> u64 {
        self.inner.lock().end()
    }

    /// First offset in the backlog and how many bytes it has.
    #[must_use]
    pub fn backlog(&self) -> (u64, usize) {
        let inner = self.inner.lock();
        (inner.start, inner.tail.len())
    }

    /// Size to which the backlog is trimmed, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.lock().capacity
    }

    /// `CONFIG SET repl-backlog-size`.
    pub fn set_capacity(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.capacity = bytes.max(BACKLOG_MIN);
        inner.trim();
    }

    /// `repl-backlog-ttl`: nobody has read for long. What is kept is given up, and so is everything that comes until
    /// [`Log::wake`]; offsets go on. The history gets a new name, so that nobody continues where something is missing.
    /// What the append-only file has not written yet is kept until it has. False: somebody else reads.
    pub fn sleep(&self, replid: String) -> bool {
        let mut inner = self.inner.lock();
        if inner.pins.values().any(|pinned| !pinned.by_file) {
            return false;
        }
        inner.history = History::new(replid);
        inner.selected = None;
        inner.asleep = true;
        inner.trim();
        inner.tail.shrink_to_fit();
        true
    }

    /// Somebody is about to read: what comes from now on is kept.
    pub fn wake(&self) {
        self.inner.lock().asleep = false;
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.inner.lock().asleep
    }

    /// Appends up to `max` bytes from `offset` on to `out`; returns how many.
    ///
    /// # Errors
    /// They are trimmed already, or `offset` is behind the end.
    pub fn read_from(&self, offset: u64, max: usize, out: &mut Vec<u8>) -> Result<usize, NotInBacklog> {
        self.inner.lock().read(offset, max, out)
    }

    /// As [`Log::read_from`], not across a restart: `None` when the log has been restarted more than `restarts` times.
    ///
    /// # Errors
    /// As [`Log::read_from`].
    pub fn read_until_restart(
        &self,
        restarts: u64,
        offset: u64,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, NotInBacklog> {
        self.in_history(restarts, |inner| inner.read(offset, max, out)).transpose()
    }

    /// As [`Log::read_from`], without the records that concern no key, and not across a restart: `None` when the log
    /// has been restarted more than `restarts` times.
    ///
    /// # Errors
    /// As [`Log::read_from`].
    pub fn read_for_file(
        &self,
        restarts: u64,
        offset: u64,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, NotInBacklog> {
        self.in_history(restarts, |inner| inner.read_for_file(offset, max, out)).transpose()
    }

    /// Where the log stands: its end, its history, and how often it was restarted.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let inner = self.inner.lock();
        let replid = inner.history.replid.clone();
        Standing { end: inner.end(), replid, restarts: inner.restarts, db: inner.db }
    }

    /// The database that is selected at the end. A partial sync goes on in it without another SELECT, on both sides
    /// (Redis: cached_master's db; `repl-stream-db` in an RDB file).
    #[must_use]
    pub fn database(&self) -> u16 {
        self.inner.lock().db
    }

    /// How often another history has taken the place of its content ([`Standing::restarts`]).
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.inner.lock().restarts
    }

    /// Runs `f` unless another history has taken the place of the one of `restarts`; none does meanwhile.
    fn in_history<T>(&self, restarts: u64, f: impl FnOnce(&Inner) -> T) -> Option<T> {
        let inner = self.inner.lock();
        (inner.restarts == restarts).then(|| f(&inner))
    }

    /// The history of `restarts` is on the disk up to `offset`; of no interest if another one has taken its place, whose
    /// offsets may be smaller.
    pub(crate) fn on_disk(&self, durability: &Durability, restarts: u64, offset: u64) {
        self.in_history(restarts, |_| durability.set_synced(offset));
    }

    /// Keeps everything from `offset` on, at most [`LOG_PIN_MAX`] bytes, while the pin lives.
    #[must_use]
    pub fn pin(&self, offset: u64) -> Pin {
        let mut inner = self.inner.lock();
        inner.next_pin += 1;
        let id = inner.next_pin;
        inner.pins.insert(id, Pinned { from: offset, by_file: false });
        Pin { inner: Arc::clone(&self.inner), id }
    }

    /// The names of this history.
    #[must_use]
    pub fn history(&self) -> History {
        self.inner.lock().history.clone()
    }

    /// Where a replica that sent `PSYNC replid offset` may continue; `None`: it needs a full sync. Redis's rule
    /// (masterTryPartialResynchronization); `offset` counts from 1, as on the wire.
    #[must_use]
    pub fn continue_from(&self, replid: &[u8], offset: i64) -> Option<u64> {
        let inner = self.inner.lock();
        let from = u64::try_from(offset).ok()?.checked_sub(1)?;
        let known = inner.history.covers(replid, offset);
        (known && from >= inner.start && from <= inner.end()).then_some(from)
    }

    /// The next record begins with SELECT: a replica begins to read at the end.
    pub(crate) fn forget_selected(&self) {
        self.inner.lock().selected = None;
    }

    /// This replica is a master from now on: a new history begins here, and the old one is remembered for the others.
    pub(crate) fn promote(&self, replid: String) {
        let mut inner = self.inner.lock();
        let end = inner.end();
        inner.history.shift(replid, end);
        inner.selected = None;
    }

    /// The data is not what this history says: it has no name until there is other data.
    pub(crate) fn disown(&self) {
        self.inner.lock().history = History::new(NO_REPLID.into());
    }

    /// `+CONTINUE replid`: the master's history has another name, and goes on where this log ends.
    pub fn continue_as(&self, replid: &str) {
        let mut inner = self.inner.lock();
        if inner.history.replid != replid {
            let end = inner.end();
            inner.history.shift(replid.to_owned(), end);
        }
        inner.selected = None;
    }

    /// A full sync was loaded: the log is empty, at the master's `offset` in the history `replid`, where `db` is selected,
    /// and of it nothing is on the disk.
    pub fn restart(&self, durability: &Durability, replid: String, offset: u64, db: u16) {
        let mut inner = self.inner.lock();
        inner.tail.clear();
        inner.skips.clear();
        inner.restarts += 1;
        inner.start = offset;
        inner.history = History::new(replid);
        (inner.selected, inner.db) = (None, db);
        durability.begun_anew();
        self.publish(&inner);
    }
}

/// Appends one command as RESP.
pub fn put_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    put_head(out, b'*', args.len());
    for arg in args {
        put_head(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    put_number(out, n as i64);
    out.extend_from_slice(b"\r\n");
}
