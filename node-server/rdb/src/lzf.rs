//! LZF, which Redis compresses strings above 20 bytes with. Only decompression: what is written is not compressed.

use crate::RdbError;

/// The longest string there is, in bytes.
const STRING_MAX: usize = 512 << 20;

/// Undoes LZF: control bytes below 32 copy that many plus one literal bytes; others copy from what was written.
///
/// # Errors
/// References before the beginning, output that is not exactly `len` bytes.
pub fn decompress(mut input: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    // A literal byte costs at least one of input and a reference gives at most 264 for 3, so a lying length is found
    // before memory is taken for it.
    if len > input.len().saturating_mul(264) || len > STRING_MAX {
        return Err(RdbError::Compression);
    }
    let mut out = Vec::with_capacity(len);
    while let Some((&control, rest)) = input.split_first() {
        input = if control < 32 {
            let count = usize::from(control) + 1;
            let (literal, rest) = rest.split_at_checked(count).ok_or(RdbError::Compression)?;
            out.extend_from_slice(literal);
            rest
        } else {
            copy_back(control, rest, &mut out)?
        };
        if out.len() > len {
            return Err(RdbError::Compression);
        }
    }
    if out.len() == len { Ok(out) } else { Err(RdbError::Compression) }
}

fn copy_back<'i>(control: u8, mut input: &'i [u8], out: &mut Vec<u8>) -> Result<&'i [u8], RdbError> {
    let mut next = || {
        let (first, rest) = input.split_first().ok_or(RdbError::Compression)?;
        input = rest;
        Ok(usize::from(*first))
    };
    let mut count = usize::from(control >> 5);
    if count == 7 {
        count += next()?;
    }
    let distance = (usize::from(control & 31) << 8) + next()? + 1;
    let start = out.len().checked_sub(distance).ok_or(RdbError::Compression)?;
    // Source and destination may overlap: byte by byte.
    for i in start..start + count + 2 {
        out.push(out[i]);
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_overlapping_references() {
        // "a", then 2 + 4 bytes from 1 back: aaaaaaa.
        assert_eq!(decompress(&[0, b'a', 4 << 5, 0], 7), Ok(b"aaaaaaa".to_vec()));
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3), Ok(b"abc".to_vec()));
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(decompress(&[1 << 5, 0], 3).is_err(), "reference before the beginning");
        assert!(decompress(&[5, b'a'], 6).is_err(), "literal cut short");
        assert!(decompress(&[0, b'a'], 2).is_err(), "too short");
        assert!(decompress(&[0, b'a'], usize::MAX).is_err(), "impossible length");
    }
}
