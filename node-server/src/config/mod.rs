//! Configuration: redis.conf, flags and CONFIG.

mod settings;

use arc_swap::ArcSwap;
use std::sync::Arc;

pub use settings::Settings;

/// The settings in force. Readers take a snapshot; CONFIG SET swaps it.
pub struct ConfigStore {
    settings: ArcSwap<Settings>,
}

impl ConfigStore {
    /// Starts with `settings`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings) }
    }

    /// The settings now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }
}
