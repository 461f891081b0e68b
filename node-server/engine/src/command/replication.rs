//! Whom this node follows, and waiting for those who follow it: REPLICAOF, WAIT, WAITAOF. Errors are those of
//! redis-server 7.0.15 and, for WAITAOF, of Valkey 9.1.2.

use super::arguments::{integer, one_of, text, word};
use super::call::SessionCall;
use super::spec::{Argument, Deprecated, Flags, Group, Run, Spec};
use super::{CommandError, CommandResult};
use crate::outcome::{Deferred, MasterAddress, Outcome};
use node_server_protocol::Millis;
use node_server_protocol::resp::request::parse_number;

/// Whoever waits for a slow master's snapshot has to be able to leave it.
const FOLLOW: Flags = Flags::ADMIN
    .with(Flags::NOSCRIPT)
    .with(Flags::STALE)
    .with(Flags::NO_ASYNC_LOADING)
    .with(Flags::ROLE)
    .with(Flags::FULL_SYNC);
const MASTER: &[Argument] = &[
    one_of("host", &[text("host"), word("no", "NO")]),
    one_of("port", &[integer("port"), word("one", "ONE")]),
];
/// WAITAOF 1 … without a file to wait for. Also said to those who wait when it is turned off.
pub const NO_FILE: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "replicaof",
        arity: 3,
        flags: FOLLOW,
        group: Group::Server,
        since: "5.0.0",
        summary: "Outside a cluster: makes this node a replica, or a master again.",
        arguments: MASTER,
        run: Run::Session(replicaof),
        ..Spec::BASE
    },
    Spec {
        name: "slaveof",
        arity: 3,
        flags: FOLLOW,
        group: Group::Server,
        summary: "The old name of REPLICAOF.",
        deprecated: Some(Deprecated { since: "5.0.0", by: "`REPLICAOF`" }),
        arguments: MASTER,
        run: Run::Session(replicaof),
        ..Spec::BASE
    },
    Spec {
        name: "wait",
        arguments: &[integer("numreplicas"), integer("timeout")],
        arity: 3,
        since: "3.0.0",
        summary: "Waits until replicas have what this connection wrote.",
        run: Run::Session(wait),
        ..WAITING
    },
    Spec {
        name: "waitaof",
        arguments: &[integer("numlocal"), integer("numreplicas"), integer("timeout")],
        arity: 4,
        since: "7.2.0",
        summary: "Waits until what this connection wrote is on this node's disk and on those of replicas.",
        run: Run::Session(waitaof),
        ..WAITING
    },
];

const WAITING: Spec = Spec {
    flags: Flags::BLOCKING,
    group: Group::Generic,
    categories: &["connection"],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    ..Spec::BASE
};

fn replicaof(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.engine.is_cluster() {
        return Err(CommandError::text("ERR REPLICAOF not allowed in cluster mode."));
    }
    let (host, port) = (call.args[1], call.args[2]);
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Outcome::Defer(Deferred::ReplicaOf(None)));
    }
    let port = parse_number(port).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(CommandError::text("ERR Invalid master port"))?;
    // A name that is no text cannot be resolved; said when it is tried, as of any other name that leads nowhere.
    let host = String::from_utf8_lossy(host).into_owned();
    Ok(Outcome::Defer(Deferred::ReplicaOf(Some(MasterAddress { host, port }))))
}

fn wait(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    if call.engine.is_replica() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = parse_number(call.args[1]).ok_or(CommandError::NotInteger)?;
    let deadline = deadline(call.args[2], call.now)?;
    let replicas = usize::try_from(replicas).unwrap_or(0);
    let offset = call.session.last_write;
    let now_there = call.engine.acks.count(offset);
    if now_there >= replicas || call.in_exec {
        call.reply.integer(now_there as i64);
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Defer(Deferred::Wait { replicas, offset, deadline, local: None }))
}

fn waitaof(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let local = parse_number(call.args[1]).ok_or(CommandError::NotInteger)?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::text("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = parse_number(call.args[2]).and_then(|replicas| usize::try_from(replicas).ok());
    let replicas = replicas.ok_or(CommandError::text("ERR value is out of range, must be positive"))?;
    let deadline = deadline(call.args[3], call.now)?;
    if call.engine.is_replica() {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
        ));
    }
    let local = usize::from(local == 1);
    if local > 0 && !call.engine.durability.is_on() {
        return Err(CommandError::text(NO_FILE));
    }
    let offset = call.session.last_write;
    let here = call.engine.has_on_disk(offset);
    let there = call.engine.acks.count_on_disk(offset);
    if (here >= local && there >= replicas) || call.in_exec {
        call.reply.array(2);
        call.reply.integer(here as i64);
        call.reply.integer(there as i64);
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Defer(Deferred::Wait { replicas, offset, deadline, local: Some(local) }))
}

/// A timeout in milliseconds; zero: never.
fn deadline(timeout: &[u8], now: Millis) -> CommandResult<Option<Millis>> {
    let timeout =
        parse_number(timeout).ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    if timeout > 0 && timeout.saturating_add(now.0) > i64::MAX.unsigned_abs() {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok((timeout > 0).then(|| now.after(timeout)))
}
