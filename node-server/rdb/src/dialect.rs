//! RDB is one format up to version 11 and two from 12 on, and only one of the two can hold hash field expiry at once.

use crate::{RDB_VERSION_MAX, RdbError};

/// Who is to read what is written, where that makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `REDIS0010` with the types of Redis 7.0: read by Redis 7.0 and newer and by all of Valkey. Has no form for
    /// hash field expiry. Valkey 9 does not take a stream in which a field or value has exactly 16,378 or 2,097,146
    /// bytes, and Redis does not take it from Valkey: they disagree about listpacks there.
    #[default]
    Plain,
    /// `VALKEY080`: Valkey 9.0 and newer. Expiring fields as type 22.
    Valkey,
    /// `REDIS0012`: Redis 7.4 and newer. Expiring fields as type 24.
    Redis,
}

/// How keys and values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// For whom.
    pub dialect: Dialect,
    /// `rdbcompression`: long strings by LZF.
    pub compress: bool,
}

/// Not compressed.
impl From<Dialect> for Form {
    fn from(dialect: Dialect) -> Self {
        Self { dialect, compress: false }
    }
}

/// The only version that Valkey writes under its own name.
const VALKEY: u16 = 80;

impl Dialect {
    /// The version that is written.
    #[must_use]
    pub fn version(self) -> u16 {
        match self {
            Self::Plain => crate::RDB_VERSION,
            Self::Valkey => VALKEY,
            Self::Redis => 12,
        }
    }

    /// The nine bytes that a file begins with.
    #[must_use]
    pub fn header(self) -> [u8; 9] {
        match self {
            Self::Plain => *b"REDIS0010",
            Self::Valkey => *b"VALKEY080",
            Self::Redis => *b"REDIS0012",
        }
    }

    /// Whose reading of the ambiguous numbers data of this version needs.
    pub(crate) fn of_version(version: u16) -> Self {
        if version >= VALKEY { Self::Valkey } else { Self::Redis }
    }
}

/// Checks a version that stands without a magic, as in DUMP payloads.
pub(crate) fn accept_version(version: u16) -> Result<u16, RdbError> {
    if (1..=RDB_VERSION_MAX).contains(&version) || version == VALKEY {
        Ok(version)
    } else {
        Err(RdbError::Version(version))
    }
}

/// The version that the nine bytes at the beginning say. Valkey counts on from 80 and refuses the numbers of the other
/// under its name, and Redis's name with its numbers: so does this.
pub(crate) fn read_header(header: &[u8]) -> Result<u16, RdbError> {
    let number = |digits: &[u8]| {
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(digits).ok().filter(|_| all_digits);
        text.and_then(|text| text.parse().ok()).ok_or(RdbError::Magic)
    };
    if let Some(digits) = header.strip_prefix(b"VALKEY") {
        let version = number(digits)?;
        return if version == VALKEY { Ok(version) } else { Err(RdbError::Version(version)) };
    }
    let version = number(header.strip_prefix(b"REDIS").ok_or(RdbError::Magic)?)?;
    if (1..=RDB_VERSION_MAX).contains(&version) { Ok(version) } else { Err(RdbError::Version(version)) }
}
