//! What the append-only file asks of the file system, so that tests can put one in its place that crashes.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Files and directories. A file's bytes survive a crash after `sync`, its name after `sync_dir` of its directory.
pub trait FileLayer: Clone + Debug {
    /// A file that is open for appending.
    type File: Debug;

    /// Opens a file for appending; it is made if there is none.
    ///
    /// # Errors
    /// As the system says, here and below.
    fn open_append(&self, path: &Path) -> io::Result<Self::File>;
    /// Appends all of `bytes`; after an error a part of them may be in the file.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length survive a crash.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;
    /// Cuts the file; what is appended next stands at `len`.
    fn truncate(&self, file: &mut Self::File, len: u64) -> io::Result<()>;
    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory survive a crash.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The length of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// The names in a directory that are text.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory if there is none.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl FileLayer for RealFiles {
    type File = File;

    fn open_append(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        // The length is part of it, times are not.
        file.sync_data()
    }

    fn truncate(&self, file: &mut File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_file() { Ok(metadata.len()) } else { Err(io::Error::other("it is not a file")) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            result => result,
        }
    }
}
