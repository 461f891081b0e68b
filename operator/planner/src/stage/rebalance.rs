//! Slots go where the distribution wants them, lowest first, a batch at a time.

use crate::draft::{Draft, expect};
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::NodeReport;
use crate::plan::{MAX_MIGRATE_STEPS, MIGRATE_BATCH_SLOTS};
use crate::step::{MoveKind, Step, What};
use crate::waiting::Waiting;
use crate::world::{World, in_sync};
use node_server_protocol::{Role, Slot, SlotRange, SlotSet};
use std::collections::{BTreeMap, BTreeSet};

/// `open`: slots that another stage looks after.
pub(crate) fn plan(world: &World<'_>, layout: &Layout, draft: &mut Draft, open: &SlotSet) {
    if !world.ownership.unowned().is_empty() {
        return;
    }
    let disputed = world.ownership.disputed.difference(open);
    if !disputed.is_empty() {
        draft.wait(Waiting::ViewsAgree { slots: disputed.clone() });
    }
    if draft.has(|s| matches!(s, Step::MigrateSlots { .. } | Step::CloseSlots { .. })) {
        return;
    }
    for (source, target, slots) in moves(world, layout, open, &disputed).into_iter().take(MAX_MIGRATE_STEPS) {
        if let Some(target) = ready_target(world, layout, draft, target) {
            // A former operator, or an earlier look, may have sent them elsewhere just now.
            let closed = Some(What::NotOpen(slots.clone()));
            migrate(world, draft, (source, target), MoveKind::Handover, slots, closed);
        }
    }
}

/// What is to go where.
#[derive(Default)]
struct Going {
    /// Slots by source and target shard.
    pairs: BTreeMap<(MemberId, u16), SlotSet>,
    /// What the masters of the declared shards own.
    owned: BTreeMap<u16, SlotSet>,
    /// Of those that would go to a shard but are disputed, the lowest.
    lowest_disputed: BTreeMap<u16, Slot>,
}

/// `open` and `disputed` slots stay for now.
fn going(world: &World<'_>, layout: &Layout, open: &SlotSet, disputed: &SlotSet) -> Going {
    let held = open.union(disputed);
    let mut out = Going::default();
    for (id, slots) in world.ownership.owners() {
        // Who is closed has nothing to give yet, and keeps nobody else waiting.
        let Some((source, _)) = world.report_of(id).filter(|(_, r)| !r.closed_empty) else {
            continue;
        };
        for (shard, wanted) in (0..).zip(&layout.targets) {
            if layout.masters.get(usize::from(shard)).copied().flatten() == Some(source) {
                out.owned.insert(shard, slots.clone());
                continue;
            }
            let all = slots.intersection(wanted);
            if let Some(slot) = all.intersection(disputed).iter().next() {
                out.lowest_disputed.entry(shard).and_modify(|low| *low = slot.min(*low)).or_insert(slot);
            }
            let free = all.difference(&held);
            if !free.is_empty() {
                out.pairs.insert((source, shard), free);
            }
        }
    }
    out
}

/// Batches by source and target, in turn from every pair, so that pairs move beside each other. Of the pairs that have
/// no foot in their target yet, only the lowest of each target sets one, with one batch: `distribution` lets a target grow from the
/// slots that it has, lowest first, so that stopping after any batch leaves what the next plan takes to the same end. It
/// waits for lower slots that a view disputes: a node that has just joined has not heard of every owner yet.
fn moves(
    world: &World<'_>,
    layout: &Layout,
    open: &SlotSet,
    disputed: &SlotSet,
) -> Vec<(MemberId, u16, SlotSet)> {
    let Going { mut pairs, owned, lowest_disputed } = going(world, layout, open, disputed);
    keep_one_each(layout, &owned, &mut pairs);
    let mut pairs: Vec<_> = pairs.into_iter().map(|((from, to), slots)| (from, to, slots)).collect();
    pairs.sort_by_key(|(_, _, slots)| slots.iter().next());
    let mut begun: BTreeSet<u16> = BTreeSet::new();
    let has_foot = |to: &u16, slots: &SlotSet| owned.get(to).is_some_and(|has| touch(has, slots));
    let is_lowest = |to: &u16, slots: &SlotSet| {
        lowest_disputed.get(to).is_none_or(|low| slots.iter().next().is_some_and(|slot| slot < *low))
    };
    pairs.retain(|(_, to, slots)| has_foot(to, slots) || (is_lowest(to, slots) && begun.insert(*to)));
    let queue = |(from, to, slots): &(MemberId, u16, SlotSet)| {
        let most = if has_foot(to, slots) { usize::MAX } else { 1 };
        (*from, *to, batches(slots).into_iter().take(most))
    };
    let mut queues: Vec<_> = pairs.iter().map(queue).collect();
    let mut moves = Vec::new();
    while moves.len() < MAX_MIGRATE_STEPS {
        let before = moves.len();
        moves.extend(queues.iter_mut().filter_map(|(from, to, queue)| Some((*from, *to, queue.next()?))));
        if moves.len() == before {
            break;
        }
    }
    moves
}

