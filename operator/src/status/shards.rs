//! What status says of every shard and node. Of what does not answer at this moment it goes on saying what was last known.

use super::{Inputs, members, reports};
use crate::platform::Identity;
use node_server_protocol::{Role, SlotRange, SlotSet};
use operator_api::{NodeState, NodeStatus, ShardStatus};
use operator_planner::observed::ReplicaLink;
use operator_planner::{Fact, Life, Member, MemberId};
use std::collections::BTreeMap;

/// Every shard that has a member, or a declared one of which the next pod is awaited.
pub(super) fn shards(inputs: &Inputs<'_>, before: &[ShardStatus]) -> Vec<ShardStatus> {
    let Some(present) = members(inputs.observed) else { return before.to_vec() };
    let name = inputs.desired.name();
    let wanted =
        |absent: &&Identity| inputs.desired.wants(absent.member) && !present.contains_key(&absent.member);
    let mut nodes: BTreeMap<MemberId, NodeStatus> =
        inputs.identities.iter().filter(wanted).map(|gone| (gone.member, missing(gone, name))).collect();
    nodes.extend(present.iter().map(|(id, member)| (*id, node(id.name(name), member))));
    let mut shards: BTreeMap<u16, ShardStatus> = BTreeMap::new();
    for (id, node) in nodes {
        let named = || ShardStatus { name: format!("{name}-{}", id.shard), ..ShardStatus::default() };
        shards.entry(id.shard).or_insert_with(named).nodes.push(node);
    }
    for (id, member) in present {
        let master = member.node.known().filter(|report| report.role == Role::Master);
        if let (Some(report), Some(shard)) = (master, shards.get_mut(&id.shard)) {
            let slots = report.own_slots();
            if shard.master.is_empty() || slots.len() as i32 > shard.slot_count {
                set_master(shard, id.name(name), &slots);
            }
        }
    }
    let answered = reports(inputs.observed).fold(SlotSet::new(), |all, r| all.union(&r.own_slots()));
    for shard in shards.values_mut().filter(|shard| shard.slot_count == 0) {
        let last = before.iter().find(|last| last.name == shard.name);
        let Some(last) = last.filter(|last| is_silent(shard, &last.master)) else { continue };
        let slots = parse(&last.slots).difference(&answered);
        // A new pod may be a master without slots until it is told to follow.
        if shard.master.is_empty() || !slots.is_empty() {
            set_master(shard, last.master.clone(), &slots);
        }
    }
    shards.into_values().collect()
}

fn set_master(shard: &mut ShardStatus, master: String, slots: &SlotSet) {
    shard.master = master;
    shard.slot_count = slots.len() as i32;
    shard.slots = if slots.is_empty() { String::new() } else { slots.to_string() };
}

/// Whether that node of the shard does not say what it is.
fn is_silent(shard: &ShardStatus, pod: &str) -> bool {
    shard.nodes.iter().any(|node| node.pod == pod && node.role == UNKNOWN)
}

/// Slots as [`set_master`] writes them.
fn parse(slots: &str) -> SlotSet {
    slots.split(',').filter_map(|range| range.parse::<SlotRange>().ok()).collect()
}

/// The role of a node that does not say it.
const UNKNOWN: &str = "unknown";

fn missing(absent: &Identity, cluster: &str) -> NodeStatus {
    NodeStatus {
        pod: absent.member.name(cluster),
        pod_uid: absent.uid.clone(),
        id: absent.id.to_string(),
        role: UNKNOWN.into(),
        state: NodeState::Unknown,
        why: "its next pod is not there yet".into(),
    }
}

fn node(pod: String, member: &Member) -> NodeStatus {
    let (state, why) = state(member);
    let report = member.node.known();
    let id = report.map(|r| r.id).or(member.last_id);
    NodeStatus {
        pod,
        pod_uid: member.uid.clone(),
        id: id.map(|id| id.to_string()).unwrap_or_default(),
        role: report.map_or(UNKNOWN, |r| if r.role.is_master() { "master" } else { "replica" }).into(),
        state,
        why,
    }
}

/// How a node is, and why that is not well.
pub(super) fn state(member: &Member) -> (NodeState, String) {
    if let Life::Terminated(proof) = &member.life {
        return (NodeState::Dead, proof.to_string());
    }
    match &member.node {
        Fact::Unknown(why) => (NodeState::Unknown, why.to_string()),
        Fact::Known(r) if r.closed_empty => {
            (NodeState::ClosedEmpty, "it started without the data of its slots and serves nothing".into())
        }
        Fact::Known(r) => match r.replication.link {
            ReplicaLink::Syncing => (NodeState::Syncing, "it copies its master's data".into()),
            ReplicaLink::Down | ReplicaLink::NeverUp => {
                (NodeState::Syncing, "the link to its master is down".into())
            }
            ReplicaLink::NotReplica | ReplicaLink::Up if r.cluster_ok => (NodeState::Ok, String::new()),
            ReplicaLink::NotReplica | ReplicaLink::Up => {
                (NodeState::Unknown, "it says that the cluster is down".into())
            }
        },
    }
}

#[cfg(test)]
mod tests;
