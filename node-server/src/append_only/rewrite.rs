//! A base that is being written. It counts from [`super::AppendOnly::finish_rewrite`] on.

use super::AofError;
use super::directory::system;
use super::layer::FileLayer;
use node_server_rdb::aof::Entry;
use std::path::PathBuf;

/// A new base under a temporary name; may be written on another thread.
#[derive(Debug)]
#[must_use = "finish or abandon it, or there is never another rewrite"]
pub struct NewBase<L: FileLayer> {
    layer: L,
    file: L::File,
    path: PathBuf,
    len: u64,
    /// What it will be.
    pub(super) entry: Entry,
    /// Number of the first increment that is not in it.
    pub(super) first: u64,
}

impl<L: FileLayer> NewBase<L> {
    pub(super) fn create(layer: L, path: PathBuf, entry: Entry, first: u64) -> Result<Self, AofError> {
        let mut file = layer.open_append(&path).map_err(system(&path, "create the file"))?;
        layer.truncate(&mut file, 0).map_err(system(&path, "empty the file"))?;
        Ok(Self { layer, file, path, len: 0, entry, first })
    }

    /// Appends bytes of an RDB file.
    ///
    /// # Errors
    /// The system refused: abandon it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), AofError> {
        self.layer.write(&mut self.file, bytes).map_err(system(&self.path, "write the file"))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Makes what was written survive a crash. Large files are better synced here, by the thread that wrote them,
    /// than at the end by the one that appends.
    ///
    /// # Errors
    /// The system refused: abandon it.
    pub fn sync(&mut self) -> Result<(), AofError> {
        self.layer.sync(&mut self.file).map_err(system(&self.path, "sync the file"))
    }

    /// How long it is.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn rename_to(&self, path: &std::path::Path) -> Result<(), AofError> {
        self.layer.rename(&self.path, path).map_err(system(&self.path, "rename the file"))
    }

    /// What cannot be removed now goes at the next start.
    pub(super) fn discard(self) {
        if let Err(error) = self.layer.remove(&self.path) {
            tracing::warn!("could not remove {}: {error}", self.path.display());
        }
    }
}
