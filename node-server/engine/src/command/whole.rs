//! Commands that look at keys wherever they are: SCAN, KEYS, RANDOMKEY, and MIGRATE.

use super::arguments::{KEY, block, integer, key, one_of, pattern, text, word};
use super::call::{NodeCall, SessionCall};
use super::spec::{Argument, Begin, Find, Flags, KeySpec, Run, Spec, one_key};
use super::{CommandError, CommandResult};
use crate::glob;
use crate::keyspace::Entry;
use crate::migrate::MigrateRequest;
use crate::options::SCAN_SLOTS_MAX;
use crate::outcome::{Deferred, Outcome};
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::until_nul;
use node_server_protocol::{SLOT_COUNT, Slot};

const MIGRATE: &[Argument] = &[
    text("host"),
    integer("port"),
    one_of("key-selector", &[KEY, word("empty-string", "")]),
    integer("destination-db"),
    integer("timeout"),
    word("copy", "COPY").optional(),
    word("replace", "REPLACE").optional(),
    one_of(
        "authentication",
        &[text("auth").after("AUTH"), block("auth2", &[text("username"), text("password")]).after("AUTH2")],
    )
    .optional(),
    key("keys", 1).after("KEYS").any_number(),
];

/// This file's part of the table.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "keys",
        arity: 2,
        flags: Flags::READONLY.with(Flags::OFFLOAD),
        categories: &["keyspace", "dangerous"],
        complexity: "O(N), N being the number of keys",
        summary: "Names the keys that match a pattern.",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        arguments: &[pattern("pattern")],
        run: Run::Node(keys_command),
        ..Spec::BASE
    },
    Spec {
        name: "migrate",
        arity: -6,
        flags: Flags::WRITE.with(Flags::MOVABLE_KEYS).with(Flags::NO_MULTI).with(Flags::MIGRATES),
        categories: &["keyspace", "dangerous"],
        keys: &[
            one_key(3, &["RW", "access", "delete"]),
            KeySpec {
                flags: &["RW", "access", "delete", "incomplete"],
                begin: Begin::Keyword("KEYS", -2),
                find: Find::Range { last: -1, step: 1, limit: 0 },
                notes: "",
            },
        ],
        since: "2.6.0",
        complexity: "O(N), N being the size of the values",
        summary: "Moves keys to another node.",
        tips: &["nondeterministic_output"],
        arguments: MIGRATE,
        run: Run::Session(migrate),
        ..Spec::BASE
    },
    Spec {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        categories: &["keyspace"],
        summary: "Names any key.",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        run: Run::Node(randomkey),
        ..Spec::BASE
    },
    Spec {
        name: "scan",
        arity: -2,
        flags: Flags::READONLY,
        categories: &["keyspace"],
        since: "2.8.0",
        complexity: "O(1) for every call; O(N) for a whole iteration, N being the number of keys",
        summary: "Names the keys bit by bit.",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        arguments: &[
            integer("cursor"),
            pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
            text("type").after("TYPE").optional(),
        ],
        run: Run::Node(scan),
        ..Spec::BASE
    },
];

fn migrate(call: &mut SessionCall<'_>) -> CommandResult<Outcome> {
    Ok(Outcome::Defer(Deferred::Migrate(MigrateRequest::parse(call.args)?)))
}

/// The slots that the session's keys are in.
fn slots(call: &NodeCall<'_, '_>) -> impl Iterator<Item = Slot> + use<> {
    let only = (!call.engine.is_cluster()).then_some(call.session.db);
    Slot::all().filter(move |slot| only.is_none_or(|db| db == slot.number()))
}

fn keys_command(call: &mut NodeCall<'_, '_>) -> CommandResult {
    let pattern = call.args[1];
    let everything = pattern == b"*";
    let mut found: Vec<Vec<u8>> = Vec::new();
    for slot in slots(call) {
        if call.engine.keyspace.slot_len(slot) == 0 {
            continue;
        }
        call.with_slot(slot, |keys| {
            let names = keys.iter().map(Entry::key).filter(|key| everything || glob::matches(pattern, key));
            found.extend(names.map(<[u8]>::to_vec));
        })?;
    }
    call.reply.array(found.len());
    found.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

/// How often RANDOMKEY looks for a key that has not expired, before it takes the first that it finds.
const RANDOM_TRIES: usize = 100;

fn randomkey(call: &mut NodeCall<'_, '_>) -> CommandResult {
    let candidates: Vec<Slot> = slots(call).filter(|s| call.engine.keyspace.slot_len(*s) > 0).collect();
    for _ in 0..RANDOM_TRIES {
        let random = call.engine.random();
        let Some(slot) = candidates.get((random % candidates.len().max(1) as u64) as usize) else { break };
        let key = call.with_slot(*slot, |keys| keys.near(random >> 20).map(|e| e.key().to_vec()))?;
        if let Some(key) = key {
            call.reply.bulk(&key);
            return Ok(());
        }
    }
    for slot in candidates {
        let key = call.with_slot(slot, |keys| keys.iter().next().map(|e| e.key().to_vec()))?;
        if let Some(key) = key {
            call.reply.bulk(&key);
            return Ok(());
        }
    }
    call.reply.null();
    Ok(())
}

/// Bits of a SCAN cursor that say where in the slot; the others say which slot.
const POSITION_BITS: u32 = 48;
/// Default of COUNT.
const COUNT_DEFAULT: usize = 10;
/// Times COUNT that SCAN looks at without finding enough (Redis: the same factor).
const EFFORT: usize = 10;

struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    kind: Option<&'a [u8]>,
}

