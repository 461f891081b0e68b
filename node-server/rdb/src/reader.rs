//! Reads an RDB stream that arrives in pieces. Memory: what has arrived of one piece of an item (a header, a key, one
//! element of a value, one packed node) and the elements of the value that is being read. Time: no byte is decoded
//! twice, however small the pieces are in which a large value arrives.

use crate::crc64::crc64;
use crate::decode::Building;
use crate::dialect::read_header;
use crate::dump::refused;
use crate::encoding::Input;
use crate::error::shown;
use crate::opcode::{Parsed, read_opcode};
use crate::{Dialect, RdbError, Value};

/// Magic and version.
const HEADER: usize = 9;
/// Bytes that were read are dropped from the front when they are more than this.
const COMPACT_AT: usize = 1 << 20;

/// Longest piece that is kept whole: an element of 512 MiB (Redis's default limit) and another that belongs to it.
pub const ITEM_MAX: usize = (512 + 512 + 1) << 20;
/// Most names of empty keys that are kept until somebody takes them.
const EMPTY_NAMES_MAX: usize = 64;

/// One thing in the stream.
#[derive(Clone, Debug, PartialEq)]
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
    /// Valkey 9: keys of these slots that follow are being imported and do not belong to the writer yet. Valkey
    /// refuses a file with this that it does not understand: whoever cannot keep such keys apart must refuse it too.
    SlotImport {
        /// The name of the import.
        job: Vec<u8>,
        /// First and last slot of each range.
        slots: Vec<(u16, u16)>,
    },
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

/// A key whose value is being read.
#[derive(Debug)]
struct Partial {
    key: Vec<u8>,
    value: Building,
}

/// Give it bytes with [`Reader::feed`] and take items with [`Reader::next_item`].
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    at: usize,
    position: u64,
    checksum: u64,
    version: Option<u16>,
    /// Of the key that comes next.
    expire_at: Option<u64>,
    partial: Option<Partial>,
    empty_keys: u64,
    /// The first of them that nobody has taken yet.
    empty_names: Vec<Vec<u8>>,
    is_checksummed: bool,
    /// `rdbchecksum no`.
    without_checksum: bool,
    waits_for: &'static str,
    failed: Option<RdbError>,
    ended: bool,
}

