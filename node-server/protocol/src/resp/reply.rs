//! Replies in, for those parts that are clients: MIGRATE, the replication handshake, tests.

/// A reply of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+text`.
    Simple(String),
    /// `-text`, code first.
    Error(String),
    /// `:n`.
    Integer(i64),
    /// `$n`, and `=n` (verbatim, with its kind).
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`.
    Null,
    /// `#t`, `#f`.
    Boolean(bool),
    /// `,1.5`.
    Double(f64),
    /// `(123…`.
    BigNumber(String),
    /// `*n`, `~n`.
    Array(Vec<Reply>),
    /// `%n`.
    Map(Vec<(Reply, Reply)>),
    /// `>n`.
    Push(Vec<Reply>),
}

/// Bytes that are no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// First byte of no reply type.
    #[error("not a RESP reply: it begins with byte {0:#04x}")]
    Kind(u8),
    /// A length or number that is none, or above the bound.
    #[error("bad number in a RESP reply: {0:?}")]
    Number(String),
    /// Deeper than [`DEPTH_MAX`].
    #[error("RESP reply nested deeper than {DEPTH_MAX}")]
    Depth,
}

/// Deepest nesting accepted.
pub const DEPTH_MAX: usize = 32;
/// Longest bulk string or array accepted.
pub const LEN_MAX: usize = 512 * 1024 * 1024;

/// Parses the reply at the front of `buffer`: the reply and the bytes it took, or `None` when it is not whole.
///
/// # Errors
/// Bytes that are no reply.
pub fn parse_reply(buffer: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    parse_at(buffer, 0, 0)
}

type Step<T> = Result<Option<(T, usize)>, ReplyError>;

fn parse_at(buffer: &[u8], at: usize, depth: usize) -> Step<Reply> {
    if depth > DEPTH_MAX {
        return Err(ReplyError::Depth);
    }
    let Some(kind) = buffer.get(at) else { return Ok(None) };
    let Some((line, next)) = read_line(buffer, at + 1) else { return Ok(None) };
    let text = || String::from_utf8_lossy(line).into_owned();
    let done = |reply| Ok(Some((reply, next)));
    match kind {
        b'+' => done(Reply::Simple(text())),
        b'-' => done(Reply::Error(text())),
        b':' => done(Reply::Integer(number(line)?)),
        b'_' => done(Reply::Null),
        b'#' => done(Reply::Boolean(line == b"t")),
        b'(' => done(Reply::BigNumber(text())),
        b',' => done(Reply::Double(text().parse().map_err(|_| ReplyError::Number(text()))?)),
        b'$' | b'=' => parse_bulk(buffer, line, next),
        b'*' | b'~' | b'>' => match length(line)? {
            None => done(Reply::Null),
            Some(len) => Ok(parse_items(buffer, next, len, depth)?.map(|(items, end)| {
                (if *kind == b'>' { Reply::Push(items) } else { Reply::Array(items) }, end)
            })),
        },
        b'%' => parse_map(buffer, line, next, depth),
        other => Err(ReplyError::Kind(*other)),
    }
}

fn parse_bulk(buffer: &[u8], line: &[u8], start: usize) -> Step<Reply> {
    let Some(len) = length(line)? else { return Ok(Some((Reply::Null, start))) };
    let whole = buffer.len() >= start + len + 2;
    Ok(whole.then(|| (Reply::Bulk(buffer[start..start + len].to_vec()), start + len + 2)))
}

fn parse_map(buffer: &[u8], line: &[u8], start: usize, depth: usize) -> Step<Reply> {
    let len = length(line)?.unwrap_or(0);
    let Some((items, end)) = parse_items(buffer, start, len * 2, depth)? else { return Ok(None) };
    let mut pairs = Vec::with_capacity(len);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    Ok(Some((Reply::Map(pairs), end)))
}

fn parse_items(buffer: &[u8], mut at: usize, len: usize, depth: usize) -> Step<Vec<Reply>> {
    let mut items = Vec::with_capacity(len.min(1024));
    for _ in 0..len {
        let Some((item, next)) = parse_at(buffer, at, depth + 1)? else { return Ok(None) };
        items.push(item);
        at = next;
    }
    Ok(Some((items, at)))
}

fn read_line(buffer: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = buffer.get(from..)?;
    let end = rest.windows(2).position(|w| w == b"\r\n")?;
    Some((&rest[..end], from + end + 2))
}

fn number(line: &[u8]) -> Result<i64, ReplyError> {
    let text = String::from_utf8_lossy(line);
    text.parse().map_err(|_| ReplyError::Number(text.into_owned()))
}

/// `None` for -1.
fn length(line: &[u8]) -> Result<Option<usize>, ReplyError> {
    match number(line)? {
        -1 => Ok(None),
        n => match usize::try_from(n) {
            Ok(len) if len <= LEN_MAX => Ok(Some(len)),
            _ => Err(ReplyError::Number(n.to_string())),
        },
    }
}
