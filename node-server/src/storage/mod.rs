//! nodes.conf on disk: read once at the start, locked for the life of the process, replaced as a whole.

mod thread;

pub use thread::{Done, Writer};

use crate::append_only::{FileLayer, RealFiles};
use node_server_cluster::NodesConf;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How often a file that was replaced between opening and locking is opened again.
const LOCK_TRIES: usize = 16;
/// A larger file is not a nodes.conf: a thousand nodes have about 200 kB.
const FILE_MAX: u64 = 64 << 20;

/// nodes.conf cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process has it.
    #[error("{path}: the cluster configuration file is used by another node; give every node its own (cluster-config-file or dir)", path = path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Not what a node wrote.
    #[error("{path}: {reason}. The file is corrupt or was not written by a node: restore it, or move it away to start as a new node", path = path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// The system refused.
    #[error("{path}: could not {doing} the cluster configuration file: {source}", path = path.display())]
    System {
        /// Which file.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// nodes.conf of this process. Whoever has this has the lock on the file that the path names.
#[derive(Debug)]
pub struct NodesFile {
    path: PathBuf,
    /// Locked; replaced together with the file.
    held: File,
    written: u64,
}

impl NodesFile {
    /// Locks the file, made empty if there is none, and reads it. `None`: it is empty, this is a new node.
    ///
    /// # Errors
    /// Another process has it, it is no nodes.conf, or the system refused.
    pub fn open(path: &Path) -> Result<(Self, Option<NodesConf>), StorageError> {
        let mut held = lock(path)?;
        let system = |doing| move |source| StorageError::System { path: path.into(), doing, source };
        let bad = |reason: String| StorageError::Bad { path: path.into(), reason };
        if held.metadata().map_err(system("look at"))?.len() > FILE_MAX {
            return Err(bad(format!("it is larger than {FILE_MAX} bytes")));
        }
        let mut bytes = Vec::new();
        held.read_to_end(&mut bytes).map_err(system("read"))?;
        let file = Self { path: path.into(), held, written: 0 };
        // The lock says that nobody writes one now.
        remove_leftovers(&RealFiles, path);
        if bytes.is_empty() {
            return Ok((file, None));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            bad(format!("line {}: it is not text", 1 + good.iter().filter(|b| **b == b'\n').count()))
        })?;
        let conf = NodesConf::parse(&text).map_err(|error| bad(error.to_string()))?;
        Ok((file, Some(conf)))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content: a temporary file is written, synced, locked and renamed, and the directory synced, so
    /// that after a crash either the old or the new text is there.
    ///
    /// # Errors
    /// The system refused; the old file is whole.
    pub fn replace(&mut self, text: &str) -> Result<(), StorageError> {
        self.written += 1;
        let temporary = temporary(&self.path, &format!("{}-{}", std::process::id(), self.written));
        let replaced = write_and_rename(&RealFiles, &temporary, &self.path, text, lock_file, &mut self.held);
        if replaced.is_err() {
            // What is left of it is removed at the next start if it cannot be now.
            let _ = std::fs::remove_file(&temporary);
        }
        replaced
    }
}

/// `held` becomes the new file as soon as that has the name, whatever fails then.
fn write_and_rename<L: FileLayer>(
    files: &L,
    temporary: &Path,
    path: &Path,
    text: &str,
    lock: impl FnOnce(&L::File) -> io::Result<()>,
    held: &mut L::File,
) -> Result<(), StorageError> {
    let system = |doing| move |source| StorageError::System { path: path.into(), doing, source };
    let mut file = files.open_append(temporary).map_err(system("create a successor of"))?;
    files.truncate(&mut file, 0).map_err(system("empty a successor of"))?;
    files.write(&mut file, text.as_bytes()).map_err(system("write"))?;
    files.sync(&mut file).map_err(system("sync"))?;
    lock(&file).map_err(system("lock"))?;
    files.rename(temporary, path).map_err(system("replace"))?;
    *held = file;
    files.sync_dir(directory_of(path)).map_err(system("sync the directory of"))
}

fn lock_file(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

fn temporary(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp-{suffix}"));
    name.into()
}

/// Temporary files of processes that died while writing.
fn remove_leftovers<L: FileLayer>(files: &L, path: &Path) {
    let prefix = temporary(path, "");
    let Some(prefix) = prefix.file_name().and_then(|n| n.to_str()) else { return };
    let directory = directory_of(path);
    for name in files.list(directory).unwrap_or_default().iter().filter(|name| name.starts_with(prefix)) {
        if let Err(error) = files.remove(&directory.join(name)) {
            tracing::warn!("could not remove {}: {error}", directory.join(name).display());
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens and locks the file that the path names at the moment of locking.
fn lock(path: &Path) -> Result<File, StorageError> {
    let system = |doing| move |source| StorageError::System { path: path.into(), doing, source };
    for _ in 0..LOCK_TRIES {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(system("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StorageError::InUse { path: path.into() }),
            Err(errno) => return Err(system("lock")(errno.into())),
        }
        // A node that was still running may have put another file in its place just before it ended.
        let ours = file.metadata().map_err(system("look at"))?;
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system("look at")(error)),
        }
    }
    Err(StorageError::InUse { path: path.into() })
}

#[cfg(test)]
mod tests;
