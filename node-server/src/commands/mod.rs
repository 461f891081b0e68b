//! Commands that the shell answers, because they are about connections, configuration or the process.

pub mod client;
pub mod config;
pub mod debug;
mod files;
mod replconf;
pub mod role;
pub mod unsupported;

use crate::info::info;
use crate::node::Node;
use node_server_engine::{HostCommand, Session};
use node_server_protocol::Millis;
use node_server_protocol::resp::{ReplyWriter, until_nul};

/// Answers a command about the process: exactly one reply.
pub fn answer(
    node: &Node,
    command: HostCommand,
    session: &mut Session,
    args: &[&[u8]],
    now: Millis,
    reply: &mut ReplyWriter<'_>,
) {
    match command {
        HostCommand::BackgroundSave => files::background_save(node, reply),
        HostCommand::RewriteAof => files::rewrite(node, reply),
        HostCommand::Client => client::client(node, session, args, now, reply),
        HostCommand::Config => config::config(node, args, reply),
        HostCommand::Debug => debug::debug(node, args, reply),
        HostCommand::Info => reply.verbatim("txt", info(node, &args[1..], now).as_bytes()),
        HostCommand::LastSave => reply.integer((node.persistence.status.get().last_save.0 / 1000) as i64),
        HostCommand::Latency => unsupported::latency(args, reply),
        HostCommand::Memory => unsupported::memory(args, reply),
        HostCommand::Replconf => replconf::replconf(node, session, args, reply),
        HostCommand::Role => role::role(node, reply),
        HostCommand::Slowlog => unsupported::slowlog(args, reply),
        HostCommand::Time => time(reply),
    }
}

/// TIME reads the clock itself: the turn's time has milliseconds only.
fn time(reply: &mut ReplyWriter<'_>) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    reply.array(2);
    reply.bulk(since.as_secs().to_string().as_bytes());
    reply.bulk(since.subsec_micros().to_string().as_bytes());
}

/// An argument as text; nothing for one that is not there.
pub(crate) fn lossy(arg: Option<&&[u8]>) -> String {
    arg.map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or_default()
}

pub(crate) fn wrong_arity(command: &str, subcommand: &str, reply: &mut ReplyWriter<'_>) {
    reply.error(&format!("ERR wrong number of arguments for '{command}|{subcommand}' command"));
}

/// An error that repeats an argument: its bytes, as far as C shows them.
pub(crate) fn error_quoting(before: &str, arg: &[u8], after: &str, reply: &mut ReplyWriter<'_>) {
    reply.error_bytes(&[before.as_bytes(), until_nul(arg), after.as_bytes()].concat());
}

pub(crate) fn unknown_subcommand(command: &str, given: &str, reply: &mut ReplyWriter<'_>) {
    let given: String = given.chars().take(128).collect();
    reply.error(&format!("ERR unknown subcommand '{given}'. Try {} HELP.", command.to_ascii_uppercase()));
}

pub(crate) fn help(lines: &[&str], reply: &mut ReplyWriter<'_>) {
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
}
