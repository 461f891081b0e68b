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
    let open = key.iter().position(|b| *b == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|b| *b == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// CRC16 XMODEM: polynomial 0x1021, start 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, b| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ b)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
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
