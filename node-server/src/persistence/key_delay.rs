//! `key-load-delay`, for tests (Redis: debugDelay): loads become slow, so that something can happen meanwhile.

use crate::config::ConfigStore;
use std::time::Duration;

/// How long to wait behind each key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyDelay {
    /// Microseconds; negative: one microsecond behind every so many keys.
    us: i64,
    keys: u64,
}

impl KeyDelay {
    pub(crate) fn new(config: &ConfigStore) -> Self {
        Self { us: config.settings().key_load_delay_us, keys: 0 }
    }

    /// Reads the directive again: often enough that a long load can be made a short one.
    pub(crate) fn look(&mut self, config: &ConfigStore) {
        self.us = config.settings().key_load_delay_us;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.us != 0
    }

    /// How long to wait behind this key.
    pub(crate) fn next(&mut self) -> Duration {
        self.keys += 1;
        match u64::try_from(self.us) {
            Ok(us) => Duration::from_micros(us),
            Err(_) if self.keys.is_multiple_of(self.us.unsigned_abs()) => Duration::from_micros(1),
            Err(_) => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_delay_is_a_share() {
        let waited = |us| {
            let mut delay = KeyDelay { us, keys: 0 };
            (0..12).map(|_| delay.next().as_micros()).sum::<u128>()
        };
        assert_eq!([0, 5, -1, -4, i64::MIN].map(waited), [0, 60, 12, 3, 0]);
        assert!(!KeyDelay::default().is_on());
    }
}
