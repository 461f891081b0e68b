//! nodes.conf on disk: read once at the start, locked for the life of the process, replaced as a whole.

mod thread;

pub use thread::{Done, Writer};

use node_server_cluster::NodesConf;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
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
        file.remove_leftovers();
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
        let temporary = self.temporary(&format!("{}-{}", std::process::id(), self.written));
        let replaced = self.write_and_rename(&temporary, text);
        if replaced.is_err() {
            // What is left of it is removed at the next start if it cannot be now.
            let _ = std::fs::remove_file(&temporary);
        }
        replaced
    }

    fn write_and_rename(&mut self, temporary: &Path, text: &str) -> Result<(), StorageError> {
        let path = self.path.clone();
        let system = |doing| {
            let path = path.clone();
            move |source| StorageError::System { path, doing, source }
        };
        let mut file = File::create(temporary).map_err(system("create a successor of"))?;
        file.write_all(text.as_bytes()).map_err(system("write"))?;
        file.sync_all().map_err(system("sync"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| system("lock")(errno.into()))?;
        std::fs::rename(temporary, &self.path).map_err(system("replace"))?;
        let directory = File::open(directory_of(&self.path)).map_err(system("open the directory of"))?;
        directory.sync_all().map_err(system("sync the directory of"))?;
        self.held = file;
        Ok(())
    }

    fn temporary(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".tmp-{suffix}"));
        name.into()
    }

    /// Temporary files of processes that died while writing. The lock says that nobody writes one now.
    fn remove_leftovers(&self) {
        let prefix = self.temporary("");
        let Some(prefix) = prefix.file_name().and_then(|n| n.to_str()) else { return };
        let Ok(entries) = std::fs::read_dir(directory_of(&self.path)) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                tracing::warn!("could not remove {}: {error}", entry.path().display());
            }
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
