//! Nodes that were to be forgotten: not learned again from gossip for a while, and told to the others, so that one
//! CLUSTER FORGET is enough for a whole cluster (Redis from 7.2 on, Valkey).

use crate::Cluster;
use crate::io::Level;
use node_server_protocol::bus::Extension;
use node_server_protocol::{Millis, NodeId};
use std::collections::BTreeMap;

/// How long a node stays forgotten, in milliseconds (Redis: CLUSTER_BLACKLIST_TTL).
const FORGOTTEN_MS: u64 = 60_000;
/// Most nodes that are kept as forgotten; above it the one whose time ends first is dropped. As many as can be known.
const FORGOTTEN_MAX: usize = 4096;
/// What whole seconds and the way of a message may hide of when a node was forgotten, in milliseconds.
const TOLD_LATE_MS: u64 = 2000;
/// Most forgotten nodes that one heartbeat tells of (56 bytes each); of more, some at random, so that all get their turn.
const TOLD_MAX: usize = 64;

/// Them, each with the end of its time.
#[derive(Debug, Default)]
pub(crate) struct Forgotten(BTreeMap<NodeId, Millis>);

impl Forgotten {
    fn add(&mut self, id: NodeId, until: Millis) {
        self.0.insert(id, until);
        if self.0.len() > FORGOTTEN_MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            self.0.remove(&first);
        }
    }

    /// It was introduced again.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.0.remove(&id);
    }

    pub(crate) fn expire(&mut self, now: Millis) {
        self.0.retain(|_, until| *until > now);
    }
}

impl Cluster {
    pub(crate) fn is_forgotten(&self, id: NodeId) -> bool {
        self.forgotten.0.get(&id).is_some_and(|until| *until > self.now)
    }

    /// CLUSTER FORGET.
    pub(crate) fn forget_node(&mut self, id: NodeId) {
        self.forgotten.add(id, self.now.after(FORGOTTEN_MS));
        self.remove_node(id);
    }

    /// Another node was told to forget this one. It counts for nothing where the node was introduced again since: the last
    /// that was said holds, however long the others go on telling. Nor, until they have been claimed, while clients are sent
    /// there for slots: they would have no owner.
    pub(crate) fn forget_on_request(&mut self, sender: NodeId, id: NodeId, ttl_s: u64) {
        let known = self.view.known(id);
        let since = FORGOTTEN_MS.saturating_sub(ttl_s.saturating_mul(1000));
        let met_since = known.and_then(|n| n.met).is_some_and(|met| self.age(met) + TOLD_LATE_MS < since);
        let is_needed = known.is_some_and(|n| !n.slots.is_empty() && !n.is_failed());
        if known.is_some()
            && !met_since
            && !is_needed
            && id != self.view.me
            && self.view.myself().master != Some(id)
        {
            let (node, by) = (self.view.label(id), self.view.label(sender));
            self.log(Level::Notice, format!("Forgetting node {node}, as node {by} was told to."));
            self.forgotten.add(id, self.now.after(ttl_s.saturating_mul(1000)));
            self.remove_node(id);
        }
    }

    /// For a heartbeat. Whole seconds, rounded down: what goes round must not get longer by that.
    pub(crate) fn forgotten_nodes(&mut self) -> Vec<Extension> {
        let now = self.now;
        let rest = |until: Millis| until.since(now) / 1000;
        let still = self.forgotten.0.iter().filter(|(_, until)| rest(**until) > 0);
        let all: Vec<NodeId> = still.map(|(id, _)| *id).collect();
        let told = if all.len() > TOLD_MAX { self.rng.pick(all, TOLD_MAX) } else { all };
        let until = |id: NodeId| self.forgotten.0.get(&id).copied();
        let told = told.into_iter().filter_map(|node| Some((node, until(node)?)));
        told.map(|(node, until)| Extension::ForgottenNode { node, ttl_s: rest(until) }).collect()
    }
}
