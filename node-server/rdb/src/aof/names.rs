//! The names of the files in `appenddirname`, all made from `appendfilename`.

use super::NameError;

/// Longest `appendfilename`: with number and ending it is still a file name (255), and a manifest line, in which
/// quoting may make it four times as long, is still one that Redis reads (1024).
pub(super) const NAME_MAX: usize = 200;

/// What a base file contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFormat {
    /// An RDB file (`aof-use-rdb-preamble yes`).
    Rdb,
    /// Commands.
    Aof,
}

/// Makes the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// From `appendfilename`.
    ///
    /// # Errors
    /// It cannot be the beginning of file names.
    pub fn new(appendfilename: &str) -> Result<Self, NameError> {
        is_file_name(appendfilename)?;
        if appendfilename.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self { prefix: appendfilename.into() })
    }

    /// The single file of Redis before 7.
    #[must_use]
    pub fn single(&self) -> &str {
        &self.prefix
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}.manifest", self.prefix)
    }

    /// A base.
    #[must_use]
    pub fn base(&self, seq: u64, format: BaseFormat) -> String {
        let ending = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        format!("{}.{seq}.base.{ending}", self.prefix)
    }

    /// An increment.
    #[must_use]
    pub fn incr(&self, seq: u64) -> String {
        format!("{}.{seq}.incr.aof", self.prefix)
    }
}

/// Whether this names a file in a directory.
pub(super) fn is_file_name(name: &str) -> Result<(), NameError> {
    match name {
        "" | "." | ".." => Err(NameError::Nothing),
        _ if name.contains(['/', '\\']) => Err(NameError::Path),
        _ if name.contains('\0') => Err(NameError::NotText),
        _ => Ok(()),
    }
}
