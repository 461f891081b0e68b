//! How long commands took, from sending to the last reply, with every redirection and pause between.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

/// Buckets per factor of two: a quantile is exact to 5 %.
const PER_OCTAVE: f64 = 16.0;

/// Counts by time, in buckets that grow by a sixteenth of a factor of two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
pub struct Latency {
    counts: BTreeMap<u16, u64>,
}

impl Latency {
    pub(super) fn record(&mut self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let bucket = (micros.max(1.0).log2() * PER_OCTAVE) as u16;
        *self.counts.entry(bucket).or_default() += 1;
    }

    /// The time in milliseconds within which that part of the commands ended; 0 when there was none.
    #[must_use]
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let all: u64 = self.counts.values().sum();
        let mut left = (all as f64 * part).ceil() as u64;
        for (bucket, count) in &self.counts {
            if *count >= left {
                return 2f64.powf((f64::from(*bucket) + 1.0) / PER_OCTAVE) / 1000.0;
            }
            left -= count;
        }
        0.0
    }
}

impl AddAssign<&Self> for Latency {
    fn add_assign(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }
}

/// As JSON: quantiles for people, buckets to be read again.
#[derive(Serialize, Deserialize)]
struct Written {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    buckets: Vec<(u16, u64)>,
}

impl From<Latency> for Written {
    fn from(latency: Latency) -> Self {
        let [p50_ms, p99_ms, max_ms] = [0.5, 0.99, 1.0].map(|part| latency.quantile_ms(part));
        Self { p50_ms, p99_ms, max_ms, buckets: latency.counts.into_iter().collect() }
    }
}

impl From<Written> for Latency {
    fn from(written: Written) -> Self {
        Self { counts: written.buckets.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_five_percent() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = latency.quantile_ms(part);
            assert!((exact..exact * 1.05).contains(&found), "{part}: {found}");
        }
        assert_eq!(Latency::default().quantile_ms(0.99), 0.0);
    }
}
