//! Values of all types and encodings. A value arrives in pieces: a [`Building`] takes one piece after the other, so
//! what has arrived is never decoded twice and only the piece that is not yet whole has to be kept.

mod elements;
pub(crate) mod fields;
mod packed;
mod stream;
pub(crate) mod stream_node;

use crate::encoding::Input;
use crate::{Dialect, RdbError, Value, types};
use elements::Elements;
use packed::Packed;
use stream::StreamBuilding;

/// A value of which a part has been read.
#[derive(Debug)]
pub(crate) enum Building {
    /// A string is one piece.
    String,
    /// A collection in one string.
    Packed(Packed),
    /// A count and that many elements.
    Elements(Elements),
    /// A stream. Boxed, because it is much larger than the others.
    Stream(Box<StreamBuilding>),
}

impl Building {
    /// A value of this RDB type, of which nothing has been read. `None` for types that are not held.
    pub(crate) fn new(kind: u8, dialect: Dialect) -> Option<Self> {
        let elements = || Elements::new(kind, dialect).map(Self::Elements);
        let stream = || StreamBuilding::new(kind).map(|building| Self::Stream(Box::new(building)));
        if kind == types::STRING {
            return Some(Self::String);
        }
        Packed::new(kind).map(Self::Packed).or_else(elements).or_else(stream)
    }

    /// Takes the next piece; the value when it was the last. When it is cut short, nothing changes here, and the
    /// caller begins again where the piece began.
    ///
    /// # Errors
    /// [`RdbError::Truncated`] when the piece is not whole; others when it is wrong.
    pub(crate) fn step(&mut self, input: &mut Input<'_>) -> Result<Option<Value>, RdbError> {
        let value = match self {
            Self::String => Some(Value::String(input.string("a string")?)),
            Self::Packed(packed) => Some(packed.read(input)?),
            Self::Elements(elements) => elements.step(input)?,
            Self::Stream(stream) => stream.step(input)?,
        };
        if let Some(value) = &value {
            let kind = value.type_name();
            value.check().map_err(|problem| RdbError::Value { kind, problem })?;
        }
        Ok(value)
    }
}

/// Most that is reserved at once; what is really longer grows as it arrives.
const ROOM_MAX: usize = 1 << 20;

/// Room for `count` elements, but never more than `left` bytes can hold when each takes at least `least`: a count that
/// lies costs nothing.
pub(crate) fn room<T>(count: usize, left: usize, least: usize) -> Vec<T> {
    let most = ROOM_MAX / size_of::<T>().max(1);
    Vec::with_capacity(count.min(left / least.max(1)).min(most))
}
