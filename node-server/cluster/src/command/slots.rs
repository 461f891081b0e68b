//! ADDSLOTS, DELSLOTS, FLUSHSLOTS.

use crate::Cluster;
use crate::io::DatasetInfo;
use node_server_protocol::{SlotRange, SlotSet};

impl Cluster {
    /// The slots of the ranges, each of which must (or must not) have an owner and be named once.
    fn named_once(&self, ranges: &[SlotRange], owned: bool) -> Result<SlotSet, String> {
        let taken = self.view.nodes.values().fold(SlotSet::new(), |all, n| all.union(&n.slots));
        let mut named = SlotSet::new();
        for slot in ranges.iter().flat_map(SlotRange::iter) {
            if taken.contains(slot) != owned {
                let state = if owned { "already unassigned" } else { "already busy" };
                return Err(format!("ERR Slot {slot} is {state}"));
            }
            if !named.insert(slot) {
                return Err(format!("ERR Slot {slot} specified multiple times"));
            }
        }
        Ok(named)
    }

    pub(super) fn add_slots(&mut self, ranges: &[SlotRange]) -> Result<(), String> {
        let slots = self.named_once(ranges, false)?;
        if !self.view.i_am_master() {
            return Err("ERR Please use ADDSLOTS only with masters.".into());
        }
        self.view.assign(&slots, self.view.me);
        self.view.importing.retain(|slot, _| !slots.contains(*slot));
        self.changed_by_command();
        Ok(())
    }

    pub(super) fn delete_slots(&mut self, ranges: &[SlotRange]) -> Result<(), String> {
        let slots = self.named_once(ranges, true)?;
        self.view.unassign(&slots);
        self.changed_by_command();
        Ok(())
    }

    pub(super) fn flush_slots(&mut self, keys: DatasetInfo) -> Result<(), String> {
        if keys.total > 0 {
            return Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into());
        }
        let slots = self.view.myself().slots.clone();
        self.view.unassign(&slots);
        self.changed_by_command();
        Ok(())
    }
}
