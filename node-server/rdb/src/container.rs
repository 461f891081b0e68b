//! Encodings in which a small collection is one string: memory images of Redis. All are checked completely (what
//! Redis's `sanitize-dump-payload yes` checks): lengths, back-lengths, counts, terminators.

pub(crate) mod intset;
pub(crate) mod listpack;
pub(crate) mod ziplist;
pub(crate) mod zipmap;

use crate::RdbError;

/// An element of a listpack or ziplist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element<'b> {
    Text(&'b [u8]),
    Integer(i64),
}

impl Element<'_> {
    /// What the element is as a string.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(bytes) => bytes.to_vec(),
            Self::Integer(n) => n.to_string().into_bytes(),
        }
    }

    /// The number that it is, also when it is kept as text.
    pub(crate) fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(n),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        }
    }

    /// The score of a sorted set that it is; NaN is none.
    pub(crate) fn score(self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(n as f64),
            Self::Text(bytes) => score(bytes),
        }
    }
}

/// A score as text: a number as C prints it, `inf`, `-inf`. NaN is none.
pub(crate) fn score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

/// The bytes of a container, read from the front. Unlike [`crate::encoding::Input`], of which more may arrive, these
/// are whole: to end early is to be damaged.
#[derive(Debug)]
pub(crate) struct Cursor<'b> {
    what: &'static str,
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    /// Reads `bytes`, which are a `what`.
    pub(crate) fn new(what: &'static str, bytes: &'b [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes have not been read.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn starts_with(&self, expected: &[u8]) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(expected))
    }

    /// The error that something is wrong here.
    pub(crate) fn bad(&self, problem: &'static str) -> RdbError {
        RdbError::Packed { what: self.what, problem, at: self.at }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'b [u8], RdbError> {
        let end = self.at.checked_add(len);
        let taken =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.bad("it ends early"))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RdbError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Four bytes, the lowest first.
    pub(crate) fn u32(&mut self) -> Result<usize, RdbError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// Two, three, four or eight bytes of a signed number, the lowest first.
    pub(crate) fn signed<const N: usize>(&mut self) -> Result<i64, RdbError> {
        let mut wide = [0; 8];
        for (to, from) in wide.iter_mut().zip(self.array::<N>()?) {
            *to = from;
        }
        let unused = 64 - 8 * N as u32;
        Ok(i64::from_le_bytes(wide) << unused >> unused)
    }

    /// The last byte was the terminator: nothing may follow.
    pub(crate) fn end(&self) -> Result<(), RdbError> {
        if self.left() == 0 { Ok(()) } else { Err(self.bad("bytes behind its end")) }
    }
}

/// A count of two bytes whose highest value says "too many to be counted here".
pub(crate) fn count_matches(declared: u16, counted: usize) -> bool {
    declared == u16::MAX || usize::from(declared) == counted
}
