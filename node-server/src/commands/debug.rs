//! DEBUG, behind `enable-debug-command`. SLEEP and SLEEP-SLOT are the engine's: they run on a worker.

use super::lossy;
use crate::node::Node;
use node_server_protocol::resp::ReplyWriter;
use std::sync::atomic::Ordering;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOG <message>",
    "    Write <message> to the server log.",
    "SET-ACTIVE-EXPIRE (0|1)",
    "    Setting it to 0 disables expiring keys in background.",
    "SLEEP <seconds>",
    "    Keep this client waiting for <seconds>. Decimals allowed.",
    "SLEEP-SLOT <slot> <seconds>",
    "    Hold the lock of <slot> for <seconds>: clients of other slots must not notice.",
    "HELP",
    "    Prints this help.",
];

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
        ("set-active-expire", 3) => match args[2] {
            b"0" | b"1" => {
                node.active_expire.store(args[2] == b"1", Ordering::Relaxed);
                reply.ok();
            }
            _ => reply.error("ERR value is not an integer or out of range"),
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
