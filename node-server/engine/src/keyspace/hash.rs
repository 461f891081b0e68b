//! The hash of a key within its slot: folded multiplication, as in wyhash, with a secret so that nobody can choose
//! keys that collide.

/// What tables ask for the hash of a key.
pub trait HashKeys {
    /// The hash; always the same for a key.
    fn hash(&self, key: &[u8]) -> u64;
}

/// A hash function with its secret.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    secret: [u64; 2],
}

/// Odd, with as many ones as zeros (from wyhash).
const SPREAD: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// One step of splitmix64: different numbers from consecutive seeds.
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self { secret: [scramble(seed) ^ SPREAD[0], scramble(!seed) ^ SPREAD[1]] }
    }
}

impl HashKeys for KeyHasher {
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hash = self.secret[0] ^ key.len() as u64;
        let mut chunks = key.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            hash = fold(u64::from_le_bytes(word) ^ self.secret[1], hash ^ SPREAD[0]);
        }
        let mut word = [0; 8];
        word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        fold(u64::from_le_bytes(word) ^ self.secret[1], hash ^ SPREAD[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn spreads_similar_keys_and_depends_on_the_seed() {
        let (a, b) = (KeyHasher::new(1), KeyHasher::new(2));
        let low: BTreeSet<u64> = (0..4096).map(|i| a.hash(format!("key:{i}").as_bytes()) >> 52).collect();
        assert!(low.len() > 2400, "about 63 % of the places are taken by chance, here {}", low.len());
        assert_ne!(a.hash(b"key"), b.hash(b"key"));
        assert_ne!(a.hash(b"a\0"), a.hash(b"a"));
    }
}
