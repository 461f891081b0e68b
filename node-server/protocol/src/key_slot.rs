//! Which slot a key belongs to (Redis Cluster specification, "Key distribution model").

use crate::Slot;

/// CRC16 of the hash tag (the text between the first `{` and the next `}`, if not empty) or else of the whole
/// key, modulo 16384.
#[must_use]
pub fn key_slot(key: &[u8]) -> Slot {
    Slot::from_hash(crc16(hash_tag(key).unwrap_or(key)))
}

/// The part of the key that decides, where it has one.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    // Nearly no key has one, and to look at all bytes whatever they are takes a few instructions for sixteen of them.
    if !key.iter().fold(false, |found, b| found | (*b == b'{')) {
        return None;
    }
    let open = key.iter().position(|b| *b == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|b| *b == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// CRC16 XMODEM: polynomial 0x1021, start 0, not reflected. Eight bytes at a time ("slicing by eight", M. Kounavis and
/// F. Berry, 2005).
fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<STRIDE>();
    let crc = eights.iter().fold(0_u16, |crc, eight| {
        let [high, low] = crc.to_be_bytes();
        let first = [eight[0] ^ high, eight[1] ^ low];
        let all = first.iter().chain(&eight[2..]).zip(&TABLES);
        all.fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    rest.iter().fold(crc, |crc, b| (crc << 8) ^ TABLES[STRIDE - 1][usize::from((crc >> 8) as u8 ^ b)])
}

/// Bytes taken at once.
const STRIDE: usize = 8;

/// What a byte adds to the sum when seven, six and so on bytes follow it.
static TABLES: [[u16; 256]; STRIDE] = tables();
/// A sum after eight more bits of zero.
const fn shifted(mut crc: u16) -> u16 {
    let mut bit = 0;
    while bit < 8 {
        crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        bit += 1;
    }
    crc
}

const fn tables() -> [[u16; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut i = 0;
    while i < 256 {
        let mut crc = shifted((i as u16) << 8);
        let mut at = STRIDE;
        while at > 0 {
            at -= 1;
            tables[at][i] = crc;
            crc = shifted(crc);
        }
        i += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn every_length_as_byte_by_byte() {
        let bytes: Vec<u8> = (0..100_u32).map(|i| (i * i * 37 + 11) as u8).collect();
        for len in 0..bytes.len() {
            let one_by_one =
                |crc: u16, b: &u8| (crc << 8) ^ TABLES[STRIDE - 1][usize::from((crc >> 8) as u8 ^ b)];
            assert_eq!(crc16(&bytes[..len]), bytes[..len].iter().fold(0, one_by_one), "{len} bytes");
        }
    }

    #[test]
    fn keys_of_the_tutorial() {
        assert_eq!(key_slot(b"name").number(), 5798);
        assert_eq!(key_slot(b"age").number(), 741);
    }

    #[test]
    fn hash_tags() {
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"{user1000}.followers"));
        assert_eq!(key_slot(b"foo{}{bar}"), Slot::from_hash(crc16(b"foo{}{bar}")));
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_eq!(key_slot(b"foo{bar"), Slot::from_hash(crc16(b"foo{bar")));
    }
}
