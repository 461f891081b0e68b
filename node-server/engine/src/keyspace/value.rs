//! What a key holds.

use super::collection::Collection;
use node_server_protocol::resp::request::parse_number;
use node_server_rdb::dump::encode_string_dump;
use node_server_rdb::writer::{put_key, put_string_key};
use node_server_rdb::{self as rdb, Dialect, RdbError};

/// A key's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Text),
    /// Any other type. It came by RESTORE, a file or a master; it is kept, copied and moved as a whole.
    Collection(Box<Collection>),
}

/// A string; numbers that are written canonically are kept as numbers.
#[derive(Debug, PartialEq, Eq)]
pub enum Text {
    /// The decimal text of a 64-bit integer.
    Int(i64),
    /// Any bytes.
    Raw(Vec<u8>),
}

/// The longest string that Redis keeps in one allocation with its object (OBJ_ENCODING_EMBSTR_SIZE_LIMIT).
const EMBEDDED_MAX: usize = 44;
/// The longest decimal text of a 64-bit integer.
const INT_TEXT_MAX: usize = 20;

impl Text {
    /// From bytes, as an integer where that loses nothing.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INT_TEXT_MAX
            && let Some(n) = parse_number(bytes)
        {
            return Self::Int(n);
        }
        Self::Raw(bytes.to_vec())
    }

    /// Calls `f` with the bytes.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Raw(bytes) => f(bytes),
            Self::Int(n) => {
                let mut buffer = [0; INT_TEXT_MAX];
                f(format_integer(*n, &mut buffer))
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.with(<[u8]>::to_vec)
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Int(_) => self.with(<[u8]>::len),
        }
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `change` have the bytes; from then on the string counts as raw.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = match std::mem::replace(self, Self::Int(0)) {
            Self::Raw(bytes) => bytes,
            Self::Int(n) => Self::Int(n).to_vec(),
        };
        change(&mut bytes);
        bytes.reserve_exact(1);
        *self = Self::Raw(bytes);
    }

    /// OBJECT ENCODING's word.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            // A string that was changed in place has room to grow; Redis calls such strings raw.
            Self::Raw(bytes) if bytes.len() <= EMBEDDED_MAX && bytes.capacity() == bytes.len() => "embstr",
            Self::Raw(_) => "raw",
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Raw(bytes) => bytes.capacity(),
        }
    }
}

impl Clone for Text {
    /// What has room to grow has it in the copy too: see [`Text::encoding`].
    fn clone(&self) -> Self {
        match self {
            Self::Int(n) => Self::Int(*n),
            Self::Raw(bytes) => {
                let mut copy = bytes.clone();
                if bytes.capacity() > bytes.len() {
                    copy.reserve_exact(1);
                }
                Self::Raw(copy)
            }
        }
    }
}

impl Value {
    /// TYPE's word.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Collection(collection) => collection.value().type_name(),
        }
    }

    /// OBJECT ENCODING's word.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::String(text) => text.encoding(),
            Self::Collection(collection) => collection.encoding(),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.heap_bytes(),
            Self::Collection(collection) => collection.heap_bytes(),
        }
    }

    /// Whether it is a hash of which a field expires: only newer dialects of RDB can say that.
    #[must_use]
    pub fn has_field_expiry(&self) -> bool {
        matches!(self, Self::Collection(collection) if collection.has_field_expiry())
    }

    /// Appends DUMP's payload.
    ///
    /// # Errors
    /// The format cannot hold it.
    pub fn put_dump(&self, out: &mut Vec<u8>) -> Result<(), RdbError> {
        match self {
            Self::String(text) => text.with(|bytes| encode_string_dump(out, bytes)),
            Self::Collection(collection) => out.extend(rdb::encode_dump(collection.value())?),
        }
        Ok(())
    }

    /// Appends the value, under its key, as it stands in an RDB stream of `dialect`.
    ///
    /// # Errors
    /// The dialect cannot hold it.
    pub fn put_rdb(
        &self,
        out: &mut Vec<u8>,
        key: &[u8],
        expire_at: Option<u64>,
        dialect: Dialect,
    ) -> Result<(), RdbError> {
        match self {
            Self::String(text) => text.with(|bytes| put_string_key(out, key, bytes, expire_at)),
            Self::Collection(collection) => put_key(out, key, collection.value(), expire_at, dialect)?,
        }
        Ok(())
    }
}

impl From<rdb::Value> for Value {
    fn from(value: rdb::Value) -> Self {
        match value {
            rdb::Value::String(bytes) => Self::String(Text::new(&bytes)),
            other => Self::Collection(Box::new(Collection::new(other))),
        }
    }
}

/// Writes `n` to the end of `buffer` and returns the text.
fn format_integer(n: i64, buffer: &mut [u8; INT_TEXT_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_that_was_edited_is_raw_and_so_are_its_copies() {
        let mut text = Text::new(b"12");
        assert_eq!(text.encoding(), "int");
        text.edit(|bytes| bytes.extend_from_slice(b"ab"));
        assert_eq!((text.to_vec(), text.encoding()), (b"12ab".to_vec(), "raw"));
        assert_eq!(text.clone().encoding(), "raw");
        assert_eq!(Text::new(b"12ab").clone().encoding(), "embstr");
        assert_eq!(Text::new(&[b'x'; 45]).encoding(), "raw");
    }

    #[test]
    fn integers_keep_their_text() {
        for n in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            let text = Text::new(n.to_string().as_bytes());
            assert_eq!(text, Text::Int(n));
            assert_eq!(text.to_vec(), n.to_string().into_bytes());
        }
        for raw in ["", "01", "+1", "-0", " 1", "1 ", "9223372036854775808"] {
            assert_eq!(Text::new(raw.as_bytes()), Text::Raw(raw.as_bytes().to_vec()));
        }
    }
}
