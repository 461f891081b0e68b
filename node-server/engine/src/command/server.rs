//! Commands about the node and all its keys.

use super::arguments::{block, integer, one_of, text, word};
use super::call::{Access, NodeCall, SessionCall};
use super::spec::{Argument, Flags, Group, Run, Spec};
use super::{CommandError, CommandResult};
use crate::HostCommand;
use crate::outcome::{Deferred, FailoverRequest, MasterAddress, Outcome, PsyncRequest, Reload, Shutdown};
use node_server_protocol::resp::request::parse_number;

const ADMIN: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
const MODE: &[Argument] = &[one_of("flush-type", &[word("async", "ASYNC"), word("sync", "SYNC")]).optional()];

const FAILOVER: &[Argument] = &[
    block("target", &[text("host"), integer("port"), word("force", "FORCE").optional()])
        .after("TO")
        .optional(),
    word("abort", "ABORT").optional(),
    integer("milliseconds").after("TIMEOUT").optional(),
];

/// What the rows have in common.
const SERVER: Spec = Spec { group: Group::Server, ..Spec::BASE };

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "dbsize",
        flags: Flags::READONLY.with(Flags::FAST),
        categories: &["keyspace"],
        summary: "Counts the keys.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: Run::Session(dbsize),
        ..SERVER
    },
    Spec {
        name: "debug",
        arity: -2,
        flags: ADMIN,
        complexity: "Depends on the subcommand.",
        summary: "Tools for tests: SLEEP and others.",
        doc_flags: &["syscmd"],
        run: Run::Session(debug),
        ..SERVER
    },
    Spec {
        name: "failover",
        arity: -1,
        flags: Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE),
        since: "6.2.0",
        summary: "Outside a cluster: hands over to a replica. In a cluster CLUSTER FAILOVER does that.",
        arguments: FAILOVER,
        run: Run::Session(failover),
        ..SERVER
    },
    Spec {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE.with(Flags::OFFLOAD),
        categories: &["keyspace", "dangerous"],
        complexity: "O(N), N being the number of keys",
        summary: "Deletes every key of every database.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arguments: MODE,
        run: Run::Node(flush),
        ..SERVER
    },
    Spec {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE.with(Flags::OFFLOAD),
        categories: &["keyspace", "dangerous"],
        complexity: "O(N), N being the number of keys",
        summary: "Deletes every key of the database in use.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arguments: MODE,
        run: Run::Node(flush),
        ..SERVER
    },
    Spec {
        name: "info",
        arity: -1,
        flags: Flags::LOADING.with(Flags::STALE),
        categories: &["dangerous"],
        summary: "Answers with what the node tells about itself.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        arguments: &[text("section").any_number()],
        run: Run::Host(HostCommand::Info),
        ..SERVER
    },
    Spec {
        name: "bgrewriteaof",
        flags: FILES,
        summary: "Writes the append-only file anew, in the background.",
        run: Run::Session(rewrite_aof),
        ..SERVER
    },
    Spec {
        name: "bgsave",
        arity: -1,
        flags: FILES,
        summary: "Saves the data to the RDB file in the background.",
        arguments: &[word("schedule", "SCHEDULE").optional()],
        run: Run::Session(background_save),
        ..SERVER
    },
    Spec {
        name: "save",
        flags: FILES.with(Flags::NO_MULTI),
        complexity: "O(N), N being the number of keys",
        summary: "Saves the data to the RDB file and answers when it is there.",
        run: Run::Session(save),
        ..SERVER
    },
    Spec {
        name: "lastsave",
        flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
        categories: &["admin", "dangerous"],
        summary: "Answers with the moment of the last save.",
        tips: &["nondeterministic_output"],
        run: Run::Host(HostCommand::LastSave),
        ..SERVER
    },
    Spec {
        name: "psync",
        arity: -3,
        flags: REPLICATION,
        since: "2.8.0",
        summary: "Replicas send it to get the stream of writes.",
        arguments: &[text("replicationid"), integer("offset")],
        run: Run::Session(psync),
        ..SERVER
    },
    Spec {
        name: "replconf",
        arity: -1,
        flags: Flags::ADMIN
            .with(Flags::NOSCRIPT)
            .with(Flags::LOADING)
            .with(Flags::STALE)
            .with(Flags::ALLOW_BUSY),
        since: "3.0.0",
        summary: "Replicas send it to tell about themselves.",
        doc_flags: &["syscmd"],
        run: Run::Host(HostCommand::Replconf),
        ..SERVER
    },
    Spec {
        name: "role",
        flags: Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE).with(Flags::FAST),
        categories: &["admin", "dangerous"],
        since: "2.8.12",
        summary: "Answers with the role in replication.",
        run: Run::Host(HostCommand::Role),
        ..SERVER
    },
    Spec {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.with(Flags::NO_MULTI).with(Flags::ALLOW_BUSY),
        complexity: "O(1)",
        summary: "Ends the process; a replica takes over first if one can.",
        arguments: &[
            one_of("save-selector", &[word("nosave", "NOSAVE"), word("save", "SAVE")]).optional(),
            word("now", "NOW").optional(),
            word("force", "FORCE").optional(),
            word("abort", "ABORT").optional(),
        ],
        run: Run::Session(shutdown),
        ..SERVER
    },
    Spec {
        name: "sync",
        flags: REPLICATION,
        summary: "Old replicas send it to get everything and the stream of writes.",
        run: Run::Session(sync),
        ..SERVER
    },
    Spec {
        name: "time",
        flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
        since: "2.6.0",
        summary: "Answers with the time.",
        tips: &["nondeterministic_output"],
        run: Run::Host(HostCommand::Time),
        ..SERVER
    },
];

