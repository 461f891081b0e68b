//! Why a command failed, in Redis's exact words.

use crate::keyspace::WaitFor;
use node_server_protocol::resp::{ReplyWriter, until_nul};
use std::borrow::Cow;

/// An error reply, or that the command has to run again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A key of another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Options that make no sense.
    #[error("ERR syntax error")]
    Syntax,
    /// No integer, or one that does not fit.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// No number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A key that has to exist.
    #[error("ERR no such key")]
    NoSuchKey,
    /// Wrong number of arguments; the full name.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// Any other, with its code.
    #[error("{0}")]
    Text(Cow<'static, str>),
    /// One that repeats an argument, which need not be text.
    #[error("{}", String::from_utf8_lossy(.0))]
    Quoting(Vec<u8>),
    /// Not an error: the command has to wait and run again; nothing was changed.
    #[error("ERR the command would have to wait for {0:?}")]
    Wait(WaitFor),
}

impl CommandError {
    /// Any text with its code, as in `ERR no such thing`.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// `before`, an argument as C shows it, `after`.
    pub(crate) fn quoting(before: &str, arg: &[u8], after: &str) -> Self {
        Self::Quoting([before.as_bytes(), until_nul(arg), after.as_bytes()].concat())
    }

    /// Writes the error reply.
    pub(crate) fn write(&self, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::Quoting(bytes) => reply.error_bytes(bytes),
            other => reply.error(&other.to_string()),
        }
    }
}

/// What a handler returns: its reply has been written, or why not.
pub type CommandResult<T = ()> = Result<T, CommandError>;

/// How much of a name or argument is repeated in an error (Redis: 128).
const REPEATED_MAX: usize = 128;

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    until_nul(&bytes[..bytes.len().min(max)])
}

/// No such command (Redis: rejectCommand in processCommand).
pub(crate) fn unknown_command(args: &[&[u8]]) -> CommandError {
    let mut list = Vec::new();
    for arg in &args[1..] {
        if list.len() >= REPEATED_MAX {
            break;
        }
        list.extend_from_slice(&[b"'", cut(arg, REPEATED_MAX - list.len()), b"' "].concat());
    }
    let name = cut(args[0], REPEATED_MAX);
    CommandError::Quoting(
        [b"ERR unknown command '", name, b"', with args beginning with: ", list.as_slice()].concat(),
    )
}

/// No such subcommand.
pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> CommandError {
    let after = format!("'. Try {} HELP.", container.to_ascii_uppercase());
    CommandError::quoting("ERR unknown subcommand '", cut(name, REPEATED_MAX), &after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server_protocol::resp::Protocol;

    fn reply(error: &CommandError) -> Vec<u8> {
        let mut out = Vec::new();
        error.write(&mut ReplyWriter::new(&mut out, Protocol::Resp2));
        out
    }

    #[test]
    fn arguments_are_repeated_as_bytes_up_to_a_nul_and_on_one_line() {
        let error = unknown_command(&[b"b\xffd", b"1\r\n2", b"a\0b", b"\0"]);
        let expected: &[u8] = b"-ERR unknown command 'b\xffd', with args beginning with: '1  2' 'a' '' \r\n";
        assert_eq!(reply(&error), expected);
        let error = unknown_subcommand("config", b"g\xff\0t");
        assert_eq!(reply(&error), b"-ERR unknown subcommand 'g\xff'. Try CONFIG HELP.\r\n");
    }

    #[test]
    fn what_is_repeated_has_a_bound() {
        let (long, more) = ([b'x'; 200], [b'y'; 200]);
        let error = reply(&unknown_command(&[&long, &more[..100], &more, &more]));
        let (x, y) = ("x".repeat(128), "y".repeat(100));
        let rest = "y".repeat(128 - 103);
        let expected = format!("-ERR unknown command '{x}', with args beginning with: '{y}' '{rest}' \r\n");
        assert_eq!(error, expected.as_bytes());
    }
}
