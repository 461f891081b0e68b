//! Replica migration (reference/cluster-bus §1.12): a replica of a master that has several leaves for a master whose own
//! have all failed. One goes: of the masters with the most replicas the replica with the smallest id.

use crate::Cluster;
use crate::io::Level;
use crate::node::Node;
use node_server_protocol::{Millis, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// How long a master is without replicas before one comes, in milliseconds (Redis: CLUSTER_SLAVE_MIGRATION_DELAY).
const DELAY_MS: u64 = 5000;
/// A master with fewer replicas gives none away, whatever the barrier says.
const REPLICAS_MIN: usize = 2;

/// What is remembered for it: at most an entry for each node.
#[derive(Debug, Default)]
pub(crate) struct Migration {
    /// How many replicas each master had at the last look, failed ones included.
    attached: BTreeMap<NodeId, usize>,
    /// Masters that have replicas, be they failed, or took over from one that had (Redis: CLUSTER_NODE_MIGRATE_TO). One
    /// whose replicas were taken away wants none.
    targets: BTreeSet<NodeId>,
    /// Targets with slots and without a working replica, and since when.
    orphaned: BTreeMap<NodeId, Millis>,
}

impl Migration {
    /// A replica took its master's place.
    pub(crate) fn took_over(&mut self, id: NodeId) {
        self.targets.insert(id);
    }
}

impl Cluster {
    /// With every turn of the clock.
    pub(crate) fn join_an_orphan(&mut self) {
        self.look_for_orphans();
        if let Some(orphan) = self.orphan_for_me() {
            self.log(Level::Notice, format!("Migrating to orphaned master {}", self.view.label(orphan)));
            self.become_replica_of(orphan);
        }
    }

    fn look_for_orphans(&mut self) {
        let masters: Vec<NodeId> =
            self.view.nodes.values().filter(|n| n.is_master() && !n.in_handshake()).map(|n| n.id).collect();
        for id in &masters {
            let attached = self.view.replicas_of(*id).count();
            let before = self.migration.attached.insert(*id, attached).unwrap_or(0);
            if attached > 0 {
                self.migration.targets.insert(*id);
            } else if before > 0 {
                self.migration.targets.remove(id);
            }
            let waits = self.view.node(*id).is_some_and(|n| n.votes() && !n.is_failed());
            if waits && self.migration.targets.contains(id) && self.working_replicas(*id) == 0 {
                self.migration.orphaned.entry(*id).or_insert(self.now);
            } else {
                self.migration.orphaned.remove(id);
            }
        }
        let is_master = |id: &NodeId| masters.contains(id);
        self.migration.attached.retain(|id, _| is_master(id));
        self.migration.targets.retain(is_master);
        self.migration.orphaned.retain(|id, _| is_master(id));
    }

    fn working_replicas(&self, master: NodeId) -> usize {
        self.view.replicas_of(master).filter(|n| !n.is_failed()).count()
    }

    /// The master that this replica goes to now.
    fn orphan_for_me(&self) -> Option<NodeId> {
        let (orphan, since) = self.migration.orphaned.iter().next()?;
        let master = self.view.my_master().filter(|n| !n.is_failed())?;
        let due = self.state.ok && self.config.allow_replica_migration && self.age(*since) > DELAY_MS;
        let sound = |n: &&Node| !n.is_failed() && !n.is_suspect();
        let left = self.view.replicas_of(master.id).filter(sound).count() as u64;
        if !due || left <= self.config.migration_barrier {
            return None;
        }
        let masters = || self.view.nodes.values().filter(|n| n.is_master() && !n.is_failed());
        let most = masters().map(|n| self.working_replicas(n.id)).max().unwrap_or(0);
        if most < REPLICAS_MIN || self.working_replicas(master.id) != most {
            return None;
        }
        let rich = masters().filter(|n| self.working_replicas(n.id) == most);
        let candidates = rich.flat_map(|n| self.view.replicas_of(n.id)).filter(|n| !n.is_failed());
        (candidates.map(|n| n.id).min() == Some(self.view.me)).then_some(*orphan)
    }
}
