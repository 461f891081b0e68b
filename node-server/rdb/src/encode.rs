//! Values as the plain types of Redis 7.0, which everything newer reads; what is small is not packed, so that there is
//! one form of each type to write.

mod listpack;
mod stream;

use crate::decode::fields::REDIS_MAX;
use crate::encoding::{put_length, put_string_as};
use crate::value::{Field, Scored};
use crate::{Dialect, Form, RdbError, Value, types};

/// Appends the type, what `between` writes (the key, in a stream), and the value. After an error `out` is as before.
pub(crate) fn put_value(
    out: &mut Vec<u8>,
    value: &Value,
    form: Form,
    between: impl FnOnce(&mut Vec<u8>),
) -> Result<(), RdbError> {
    let start = out.len();
    let written = put_checked(out, value, form, between);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn put_checked(
    out: &mut Vec<u8>,
    value: &Value,
    form: Form,
    between: impl FnOnce(&mut Vec<u8>),
) -> Result<(), RdbError> {
    let unwritable = |problem| RdbError::Unwritable { kind: value.type_name(), problem };
    if value.is_empty_collection() {
        return Err(unwritable("it has no elements"));
    }
    out.push(type_of(value, form.dialect)?);
    between(out);
    match value {
        Value::String(bytes) => put_string_as(out, bytes, form.compress),
        // Not as a quicklist, which has no form for an empty element outside of a listpack.
        Value::List(items) | Value::Set(items) => {
            put_length(out, items.len() as u64);
            items.iter().for_each(|item| put_string_as(out, item, form.compress));
        }
        Value::SortedSet(members) => put_scored(out, members, form).map_err(unwritable)?,
        Value::Hash(fields) => put_fields(out, fields, form).map_err(unwritable)?,
        Value::Stream(stream) => stream::put_stream(out, stream, form).map_err(unwritable)?,
    }
    Ok(())
}

fn type_of(value: &Value, dialect: Dialect) -> Result<u8, RdbError> {
    Ok(match value {
        Value::String(_) => types::STRING,
        Value::List(_) => types::LIST,
        Value::Set(_) => types::SET,
        Value::SortedSet(_) => types::ZSET_2,
        Value::Hash(_) if value.has_field_expiry() => match dialect {
            Dialect::Plain => return Err(RdbError::FieldExpiry),
            Dialect::Valkey => types::HASH_2,
            Dialect::Redis => types::HASH_METADATA,
        },
        Value::Hash(_) => types::HASH,
        Value::Stream(_) if dialect == Dialect::Plain => types::STREAM_LISTPACKS_2,
        Value::Stream(_) => types::STREAM_LISTPACKS_3,
    })
}

fn put_scored(out: &mut Vec<u8>, members: &[Scored], form: Form) -> Result<(), &'static str> {
    put_length(out, members.len() as u64);
    for Scored { member, score } in members {
        if score.is_nan() {
            return Err("a score is not a number");
        }
        put_string_as(out, member, form.compress);
        out.extend_from_slice(&score.to_le_bytes());
    }
    Ok(())
}

/// The fields, with their expiries where one of them has one.
fn put_fields(out: &mut Vec<u8>, fields: &[Field], form: Form) -> Result<(), &'static str> {
    match fields.iter().filter_map(|field| field.expire_at).min() {
        None => {
            put_length(out, fields.len() as u64);
            for Field { name, value, .. } in fields {
                put_string_as(out, name, form.compress);
                put_string_as(out, value, form.compress);
            }
            Ok(())
        }
        Some(earliest) if form.dialect == Dialect::Redis => put_redis_fields(out, fields, earliest, form),
        Some(_) => put_valkey_fields(out, fields, form),
    }
}

fn put_valkey_fields(out: &mut Vec<u8>, fields: &[Field], form: Form) -> Result<(), &'static str> {
    put_length(out, fields.len() as u64);
    for Field { name, value, expire_at } in fields {
        let time = expire_at.map_or(Ok(-1), i64::try_from).map_err(|_| "an expiry does not fit 63 bits")?;
        put_string_as(out, name, form.compress);
        put_string_as(out, value, form.compress);
        out.extend_from_slice(&time.to_le_bytes());
    }
    Ok(())
}

fn put_redis_fields(
    out: &mut Vec<u8>,
    fields: &[Field],
    earliest: u64,
    form: Form,
) -> Result<(), &'static str> {
    out.extend_from_slice(&earliest.to_le_bytes());
    put_length(out, fields.len() as u64);
    for Field { name, value, expire_at } in fields {
        if expire_at.is_some_and(|at| !(1..=REDIS_MAX).contains(&at)) {
            return Err("an expiry is 0 or does not fit 48 bits");
        }
        put_length(out, expire_at.map_or(0, |at| at - earliest + 1));
        put_string_as(out, name, form.compress);
        put_string_as(out, value, form.compress);
    }
    Ok(())
}
