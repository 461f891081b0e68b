//! CONFIG GET, SET, REWRITE, RESETSTAT, HELP.

use super::{lossy, unknown_subcommand, wrong_arity};
use crate::config::SetError;
use crate::config::table::{ACTED_ON, find};
use crate::node::Node;
use node_server_protocol::resp::ReplyWriter;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return parameters matching the glob-like <pattern>s and their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Set the configuration <directive>s to <value>s, all or none.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
    "HELP",
    "    Prints this help.",
];

/// Answers `CONFIG …`.
pub fn config(node: &Node, args: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    let subcommand = lossy(args.get(1)).to_ascii_lowercase();
    match (subcommand.as_str(), args.len()) {
        ("get", 3..) => get(node, &args[2..], reply),
        ("set", 4..) if args.len().is_multiple_of(2) => set(node, &args[2..], reply),
        ("set", 4..) => reply.error("ERR syntax error"),
        ("rewrite", 2) => match node.config.rewrite() {
            Ok(()) => {
                tracing::info!("CONFIG REWRITE executed with success.");
                reply.ok();
            }
            Err(error) => {
                tracing::warn!("CONFIG REWRITE failed: {error}");
                reply.error(&error.to_string());
            }
        },
        ("resetstat", 2) => {
            node.reset_statistics();
            reply.ok();
        }
        ("help", 2) => super::help(HELP, reply),
        ("get" | "set" | "rewrite" | "resetstat" | "help", _) => wrong_arity("config", &subcommand, reply),
        _ => unknown_subcommand("config", &lossy(args.get(1)), reply),
    }
}

fn get(node: &Node, patterns: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    let patterns: Vec<String> = patterns.iter().map(|p| lossy(Some(p))).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let found = node.config.get(&patterns, matches);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// Whether a pattern of CONFIG GET means a directive.
fn matches(pattern: &str, name: &str) -> bool {
    node_server_engine::glob::matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes())
}

fn set(node: &Node, raw: &[&[u8]], reply: &mut ReplyWriter<'_>) {
    let words: Vec<String> = raw.iter().map(|w| lossy(Some(w))).collect();
    let pairs: Vec<(&str, &str)> = words.chunks_exact(2).map(|p| (p[0].as_str(), p[1].as_str())).collect();
    // A password that became another one would lock everybody out.
    let mangled = |pair: &&[&[u8]]| {
        let is_secret = find(&lossy(pair.first())).is_some_and(|(_, directive)| directive.is_secret());
        is_secret && pair.get(1).is_some_and(|value| std::str::from_utf8(value).is_err())
    };
    if let Some(pair) = raw.chunks_exact(2).find(mangled) {
        let (name, reason) = (lossy(pair.first()), "it has to be UTF-8 text in this version".into());
        return reply.error(&SetError::Refused { name, reason }.to_string());
    }
    match node.config.set(&pairs) {
        Ok(names) => {
            let without_effect: Vec<_> = names.into_iter().filter(|name| !ACTED_ON.contains(name)).collect();
            if !without_effect.is_empty() {
                tracing::warn!("CONFIG SET: no effect in this version: {}", without_effect.join(", "));
            }
            node.settings_changed();
            reply.ok();
        }
        Err(SetError::Unknown(name)) => {
            // As it was sent, which need not be text.
            let given = raw.iter().step_by(2).find(|given| lossy(Some(given)) == name);
            let before = "ERR Unknown option or number of arguments for CONFIG SET - '";
            super::error_quoting(before, given.copied().unwrap_or(name.as_bytes()), "'", reply);
        }
        Err(error) => reply.error(&error.to_string()),
    }
}
