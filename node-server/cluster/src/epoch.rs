//! Epochs: every claim a version of its own.

use crate::Cluster;
use crate::io::Level;
use node_server_protocol::bus::Header;
use node_server_protocol::{Epoch, NodeId};

impl Cluster {
    /// Two masters with one epoch: the one with the smaller name takes a new one. Not one that came back without its
    /// data: it may have been replaced and not have heard of it, and would outbid the one that has the data.
    pub(crate) fn on_collision(&mut self, sender: NodeId, header: &Header) {
        let (me, epoch) = (self.view.me, self.view.myself().config_epoch);
        let both_masters = self.view.i_am_master() && header.master.is_none();
        if self.guard.is_closed() || !both_masters || header.config_epoch != epoch || sender < me {
            return;
        }
        let epoch = self.next_epoch();
        self.view.myself_mut().config_epoch = epoch;
        let with = self.view.label(sender);
        let text = format!("WARNING: configEpoch collision with node {with}. configEpoch set to {epoch}");
        self.log(Level::Warning, text);
        self.changed();
    }

    fn next_epoch(&mut self) -> Epoch {
        self.view.current_epoch = self.view.current_epoch.next();
        self.view.current_epoch
    }

    /// A new epoch without asking anybody, unless this node has the highest already. `None`: nothing to do.
    pub(crate) fn bump_epoch(&mut self) -> Option<Epoch> {
        let own = self.view.myself().config_epoch;
        if own != Epoch(0) && own == self.view.max_epoch() {
            return None;
        }
        self.view.current_epoch = self.view.max_epoch();
        let epoch = self.next_epoch();
        self.view.myself_mut().config_epoch = epoch;
        self.log(Level::Notice, format!("New configEpoch set to {epoch}"));
        self.changed();
        Some(epoch)
    }

    /// A sibling that claims with the epoch of our election or a later one has won.
    pub(crate) fn newer_claim_ends_election(&mut self, header: &Header) {
        let sibling = self.view.same_shard(self.view.me, header.sender);
        if self.election.sent && sibling && header.config_epoch >= self.election.epoch {
            self.election.reset();
        }
    }
}
