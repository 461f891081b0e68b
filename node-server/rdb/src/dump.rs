//! DUMP payloads: type, value, two bytes of version, eight of checksum.

use crate::encoding::{Input, put_string};
use crate::{RDB_VERSION, RDB_VERSION_MAX, RdbError, Value, crc64::crc64};

const FOOTER: usize = 10;
/// RDB type of a string.
pub(crate) const TYPE_STRING: u8 = 0;

/// The payload of a value.
#[must_use]
pub fn encode_dump(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::String(bytes) => encode_string_dump(&mut out, bytes),
    }
    out
}

/// Appends the payload of a string to `out`.
pub fn encode_string_dump(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.reserve(bytes.len() + FOOTER + 6);
    out.push(TYPE_STRING);
    put_string(out, bytes);
    out.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let checksum = crc64(0, &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The value of a payload. Unlike a stream's, its checksum is always checked.
///
/// # Errors
/// Wrong checksum, a version that is too new, a type that is not held, bytes that do not decode.
pub fn decode_dump(payload: &[u8]) -> Result<Value, RdbError> {
    let body_len = payload.len().checked_sub(FOOTER).ok_or(RdbError::Footer)?;
    let mut footer = Input::new(&payload[body_len..]);
    let version = u16::from_le_bytes(footer.array("the version")?);
    let stored = u64::from_le_bytes(footer.array("the checksum")?);
    if version > RDB_VERSION_MAX {
        return Err(RdbError::Version(version));
    }
    let computed = crc64(0, &payload[..body_len + 2]);
    if stored != computed {
        return Err(RdbError::Checksum { stored, computed });
    }
    let mut body = Input::new(&payload[..body_len]);
    let value = match body.byte("the type")? {
        TYPE_STRING => Value::String(body.string("a string")?),
        kind => return Err(RdbError::Type { kind, key: String::new() }),
    };
    if body.rest().is_empty() { Ok(value) } else { Err(RdbError::Trailing(body.rest().len())) }
}
