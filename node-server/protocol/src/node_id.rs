//! The name of a server process: 40 lower-case hex digits.

use std::fmt;
use std::str::FromStr;

/// A node's name, kept for its life in nodes.conf. Ordered as its hex text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 20]);

/// The text is not 40 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a node id (40 lower-case hex digits): {0:?}")]
pub struct BadNodeId(pub String);

impl NodeId {
    /// Length of the text form.
    pub const HEX_LEN: usize = 40;

    /// From 20 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes that the hex text stands for.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Parses 40 lower-case hex digits.
    ///
    /// # Errors
    /// Any other length or digit.
    pub fn from_hex(hex: &[u8]) -> Result<Self, BadNodeId> {
        let bad = || BadNodeId(String::from_utf8_lossy(hex).into_owned());
        if hex.len() != Self::HEX_LEN {
            return Err(bad());
        }
        let mut id = [0; 20];
        for (byte, pair) in id.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = (digit(pair[0]).ok_or_else(bad)? << 4) | digit(pair[1]).ok_or_else(bad)?;
        }
        Ok(Self(id))
    }

    /// The 40 hex digits as bytes, as headers carry them.
    #[must_use]
    pub fn to_hex(self) -> [u8; 40] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 40];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

const fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

impl FromStr for NodeId {
    type Err = BadNodeId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::from_hex(s.as_bytes())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
