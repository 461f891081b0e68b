//! LZF, which Redis compresses strings above 20 bytes with (`rdbcompression`). A control byte below 32 copies that many
//! plus one literal bytes that follow it. Another has in its three high bits how many bytes are copied from what was
//! written, less two (7: a byte follows that is added), and how far back they stand, less one, in its five low bits and
//! a byte behind. The compressor is this project's own; any way to find what is repeated gives data of the format.

use crate::RdbError;

/// Longest run of literal bytes.
const LITERAL_MAX: usize = 32;
/// What is repeated is at least so long: a reference takes two bytes or three.
const REPEATED_MIN: usize = 3;
/// And at most so long.
const REPEATED_MAX: usize = 264;
/// How far back it may stand.
const DISTANCE_MAX: usize = 1 << 13;

/// Where nothing repeats, at most so many places are passed over at once.
const SKIPPED_MAX: usize = 15;

/// Appends `input` to `out`, compressed, if that takes at most `limit` bytes; else `out` is as before. Memory: a table
/// on the stack, small for short inputs, so that none of them pays for clearing a large one.
pub fn compress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    // Positions are kept in 32 bits, with one for none.
    if input.len() >= u32::MAX as usize {
        return false;
    }
    let start = out.len();
    let fits = match input.len() {
        0..=256 => compress_by::<256>(input, limit, out),
        257..=4096 => compress_by::<2048>(input, limit, out),
        _ => compress_by::<{ 1 << 13 }>(input, limit, out),
    };
    if !fits {
        out.truncate(start);
    }
    fits
}

/// `SIZE`, a power of two: for so many groups of three bytes it is kept where they stood last.
fn compress_by<const SIZE: usize>(input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    let mut seen = [0_u32; SIZE];
    let start = out.len();
    // Before `literal` everything is in `out`.
    let (mut literal, mut at) = (0, 0);
    while let Some(group) = group(input, at) {
        let slot = &mut seen[hash::<SIZE>(group)];
        let before = std::mem::replace(slot, at as u32 + 1) as usize;
        if before == 0 || self::group(input, before - 1) != Some(group) || at + 1 - before > DISTANCE_MAX {
            // Where nothing has repeated for long, ever fewer places are looked at.
            at += 1 + ((at - literal) / LITERAL_MAX).min(SKIPPED_MAX);
            // What is certain to be too long need not be looked at to its end.
            if out.len() - start + (at.min(input.len()) - literal) > limit {
                return false;
            }
            continue;
        }
        put_literals(input.get(literal..at).unwrap_or_default(), out);
        let len = repeated(input, before - 1, at);
        put_reference(at - before, len, out);
        at += len;
        literal = at;
        // What a repetition ends with often begins the next one.
        if let Some(last) = self::group(input, at - 1) {
            seen[hash::<SIZE>(last)] = at as u32;
        }
    }
    put_literals(input.get(literal..).unwrap_or_default(), out);
    out.len() - start <= limit
}

/// The three bytes at a place.
fn group(input: &[u8], at: usize) -> Option<u32> {
    match input.get(at..at + REPEATED_MIN) {
        Some(&[a, b, c]) => Some(u32::from_le_bytes([a, b, c, 0])),
        _ => None,
    }
}

fn hash<const SIZE: usize>(group: u32) -> usize {
    // The high bits of the product depend on all of the group's.
    (group.wrapping_mul(0x9e37_79b1) >> (32 - SIZE.trailing_zeros())) as usize & (SIZE - 1)
}

