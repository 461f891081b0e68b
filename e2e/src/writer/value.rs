//! Values that tell which write made them.

use super::history::State;

/// Bytes of a large value.
pub(super) const LARGE: usize = 256 * 1024;

/// The value that write `seq` gives to `key`, filled up to about `len` bytes.
pub(super) fn encode(key: &str, seq: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{key}|{seq}|{len}|").into_bytes();
    let end = value.len().max(len);
    value.resize(end, filler(seq));
    value
}

/// What a stored text says of itself. `None`: no write of ours to that key made it, or it is damaged.
pub(super) fn decode(key: &str, value: &[u8]) -> Option<State> {
    let head = value.get(..value.len().min(100))?;
    let mut parts = head.splitn(4, |b| *b == b'|');
    let named = parts.next()?;
    let seq = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let len = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    (named == key.as_bytes() && value == encode(key, seq, len)).then_some(State::Text(seq))
}

fn filler(seq: u64) -> u8 {
    b'a' + (seq % 26) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write() {
        for len in [0, 50, LARGE] {
            let value = encode("k", 7, len);
            assert_eq!(decode("k", &value), Some(State::Text(7)));
            assert_eq!(decode("other", &value), None);
            assert_eq!(decode("k", &[&value[..], b"x"].concat()), None);
            assert_eq!(decode("k", &value[..value.len() - 1]), None, "cut short");
        }
        assert_eq!(decode("k", b""), None);
    }
}
