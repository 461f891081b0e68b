//! Slots left open or claimed twice: each is finished or closed, whatever was interrupted. Keys decide: where keys may
//! have crossed, the move is finished; where none has, it is finished only if it is wanted.

use crate::draft::{Draft, expect};
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::{NodeReport, OpenSlot, OpenState};
use crate::ownership::Contest;
use crate::safety;
use crate::stage::rebalance;
use crate::step::{MoveKind, Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::{World, is_silent};
use node_server_protocol::{NodeId, Slot, SlotSet};
use std::collections::BTreeMap;

/// What is to be done, gathered by pair so that slots travel together.
#[derive(Default)]
struct Repairs {
    moves: BTreeMap<(MemberId, MemberId, MoveKind), SlotSet>,
    closes: BTreeMap<MemberId, SlotSet>,
    stuck: BTreeMap<MemberId, SlotSet>,
}

/// Returns the slots that are open: nobody else may move them.
pub(crate) fn plan(world: &World<'_>, layout: &Layout, draft: &mut Draft) -> SlotSet {
    let mut repairs = Repairs::default();
    let mut contested = SlotSet::new();
    for contest in &world.ownership.contests {
        contested = contested.union(&contest.slots);
        settle(world, draft, contest, &mut repairs);
    }
    let open = open_slots(world);
    for (slot, at) in &open {
        if !contested.contains(*slot) {
            Open { world, layout, slot: *slot, at }.repair(draft, &mut repairs);
        }
    }
    stray_keys(world, draft, &open);
    emit(world, draft, repairs);
    contested.union(&open.keys().copied().collect())
}

type At<'a> = BTreeMap<MemberId, &'a OpenSlot>;

/// As masters have them; a replica's copy of the state follows its master's.
fn open_slots<'a>(world: &World<'a>) -> BTreeMap<Slot, At<'a>> {
    let mut open: BTreeMap<Slot, At<'a>> = BTreeMap::new();
    for (member, report) in world.cluster().filter(|(_, r)| r.role.is_master()) {
        for slot in &report.open_slots {
            open.entry(slot.slot).or_default().insert(member, slot);
        }
    }
    open
}

/// Two owners. The loser's keys join the winner's, unless the loser is a stale master of its shard, whose keys are old
/// and who steps down by itself. One that has handed over its last slots is no such.
fn settle(world: &World<'_>, draft: &mut Draft, contest: &Contest, repairs: &mut Repairs) {
    let (Some((winner, _)), Some((loser, report))) =
        (world.report_of(contest.winner), world.report_of(contest.loser))
    else {
        return;
    };
    let stale = world.master_of(loser.shard) != Some(loser)
        || (!contest.handed_over && !world.ownership.owns_any(report.id));
    if winner.shard == loser.shard || stale {
        draft.wait(Waiting::Demotion { member: loser });
    } else if contest.tie {
        draft.wait(Waiting::ViewsAgree { slots: contest.slots.clone() });
    } else {
        repairs.add((loser, winner, MoveKind::Merge { claimed: true }), &contest.slots);
    }
}

/// One open slot with everybody who has it open.
struct Open<'a> {
    world: &'a World<'a>,
    layout: &'a Layout,
    slot: Slot,
    at: &'a At<'a>,
}

