//! Listpack: total length (u32), count (u16), elements, 0xff. An element is its encoding, its data, and the length of
//! both again, backwards, so that the list can be walked from its end. No document was at hand: the layout is that of
//! what redis-server 7.0.15 and Valkey 9.1.2 write (tests/golden) and take (tests/differential.rs).

use super::{Cursor, Element, count_matches};
use crate::RdbError;

const END: u8 = 0xff;

/// The elements, each checked as it is read; what concerns the whole is checked with the last.
#[derive(Debug)]
pub(crate) struct Listpack<'b> {
    cursor: Cursor<'b>,
    declared: u16,
    seen: usize,
    ended: bool,
}

impl<'b> Listpack<'b> {
    /// Checks the header.
    pub(crate) fn new(bytes: &'b [u8]) -> Result<Self, RdbError> {
        let mut cursor = Cursor::new("listpack", bytes);
        if cursor.u32()? != bytes.len() {
            return Err(cursor.bad("its header has another length"));
        }
        let declared = u16::from_le_bytes(cursor.array()?);
        Ok(Self { cursor, declared, seen: 0, ended: false })
    }

    /// Bytes that have not been read; each element takes at least two.
    pub(crate) fn left(&self) -> usize {
        self.cursor.left()
    }

    /// The error that what has been read is wrong.
    pub(crate) fn bad(&self, problem: &'static str) -> RdbError {
        self.cursor.bad(problem)
    }

    fn read(&mut self) -> Result<Option<Element<'b>>, RdbError> {
        let start = self.cursor.at();
        let first = self.cursor.byte()?;
        if first == END {
            self.ended = true;
            self.cursor.end()?;
            let matches = count_matches(self.declared, self.seen);
            return if matches { Ok(None) } else { Err(self.cursor.bad("its header has another count")) };
        }
        let element = self.element(first)?;
        self.back_length(self.cursor.at() - start)?;
        self.seen += 1;
        Ok(Some(element))
    }

    /// Checks what stands behind an element of `len` bytes. Either of the two forms of [`BackLength`] will do.
    fn back_length(&mut self, len: usize) -> Result<(), RdbError> {
        let forms = [Limits::Redis, Limits::Valkey].map(|limits| BackLength::of(len, limits));
        for form in &forms {
            if self.cursor.starts_with(form.bytes()) {
                self.cursor.take(form.bytes().len())?;
                return Ok(());
            }
        }
        Err(self.cursor.bad("a back-length does not match its element"))
    }

    fn element(&mut self, first: u8) -> Result<Element<'b>, RdbError> {
        let cursor = &mut self.cursor;
        let low = usize::from(first);
        Ok(match first {
            0..0x80 => Element::Integer(i64::from(first)),
            0x80..0xc0 => Element::Text(cursor.take(low & 0x3f)?),
            0xc0..0xe0 => {
                let bits = i64::from(first & 0x1f) << 8 | i64::from(cursor.byte()?);
                Element::Integer(bits << 51 >> 51)
            }
            0xe0..0xf0 => {
                let len = (low & 0xf) << 8 | usize::from(cursor.byte()?);
                Element::Text(cursor.take(len)?)
            }
            0xf0 => {
                let len = cursor.u32()?;
                Element::Text(cursor.take(len)?)
            }
            0xf1 => Element::Integer(cursor.signed::<2>()?),
            0xf2 => Element::Integer(cursor.signed::<3>()?),
            0xf3 => Element::Integer(cursor.signed::<4>()?),
            0xf4 => Element::Integer(cursor.signed::<8>()?),
            _ => return Err(cursor.bad("an element has no known encoding")),
        })
    }
}

impl<'b> Iterator for Listpack<'b> {
    type Item = Result<Element<'b>, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        read.transpose()
    }
}

/// How long an element may be for a back-length of two to four bytes. Redis goes to one below what fits; Valkey 9 has
/// corrected that. So for elements of exactly 16,383 and 2,097,151 bytes neither takes what the other writes (seen with
/// redis-server 7.0.15 and Valkey 9.1.2, RESTORE of a stream; for 268,435,455 bytes not tried).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    Redis,
    Valkey,
}

/// The length that stands behind an element: seven bits a byte, highest first, all but the first byte marked.
pub(crate) struct BackLength {
    bytes: [u8; 5],
    len: usize,
}

impl BackLength {
    /// For an element whose encoding and data take `len` bytes.
    pub(crate) fn of(len: usize, limits: Limits) -> Self {
        // As if it were one longer, where one less fits; the limit of one byte is the same in both.
        let len_as_counted = if limits == Limits::Redis && len > 127 { len + 1 } else { len };
        let count = match len_as_counted {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            0x20_0000..0x1000_0000 => 4,
            _ => 5,
        };
        let mut bytes = [0; 5];
        for (place, byte) in bytes.iter_mut().take(count).enumerate() {
            let bits = (len >> (7 * (count - 1 - place)) & 0x7f) as u8;
            *byte = if place == 0 { bits } else { bits | 0x80 };
        }
        Self { bytes, len: count }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}
