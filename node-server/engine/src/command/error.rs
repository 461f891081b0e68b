//! Why a command failed, in Redis's exact words.

use crate::keyspace::WaitFor;
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
    /// Not an error: the command has to wait and run again; nothing was changed.
    #[error("ERR the command would have to wait for {0:?}")]
    Wait(WaitFor),
}

impl CommandError {
    /// Any text with its code, as in `ERR no such thing`.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }
}

/// What a handler returns: its reply has been written, or why not.
pub type CommandResult<T = ()> = Result<T, CommandError>;

/// How much of a name or argument is repeated in an error (Redis: 128).
const REPEATED_MAX: usize = 128;

fn printable(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(REPEATED_MAX)];
    String::from_utf8_lossy(cut).replace(['\r', '\n', '\0'], " ")
}

/// No such command (Redis: rejectCommand in processCommand).
pub(crate) fn unknown_command(args: &[&[u8]]) -> CommandError {
    let mut list = String::new();
    for arg in &args[1..] {
        if list.len() >= REPEATED_MAX {
            break;
        }
        let room = REPEATED_MAX - list.len();
        list.push('\'');
        list.push_str(&printable(&arg[..arg.len().min(room)]));
        list.push_str("' ");
    }
    let name = printable(args[0]);
    CommandError::text(format!("ERR unknown command '{name}', with args beginning with: {list}"))
}

/// No such subcommand.
pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> CommandError {
    let (name, container) = (printable(name), container.to_ascii_uppercase());
    CommandError::text(format!("ERR unknown subcommand '{name}'. Try {container} HELP."))
}
