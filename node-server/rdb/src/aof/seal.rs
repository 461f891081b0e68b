//! The annotation that seals a stretch of an append-only file:
//!
//! `#CRC:<16 lower hex> <log offset> <replid>\r\n`
//!
//! The checksum (CRC64 of this crate) covers all bytes between the end of the annotation before, or the beginning of
//! the file, and the beginning of this one, and then what follows it in the line: the space, the offset, the space, the
//! replid. The offset is where the log stood behind the stretch, in the history `replid`. Other servers skip lines that
//! begin with `#`. The format is this project's own.

use crate::crc64::crc64;

/// How such a line begins.
pub(super) const PREFIX: &[u8] = b"#CRC:";
/// The longest: a 20 digit offset. Redis 7.0.15 takes up to 1022; this stays below 128 for readers that take less.
pub const SEAL_LEN_MAX: usize = 85;

/// The checksum of the bytes since the last annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunningCrc(u64);

impl RunningCrc {
    /// At the beginning of a file or behind an annotation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = crc64(self.0, bytes);
    }

    /// What a seal behind the bytes so far says.
    pub(super) fn sealing(self, offset: u64, replid: &Replid) -> u64 {
        crc64(self.0, position(offset, replid).as_bytes())
    }
}

/// The name of a history: 40 lower hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replid([u8; 40]);

impl Replid {
    /// `None`: it is none.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let bytes: [u8; 40] = text.try_into().ok()?;
        bytes.iter().all(|b| is_lower_hex(*b)).then_some(Self(bytes))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only hex digits get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What a sealing annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The checksum of the stretch before it and of the two that follow.
    pub crc: u64,
    /// Where the log stood.
    pub offset: u64,
    /// The history that the offset belongs to.
    pub replid: Replid,
}

/// The line that seals what `crc` has seen; the next stretch begins with [`RunningCrc::new`].
#[must_use]
pub fn seal(crc: RunningCrc, offset: u64, replid: &Replid) -> Vec<u8> {
    format!("#CRC:{:016x}{}\r\n", crc.sealing(offset, replid), position(offset, replid)).into_bytes()
}

fn position(offset: u64, replid: &Replid) -> String {
    format!(" {offset} {}", replid.as_str())
}

impl Seal {
    /// Reads a whole line; only exactly what [`seal()`] writes is one, so that damage is not read as another number.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(PREFIX)?.strip_suffix(b"\r\n")?;
        let mut words = rest.split(|b| *b == b' ');
        let (crc, offset, replid) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || crc.len() != 16 || !crc.iter().all(|b| is_lower_hex(*b)) {
            return None;
        }
        let crc = u64::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
        Some(Self { crc, offset: decimal(offset)?, replid: Replid::new(replid)? })
    }
}

/// A number without sign and leading zeros.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || !digits.starts_with(b"0"));
    if plain { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
