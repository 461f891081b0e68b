//! What a volume promises: the master that comes back with it is waited for, and a loss of power costs the last moments.

use crate::client::{KEYS, slot_of};
use crate::disk::LOST_MAX_MS;
use crate::node::{Life, Node};
use crate::world::World;
use node_server_protocol::{NodeId, Role};

impl World {
    /// A master is about to lose its power: what it wrote in the last moments may be gone when it is back, be it that its
    /// replica has it, which will follow it again.
    pub(crate) fn watch_power_loss(&mut self, node: usize) {
        let lost = &self.nodes[node];
        if lost.routing.as_ref().is_none_or(|r| r.role != Role::Master) {
            return;
        }
        for key in 0..KEYS {
            let slot = slot_of(key);
            let had = lost.data.get(slot, key).unwrap_or(0);
            let has = lost.volume.synced().and_then(|data| data.get(slot, key)).unwrap_or(0);
            let mut written = self.monitor.written_at.range((key, 0)..=(key, had));
            let promised = written.rfind(|(_, at)| self.now - **at > LOST_MAX_MS).map_or(0, |((_, v), _)| *v);
            if has < had {
                let kept = has.max(promised);
                self.monitor.release(key, kept);
                // What is gone now was not promised for long, whatever time passes until it is next looked for.
                self.monitor
                    .written_at
                    .retain(|(of, version), _| *of != key || *version <= kept || *version > had);
            }
        }
    }

    /// Another master of the shard has ended: its volume brings it back, with a claim that may beat this one's. Where no
    /// majority votes, a takeover may leave two.
    pub(crate) fn another_may_come_back(&self, master: usize) -> bool {
        let shard = self.nodes[master].member.shard;
        let claims = |n: &Node| n.disk_conf.as_ref().is_some_and(|conf| !conf.myself().slots.is_empty());
        let waits = |n: &Node| n.life == Life::Down && n.member.shard == shard && n.volume.exists();
        self.nodes.iter().any(|n| waits(n) && claims(n))
    }

    /// A replica that has only what its own file had when it was started has taken over from a master whose data is on its
    /// volume.
    pub(crate) fn watch_older_copy(&mut self, winner: usize, master: NodeId) {
        if !self.volumes || self.nodes[winner].link_was_up {
            return;
        }
        let its = self.nodes.iter().find(|n| {
            let conf = n.disk_conf.as_ref();
            n.life != Life::Removed && conf.is_some_and(|conf| conf.myself().id == master)
        });
        let Some(its) = its.filter(|n| n.keys().is_some_and(|data| !data.is_empty())) else { return };
        let (member, of) = (self.nodes[winner].member, its.member);
        self.violation(format!(
            "{member}, never in sync since its start, took over from {of}, whose data is on its volume"
        ));
    }
}
