//! Who is not declared any more goes: forgotten by all, then removed. Who is proven gone is forgotten. Nobody else.

use crate::draft::{Draft, expect};
use crate::member::MemberId;
use crate::observed::NodeReport;
use crate::safety;
use crate::step::{Expect, NodeRef, Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::{Defect, World};
use node_server_protocol::{NodeId, Role, SlotSet};
use std::collections::BTreeSet;

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    // The highest ordinal first: a StatefulSet gives up no other.
    for member in world.members.keys().copied().filter(|m| !world.desired.wants(*m)).rev() {
        match safety::may_go(world, member) {
            Ok(id) => dismiss(world, draft, member, id),
            Err(refusal) if in_progress(&refusal, draft) => {}
            Err(refusal) => draft.refuse(refusal),
        }
    }
    for id in known_ids(world) {
        if safe_to_forget(world, id) {
            forget(world, draft, id, world.gone.iter().find(|g| g.id == id).map(|g| g.member), &[]);
        }
    }
}

/// It owns slots that are being moved away by this very plan: nothing to complain about.
fn in_progress(refusal: &Unsafe, draft: &Draft) -> bool {
    let moving =
        |s: &Step| matches!(s, Step::MigrateSlots { .. } | Step::Failover { .. } | Step::CloseSlots { .. });
    matches!(refusal, Unsafe::OwnsSlots { .. } | Unsafe::HasKeys { .. }) && draft.has(moving)
}

fn dismiss(world: &World<'_>, draft: &mut Draft, member: MemberId, id: Option<NodeId>) {
    let Some(m) = world.members.get(&member) else {
        return;
    };
    // Who still routes to it would be left without an owner for its slots, and tell all clients that the cluster is down.
    let routed = id.map(|id| routed_to(world, id)).unwrap_or_default();
    if !routed.is_empty() {
        return draft.wait(Waiting::ViewsAgree { slots: routed });
    }
    let expectations = id.map(|_| proof_again(world, member)).unwrap_or_default();
    // A replica goes at once: one that nobody knows any more is cut off, and after a node timeout it tells its clients that
    // the cluster is down.
    let replicates = world.reports.get(&member).is_some_and(|r| !r.role.is_master());
    if let Some(id) = id
        && forget(world, draft, id, Some(member), &expectations)
        && !replicates
    {
        return;
    }
    // A master goes after those that copy it: without it nobody could tell that their keys are only copies.
    if id.is_some_and(|id| world.replicas_of(id).next().is_some()) {
        return;
    }
    if m.leaving || (member.shard < world.desired.masters() && !draft.disrupt(member.shard)) {
        return;
    }
    if let Some(node) = resettable(world, member) {
        draft.step(Step::Reset { node }, expectations.clone());
    }
    draft.step(Step::RemoveMember { member, uid: m.uid.clone() }, expectations);
}

/// Slots that some view still gives to it.
fn routed_to(world: &World<'_>, id: NodeId) -> SlotSet {
    let lines = world.cluster().filter_map(|(_, r)| r.line(id));
    lines.fold(SlotSet::new(), |all, line| all.union(&line.slot_set()))
}

/// What proved that it may go, asked of it again.
fn proof_again(world: &World<'_>, member: MemberId) -> Vec<Expect> {
    let (Some(node), Some(report)) = (world.node_ref(member), world.reports.get(&member)) else {
        return Vec::new();
    };
    match report.role {
        Role::Replica { of } => vec![expect(node, What::Role(Role::Replica { of }))],
        Role::Master => vec![expect(node, What::OwnsNothing), expect(node, What::NoKeys)],
    }
}

/// An empty master that still knows others: it must not come back with them in mind.
fn resettable(world: &World<'_>, member: MemberId) -> Option<NodeRef> {
    let report = world.reports.get(&member)?;
    (report.role.is_master() && !report.is_alone()).then(|| world.node_ref(member))?
}

/// Everybody who knows it forgets it, the process that has its member's place now included; false when nobody does. Its
/// own replicas cannot, and go before it.
fn forget(
    world: &World<'_>,
    draft: &mut Draft,
    id: NodeId,
    member: Option<MemberId>,
    expectations: &[Expect],
) -> bool {
    let knows = |(_, r): &(MemberId, &NodeReport)| r.id != id && r.line(id).is_some();
    let knowing: Vec<_> =
        world.reports.iter().map(|(m, r)| (*m, *r)).filter(|x| concerns(world, x) && knows(x)).collect();
    let can = knowing.iter().filter(|(_, r)| r.role != Role::Replica { of: id });
    let at: Vec<NodeRef> = can.filter_map(|(m, _)| world.node_ref(*m)).collect();
    if at.is_empty() {
        return !knowing.is_empty();
    }
    draft.step(Step::Forget { id, member, at }, expectations.to_vec());
    true
}

/// Members outside the cluster that are about to go need not forget anybody.
fn concerns(world: &World<'_>, (member, _): &(MemberId, &NodeReport)) -> bool {
    world.joined.contains(member) || world.desired.wants(*member)
}

fn known_ids(world: &World<'_>) -> BTreeSet<NodeId> {
    world.cluster().flat_map(|(_, r)| &r.view).filter(|l| !l.flags.handshake).map(|l| l.id).collect()
}

/// Proven gone, owns nothing in any view, nobody copies it, and its member is filled again or not wanted.
fn safe_to_forget(world: &World<'_>, id: NodeId) -> bool {
    if world.has(Defect::SilenceIsDeath) {
        return world.report_of(id).is_none();
    }
    let replaced = |m: MemberId| !world.desired.wants(m) || world.joined.contains(&m);
    let member = world.gone.iter().find(|g| g.id == id).map(|g| g.member).or_else(|| world.successor(id));
    !world.ids.contains_key(&id)
        && safety::proven_gone(world, id).is_some()
        && routed_to(world, id).is_empty()
        && !world.ownership.owns_any(id)
        && world.replicas_of(id).next().is_none()
        && member.is_some_and(replaced)
}