const FILES: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::NO_ASYNC_LOADING);
const REPLICATION: Flags = FILES.with(Flags::NO_MULTI);

fn dbsize(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let keyspace = &call.engine.keyspace;
    let slot = node_server_protocol::Slot::new(call.session.db).filter(|_| !call.engine.is_cluster());
    let keys = slot.map_or_else(|| keyspace.len(), |slot| keyspace.slot_len(slot));
    // It counts keys that may not be on the disk yet.
    call.engine.depends_on(call.session, call.engine.log.end());
    call.reply.integer(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// FLUSHALL and FLUSHDB. ASYNC and SYNC are the same here: tables are freed without a lock, on a worker thread.
fn flush(call: &mut NodeCall<'_, '_>) -> CommandResult {
    match call.args {
        [_] => {}
        [_, mode] if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    let only = call.engine.flushed_by(call.session, call.args[0]);
    let name: &[u8] = if only.is_some() { b"FLUSHDB" } else { b"FLUSHALL" };
    let engine = call.engine;
    match &mut call.access {
        Access::Held(all, effects) => {
            engine.flush_held(all, only, call.now);
            effects.push(&[name]);
        }
        Access::Try | Access::Wait => engine.flush(call.session, name, only, call.now)?,
    }
    call.reply.ok();
    Ok(())
}

fn psync(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let offset = call.args.get(2).and_then(|a| parse_number(a)).ok_or(CommandError::NotInteger)?;
    let failover = call.args.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"FAILOVER"));
    if failover && call.engine.is_cluster() {
        return Err(CommandError::text(NO_FAILOVER));
    }
    if failover && !call.engine.is_replica() {
        return Err(CommandError::text("ERR PSYNC FAILOVER can't be sent to a master."));
    }
    Ok(Outcome::Defer(Deferred::Psync(PsyncRequest { replid: call.args[1].to_vec(), offset, failover })))
}

fn sync(_call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    Ok(Outcome::Defer(Deferred::Psync(PsyncRequest { replid: Vec::new(), offset: -1, failover: false })))
}

fn save(_call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    Ok(Outcome::Defer(Deferred::Save))
}

fn background_save(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let schedule = match call.args {
        [_] => false,
        [_, word] if word.eq_ignore_ascii_case(b"SCHEDULE") => true,
        _ => return Err(CommandError::Syntax),
    };
    if call.in_exec {
        return now_by_host(call, HostCommand::BackgroundSave);
    }
    Ok(Outcome::Defer(Deferred::BackgroundSave { schedule }))
}

fn rewrite_aof(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.in_exec {
        return now_by_host(call, HostCommand::RewriteAof);
    }
    Ok(Outcome::Defer(Deferred::RewriteAof))
}

/// A transaction waits for no answer of another thread: what it asks for is scheduled, as in Redis.
fn now_by_host(call: &mut SessionCall<'_>, command: HostCommand) -> CommandResult<Outcome> {
    call.engine.host_command(command, call.session, call.args, call.now, &mut call.reply);
    Ok(Outcome::Done)
}

fn shutdown(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let mut shutdown = Shutdown::default();
    for word in &call.args[1..] {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"SAVE" => &mut shutdown.save,
            b"NOSAVE" => &mut shutdown.nosave,
            b"NOW" => &mut shutdown.now,
            b"FORCE" => &mut shutdown.force,
            b"ABORT" => &mut shutdown.abort,
            _ => return Err(CommandError::Syntax),
        };
        *flag = true;
    }
    let alone = !shutdown.abort || call.args.len() == 2;
    if !alone || (shutdown.save && shutdown.nosave) {
        return Err(CommandError::Syntax);
    }
    Ok(Outcome::Defer(Deferred::Shutdown(shutdown)))
}

