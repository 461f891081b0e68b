//! Lengths and strings.

use crate::{RdbError, lzf};

/// Longest string that is never compressed.
const UNCOMPRESSED_MAX: usize = 20;
/// Fewest bytes that are worth it.
const SAVED_MIN: usize = 4;
/// What stands before a compressed string: its mark and two lengths.
const HEAD_MAX: usize = 19;

/// Bytes that are read from the front.
#[derive(Clone, Debug)]
pub struct Input<'b> {
    rest: &'b [u8],
}

impl<'b> Input<'b> {
    /// Reads `bytes`.
    #[must_use]
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// There are fewer; `what` is named.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'b [u8], RdbError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RdbError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, RdbError> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// A number in the encoding of lengths.
    ///
    /// # Errors
    /// It is cut short or a string's encoding.
    pub fn number(&mut self, what: &'static str) -> Result<u64, RdbError> {
        match self.length_or_special(what)? {
            Length::Plain(number) => Ok(number),
            Length::Special(_) => Err(RdbError::Encoding(what)),
        }
    }

    /// A time in Unix milliseconds, which is signed in the data. Before 1970 there is none that matters.
    ///
    /// # Errors
    /// It is cut short.
    pub fn millis(&mut self, what: &'static str) -> Result<u64, RdbError> {
        Ok(self.millis_or_none(what)?.unwrap_or(0))
    }

    /// The same where a negative time, as a rule −1, says that there is none.
    ///
    /// # Errors
    /// It is cut short.
    pub fn millis_or_none(&mut self, what: &'static str) -> Result<Option<u64>, RdbError> {
        Ok(u64::try_from(i64::from_le_bytes(self.array(what)?)).ok())
    }

    /// A length.
    ///
    /// # Errors
    /// It is cut short, no length, or above what this machine can address.
    pub fn length(&mut self, what: &'static str) -> Result<usize, RdbError> {
        usize::try_from(self.number(what)?).map_err(|_| RdbError::Encoding(what))
    }

    fn length_or_special(&mut self, what: &'static str) -> Result<Length, RdbError> {
        let first = self.byte(what)?;
        let low = first & 0x3f;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Plain(u64::from(low)),
            (1, _) => Length::Plain(u64::from(low) << 8 | u64::from(self.byte(what)?)),
            (2, 0x80) => Length::Plain(u64::from(u32::from_be_bytes(self.array(what)?))),
            (2, 0x81) => Length::Plain(u64::from_be_bytes(self.array(what)?)),
            (3, _) => Length::Special(low),
            _ => return Err(RdbError::Encoding(what)),
        })
    }

    /// A string in any of its encodings.
    ///
    /// # Errors
    /// It is cut short or in no known encoding.
    pub fn string(&mut self, what: &'static str) -> Result<Vec<u8>, RdbError> {
        self.raw_string(what)?.decode()
    }

    /// A string of which nothing is copied or decompressed yet. Whoever needs two to make progress takes both before
    /// it decodes either: when the second has not arrived, nothing was done in vain.
    ///
    /// # Errors
    /// It is cut short or in no known encoding.
    pub fn raw_string(&mut self, what: &'static str) -> Result<RawString<'b>, RdbError> {
        Ok(match self.length_or_special(what)? {
            Length::Plain(len) => {
                let len = usize::try_from(len).map_err(|_| RdbError::Encoding(what))?;
                RawString::Plain(self.take(len, what)?)
            }
            Length::Special(0) => RawString::Integer(i8::from_le_bytes(self.array(what)?).into()),
            Length::Special(1) => RawString::Integer(i16::from_le_bytes(self.array(what)?).into()),
            Length::Special(2) => RawString::Integer(i32::from_le_bytes(self.array(what)?)),
            Length::Special(3) => {
                let compressed = self.length(what)?;
                let len = self.length(what)?;
                RawString::Compressed(self.take(compressed, what)?, len)
            }
            Length::Special(_) => return Err(RdbError::Encoding(what)),
        })
    }
}

/// A string as it stands in the data.
#[derive(Clone, Copy, Debug)]
pub enum RawString<'b> {
    /// Its bytes.
    Plain(&'b [u8]),
    /// A number.
    Integer(i32),
    /// LZF, and the length of what was compressed.
    Compressed(&'b [u8], usize),
}

impl RawString<'_> {
    /// The string itself.
    ///
    /// # Errors
    /// It does not decompress.
    pub fn decode(self) -> Result<Vec<u8>, RdbError> {
        match self {
            Self::Plain(bytes) => Ok(bytes.to_vec()),
            Self::Integer(n) => Ok(n.to_string().into_bytes()),
            Self::Compressed(bytes, len) => lzf::decompress(bytes, len),
        }
    }
}

enum Length {
    Plain(u64),
    Special(u8),
}

/// Appends a length.
pub fn put_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Appends a time in Unix milliseconds. The data has it signed: what is beyond is so far away that the greatest that
/// fits is as good, whereas a negative one would be long past.
pub fn put_millis(out: &mut Vec<u8>, at: u64) {
    out.extend_from_slice(&at.min(i64::MAX as u64).to_le_bytes());
}

/// Appends a string, not compressed; numbers that fit 32 bits take 2 to 5 bytes.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_string_as(out, bytes, false);
}

/// The same; `compress`: by LZF, where Redis does it (rdb.c: rdbSaveRawString), from 21 bytes on and where that saves 4.
pub fn put_string_as(out: &mut Vec<u8>, bytes: &[u8], compress: bool) {
    match small_integer(bytes) {
        Some(n) => put_integer(out, n),
        None if compress && bytes.len() > UNCOMPRESSED_MAX && put_compressed(out, bytes) => {}
        None => {
            put_length(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

/// False: too little is saved, and `out` is as before.
fn put_compressed(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let (start, len) = (out.len(), bytes.len() as u64);
    // The head is not known before the rest: room for the longest.
    out.resize(start + HEAD_MAX, 0);
    if !lzf::compress(bytes, bytes.len() - SAVED_MIN, out) {
        out.truncate(start);
        return false;
    }
    let compressed = out.len() - start - HEAD_MAX;
    let mut head = Vec::with_capacity(HEAD_MAX);
    head.push(0xc3);
    put_length(&mut head, compressed as u64);
    put_length(&mut head, len);
    out.copy_within(start + HEAD_MAX.., start + head.len());
    out.truncate(start + head.len() + compressed);
    for (to, from) in out.iter_mut().skip(start).zip(head) {
        *to = from;
    }
    true
}

/// The number that this text is the canonical form of.
fn small_integer(bytes: &[u8]) -> Option<i32> {
    if bytes.is_empty() || bytes.len() > 11 {
        return None;
    }
    let number: i32 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

fn put_integer(out: &mut Vec<u8>, n: i32) {
    if let Ok(n) = i8::try_from(n) {
        out.push(0xc0);
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i16::try_from(n) {
        out.push(0xc1);
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&n.to_le_bytes());
    }
}
