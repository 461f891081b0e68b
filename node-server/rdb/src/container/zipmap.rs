//! Zipmap, which Redis wrote until 2.4: count (one byte; 254 says that it must be counted), then name and value
//! alternately, 0xff. A length is one byte below 254, or 254 and four bytes. Behind a value's length stands how many
//! unused bytes follow the value. No document was at hand: redis-server 7.0.15 takes what the tests make by hand as the
//! same values (tests/old_types.rs, tests/differential.rs).

use super::Cursor;
use crate::RdbError;
use crate::value::Field;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;

/// The fields of a hash.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Field>, RdbError> {
    let mut cursor = Cursor::new("zipmap", bytes);
    let declared = cursor.byte()?;
    let mut fields = Vec::new();
    loop {
        let first = cursor.byte()?;
        if first == END {
            break;
        }
        let len = length(&mut cursor, first)?;
        let name = cursor.take(len)?.to_vec();
        let first = cursor.byte()?;
        if first == END {
            return Err(cursor.bad("a field has no value"));
        }
        let len = length(&mut cursor, first)?;
        let unused = usize::from(cursor.byte()?);
        let value = cursor.take(len)?.to_vec();
        cursor.take(unused)?;
        fields.push(Field { name, value, expire_at: None });
    }
    cursor.end()?;
    let matches = declared == LONG || usize::from(declared) == fields.len();
    if matches { Ok(fields) } else { Err(cursor.bad("its header has another count")) }
}

fn length(cursor: &mut Cursor<'_>, first: u8) -> Result<usize, RdbError> {
    if first == LONG { cursor.u32() } else { Ok(usize::from(first)) }
}
