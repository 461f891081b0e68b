//! Types whose value is a count and that many elements.

use super::fields::FieldLayout;
use super::room;
use crate::container::listpack::Listpack;
use crate::container::ziplist::Ziplist;
use crate::container::{self, Element};
use crate::encoding::Input;
use crate::value::Scored;
use crate::{Dialect, RdbError, Value, types};

/// A node of a quicklist that is one element.
const NODE_PLAIN: usize = 1;
/// A node of a quicklist that is a listpack.
const NODE_PACKED: usize = 2;

/// How the elements are written.
#[derive(Clone, Copy, Debug)]
enum Layout {
    List,
    /// Nodes that are ziplists: Redis 3.2 to 6.2.
    ListOfZiplists,
    /// Nodes that are listpacks or single elements: since Redis 7.0.
    ListOfNodes,
    Set,
    /// Scores as text.
    TextScores,
    /// Scores as eight bytes.
    BinaryScores,
    Hash(FieldLayout),
}

/// A collection of which some elements have been read.
#[derive(Debug)]
pub(crate) struct Elements {
    layout: Layout,
    /// `None` before the count has been read.
    remaining: Option<usize>,
    value: Value,
}

impl Elements {
    pub(crate) fn new(kind: u8, dialect: Dialect) -> Option<Self> {
        let (layout, value) = match kind {
            types::LIST => (Layout::List, Value::List(Vec::new())),
            types::LIST_QUICKLIST => (Layout::ListOfZiplists, Value::List(Vec::new())),
            types::LIST_QUICKLIST_2 => (Layout::ListOfNodes, Value::List(Vec::new())),
            types::SET => (Layout::Set, Value::Set(Vec::new())),
            types::ZSET => (Layout::TextScores, Value::SortedSet(Vec::new())),
            types::ZSET_2 => (Layout::BinaryScores, Value::SortedSet(Vec::new())),
            _ => (Layout::Hash(hash_layout(kind, dialect)?), Value::Hash(Vec::new())),
        };
        Some(Self { layout, remaining: None, value })
    }

    /// The count or one element; the value with the last.
    pub(crate) fn step(&mut self, input: &mut Input<'_>) -> Result<Option<Value>, RdbError> {
        let remaining = match self.remaining {
            None => self.begin(input)?,
            Some(remaining) => {
                self.element(input)?;
                remaining.saturating_sub(1)
            }
        };
        self.remaining = Some(remaining);
        Ok((remaining == 0).then(|| std::mem::replace(&mut self.value, Value::String(Vec::new()))))
    }

    fn begin(&mut self, input: &mut Input<'_>) -> Result<usize, RdbError> {
        if let Layout::Hash(FieldLayout::RelativeTimeFirst { earliest }) = &mut self.layout {
            *earliest = input.millis("the earliest expiry of a hash")?;
        }
        let count = input.length("the length of a collection")?;
        let left = input.rest().len();
        match &mut self.value {
            // A node is much larger than an element, and how many elements there are is not known.
            Value::List(_) if !matches!(self.layout, Layout::List) => {}
            Value::List(items) | Value::Set(items) => *items = room(count, left, 1),
            Value::SortedSet(members) => *members = room(count, left, 2),
            Value::Hash(fields) => *fields = room(count, left, 2),
            Value::String(_) | Value::Stream(_) => {}
        }
        Ok(count)
    }

    fn element(&mut self, input: &mut Input<'_>) -> Result<(), RdbError> {
        match (&mut self.value, self.layout) {
            (Value::List(items), Layout::ListOfZiplists) => read_ziplist(input, items),
            (Value::List(items), Layout::ListOfNodes) => read_node(input, items),
            (Value::List(items), _) => {
                items.push(input.string("an element of a list")?);
                Ok(())
            }
            (Value::Set(members), _) => {
                members.push(input.string("a member of a set")?);
                Ok(())
            }
            (Value::SortedSet(members), layout) => {
                members.push(read_scored(input, layout)?);
                Ok(())
            }
            (Value::Hash(fields), Layout::Hash(layout)) => {
                fields.push(layout.read(input)?);
                Ok(())
            }
            _ => Err(RdbError::Encoding("a collection")),
        }
    }
}

fn hash_layout(kind: u8, dialect: Dialect) -> Option<FieldLayout> {
    match (kind, dialect) {
        (types::HASH, _) => Some(FieldLayout::Plain),
        (types::HASH_2, Dialect::Valkey) => Some(FieldLayout::ValueThenTime),
        (types::HASH_2, _) => Some(FieldLayout::TimeFirst),
        (types::HASH_METADATA, _) => Some(FieldLayout::RelativeTimeFirst { earliest: 0 }),
        _ => None,
    }
}

fn read_ziplist(input: &mut Input<'_>, items: &mut Vec<Vec<u8>>) -> Result<(), RdbError> {
    let bytes = input.string("a node of a list")?;
    append(items, Ziplist::new(&bytes)?)
}

/// Quicklist 2. An empty packed node is passed over as Redis does; an empty plain one is refused, as it does.
fn read_node(input: &mut Input<'_>, items: &mut Vec<Vec<u8>>) -> Result<(), RdbError> {
    let container = input.length("the kind of a list's node")?;
    let bytes = input.string("a node of a list")?;
    match container {
        NODE_PLAIN if !bytes.is_empty() => {
            items.push(bytes);
            Ok(())
        }
        NODE_PACKED => append(items, Listpack::new(&bytes)?),
        _ => Err(RdbError::Encoding("a node of a list")),
    }
}

fn append<'b>(
    items: &mut Vec<Vec<u8>>,
    elements: impl Iterator<Item = Result<Element<'b>, RdbError>>,
) -> Result<(), RdbError> {
    for element in elements {
        items.push(element?.to_bytes());
    }
    Ok(())
}

fn read_scored(input: &mut Input<'_>, layout: Layout) -> Result<Scored, RdbError> {
    let member = input.raw_string("a member of a sorted set")?;
    let score = match layout {
        Layout::TextScores => read_text_score(input)?,
        _ => f64::from_le_bytes(input.array("a score")?),
    };
    Ok(Scored { member: member.decode()?, score })
}

/// A byte of length and the text; three lengths say what has no text.
fn read_text_score(input: &mut Input<'_>) -> Result<f64, RdbError> {
    match input.byte("a score")? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let text = input.take(usize::from(len), "a score")?;
            container::score(text).ok_or(RdbError::Encoding("a score"))
        }
    }
}
