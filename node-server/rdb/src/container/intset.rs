//! Intset: bytes per number (u32: 2, 4 or 8), count (u32), the numbers, ascending, lowest byte first. The layout is that
//! of what redis-server 7.0.15 and Valkey 9.1.2 write (tests/golden) and take (tests/differential.rs).

use super::Cursor;
use crate::RdbError;

/// The numbers as strings.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RdbError> {
    let mut cursor = Cursor::new("intset", bytes);
    let width = cursor.u32()?;
    if !matches!(width, 2 | 4 | 8) {
        return Err(cursor.bad("numbers are not of 2, 4 or 8 bytes"));
    }
    let count = cursor.u32()?;
    // Redis refuses an empty one too: it never makes one.
    if count == 0 || count.checked_mul(width) != Some(cursor.left()) {
        return Err(cursor.bad("its header has another length"));
    }
    let mut numbers = Vec::with_capacity(count);
    let mut before = None;
    for _ in 0..count {
        let number = match width {
            2 => cursor.signed::<2>()?,
            4 => cursor.signed::<4>()?,
            _ => cursor.signed::<8>()?,
        };
        if before.is_some_and(|before| before >= number) {
            return Err(cursor.bad("numbers are not ascending"));
        }
        before = Some(number);
        numbers.push(number.to_string().into_bytes());
    }
    Ok(numbers)
}
