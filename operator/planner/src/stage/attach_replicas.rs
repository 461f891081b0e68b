//! Every other member of a shard copies its master.

use crate::draft::{Draft, expect};
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::NodeReport;
use crate::safety;
use crate::step::{Step, What};
use crate::waiting::Waiting;
use crate::world::{World, in_sync};
use node_server_protocol::{NodeId, Role};

pub(crate) fn plan(world: &World<'_>, layout: &Layout, draft: &mut Draft) {
    for (shard, _) in (0..).zip(&layout.masters).filter(|(_, master)| master.is_none()) {
        free_one(world, draft, shard);
    }
    for master in layout.masters.iter().flatten() {
        let Some(report) = world.reports.get(master).filter(|_| !draft.is_disrupted(master.shard)) else {
            continue;
        };
        let others = world.cluster().filter(|(m, _)| m.shard == master.shard && m != master);
        for (member, other) in others.filter(|(m, _)| world.desired.wants(*m)) {
            attach(world, draft, (*master, report), (member, other));
        }
    }
}

/// A shard all of whose members copy masters of other shards (a drained master follows who took its last slot, and
/// then it is declared again) gets its lowest ordinal back as an empty master. What it drops are copies. So does one whose
/// members have nothing and follow each other in a ring: two of them were told to follow one another at the same moment.
fn free_one(world: &World<'_>, draft: &mut Draft, shard: u16) {
    let silent_owner = |id| world.report_of(id).is_none() && world.shard_of(id) == Some(shard);
    if world.ownership.owners().any(|(id, _)| silent_owner(id)) {
        return;
    }
    let elsewhere = |of| world.report_of(of).is_some_and(|(m, _)| m.shard != shard);
    let members = world.cluster().filter(|(m, _)| m.shard == shard && world.desired.wants(*m));
    let is_spare = |r: &NodeReport| r.role.master().is_some_and(elsewhere) && safety::is_spare_copy(world, r);
    let mut copies = members.filter(|(_, r)| is_spare(r) || is_in_empty_ring(world, r));
    if let Some((node, report)) = copies.next().and_then(|(m, r)| Some((world.node_ref(m)?, r))) {
        let role = expect(node, What::Role(report.role));
        let ring = (!is_spare(report)).then(|| expect(node, What::NoKeys));
        draft.step(Step::Reset { node }, std::iter::once(role).chain(ring).collect());
    }
}

/// Whether the node follows itself, by way of others, and has nothing.
fn is_in_empty_ring(world: &World<'_>, node: &NodeReport) -> bool {
    let of = |id| world.report_of(id).and_then(|(_, r)| r.role.master());
    let mut next = node.role.master();
    for _ in 0..world.reports.len() {
        match next {
            Some(id) if id == node.id => return node.keys.known() == Some(&0),
            Some(id) => next = of(id),
            None => return false,
        }
    }
    false
}

fn attach(
    world: &World<'_>,
    draft: &mut Draft,
    master: (MemberId, &NodeReport),
    replica: (MemberId, &NodeReport),
) {
    let ((master, to), (member, report)) = (master, replica);
    let stays_empty = report.own_slots().is_empty() && report.keys.known() == Some(&0);
    let expectations = match report.role {
        Role::Replica { of } if of == to.id => {
            if !in_sync(report) {
                draft.wait(Waiting::ReplicaSync { member });
            }
            return;
        }
        Role::Replica { of } if is_last_hope(world, of) => return,
        // Its keys are copies: of what this shard's master has, or another living one.
        Role::Replica { of } if world.ownership.owns_any(to.id) || safety::is_spare_copy(world, report) => {
            vec![What::Role(Role::Replica { of })]
        }
        Role::Replica { .. } => return draft.wait(Waiting::ServingMaster { shard: master.shard }),
        Role::Master if stays_empty => vec![What::OwnsNothing, What::NoKeys],
        // It gives up its slots first (rebalance), or hears that it was replaced and turns replica by itself.
        Role::Master => return draft.wait(Waiting::Demotion { member }),
    };
    if report.line(to.id).is_none() {
        return draft.wait(Waiting::Handshake { at: member, peer: master });
    }
    let (Some(replica), Some(master)) = (world.node_ref(member), world.node_ref(master)) else {
        return;
    };
    let mut all: Vec<_> = expectations.into_iter().map(|what| expect(replica, what)).collect();
    all.push(expect(master, What::Role(Role::Master)));
    draft.step(Step::Replicate { replica, master }, all);
}

/// Its master still owns slots and does not answer: this copy may have to take over.
fn is_last_hope(world: &World<'_>, of: NodeId) -> bool {
    world.ownership.owns_any(of) && world.report_of(of).is_none_or(|(_, r)| r.closed_empty)
}
