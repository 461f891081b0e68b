//! The words of a manifest line, with the quoting that Redis also uses in redis.conf: `"…"` with backslash escapes,
//! `'…'` with only `\'`, bare words otherwise.

use std::fmt::Write as _;

/// Splits a line into words; `None`: the quotes are not balanced.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let (word, behind) = first_word(rest)?;
        words.push(word);
        rest = behind;
    }
}

fn first_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => break,
            b'"' | b'\'' => {
                rest = quoted(byte, behind, &mut word)?;
                // `"a"b` is a mistake, not two words.
                return rest.first().is_none_or(u8::is_ascii_whitespace).then_some((word, rest));
            }
            _ => {
                word.push(byte);
                rest = behind;
            }
        }
    }
    Some((word, rest))
}

/// Takes what stands before the closing quote; returns what stands behind it.
fn quoted<'b>(quote: u8, mut rest: &'b [u8], word: &mut Vec<u8>) -> Option<&'b [u8]> {
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            _ if byte == quote => return Some(rest),
            b'\\' if quote == b'"' => {
                let (taken, behind) = escape(rest)?;
                word.push(taken);
                rest = behind;
            }
            b'\\' if rest.first() == Some(&b'\'') => {
                word.push(b'\'');
                rest = rest.get(1..)?;
            }
            _ => word.push(byte),
        }
    }
}

fn escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'x', high, low, behind @ ..] = rest
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return Some((high << 4 | low, behind));
    }
    let (&byte, behind) = rest.split_first()?;
    let meant = match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    };
    Some((meant, behind))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// The word as it is written: quoted only where it has to be, so that names that people use stay readable.
pub(super) fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.bytes().all(plain) {
        return word.into();
    }
    let mut out = String::from("\"");
    for byte in word.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            8 => out.push_str("\\b"),
            7 => out.push_str("\\a"),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out.push('"');
    out
}