/// DEBUG SLEEP keeps only this connection waiting: no command can stop the node. DEBUG SLEEP-SLOT holds one slot, as a
/// long script would. Everything else is the shell's, but for DIGEST.
fn debug(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let is = |name: &[u8], len: usize| call.args.len() == len && call.args[1].eq_ignore_ascii_case(name);
    if is(b"DIGEST", 2) {
        return debug_digest(call);
    }
    if let Some(reload) = reload(call.args)? {
        return if call.in_exec { Err(not_in_exec()) } else { Ok(Outcome::Defer(Deferred::Reload(reload))) };
    }
    let (seconds, slot) = if is(b"SLEEP", 3) {
        (call.args[2], None)
    } else if is(b"SLEEP-SLOT", 4) {
        (call.args[3], Some(call.args[2]))
    } else {
        call.engine.host_command(HostCommand::Debug, call.session, call.args, call.now, &mut call.reply);
        return Ok(Outcome::Done);
    };
    let ms = (leading_number(seconds).clamp(0.0, SLEEP_MAX_S) * 1000.0) as u64;
    if call.in_exec && (slot.is_some() || !call.offloaded) {
        // A transaction holds its slot, on a thread that other connections need; but for one that changes the role.
        return if ms > 0 { Err(not_in_exec()) } else { ok(call) };
    }
    if !call.offloaded {
        return Ok(Outcome::Offload);
    }
    let guard = slot.map(|slot| call.engine.keyspace.lock(slot_or_key(slot)));
    call.engine.host.pause(ms);
    drop(guard);
    ok(call)
}

fn not_in_exec() -> CommandError {
    CommandError::text("ERR Command not allowed inside a transaction")
}

fn debug_digest(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    // It waits for writes to end, and a transaction's slot would never come free.
    if call.in_exec {
        return Err(not_in_exec());
    }
    if !call.offloaded {
        return Ok(Outcome::Offload);
    }
    let digest = call.engine.digest()?;
    call.reply.simple(&digest);
    Ok(Outcome::Done)
}

