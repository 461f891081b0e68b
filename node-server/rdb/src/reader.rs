//! Reads an RDB stream that arrives in pieces. Memory: what has arrived and is not yet a whole item.

use crate::crc64::crc64;
use crate::dump::TYPE_STRING;
use crate::encoding::Input;
use crate::writer::{OP_AUX, OP_EOF, OP_EXPIRETIME_MS, OP_SELECTDB};
use crate::{RDB_VERSION_MAX, RdbError, Value};

const OP_EXPIRETIME: u8 = 253;
const OP_RESIZEDB: u8 = 251;
const OP_FREQ: u8 = 249;
const OP_IDLE: u8 = 248;
const OP_MODULE_AUX: u8 = 247;
const OP_FUNCTION2: u8 = 245;
const OP_SLOT_INFO: u8 = 244;
/// Magic and version.
const HEADER: usize = 9;
/// Bytes that were read are dropped from the front when they are more than this.
const COMPACT_AT: usize = 1 << 20;

/// Longest item: a string of 512 MiB (Redis's default limit), its key, and what stands before them.
pub const ITEM_MAX: usize = (512 + 512 + 1) << 20;

/// One thing in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An auxiliary field; unknown ones are to be ignored.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// What follows belongs to this database.
    Select(u64),
    /// The text of a function library.
    Function(Vec<u8>),
    /// A key.
    Key {
        /// Its name.
        key: Vec<u8>,
        /// Its value.
        value: Value,
        /// Unix milliseconds.
        expire_at: Option<u64>,
    },
    /// The end; the checksum was right (or zero: not used).
    End,
}

/// Give it bytes with [`Reader::feed`] and take items with [`Reader::next_item`].
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
    checksum: u64,
    version: Option<u16>,
    ended: bool,
}

impl Reader {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// More of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > COMPACT_AT {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` when more bytes are needed or the end has been read.
    ///
    /// # Errors
    /// The stream is no RDB, or holds what this release does not.
    pub fn next_item(&mut self) -> Result<Option<Item>, RdbError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let read = self.parse();
            match read {
                Ok((item, len)) => {
                    self.advance(len);
                    match item {
                        Some(item) => return self.checked(item).map(Some),
                        None => continue,
                    }
                }
                Err(RdbError::Truncated(_)) if self.buffer.len() - self.at > ITEM_MAX => {
                    return Err(RdbError::ItemLength);
                }
                Err(RdbError::Truncated(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes that came behind the end.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.at)
    }

    fn advance(&mut self, len: usize) {
        self.checksum = crc64(self.checksum, &self.buffer[self.at..self.at + len]);
        self.at += len;
    }

    /// The end is the end only with its checksum.
    fn checked(&mut self, item: Item) -> Result<Item, RdbError> {
        if item != Item::End || self.version.is_some_and(|v| v < 5) {
            self.ended = item == Item::End;
            return Ok(item);
        }
        let stored = u64::from_le_bytes(Input::new(&self.buffer[self.at..]).array("the checksum")?);
        self.at += 8;
        self.ended = true;
        if stored == 0 || stored == self.checksum {
            Ok(Item::End)
        } else {
            Err(RdbError::Checksum { stored, computed: self.checksum })
        }
    }

    /// One item from the front, or a piece that is none (`None`), with its length.
    fn parse(&mut self) -> Result<(Option<Item>, usize), RdbError> {
        let mut input = Input::new(&self.buffer[self.at..]);
        let before = input.rest().len();
        if self.version.is_none() {
            self.version = Some(read_header(&mut input)?);
            return Ok((None, HEADER));
        }
        let item = read_item(&mut input, self.version.is_some_and(|v| v >= 5))?;
        Ok((item, before - input.rest().len()))
    }
}

fn read_header(input: &mut Input<'_>) -> Result<u16, RdbError> {
    let header = input.take(HEADER, "the header")?;
    let digits = header.strip_prefix(b"REDIS").ok_or(RdbError::Magic)?;
    let version = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or(RdbError::Magic)?;
    if (1..=RDB_VERSION_MAX).contains(&version) { Ok(version) } else { Err(RdbError::Version(version)) }
}

fn read_item(input: &mut Input<'_>, has_checksum: bool) -> Result<Option<Item>, RdbError> {
    Ok(Some(match input.byte("an opcode")? {
        OP_AUX => Item::Aux {
            name: input.string("an auxiliary field")?,
            value: input.string("an auxiliary field")?,
        },
        OP_SELECTDB => Item::Select(input.length("a database number")? as u64),
        OP_FUNCTION2 => Item::Function(input.string("a function library")?),
        OP_RESIZEDB => {
            input.length("the size of a database")?;
            input.length("the size of a database")?;
            return Ok(None);
        }
        OP_SLOT_INFO => {
            for _ in 0..3 {
                input.length("the size of a slot")?;
            }
            return Ok(None);
        }
        OP_EOF => {
            // Looked at without being taken: it is not part of the checksum.
            if has_checksum {
                input.clone().take(8, "the checksum")?;
            }
            Item::End
        }
        code @ (OP_MODULE_AUX | 246 | 243) => return Err(RdbError::Opcode(code)),
        first => read_key(input, first)?,
    }))
}

/// A key with what stands before it: expiry, idle time, frequency.
fn read_key(input: &mut Input<'_>, first: u8) -> Result<Item, RdbError> {
    let mut expire_at = None;
    let mut code = first;
    loop {
        match code {
            OP_EXPIRETIME_MS => expire_at = Some(u64::from_le_bytes(input.array("an expiry")?)),
            OP_EXPIRETIME => {
                let seconds = i32::from_le_bytes(input.array("an expiry")?);
                expire_at = Some(u64::try_from(seconds).unwrap_or(0) * 1000);
            }
            OP_IDLE => {
                input.length("an idle time")?;
            }
            OP_FREQ => {
                input.byte("a frequency")?;
            }
            _ => break,
        }
        code = input.byte("a type")?;
    }
    let key = input.string("a key")?;
    match code {
        TYPE_STRING => Ok(Item::Key { key, value: Value::String(input.string("a string")?), expire_at }),
        kind => Err(RdbError::Type { kind, key: String::from_utf8_lossy(&key).into_owned() }),
    }
}
