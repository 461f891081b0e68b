//! Listpack: total length (u32), count (u16), elements, 0xff. An element is its encoding, its data, and the length of
//! both again, backwards, so that the list can be walked from its end. Source: the specification by its author
//! (github.com/antirez/listpack), checked against redis-server 7.0.15.

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
        let expected = BackLength::of(self.cursor.at() - start);
        if self.cursor.take(expected.bytes().len())? != expected.bytes() {
            return Err(self.cursor.bad("a back-length does not match its element"));
        }
        self.seen += 1;
        Ok(Some(element))
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

/// The length that stands behind an element: seven bits a byte, highest first, all but the first byte marked.
pub(crate) struct BackLength {
    bytes: [u8; 5],
    len: usize,
}

impl BackLength {
    /// For an element whose encoding and data take `len` bytes. The limits are Redis's, which are one short of what
    /// would fit from two bytes on.
    pub(crate) fn of(len: usize) -> Self {
        let count = match len {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
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
