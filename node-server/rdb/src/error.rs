//! Why bytes are no RDB.

/// What is wrong, and where it can be said, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// The bytes end too early.
    #[error("the data ends in the middle of {0}")]
    Truncated(&'static str),
    /// The stream does not begin with REDIS and four digits.
    #[error("not an RDB stream: it does not begin with REDIS and a version")]
    Magic,
    /// A version that this release does not read.
    #[error("RDB version {0} is newer than {max}, the newest that this release reads", max = crate::RDB_VERSION_MAX)]
    Version(u16),
    /// The checksum at the end does not match.
    #[error("bad checksum: the data says {stored:016x}, its bytes give {computed:016x}")]
    Checksum {
        /// As stored.
        stored: u64,
        /// As computed.
        computed: u64,
    },
    /// A DUMP payload too short for its version and checksum.
    #[error("the DUMP payload has no version and checksum at its end")]
    Footer,
    /// One item of a stream that would have to be kept whole in memory and is longer than that.
    #[error("an item of the RDB stream is longer than {max} bytes", max = crate::reader::ITEM_MAX)]
    ItemLength,
    /// A value of a type that this release does not hold.
    #[error("key {key:?} has type {kind}, which this release does not hold; only strings (type 0) are")]
    Type {
        /// RDB type number.
        kind: u8,
        /// The key, as far as it is text.
        key: String,
    },
    /// An opcode that must be understood and is not.
    #[error("unknown opcode {0} in the RDB stream")]
    Opcode(u8),
    /// A length that cannot be.
    #[error("impossible length or encoding in {0}")]
    Encoding(&'static str),
    /// Compressed bytes that do not decompress.
    #[error("bad LZF compressed data")]
    Compression,
    /// Bytes behind the end of a payload.
    #[error("{0} bytes too many at the end")]
    Trailing(usize),
}
