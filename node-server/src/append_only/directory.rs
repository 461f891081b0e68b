//! The directory of the append-only file and its manifest. The manifest on the disk is always one whose files are
//! there and whole: what it names is synced before it is written, and what it no longer names is removed after.

use super::AofError;
use super::layer::FileLayer;
use node_server_rdb::aof::{Manifest, Names};
use std::io;
use std::path::{Path, PathBuf};

/// Files that a crash may leave half written begin with this.
const TEMPORARY: &str = "temp-";

/// The directory.
#[derive(Debug)]
pub struct Directory<L> {
    layer: L,
    path: PathBuf,
    names: Names,
    manifest: Manifest,
    /// Whether a crash would bring an older manifest back.
    uncertain: bool,
}

impl<L: FileLayer> Directory<L> {
    /// Opens `dir/appenddirname`, made if there is none, and reads the manifest; without one it begins empty. A single
    /// file `dir/appendfilename` of a server before Redis 7 is moved into the directory and becomes the base.
    ///
    /// # Errors
    /// The system refused, the manifest is bad, or one of its files is missing; or there are files without manifest.
    pub fn open(layer: L, dir: &Path, appenddirname: &str, names: Names) -> Result<Self, AofError> {
        let path = dir.join(appenddirname);
        layer.create_dir(&path).map_err(system(&path, "create the directory"))?;
        // Also where they were there before: a process that died may have left names that a crash would take back.
        layer.sync_dir(dir).map_err(system(dir, "sync the directory"))?;
        let mut directory = Self { layer, path, names, manifest: Manifest::default(), uncertain: false };
        directory.sync()?;
        let found = directory.read_manifest()?;
        let is_new = found.is_none();
        directory.manifest = found.unwrap_or_default();
        if is_new {
            directory.refuse_orphans()?;
        }
        directory.upgrade(dir, is_new)?;
        for name in directory.manifest.to_load() {
            directory.len_of(name)?;
        }
        directory.remove_leftovers();
        Ok(directory)
    }

    /// Makes it again if somebody has removed it, as Redis does before a rewrite (aof.c: rewriteAppendOnlyFileBackground).
    ///
    /// # Errors
    /// The system refused.
    pub fn make_again(&self) -> Result<(), AofError> {
        let Err(error) = self.layer.list(&self.path) else { return Ok(()) };
        tracing::warn!("{}: it is made again: {error}", self.path.display());
        self.layer.create_dir(&self.path).map_err(system(&self.path, "create the directory"))?;
        let Some(dir) = self.path.parent() else { return Ok(()) };
        self.layer.sync_dir(dir).map_err(system(dir, "sync the directory"))
    }

