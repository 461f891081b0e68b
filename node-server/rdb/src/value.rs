//! What a key can hold, independent of how a server keeps it in memory and of how an RDB encodes it.

mod check;
mod size;
mod stream;

pub use stream::{Consumer, Entry, Group, Pending, Stream, StreamId};

/// A value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Vec<u8>),
    /// A list, from head to tail.
    List(Vec<Vec<u8>>),
    /// A set, in the order of the data; no member is there twice.
    Set(Vec<Vec<u8>>),
    /// A sorted set, in the order of the data, which need not be that of the scores: packed encodings begin with the
    /// smallest, the plain one of Redis with the greatest. No member is there twice.
    SortedSet(Vec<Scored>),
    /// A hash, in the order of the data; no field is there twice.
    Hash(Vec<Field>),
    /// A stream. Boxed, because it is much larger than the others.
    Stream(Box<Stream>),
}

/// A member of a sorted set.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The member.
    pub member: Vec<u8>,
    /// Its score; what is read is never NaN.
    pub score: f64,
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// When it expires, in Unix milliseconds. It may have passed: whoever loads it decides.
    pub expire_at: Option<u64>,
}

impl Value {
    /// The word that the command TYPE answers.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
            Self::Hash(_) => "hash",
            Self::Stream(_) => "stream",
        }
    }

    /// Whether a field of this hash expires; false for all other types. Such a hash has no form in RDB version 10.
    #[must_use]
    pub fn has_field_expiry(&self) -> bool {
        matches!(self, Self::Hash(fields) if fields.iter().any(|field| field.expire_at.is_some()))
    }

    /// Whether it is a collection without elements, which no key can hold. Strings and streams may be empty.
    #[must_use]
    pub fn is_empty_collection(&self) -> bool {
        match self {
            Self::String(_) | Self::Stream(_) => false,
            Self::List(items) | Self::Set(items) => items.is_empty(),
            Self::SortedSet(members) => members.is_empty(),
            Self::Hash(fields) => fields.is_empty(),
        }
    }
}
