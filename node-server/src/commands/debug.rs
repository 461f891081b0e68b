//! DEBUG, behind `enable-debug-command`. DIGEST, SLEEP and SLEEP-SLOT are the engine's: they run on a worker. RELOAD
//! and LOADAOF are the persistence thread's.

use super::lossy;
use crate::node::Node;
use node_server_protocol::resp::ReplyWriter;
use node_server_protocol::resp::request::parse_number;
use std::sync::atomic::Ordering;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Server will sleep before flushing the AOF, this is used for testing.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "RELOAD [NOSAVE]",
    "    Save the RDB on disk (unless NOSAVE is given) and reload it back to memory.",
    "SET-ACTIVE-EXPIRE (0|1)",
    "    Setting it to 0 disables expiring keys in background.",
    "SET-SKIP-CHECKSUM-VALIDATION (0|1)",
    "    Enables or disables checksum checks for RESTORE's payload.",
    "SLEEP <seconds>",
    "    Keep this client waiting for <seconds>. Decimals allowed.",
    "SLEEP-SLOT <slot> <seconds>",
    "    Hold the lock of <slot> for <seconds>: clients of other slots must not notice.",
    "HELP",
    "    Prints this help.",
];

/// Longest AOF-FLUSH-SLEEP, in microseconds.
const FLUSH_SLEEP_MAX_US: u64 = 60_000_000;
/// How much of an argument is repeated in the error (Redis: 128).
const REPEATED_MAX: usize = 128;

/// Answers `DEBUG …`.
pub fn debug(node: &Node, args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    let subcommand = lossy(args.get(1)).to_ascii_lowercase();
    match (subcommand.as_str(), args.len()) {
        ("log", 3) => {
            tracing::warn!("DEBUG LOG: {}", lossy(args.get(2)));
            reply.ok();
        }
        ("set-active-expire" | "set-skip-checksum-validation", 3) => match args[2] {
            b"0" | b"1" => {
                let on = args[2] == b"1";
                match subcommand.as_str() {
                    "set-active-expire" => node.active_expire.store(on, Ordering::Relaxed),
                    _ => node.engine.set_skip_dump_checksum(on),
                }
                reply.ok();
            }
            _ => reply.error("ERR value is not an integer or out of range"),
        },
        ("aof-flush-sleep", 3) => match parse_number(args[2]).and_then(|us| u64::try_from(us).ok()) {
            Some(us) => {
                node.persistence.flush_sleep_us.store(us.min(FLUSH_SLEEP_MAX_US), Ordering::Relaxed);
                reply.ok();
            }
            None => reply.error("ERR value is not an integer or out of range"),
        },
        ("help", 2) => super::help(HELP, reply),
        _ => {
            let given = args.get(1).copied().unwrap_or_default();
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            super::error_quoting(
                before,
                &given[..given.len().min(REPEATED_MAX)],
                "'. Try DEBUG HELP.",
                reply,
            );
        }
    }
}
