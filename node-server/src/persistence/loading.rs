//! How the load of the start stands: read by INFO, probes, and everybody who waits for its end.

use crate::node::now;
use node_server_protocol::Millis;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Where it is. Either whoever loads or whoever ends the process takes it out of [`Phase::Reading`], never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The files are being read.
    Reading,
    /// They are read; what writes them is being started.
    Ending,
    /// The data is there.
    Done,
    /// The process leaves, and nothing is written any more.
    GivenUp,
}

/// See the module.
#[derive(Debug)]
pub struct Loading {
    phase: watch::Sender<Phase>,
    /// When it began.
    started: Millis,
    total_bytes: u64,
    loaded_bytes: AtomicU64,
}

/// One moment of it, for INFO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// When it began.
    pub started: Millis,
    /// Length of all files.
    pub total_bytes: u64,
    /// How much of them is read.
    pub loaded_bytes: u64,
}

impl Progress {
    /// Of a hundred.
    #[must_use]
    pub fn percent(&self) -> f64 {
        self.loaded_bytes as f64 * 100.0 / self.total_bytes.max(1) as f64
    }

    /// How long it will take at this pace, in seconds; one before a second has passed (Redis: genRedisInfoString).
    #[must_use]
    pub fn eta_s(&self, now: Millis) -> u64 {
        match now.since(self.started) / 1000 {
            0 => 1,
            elapsed => {
                let left = self.total_bytes.saturating_sub(self.loaded_bytes);
                elapsed.saturating_mul(left) / (self.loaded_bytes + 1)
            }
        }
    }
}

impl Loading {
    /// Files of that length will be read.
    #[must_use]
    pub fn of(total_bytes: u64) -> Self {
        Self { total_bytes, phase: watch::Sender::new(Phase::Reading), ..Self::nothing() }
    }

    /// There is nothing to read.
    #[must_use]
    pub fn nothing() -> Self {
        let phase = watch::Sender::new(Phase::Done);
        Self { phase, started: now(), total_bytes: 0, loaded_bytes: AtomicU64::new(0) }
    }

    fn change(&self, from: Phase, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let changes = *phase == from;
            if changes {
                *phase = to;
            }
            changes
        })
    }

    /// Everything is read. False: the process leaves, and the data is not to be used.
    pub(super) fn all_is_read(&self) -> bool {
        self.change(Phase::Reading, Phase::Ending)
    }

    /// The data is there, and its files are written on.
    pub(super) fn end(&self) {
        self.change(Phase::Ending, Phase::Done);
    }

    /// The process leaves. False: the data is there, or as good as there, and may have to be written first.
    pub fn give_up(&self) -> bool {
        self.change(Phase::Reading, Phase::GivenUp)
    }

    pub(super) fn is_given_up(&self) -> bool {
        *self.phase.borrow() == Phase::GivenUp
    }

    /// Whether the data is there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.phase.borrow() == Phase::Done
    }

    /// Waits until the data is there. For ever, where the process leaves before.
    pub async fn over(&self) {
        // The sender is this.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Done).await;
    }

    pub(super) fn add(&self, bytes: u64) {
        self.loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How far it is; `None`: it is over.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let loaded_bytes = self.loaded_bytes.load(Ordering::Relaxed).min(self.total_bytes);
        (!self.is_over()).then_some(Progress {
            started: self.started,
            total_bytes: self.total_bytes,
            loaded_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_ends_it() {
        let loading = Loading::of(10);
        assert!(!loading.is_over() && loading.give_up() && loading.is_given_up());
        assert!(!loading.all_is_read(), "the process leaves");
        let loading = Loading::of(10);
        assert!(loading.all_is_read() && !loading.give_up() && !loading.is_over());
        loading.end();
        assert!(loading.is_over() && loading.progress().is_none() && !loading.give_up());
        assert!(Loading::nothing().is_over());
    }

    #[test]
    fn what_info_says_of_it() {
        let loading = Loading::of(400);
        loading.add(100);
        let progress = Progress { started: Millis(1000), ..loading.progress().unwrap() };
        assert_eq!((progress.total_bytes, progress.loaded_bytes), (400, 100));
        assert!((progress.percent() - 25.0).abs() < 1e-9);
        assert_eq!([1999, 2000, 5000].map(|at| progress.eta_s(Millis(at))), [1, 2, 11]);
        loading.add(1000);
        assert_eq!(loading.progress().unwrap().loaded_bytes, 400);
    }
}
