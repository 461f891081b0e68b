//! OBJECT and its subcommands.

use crate::command::{Call, CommandError, CommandResult, SessionCall};
use crate::outcome::Outcome;

/// OBJECT ENCODING key.
pub(super) fn encoding(call: &mut Call<'_, '_>) -> CommandResult {
    match call.keys.peek(call.args[2]) {
        Some(entry) => call.reply.bulk(entry.value().encoding().as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

/// OBJECT FREQ key. No policy counts how often a key is used.
pub(super) fn freq(call: &mut Call<'_, '_>) -> CommandResult {
    if call.keys.peek(call.args[2]).is_none() {
        call.reply.null();
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

/// OBJECT IDLETIME key.
pub(super) fn idletime(call: &mut Call<'_, '_>) -> CommandResult {
    match call.keys.idle_s(call.args[2]) {
        Some(seconds) => call.reply.integer(i64::from(seconds)),
        None => call.reply.null(),
    }
    Ok(())
}

/// OBJECT REFCOUNT key. Values are never shared between keys.
pub(super) fn refcount(call: &mut Call<'_, '_>) -> CommandResult {
    match call.keys.peek(call.args[2]) {
        Some(_) => call.reply.integer(1),
        None => call.reply.null(),
    }
    Ok(())
}

/// OBJECT HELP.
pub(super) fn help(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    const LINES: &[&str] = &[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value is kept.",
        "FREQ <key>",
        "    How often the key is used, under an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used.",
        "REFCOUNT <key>",
        "    References to the value; always 1.",
        "HELP",
        "    This list.",
    ];
    call.reply.array(LINES.len());
    LINES.iter().for_each(|line| call.reply.simple(line));
    Ok(Outcome::Done)
}
