//! The names of modules' types, which are all that is read of their data.

/// Each character is six bits.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Name and encoding version of a module's type: 54 bits of nine characters, the first highest, then ten bits of
/// version. No document was at hand; files of librdb's tests give readable names (`test__rdb`, `graphdata`).
pub(crate) fn module_name(id: u64) -> (String, u16) {
    let character = |n: u64| CHARACTERS.get((id >> (10 + 6 * n) & 63) as usize).map(|c| char::from(*c));
    ((0..9).rev().filter_map(character).collect(), (id & 1023) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_characters_and_a_version() {
        assert_eq!(module_name(0), ("AAAAAAAAA".into(), 0));
        assert_eq!(module_name(u64::MAX), ("_________".into(), 1023));
        let mut id = 0_u64;
        for c in "ReJSON-RL".bytes() {
            id = id << 6 | CHARACTERS.iter().position(|known| *known == c).unwrap() as u64;
        }
        assert_eq!(module_name(id << 10 | 3), ("ReJSON-RL".into(), 3));
    }
}
