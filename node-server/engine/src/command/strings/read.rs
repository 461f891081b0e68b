//! Commands that only read strings.

use super::{integer, reply_with_value, text_of};
use crate::command::{Call, CommandResult};

/// GET key.
pub(super) fn get(call: &mut Call<'_, '_>) -> CommandResult {
    reply_with_value(call, call.args[1])
}

/// MGET key…: null for what is not there or no string.
pub(super) fn mget(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = &call.args[1..];
    call.reply.array(keys.len());
    for key in keys {
        match call.keys.read(key).map(text_of) {
            Some(Ok(text)) => text.with(|bytes| call.reply.bulk(bytes)),
            Some(Err(_)) | None => call.reply.null(),
        }
    }
    Ok(())
}

/// STRLEN key.
pub(super) fn strlen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = match call.keys.read(call.args[1]) {
        Some(entry) => text_of(entry)?.len(),
        None => 0,
    };
    call.reply.integer(len as i64);
    Ok(())
}

/// GETRANGE key start end; SUBSTR is its old name.
pub(super) fn getrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, end) = (integer(call.args[2])?, integer(call.args[3])?);
    match call.keys.read(call.args[1]) {
        Some(entry) => text_of(entry)?.with(|bytes| call.reply.bulk(part(bytes, start, end))),
        None => call.reply.bulk(b""),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn part(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    // Both before the beginning and in the wrong order: nothing, although both would become 0 below.
    if bytes.is_empty() || (start < 0 && end < 0 && start > end) {
        return b"";
    }
    let from_front = |at: i64| if at < 0 { len.saturating_add(at).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { b"" } else { &bytes[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts() {
        let of = |start, end| std::str::from_utf8(part(b"This is a string", start, end)).unwrap();
        assert_eq!(of(0, 3), "This");
        assert_eq!(of(-3, -1), "ing");
        assert_eq!(of(0, -1), "This is a string");
        assert_eq!(of(10, 100), "string");
        assert_eq!(of(5, 3), "");
        assert_eq!(of(-100, -200), "");
        assert_eq!(of(-100, 0), "T");
        assert_eq!(of(i64::MIN, i64::MAX), "This is a string");
        assert_eq!(of(i64::MAX, i64::MIN), "");
        assert_eq!(part(b"", 0, -1), b"");
    }
}
