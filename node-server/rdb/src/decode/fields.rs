//! Fields of hashes that may expire: two dialects, and Redis's from before and after its release. Layouts: reference/
//! persistence §3.1, RD:rdb.c:rdbLoadObject (also for the 48 bits). Checked with what Valkey 9.1.2 writes and takes, and
//! with files of Redis 7.4's release candidates; of its release none was at hand.

use crate::RdbError;
use crate::encoding::Input;
use crate::value::Field;

/// What stands with each field of a hash that is not packed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FieldLayout {
    /// Name, value.
    Plain,
    /// Name, value, time (−1: none). Valkey 9.
    ValueThenTime,
    /// Time (0: none), name, value. Redis 7.4's release candidates.
    TimeFirst,
    /// Time from the earliest of the hash plus one (0: none), name, value. Redis 7.4.
    RelativeTimeFirst {
        /// The earliest expiry.
        earliest: u64,
    },
}

impl FieldLayout {
    /// One field. Nothing is copied before all of it has arrived.
    pub(crate) fn read(self, input: &mut Input<'_>) -> Result<Field, RdbError> {
        let before = match self {
            Self::TimeFirst | Self::RelativeTimeFirst { .. } => input.number("the expiry of a field")?,
            Self::Plain | Self::ValueThenTime => 0,
        };
        let name = input.raw_string("a field of a hash")?;
        let value = input.raw_string("the value of a field")?;
        let expire_at = match self {
            Self::Plain => None,
            Self::TimeFirst => absolute(before)?,
            Self::RelativeTimeFirst { earliest } => relative(before, earliest)?,
            Self::ValueThenTime => valkey(i64::from_le_bytes(input.array("the expiry of a field")?))?,
        };
        Ok(Field { name: name.decode()?, value: value.decode()?, expire_at })
    }
}

/// The greatest time that Redis takes for a field: 48 bits.
pub(crate) const REDIS_MAX: u64 = (1 << 48) - 1;

/// A time of Redis, where 0 is none.
pub(crate) fn absolute(time: u64) -> Result<Option<u64>, RdbError> {
    match time {
        0 => Ok(None),
        1..=REDIS_MAX => Ok(Some(time)),
        _ => Err(RdbError::Encoding("the expiry of a field")),
    }
}

fn relative(time: u64, earliest: u64) -> Result<Option<u64>, RdbError> {
    match time.checked_sub(1) {
        None => Ok(None),
        Some(later) => {
            let time = later.checked_add(earliest).ok_or(RdbError::Encoding("the expiry of a field"))?;
            absolute(time)
        }
    }
}

fn valkey(time: i64) -> Result<Option<u64>, RdbError> {
    match time {
        -1 => Ok(None),
        _ => u64::try_from(time).map(Some).map_err(|_| RdbError::Encoding("the expiry of a field")),
    }
}
