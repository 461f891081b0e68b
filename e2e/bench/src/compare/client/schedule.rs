//! When the requests of an open load are due: whatever the server does, so that a stall is felt by all requests that
//! fall into it and not by the one that waits (no coordinated omission).

use std::time::Duration;

const NANOS_PER_S: u128 = 1_000_000_000;

/// So many requests per second, evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate: u64,
}

impl Schedule {
    /// At least one per second.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1) }
    }

    /// When request `i` (from 0) is due, from the beginning.
    pub(crate) fn due(self, i: u64) -> Duration {
        Duration::from_nanos((u128::from(i) * NANOS_PER_S).div_ceil(u128::from(self.rate)) as u64)
    }

    /// How many requests are due when so much time has passed.
    pub(crate) fn count(self, passed: Duration) -> u64 {
        (passed.as_nanos() * u128::from(self.rate) / NANOS_PER_S) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_when_the_count_reaches_it() {
        for rate in [1, 3, 7, 1000, 61_331, 1_999_993] {
            let schedule = Schedule::new(rate);
            for i in [0, 1, 2, 3, 10, 999, 123_456_789] {
                let due = schedule.due(i);
                assert_eq!(schedule.count(due), i + 1, "{i} at {rate}");
                if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                    assert_eq!(schedule.count(before), i, "just before {i} at {rate}");
                }
            }
        }
    }

    #[test]
    fn the_rate_is_kept_over_hours() {
        let schedule = Schedule::new(60_000);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(60_000 * 3600), Duration::from_secs(3600));
        assert_eq!(Schedule::new(0).due(2), Duration::from_secs(2));
    }
}
