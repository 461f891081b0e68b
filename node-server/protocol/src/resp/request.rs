//! Requests: arrays of bulk strings, or one inline line.

use smallvec::SmallVec;

/// Bounds on what a client may send (Redis: server.h, networking.c).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest single argument in bytes, `proto-max-bulk-len`.
    pub bulk_len: usize,
    /// Most arguments in one request.
    pub args: usize,
    /// Longest inline request or length line in bytes.
    pub line_len: usize,
    /// The client has not said the password yet: [`STRANGER_ARGS`] and [`STRANGER_BULK_LEN`] hold as well.
    pub stranger: bool,
}

/// Most arguments in a request of a client that has not said the password (Redis: processMultibulkBuffer).
pub const STRANGER_ARGS: usize = 10;
/// Longest argument of such a client, in bytes.
pub const STRANGER_BULK_LEN: usize = 16_384;

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_len: 512 * 1024 * 1024, args: 1024 * 1024, line_len: 64 * 1024, stranger: false }
    }
}

/// What the front of the buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'b> {
    /// A whole request; `args` may be empty (`*0` or an empty line: nothing to do).
    Request {
        /// The arguments, in the buffer.
        args: SmallVec<[&'b [u8]; 8]>,
        /// Bytes it took.
        consumed: usize,
    },
    /// A whole inline request with its quotes undone.
    Inline {
        /// The arguments.
        args: Vec<Vec<u8>>,
        /// Bytes it took.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// The buffer has to be at least this long before it is worth parsing again.
        at_least: usize,
    },
}

/// The connection is told `-ERR Protocol error: …` and closed. The texts are Redis's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Argument count that is no number or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    ArgumentCount,
    /// Argument length that is no number, negative or above the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// More arguments than [`STRANGER_ARGS`].
    #[error("Protocol error: unauthenticated multibulk length")]
    StrangersCount,
    /// An argument longer than [`STRANGER_BULK_LEN`].
    #[error("Protocol error: unauthenticated bulk length")]
    StrangersLength,
    /// Something else than `$` before an argument.
    #[error("Protocol error: expected '$', got '{0}'")]
    ExpectedDollar(char),
    /// A count line without end.
    #[error("Protocol error: too big mbulk count string")]
    LongCount,
    /// A length line without end.
    #[error("Protocol error: too big bulk count string")]
    LongLength,
    /// An inline request without end.
    #[error("Protocol error: too big inline request")]
    LongInline,
    /// Quotes that do not close.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
}

/// Looks at the front of `buffer`; never panics, whatever the bytes.
///
/// # Errors
/// Bytes that are no request; the connection cannot go on.
pub fn parse_request<'b>(buffer: &'b [u8], limits: &Limits) -> Result<Parsed<'b>, RequestError> {
    match buffer.first() {
        None => Ok(Parsed::Incomplete { at_least: 1 }),
        Some(b'*') => parse_array(buffer, limits),
        Some(_) => parse_inline(buffer, limits),
    }
}

fn parse_array<'b>(buffer: &'b [u8], limits: &Limits) -> Result<Parsed<'b>, RequestError> {
    let (count, mut at) = match short_line(buffer, 1) {
        Some((count, at)) => (i64::from(count), at),
        None => match read_line(buffer, 1, limits).map_err(|()| RequestError::LongCount)? {
            Some((line, at)) => (parse_number(line).ok_or(RequestError::ArgumentCount)?, at),
            None => return Ok(Parsed::Incomplete { at_least: buffer.len() + 1 }),
        },
    };
    if count <= 0 {
        return Ok(Parsed::Request { args: SmallVec::new(), consumed: at });
    }
    let count =
        usize::try_from(count).ok().filter(|n| *n <= limits.args).ok_or(RequestError::ArgumentCount)?;
    if limits.stranger && count > STRANGER_ARGS {
        return Err(RequestError::StrangersCount);
    }
    let mut args = SmallVec::new();
    while args.len() < count {
        match buffer.get(at) {
            Some(b'$') => {}
            Some(other) => return Err(RequestError::ExpectedDollar(char::from(*other))),
            None => return Ok(Parsed::Incomplete { at_least: at + 4 }),
        }
        let (len, start) = match short_line(buffer, at + 1) {
            Some((len, start)) => (Some(len as usize), start),
            None => match read_line(buffer, at + 1, limits).map_err(|()| RequestError::LongLength)? {
                Some((line, start)) => (parse_number(line).and_then(|n| usize::try_from(n).ok()), start),
                None => return Ok(Parsed::Incomplete { at_least: buffer.len() + 1 }),
            },
        };
        let len = len.filter(|len| *len <= limits.bulk_len).ok_or(RequestError::BulkLength)?;
        if limits.stranger && len > STRANGER_BULK_LEN {
            return Err(RequestError::StrangersLength);
        }
        let end = start + len;
        if buffer.len() < end + 2 {
            return Ok(Parsed::Incomplete { at_least: end + 2 });
        }
        args.push(&buffer[start..end]);
        at = end + 2;
    }
    Ok(Parsed::Request { args, consumed: at })
}

