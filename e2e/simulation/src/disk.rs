//! A node's keys on its volume, in runs that have volumes: an append-only file with `appendfsync everysec`.

use crate::dataset::Dataset;

/// How often the file is synced.
const SYNC_MS: u64 = 1_000;
/// A loss of power costs at most what was written in this time (docs/durability.md).
pub const LOST_MAX_MS: u64 = 2_000;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is killed: what it has written is in the file, synced or not.
    Killed,
    /// Its machine loses its power: what was not synced is gone.
    PowerLost,
}

/// What a volume holds.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    exists: bool,
    synced: Option<Dataset>,
    synced_at: u64,
    waiting: Option<Dataset>,
}

impl Volume {
    /// An empty volume; without one everything is in memory alone.
    #[must_use]
    pub fn new(exists: bool) -> Self {
        Self { exists, ..Self::default() }
    }

    /// Whether there is one.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Syncs, if it is time.
    pub fn sync(&mut self, data: &Dataset, now: u64) {
        if self.exists && (self.synced.is_none() || now >= self.synced_at + SYNC_MS) {
            self.synced = Some(data.clone());
            self.synced_at = now;
        }
    }

    /// What was last synced.
    #[must_use]
    pub fn synced(&self) -> Option<&Dataset> {
        self.synced.as_ref()
    }

    /// The process has ended and left this.
    pub fn crash(&mut self, data: &Dataset, end: End) {
        if !self.exists {
            return;
        }
        match end {
            End::Killed => self.waiting = Some(data.clone()),
            End::PowerLost => self.waiting = self.synced.clone(),
        }
    }

    /// What waits for the next process.
    #[must_use]
    pub fn waiting(&self) -> Option<&Dataset> {
        self.waiting.as_ref()
    }

    /// The next process reads it.
    pub fn load(&mut self) -> Option<Dataset> {
        let mut data = self.waiting.take()?;
        data.forget_backlog();
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Effect, History};
    use node_server_protocol::Slot;

    #[test]
    fn a_kill_keeps_what_was_written_and_a_loss_of_power_what_was_synced() {
        let mut data = Dataset::new(History(1));
        let mut volume = Volume::new(true);
        data.write(Effect::Set(Slot::FIRST, 1, 1));
        volume.sync(&data, 0);
        data.write(Effect::Set(Slot::FIRST, 1, 2));
        volume.sync(&data, SYNC_MS - 1);
        volume.crash(&data, End::PowerLost);
        assert_eq!(volume.load().and_then(|d| d.get(Slot::FIRST, 1)), Some(1));
        volume.crash(&data, End::Killed);
        assert_eq!(volume.load().and_then(|d| d.get(Slot::FIRST, 1)), Some(2));
        assert!(volume.load().is_none(), "it was read");
        let mut memory = Volume::default();
        memory.crash(&data, End::Killed);
        assert!(memory.load().is_none());
    }
}
