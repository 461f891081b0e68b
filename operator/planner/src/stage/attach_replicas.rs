//! Every other member of a shard copies its master.

use crate::draft::{Draft, expect};
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::NodeReport;
use crate::step::{Step, What};
use crate::waiting::Waiting;
use crate::world::{World, in_sync};
use node_server_protocol::{NodeId, Role};

pub(crate) fn plan(world: &World<'_>, layout: &Layout, draft: &mut Draft) {
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
        // Keys of a replica are copies; the shard's master must have the slots, or they might be the only ones.
        Role::Replica { of } if world.ownership.owns_any(to.id) || report.keys.known() == Some(&0) => {
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
