//! The file at the end, which is written to.

use super::AofError;
use super::directory::system;
use super::layer::FileLayer;
use node_server_rdb::aof::{Replid, Resume, RunningCrc, opening, seal};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// What stands behind the last good byte.
#[derive(Debug)]
enum Behind {
    /// Not known: the file was there at the start and has not been loaded.
    Unloaded,
    /// Nothing.
    Nothing,
    /// Perhaps part of a write that failed.
    Leftover,
    /// Not known, and cutting it off failed, or syncing did.
    Poison {
        reason: String,
        /// Bytes that count may not be on the disk, and no later sync says so: the kernel reports it once.
        lost: bool,
    },
}

/// An open increment.
#[derive(Debug)]
pub(super) struct Increment<L: FileLayer> {
    layer: L,
    path: PathBuf,
    file: L::File,
    len: u64,
    /// Of that, on the disk for certain.
    synced: u64,
    crc: RunningCrc,
    unsealed: u64,
    behind: Behind,
}

impl<L: FileLayer> Increment<L> {
    /// A new file, empty, whatever was there: no manifest named it.
    pub(super) fn create(layer: L, path: PathBuf) -> Result<Self, AofError> {
        let mut increment = Self::open(layer, path)?;
        increment.cut_to(0)?;
        Ok(increment)
    }

    /// The last file of a manifest.
    pub(super) fn open(layer: L, path: PathBuf) -> Result<Self, AofError> {
        let file = layer.open_append(&path).map_err(system(&path, "open the file"))?;
        let len = layer.len(&path).map_err(system(&path, "look at the file"))?;
        let (crc, behind) = (RunningCrc::new(), Behind::Unloaded);
        Ok(Self { layer, path, file, len, synced: 0, crc, unsealed: 0, behind })
    }

    /// It has been loaded; what does not count is cut off and stays off.
    pub(super) fn resume(&mut self, resume: Resume) -> Result<(), AofError> {
        if resume.len > self.len {
            return Err(AofError::Shorter { path: self.path.clone(), loaded: resume.len, len: self.len });
        }
        if resume.len < self.len {
            self.cut_to(resume.len)?;
        }
        // What a process that was killed has written may be in the system's memory alone.
        self.layer.sync(&mut self.file).map_err(system(&self.path, "sync the file"))?;
        self.synced = self.len;
        self.crc = resume.crc;
        self.behind = Behind::Nothing;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes behind the last seal that were appended since the start.
    pub(super) fn unsealed(&self) -> u64 {
        self.unsealed
    }

    pub(super) fn is_poisoned(&self) -> bool {
        matches!(self.behind, Behind::Poison { .. })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), AofError> {
        let bytes = self.opened(bytes)?;
        self.write(&bytes)?;
        self.crc.update(&bytes);
        self.unsealed += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn seal(&mut self, offset: u64, replid: &Replid) -> Result<(), AofError> {
        let opening = self.opened(&[])?;
        let mut crc = self.crc;
        crc.update(&opening);
        self.write(&[&opening[..], &seal(crc, offset, replid)].concat())?;
        self.crc = RunningCrc::new();
        self.unsealed = 0;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), AofError> {
        self.ready()?;
        self.layer.sync(&mut self.file).map_err(|source| {
            self.behind = Behind::Poison { reason: source.to_string(), lost: true };
            AofError::System { path: self.path.clone(), doing: "sync the file", source }
        })?;
        self.synced = self.len;
        Ok(())
    }

    /// With what a group begins with, where one begins. The first line of a file is on the disk before anything behind it
    /// is written: without it a reader would not know that what it finds there may be what a loss of power left.
    fn opened<'b>(&mut self, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, AofError> {
        if self.unsealed > 0 {
            return Ok(bytes.into());
        }
        let line = opening(self.synced);
        if self.len > 0 {
            return Ok([&line, bytes].concat().into());
        }
        self.write(&line)?;
        self.crc.update(&line);
        self.unsealed = line.len() as u64;
        self.sync()?;
        // What openings tell of is whole groups.
        self.synced = 0;
        Ok(bytes.into())
    }

    /// Tries once more to leave nothing but what counts. Only an error in cutting can heal.
    pub(super) fn heal(&mut self) -> Result<(), AofError> {
        if matches!(self.behind, Behind::Poison { lost: false, .. }) {
            self.file = self.layer.open_append(&self.path).map_err(system(&self.path, "open the file"))?;
            self.cut_to(self.len)?;
        }
        self.sync()
    }

    /// All of `bytes` or nothing, as far as anybody who reads up to `len` sees.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AofError> {
        self.ready()?;
        let Err(error) = self.layer.write(&mut self.file, bytes) else {
            self.len += bytes.len() as u64;
            return Ok(());
        };
        self.behind = Behind::Leftover;
        // If it fails, the next write tries again; the error to tell is the first.
        let _ = self.cut_to(self.len);
        Err(system(&self.path, "append to the file")(error))
    }

    /// Nothing stands behind the last good byte.
    fn ready(&mut self) -> Result<(), AofError> {
        let path = self.path.clone();
        match &self.behind {
            Behind::Nothing => Ok(()),
            Behind::Unloaded => Err(AofError::NotLoaded { path }),
            Behind::Poison { reason, .. } => Err(AofError::Poisoned { path, reason: reason.clone() }),
            Behind::Leftover => self.cut_to(self.len).inspect_err(|error| {
                self.behind = Behind::Poison { reason: error.to_string(), lost: false };
            }),
        }
    }

    fn cut_to(&mut self, len: u64) -> Result<(), AofError> {
        self.layer.truncate(&mut self.file, len).map_err(system(&self.path, "truncate the file"))?;
        self.len = len;
        self.behind = Behind::Nothing;
        Ok(())
    }
}