impl Open<'_> {
    fn repair(&self, draft: &mut Draft, repairs: &mut Repairs) {
        let Some(owner) = self.world.ownership.owner(self.slot) else {
            return;
        };
        let Some((owner, report)) = self.world.report_of(owner) else {
            return draft
                .wait(Waiting::ServingMaster { shard: self.world.shard_of(owner).unwrap_or_default() });
        };
        match self.at.get(&owner).map(|o| o.state) {
            Some(OpenState::MigratingTo(target)) => self.leaving(owner, report, target, repairs),
            Some(OpenState::ImportingFrom(_)) => repairs.close(owner, self.slot),
            None => self.at.iter().for_each(|(m, open)| self.left_behind(owner, *m, open, repairs)),
        }
    }

    /// The owner sends it away. What others have open is looked at when that is done.
    fn leaving(&self, owner: MemberId, report: &NodeReport, to: NodeId, repairs: &mut Repairs) {
        match self.present_target(to) {
            Some(target) if target == owner => repairs.close(owner, self.slot),
            Some(target) if self.wants(target) || self.may_have_crossed(target) => {
                repairs.add((owner, target, MoveKind::Handover), &one(self.slot));
            }
            Some(_) => repairs.close(owner, self.slot),
            None if self.is_silent(to) => {}
            None if self.world.shard_of(to).is_none() && report.line(to).is_none() => {
                repairs.close(owner, self.slot);
            }
            None => repairs.stick(owner, self.slot),
        }
    }

    /// The owner has it closed, this node not.
    fn left_behind(&self, owner: MemberId, member: MemberId, open: &OpenSlot, repairs: &mut Repairs) {
        if self.lost_its_data(member) {
            return;
        }
        match (open.state, open.keys.known()) {
            (OpenState::MigratingTo(_), _) | (OpenState::ImportingFrom(_), Some(0))
                if !self.wants(member) =>
            {
                repairs.close(member, self.slot);
            }
            (OpenState::MigratingTo(_), _) => repairs.close(member, self.slot),
            (OpenState::ImportingFrom(_), _) if self.wants(member) => {
                repairs.add((owner, member, MoveKind::Handover), &one(self.slot));
            }
            (OpenState::ImportingFrom(_), Some(_)) => {
                repairs.add((member, owner, MoveKind::Merge { claimed: false }), &one(self.slot));
            }
            (OpenState::ImportingFrom(_), None) => repairs.stick(member, self.slot),
        }
    }

    /// The node that was named, or the master of its shard now. One that is silent, without proof of its death, may have
    /// keys and own the slot by now: only who has slots of the shard can have taken over from it.
    fn present_target(&self, to: NodeId) -> Option<MemberId> {
        let world = self.world;
        let named = world.report_of(to).filter(|(m, r)| r.role.is_master() && world.joined.contains(m));
        if let Some((member, _)) = named {
            return Some(member);
        }
        let doubtful = world.report_of(to).is_none() && safety::death_of(world, to).is_none();
        let has_slots = |m: &MemberId| world.node_ref(*m).is_some_and(|n| world.ownership.owns_any(n.id));
        world.master_of(world.shard_of(to)?).filter(|m| !doubtful || has_slots(m))
    }

    /// Whether the move's other end is a member that does not answer, and may answer yet.
    fn is_silent(&self, to: NodeId) -> bool {
        let member = self.world.ids.get(&to).and_then(|m| self.world.members.get(m));
        member.is_some_and(is_silent)
    }

    fn wants(&self, member: MemberId) -> bool {
        self.layout.target_member(self.slot) == Some(member)
    }

    /// That it has no key says nothing about what had crossed: its replica takes over or it is reopened first
    /// (`failover`).
    fn lost_its_data(&self, member: MemberId) -> bool {
        self.world.reports.get(&member).is_some_and(|r| r.closed_empty)
    }

    fn may_have_crossed(&self, target: MemberId) -> bool {
        if self.lost_its_data(target) {
            return true;
        }
        let empty = self.world.reports.get(&target).is_some_and(|r| r.keys.known() == Some(&0));
        let none_of_it = self.at.get(&target).is_some_and(|o| o.keys.known() == Some(&0));
        !empty && !none_of_it
    }
}

impl Repairs {
    fn add(&mut self, key: (MemberId, MemberId, MoveKind), slots: &SlotSet) {
        let set = self.moves.entry(key).or_default();
        *set = set.union(slots);
    }

    fn close(&mut self, member: MemberId, slot: Slot) {
        self.closes.entry(member).or_default().insert(slot);
    }

    fn stick(&mut self, member: MemberId, slot: Slot) {
        self.stuck.entry(member).or_default().insert(slot);
    }
}

fn one(slot: Slot) -> SlotSet {
    std::iter::once(slot).collect()
}

/// Keys where nobody looks for them: a person must say which copy counts.
fn stray_keys(world: &World<'_>, draft: &mut Draft, open: &BTreeMap<Slot, At<'_>>) {
    for (member, report) in world.cluster().filter(|(_, r)| r.role.is_master()) {
        let strays = report.stray_keys.known().into_iter().flatten().map(|k| k.slot);
        let owned = |slot: &Slot| world.ownership.owner(*slot).is_some() && !open.contains_key(slot);
        let slots: SlotSet = strays.filter(owned).collect();
        if !slots.is_empty() {
            draft.refuse(Unsafe::StrayKeys { member, slots });
        }
    }
}

fn emit(world: &World<'_>, draft: &mut Draft, repairs: Repairs) {
    for ((source, target, kind), slots) in repairs.moves {
        for batch in rebalance::batches(&slots) {
            rebalance::migrate(world, draft, (source, target), kind, batch, None);
        }
    }
    for (member, slots) in repairs.closes {
        if let Some(node) = world.node_ref(member).filter(|n| !draft.is_disrupted(n.member.shard)) {
            draft.step(Step::CloseSlots { node, slots }, vec![expect(node, What::Answers)]);
        }
    }
    for (member, slots) in repairs.stuck {
        draft.refuse(Unsafe::OpenSlotStuck { member, slots });
    }
}
