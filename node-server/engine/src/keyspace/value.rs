//! What a key holds.

use super::collection::Collection;
use node_server_protocol::resp::request::parse_number;
use node_server_protocol::resp::{NUMBER_TEXT_MAX, format_number};
use node_server_rdb::dump::encode_string_dump;
use node_server_rdb::writer::{put_key, put_string_key};
use node_server_rdb::{self as rdb, Form, RdbError};
use std::borrow::Cow;

/// A key's value, alone.
#[derive(Debug, PartialEq)]
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

/// The longest string that is kept in one allocation with its key, in bytes. Longer ones would be copied too often: by
/// RENAME, or when the key gets an expiry.
pub(super) const EMBEDDED_BYTES_MAX: usize = 4096;

impl Text {
    /// From bytes, as an integer where that loses nothing.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        integer(bytes).map_or_else(|| Self::Raw(bytes.to_vec()), Self::Int)
    }

    /// To look at.
    #[must_use]
    pub fn as_ref(&self) -> TextRef<'_> {
        match self {
            Self::Int(n) => TextRef::Int(*n),
            Self::Raw(bytes) => TextRef::Apart(bytes),
        }
    }

    /// Lets `change` have the bytes; from then on the string counts as raw.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = match std::mem::replace(self, Self::Int(0)) {
            Self::Raw(bytes) => bytes,
            Self::Int(n) => TextRef::Int(n).to_vec(),
        };
        change(&mut bytes);
        bytes.reserve_exact(1);
        *self = Self::Raw(bytes);
    }
}

/// The integer whose canonical decimal text `bytes` are.
fn integer(bytes: &[u8]) -> Option<i64> {
    if bytes.len() <= NUMBER_TEXT_MAX { parse_number(bytes) } else { None }
}

/// A string, to look at.
#[derive(Clone, Copy, Debug)]
pub enum TextRef<'a> {
    /// The decimal text of a 64-bit integer.
    Int(i64),
    /// Bytes that stand in one allocation with their key.
    Embedded(&'a [u8]),
    /// Bytes in an allocation of their own.
    Apart(&'a Vec<u8>),
}

impl TextRef<'_> {
    /// Calls `f` with the bytes.
    pub fn with<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Embedded(bytes) => f(bytes),
            Self::Apart(bytes) => f(bytes),
            Self::Int(n) => {
                let mut buffer = [0; NUMBER_TEXT_MAX];
                f(format_number(n, &mut buffer))
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.with(<[u8]>::to_vec)
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.with(<[u8]>::len)
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The number that it is, if it is one.
    #[must_use]
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(n),
            Self::Embedded(bytes) => parse_number(bytes),
            Self::Apart(bytes) => parse_number(bytes),
        }
    }

    /// OBJECT ENCODING's word.
    #[must_use]
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Embedded(bytes) if bytes.len() <= EMBEDDED_MAX => "embstr",
            // A string that was changed in place has room to grow; Redis calls such strings raw.
            Self::Apart(bytes) if bytes.len() <= EMBEDDED_MAX && bytes.capacity() == bytes.len() => "embstr",
            Self::Embedded(_) | Self::Apart(_) => "raw",
        }
    }

    /// A copy. What has room to grow has it in the copy too: see [`TextRef::encoding`].
    #[must_use]
    pub fn to_owned(self) -> Text {
        match self {
            Self::Int(n) => Text::Int(n),
            Self::Embedded(bytes) => Text::Raw(bytes.to_vec()),
            Self::Apart(bytes) => {
                let mut copy = bytes.clone();
                if bytes.capacity() > bytes.len() {
                    copy.reserve_exact(1);
                }
                Text::Raw(copy)
            }
        }
    }
}