fn scan_options<'a>(args: &[&'a [u8]]) -> CommandResult<ScanOptions<'a>> {
    let mut options = ScanOptions { pattern: None, count: COUNT_DEFAULT, kind: None };
    for pair in args.chunks(2) {
        let [word, value] = pair else { return Err(CommandError::Syntax) };
        if word.eq_ignore_ascii_case(b"COUNT") {
            let count = parse_number(value).ok_or(CommandError::NotInteger)?;
            options.count = usize::try_from(count).ok().filter(|c| *c > 0).ok_or(CommandError::Syntax)?;
        } else if word.eq_ignore_ascii_case(b"MATCH") {
            options.pattern = (*value != b"*").then_some(*value);
        } else if word.eq_ignore_ascii_case(b"TYPE") {
            options.kind = Some(*value);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// Reads a cursor as Redis does, which is as C's `strtoul` does: nothing is zero, and a minus sign counts down from
/// 2^64.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = until_nul(text);
    if text.is_empty() {
        return Some(0);
    }
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // The standard library would take one more sign.
    let plain = digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// SCAN: the cursor is the slot and the place in it, so that every key which is there from the first call to the last
/// is returned at least once, whatever grows or shrinks meanwhile.
fn scan(call: &mut NodeCall<'_, '_>) -> CommandResult {
    let cursor = parse_cursor(call.args[1]).ok_or(CommandError::text("ERR invalid cursor"))?;
    let options = scan_options(&call.args[2..])?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = scan_slots(call, cursor, &options, &mut found)?;
    call.reply.array(2);
    call.reply.bulk(next.to_string().as_bytes());
    call.reply.array(found.len());
    found.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn scan_slots(
    call: &mut NodeCall<'_, '_>,
    cursor: u64,
    options: &ScanOptions<'_>,
    found: &mut Vec<Vec<u8>>,
) -> CommandResult<u64> {
    let cluster = call.engine.is_cluster();
    let mut slot = if cluster { cursor >> POSITION_BITS } else { u64::from(call.session.db) };
    let mut position = cursor & ((1 << POSITION_BITS) - 1);
    let end = if cluster { u64::from(SLOT_COUNT) } else { slot + 1 };
    let (mut seen, mut looked) = (0, 0);
    while slot < end && looked < SCAN_SLOTS_MAX {
        let Some(number) = u16::try_from(slot).ok().and_then(Slot::new) else { return Ok(0) };
        if call.engine.keyspace.slot_len(number) > 0 {
            looked += 1;
            position = call.with_slot(number, |keys| {
                let mut at = position;
                loop {
                    at = keys.scan(at, |entry| {
                        seen += 1;
                        if wanted(options, entry) {
                            found.push(entry.key().to_vec());
                        }
                    });
                    let places = at == 0
                        || found.len() >= options.count
                        || seen >= options.count.saturating_mul(EFFORT);
                    if places {
                        break at;
                    }
                }
            })?;
        } else {
            position = 0;
        }
        if position == 0 {
            slot += 1;
        }
        if found.len() >= options.count || seen >= options.count.saturating_mul(EFFORT) {
            break;
        }
    }
    let slot_bits = if cluster { slot << POSITION_BITS } else { 0 };
    Ok(if slot >= end { 0 } else { slot_bits | position })
}

fn wanted(options: &ScanOptions<'_>, entry: &Entry) -> bool {
    options.pattern.is_none_or(|pattern| glob::matches(pattern, entry.key()))
        && options.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(entry.value().type_name().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 takes.
    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        for (text, cursor) in [
            ("", 0),
            ("-0", 0),
            ("+1", 1),
            ("01", 1),
            ("-1", u64::MAX),
            ("-9223372036854775809", 9_223_372_036_854_775_807),
            ("18446744073709551615", u64::MAX),
            ("-18446744073709551615", 1),
            ("1\0x", 1),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()), Some(cursor), "{text}");
        }
        for text in
            ["-", "+", "+-1", " 1", "1 ", "18446744073709551616", "-18446744073709551616", "0x10", "abc"]
        {
            assert_eq!(parse_cursor(text.as_bytes()), None, "{text}");
        }
    }
}
