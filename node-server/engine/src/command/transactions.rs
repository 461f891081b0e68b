//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::arguments::KEYS;
use super::call::{Call, SessionCall};
use super::spec::{Flags, Group, Run, Spec, keys};
use super::{CommandError, CommandResult};
use crate::outcome::Outcome;
use crate::transaction::{Multi, Watched};
use std::sync::atomic::Ordering;

const SESSION: Flags =
    Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE).with(Flags::FAST).with(Flags::ALLOW_BUSY);

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "discard",
        arity: 1,
        flags: SESSION.with(Flags::IN_MULTI_NOW),
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), N being the number of queued commands",
        summary: "Forgets the queued commands.",
        run: Run::Session(discard),
        ..Spec::BASE
    },
    Spec {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT
            .with(Flags::LOADING)
            .with(Flags::STALE)
            .with(Flags::SKIP_SLOWLOG)
            .with(Flags::IN_MULTI_NOW),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on the queued commands.",
        summary: "Runs the queued commands, all in a row.",
        run: Run::Session(exec),
        ..Spec::BASE
    },
    Spec {
        name: "multi",
        arity: 1,
        flags: SESSION.with(Flags::IN_MULTI_NOW),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Queues the commands that follow.",
        run: Run::Session(multi),
        ..Spec::BASE
    },
    Spec {
        name: "unwatch",
        arity: 1,
        flags: SESSION,
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Forgets the watched keys.",
        run: Run::Session(unwatch),
        ..Spec::BASE
    },
    Spec {
        name: "watch",
        arity: -2,
        flags: SESSION.with(Flags::IN_MULTI_NOW),
        keys: &[keys(1, -1, 1, &["RO"])],
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(N), N being the number of keys",
        summary: "Lets EXEC do nothing if one of the keys has changed.",
        arguments: &[KEYS],
        run: Run::Slot(watch),
        ..Spec::BASE
    },
];

fn multi(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.session.in_multi() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    call.session.multi = Some(Multi::default());
    call.reply.ok();
    Ok(Outcome::Done)
}

fn exec(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.engine.exec(call.session, call.now, call.offloaded, call.reply.buffer())
}

fn discard(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.session.multi.take().is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    call.session.watched.clear();
    call.reply.ok();
    Ok(Outcome::Done)
}

fn unwatch(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if !call.in_exec {
        call.session.watched.clear();
    }
    call.reply.ok();
    Ok(Outcome::Done)
}

fn watch(call: &mut Call<'_, '_>) -> CommandResult {
    if call.session.in_multi() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let slot = call.keys.slot();
    for key in &call.args[1..] {
        let known = call.session.watched.iter().any(|w| w.slot == slot && w.key == *key);
        if known {
            continue;
        }
        let existed = call.keys.find(key).is_some();
        let counter = call.keys.guard().table_mut().watch(key);
        let seen = counter.load(Ordering::Acquire);
        call.session.watched.push(Watched { slot, key: key.to_vec(), counter, seen, existed });
    }
    call.reply.ok();
    Ok(())
}