/// How many bytes at `at` are those at `from`, of which the first three are known to be.
fn repeated(input: &[u8], from: usize, at: usize) -> usize {
    let there = input.get(at..).unwrap_or_default();
    let here = input.get(from..).unwrap_or_default();
    let is_same = |(a, b): &(&u8, &u8)| a == b;
    there.iter().zip(here).take(REPEATED_MAX).skip(REPEATED_MIN).take_while(is_same).count() + REPEATED_MIN
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LITERAL_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// `back`: the distance less one.
fn put_reference(back: usize, len: usize, out: &mut Vec<u8>) {
    let (high, low) = ((back >> 8) as u8, back as u8);
    match len - 2 {
        count @ 0..7 => out.push((count as u8) << 5 | high),
        count => out.extend_from_slice(&[7 << 5 | high, (count - 7) as u8]),
    }
    out.push(low);
}

/// Undoes it.
///
/// # Errors
/// References before the beginning, output that is not exactly `len` bytes.
pub fn decompress(mut input: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    // A literal byte costs at least one of input and a reference gives at most 264 for 3, so a lying length is found
    // before memory is taken for it.
    if len > input.len().saturating_mul(264) {
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
    use proptest::prelude::*;

    #[test]
    fn literals_and_overlapping_references() {
        // "a", then 2 + 4 bytes from 1 back: aaaaaaa.
        assert_eq!(decompress(&[0, b'a', 4 << 5, 0], 7), Ok(b"aaaaaaa".to_vec()));
        assert_eq!(decompress(&[2, b'a', b'b', b'c'], 3), Ok(b"abc".to_vec()));
    }

    fn compressed(input: &[u8], limit: usize) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let fits = compress(input, limit, &mut out);
        assert!(out.starts_with(b"before") && (fits || out.len() == 6));
        fits.then(|| out.split_off(6))
    }

    /// Repetitions of all lengths and distances, and between them what does not repeat.
    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..70),
            (any::<u8>(), 0..700_usize).prop_map(|(byte, len)| vec![byte; len]),
            prop::collection::vec(0..3_u8, 0..300),
        ];
        prop::collection::vec((piece, 1..4_usize), 0..12).prop_map(|pieces| {
            let parts: Vec<Vec<u8>> = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            // Once more, so that something stands far back.
            [parts.concat(), parts.concat()].concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn what_is_compressed_is_decompressed(input in repetitive()) {
            let whole = compressed(&input, usize::MAX).unwrap();
            prop_assert_eq!(decompress(&whole, input.len()), Ok(input.clone()));
            prop_assert!(whole.len() <= input.len() + input.len() / LITERAL_MAX + 1);
            prop_assert_eq!(compressed(&input, whole.len()), Some(whole.clone()), "it just fits");
            prop_assert!(whole.is_empty() || compressed(&input, whole.len() - 1).is_none());
        }
    }

    #[test]
    fn what_repeats_becomes_short() {
        assert_eq!(compressed(b"aaaaaaa", 7), Some(vec![0, b'a', 4 << 5, 0]));
        assert_eq!(compressed(b"", 0), Some(Vec::new()));
        for len in [10, 256, 257, 4096, 4097, 1 << 20] {
            let whole = compressed(&vec![b'x'; len], usize::MAX).unwrap();
            assert!(whole.len() <= 5 + len / 80, "{len}: {}", whole.len());
        }
        // The farthest that can be said, and one more.
        for (between, is_found) in [(DISTANCE_MAX - 8, true), (DISTANCE_MAX - 7, false)] {
            let rest = |n: usize| (n as u32).wrapping_mul(0x9e37_79b1).to_be_bytes();
            let noise: Vec<u8> = (0..between).flat_map(|n| rest(n)[..1].to_vec()).collect();
            let input =
                [b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", &noise[..], b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"]
                    .concat();
            let out = compressed(&input, usize::MAX).unwrap();
            assert_eq!(out.ends_with(&[6 << 5 | 31, 0xff]), is_found, "{between}");
            assert_eq!(decompress(&out, input.len()), Ok(input));
        }
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(decompress(&[1 << 5, 0], 3).is_err(), "reference before the beginning");
        assert!(decompress(&[5, b'a'], 6).is_err(), "literal cut short");
        assert!(decompress(&[0, b'a'], 2).is_err(), "too short");
        assert!(decompress(&[0, b'a'], usize::MAX).is_err(), "impossible length");
    }
}
