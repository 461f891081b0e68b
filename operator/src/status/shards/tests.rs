use super::*;
use crate::manifest;
use node_server_protocol::{Address, Epoch, NodeId};
use operator_api::RedisClusterStatus;
use operator_planner::observed::{Capabilities, Replication, ViewFlags, ViewLine};
use operator_planner::{NodeReport, Observed, Plan, Why, plan};
use serde_json::json;

const MASTER: MemberId = MemberId::new(0, 0);
const REPLICA: MemberId = MemberId::new(0, 1);
const OTHER: MemberId = MemberId::new(1, 0);

fn id(member: MemberId) -> NodeId {
    NodeId::from_bytes([1 + member.shard as u8 * 2 + member.ordinal as u8; 20])
}

/// A node that answers: a master with these slots, or the first member's replica.
fn answers(member: MemberId, slots: Option<&str>) -> Fact<NodeReport> {
    let role = if slots.is_some() { Role::Master } else { Role::Replica { of: id(MASTER) } };
    let line = ViewLine {
        id: id(member),
        address: address(),
        flags: ViewFlags { myself: true, ..ViewFlags::default() },
        master: role.master(),
        config_epoch: Epoch(1),
        connected: true,
        slots: parse(slots.unwrap_or_default()).ranges(),
    };
    let link = if slots.is_some() { ReplicaLink::NotReplica } else { ReplicaLink::Up };
    Fact::Known(NodeReport {
        id: id(member),
        role,
        current_epoch: Epoch(1),
        config_epoch: Epoch(1),
        cluster_ok: true,
        closed_empty: false,
        no_copy: false,
        unreachable: None,
        keys: Fact::Known(0),
        replication: Replication { offset: 1, link, down_s: None },
        view: vec![line],
        open_slots: Vec::new(),
        stray_keys: Fact::Known(Vec::new()),
        capabilities: Capabilities::default(),
    })
}

fn address() -> Address {
    Address::unknown(6379, 16_379)
}

fn seen(nodes: &[(MemberId, Fact<NodeReport>)]) -> Observed {
    let member = |(member, node): &(MemberId, Fact<NodeReport>)| {
        let (uid, life, last_id) = (format!("uid-{member}"), Life::Running, Some(id(*member)));
        let (address, node) = (address(), node.clone());
        (*member, Member { uid, address, life, leaving: false, on_volume: false, last_id, node })
    };
    Observed { members: Fact::Known(nodes.iter().map(member).collect()), gone: Vec::new() }
}

fn said(observed: &Observed, identities: &[Identity], before: &[ShardStatus]) -> RedisClusterStatus {
    let object = json!({"apiVersion": "slotkeeper.dev/v1alpha1", "kind": "RedisCluster", "metadata": {"name": "demo"},
        "spec": {"masters": 2, "replicasPerMaster": 1}});
    let desired = manifest::from_object(&object).unwrap().desired;
    let plan: Plan = plan(&desired, observed);
    let inputs = Inputs {
        desired: &desired,
        observed,
        plan: &plan,
        findings: &[],
        identities,
        notices: &[],
        generation: 1,
        now: super::super::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
    };
    let before = RedisClusterStatus { shards: before.to_vec(), ..RedisClusterStatus::default() };
    super::super::status(&inputs, &before)
}

fn all() -> Vec<(MemberId, Fact<NodeReport>)> {
    vec![
        (MASTER, answers(MASTER, Some("0-99"))),
        (REPLICA, answers(REPLICA, None)),
        (OTHER, answers(OTHER, Some("100-16383"))),
    ]
}

/// An answer that took longer than a look waits made the status say for a moment that the shard has no slots.
#[test]
fn a_master_that_does_not_answer_is_still_named_with_its_slots() {
    let well = said(&seen(&all()), &[], &[]);
    let mut nodes = all();
    nodes[0].1 = Fact::Unknown(Why::TimedOut);
    let now = said(&seen(&nodes), &[], &well.shards);
    let shard = &now.shards[0];
    assert_eq!((shard.master.as_str(), shard.slots.as_str(), shard.slot_count), ("demo-0-0", "0-99", 100));
    assert_eq!(now.masters, 2);
    assert_eq!(
        (shard.nodes[0].role.as_str(), shard.nodes[0].id.clone()),
        ("unknown", id(MASTER).to_string())
    );
    // Its other pod is a new one, and a master until it is told to follow.
    nodes[1].1 = answers(REPLICA, Some(""));
    assert_eq!(said(&seen(&nodes), &[], &now.shards).shards[0].master, "demo-0-0");
    nodes[1].1 = answers(REPLICA, None);
    // What another one has taken over meanwhile is that one's.
    nodes[2].1 = answers(OTHER, Some("50-16383"));
    assert_eq!(said(&seen(&nodes), &[], &now.shards).shards[0].slots, "0-49");
    // The replica has been promoted: it says so itself.
    nodes[1].1 = answers(REPLICA, Some("0-49"));
    assert_eq!(said(&seen(&nodes), &[], &now.shards).shards[0].master, "demo-0-1");
}

#[test]
fn a_master_that_says_that_it_is_none_is_none() {
    let well = said(&seen(&all()), &[], &[]);
    let mut nodes = all();
    nodes[0].1 = answers(REPLICA, None);
    let now = said(&seen(&nodes), &[], &well.shards);
    assert_eq!((now.shards[0].master.as_str(), now.shards[0].slots.as_str()), ("", ""));
}

#[test]
fn nothing_changes_while_the_platform_does_not_answer() {
    let well = said(&seen(&all()), &[], &[]);
    let silent = Observed { members: Fact::Unknown(Why::TimedOut), gone: Vec::new() };
    assert_eq!(said(&silent, &[], &well.shards).shards, well.shards);
}

/// An operator that began between a pod's end and its successor knew nothing of who the pod had been, and never forgot it.
#[test]
fn a_pod_that_is_gone_is_named_with_the_identity_that_it_had() {
    let well = said(&seen(&all()), &[], &[]);
    let former = |member: MemberId| Identity { member, uid: "former".into(), id: id(member) };
    let now =
        said(&seen(&all()[1..]), &[former(MASTER), former(OTHER), former(MemberId::new(5, 0))], &well.shards);
    let node = &now.shards[0].nodes[0];
    assert_eq!(
        (node.pod.as_str(), node.pod_uid.as_str(), node.id.clone()),
        ("demo-0-0", "former", id(MASTER).to_string())
    );
    assert_eq!(now.shards[0].master, "demo-0-0");
    assert_eq!(now.shards.len(), 2, "who is not declared does not come back");
}
