//! Commands that set or delete whole strings.

use super::options::{Expiry, Of, Options, Unit, moment, parse};
use super::{reply_with_value, text_of};
use crate::command::generic::expire_at;
use crate::command::{Call, CommandError, CommandResult};
use crate::keyspace::Content;
use node_server_protocol::Millis;

/// SET key value \[NX|XX] \[GET] \[EX s|PX ms|EXAT s|PXAT ms|KEEPTTL].
pub(super) fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let (key, value) = (args[1], args[2]);
    // What nearly every SET is.
    if args.len() == 3 {
        put(call, key, value, Keep::No(None));
        call.reply.ok();
        return Ok(());
    }
    let options = parse(&args[3..], Of::Set)?;
    let keep = match options.expiry {
        Expiry::At { time, unit, relative } => {
            Keep::No(Some(moment(time, unit, relative, call.now(), "set")?))
        }
        Expiry::Keep => Keep::Yes,
        Expiry::Unsaid | Expiry::Clear => Keep::No(None),
    };
    if options.get {
        reply_with_value(call, key)?;
    }
    let passes = may_set(call, key, &options);
    if passes {
        put(call, key, value, keep);
    }
    match (options.get, passes) {
        (true, _) => {}
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}

fn may_set(call: &mut Call<'_, '_>, key: &[u8], options: &Options<'_>) -> bool {
    if !options.nx && !options.xx {
        return true;
    }
    call.keys.find(key).is_some() == options.xx
}

/// What becomes of the expiry that a key has.
#[derive(Clone, Copy)]
enum Keep {
    Yes,
    /// It is replaced by this one.
    No(Option<Millis>),
}

/// Sets a key and logs the result, not the question: conditions are gone and times are absolute.
fn put(call: &mut Call<'_, '_>, key: &[u8], value: &[u8], keep: Keep) {
    match keep {
        Keep::Yes => {
            let before = call.keys.find(key).and_then(|entry| entry.expire_at());
            call.keys.set(key, Content::text(value), before);
            call.replicate(&[b"SET", key, value, b"KEEPTTL"]);
        }
        Keep::No(None) => {
            call.keys.set(key, Content::text(value), None);
            call.replicate(&[b"SET", key, value]);
        }
        Keep::No(Some(at)) => {
            call.keys.set(key, Content::text(value), Some(at));
            call.replicate(&[b"SET", key, value, b"PXAT", at.to_string().as_bytes()]);
        }
    }
}

/// SETEX key seconds value.
pub(super) fn setex(call: &mut Call<'_, '_>) -> CommandResult {
    set_for(call, Unit::Seconds, "setex")
}

/// PSETEX key milliseconds value.
pub(super) fn psetex(call: &mut Call<'_, '_>) -> CommandResult {
    set_for(call, Unit::Milliseconds, "psetex")
}

fn set_for(call: &mut Call<'_, '_>, unit: Unit, command: &str) -> CommandResult {
    let at = moment(call.args[2], unit, true, call.now(), command)?;
    put(call, call.args[1], call.args[3], Keep::No(Some(at)));
    call.reply.ok();
    Ok(())
}

/// SETNX key value.
pub(super) fn setnx(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args[1];
    let absent = call.keys.find(key).is_none();
    if absent {
        put(call, key, call.args[2], Keep::No(None));
    }
    call.reply.integer(absent.into());
    Ok(())
}

/// GETSET key value.
pub(super) fn getset(call: &mut Call<'_, '_>) -> CommandResult {
    reply_with_value(call, call.args[1])?;
    put(call, call.args[1], call.args[2], Keep::No(None));
    Ok(())
}

/// GETDEL key.
pub(super) fn getdel(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args[1];
    reply_with_value(call, key)?;
    if call.keys.remove(key).is_some() {
        call.replicate(&[b"DEL", key]);
    }
    Ok(())
}

/// GETEX key \[EX s|PX ms|EXAT s|PXAT ms|PERSIST].
pub(super) fn getex(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args[1];
    let options = parse(&call.args[2..], Of::Getex)?;
    let now = call.now();
    let Some(entry) = call.keys.read(key) else {
        call.reply.null();
        return Ok(());
    };
    let (text, expires) = (text_of(entry)?, entry.expire_at().is_some());
    let at = match options.expiry {
        Expiry::At { time, unit, relative } => Some(moment(time, unit, relative, now, "getex")?),
        Expiry::Unsaid | Expiry::Keep | Expiry::Clear => None,
    };
    text.with(|bytes| call.reply.bulk(bytes));
    match at {
        Some(at) => expire_at(call, key, at),
        None if options.expiry == Expiry::Clear && expires => {
            call.keys.set_expiry(key, None);
            call.replicate(&[b"PERSIST", key]);
        }
        None => {}
    }
    Ok(())
}

/// Keys and values in turns.
fn pairs<'a>(args: &[&'a [u8]], name: &'static str) -> CommandResult<Vec<(&'a [u8], &'a [u8])>> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name));
    }
    Ok(args[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

fn put_all(call: &mut Call<'_, '_>, pairs: &[(&[u8], &[u8])]) {
    for (key, value) in pairs {
        call.keys.set(key, Content::text(value), None);
    }
    let mut effect: Vec<&[u8]> = vec![b"MSET"];
    effect.extend_from_slice(&call.args[1..]);
    call.replicate(&effect);
}

/// MSET key value…
pub(super) fn mset(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = pairs(call.args, "mset")?;
    put_all(call, &pairs);
    call.reply.ok();
    Ok(())
}

/// MSETNX key value…: all or none.
pub(super) fn msetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = pairs(call.args, "msetnx")?;
    let absent = pairs.iter().all(|(key, _)| call.keys.find(key).is_none());
    if absent {
        put_all(call, &pairs);
    }
    call.reply.integer(absent.into());
    Ok(())
}
