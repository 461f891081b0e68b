//! COMMAND and its subcommands.

use super::{docs, info, list};
use crate::command::keys::{KeyIndexes, find, key_indexes};
use crate::command::table::{Command, all, by_name, subcommand};
use crate::command::{CommandError, CommandResult, Flags, SessionCall, Spec};
use crate::outcome::Outcome;
use node_server_protocol::resp::ReplyWriter;

/// COMMAND.
pub(super) fn command(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.reply.array(all().len());
    all().for_each(|command| info::put(&mut call.reply, command));
    Ok(Outcome::Done)
}

/// COMMAND COUNT.
pub(super) fn count(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.reply.integer(all().len() as i64);
    Ok(Outcome::Done)
}

/// COMMAND INFO \[name…]; null for what there is not.
pub(super) fn info_of_some(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let names = &call.args[2..];
    if names.is_empty() {
        return command(call);
    }
    call.reply.array(names.len());
    for name in names {
        match full_name(name) {
            Some(found) => info::put(&mut call.reply, found),
            None => call.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

/// COMMAND DOCS \[name…]; what there is not is left out.
pub(super) fn docs_of_some(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let names = &call.args[2..];
    let found: Vec<&Command> = if names.is_empty() {
        all().collect()
    } else {
        names.iter().filter_map(|name| full_name(name)).collect()
    };
    call.reply.map(found.len());
    for command in found {
        call.reply.bulk(command.spec.name.as_bytes());
        docs::put(&mut call.reply, command);
    }
    Ok(Outcome::Done)
}

/// A command by `name` or `container|name`.
fn full_name(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|b| *b == b'|') {
        Some(at) => subcommand(by_name(&name[..at])?, &name[at + 1..]),
        None => by_name(name),
    }
}

/// COMMAND LIST \[FILTERBY MODULE|ACLCAT|PATTERN x].
pub(super) fn list_names(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let filter = list::Filter::parse(&call.args[2..])?;
    let names = list::names(&filter);
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(Outcome::Done)
}

/// Keys of the command that stands behind GETKEYS or GETKEYSANDFLAGS: index and flags of each.
fn keys_of(args: &[&[u8]]) -> CommandResult<Vec<(usize, &'static [&'static str])>> {
    let spec = spec_of(args).ok_or(CommandError::text("ERR Invalid command specified"))?;
    if spec.keys.is_empty() {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !spec.accepts(args.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    if spec.flags.has(Flags::MIGRATES) {
        keys.extend(key_indexes(spec, args).into_iter().map(|at| (at, spec.keys[0].flags)));
        return if keys.is_empty() { Err(no_keys()) } else { Ok(keys) };
    }
    for one in spec.keys {
        let mut indexes = KeyIndexes::new();
        find(one, args, &mut indexes);
        keys.extend(indexes.into_iter().map(|at| (at, actual_flags(one.flags, args))));
    }
    if keys.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(no_keys());
    }
    Ok(keys)
}

fn no_keys() -> CommandError {
    CommandError::text("ERR Invalid arguments specified for command")
}

/// What is done with a key, where that depends on the options: SET reads only with GET.
fn actual_flags(flags: &'static [&'static str], args: &[&[u8]]) -> &'static [&'static str] {
    if !flags.contains(&"variable_flags") {
        return flags;
    }
    let reads = args.get(3..).unwrap_or(&[]).iter().any(|arg| arg.eq_ignore_ascii_case(b"GET"));
    if reads { &["RW", "access", "update"] } else { &["OW", "update"] }
}

fn spec_of(args: &[&[u8]]) -> Option<&'static Spec> {
    let command = by_name(args.first()?)?;
    if command.subcommands.is_empty() || args.len() == 1 {
        return Some(command.spec);
    }
    subcommand(command, args[1]).map(|c| c.spec)
}

/// COMMAND GETKEYS command arg…
pub(super) fn get_keys(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let args = &call.args[2..];
    let keys = keys_of(args)?;
    call.reply.array(keys.len());
    keys.iter().for_each(|(at, _)| call.reply.bulk(args[*at]));
    Ok(Outcome::Done)
}

/// COMMAND GETKEYSANDFLAGS command arg…
pub(super) fn get_keys_and_flags(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let args = &call.args[2..];
    let keys = keys_of(args)?;
    call.reply.array(keys.len());
    for (at, flags) in keys {
        call.reply.array(2);
        call.reply.bulk(args[at]);
        words(&mut call.reply, flags);
    }
    Ok(Outcome::Done)
}

/// A set of words as simple strings.
pub(super) fn words(reply: &mut ReplyWriter<'_>, words: &[&str]) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

/// COMMAND HELP.
pub(super) fn help(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    const LINES: &[&str] = &[
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    What is known about every command, for programs.",
        "COUNT",
        "    The number of commands.",
        "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]",
        "    Their names.",
        "INFO [<command-name> ...]",
        "    What is known about commands, for programs.",
        "DOCS [<command-name> ...]",
        "    What is known about commands, for people.",
        "GETKEYS <full-command>",
        "    Which arguments are keys.",
        "GETKEYSANDFLAGS <full-command>",
        "    Which arguments are keys, and what is done with them.",
        "HELP",
        "    This list.",
    ];
    call.reply.array(LINES.len());
    LINES.iter().for_each(|line| call.reply.simple(line));
    Ok(Outcome::Done)
}
