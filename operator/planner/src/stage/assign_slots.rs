//! Slots that nobody owns get an owner: all of them when a cluster is created, some after a mishap.

use crate::draft::{Draft, expect, nobody_claims};
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::{OpenState, ViewLine};
use crate::stage::join;
use crate::step::{Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::{Defect, World, is_silent};
use node_server_protocol::{Epoch, Role, Slot, SlotSet};
use std::collections::BTreeMap;

pub(crate) fn plan(world: &World<'_>, layout: &Layout, draft: &mut Draft) {
    let unowned = world.ownership.unowned();
    if unowned.is_empty() {
        return;
    }
    let nothing_yet = world.ownership.owners().next().is_none();
    if nothing_yet && join::is_assembling(world) {
        return;
    }
    if let Some(refusal) = refusal(world, &unowned, nothing_yet) {
        return draft.refuse(refusal);
    }
    let fresh = nothing_yet && join::is_fresh(world);
    let mut owners: BTreeMap<MemberId, SlotSet> = BTreeMap::new();
    for slot in unowned.iter() {
        let owner = if fresh { first_of(world, layout.target(slot)) } else { owner_for(world, layout, slot) };
        match owner {
            Some(owner) => {
                owners.entry(owner).or_default().insert(slot);
            }
            None => draft.wait(Waiting::ServingMaster { shard: layout.target(slot).unwrap_or_default() }),
        }
    }
    for (member, slots) in owners {
        assign(world, draft, member, &slots, fresh);
    }
}

/// Slots that the new owner takes for another's, who does not claim them, are not free in its view. In a fresh cluster nobody
/// has ever claimed any.
fn assign(world: &World<'_>, draft: &mut Draft, member: MemberId, slots: &SlotSet, fresh: bool) {
    let (Some(owner), Some(report)) = (world.node_ref(member), world.reports.get(&member)) else {
        return;
    };
    let others = report.view.iter().filter(|l| l.id != owner.id);
    let elsewhere = others.fold(SlotSet::new(), |all, l| all.union(&l.slot_set()));
    let (free, taken) = (slots.difference(&elsewhere), slots.intersection(&elsewhere));
    if !free.is_empty() {
        let mut expectations = vec![expect(owner, What::Unowned(free.clone()))];
        if !fresh {
            expectations.extend(nobody_claims(world, &free, owner));
        }
        draft.step(Step::AssignSlots { owner, slots: free, mistaken: false }, expectations);
    }
    if !taken.is_empty() {
        let mut expectations = vec![expect(owner, What::Role(Role::Master))];
        expectations.extend(nobody_claims(world, &taken, owner));
        draft.step(Step::AssignSlots { owner, slots: taken, mistaken: true }, expectations);
    }
}

/// Somebody who does not answer may own them, or a node that is no member yet has keys.
fn refusal(world: &World<'_>, unowned: &SlotSet, nothing_yet: bool) -> Option<Unsafe> {
    let silent = world.members.iter().filter(|(_, m)| is_silent(m));
    for (member, m) in silent.filter(|_| !world.has(Defect::SilenceIsDeath)) {
        // One that has never said who it is has no part in a cluster that is being created.
        let never_ran = m.last_id.is_none() && (nothing_yet || m.life.never_ran());
        if !never_ran && !claims_are_known(world, *member) {
            return Some(Unsafe::MayBeOwned { slots: unowned.clone(), silent: *member });
        }
    }
    let (member, keys) = join::with_keys(world).find(|(m, _)| nothing_yet || !world.joined.contains(m))?;
    Some(Unsafe::NotEmpty { member, keys: keys.unwrap_or_default() })
}

/// Whether a node that answers has heard the silent one itself. One that has only heard of it shows epoch 0 and no
/// slots, whatever it owns.
fn claims_are_known(world: &World<'_>, silent: MemberId) -> bool {
    let heard = |l: &ViewLine| world.ids.get(&l.id) == Some(&silent) && l.config_epoch > Epoch::default();
    world.cluster().any(|(_, report)| report.view.iter().any(heard))
}

/// In a fresh cluster the lowest ordinal that answers becomes the master.
fn first_of(world: &World<'_>, shard: Option<u16>) -> Option<MemberId> {
    let shard = shard?;
    let fits =
        |m: &&MemberId| m.shard == shard && world.desired.wants(**m) && world.reports[*m].role.is_master();
    world.reports.keys().find(fits).copied()
}

/// Who has keys of the slot; else whom the others take for its owner; else the distribution's choice.
fn owner_for(world: &World<'_>, layout: &Layout, slot: Slot) -> Option<MemberId> {
    with_keys(world, slot).or_else(|| believed(world, slot)).or_else(|| layout.target_member(slot))
}

fn with_keys(world: &World<'_>, slot: Slot) -> Option<MemberId> {
    let masters = world.cluster().filter(|(_, r)| r.role.is_master());
    let keys = |(member, report): (MemberId, &crate::observed::NodeReport)| {
        let open = report.open_slots.iter().filter(|o| o.slot == slot);
        let open = open.map(|o| (o.keys.known().copied().unwrap_or_default(), importing(o.state)));
        let stray = report.stray_keys.known().into_iter().flatten().filter(|k| k.slot == slot);
        let stray = stray.map(|k| (k.keys, false));
        open.chain(stray).filter(|(n, _)| *n > 0).max().map(|most| (most, std::cmp::Reverse(member)))
    };
    masters.filter_map(keys).max().map(|(_, member)| member.0)
}

const fn importing(state: OpenState) -> bool {
    matches!(state, OpenState::ImportingFrom(_))
}

fn believed(world: &World<'_>, slot: Slot) -> Option<MemberId> {
    let lines = world.cluster().flat_map(|(_, r)| &r.view);
    let owns = lines.filter(|l| l.slots.iter().any(|range| range.start() <= slot && slot <= range.end()));
    let answers = owns.filter_map(|l| world.report_of(l.id).map(|(m, r)| (l.config_epoch, m, r)));
    let masters = answers.filter(|(_, m, r)| r.role.is_master() && world.joined.contains(m));
    masters.max_by_key(|(epoch, m, _)| (*epoch, std::cmp::Reverse(*m))).map(|(_, m, _)| m)
}
