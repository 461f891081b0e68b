//! A node that reads its files (Redis: `server.loading`). It is there for the others: it answers PINGs, keeps its role and
//! its slots, and votes, since a vote depends on nodes.conf alone. (A Redis master accepts no bus connection meanwhile, and
//! is replaced when that takes longer than the node timeout.) It says that the cluster is down, because it serves nothing:
//! who keeps keys for it goes on keeping them. It does not stand for election, hand over, or delete keys.

use crate::Cluster;
use crate::io::Level;
use node_server_protocol::SlotSet;

impl Cluster {
    /// The files of the start are being loaded, until [`crate::Input::Loaded`]. To be called before any input.
    pub fn begin_load(&mut self) {
        self.loading = true;
    }

    /// Slots that neither this shard owns nor anybody moves to it: their keys are served to nobody.
    #[must_use]
    pub fn foreign_slots(&self) -> SlotSet {
        let importing = self.view.importing.keys().copied().collect();
        SlotSet::full().difference(&self.view.shard_master().slots).difference(&importing)
    }

    /// Keys of slots that others own are kept like those of lost slots, until the owner itself says that it serves: what
    /// nodes.conf says may be older than the data. Those without owner are kept for whoever gets them.
    pub(crate) fn on_loaded(&mut self, occupied: &SlotSet) {
        self.loading = false;
        self.publish_soon();
        // A replica's keys are its master's business. Where none of them is, it was told to follow this master and had not
        // copied anything before it ended.
        if !self.view.i_am_master() {
            let masters = SlotSet::full().difference(&self.foreign_slots());
            self.has_copy = !occupied.intersection(&masters).is_empty();
            return;
        }
        let foreign = occupied.intersection(&self.foreign_slots());
        let others = self.view.others().fold(SlotSet::new(), |all, node| all.union(&node.slots));
        self.lost_slots = self.lost_slots.union(&foreign.intersection(&others));
        self.stranded = foreign.difference(&others);
        if !foreign.is_empty() {
            self.log(
                Level::Warning,
                format!("Keys of slots that are not mine were loaded and are kept: {foreign}"),
            );
        }
    }

    /// What CLUSTER INFO names: slots of others, or of nobody, whose keys are here.
    pub(crate) fn slots_kept_for_others(&self) -> SlotSet {
        self.lost_slots.union(&self.stranded).difference(&self.view.myself().slots)
    }
}
