//! Why an append-only file or its manifest cannot be used.

/// What is wrong with the bytes of an append-only file. Offsets count from the beginning of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AofError {
    /// A sealed stretch is not what was written, and later ones stand behind it: cutting the file would lose them.
    #[error(
        "bytes {from} to {to} are not what was written (checksum), and more that was sealed stands behind them"
    )]
    RottenMiddle {
        /// End of the last stretch that is right.
        from: u64,
        /// End of the first annotation behind the damage.
        to: u64,
    },
    /// The tail is cut short, as a crash leaves it. Nothing behind `complete_until` was promised to anybody.
    #[error("the file ends in the middle of something at byte {at}; it is whole until byte {complete_until}")]
    Torn {
        /// Where the first thing begins that is not whole.
        at: u64,
        /// The length to truncate the file to.
        complete_until: u64,
    },
    /// Not the format. The text begins as Redis's does.
    #[error("Bad file format reading the append only file: at byte {at}, {reason}")]
    Format {
        /// Beginning of the record.
        at: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The RDB file that a base may begin with.
    #[error("bad RDB preamble: {0}")]
    Preamble(#[from] crate::RdbError),
}

/// A manifest that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct ManifestError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: ManifestCause,
}

/// What is wrong with a line of a manifest. The texts begin with those of Redis 7 (aof.c: AOF_MANIFEST_*), which tools and
/// test suites look for in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestCause {
    /// Nothing in it, as after a crash of the file system; Redis refuses that as well.
    #[error("Found an empty AOF manifest")]
    Empty,
    /// Redis reads no longer lines.
    #[error("The AOF manifest file contains too long line: more than {max} bytes", max = super::manifest::LINE_MAX)]
    TooLong,
    /// The end of the file is missing.
    #[error("Invalid AOF manifest file format: no newline at the end, the file is cut short")]
    CutShort,
    /// Unbalanced quotes.
    #[error("Invalid AOF manifest file format: quotes are not balanced")]
    Quotes,
    /// No words, or a name without a value.
    #[error("Invalid AOF manifest file format: it is not made of pairs of a name and a value")]
    Pairs,
    /// One of the three that each line must have.
    #[error("Invalid AOF manifest file format: it has no {0}")]
    Missing(&'static str),
    /// The file name.
    #[error("Invalid AOF manifest file format: file name {name:?}: {error}")]
    Name {
        /// As it stands there.
        name: String,
        /// Why not.
        error: NameError,
    },
    /// The sequence number.
    #[error("Invalid AOF manifest file format: {0:?} is no sequence number")]
    Seq(String),
    /// The type.
    #[error("Unknown AOF file type: {0:?}; b, h and i are known")]
    Kind(String),
    /// A manifest has at most one.
    #[error("Found duplicate base file information")]
    SecondBase,
    /// They must increase from line to line.
    #[error("Found a non-monotonic sequence number: {seq} does not follow {before}")]
    Order {
        /// Of this line.
        seq: u64,
        /// Of the increment before.
        before: u64,
    },
}

/// Why something cannot be the name of a file in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It names nothing, or a directory.
    #[error("it is empty, \".\" or \"..\"")]
    Nothing,
    /// It leads somewhere else.
    #[error("it must be a file name, not a path")]
    Path,
    /// No file can have it.
    #[error("it contains a zero byte or is not UTF-8 text")]
    NotText,
    /// Numbers and an ending are appended to it, and quoting makes it four times as long.
    #[error("it is longer than {max} bytes", max = super::names::NAME_MAX)]
    TooLong,
}
