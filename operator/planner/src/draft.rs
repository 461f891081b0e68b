//! A plan in the making.

use crate::observed::NodeReport;
use crate::plan::{Plan, PlannedStep};
use crate::step::{Expect, NodeRef, Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::World;
use node_server_protocol::{NodeId, SlotSet};
use std::collections::BTreeSet;

/// Graceful handovers that may be planned at a time in one cluster. One: each costs its shard a pause and the cluster
/// an election, nothing is urgent about them, and two at a time would take two voters out of a small cluster.
pub(crate) const MAX_GRACEFUL_FAILOVERS: usize = 1;

/// Collects what the stages say.
#[derive(Default)]
pub(crate) struct Draft {
    plan: Plan,
    disrupted: BTreeSet<u16>,
    graceful: usize,
}

impl Draft {
    pub(crate) fn step(&mut self, step: Step, expect: Vec<Expect>) {
        self.plan.steps.push(PlannedStep { step, expect });
    }

    pub(crate) fn wait(&mut self, waiting: Waiting) {
        if !self.plan.waiting.contains(&waiting) {
            self.plan.waiting.push(waiting);
        }
    }

    pub(crate) fn refuse(&mut self, refusal: Unsafe) {
        if !self.plan.unsafe_.contains(&refusal) {
            self.plan.unsafe_.push(refusal);
        }
    }

    /// Takes the shard's one disruptive step; false when it is taken.
    pub(crate) fn disrupt(&mut self, shard: u16) -> bool {
        self.disrupted.insert(shard)
    }

    /// Nothing that depends on this shard staying as it is may be planned.
    pub(crate) fn is_disrupted(&self, shard: u16) -> bool {
        self.disrupted.contains(&shard)
    }

    /// Takes one of the cluster's graceful handovers and the shard's disruptive step.
    pub(crate) fn disrupt_gracefully(&mut self, shard: u16) -> bool {
        if self.graceful >= MAX_GRACEFUL_FAILOVERS || !self.disrupt(shard) {
            return false;
        }
        self.graceful += 1;
        true
    }

    pub(crate) fn has(&self, found: impl Fn(&Step) -> bool) -> bool {
        self.plan.steps.iter().any(|s| found(&s.step))
    }

    pub(crate) fn finish(mut self, paused: bool) -> Plan {
        self.plan.paused = paused;
        self.plan
    }
}

/// `what` must still be said by this node.
pub(crate) fn expect(node: NodeRef, what: What) -> Expect {
    Expect { member: node.member, id: node.id, what }
}

/// None of the others that answer claims these slots when it is asked again. Answers of one look are given at different
/// moments: of two nodes that hand slots over, the taker may have answered before and the giver behind it.
pub(crate) fn nobody_claims(world: &World<'_>, slots: &SlotSet, but: NodeRef) -> Vec<Expect> {
    let others = world.reports.keys().filter(|member| **member != but.member);
    let others = others.filter_map(|member| world.node_ref(*member));
    others.map(|other| expect(other, What::ClaimsNone(slots.clone()))).collect()
}

/// Nobody has taken over from `master` since this report.
pub(crate) fn same_epoch(node: NodeRef, report: &NodeReport, master: NodeId) -> Option<Expect> {
    let epoch = report.line(master)?.config_epoch;
    Some(expect(node, What::EpochOf { master, epoch }))
}
