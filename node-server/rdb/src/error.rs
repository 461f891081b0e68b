//! Why bytes are no RDB, and why a value cannot become one.

/// What is wrong, and where it can be said, what to do. Where in a stream: [`crate::Reader::position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// The bytes end too early.
    #[error("the data ends in the middle of {0}")]
    Truncated(&'static str),
    /// The stream does not begin with REDIS or VALKEY and a version.
    #[error("not an RDB stream: it does not begin with REDIS or VALKEY and a version")]
    Magic,
    /// A version that this release does not read.
    #[error("Can't handle RDB format version {0}: this release reads 1 to 14 of Redis and 80 of Valkey")]
    Version(u16),
    /// The checksum at the end does not match.
    #[error("RDB CRC error: the data says {stored:016x}, its bytes give {computed:016x}")]
    Checksum {
        /// As stored.
        stored: u64,
        /// As computed.
        computed: u64,
    },
    /// A DUMP payload too short for its version and checksum.
    #[error("the DUMP payload has no version and checksum at its end")]
    Footer,
    /// One piece of a stream that would have to be kept whole in memory and is longer than that.
    #[error("an item of the RDB stream is longer than {max} bytes", max = crate::reader::ITEM_MAX)]
    ItemLength,
    /// A value of a type that this release does not hold.
    #[error("key {key:?} has type {kind} ({name}), which this release does not hold", name = crate::types::refused_type(*.kind))]
    Type {
        /// RDB type number.
        kind: u8,
        /// The key, as far as it is text, and cut when it is long; empty in a DUMP payload.
        key: String,
    },
    /// A value of a module.
    #[error(
        "key {key:?} is a value of module type {module:?} version {version} (type {kind}); modules are not held"
    )]
    Module {
        /// RDB type number: 6 or 7.
        kind: u8,
        /// The nine characters that name the module's type.
        module: String,
        /// The encoding version that the module gave it.
        version: u16,
        /// The key, as far as it is text, and cut when it is long; empty in a DUMP payload.
        key: String,
    },
    /// Data of a module outside of keys. Redis refuses the file as well when it has not loaded that module.
    #[error("the stream has data of module type {module:?} (opcode 247); modules are not held")]
    ModuleAux {
        /// The nine characters that name the module's type.
        module: String,
    },
    /// An opcode that must be understood and is not.
    #[error("opcode {0} ({name}) in the RDB stream is not read by this release", name = crate::types::refused_opcode(*.0))]
    Opcode(u8),
    /// A length that cannot be.
    #[error("impossible length or encoding in {0}")]
    Encoding(&'static str),
    /// Compressed bytes that do not decompress.
    #[error("bad LZF compressed data")]
    Compression,
    /// A packed encoding that is damaged.
    #[error("bad {what} at its byte {at}: {problem}")]
    Packed {
        /// Which encoding.
        what: &'static str,
        /// What is wrong.
        problem: &'static str,
        /// Offset in the packed (and decompressed) bytes.
        at: usize,
    },
    /// A value that decodes and breaks a rule of its type.
    #[error("bad {kind}: {problem}")]
    Value {
        /// The type, in TYPE's words.
        kind: &'static str,
        /// The rule.
        problem: &'static str,
    },
    /// A collection without elements; no key can be one.
    #[error("a {0} without elements")]
    Empty(&'static str),
    /// Bytes behind the end of a payload.
    #[error("{0} bytes too many at the end")]
    Trailing(usize),
    /// Something wrong with the value of a key.
    #[error("key {key:?}: {cause}")]
    Key {
        /// The key, as far as it is text; cut when it is long.
        key: String,
        /// What is wrong with its value.
        cause: Box<RdbError>,
    },
    /// A hash whose fields expire cannot be written as version 10.
    #[error("a hash field expires, which RDB version 10 has no form for; write for Valkey 9 or Redis 7.4")]
    FieldExpiry,
    /// A value that no reader would accept, or that the format has no form for.
    #[error("a {kind} cannot be written: {problem}")]
    Unwritable {
        /// The type, in TYPE's words.
        kind: &'static str,
        /// Why.
        problem: &'static str,
    },
}

/// Longest part of a key that an error repeats.
const KEY_SHOWN: usize = 128;

/// A key for an error: what of its beginning is text.
pub(crate) fn shown(key: &[u8]) -> String {
    match key.get(..KEY_SHOWN) {
        Some(beginning) if key.len() > KEY_SHOWN => format!("{}...", String::from_utf8_lossy(beginning)),
        _ => String::from_utf8_lossy(key).into_owned(),
    }
}
