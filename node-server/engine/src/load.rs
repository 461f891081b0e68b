//! An RDB stream is read, of a full sync or of a file: into tables of its own, which take the place of the data at the
//! end, together with the log's new history. A stream that breaks off changes nothing.

use crate::Engine;
use crate::functions::{Arriving, LIBRARIES_LEN_MAX};
use crate::keyspace::{Table, Value};
use crate::log::NO_REPLID;
use node_server_protocol::{Millis, SLOT_COUNT, Slot, key_slot};
use node_server_rdb as rdb;
use std::sync::Arc;

/// Why a stream was not loaded. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no RDB that this release reads.
    #[error("cannot load the data: {0}")]
    Rdb(rdb::RdbError),
    /// More databases than there are here.
    #[error("the data names database {0}, and there are {1} here")]
    Database(u64, u16),
    /// Function libraries beyond what is kept.
    #[error("the function libraries of the data have more than {LIBRARIES_LEN_MAX} bytes")]
    Libraries,
    /// Keys of an import of slots that was under way when Valkey wrote the data: only it can tell whether they count.
    #[error(
        "the data was written while slots were being imported (SLOT_IMPORT, job {job}) and holds keys that may not \
         count: let the import end at the server that wrote it, and take its data again"
    )]
    SlotImport {
        /// The name of the import, as far as it is text.
        job: String,
    },
    /// [`Loader::commit`] before the end.
    #[error("the data breaks off before its end")]
    Unfinished,
}

/// Not as a source: the text has it already.
impl From<rdb::RdbError> for LoadError {
    fn from(error: rdb::RdbError) -> Self {
        Self::Rdb(error)
    }
}

/// How far [`Loader::step`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key has been read.
    Key,
    /// It needs more bytes.
    Hungry,
    /// The stream has ended.
    Ended,
}

/// Reads a stream; see [`Engine::begin_load`].
pub struct Loader {
    engine: Arc<Engine>,
    reader: rdb::Reader,
    tables: Vec<Table>,
    db: u16,
    clock_s: u32,
    keys: u64,
    ended: bool,
    replid: Option<String>,
    offset: Option<u64>,
    /// `repl-stream-db`: the database in which the stream behind the data goes on.
    stream_db: u16,
    libraries: Arriving,
}

impl Engine {
    /// Begins to load the data of a master. Commands are refused with LOADING until it ends if there is no data to
    /// serve meanwhile.
    #[must_use]
    pub fn begin_load(self: &Arc<Self>, now: Millis) -> Loader {
        self.set_loading(self.keyspace.is_empty());
        Loader {
            engine: Arc::clone(self),
            reader: if self.checks_rdb() {
                rdb::Reader::new()
            } else {
                rdb::Reader::new().without_checksum()
            },
            tables: (0..SLOT_COUNT).map(|_| Table::default()).collect(),
            db: 0,
            clock_s: (now.0 / 1000) as u32,
            keys: 0,
            ended: false,
            replid: None,
            offset: None,
            stream_db: 0,
            libraries: Arriving::default(),
        }
    }
}