    /// What makes up the data set.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes names of files.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Where a file of this name is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a file is written before it gets its name.
    #[must_use]
    pub fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!("{TEMPORARY}{name}"))
    }

    /// How long a file of the manifest is.
    ///
    /// # Errors
    /// It is missing, or the system refused.
    pub fn len_of(&self, name: &str) -> Result<u64, AofError> {
        let path = self.file(name);
        match self.layer.len(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AofError::Missing { path }),
            result => result.map_err(system(&path, "look at the file")),
        }
    }

    /// Makes `manifest` the one that counts: a temporary file is written, synced and renamed, and the directory synced.
    /// If only the last step fails, it counts for this process, and [`Directory::settle`] is left to be done.
    ///
    /// # Errors
    /// The system refused; the old manifest counts.
    pub fn store(&mut self, manifest: Manifest) -> Result<(), AofError> {
        self.put_in_place(&manifest)?;
        self.manifest = manifest;
        self.uncertain = true;
        match self.sync() {
            Ok(()) => self.uncertain = false,
            Err(error) => {
                tracing::warn!("{error}; it is tried again before anything is said to be on the disk")
            }
        }
        Ok(())
    }

    /// Sees to it that a crash does not bring an older manifest back. The whole manifest is written again: a sync that
    /// works says nothing about one that failed before.
    ///
    /// # Errors
    /// A crash still might.
    pub fn settle(&mut self) -> Result<(), AofError> {
        if self.uncertain {
            self.put_in_place(&self.manifest)?;
            self.sync()?;
            self.uncertain = false;
        }
        Ok(())
    }

    fn put_in_place(&self, manifest: &Manifest) -> Result<(), AofError> {
        let name = self.names.manifest();
        let (path, temporary) = (self.file(&name), self.temporary(&name));
        let written = self.write_new(&temporary, manifest.format().as_bytes());
        let renamed = written.and_then(|()| {
            self.layer.rename(&temporary, &path).map_err(system(&path, "replace the manifest"))
        });
        if renamed.is_err() {
            // What is left of it goes at the next start if it cannot now.
            let _ = self.layer.remove(&temporary);
        }
        renamed
    }

    /// Makes the names in the directory survive a crash.
    ///
    /// # Errors
    /// The system refused.
    pub fn sync(&self) -> Result<(), AofError> {
        self.layer.sync_dir(&self.path).map_err(system(&self.path, "sync the directory"))
    }

    /// Removes the files that are history and then forgets them. Returns how many.
    ///
    /// # Errors
    /// The system refused; what is left is still history.
    pub fn remove_history(&mut self) -> Result<usize, AofError> {
        // As long as an older manifest may come back, its files are needed.
        self.settle()?;
        let history = self.manifest.history.len();
        for entry in &self.manifest.history {
            let path = self.file(&entry.name);
            match self.layer.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(system(&path, "remove the file")(error));
                }
                _ => {}
            }
        }
        if history > 0 {
            self.store(self.manifest.without_history())?;
        }
        Ok(history)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<(), AofError> {
        let mut file = self.layer.open_append(path).map_err(system(path, "create the file"))?;
        self.layer.truncate(&mut file, 0).map_err(system(path, "empty the file"))?;
        self.layer.write(&mut file, bytes).map_err(system(path, "write the file"))?;
        self.layer.sync(&mut file).map_err(system(path, "sync the file"))
    }

    fn read_manifest(&self) -> Result<Option<Manifest>, AofError> {
        let path = self.file(&self.names.manifest());
        match self.layer.read(&path) {
            Ok(text) => {
                Manifest::parse(&text).map(Some).map_err(|reason| AofError::Manifest { path, reason })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(system(&path, "read the manifest")(error)),
        }
    }

    /// As redis-server 7.0.15: first the manifest names the old file as its base, then the file is moved; a start that
    /// finds only the first done does the second. A file beside a manifest of its own is left alone.
    fn upgrade(&mut self, dir: &Path, is_new: bool) -> Result<(), AofError> {
        let single = self.names.single().to_owned();
        let (from, to) = (dir.join(&single), self.file(&single));
        let half_done = self.manifest == Manifest::upgraded(&self.names) && !self.exists(&to)?;
        if !(is_new || half_done) || !self.exists(&from)? {
            return Ok(());
        }
        self.store(Manifest::upgraded(&self.names))?;
        self.settle()?;
        self.layer.rename(&from, &to).map_err(system(&from, "move the file into appenddirname"))?;
        self.sync()?;
        self.layer.sync_dir(dir).map_err(system(dir, "sync the directory"))
    }

    fn exists(&self, path: &Path) -> Result<bool, AofError> {
        match self.layer.len(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(system(path, "look at the file")(error)),
        }
    }

    /// A crash during the very first start leaves an empty increment without manifest, and nothing else.
    fn refuse_orphans(&self) -> Result<(), AofError> {
        let single = self.names.single();
        for name in &self.list()? {
            let Some(ending) = name.strip_prefix(single) else { continue };
            let is_data = ending.is_empty()
                || [".incr.aof", ".base.rdb", ".base.aof"].iter().any(|end| ending.ends_with(end));
            if is_data && self.len_of(name)? > 0 {
                return Err(AofError::NoManifest { path: self.file(name) });
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>, AofError> {
        self.layer.list(&self.path).map_err(system(&self.path, "list the directory"))
    }

    fn remove_leftovers(&self) {
        let prefix = format!("{TEMPORARY}{}.", self.names.single());
        for name in self.list().unwrap_or_default().iter().filter(|name| name.starts_with(&prefix)) {
            let path = self.file(name);
            if let Err(error) = self.layer.remove(&path) {
                tracing::warn!("could not remove {}: {error}", path.display());
            }
        }
    }
}

/// Makes an error of the system one that says what was done to which file.
pub(super) fn system(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> AofError {
    let path = path.to_owned();
    move |source| AofError::System { path, doing, source }
}
