//! DUMP payloads: type, value, two bytes of version, eight of checksum.

use crate::decode::Building;
use crate::dialect::accept_version;
use crate::encode::put_value;
use crate::encoding::{Input, put_string_as};
use crate::module::module_name;
use crate::types::{self, MODULE_2, MODULE_PRE_GA};
use crate::{Dialect, Form, RDB_VERSION, RdbError, Value, crc64::crc64};

const FOOTER: usize = 10;

/// The payload of a value: version 10, which Redis 7.0 and everything newer restores. A hash of which a field expires
/// has no form there and becomes Valkey's version 80, which only Valkey 9 and this project restore.
///
/// # Errors
/// [`RdbError::Unwritable`]: an empty collection, a NaN, a time or an element beyond what the format can hold, a
/// stream that is not in order.
pub fn encode_dump(value: &Value) -> Result<Vec<u8>, RdbError> {
    encode_dump_as(value, false)
}

/// The same, with long strings compressed (`rdbcompression`).
///
/// # Errors
/// Those of [`encode_dump`].
pub fn encode_dump_as(value: &Value, compress: bool) -> Result<Vec<u8>, RdbError> {
    let dialect = if value.has_field_expiry() { Dialect::Valkey } else { Dialect::Plain };
    let mut out = Vec::new();
    put_value(&mut out, value, Form { dialect, compress }, |_| {})?;
    put_footer(&mut out, 0, dialect.version());
    Ok(out)
}

/// Appends the payload of a string to `out`.
pub fn encode_string_dump(out: &mut Vec<u8>, bytes: &[u8], compress: bool) {
    let start = out.len();
    out.reserve(bytes.len() + FOOTER + 6);
    out.push(types::STRING);
    put_string_as(out, bytes, compress);
    put_footer(out, start, RDB_VERSION);
}

/// Version, and the checksum of what was written since `start`.
fn put_footer(out: &mut Vec<u8>, start: usize, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The value of a payload. Unlike a stream's, its checksum is always checked.
///
/// # Errors
/// Wrong checksum, a version or a type that is not read, bytes that do not decode, a collection without elements.
pub fn decode_dump(payload: &[u8]) -> Result<Value, RdbError> {
    decode(payload, true)
}

/// The same whatever the checksum is, for tests of damaged payloads.
///
/// # Errors
/// Those of [`decode_dump`], but for the checksum.
pub fn decode_dump_unchecked(payload: &[u8]) -> Result<Value, RdbError> {
    decode(payload, false)
}

fn decode(payload: &[u8], checked: bool) -> Result<Value, RdbError> {
    let body_len = payload.len().checked_sub(FOOTER).ok_or(RdbError::Footer)?;
    let (body, footer) = payload.split_at_checked(body_len).ok_or(RdbError::Footer)?;
    let mut footer = Input::new(footer);
    let version = accept_version(u16::from_le_bytes(footer.array("the version")?))?;
    let stored = u64::from_le_bytes(footer.array("the checksum")?);
    let computed = crc64(0, payload.get(..body_len + 2).unwrap_or_default());
    if checked && stored != computed {
        return Err(RdbError::Checksum { stored, computed });
    }
    decode_body(&mut Input::new(body), Dialect::of_version(version))
}

fn decode_body(body: &mut Input<'_>, dialect: Dialect) -> Result<Value, RdbError> {
    let kind = body.byte("the type")?;
    let Some(mut building) = Building::new(kind, dialect) else {
        return Err(refused(kind, body, String::new())?);
    };
    let value = loop {
        if let Some(value) = building.step(body)? {
            break value;
        }
    };
    match body.rest().len() {
        0 if value.is_empty_collection() => Err(RdbError::Empty(value.type_name())),
        0 => Ok(value),
        left => Err(RdbError::Trailing(left)),
    }
}

/// The error that a type is not held: as `Ok`, because to find a module's name may need more bytes.
///
/// # Errors
/// The name of the module has not arrived.
pub(crate) fn refused(kind: u8, input: &mut Input<'_>, key: String) -> Result<RdbError, RdbError> {
    if !matches!(kind, MODULE_PRE_GA | MODULE_2) {
        return Ok(RdbError::Type { kind, key });
    }
    let (module, version) = module_name(input.number("the name of a module's type")?);
    Ok(RdbError::Module { kind, module, version, key })
}
