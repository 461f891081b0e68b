//! Commands on strings.

mod edit;
mod lcs;
mod long_double;
mod natural;
mod options;
mod read;
mod table;
mod write;

pub use table::TABLE;

use super::{Call, CommandError, CommandResult};
use crate::keyspace::{Entry, Text, TextRef, Value, ValueRef};
use node_server_protocol::resp::request::parse_number;

/// The longest string (Redis: the default of `proto-max-bulk-len`, 512 MiB).
pub const STRING_MAX: usize = 512 * 1024 * 1024;

/// The string that a key holds.
fn text_of(entry: &Entry) -> CommandResult<TextRef<'_>> {
    match entry.value() {
        ValueRef::String(text) => Ok(text),
        ValueRef::Collection(_) => Err(CommandError::WrongType),
    }
}

/// The string that a key holds, to be changed.
fn text_mut(value: &mut Value) -> CommandResult<&mut Text> {
    match value {
        Value::String(text) => Ok(text),
        Value::Collection(_) => Err(CommandError::WrongType),
    }
}

/// A 64-bit integer as Redis reads it.
fn integer(arg: &[u8]) -> CommandResult<i64> {
    parse_number(arg).ok_or(CommandError::NotInteger)
}

/// Whether a string of `len` bytes may grow to `total`.
fn check_length(total: Option<usize>) -> CommandResult<usize> {
    total
        .filter(|total| *total <= STRING_MAX)
        .ok_or(CommandError::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)"))
}

/// Answers with the string at a key, or null.
fn reply_with_value(call: &mut Call<'_, '_>, key: &[u8]) -> CommandResult {
    match call.keys.read(key) {
        Some(entry) => text_of(entry)?.with(|bytes| call.reply.bulk(bytes)),
        None => call.reply.null(),
    }
    Ok(())
}