impl Loader {
    /// More of the stream; true when it has ended.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, LoadError> {
        self.push(bytes);
        while self.step()? == Step::Key {}
        Ok(self.ended)
    }

    /// More of the stream, for [`Loader::step`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// Reads up to the next key, for those who do something between two.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn step(&mut self) -> Result<Step, LoadError> {
        while let Some(item) = self.reader.next_item()? {
            match item {
                rdb::Item::Select(db) => {
                    let databases = self.engine.databases();
                    let known = u16::try_from(db).ok().filter(|db| *db < databases);
                    self.db = known.ok_or(LoadError::Database(db, databases))?;
                }
                rdb::Item::Key { key, value, expire_at } => {
                    self.insert(&key, value, expire_at.map(Millis));
                    return Ok(Step::Key);
                }
                rdb::Item::End => self.ended = true,
                rdb::Item::SlotImport { job, .. } => {
                    return Err(LoadError::SlotImport { job: String::from_utf8_lossy(&job).into_owned() });
                }
                rdb::Item::Function(text) => self.libraries.add(text)?,
                rdb::Item::Aux { name, value } => self.note(&name, &value)?,
            }
        }
        Ok(if self.ended { Step::Ended } else { Step::Hungry })
    }

    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let text = std::str::from_utf8(value).ok();
        match name {
            b"repl-id" => self.replid = text.filter(|id| id.len() == NO_REPLID.len()).map(str::to_owned),
            b"repl-offset" => self.offset = text.and_then(|offset| offset.parse().ok()),
            b"repl-stream-db" => {
                // -1: the stream begins with SELECT.
                let db = text.and_then(|db| db.parse::<i64>().ok()).map_or(0, |db| db.max(0).unsigned_abs());
                let databases = self.engine.databases();
                let known = u16::try_from(db).ok().filter(|db| *db < databases);
                self.stream_db = known.ok_or(LoadError::Database(db, databases))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What was fed behind the end of the stream.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.reader).into_rest()
    }

    /// The history and the offset that the stream says it shows, if it does.
    #[must_use]
    pub fn history(&self) -> Option<(&str, u64)> {
        self.replid.as_deref().zip(self.offset)
    }

    /// The database that the log behind the data goes on in.
    #[must_use]
    pub fn stream_db(&self) -> u16 {
        self.stream_db
    }

    fn insert(&mut self, key: &[u8], value: rdb::Value, expire_at: Option<Millis>) {
        let slot = if self.engine.is_cluster() { Some(key_slot(key)) } else { Slot::new(self.db) };
        if let Some(table) = slot.and_then(|slot| self.tables.get_mut(slot.index())) {
            self.keys += u64::from(table.insert(
                self.engine.keyspace.hasher(),
                key,
                Value::from(value).into(),
                expire_at,
                self.clock_s,
            ));
        }
    }

    /// How many function libraries there are, which this version keeps and does not run.
    #[must_use]
    pub fn libraries(&self) -> usize {
        self.libraries.count()
    }

    /// Keys that were passed over because their value was an empty collection: the names since this was last asked, and
    /// how many there were in all.
    pub fn take_empty_keys(&mut self) -> (Vec<Vec<u8>>, u64) {
        (self.reader.take_empty_names(), self.reader.empty_keys())
    }

    /// How many keys have been read.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Puts the loaded data in the place of the old, slot by slot, and restarts the log at the master's `offset` in
    /// the history `replid`. Waits for slots: not on a data thread.
    ///
    /// # Errors
    /// The stream has not ended.
    pub fn commit(mut self, replid: &str, offset: u64) -> Result<u64, LoadError> {
        let engine = Arc::clone(&self.engine);
        // A snapshot that began now would show a part of it, at an offset of the old history.
        let _no_snapshot = engine.gate.exclude_barriers();
        self.put_in_place()?;
        engine.restart_log(replid.to_owned(), offset, self.stream_db);
        self.engine.clear_full_resync();
        Ok(self.keys)
    }

    /// The same for a file: the log stays as it is.
    ///
    /// # Errors
    /// The stream has not ended.
    pub fn commit_file(mut self) -> Result<u64, LoadError> {
        self.put_in_place()?;
        Ok(self.keys)
    }

    fn put_in_place(&mut self) -> Result<(), LoadError> {
        if !self.ended {
            return Err(LoadError::Unfinished);
        }
        self.engine.functions.replace(self.libraries.take());
        let mut old = Vec::new();
        for (slot, table) in Slot::all().zip(std::mem::take(&mut self.tables)) {
            let mut guard = self.engine.keyspace.lock(slot);
            if guard.table().is_none() && table.is_empty() {
                continue;
            }
            let content = guard.table_to_write();
            content.touched_all();
            content.clear_moves();
            old.push(std::mem::replace(&mut content.keys, table));
            guard.wake_leaving();
        }
        Ok(())
    }
}

impl Engine {
    /// The log of the history `restarts` is on the disk up to `offset`; of no interest if it is another one by now, whose
    /// offsets may be smaller: a replica would tell its master that it has on its disk what it has not.
    pub fn set_synced_of(&self, restarts: u64, offset: u64) {
        self.log.on_disk(&self.durability, restarts, offset);
    }

    /// The data belongs to another history from now on, whose offsets may be smaller: what is known of the old one's
    /// says nothing about them.
    pub(crate) fn restart_log(&self, replid: String, offset: u64, db: u16) {
        Slot::all().for_each(|slot| self.keyspace.set_logged(slot, 0));
        self.log.restart(&self.durability, replid, offset, db);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.engine.set_loading(false);
    }
}
