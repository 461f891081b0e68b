//! The append-only file on the disk: plain functions that one thread drives. What stands in the files is
//! [`node_server_rdb::aof`]'s matter; when they are written and synced is the caller's.
//!
//! At a start: [`AppendOnly::open`], load the files in order, [`AppendOnly::resume`] with where the last one ends, and
//! [`AppendOnly::seal`] once, which says where the log stands. Then batches of `append`, `seal`, `sync`.

mod directory;
mod error;
mod increment;
mod layer;
mod rewrite;

#[cfg(test)]
pub(crate) mod crash_files;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use directory::Directory;
pub use error::AofError;
pub use layer::{FileLayer, RealFiles};
pub use rewrite::NewBase;

use increment::Increment;
use node_server_engine::log::put_command;
use node_server_rdb::aof::{BaseFormat, Manifest, Names, Replid, Resume, timestamp_line};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The append-only file, open for writing.
#[derive(Debug)]
pub struct AppendOnly<L: FileLayer> {
    layer: L,
    directory: Directory<L>,
    increment: Increment<L>,
    /// What the last seal said; a new increment begins with it, so that it is sealed from its first byte on and a
    /// reader sees that nothing is missing between two files.
    position: Option<(u64, Replid)>,
    /// Lengths of the files before the increment.
    others: BTreeMap<String, u64>,
    base_size: u64,
    rewriting: bool,
    /// The increment goes with a base that is not there yet: no manifest names it.
    unlisted: bool,
    /// Bytes in files before the increment may be lost in a crash, so nothing behind them may be said to be safe.
    gap: Option<String>,
    /// What the next file begins with: see [`AppendOnly::set_database`].
    database: u16,
    /// See [`AppendOnly::set_second`].
    second: Option<u64>,
    /// What the increment's last `#TS:` says.
    stamped: Option<u64>,
}

/// What an increment begins with.
#[derive(Clone, Copy, Debug)]
struct Begin {
    offset: u64,
    replid: Replid,
    database: u16,
    second: Option<u64>,
}

impl<L: FileLayer> AppendOnly<L> {
    /// Opens the directory and the last increment, made if there is none. Returns the files to load, in order; a new
    /// increment is not among them. If the last of them is an increment, [`AppendOnly::resume`] must be called before
    /// anything is appended.
    ///
    /// # Errors
    /// Those of [`Directory::open`].
    pub fn open(
        layer: L,
        dir: &Path,
        appenddirname: &str,
        names: Names,
    ) -> Result<(Self, Vec<PathBuf>), AofError> {
        let mut directory = Directory::open(layer.clone(), dir, appenddirname, names)?;
        let to_load = directory.manifest().to_load().map(|name| directory.file(name)).collect();
        let increment = match directory.manifest().incrs.last() {
            Some(last) => Increment::open(layer.clone(), directory.file(&last.name))?,
            None => next_increment(&layer, &mut directory, None)?,
        };
        // Later that can wait until something is said to be on the disk. Now a crash would leave data without manifest.
        directory.settle()?;
        let mut append_only = Self {
            layer,
            directory,
            increment,
            position: None,
            others: BTreeMap::new(),
            base_size: 0,
            rewriting: false,
            unlisted: false,
            gap: None,
            database: 0,
            second: None,
            stamped: None,
        };
        append_only.measure_others()?;
        append_only.base_size = append_only.size();
        Ok((append_only, to_load))
    }

