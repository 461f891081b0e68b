//! The options of SET and GETEX.

use super::integer;
use crate::command::{CommandError, CommandResult};
use node_server_protocol::Millis;

/// What happens to a key's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// Not said: SET clears it, GETEX leaves it.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Clear,
    /// EX, PX, EXAT or PXAT.
    At {
        /// The argument.
        time: &'a [u8],
        /// Its unit.
        unit: Unit,
        /// Whether it counts from now.
        relative: bool,
    },
}

impl<'a> Expiry<'a> {
    /// The same word may be said twice, and the last one counts; two different ones contradict each other.
    fn replace(&mut self, other: Self) -> CommandResult {
        let same = match (*self, other) {
            (Self::Unsaid, _) => true,
            (Self::At { unit: a, relative: b, .. }, Self::At { unit: x, relative: y, .. }) => {
                (a, b) == (x, y)
            }
            (a, b) => a == b,
        };
        if !same {
            return Err(CommandError::Syntax);
        }
        *self = other;
        Ok(())
    }
}

/// Of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// Parsed options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    pub nx: bool,
    pub xx: bool,
    pub get: bool,
    pub expiry: Expiry<'a>,
}

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Set,
    Getex,
}

/// Reads `args`, the words behind the value (SET) or key (GETEX). Redis: parseExtendedStringArgumentsOrReply.
pub(super) fn parse<'a>(args: &[&'a [u8]], of: Of) -> CommandResult<Options<'a>> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let word = arg.to_ascii_uppercase();
        let set = of == Of::Set;
        match word.as_slice() {
            b"NX" if set && !options.xx => options.nx = true,
            b"XX" if set && !options.nx => options.xx = true,
            b"GET" if set => options.get = true,
            b"KEEPTTL" if set => options.expiry.replace(Expiry::Keep)?,
            b"PERSIST" if !set => options.expiry.replace(Expiry::Clear)?,
            word => {
                let (unit, relative) = time_word(word).ok_or(CommandError::Syntax)?;
                let time = rest.next().ok_or(CommandError::Syntax)?;
                options.expiry.replace(Expiry::At { time, unit, relative })?;
            }
        }
    }
    Ok(options)
}

fn time_word(word: &[u8]) -> Option<(Unit, bool)> {
    Some(match word {
        b"EX" => (Unit::Seconds, true),
        b"PX" => (Unit::Milliseconds, true),
        b"EXAT" => (Unit::Seconds, false),
        b"PXAT" => (Unit::Milliseconds, false),
        _ => return None,
    })
}

/// The moment that a time means.
///
/// # Errors
/// No integer, not above zero, or out of range; `command` is named.
pub(super) fn moment(
    time: &[u8],
    unit: Unit,
    relative: bool,
    now: Millis,
    command: &str,
) -> CommandResult<Millis> {
    let invalid = || CommandError::text(format!("ERR invalid expire time in '{command}' command"));
    let number = integer(time)?;
    if number <= 0 {
        return Err(invalid());
    }
    let ms = match unit {
        Unit::Seconds => number.checked_mul(1000).ok_or_else(invalid)?,
        Unit::Milliseconds => number,
    };
    let base = if relative { i64::try_from(now.0).map_err(|_| invalid())? } else { 0 };
    let at = ms.checked_add(base).ok_or_else(invalid)?;
    Ok(Millis(at.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, of: Of) -> CommandResult<String> {
        let args: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
        parse(&args, of).map(|o| {
            let expiry = match o.expiry {
                Expiry::Unsaid => "",
                Expiry::Keep => " keep",
                Expiry::Clear => " clear",
                Expiry::At { unit: Unit::Seconds, relative, .. } => {
                    if relative {
                        " ex"
                    } else {
                        " exat"
                    }
                }
                Expiry::At { relative, .. } => {
                    if relative {
                        " px"
                    } else {
                        " pxat"
                    }
                }
            };
            format!(
                "{}{}{}{expiry}",
                if o.nx { " nx" } else { "" },
                if o.xx { " xx" } else { "" },
                if o.get { " get" } else { "" }
            )
        })
    }

    #[test]
    fn words_that_go_together() {
        for (text, expected) in [
            ("", ""),
            ("nx get", " nx get"),
            ("GET XX keepttl", " xx get keep"),
            ("ex 10 nx", " nx ex"),
            ("pxat 10", " pxat"),
            ("px 1", " px"),
            ("exat 1", " exat"),
            ("ex 1 ex 2", " ex"),
        ] {
            assert_eq!(parsed(text, Of::Set).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(parsed("persist", Of::Getex).as_deref(), Ok(" clear"));
    }

    #[test]
    fn words_that_do_not() {
        for text in ["nx xx", "xx nx", "ex", "ex 1 px 1", "keepttl ex 1", "ex 1 keepttl", "persist", "foo"] {
            assert_eq!(parsed(text, Of::Set), Err(CommandError::Syntax), "{text}");
        }
        for text in ["nx", "get", "keepttl", "persist ex 1", "ex 1 persist"] {
            assert_eq!(parsed(text, Of::Getex), Err(CommandError::Syntax), "{text}");
        }
    }

    #[test]
    fn moments() {
        let at = |time: &str, unit, relative| moment(time.as_bytes(), unit, relative, Millis(1000), "set");
        assert_eq!(at("2", Unit::Seconds, true), Ok(Millis(3000)));
        assert_eq!(at("2", Unit::Milliseconds, false), Ok(Millis(2)));
        let invalid = Err(CommandError::text("ERR invalid expire time in 'set' command"));
        for time in ["0", "-1", "9223372036854775807"] {
            assert_eq!(at(time, Unit::Seconds, true), invalid, "{time}");
        }
        assert_eq!(at("9223372036854775807", Unit::Milliseconds, true), invalid);
        assert_eq!(at("x", Unit::Seconds, true), Err(CommandError::NotInteger));
    }
}
