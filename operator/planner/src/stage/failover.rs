//! Masters that are dead, and masters that came back without their data.

use crate::draft::{Draft, expect, nobody_claims, same_epoch};
use crate::member::MemberId;
use crate::observed::{NodeReport, Proof};
use crate::plan::MAX_MIGRATE_STEPS;
use crate::safety;
use crate::stage::{join, rebalance};
use crate::step::{FailoverMode, MoveKind, Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::World;
use node_server_protocol::{NodeId, Role, SlotSet};
use std::cmp::Reverse;

/// Takeovers in one plan. One: it may restore the majority that lets the next shard vote.
const MAX_TAKEOVERS: usize = 1;

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    for (id, slots) in world.ownership.owners() {
        let shard = world.shard_of(id);
        match (world.report_of(id), shard) {
            (Some((member, report)), _) if report.closed_empty => closed(world, draft, member, report, slots),
            (Some(_), _) | (None, None) => {}
            (None, Some(shard)) => silent(world, draft, shard, id, slots),
        }
    }
    receiving(world, draft);
}

/// Masters that came back without their data and own no slot yet: keys of slots on their way to them may be lost, and
/// their replicas may have those. Where the shard has another master, it is attached to that one.
fn receiving(world: &World<'_>, draft: &mut Draft) {
    let waits = |(_, r): &(MemberId, &NodeReport)| {
        r.closed_empty && r.role.is_master() && !world.ownership.owns_any(r.id)
    };
    for (member, report) in world.cluster().filter(waits) {
        if world.master_of(member.shard).is_none_or(|master| master == member) {
            let coming = report.open_slots.iter().map(|o| o.slot).collect();
            closed(world, draft, member, report, &coming);
        }
    }
}

fn silent(world: &World<'_>, draft: &mut Draft, shard: u16, master: NodeId, slots: &SlotSet) {
    let proof = safety::death_of(world, master);
    match (safety::best_copy(world, master), safety::copy_outside(world, master), proof) {
        (Some((replica, _)), _, Some(proof)) => take_over(world, draft, shard, replica, master, proof),
        (Some(_), _, None) => {
            let reason = "its death is not proven; its replicas elect by themselves if the masters agree";
            draft.wait(Waiting::Failover { shard, master, reason: reason.into() });
        }
        (None, Some(copy), Some(_)) => join::bring_in(world, draft, copy),
        (None, ..) if safety::proven_gone(world, master).is_some() => {
            lost(world, draft, shard, master, slots)
        }
        (None, ..) => draft.refuse(Unsafe::NoReplica { shard, master, slots: slots.clone() }),
    }
}

fn take_over(
    world: &World<'_>,
    draft: &mut Draft,
    shard: u16,
    replica: MemberId,
    master: NodeId,
    proof: Proof,
) {
    let copy = world.reports.get(&replica);
    if copy.is_some_and(|copy| safety::volume_has_more(world, master, copy, proof)) {
        return draft.refuse(Unsafe::OlderCopy { shard, master, replica });
    }
    let mode = match proof {
        _ if safety::vote_may_succeed(world, master) => FailoverMode::Forced(proof),
        Proof::Terminated | Proof::Administrator | Proof::ClosedEmpty => FailoverMode::Takeover(proof),
        Proof::Refused => return draft.refuse(Unsafe::TakeoverNotProven { shard, master }),
    };
    if let (FailoverMode::Takeover(_), Some(copy)) = (mode, copy) {
        // Nobody votes, so nobody would tell it that another has some of the slots by now, and has their keys.
        let believed = copy.line(master).map(|line| line.slot_set()).unwrap_or_default();
        let others = believed.difference(&world.ownership.of(master));
        if !others.is_empty() {
            return draft.wait(Waiting::ViewsAgree { slots: others });
        }
    }
    let is_takeover = |s: &Step| matches!(s, Step::Failover { mode: FailoverMode::Takeover(_), .. });
    let takeovers = usize::from(draft.has(is_takeover));
    if matches!(mode, FailoverMode::Takeover(_)) && takeovers >= MAX_TAKEOVERS {
        return draft.wait(Waiting::Turn { shard });
    }
    if draft.disrupt(shard) {
        promote(world, draft, replica, master, mode);
    }
}

/// The step itself: the replica must still copy this master, and nobody may have taken over since.
pub(crate) fn promote(
    world: &World<'_>,
    draft: &mut Draft,
    replica: MemberId,
    master: NodeId,
    mode: FailoverMode,
) {
    let (Some(node), Some(report)) = (world.node_ref(replica), world.reports.get(&replica)) else {
        return;
    };
    let mut expectations = vec![expect(node, What::Role(Role::Replica { of: master }))];
    expectations.extend(same_epoch(node, report, master));
    draft.step(Step::Failover { replica: node, master, mode }, expectations);
}

