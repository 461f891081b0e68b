//! Where one piece of an append-only file ends: a command (`*n`, then n times `$len` and bytes) or an annotation (a
//! line that begins with `#`).

use super::seal::decimal;

/// Longest annotation with its end of line: redis-server and redis-check-aof 7.0.15 take one of 1022 bytes and refuse
/// one of 1024.
pub(super) const NOTE_MAX: usize = 1023;
/// Longest line with a number: a sign, twenty digits, an end of line.
const NUMBER_LINE_MAX: usize = 23;
/// Most arguments, as in a request.
const ARGS_MAX: u64 = i32::MAX as u64;
/// Longest argument that is believed, eight times the usual `proto-max-bulk-len`.
const ARG_MAX: u64 = 4 << 30;

/// What is at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    /// A command of this length.
    Command {
        /// In bytes.
        len: usize,
        /// Its name.
        name: &'b [u8],
    },
    /// An annotation with its end of line.
    Note(&'b [u8]),
    /// The bytes end before it does; it has at least this length.
    More(usize),
}

/// Looks at the front of `bytes` and gives each argument to `each`.
///
/// # Errors
/// What is there is neither, however it may go on.
pub(super) fn frame<'b>(bytes: &'b [u8], mut each: impl FnMut(&'b [u8])) -> Result<Frame<'b>, &'static str> {
    match bytes.first() {
        None => return Ok(Frame::More(1)),
        Some(b'#') => return note(bytes),
        Some(_) => {}
    }
    let Some((count, mut at)) =
        number(bytes, b'*', "a command begins with * and the number of its arguments")?
    else {
        return Ok(Frame::More(bytes.len() + 1));
    };
    if count == 0 || count > ARGS_MAX {
        return Err("impossible number of arguments");
    }
    let mut name = None;
    for _ in 0..count {
        let rest = bytes.get(at..).unwrap_or_default();
        let head = number(rest, b'$', "an argument begins with $ and its length")?;
        let Some((len, from)) = head else { return Ok(Frame::More(bytes.len() + 1)) };
        if len > ARG_MAX {
            return Err("impossible length of an argument");
        }
        // 64 bits, and both are far below their end.
        let to = at + from + len as usize;
        match bytes.get(to..to + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err("an argument is longer or shorter than its length says"),
            None => return cut_argument(bytes, to),
        }
        let arg = bytes.get(at + from..to).unwrap_or_default();
        name.get_or_insert(arg);
        each(arg);
        at = to + 2;
    }
    Ok(Frame::Command { len: at, name: name.unwrap_or_default() })
}

/// The end of an argument's bytes is at `to`, and what follows is not all there.
fn cut_argument(bytes: &[u8], to: usize) -> Result<Frame<'_>, &'static str> {
    match bytes.get(to) {
        // Whoever gives one byte more hears the same as who gives all.
        None => Ok(Frame::More(to + 1)),
        Some(b'\r') => Ok(Frame::More(to + 2)),
        Some(_) => Err("an argument is longer or shorter than its length says"),
    }
}

fn note(bytes: &[u8]) -> Result<Frame<'_>, &'static str> {
    let within = bytes.get(..NOTE_MAX).unwrap_or(bytes);
    match within.iter().position(|b| *b == b'\n') {
        Some(end) => Ok(Frame::Note(within.get(..=end).unwrap_or_default())),
        None if bytes.len() >= NOTE_MAX => Err("an annotation without end"),
        None => Ok(Frame::More(bytes.len() + 1)),
    }
}

/// A line of `mark` and a number: the number and the length of the line; `None`: it may become one.
fn number(bytes: &[u8], mark: u8, what: &'static str) -> Result<Option<(u64, usize)>, &'static str> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    if *first != mark {
        return Err(what);
    }
    let within = rest.get(..NUMBER_LINE_MAX).unwrap_or(rest);
    let digits = within.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, end) = within.split_at_checked(digits).unwrap_or_default();
    match end {
        [b'\r', b'\n', ..] => decimal(number).map(|n| Some((n, digits + 3))).ok_or(what),
        [] | [b'\r'] if rest.len() < NUMBER_LINE_MAX => Ok(None),
        _ => Err(what),
    }
}

/// Whether some bytes could be the beginning of one, cut anywhere.
pub(super) fn is_beginning(bytes: &[u8]) -> bool {
    matches!(frame(bytes, |_| {}), Ok(Frame::More(_)))
}
