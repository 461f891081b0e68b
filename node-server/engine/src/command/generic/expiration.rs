//! When keys expire: EXPIRE and its family, TTL and its family, PERSIST.

use crate::command::{Call, CommandError, CommandResult};
use crate::session::Origin;
use node_server_protocol::Millis;
use node_server_protocol::resp::request::parse_number;

/// What an argument counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// What an argument counts from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Now,
    Epoch,
}

/// EXPIRE key seconds \[NX|XX|GT|LT].
pub(super) fn expire(call: &mut Call<'_, '_>) -> CommandResult {
    change(call, Unit::Seconds, From::Now, "expire")
}

/// PEXPIRE key milliseconds \[NX|XX|GT|LT].
pub(super) fn pexpire(call: &mut Call<'_, '_>) -> CommandResult {
    change(call, Unit::Milliseconds, From::Now, "pexpire")
}

/// EXPIREAT key seconds \[NX|XX|GT|LT].
pub(super) fn expireat(call: &mut Call<'_, '_>) -> CommandResult {
    change(call, Unit::Seconds, From::Epoch, "expireat")
}

/// PEXPIREAT key milliseconds \[NX|XX|GT|LT].
pub(super) fn pexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    change(call, Unit::Milliseconds, From::Epoch, "pexpireat")
}

fn change(call: &mut Call<'_, '_>, unit: Unit, from: From, name: &str) -> CommandResult {
    let key = call.args[1];
    let condition = Condition::parse(&call.args[3..])?;
    let at = moment(call.args[2], unit, from, call.now(), name)?;
    let before = call.keys.find(key).map(|entry| entry.expire_at());
    let Some(before) = before else {
        call.reply.integer(0);
        return Ok(());
    };
    let changes = condition.holds(before, at);
    if changes {
        // A moment before 1970 is past like any other.
        expire_at(call, key, Millis(u64::try_from(at).unwrap_or(0)));
    }
    call.reply.integer(changes.into());
    Ok(())
}

/// The moment that an argument means, in Unix milliseconds; may lie before 1970.
fn moment(arg: &[u8], unit: Unit, from: From, now: Millis, name: &str) -> CommandResult<i64> {
    let invalid = || CommandError::text(format!("ERR invalid expire time in '{name}' command"));
    let number = parse_number(arg).ok_or(CommandError::NotInteger)?;
    let ms = match unit {
        Unit::Seconds => number.checked_mul(1000).ok_or_else(invalid)?,
        Unit::Milliseconds => number,
    };
    let base = match from {
        From::Now => i64::try_from(now.0).map_err(|_| invalid())?,
        From::Epoch => 0,
    };
    ms.checked_add(base).ok_or_else(invalid)
}

/// Lets a key that is there expire at `at` and logs it. A moment that has passed deletes it, but never on a replica:
/// there the master says what is deleted.
pub(crate) fn expire_at(call: &mut Call<'_, '_>, key: &[u8], at: Millis) {
    if is_past(call, at) {
        call.keys.remove(key);
        call.replicate(&[b"DEL", key]);
    } else {
        call.keys.set_expiry(key, Some(at));
        call.replicate(&[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
}

/// Whether a key that expires at `at` is to be deleted at once.
pub(super) fn is_past(call: &Call<'_, '_>, at: Millis) -> bool {
    at <= call.now() && call.session.origin == Origin::Client
}

/// NX, XX, GT, LT.
#[derive(Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(args: &[&[u8]]) -> CommandResult<Self> {
        let mut condition = Self::default();
        for arg in args {
            match arg.to_ascii_uppercase().as_slice() {
                b"NX" => condition.nx = true,
                b"XX" => condition.xx = true,
                b"GT" => condition.gt = true,
                b"LT" => condition.lt = true,
                _ => return Err(CommandError::quoting("ERR Unsupported option ", arg, "")),
            }
        }
        let Self { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// A key that does not expire counts as one that expires at the end of time.
    fn holds(&self, before: Option<Millis>, at: i64) -> bool {
        let before = before.map(|b| i64::try_from(b.0).unwrap_or(i64::MAX));
        let refused = (self.nx && before.is_some())
            || (self.xx && before.is_none())
            || (self.gt && before.is_none_or(|b| at <= b))
            || (self.lt && before.is_some_and(|b| at >= b));
        !refused
    }
}

/// PERSIST key.
pub(super) fn persist(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args[1];
    let expires = call.keys.find(key).is_some_and(|entry| entry.expire_at().is_some());
    if expires {
        call.keys.set_expiry(key, None);
        call.replicate(&[b"PERSIST", key]);
    }
    call.reply.integer(expires.into());
    Ok(())
}

/// TTL key.
pub(super) fn ttl(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, |at, now| rounded(at.since(now)))
}

/// PTTL key.
pub(super) fn pttl(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, Millis::since)
}

/// EXPIRETIME key.
pub(super) fn expiretime(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, |at, _| rounded(at.0))
}

/// PEXPIRETIME key.
pub(super) fn pexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, |at, _| at.0)
}

fn rounded(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

/// -2: no such key; -1: it does not expire.
fn tell(call: &mut Call<'_, '_>, number: impl FnOnce(Millis, Millis) -> u64) -> CommandResult {
    let now = call.now();
    let answer = match call.keys.peek(call.args[1]).map(|entry| entry.expire_at()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(number(at, now)).unwrap_or(i64::MAX),
    };
    call.reply.integer(answer);
    Ok(())
}