/// A key's value, to look at.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string.
    String(TextRef<'a>),
    /// Any other type.
    Collection(&'a Collection),
}

impl ValueRef<'_> {
    /// TYPE's word.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Collection(collection) => collection.value().type_name(),
        }
    }

    /// OBJECT ENCODING's word.
    #[must_use]
    pub fn encoding(self) -> &'static str {
        match self {
            Self::String(text) => text.encoding(),
            Self::Collection(collection) => collection.encoding(),
        }
    }

    /// Bytes on the heap, if the value stands there alone.
    #[must_use]
    pub fn heap_bytes(self) -> usize {
        match self {
            Self::String(TextRef::Int(_) | TextRef::Embedded(_)) => 0,
            Self::String(TextRef::Apart(bytes)) => bytes.capacity(),
            Self::Collection(collection) => collection.heap_bytes(),
        }
    }

    /// Whether it is a hash of which a field expires: only newer dialects of RDB can say that.
    #[must_use]
    pub fn has_field_expiry(self) -> bool {
        matches!(self, Self::Collection(collection) if collection.has_field_expiry())
    }

    /// A copy.
    #[must_use]
    pub fn to_owned(self) -> Value {
        match self {
            Self::String(text) => Value::String(text.to_owned()),
            Self::Collection(collection) => Value::Collection(Box::new(collection.clone())),
        }
    }

    /// Appends DUMP's payload.
    ///
    /// # Errors
    /// The format cannot hold it.
    pub fn put_dump(self, out: &mut Vec<u8>, compress: bool) -> Result<(), RdbError> {
        match self {
            Self::String(text) => text.with(|bytes| encode_string_dump(out, bytes, compress)),
            Self::Collection(collection) => out.extend(rdb::encode_dump_as(collection.value(), compress)?),
        }
        Ok(())
    }

    /// Appends the value, under its key, as it stands in an RDB stream of this form.
    ///
    /// # Errors
    /// The dialect cannot hold it.
    pub fn put_rdb(
        self,
        out: &mut Vec<u8>,
        key: &[u8],
        expire_at: Option<u64>,
        form: Form,
    ) -> Result<(), RdbError> {
        match self {
            Self::String(text) => {
                text.with(|bytes| put_string_key(out, key, bytes, expire_at, form.compress))
            }
            Self::Collection(collection) => put_key(out, key, collection.value(), expire_at, form)?,
        }
        Ok(())
    }
}

/// A value on its way into a key.
#[derive(Debug)]
pub enum Content<'a> {
    /// The decimal text of a 64-bit integer.
    Int(i64),
    /// At most [`EMBEDDED_BYTES_MAX`] bytes, which will stand with the key.
    Bytes(Cow<'a, [u8]>),
    /// What stands alone: long strings, strings with room to grow, other types.
    Boxed(Box<Value>),
}

impl<'a> Content<'a> {
    /// A string.
    #[must_use]
    pub fn text(bytes: &'a [u8]) -> Self {
        match integer(bytes) {
            Some(n) => Self::Int(n),
            None if bytes.len() <= EMBEDDED_BYTES_MAX => Self::Bytes(Cow::Borrowed(bytes)),
            None => Self::Boxed(Box::new(Value::String(Text::Raw(bytes.to_vec())))),
        }
    }
}

impl From<Value> for Content<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::String(Text::Int(n)) => Self::Int(n),
            Value::String(Text::Raw(bytes))
                if bytes.len() == bytes.capacity() && bytes.len() <= EMBEDDED_BYTES_MAX =>
            {
                Self::Bytes(Cow::Owned(bytes))
            }
            other => Self::Boxed(Box::new(other)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(bytes: &[u8]) -> Text {
        Text::new(bytes).as_ref().to_owned()
    }

    #[test]
    fn a_string_that_was_edited_is_raw_and_so_are_its_copies() {
        let mut text = Text::new(b"12");
        assert_eq!(text.as_ref().encoding(), "int");
        text.edit(|bytes| bytes.extend_from_slice(b"ab"));
        assert_eq!((text.as_ref().to_vec(), text.as_ref().encoding()), (b"12ab".to_vec(), "raw"));
        assert_eq!(text.as_ref().to_owned().as_ref().encoding(), "raw");
        assert_eq!(owned(b"12ab").as_ref().encoding(), "embstr");
        assert_eq!(owned(&[b'x'; 45]).as_ref().encoding(), "raw");
    }

    #[test]
    fn integers_keep_their_text() {
        for n in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            let text = Text::new(n.to_string().as_bytes());
            assert_eq!(text, Text::Int(n));
            assert_eq!(text.as_ref().to_vec(), n.to_string().into_bytes());
        }
        for raw in ["", "01", "+1", "-0", " 1", "1 ", "9223372036854775808"] {
            assert_eq!(Text::new(raw.as_bytes()), Text::Raw(raw.as_bytes().to_vec()));
        }
    }

    #[test]
    fn only_what_is_short_and_will_not_grow_stands_with_its_key() {
        let raw = |len| Value::String(Text::Raw(vec![b'x'; len]));
        assert!(matches!(Content::from(raw(EMBEDDED_BYTES_MAX)), Content::Bytes(_)));
        assert!(matches!(Content::from(raw(EMBEDDED_BYTES_MAX + 1)), Content::Boxed(_)));
        assert!(matches!(Content::text(&[b'x'; EMBEDDED_BYTES_MAX + 1]), Content::Boxed(_)));
        let mut grown = Text::new(b"a");
        grown.edit(|bytes| bytes.push(b'b'));
        assert!(matches!(Content::from(Value::String(grown)), Content::Boxed(_)));
        assert!(matches!(Content::text(b"-12"), Content::Int(-12)));
    }
}
