//! Snapshots without fork (rules 7 and 8): the data as it was at one log offset, slot after slot, as an RDB stream. A
//! writer that touches a slot which the snapshot has not passed yet hands over that slot's old content first.

use crate::Engine;
use crate::keyspace::Table;
use crate::log::{Pin, Standing};
use node_server_protocol::{Millis, SLOT_COUNT, Slot};
use node_server_rdb::{Dialect, Form, RdbError, Writer};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A slot with more bytes is not compressed: its clients wait meanwhile, and that takes some milliseconds a megabyte.
const COMPRESSED_SLOT_MAX: usize = 1 << 20;

/// The snapshot under way, if any, as writers see it.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    active: AtomicBool,
    generation: AtomicU64,
    handed: Mutex<Option<Arc<Handed>>>,
}

/// Old contents of slots, handed over by writers. At most one for each slot, so it is bounded by the data set.
#[derive(Debug)]
struct Handed {
    slots: Mutex<VecDeque<(Slot, Encoded)>>,
    form: Form,
}

type Encoded = Result<Vec<u8>, RdbError>;

impl Snapshots {
    /// The number of the last snapshot; a slot with this number is not needed by it any more.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Whether one is under way.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// A writer is about to change a slot it has locked and that the snapshot does not have: it gets the old content.
    pub(crate) fn hand_over(&self, slot: Slot, keys: &Table) {
        if keys.is_empty() {
            return;
        }
        // No lock is held meanwhile: the snapshot and writers of other slots would wait.
        let handed = self.handed.lock().as_ref().map(Arc::clone);
        if let Some(handed) = handed {
            // Nor is anything compressed: a client waits for this.
            let content = encode(keys, Form { compress: false, ..handed.form });
            handed.slots.lock().push_back((slot, content));
        }
    }
}

/// All keys of a slot as RDB.
fn encode(table: &Table, form: Form) -> Encoded {
    let mut out = Vec::with_capacity(table.bytes());
    for entry in table.iter() {
        entry.value().put_rdb(&mut out, entry.key(), entry.expire_at().map(|at| at.0), form)?;
    }
    Ok(out)
}

/// Why no snapshot could begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Only one at a time.
    #[error("another snapshot is under way; begin again when it has ended")]
    UnderWay,
    /// A write is under way.
    #[error("a write is still under way; try again in a millisecond")]
    Busy,
}

/// What [`Snapshot::next_chunk`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// More of the stream.
    Bytes(Vec<u8>),
    /// The slots that are left are all locked: try again in a while.
    Busy,
    /// A value cannot be written, so there is no stream.
    Failed(RdbError),
    /// The stream is complete.
    End,
}

/// A snapshot under way. Dropping it gives it up.
pub struct Snapshot {
    engine: Arc<Engine>,
    /// The log's end at the moment that the snapshot shows.
    pub offset: u64,
    /// The history that the offset belongs to.
    pub replid: String,
    /// How often the log had begun anew then ([`crate::log::Standing`]).
    pub restarts: u64,
    /// The database that is selected there in the log.
    pub stream_db: u16,
    /// Keeps the log from there on, for whoever continues to read it at `offset`.
    pub pin: Option<Pin>,
    generation: u64,
    handed: Arc<Handed>,
    /// Slots that have not been looked at, the next last.
    left: Vec<Slot>,
    writer: Writer,
    selected: Option<u16>,
    finished: bool,
}

impl Engine {
    /// Begins a snapshot: the data at the present end of the log, which is in [`Snapshot::offset`]. The log's next
    /// record begins with SELECT. It is for every reader, unless a field of a hash expires: then for those of `newer`.
    ///
    /// # Errors
    /// One is under way, or a write is: try again.
    pub fn begin_snapshot(self: &Arc<Self>, now: Millis, newer: Dialect) -> Result<Snapshot, SnapshotError> {
        let snapshots = &self.keyspace.snapshots;
        // Nobody's writes are held up for nothing.
        if snapshots.is_active() {
            return Err(SnapshotError::UnderWay);
        }
        let barrier = self.try_barrier().ok_or(SnapshotError::Busy)?;
        let dialect = if self.keyspace.has_field_expiry() { newer } else { Dialect::Plain };
        let form = Form { dialect, compress: self.compresses_rdb() };
        let (generation, handed) = snapshots.begin(form).ok_or(SnapshotError::UnderWay)?;
        // Together: behind the barrier the log may get another history.
        let Standing { end: offset, replid, restarts, db } = self.log.standing();
        let pin = Some(self.log.pin(offset));
        self.log.forget_selected();
        let libraries = self.functions.all();
        drop(barrier);
        let mut writer = Writer::new(dialect);
        if !self.checks_rdb() {
            writer = writer.without_checksum();
        }
        writer.aux("redis-ver", &self.options.version);
        writer.aux("redis-bits", "64");
        writer.aux("ctime", &(now.0 / 1000).to_string());
        writer.aux("used-mem", &self.keyspace.bytes().to_string());
        // A replica's log goes on in the master's words, without another SELECT.
        writer.aux("repl-stream-db", &db.to_string());
        writer.aux("repl-id", &replid);
        writer.aux("repl-offset", &offset.to_string());
        writer.aux("aof-base", "0");
        for text in libraries.iter() {
            writer.function(text);
        }
        let left = (0..SLOT_COUNT.min(self.slots())).rev().filter_map(Slot::new).collect();
        let engine = Arc::clone(self);
        Ok(Snapshot {
            engine,
            offset,
            replid,
            restarts,
            stream_db: db,
            pin,
            generation,
            handed,
            left,
            writer,
            selected: None,
            finished: false,
        })
    }
}

