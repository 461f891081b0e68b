//! Members get to know each other, and nobody else.

use crate::draft::{Draft, expect};
use crate::member::MemberId;
use crate::observed::{Life, NodeReport, ViewLine};
use crate::safety;
use crate::stage::strangers::is_stranger;
use crate::step::{NodeRef, Step, What};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::{World, is_silent, same_place};
use node_server_protocol::{Epoch, Role};

/// Introductions in one plan beside those of new members; gossip does the rest.
const MAX_REPAIRS: usize = 64;

/// How a node outside becomes a member.
enum Entry {
    Meet,
    /// It has nothing, and knows nodes that are not ours.
    ResetFirst,
}

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    let nothing_yet = world.ownership.owners().next().is_none();
    // A node with keys stops a creation before it begins; `assign_slots` says so.
    if nothing_yet && (is_assembling(world) || with_keys(world).next().is_some()) {
        return;
    }
    let Some(seed) = world.joined.first().and_then(|m| world.node_ref(*m)) else {
        return;
    };
    if is_fresh(world) {
        set_epochs(world, draft);
    }
    for (member, report) in &world.reports {
        if world.joined.contains(member) || !world.desired.wants(*member) {
            continue;
        }
        let Some(node) = world.node_ref(*member) else {
            continue;
        };
        match entry(world, *member, report) {
            Ok(Entry::Meet) => meet(world, draft, seed, node),
            Ok(Entry::ResetFirst) => {
                draft.step(
                    Step::Reset { node },
                    vec![expect(node, What::OwnsNothing), expect(node, What::NoKeys)],
                );
            }
            Err(refusal) => draft.refuse(refusal),
        }
    }
    repair(world, draft);
}

/// Nobody has slots, keys or acquaintances: a cluster that is being created.
pub(crate) fn is_fresh(world: &World<'_>) -> bool {
    let empty = |r: &&NodeReport| r.is_alone() && r.own_slots().is_empty() && r.keys.known() == Some(&0);
    world.reports.values().all(empty)
}

/// Masters without slots that have keys, or will not say how many.
pub(crate) fn with_keys(world: &World<'_>) -> impl Iterator<Item = (MemberId, Option<u64>)> {
    let masters = world.reports.iter().filter(|(_, r)| r.role.is_master() && r.own_slots().is_empty());
    masters.map(|(m, r)| (*m, r.keys.known().copied())).filter(|(_, keys)| *keys != Some(0))
}

/// Of a cluster that owns nothing yet, members are still to be started or about to answer: it is created in one go, with
/// the first member of each shard, which the platform puts on machines of their own, as its master. One that cannot start
/// (Pending, crashing) is not waited for.
pub(crate) fn is_assembling(world: &World<'_>) -> bool {
    let starting = |m: MemberId| match world.members.get(&m) {
        None => true,
        Some(member) => matches!(member.life, Life::Starting(_) | Life::Running) && is_silent(member),
    };
    world.desired.members().any(starting)
}

fn set_epochs(world: &World<'_>, draft: &mut Draft) {
    for (number, member) in (1..).zip(world.desired.members()) {
        let unset =
            world.reports.get(&member).is_some_and(|r| r.config_epoch == Epoch(0) && r.role.is_master());
        if let Some(node) = world.node_ref(member).filter(|_| unset && world.reports.len() > 1) {
            let step = Step::SetConfigEpoch { node, epoch: Epoch(number) };
            draft.step(step, vec![expect(node, What::Alone)]);
        }
    }
}

fn entry(world: &World<'_>, member: MemberId, report: &NodeReport) -> Result<Entry, Unsafe> {
    let stranger = report.view.iter().find(|l| l.id != report.id && is_stranger(world, l));
    let slots = report.own_slots();
    let keys = report.keys.known().copied();
    let refused = Unsafe::NotEmpty { member, keys: keys.unwrap_or_default() };
    match (report.role, stranger) {
        (Role::Master, _) if slots.is_empty() && keys != Some(0) => Err(refused),
        (Role::Master, Some(_)) if slots.is_empty() => Ok(Entry::ResetFirst),
        (_, Some(line)) => Err(Unsafe::WouldMergeClusters { member, knows: line.id }),
        (Role::Master, None) if keys == Some(0) || !contradicts(world, member, report) => Ok(Entry::Meet),
        (Role::Replica { of }, None) if keys == Some(0) || shard_has_data(world, member, of) => {
            Ok(Entry::Meet)
        }
        (Role::Master | Role::Replica { .. }, None) => Err(refused),
    }
}

/// It claims slots that another shard owns: joining would drop its keys.
fn contradicts(world: &World<'_>, member: MemberId, report: &NodeReport) -> bool {
    let slots = report.own_slots();
    let elsewhere = world.cluster().filter(|(m, _)| m.shard != member.shard);
    elsewhere.into_iter().any(|(_, r)| !world.ownership.of(r.id).intersection(&slots).is_empty())
}

fn shard_has_data(world: &World<'_>, member: MemberId, of: node_server_protocol::NodeId) -> bool {
    let serves = |m| world.reports.get(&m).is_some_and(|r| world.ownership.owns_any(r.id) && !r.closed_empty);
    world.ids.contains_key(&of) || world.master_of(member.shard).is_some_and(serves)
}

/// Introduces a member that has what the cluster lost to everybody who has forgotten it, whether it is declared or not.
/// To all of them: each keeps the forgotten one out of its gossip for a while.
pub(crate) fn bring_in(world: &World<'_>, draft: &mut Draft, member: MemberId) {
    let (Some(peer), Some(report)) = (world.node_ref(member), world.reports.get(&member)) else {
        return;
    };
    let strange = world.cluster().filter(|(m, r)| *m != member && r.line(report.id).is_none());
    for at in strange.filter_map(|(m, _)| world.node_ref(m)) {
        meet(world, draft, at, peer);
    }
}

fn meet(world: &World<'_>, draft: &mut Draft, at: NodeRef, peer: NodeRef) {
    let Some(report) = world.reports.get(&at.member) else {
        return;
    };
    let under_way = |l: &ViewLine| l.flags.handshake && same_place(l.address, peer.address);
    if report.view.iter().any(under_way) {
        return draft.wait(Waiting::Handshake { at: at.member, peer: peer.member });
    }
    draft.step(Step::Meet { at, peer }, vec![expect(at, What::Answers), expect(peer, What::Answers)]);
}

/// Joined nodes of which one does not know the other, or only where it was.
fn repair(world: &World<'_>, draft: &mut Draft) {
    let mut left = MAX_REPAIRS;
    for (a, a_report) in world.cluster() {
        for (b, b_report) in world.cluster().filter(|(b, _)| *b != a) {
            if left == 0 {
                return;
            }
            let (Some(at), Some(peer)) = (world.node_ref(a), world.node_ref(b)) else {
                continue;
            };
            let wanted = world.desired.wants(a) && world.desired.wants(b);
            let strange_both = a_report.line(b_report.id).is_none() && b_report.line(a_report.id).is_none();
            let one_is_enough = strange_both && b < a;
            let lacks = a_report
                .line(b_report.id)
                .is_none_or(|l| !l.connected && !same_place(l.address, peer.address));
            if lacks && wanted && !one_is_enough && safety::death_of(world, b_report.id).is_none() {
                meet(world, draft, at, peer);
                left -= 1;
            }
        }
    }
}