impl Reader {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self { waits_for: "the header", ..Self::default() }
    }

    /// `rdbchecksum no`: whatever stands where the checksum does is right (as in Redis, for files and full syncs).
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        self.without_checksum = true;
        self
    }

    /// More of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.at > COMPACT_AT {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` when more bytes are needed or the end has been read. A key whose value is an empty
    /// collection is passed over, as Redis does, and counted.
    ///
    /// # Errors
    /// The stream is no RDB, or holds what this release does not. Every later call gives the same error;
    /// [`Reader::position`] says where the piece begins that is wrong.
    pub fn next_item(&mut self) -> Result<Option<Item>, RdbError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.next_or_wait();
        if let Err(error) = &next {
            self.failed = Some(error.clone());
        }
        next
    }

    /// How many bytes of the stream have been decoded; after an error, where the wrong piece begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The version that the header says, once it has been read.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.version
    }

    /// How many keys were passed over because their value was an empty collection.
    #[must_use]
    pub fn empty_keys(&self) -> u64 {
        self.empty_keys
    }

    /// Their names since this was last asked; of very many at once only the first.
    pub fn take_empty_names(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.empty_names)
    }

    /// Whether a checksum was compared at the end. It was not when there is none (before version 5) or when it is zero,
    /// which says that the writer made none (`rdbchecksum no`).
    #[must_use]
    pub fn is_checksummed(&self) -> bool {
        self.is_checksummed
    }

    /// To be asked when nothing more will come.
    ///
    /// # Errors
    /// The end has not been read; what it breaks off in is named.
    pub fn end_of_input(&self) -> Result<(), RdbError> {
        if self.ended { Ok(()) } else { Err(RdbError::Truncated(self.waits_for)) }
    }

    /// Bytes that came behind the end.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.at)
    }

    fn next_or_wait(&mut self) -> Result<Option<Item>, RdbError> {
        while !self.ended {
            match self.advance() {
                Ok(None) => {}
                Ok(item) => {
                    self.waits_for = "an opcode";
                    return Ok(item);
                }
                Err(RdbError::Truncated(what)) => {
                    self.waits_for = what;
                    let is_long = self.unread().len() > ITEM_MAX;
                    return if is_long { Err(RdbError::ItemLength) } else { Ok(None) };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Counts what has been decoded.
    fn take(&mut self, len: usize) {
        if !self.without_checksum {
            let taken = self.buffer.get(self.at..self.at + len).unwrap_or_default();
            self.checksum = crc64(self.checksum, taken);
        }
        self.at += len;
        self.position += len as u64;
    }

    /// One step forward, which need not give an item.
    fn advance(&mut self) -> Result<Option<Item>, RdbError> {
        match (self.partial.take(), self.version) {
            (Some(partial), _) => self.value(partial),
            (None, Some(version)) => self.opcode(version),
            (None, None) => {
                let mut input = Input::new(self.unread());
                self.version = Some(read_header(input.take(HEADER, "the header")?)?);
                self.take(HEADER);
                Ok(None)
            }
        }
    }

    /// An opcode, or a type and its key.
    fn opcode(&mut self, version: u16) -> Result<Option<Item>, RdbError> {
        let dialect = Dialect::of_version(version);
        let mut input = Input::new(self.unread());
        let before = input.rest().len();
        let parsed = read_opcode(&mut input, dialect, version >= 5)?;
        let len = before - input.rest().len();
        let mut item = None;
        match parsed {
            Parsed::Nothing => {}
            Parsed::ExpireAt(at) => self.expire_at = Some(at),
            Parsed::Item(parsed) => item = Some(parsed),
            Parsed::Key { kind, key } => match Building::new(kind, dialect) {
                Some(value) => self.partial = Some(Partial { key, value }),
                None => return Err(refused(kind, &mut input, shown(&key))?),
            },
            Parsed::End => {
                self.take(len);
                return self.end(version).map(Some);
            }
        }
        self.take(len);
        Ok(item)
    }

    /// Takes as many pieces of a value as have arrived.
    fn value(&mut self, mut partial: Partial) -> Result<Option<Item>, RdbError> {
        let mut input = Input::new(self.unread());
        let arrived = input.rest().len();
        let (read, left) = loop {
            let left = input.rest().len();
            match partial.value.step(&mut input) {
                Ok(None) => {}
                Ok(Some(value)) => break (Ok(value), input.rest().len()),
                Err(error) => break (Err(error), left),
            }
        };
        self.take(arrived - left);
        match read {
            Ok(value) => Ok(self.key(partial.key, value)),
            Err(RdbError::Truncated(what)) => {
                self.partial = Some(partial);
                Err(RdbError::Truncated(what))
            }
            Err(cause) => Err(RdbError::Key { key: shown(&partial.key), cause: Box::new(cause) }),
        }
    }

    /// A key that is whole; `None` when it is to be passed over.
    fn key(&mut self, key: Vec<u8>, value: Value) -> Option<Item> {
        let expire_at = self.expire_at.take();
        if value.is_empty_collection() {
            self.empty_keys += 1;
            if self.empty_names.len() < EMPTY_NAMES_MAX {
                self.empty_names.push(key);
            }
            return None;
        }
        Some(Item::Key { key, value, expire_at })
    }

    /// The end is the end only with its checksum, which has arrived with it and is not part of what is summed.
    fn end(&mut self, version: u16) -> Result<Item, RdbError> {
        if version >= 5 {
            let stored = u64::from_le_bytes(Input::new(self.unread()).array("the checksum")?);
            let is_checked = stored != 0 && !self.without_checksum;
            if is_checked && stored != self.checksum {
                return Err(RdbError::Checksum { stored, computed: self.checksum });
            }
            self.is_checksummed = is_checked;
            self.at += 8;
            self.position += 8;
        }
        self.ended = true;
        Ok(Item::End)
    }
}
