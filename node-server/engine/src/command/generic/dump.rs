//! DUMP, RESTORE, RESTORE-ASKING.

use super::expiration::is_past;
use crate::command::{Call, CommandError, CommandResult};
use crate::keyspace::Value;
use node_server_protocol::Millis;
use node_server_protocol::resp::request::parse_number;
use node_server_rdb::{self as rdb, RdbError, decode_dump, decode_dump_unchecked, encode_dump};

/// DUMP key.
pub(super) fn dump(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(entry) = call.keys.read(call.args[1]) else {
        call.reply.null();
        return Ok(());
    };
    let mut payload = Vec::new();
    let compress = call.engine.compresses_rdb();
    entry
        .value()
        .put_dump(&mut payload, compress)
        .map_err(|error| CommandError::text(format!("ERR {error}")))?;
    call.reply.bulk(&payload);
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u32>,
    freq: bool,
}

/// RESTORE key ttl payload \[REPLACE] \[ABSTTL] \[IDLETIME s] \[FREQ n].
pub(super) fn restore(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, payload) = (call.args[1], call.args[3]);
    let options = parse(&call.args[4..])?;
    if !options.replace && call.keys.find(key).is_some() {
        return Err(CommandError::text("BUSYKEY Target key name already exists."));
    }
    let expire_at = expiry(call, &options)?;
    let skips_checksum = call.engine.skips_dump_checksum();
    let value = decode(payload, skips_checksum)?;
    if let Some(at) = expire_at
        && is_past(call, at)
    {
        if call.keys.remove(key).is_some() {
            call.replicate(&[b"DEL", key]);
        }
        call.reply.ok();
        return Ok(());
    }
    // Replicas and the append-only file get a payload that is right, as those who read it check it.
    let made;
    let payload = if skips_checksum {
        made = encode_dump(&value).map_err(|_| CommandError::text("ERR Bad data format"))?;
        made.as_slice()
    } else {
        payload
    };
    call.keys.set(key, Value::from(value).into(), expire_at);
    if let Some(idle_s) = options.idle_s {
        call.keys.set_idle(key, idle_s);
    }
    let ttl = expire_at.map_or(0, |at| at.0).to_string();
    call.replicate(&[b"RESTORE", key, ttl.as_bytes(), payload, b"REPLACE", b"ABSTTL"]);
    call.reply.ok();
    Ok(())
}

/// When the key expires; a TTL of zero means never. One so large that the moment is beyond all numbers counts as past:
/// Redis's sum becomes negative.
fn expiry(call: &Call<'_, '_>, options: &Options) -> CommandResult<Option<Millis>> {
    let ttl = parse_number(call.args[2]).ok_or(CommandError::NotInteger)?;
    if ttl < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    // The moment goes to the log, where it is read as a signed number again.
    let base = if options.absolute { 0 } else { i64::try_from(call.now().0).unwrap_or(i64::MAX) };
    let at = ttl.checked_add(base).unwrap_or(0);
    Ok((ttl > 0).then_some(Millis(at.unsigned_abs())))
}

fn decode(payload: &[u8], skip_checksum: bool) -> CommandResult<rdb::Value> {
    let decode = if skip_checksum { decode_dump_unchecked } else { decode_dump };
    match decode(payload) {
        Ok(value) => Ok(value),
        Err(RdbError::Checksum { .. } | RdbError::Version(_) | RdbError::Footer) => {
            Err(CommandError::text("ERR DUMP payload version or checksum are wrong"))
        }
        Err(_) => Err(CommandError::text("ERR Bad data format")),
    }
}

fn parse(args: &[&[u8]]) -> CommandResult<Options> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.to_ascii_uppercase().as_slice() {
            b"REPLACE" => options.replace = true,
            b"ABSTTL" => options.absolute = true,
            b"IDLETIME" if !options.freq => {
                let idle = number(rest.next())?;
                let idle = u64::try_from(idle)
                    .map_err(|_| CommandError::text("ERR Invalid IDLETIME value, must be >= 0"))?;
                options.idle_s = Some(u32::try_from(idle).unwrap_or(u32::MAX));
            }
            // Checked and then not used, as in Redis without an LFU policy.
            b"FREQ" if options.idle_s.is_none() => {
                let valid = (0..=255).contains(&number(rest.next())?);
                options.freq = true;
                if !valid {
                    return Err(CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(options)
}

fn number(arg: Option<&&[u8]>) -> CommandResult<i64> {
    parse_number(arg.ok_or(CommandError::Syntax)?).ok_or(CommandError::NotInteger)
}
