//! Mastership moves to a member that stays, before the one that has it goes. (A shard that goes as a whole gives its
//! slots away in `rebalance`, which sees it as a donor of everything.)

use crate::draft::Draft;
use crate::member::MemberId;
use crate::observed::NodeReport;
use crate::stage::failover::promote;
use crate::step::FailoverMode;
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::{World, in_sync};
use node_server_protocol::NodeId;
use std::cmp::Reverse;

pub(crate) fn plan(world: &World<'_>, draft: &mut Draft) {
    for (id, _) in world.ownership.owners() {
        let Some((member, report)) = world.report_of(id) else {
            continue;
        };
        // One that is declared and was asked to end hands over by itself, and comes back.
        if !world.desired.wants(member) && member.shard < world.desired.masters() && !report.closed_empty {
            hand_over(world, draft, member, id);
        }
    }
}

fn hand_over(world: &World<'_>, draft: &mut Draft, member: MemberId, id: NodeId) {
    let stays = |m: MemberId| world.desired.wants(m) && world.members.get(&m).is_some_and(|v| !v.leaving);
    let fit = |(m, r): &(MemberId, &NodeReport)| m.shard == member.shard && stays(*m) && in_sync(r);
    let best = world.replicas_of(id).filter(fit).max_by_key(|(m, r)| (r.replication.offset, Reverse(*m)));
    match best {
        Some((replica, _)) if open_at(world, member) => draft.wait(Waiting::Turn { shard: replica.shard }),
        Some((replica, _)) if draft.disrupt_gracefully(member.shard) => {
            promote(world, draft, replica, id, FailoverMode::Graceful);
        }
        Some(_) => draft.wait(Waiting::Turn { shard: member.shard }),
        None => draft.refuse(Unsafe::NoSuccessor { member }),
    }
}

/// A slot of it is on its way: that is finished first.
fn open_at(world: &World<'_>, member: MemberId) -> bool {
    world.reports.get(&member).is_some_and(|r| !r.open_slots.is_empty())
}