/// DEBUG RELOAD and LOADAOF. Data that is there is always replaced: MERGE and NOFLUSH are refused.
fn reload(args: &[&[u8]]) -> CommandResult<Option<Reload>> {
    let is = |at: usize, word: &[u8]| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    match args.len() {
        2 if is(1, b"LOADAOF") => Ok(Some(Reload::AppendOnly)),
        2 if is(1, b"RELOAD") => Ok(Some(Reload::Rdb { save: true })),
        3 if is(1, b"RELOAD") && is(2, b"NOSAVE") => Ok(Some(Reload::Rdb { save: false })),
        _ if is(1, b"RELOAD") => Err(CommandError::text("ERR DEBUG RELOAD only supports the NOSAVE option.")),
        _ => Ok(None),
    }
}

fn ok(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.reply.ok();
    Ok(Outcome::Done)
}

/// The number that a text begins with, as C's `strtod` finds it: zero if it begins with none.
fn leading_number(text: &[u8]) -> f64 {
    /// Longer ones are cut: what is behind cannot matter for a time to sleep.
    const LONGEST: usize = 64;
    let text = text[..text.len().min(LONGEST)].trim_ascii_start();
    let number = |end: usize| std::str::from_utf8(&text[..end]).ok()?.parse().ok();
    (0..=text.len()).rev().find_map(number).unwrap_or(0.0)
}

/// Without a cluster: the shell does it.
fn failover(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.engine.is_cluster() {
        return Err(CommandError::text(NO_FAILOVER));
    }
    // It holds back writes until another thread has ended it.
    if call.in_exec {
        return Err(not_in_exec());
    }
    failover_request(call.args).map(|request| Outcome::Defer(Deferred::Failover(request)))
}

/// Options in any order, each once.
fn failover_request(args: &[&[u8]]) -> CommandResult<FailoverRequest> {
    let is = |at: usize, word: &[u8]| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    if args.len() == 2 && is(1, b"ABORT") {
        return Ok(FailoverRequest::Abort);
    }
    let number = |at: usize| parse_number(args[at]).ok_or(CommandError::NotInteger);
    let (mut target, mut force, mut timeout_ms, mut at) = (None, false, None, 1);
    while at < args.len() {
        if is(at, b"TIMEOUT") && at + 1 < args.len() && timeout_ms.is_none() {
            let ms = u64::try_from(number(at + 1)?).ok().filter(|ms| *ms > 0);
            timeout_ms = Some(ms.ok_or(CommandError::text("ERR FAILOVER timeout must be greater than 0"))?);
            at += 2;
        } else if is(at, b"TO") && at + 2 < args.len() && target.is_none() {
            // No replica has a port beyond what a port can be.
            let port = u16::try_from(number(at + 2)?).unwrap_or(0);
            target = Some(MasterAddress { host: String::from_utf8_lossy(args[at + 1]).into_owned(), port });
            at += 3;
        } else if is(at, b"FORCE") && !force {
            force = true;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(FailoverRequest::Begin { target, force, timeout_ms })
}

const NO_FAILOVER: &str = "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.";
/// Longest DEBUG SLEEP, in seconds.
const SLEEP_MAX_S: f64 = 3600.0;

/// A slot by number, or the slot of a key.
fn slot_or_key(text: &[u8]) -> node_server_protocol::Slot {
    let number = parse_number(text).and_then(|n| u16::try_from(n).ok());
    number.and_then(node_server_protocol::Slot::new).unwrap_or_else(|| node_server_protocol::key_slot(text))
}

#[cfg(test)]
mod tests {
    use super::leading_number;

    #[test]
    fn a_time_to_sleep_is_what_the_text_begins_with() {
        let texts = ["0", "1.5", " 2", "1x", "1e1z", "1e", "nx", "", "-3", "\u{fffd}1"];
        let numbers = texts.map(|text| leading_number(text.as_bytes()));
        assert_eq!(numbers, [0.0, 1.5, 2.0, 1.0, 10.0, 1.0, 0.0, 0.0, -3.0, 0.0]);
        assert_eq!(leading_number(&[b'9'; 1000]), leading_number(&[b'9'; 64]));
    }
}
