//! Ziplist, which Redis wrote until 6.2: total length (u32), offset of the last entry (u32), count (u16), entries,
//! 0xff. An entry begins with the length of the one before. No document was at hand: redis-server 7.0.15 takes what the
//! tests make by hand as the same values (tests/old_types.rs, tests/differential.rs).

use super::{Cursor, Element, count_matches};
use crate::RdbError;

const END: u8 = 0xff;
/// A previous length that does not fit a byte follows this as four.
const LONG: u8 = 0xfe;
const HEADER: usize = 10;

/// The elements, each checked as it is read; what concerns the whole is checked with the last.
#[derive(Debug)]
pub(crate) struct Ziplist<'b> {
    cursor: Cursor<'b>,
    tail: usize,
    declared: u16,
    seen: usize,
    /// Offset of the entry read last; that of the first before any.
    last: usize,
    /// Its length.
    last_len: usize,
    ended: bool,
}

impl<'b> Ziplist<'b> {
    /// Checks the header.
    pub(crate) fn new(bytes: &'b [u8]) -> Result<Self, RdbError> {
        let mut cursor = Cursor::new("ziplist", bytes);
        if cursor.u32()? != bytes.len() {
            return Err(cursor.bad("its header has another length"));
        }
        let tail = cursor.u32()?;
        let declared = u16::from_le_bytes(cursor.array()?);
        Ok(Self { cursor, tail, declared, seen: 0, last: HEADER, last_len: 0, ended: false })
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
            self.whole()?;
            return Ok(None);
        }
        let previous = if first == LONG { self.cursor.u32()? } else { usize::from(first) };
        if previous != self.last_len {
            return Err(self.cursor.bad("an entry has another length for the one before it"));
        }
        let element = self.element()?;
        self.last = start;
        self.last_len = self.cursor.at() - start;
        self.seen += 1;
        Ok(Some(element))
    }

    /// What the header says of all entries.
    fn whole(&self) -> Result<(), RdbError> {
        self.cursor.end()?;
        if self.tail != self.last {
            return Err(self.cursor.bad("its header has another last entry"));
        }
        let matches = count_matches(self.declared, self.seen);
        if matches { Ok(()) } else { Err(self.cursor.bad("its header has another count")) }
    }

    fn element(&mut self) -> Result<Element<'b>, RdbError> {
        let cursor = &mut self.cursor;
        let first = cursor.byte()?;
        Ok(match first {
            0..0x40 => Element::Text(cursor.take(usize::from(first))?),
            0x40..0x80 => {
                let len = usize::from(first & 0x3f) << 8 | usize::from(cursor.byte()?);
                Element::Text(cursor.take(len)?)
            }
            0x80..0xc0 => {
                let len = u32::from_be_bytes(cursor.array()?) as usize;
                Element::Text(cursor.take(len)?)
            }
            0xc0 => Element::Integer(cursor.signed::<2>()?),
            0xd0 => Element::Integer(cursor.signed::<4>()?),
            0xe0 => Element::Integer(cursor.signed::<8>()?),
            0xf0 => Element::Integer(cursor.signed::<3>()?),
            0xfe => Element::Integer(cursor.signed::<1>()?),
            // 0 to 12 stand in the encoding itself, plus one.
            0xf1..=0xfd => Element::Integer(i64::from(first & 0xf) - 1),
            _ => return Err(cursor.bad("an entry has no known encoding")),
        })
    }
}

impl<'b> Iterator for Ziplist<'b> {
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
