//! RDB streams and DUMP payloads: bytes in, bytes out. Reads versions 1 to 14 of Redis and 80 of Valkey with all types
//! but modules' and the newest of Redis; writes version 10 unless hash fields expire. Sources: reference/persistence
//! §3.1, checked against redis-server 7.0.15 and Valkey 9.1.2.
//!
//! Forbidden here: files, sockets, keyspaces. No bytes make it panic.

pub mod aof;
mod container;
pub mod crc64;
mod decode;
mod dialect;
pub mod dump;
mod encode;
pub mod encoding;
pub mod error;
pub mod lzf;
mod module;
mod opcode;
pub mod reader;
mod types;
pub mod value;
pub mod writer;

mod tests;

pub use dialect::{Dialect, Form};
pub use dump::{decode_dump, decode_dump_unchecked, encode_dump, encode_dump_as};
pub use error::RdbError;
pub use reader::{Item, Reader};
pub use value::{Consumer, Entry, Field, Group, Pending, Scored, Stream, StreamId, Value};
pub use writer::Writer;

/// The version that is written as a rule: Redis 7.0's, which everything newer reads.
pub const RDB_VERSION: u16 = 10;
/// The newest version of Redis that is read; of Valkey it is 80.
pub const RDB_VERSION_MAX: u16 = 14;
