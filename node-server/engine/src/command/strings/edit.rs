//! Commands that change strings in place.

use super::long_double::LongDouble;
use super::{check_length, integer, text_mut, text_of};
use crate::command::{Call, CommandError, CommandResult};
use crate::keyspace::{Content, Text, Value};

/// APPEND key value.
pub(super) fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, more) = (call.args[1], call.args[2]);
    let before = match call.keys.find(key) {
        Some(entry) => Some(text_of(entry)?.len()),
        None => None,
    };
    let total = match before {
        Some(len) => {
            let total = check_length(len.checked_add(more.len()))?;
            let change = |value: &mut Value| {
                text_mut(value).map(|text| text.edit(|bytes| bytes.extend_from_slice(more)))
            };
            call.keys.update(key, change).transpose()?;
            total
        }
        None => {
            call.keys.set(key, Content::text(more), None);
            more.len()
        }
    };
    call.replicate_verbatim();
    call.reply.integer(total as i64);
    Ok(())
}

/// SETRANGE key offset value.
pub(super) fn setrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, piece) = (call.args[1], call.args[3]);
    let offset = integer(call.args[2])?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let before = match call.keys.find(key) {
        Some(entry) => Some(text_of(entry)?.len()),
        None => None,
    };
    if piece.is_empty() {
        call.reply.integer(before.unwrap_or(0) as i64);
        return Ok(());
    }
    let end = check_length(offset.checked_add(piece.len()))?;
    if before.is_none() {
        call.keys.set(key, Content::text(b""), None);
    }
    let change =
        |value: &mut Value| text_mut(value).map(|text| text.edit(|bytes| overwrite(bytes, offset, piece)));
    call.keys.update(key, change).transpose()?;
    call.replicate_verbatim();
    call.reply.integer(before.unwrap_or(0).max(end) as i64);
    Ok(())
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    let end = offset + piece.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(piece);
}

/// INCR key.
pub(super) fn incr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, 1)
}

/// DECR key.
pub(super) fn decr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, -1)
}

/// INCRBY key increment.
pub(super) fn incrby(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, integer(call.args[2])?)
}

/// DECRBY key decrement.
pub(super) fn decrby(call: &mut Call<'_, '_>) -> CommandResult {
    let decrement = integer(call.args[2])?;
    let increment = decrement.checked_neg().ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(call, increment)
}

fn add(call: &mut Call<'_, '_>, increment: i64) -> CommandResult {
    let key = call.args[1];
    let before = match call.keys.find(key) {
        Some(entry) => Some(text_of(entry)?.number().ok_or(CommandError::NotInteger)?),
        None => None,
    };
    let after = before.unwrap_or(0).checked_add(increment);
    let after = after.ok_or(CommandError::text("ERR increment or decrement would overflow"))?;
    if before.is_some() {
        call.keys.update(key, |value| *value = Value::String(Text::Int(after)));
    } else {
        call.keys.set(key, Content::Int(after), None);
    }
    call.replicate_verbatim();
    call.reply.integer(after);
    Ok(())
}

/// INCRBYFLOAT key increment. Its effect is the sum, so that replicas need not calculate alike.
pub(super) fn incrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, arg) = (call.args[1], call.args[2]);
    let (before, expire_at) = match call.keys.find(key) {
        Some(entry) => {
            (text_of(entry)?.with(LongDouble::parse).ok_or(CommandError::NotFloat)?, entry.expire_at())
        }
        None => (LongDouble::ZERO, None),
    };
    let increment = LongDouble::parse(arg).ok_or(CommandError::NotFloat)?;
    let after =
        before.add(&increment).ok_or(CommandError::text("ERR increment would produce NaN or Infinity"))?;
    let mut text = after.to_string().into_bytes();
    text.shrink_to_fit();
    call.reply.bulk(&text);
    call.replicate(&[b"SET", key, &text, b"KEEPTTL"]);
    call.keys.set(key, Value::String(Text::Raw(text)).into(), expire_at);
    Ok(())
}