impl Snapshot {
    /// The next piece of the RDB stream, of about `size` bytes, or as long as the slot that ends it. Takes one slot at
    /// a time, and none that is locked.
    pub fn next_chunk(&mut self, size: usize) -> Chunk {
        let mut busy = Vec::new();
        while self.writer.pending() < size {
            let handed = self.handed.slots.lock().pop_front();
            let put = if let Some((slot, keys)) = handed {
                self.put(slot, keys)
            } else if let Some(slot) = self.left.pop() {
                self.take(slot).map(|taken| {
                    if !taken {
                        busy.push(slot)
                    }
                })
            } else {
                break;
            };
            if let Err(error) = put {
                return Chunk::Failed(error);
            }
        }
        let is_full = self.writer.pending() >= size;
        let some_busy = !busy.is_empty();
        self.left.extend(busy.into_iter().rev());
        // Once every slot has been taken, no writer hands over anything.
        if !is_full && !some_busy && !self.finished {
            self.finish();
        }
        match self.writer.pending() {
            0 if self.finished => Chunk::End,
            0 => Chunk::Busy,
            _ => Chunk::Bytes(self.writer.take()),
        }
    }

    /// Saves a slot, if nobody has its lock.
    fn take(&mut self, slot: Slot) -> Result<bool, RdbError> {
        let engine = Arc::clone(&self.engine);
        if engine.keyspace.slot_len(slot) == 0
            && engine.keyspace.try_lock(slot).is_some_and(|g| g.table().is_none())
        {
            return Ok(true);
        }
        let Some(guard) = engine.keyspace.try_lock(slot) else { return Ok(false) };
        let keys = match guard.table().filter(|_| !guard.is_saved_by(self.generation)) {
            Some(table) => {
                guard.set_saved_by(self.generation);
                let compress = self.handed.form.compress && table.keys.bytes() <= COMPRESSED_SLOT_MAX;
                encode(&table.keys, Form { compress, ..self.handed.form })
            }
            None => Ok(Vec::new()),
        };
        drop(guard);
        self.put(slot, keys)?;
        Ok(true)
    }

    fn put(&mut self, slot: Slot, keys: Encoded) -> Result<(), RdbError> {
        let keys = keys?;
        if keys.is_empty() {
            return Ok(());
        }
        let db = if self.engine.is_cluster() { 0 } else { slot.number() };
        if self.selected != Some(db) {
            self.selected = Some(db);
            self.writer.select(u64::from(db));
        }
        self.writer.keys(&keys);
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
        self.writer.finish();
        self.engine.keyspace.snapshots.end(&self.handed);
    }
}

impl Snapshots {
    /// Behind a barrier: `None` if another one has begun before it. What is handed over is the one truth about whether
    /// one is under way; `active` only spares writers its lock.
    fn begin(&self, form: Form) -> Option<(u64, Arc<Handed>)> {
        let mut current = self.handed.lock();
        if current.is_some() {
            return None;
        }
        let handed = Arc::new(Handed { slots: Mutex::default(), form });
        *current = Some(Arc::clone(&handed));
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.active.store(true, Ordering::SeqCst);
        Some((generation, handed))
    }

    /// Ends the one that `handed` belongs to; nothing if another one is under way by now.
    fn end(&self, handed: &Arc<Handed>) {
        let mut current = self.handed.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, handed)) {
            self.active.store(false, Ordering::SeqCst);
            *current = None;
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.engine.keyspace.snapshots.end(&self.handed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { dialect: Dialect::Plain, compress: false };

    /// The end of one took what writers hand over away from the next, or two began and the first showed two moments.
    #[test]
    fn one_at_a_time_and_a_late_end_leaves_the_next_one_alone() {
        let snapshots = Snapshots::default();
        let (first, handed) = snapshots.begin(FORM).unwrap();
        assert!(snapshots.begin(FORM).is_none());
        snapshots.end(&handed);
        let (second, next) = snapshots.begin(FORM).unwrap();
        assert!(first < second);
        snapshots.end(&handed);
        assert!(snapshots.is_active() && snapshots.begin(FORM).is_none());
        snapshots.end(&next);
        assert!(!snapshots.is_active() && snapshots.begin(FORM).is_some());
    }
}
