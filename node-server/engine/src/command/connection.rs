//! Commands about the connection.

use super::arguments::{block, integer, text};
use super::call::SessionCall;
use super::spec::{Argument, Deprecated, Flags, Group, Run, Spec};
use super::{CommandError, CommandResult};
use crate::Engine;
use crate::outcome::Outcome;
use crate::session::Session;
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::{Protocol, ReplyWriter};

const FAST: Flags = Flags::LOADING.with(Flags::STALE).with(Flags::FAST);
const SESSION: Flags = FAST.with(Flags::NOSCRIPT).with(Flags::ALLOW_BUSY);

const HELLO: &[Argument] = &[
    integer("protover"),
    block("auth", &[text("username"), text("password")]).after("AUTH").optional(),
    text("clientname").after("SETNAME").optional(),
];

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "asking",
        flags: Flags::FAST,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Lets the next command use a slot that is being imported.",
        categories: &["connection"],
        run: Run::Session(asking),
        ..CONNECTION
    },
    Spec {
        name: "auth",
        arity: -2,
        flags: SESSION.with(Flags::NO_AUTH),
        complexity: "O(N), N being the number of passwords of the user",
        summary: "Says who the client is.",
        arguments: &[text("username").optional(), text("password")],
        run: Run::Session(auth),
        ..CONNECTION
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: FAST,
        summary: "Answers with its argument.",
        arguments: &[text("message")],
        run: Run::Session(echo),
        ..CONNECTION
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: SESSION.with(Flags::NO_AUTH),
        since: "6.0.0",
        summary: "Chooses the version of the protocol.",
        arguments: &[block("arguments", HELLO).optional()],
        run: Run::Session(hello),
        ..CONNECTION
    },
    Spec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        summary: "Answers with PONG, or with its argument.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arguments: &[text("message").optional()],
        run: Run::Session(ping),
        ..CONNECTION
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: SESSION.with(Flags::NO_AUTH).with(Flags::IN_MULTI_NOW),
        summary: "Ends the connection.",
        deprecated: Some(Deprecated { since: "7.2.0", by: "just closing the connection" }),
        run: Run::Session(quit),
        ..CONNECTION
    },
    Spec {
        name: "readonly",
        flags: FAST,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Lets a replica answer reads.",
        categories: &["connection"],
        run: Run::Session(readonly),
        ..CONNECTION
    },
    Spec {
        name: "readwrite",
        flags: FAST,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Takes READONLY back.",
        categories: &["connection"],
        run: Run::Session(readwrite),
        ..CONNECTION
    },
    Spec {
        name: "reset",
        flags: SESSION.with(Flags::NO_AUTH).with(Flags::IN_MULTI_NOW),
        since: "6.2.0",
        summary: "Makes the connection as new.",
        run: Run::Session(reset),
        ..CONNECTION
    },
    Spec {
        name: "select",
        arity: 2,
        flags: FAST,
        summary: "Chooses the database.",
        arguments: &[integer("index")],
        run: Run::Session(select),
        ..CONNECTION
    },
];

/// What the rows have in common.
const CONNECTION: Spec = Spec { arity: 1, group: Group::Connection, ..Spec::BASE };

/// What Redis says to a client that says HELLO before it has said the password.
const HELLO_NEEDS_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";

/// AUTH [username] password.
fn auth(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    match call.args {
        [_, password] => call.engine.authenticate_default(call.session, password)?,
        [_, user, password] => call.engine.authenticate(call.session, user, password)?,
        _ => return Err(CommandError::Syntax),
    }
    call.reply.ok();
    Ok(Outcome::Done)
}

fn asking(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    call.session.asking = true;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn readonly(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    call.session.readonly = true;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn readwrite(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    cluster_only(call.engine)?;
    call.session.readonly = false;
    call.reply.ok();
    Ok(Outcome::Done)
}

pub(super) fn cluster_only(engine: &Engine) -> CommandResult {
    if engine.is_cluster() {
        Ok(())
    } else {
        Err(CommandError::text("ERR This instance has cluster support disabled"))
    }
}

fn echo(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.reply.bulk(call.args[1]);
    Ok(Outcome::Done)
}

fn ping(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    match call.args {
        [_] => call.reply.simple("PONG"),
        [_, text] => call.reply.bulk(text),
        _ => return Err(CommandError::Arity("ping")),
    }
    Ok(Outcome::Done)
}

fn quit(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.reply.ok();
    Ok(Outcome::Close)
}

fn reset(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    call.session.reset();
    call.session.authenticated = !call.engine.asks_password();
    call.reply.simple("RESET");
    Ok(Outcome::Done)
}

fn select(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let number = parse_int(call.args[1])?;
    if call.engine.is_cluster() && number != 0 {
        return Err(CommandError::text("ERR SELECT is not allowed in cluster mode"));
    }
    let db = u16::try_from(number).ok().filter(|db| *db < call.engine.databases());
    call.session.db = db.ok_or(CommandError::text("ERR DB index is out of range"))?;
    call.reply.ok();
    Ok(Outcome::Done)
}

/// A number that C has an `int` for.
pub(crate) fn parse_int(text: &[u8]) -> CommandResult<i32> {
    let number = parse_number(text).ok_or(CommandError::NotInteger)?;
    i32::try_from(number).map_err(|_| {
        CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647")
    })
}

/// HELLO [protover [AUTH user password] [SETNAME name]]. As in Redis, a right password counts even when something
/// behind it is refused.
fn hello(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    let mut rest = &call.args[1..];
    let mut protocol = call.session.protocol;
    if let Some((version, tail)) = rest.split_first() {
        rest = tail;
        protocol = match parse_number(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
            None => {
                return Err(CommandError::text("ERR Protocol version is not an integer or out of range"));
            }
        };
    }
    let mut name = None;
    while !rest.is_empty() {
        rest = match rest {
            [word, user, password, tail @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                call.engine.authenticate(call.session, user, password)?;
                tail
            }
            [word, given, tail @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                name = Some(check_name(given)?);
                tail
            }
            [word, ..] => return Err(CommandError::quoting("ERR Syntax error in HELLO option '", word, "'")),
            [] => break,
        };
    }
    if call.engine.is_stranger(call.session) {
        return Err(CommandError::text(HELLO_NEEDS_AUTH));
    }
    if let Some(name) = name {
        call.session.name = name;
    }
    call.session.protocol = protocol;
    greet(call.engine, call.session, &mut ReplyWriter::new(call.reply.buffer(), protocol));
    Ok(Outcome::Done)
}

/// A name that CLIENT LIST can show.
///
/// # Errors
/// It has blanks, line breaks or other special characters.
pub fn check_name(name: &[u8]) -> CommandResult<Vec<u8>> {
    if name.iter().all(|b| (b'!'..=b'~').contains(b)) {
        return Ok(name.to_vec());
    }
    Err(CommandError::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn greet(engine: &Engine, session: &Session, reply: &mut ReplyWriter<'_>) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(engine.version().as_bytes());
    reply.bulk(b"proto");
    reply.integer(if session.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(i64::try_from(session.id.0).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(if engine.is_cluster() { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(if engine.is_replica() { b"replica" } else { b"master" });
    reply.bulk(b"modules");
    reply.array(0);
}
