//! Types whose value is one string with a container in it.

use super::fields;
use crate::container::listpack::Listpack;
use crate::container::ziplist::Ziplist;
use crate::container::{Element, intset, zipmap};
use crate::encoding::Input;
use crate::value::{Field, Scored};
use crate::{RdbError, Value, types};

/// How a collection is packed, by its RDB type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packed {
    ListZiplist,
    SetIntset,
    SetListpack,
    ZsetZiplist,
    ZsetListpack,
    HashZipmap,
    HashZiplist,
    HashListpack,
    /// Triples of field, value and expiry; before them, since Redis 7.4's release, the earliest expiry.
    HashListpackEx {
        has_earliest: bool,
    },
}

impl Packed {
    pub(crate) fn new(kind: u8) -> Option<Self> {
        Some(match kind {
            types::LIST_ZIPLIST => Self::ListZiplist,
            types::SET_INTSET => Self::SetIntset,
            types::SET_LISTPACK => Self::SetListpack,
            types::ZSET_ZIPLIST => Self::ZsetZiplist,
            types::ZSET_LISTPACK => Self::ZsetListpack,
            types::HASH_ZIPMAP => Self::HashZipmap,
            types::HASH_ZIPLIST => Self::HashZiplist,
            types::HASH_LISTPACK => Self::HashListpack,
            types::HASH_LISTPACK_EX_PRE_GA => Self::HashListpackEx { has_earliest: false },
            types::HASH_LISTPACK_EX => Self::HashListpackEx { has_earliest: true },
            _ => return None,
        })
    }

    pub(crate) fn read(self, input: &mut Input<'_>) -> Result<Value, RdbError> {
        if let Self::HashListpackEx { has_earliest: true } = self {
            // It follows from the fields.
            input.millis("the earliest expiry of a hash")?;
        }
        let bytes = input.string("a packed collection")?;
        Ok(match self {
            Self::ListZiplist => Value::List(strings(Ziplist::new(&bytes)?)?),
            Self::SetIntset => Value::Set(intset::decode(&bytes)?),
            Self::SetListpack => Value::Set(strings(Listpack::new(&bytes)?)?),
            Self::ZsetZiplist => Value::SortedSet(scored(Ziplist::new(&bytes)?)?),
            Self::ZsetListpack => Value::SortedSet(scored(Listpack::new(&bytes)?)?),
            Self::HashZipmap => Value::Hash(zipmap::decode(&bytes)?),
            Self::HashZiplist => Value::Hash(pairs(Ziplist::new(&bytes)?)?),
            Self::HashListpack => Value::Hash(pairs(Listpack::new(&bytes)?)?),
            Self::HashListpackEx { .. } => Value::Hash(triples(Listpack::new(&bytes)?)?),
        })
    }
}

/// Elements of either container.
trait Elements<'b>: Iterator<Item = Result<Element<'b>, RdbError>> {
    fn wrong(&self, problem: &'static str) -> RdbError;

    /// The second or third of what belongs together.
    fn partner(&mut self) -> Result<Element<'b>, RdbError> {
        self.next().unwrap_or_else(|| Err(self.wrong("its count is not a multiple of what belongs together")))
    }
}

impl<'b> Elements<'b> for Listpack<'b> {
    fn wrong(&self, problem: &'static str) -> RdbError {
        self.bad(problem)
    }
}

impl<'b> Elements<'b> for Ziplist<'b> {
    fn wrong(&self, problem: &'static str) -> RdbError {
        self.bad(problem)
    }
}

fn strings<'b>(elements: impl Elements<'b>) -> Result<Vec<Vec<u8>>, RdbError> {
    elements.map(|element| element.map(Element::to_bytes)).collect()
}

fn scored<'b>(mut elements: impl Elements<'b>) -> Result<Vec<Scored>, RdbError> {
    let mut members = Vec::new();
    while let Some(member) = elements.next() {
        let member = member?.to_bytes();
        let score = elements.partner()?.score().ok_or_else(|| elements.wrong("a score is not a number"))?;
        members.push(Scored { member, score });
    }
    Ok(members)
}

fn pairs<'b>(mut elements: impl Elements<'b>) -> Result<Vec<Field>, RdbError> {
    let mut fields = Vec::new();
    while let Some(name) = elements.next() {
        let (name, value) = (name?.to_bytes(), elements.partner()?.to_bytes());
        fields.push(Field { name, value, expire_at: None });
    }
    Ok(fields)
}

fn triples<'b>(mut elements: impl Elements<'b>) -> Result<Vec<Field>, RdbError> {
    let mut found = Vec::new();
    while let Some(name) = elements.next() {
        let (name, value) = (name?.to_bytes(), elements.partner()?.to_bytes());
        let expiry = elements.partner()?.integer().and_then(|at| u64::try_from(at).ok());
        let expiry = expiry.ok_or_else(|| elements.wrong("an expiry is not a time"))?;
        let expire_at = fields::absolute(expiry)?;
        found.push(Field { name, value, expire_at });
    }
    Ok(found)
}
