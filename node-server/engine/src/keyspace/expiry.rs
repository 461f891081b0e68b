//! Which slots the expiration cycle looks into.

use super::Keyspace;
use node_server_protocol::{Millis, SLOT_COUNT, Slot};
use std::sync::atomic::Ordering;

impl Keyspace {
    /// Slots in which keys may have expired, each at most once, from where the last cycle stopped.
    pub(crate) fn due(&self, now: Millis) -> impl Iterator<Item = Slot> + '_ {
        let start = self.expiry_at.load(Ordering::Relaxed) % u64::from(SLOT_COUNT);
        (0..u64::from(SLOT_COUNT)).filter_map(move |n| {
            let slot = Slot::new(((start + n) % u64::from(SLOT_COUNT)) as u16)?;
            (self.published(slot).soonest() <= now.0).then_some(slot)
        })
    }

    /// The next cycle begins at `slot`.
    pub(crate) fn expire_from(&self, slot: Slot) {
        self.expiry_at.store(u64::from(slot.number()), Ordering::Relaxed);
    }
}
