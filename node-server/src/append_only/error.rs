//! Why the append-only file cannot be used, and what to do.

use node_server_rdb::aof::ManifestError;
use std::io;
use std::path::PathBuf;

/// Something with the append-only file went wrong.
#[derive(Debug, thiserror::Error)]
pub enum AofError {
    /// The system refused.
    #[error("{path}: could not {doing}: {source}; {advice}", path = path.display(), advice = advice(source))]
    System {
        /// Which file or directory.
        path: PathBuf,
        /// A verb and what it is done to.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The manifest says nothing that can be used.
    #[error("{path}: {reason}. The manifest of the append-only file is corrupt or was not written by a server: restore it from a backup", path = path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Its line and what is wrong with it. No source: the text has it.
        reason: ManifestError,
    },
    /// A file of the manifest is not there. The text begins as Redis's does.
    #[error("Unable to obtain the AOF file {path} length. stat: No such file or directory: the manifest names it; restore it from a backup, without it the data is not complete", path = path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// There are files and nothing that says in which order to load them.
    #[error("{path}: it holds data, but there is no manifest: restore the manifest, or move the files away to start without their data", path = path.display())]
    NoManifest {
        /// One of the files.
        path: PathBuf,
    },
    /// Where the commands end is not known yet: writing would go on behind a torn tail.
    #[error("{path}: it must be loaded before it is written to", path = path.display())]
    NotLoaded {
        /// Which file.
        path: PathBuf,
    },
    /// The file has become shorter than what was loaded from it.
    #[error("{path}: {loaded} bytes were loaded from it and it has {len}: another process writes to it; give every node its own dir", path = path.display())]
    Shorter {
        /// Which file.
        path: PathBuf,
        /// What was loaded.
        loaded: u64,
        /// What there is.
        len: u64,
    },
    /// An earlier error left the file or the disk in a state that nobody knows.
    #[error("{path}: after an earlier error it is not known what is on the disk ({reason}): repair the disk and rewrite the append-only file (BGREWRITEAOF)", path = path.display())]
    Poisoned {
        /// Which file.
        path: PathBuf,
        /// The earlier error.
        reason: String,
    },
    /// A rewrite would begin in the middle of a stretch.
    #[error("{path}: a rewrite begins behind a seal, and {unsealed} bytes have none", path = path.display())]
    Unsealed {
        /// Which file.
        path: PathBuf,
        /// How many.
        unsealed: u64,
    },
    /// What it continues is not on the disk.
    #[error("{path}: its base is not complete yet, so nothing in it counts", path = path.display())]
    NoBase {
        /// The increment.
        path: PathBuf,
    },
    /// There is one.
    #[error("{path}: a rewrite of the append-only file is under way; wait for its end", path = path.display())]
    Rewriting {
        /// The directory.
        path: PathBuf,
    },
}

/// What to do about an error of the system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on the disk",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the server's user write there, or change dir"
        }
        io::ErrorKind::NotFound => "see whether dir is mounted",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "move away what has this name, or change appenddirname"
        }
        _ => "check the disk",
    }
}
