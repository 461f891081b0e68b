//! RDB streams and DUMP payloads: bytes in, bytes out. Strings only for now; another type is one more variant of
//! [`Value`] with its encodings. Sources: reference/persistence §3.1, checked against redis-server 7.0.15.
//!
//! Forbidden here: files, sockets, keyspaces. No bytes make it panic.

pub mod aof;
pub mod crc64;
pub mod dump;
pub mod encoding;
pub mod error;
pub mod lzf;
pub mod reader;
pub mod writer;

mod tests;

pub use dump::{decode_dump, encode_dump};
pub use error::RdbError;
pub use reader::{Item, Reader};
pub use writer::Writer;

/// The version that is written: Redis 7.0's, which everything newer reads.
pub const RDB_VERSION: u16 = 10;
/// The newest version that is read.
pub const RDB_VERSION_MAX: u16 = 14;

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    String(Vec<u8>),
}