/// The number of a line of at most three digits, as nearly all are, and the position after it. `None`: look closer.
fn short_line(buffer: &[u8], from: usize) -> Option<(u32, usize)> {
    let mut number = 0;
    for (at, byte) in buffer.get(from..)?.iter().enumerate().take(4) {
        match byte {
            b'0'..=b'9' if at == 0 || number > 0 => number = number * 10 + u32::from(byte - b'0'),
            b'\r' if at > 0 && buffer.get(from + at + 1) == Some(&b'\n') => {
                return Some((number, from + at + 2));
            }
            _ => return None,
        }
    }
    None
}

/// The line from `from` up to CRLF and the position after it. `None`: no end yet. `Err`: too long.
#[allow(clippy::type_complexity, reason = "a pair with its three outcomes")]
fn read_line<'b>(buffer: &'b [u8], from: usize, limits: &Limits) -> Result<Option<(&'b [u8], usize)>, ()> {
    let rest = &buffer[from.min(buffer.len())..];
    let window = &rest[..rest.len().min(limits.line_len)];
    match window.iter().position(|b| *b == b'\r') {
        Some(end) if rest.len() > end + 1 => Ok(Some((&rest[..end], from + end + 2))),
        Some(_) => Ok(None),
        None if rest.len() >= limits.line_len => Err(()),
        None => Ok(None),
    }
}

/// A decimal number as Redis's `string2ll` reads it: no plus, no leading zeros, no spaces.
#[must_use]
pub fn parse_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.len() < 20 && digits.iter().all(u8::is_ascii_digit);
    let canonical = plain && (digits[0] != b'0' || text.len() == 1);
    if canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn parse_inline<'b>(buffer: &'b [u8], limits: &Limits) -> Result<Parsed<'b>, RequestError> {
    let window = &buffer[..buffer.len().min(limits.line_len)];
    let Some(end) = window.iter().position(|b| *b == b'\n') else {
        if buffer.len() >= limits.line_len {
            return Err(RequestError::LongInline);
        }
        return Ok(Parsed::Incomplete { at_least: buffer.len() + 1 });
    };
    let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
    let args = split_quoted(line).ok_or(RequestError::Quotes)?;
    Ok(Parsed::Inline { args, consumed: end + 1 })
}

/// Splits a line at white space, undoing `"…"` (with `\n \r \t \b \a \xHH` and escaped characters) and `'…'`
/// (with `\'`), as Redis's `sdssplitargs` does for inline requests and redis.conf. `None`: quotes that do not
/// close or are followed by something else than white space.
#[must_use]
pub fn split_quoted(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut args = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let mut arg = Vec::new();
        rest = read_word(rest, &mut arg)?.trim_ascii_start();
        args.push(arg);
    }
    Some(args)
}

/// Reads one word to `arg` and returns what follows it.
fn read_word<'l>(mut rest: &'l [u8], arg: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [b'"', tail @ ..] => return closed(read_double_quoted(tail, arg)?),
            [b'\'', tail @ ..] => return closed(read_single_quoted(tail, arg)?),
            [c, ..] if c.is_ascii_whitespace() || *c == 0 => {
                return Some(rest.strip_prefix(&[0]).unwrap_or(rest));
            }
            [c, tail @ ..] => {
                arg.push(*c);
                rest = tail;
            }
        }
    }
}

/// After a closing quote comes white space or nothing.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
}

fn read_double_quoted<'l>(mut rest: &'l [u8], arg: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                arg.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', c, tail @ ..] => {
                arg.push(match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [c, tail @ ..] => {
                arg.push(*c);
                rest = tail;
            }
        }
    }
}

fn read_single_quoted<'l>(mut rest: &'l [u8], arg: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                arg.push(b'\'');
                rest = tail;
            }
            [c, tail @ ..] => {
                arg.push(*c);
                rest = tail;
            }
        }
    }
}

fn hex(c: u8) -> u8 {
    char::from(c).to_digit(16).unwrap_or(0) as u8
}
