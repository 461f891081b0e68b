//! Rates per second for INFO's `instantaneous_*`, and peaks: sampled by the cron thread.

use parking_lot::Mutex;

/// How many samples a rate is the mean of (Redis: STATS_METRIC_SAMPLES).
const SAMPLES: usize = 16;

/// What is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Requests executed.
    Commands,
    /// Bytes from clients.
    Input,
    /// Bytes to clients.
    Output,
    /// Bytes from replication links.
    ReplicationInput,
    /// Bytes to replication links.
    ReplicationOutput,
}

/// How many rates there are.
const RATES: usize = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    last_total: u64,
    samples: [u64; SAMPLES],
    next: usize,
}

#[derive(Debug, Default)]
struct State {
    last_ms: u64,
    tracks: [Track; RATES],
    memory_peak: u64,
}

/// The samples.
#[derive(Debug, Default)]
pub struct Rates {
    state: Mutex<State>,
}

impl Rates {
    /// Takes a sample of the totals, in the order of [`Rate`], and of the memory in use.
    pub fn sample(&self, now_ms: u64, totals: [u64; RATES], memory: u64) {
        let mut state = self.state.lock();
        let elapsed = now_ms.saturating_sub(state.last_ms);
        state.memory_peak = state.memory_peak.max(memory);
        let first = state.last_ms == 0;
        state.last_ms = now_ms;
        for (track, total) in state.tracks.iter_mut().zip(totals) {
            let grown = total.saturating_sub(track.last_total);
            track.last_total = total;
            if elapsed > 0 && !first {
                track.samples[track.next] = grown * 1000 / elapsed;
                track.next = (track.next + 1) % SAMPLES;
            }
        }
    }

    /// The mean of the last samples, per second.
    #[must_use]
    pub fn per_second(&self, rate: Rate) -> u64 {
        let state = self.state.lock();
        state.tracks[rate as usize].samples.iter().sum::<u64>() / SAMPLES as u64
    }

    /// The most memory that was seen in use, `now` included.
    #[must_use]
    pub fn memory_peak(&self, now: u64) -> u64 {
        let mut state = self.state.lock();
        state.memory_peak = state.memory_peak.max(now);
        state.memory_peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_its_samples() {
        let rates = Rates::default();
        for i in 0..=SAMPLES as u64 {
            rates.sample(1000 + i * 100, [i * 50, 0, 0, 0, 0], 10 + i);
        }
        assert_eq!(rates.per_second(Rate::Commands), 500);
        assert_eq!(rates.per_second(Rate::Input), 0);
        assert_eq!(rates.memory_peak(5), 26);
        assert_eq!(rates.memory_peak(50), 50);
    }
}