/// A master that lives and says that it has lost its data: a replica with a copy takes over; without one it opens
/// empty, if every copy is seen to be empty and that is allowed.
fn closed(world: &World<'_>, draft: &mut Draft, member: MemberId, report: &NodeReport, slots: &SlotSet) {
    let shard = member.shard;
    // Without slots, its own or coming, there is nothing that a replica could take over.
    if let Some((replica, _)) = safety::best_copy(world, report.id).filter(|_| !slots.is_empty()) {
        return take_over(world, draft, shard, replica, report.id, Proof::ClosedEmpty);
    }
    if let Some(copy) = safety::copy_outside(world, report.id).filter(|_| !slots.is_empty()) {
        return join::bring_in(world, draft, copy);
    }
    if let Some(holder) = safety::last_copy(world, shard, report.id, slots) {
        return give_back(world, draft, member, holder, slots);
    }
    if let Err(refusal) = safety::every_copy_is_empty(world, shard, report.id) {
        return draft.refuse(refusal);
    }
    if !slots.is_empty() && !world.desired.allow_data_loss() {
        return draft.refuse(Unsafe::DataLoss { shard, slots: slots.clone() });
    }
    let Some(node) = world.node_ref(member).filter(|_| draft.disrupt(shard)) else {
        return;
    };
    let reason = "every copy was restarted without its data".to_string();
    if !slots.is_empty() {
        draft.step(Step::ReportLoss { shard, slots: slots.clone(), reason }, Vec::new());
    }
    draft.step(Step::Reopen { node }, vec![expect(node, What::ClosedEmpty)]);
}

/// The slots of a master that has lost its data go to the deposed one that still has their keys.
fn give_back(world: &World<'_>, draft: &mut Draft, from: MemberId, holder: MemberId, slots: &SlotSet) {
    let (Some(source), Some(target)) = (world.node_ref(from), world.node_ref(holder)) else {
        return;
    };
    if !draft.disrupt(from.shard) {
        return;
    }
    let masters = world.cluster().filter(|(m, r)| r.role.is_master() && *m != from && *m != holder);
    let others: Vec<_> = masters.filter_map(|(m, _)| world.node_ref(m)).collect();
    for slots in rebalance::batches(slots).into_iter().take(MAX_MIGRATE_STEPS) {
        let expectations = vec![
            expect(source, What::ClosedEmpty),
            expect(source, What::Owns(slots.clone())),
            expect(target, What::Role(Role::Master)),
        ];
        let (kind, others) = (MoveKind::Handover, others.clone());
        draft.step(Step::MigrateSlots { slots, source, target, kind, others }, expectations);
    }
}

/// The owner is gone for good and nobody has a copy.
fn lost(world: &World<'_>, draft: &mut Draft, shard: u16, master: NodeId, slots: &SlotSet) {
    if let Err(refusal) = safety::every_copy_is_empty(world, shard, master) {
        return draft.refuse(refusal);
    }
    if !world.desired.allow_data_loss() {
        return draft.refuse(Unsafe::DataLoss { shard, slots: slots.clone() });
    }
    // The one that has some of them already, if that was interrupted or is under way.
    let fit = |(m, r): &(MemberId, &NodeReport)| {
        m.shard == shard && r.role.is_master() && !r.closed_empty && world.desired.wants(*m)
    };
    let heir = world.cluster().filter(fit).max_by_key(|(m, r)| (r.own_slots().len(), Reverse(*m)));
    let begun = heir.is_some_and(|(_, r)| !r.own_slots().is_empty());
    let Some(owner) = heir.and_then(|(m, _)| world.node_ref(m)).filter(|_| draft.disrupt(shard)) else {
        return draft.wait(Waiting::ServingMaster { shard });
    };
    let others = world.cluster().filter(|(_, r)| r.role.is_master() && r.id != owner.id);
    let others = others.filter_map(|(m, _)| world.node_ref(m)).collect();
    let reason = "its master is gone for good and nobody has a copy".to_string();
    draft.step(Step::ReportLoss { shard, slots: slots.clone(), reason }, Vec::new());
    let mut expectations = vec![expect(owner, What::Role(Role::Master))];
    if !begun {
        expectations.extend([expect(owner, What::OwnsNothing), expect(owner, What::NoKeys)]);
    }
    expectations.extend(nobody_claims(world, slots, owner));
    draft.step(Step::ReplaceOwner { owner, previous: master, slots: slots.clone(), others }, expectations);
}