    /// The files that make up the data set, in the order of loading.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.directory.manifest().to_load().map(|name| self.directory.file(name)).collect()
    }

    /// Whether this is the file that is written to.
    #[must_use]
    pub fn is_increment(&self, path: &Path) -> bool {
        self.increment.path() == path
    }

    /// The database that is selected where the next file begins: [`AppendOnly::begin_rewrite`],
    /// [`AppendOnly::begin_anew`]. A replica's log does not select it again.
    pub fn set_database(&mut self, database: u16) {
        self.database = database;
    }

    /// The Unix second at which what is appended next was asked for: a `#TS:` line says so where it is another than
    /// before (`aof-timestamp-enabled`). `None`: without such lines.
    pub fn set_second(&mut self, second: Option<u64>) {
        self.second = second;
    }

    /// The files are not loaded, because their data is not wanted: only a rewrite may follow.
    ///
    /// # Errors
    /// The system refused.
    pub fn leave_unloaded(&mut self) -> Result<(), AofError> {
        let len = self.increment.len();
        self.increment.resume(Resume { len, crc: node_server_rdb::aof::RunningCrc::new() })
    }

    /// The last file has been loaded up to here; what is behind it is cut off.
    ///
    /// # Errors
    /// The system refused.
    pub fn resume(&mut self, resume: Resume) -> Result<(), AofError> {
        self.increment.resume(resume)
    }

    /// Appends whole commands. After an error nothing of them counts; they can be tried again.
    ///
    /// # Errors
    /// The system refused; [`AofError::Poisoned`] until a rewrite has begun.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), AofError> {
        // Behind a seal only, so that a file that is cut at such a line is sealed to its end.
        if let Some(second) = self.second
            && self.increment.unsealed() == 0
            && self.stamped.is_none_or(|stamped| stamped < second)
        {
            self.increment.append(&timestamp_line(second))?;
            self.stamped = Some(second);
        }
        self.increment.append(bytes)
    }

    /// Seals what was appended: the log stands at `offset` in the history `replid`. Must stand between two commands.
    ///
    /// # Errors
    /// As [`AppendOnly::append`]; what was appended counts and is not sealed.
    pub fn seal(&mut self, offset: u64, replid: &Replid) -> Result<(), AofError> {
        self.increment.seal(offset, replid)?;
        self.position = Some((offset, *replid));
        Ok(())
    }

    /// Makes everything that was appended survive a crash.
    ///
    /// # Errors
    /// It is not certain that it would. An error of the disk stays until a rewrite is finished, because the kernel says
    /// only once that bytes were lost.
    pub fn sync(&mut self) -> Result<(), AofError> {
        if self.unlisted {
            return Err(AofError::NoBase { path: self.increment.path().to_owned() });
        }
        self.increment.sync()?;
        self.directory.settle()?;
        match &self.gap {
            None => Ok(()),
            Some(reason) => {
                let path = self.increment.path().to_owned();
                Err(AofError::Poisoned { path, reason: reason.clone() })
            }
        }
    }

    /// Length of all files of the data set: `aof_current_size`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.others.values().sum::<u64>() + self.increment.len()
    }

    /// What that was at the start or after the last rewrite: `aof_base_size`.
    #[must_use]
    pub fn base_size(&self) -> u64 {
        self.base_size
    }

    /// What makes up the data set.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.directory.manifest()
    }

    /// Everything from here on goes to a new increment; the base that is returned is to hold everything before. This
    /// is also how a file that is poisoned is left behind.
    ///
    /// # Errors
    /// The system refused, something is not sealed, or a rewrite is under way. Writing goes on, in the old increment
    /// or already in the new one.
    pub fn begin_rewrite(&mut self) -> Result<NewBase<L>, AofError> {
        if self.rewriting {
            return Err(AofError::Rewriting { path: self.increment.path().to_owned() });
        }
        if self.unlisted {
            return Err(AofError::NoBase { path: self.increment.path().to_owned() });
        }
        self.directory.make_again()?;
        self.leave_increment()?;
        let begin = self.begin(self.position);
        let next = next_increment(&self.layer, &mut self.directory, begin)?;
        self.increment = next;
        self.stamped = begin.and_then(|begin| begin.second);
        self.measure_others()?;
        self.new_base(self.directory.manifest().last_incr_seq())
    }

    /// The files do not lead to what is to be written next, because the data has become another or a part was lost: as
    /// [`AppendOnly::begin_rewrite`], but until the end of the rewrite what was before counts, alone. The log stands
    /// at `position`.
    ///
    /// # Errors
    /// The system refused, or a rewrite is under way. Nothing can be appended then before another try.
    pub fn begin_anew(&mut self, position: Option<(u64, Replid)>) -> Result<NewBase<L>, AofError> {
        if self.rewriting {
            return Err(AofError::Rewriting { path: self.increment.path().to_owned() });
        }
        self.directory.make_again()?;
        let manifest = self.directory.manifest().with_next_incr(self.directory.names());
        let path = self.directory.file(&self.directory.names().incr(manifest.last_incr_seq()));
        let mut increment = Increment::create(self.layer.clone(), path)?;
        let begin = self.begin(position);
        if let Some(begin) = begin {
            begin_increment(&mut increment, begin)?;
        }
        self.increment = increment;
        self.stamped = begin.and_then(|begin| begin.second);
        self.position = position;
        self.unlisted = true;
        self.measure_others()?;
        self.new_base(manifest.last_incr_seq())
    }

    fn begin(&self, position: Option<(u64, Replid)>) -> Option<Begin> {
        let (offset, replid) = position?;
        Some(Begin { offset, replid, database: self.database, second: self.second })
    }

    fn new_base(&mut self, first: u64) -> Result<NewBase<L>, AofError> {
        let names = self.directory.names();
        let entry = self.directory.manifest().next_base(names, BaseFormat::Rdb);
        let temporary = self.directory.temporary(&entry.name);
        let base = NewBase::create(self.layer.clone(), temporary, entry, first)?;
        self.rewriting = true;
        Ok(base)
    }

    /// The base is complete: it takes the place of what was before, which becomes history.
    ///
    /// # Errors
    /// The system refused; what was before still counts. The rewrite has ended in either case.
    pub fn finish_rewrite(&mut self, mut base: NewBase<L>) -> Result<(), AofError> {
        self.rewriting = false;
        let path = self.directory.file(&base.entry.name);
        let mut before = self.directory.manifest().clone();
        let mut written = Ok(());
        if self.unlisted {
            before = before.with_next_incr(self.directory.names());
            written = self.increment.sync();
        }
        if let Err(error) = written.and_then(|()| base.sync()).and_then(|()| base.rename_to(&path)) {
            base.discard();
            return Err(error);
        }
        self.directory.sync()?;
        self.directory.store(before.with_rewritten(base.entry, base.first))?;
        self.unlisted = false;
        self.gap = None;
        self.measure_others()?;
        self.base_size = self.size();
        Ok(())
    }

    /// The base will not be completed; everything is as before, with one more increment, or one that does not count
    /// ([`AppendOnly::begin_anew`]).
    pub fn abandon_rewrite(&mut self, base: NewBase<L>) {
        self.rewriting = false;
        base.discard();
    }

    /// The same when the base has gone with the thread that wrote it: the next one takes the place of what it left.
    pub fn rewrite_lost(&mut self) {
        self.rewriting = false;
    }

    /// Removes the files that a rewrite has made history, and returns how many there were. To be called after
    /// [`AppendOnly::finish_rewrite`] and at the start, after loading.
    ///
    /// # Errors
    /// The system refused; it can be tried again.
    pub fn remove_history(&mut self) -> Result<usize, AofError> {
        self.directory.remove_history()
    }

    /// Nothing is written to the increment any more: it must be on the disk before something behind it is.
    fn leave_increment(&mut self) -> Result<(), AofError> {
        if self.increment.is_poisoned() {
            if let Err(error) = self.increment.heal() {
                self.gap = Some(error.to_string());
            }
            return Ok(());
        }
        let unsealed = self.increment.unsealed();
        if unsealed > 0 {
            return Err(AofError::Unsealed { path: self.increment.path().to_owned(), unsealed });
        }
        self.increment.sync()
    }

    /// Of files that somebody has removed since the start nothing is left; the rewrite under way does without them.
    fn measure_others(&mut self) -> Result<(), AofError> {
        let is_other = |name: &&str| self.directory.file(name) != self.increment.path();
        let len = |name: &str| match self.directory.len_of(name) {
            Err(AofError::Missing { .. }) => Ok(0),
            result => result,
        };
        let others = self.directory.manifest().to_load().filter(is_other);
        self.others =
            others.map(|name| Ok((name.to_owned(), len(name)?))).collect::<Result<_, AofError>>()?;
        Ok(())
    }
}

/// A file begins in database 0; where the log goes on in another one without saying so, the file has to. Its first
/// line is when it was begun: whoever cuts it before that sees that nothing of it is older.
fn begin_increment<L: FileLayer>(
    increment: &mut Increment<L>,
    Begin { offset, replid, database, second }: Begin,
) -> Result<(), AofError> {
    if let Some(second) = second {
        increment.append(&timestamp_line(second))?;
    }
    if database != 0 {
        let mut select = Vec::new();
        put_command(&mut select, &[b"SELECT", database.to_string().as_bytes()]);
        increment.append(&select)?;
    }
    increment.seal(offset, &replid)
}

/// Makes the next increment and the manifest that names it.
fn next_increment<L: FileLayer>(
    layer: &L,
    directory: &mut Directory<L>,
    begin: Option<Begin>,
) -> Result<Increment<L>, AofError> {
    let manifest = directory.manifest().with_next_incr(directory.names());
    let name = directory.names().incr(manifest.last_incr_seq());
    let mut increment = Increment::create(layer.clone(), directory.file(&name))?;
    if let Some(begin) = begin {
        begin_increment(&mut increment, begin)?;
    }
    increment.sync()?;
    directory.sync()?;
    directory.store(manifest)?;
    Ok(increment)
}