/// A master that has none of what it shall have yet, and gives away all that it has, keeps its last slot until something
/// has come: with the last one it would become a replica of whoever gets it. Unless nothing else is left to move.
fn keep_one_each(
    layout: &Layout,
    owned: &BTreeMap<u16, SlotSet>,
    pairs: &mut BTreeMap<(MemberId, u16), SlotSet>,
) {
    let mut kept = pairs.clone();
    for (shard, has) in owned {
        let wanted = layout.targets.get(usize::from(*shard));
        let stays = wanted.is_none_or(|w| w.is_empty() || !w.intersection(has).is_empty());
        let Some(last) = has.iter().last().filter(|_| !stays) else { continue };
        let master = layout.masters.get(usize::from(*shard)).copied().flatten();
        for (_, slots) in kept.iter_mut().filter(|((from, _), _)| Some(*from) == master) {
            slots.remove(last);
        }
    }
    kept.retain(|_, slots| !slots.is_empty());
    if !kept.is_empty() {
        *pairs = kept;
    }
}

/// Whether any of `slots` borders on one of `has`.
fn touch(has: &SlotSet, slots: &SlotSet) -> bool {
    let border = |range: &SlotRange| {
        let (low, high) = (range.start().number(), range.end().number());
        let next = [low.checked_sub(1), high.checked_add(1)];
        next.into_iter().flatten().filter_map(Slot::new).any(|slot| has.contains(slot))
    };
    slots.ranges().iter().any(border)
}

/// At most [`MIGRATE_BATCH_SLOTS`] each, ascending.
pub(crate) fn batches(slots: &SlotSet) -> Vec<SlotSet> {
    let slots: Vec<Slot> = slots.iter().collect();
    slots.chunks(MIGRATE_BATCH_SLOTS).map(|chunk| chunk.iter().copied().collect()).collect()
}

/// A shard takes slots when it has a master that serves and those of its replicas that run have attached.
fn ready_target(world: &World<'_>, layout: &Layout, draft: &mut Draft, shard: u16) -> Option<MemberId> {
    let master =
        layout.masters.get(usize::from(shard)).copied().flatten().filter(|m| serves(world, draft, *m));
    let Some(master) = master.filter(|_| !draft.is_disrupted(shard)) else {
        draft.wait(Waiting::ServingMaster { shard });
        return None;
    };
    let id = world.reports.get(&master)?.id;
    let attached = |r: &NodeReport| r.role == Role::Replica { of: id } && in_sync(r);
    // A second master of the shard attaches when it has given its slots away, which this must not hold up.
    let second = |r: &NodeReport| r.role.is_master() && world.ownership.owns_any(r.id);
    let of_shard = |m: &MemberId| m.shard == shard && *m != master && world.desired.wants(*m);
    let members = world.reports.iter().filter(|(m, r)| of_shard(m) && !second(r));
    // One that is refused entry (see join) holds nobody up.
    let comes =
        |m: &MemberId, r: &NodeReport| world.joined.contains(m) || r.is_alone() && r.keys.known() == Some(&0);
    let mut waiting = members.filter(|(m, r)| comes(m, r) && !attached(r)).map(|(m, _)| *m);
    match waiting.next() {
        None => Some(master),
        Some(member) => {
            draft.wait(Waiting::ReplicaSync { member });
            None
        }
    }
}

fn serves(world: &World<'_>, draft: &mut Draft, member: MemberId) -> bool {
    let Some(report) = world.reports.get(&member) else {
        return false;
    };
    if !report.cluster_ok {
        draft.wait(Waiting::ClusterOk { member });
    }
    report.cluster_ok && !report.closed_empty && world.joined.contains(&member)
}

/// One batch, if both ends are fit for it; `more` is expected of the source.
pub(crate) fn migrate(
    world: &World<'_>,
    draft: &mut Draft,
    (source, target): (MemberId, MemberId),
    kind: MoveKind,
    slots: SlotSet,
    more: Option<What>,
) {
    let busy = draft.is_disrupted(source.shard) || draft.is_disrupted(target.shard);
    if busy || !serves(world, draft, source) || !serves(world, draft, target) {
        return;
    }
    let (Some(from), Some(to)) = (world.node_ref(source), world.node_ref(target)) else {
        return;
    };
    let knows = |a: MemberId, b| world.reports.get(&a).is_some_and(|r| r.line(b).is_some());
    if !knows(source, to.id) || !knows(target, from.id) {
        return draft.wait(Waiting::Handshake { at: source, peer: target });
    }
    let owns = What::Owns(slots.clone());
    let mut expectations = match kind {
        MoveKind::Handover => vec![expect(from, owns), expect(to, What::Role(Role::Master))],
        MoveKind::Merge { claimed: true } => vec![expect(from, owns.clone()), expect(to, owns)],
        MoveKind::Merge { claimed: false } => vec![expect(from, What::Role(Role::Master)), expect(to, owns)],
    };
    expectations.extend(more.map(|what| expect(from, what)));
    let masters = world.cluster().filter(|(m, r)| r.role.is_master() && *m != source && *m != target);
    let others = masters.filter_map(|(m, _)| world.node_ref(m)).collect();
    draft.step(Step::MigrateSlots { slots, source: from, target: to, kind, others }, expectations);
}
