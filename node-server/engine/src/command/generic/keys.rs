//! COPY, DEL, EXISTS, RENAME, RENAMENX, TOUCH, TYPE, UNLINK.

use crate::command::connection::parse_int;
use crate::command::{Call, CommandError, CommandResult};

/// DEL key… and UNLINK key… (values are strings: freeing them takes no time worth a thread).
pub(super) fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = &call.args[1..];
    let deleted: Vec<&[u8]> = keys.iter().copied().filter(|key| call.keys.remove(key).is_some()).collect();
    if !deleted.is_empty() {
        let effect: Vec<&[u8]> = std::iter::once(b"DEL".as_slice()).chain(deleted.iter().copied()).collect();
        call.replicate(&effect);
    }
    call.reply.integer(deleted.len() as i64);
    Ok(())
}

/// EXISTS key…: a key that is named twice counts twice.
pub(super) fn exists(call: &mut Call<'_, '_>) -> CommandResult {
    let count = call.args[1..].iter().filter(|key| call.keys.peek(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

/// TOUCH key…
pub(super) fn touch(call: &mut Call<'_, '_>) -> CommandResult {
    let count = call.args[1..].iter().filter(|key| call.keys.read(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

/// TYPE key.
pub(super) fn type_of(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.keys.peek(call.args[1]).map_or("none", |entry| entry.value().type_name());
    call.reply.simple(name);
    Ok(())
}

/// RENAME key newkey.
pub(super) fn rename(call: &mut Call<'_, '_>) -> CommandResult {
    move_key(call, true)?;
    call.reply.ok();
    Ok(())
}

/// RENAMENX key newkey.
pub(super) fn renamenx(call: &mut Call<'_, '_>) -> CommandResult {
    let moved = move_key(call, false)?;
    call.reply.integer(moved.into());
    Ok(())
}

fn move_key(call: &mut Call<'_, '_>, replace: bool) -> CommandResult<bool> {
    let (from, to) = (call.args[1], call.args[2]);
    call.keys.find(from).ok_or(CommandError::NoSuchKey)?;
    if from == to || (!replace && call.keys.find(to).is_some()) {
        return Ok(false);
    }
    let entry = call.keys.remove(from).ok_or(CommandError::NoSuchKey)?;
    let expire_at = entry.expire_at();
    call.keys.set(to, entry.into_value().into(), expire_at);
    call.replicate(&[b"RENAME", from, to]);
    Ok(true)
}

/// COPY source destination \[DB n] \[REPLACE].
pub(super) fn copy(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (call.args[1], call.args[2]);
    let options = copy_options(call)?;
    check_database(call, options.database)?;
    if from == to {
        return Err(CommandError::text("ERR source and destination objects are the same"));
    }
    let source = call.keys.read(from).map(|entry| (entry.value().to_owned(), entry.expire_at()));
    let Some((value, expire_at)) = source else {
        call.reply.integer(0);
        return Ok(());
    };
    if !options.replace && call.keys.find(to).is_some() {
        call.reply.integer(0);
        return Ok(());
    }
    call.keys.set(to, value.into(), expire_at);
    call.replicate(&[b"COPY", from, to, b"REPLACE"]);
    call.reply.integer(1);
    Ok(())
}

#[derive(Default)]
struct CopyOptions {
    replace: bool,
    database: Option<i32>,
}

/// In the order of the words: the first that is wrong is told.
fn copy_options(call: &Call<'_, '_>) -> CommandResult<CopyOptions> {
    let mut options = CopyOptions::default();
    let mut rest = call.args[3..].iter();
    while let Some(arg) = rest.next() {
        match arg.to_ascii_uppercase().as_slice() {
            b"REPLACE" => options.replace = true,
            b"DB" => {
                let number = parse_int(rest.next().ok_or(CommandError::Syntax)?)?;
                if !(0..i32::from(call.engine.databases_configured())).contains(&number) {
                    return Err(CommandError::text("ERR DB index is out of range"));
                }
                options.database = Some(number);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(options)
}

/// The lock that COPY holds is that of one database.
fn check_database(call: &Call<'_, '_>, database: Option<i32>) -> CommandResult {
    let Some(database) = database else { return Ok(()) };
    if database == i32::from(call.session.db) {
        return Ok(());
    }
    Err(CommandError::text(if call.engine.is_cluster() {
        "ERR Copying to another database is not allowed in cluster mode"
    } else {
        "ERR Copying to another database is not supported; use DUMP and RESTORE"
    }))
}
