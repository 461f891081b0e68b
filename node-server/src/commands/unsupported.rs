//! Commands that monitors send and that this version has nothing to tell about: empty answers where that is the
//! truth (nothing was recorded), errors elsewhere.

use super::{lossy, unknown_subcommand};
use node_server_protocol::resp::ReplyWriter;

/// SLOWLOG: no command is recorded, so the log is empty.
pub fn slowlog(args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    match lossy(args.get(1)).to_ascii_lowercase().as_str() {
        "get" => reply.array(0),
        "len" => reply.integer(0),
        "reset" => reply.ok(),
        _ => unknown_subcommand("slowlog", &lossy(args.get(1)), reply),
    }
}

/// LATENCY: no event is recorded.
pub fn latency(args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    match lossy(args.get(1)).to_ascii_lowercase().as_str() {
        "latest" | "history" => reply.array(0),
        "histogram" => reply.map(0),
        "reset" => reply.integer(0),
        _ => unknown_subcommand("latency", &lossy(args.get(1)), reply),
    }
}

/// MEMORY, except USAGE.
pub fn memory(args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    match lossy(args.get(1)).to_ascii_lowercase().as_str() {
        "purge" => reply.ok(),
        _ => unknown_subcommand("memory", &lossy(args.get(1)), reply),
    }
}
