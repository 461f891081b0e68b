//! The planner is total: whatever nodes say, it answers, and the same each time. And a dumped state reads back.

use crate::model::{Model, address, desired};
use node_server_protocol::{Epoch, NodeId, Role, Slot, SlotRange};
use operator_planner::observed::{
    Capabilities, Gone, OpenSlot, OpenState, ReplicaLink, Replication, SlotKeys, Unreachable, ViewFlags,
    ViewLine,
};
use operator_planner::{
    Desired, Fact, Life, Member, MemberId, NodeReport, Observed, Proof, Why, check, explain, plan,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn id() -> impl Strategy<Value = NodeId> {
    (1..8_u8).prop_map(|n| NodeId::from_bytes([n; 20]))
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Master), id().prop_map(|of| Role::Replica { of })]
}

fn range() -> impl Strategy<Value = SlotRange> {
    (0..16384_u16, 0..16384_u16)
        .prop_filter_map("a range", |(a, b)| SlotRange::new(Slot::new(a.min(b))?, Slot::new(a.max(b))?))
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![Just(Why::Refused), Just(Why::TimedOut), Just(Why::NotRunning), Just(Why::Loading)]
}

fn fact<T: std::fmt::Debug + Clone + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Fact<T>> {
    prop_oneof![4 => known.prop_map(Fact::Known), 1 => why().prop_map(Fact::Unknown)].boxed()
}

fn line() -> impl Strategy<Value = ViewLine> {
    let flags = prop::array::uniform4(prop::bool::weighted(0.2));
    let rest = (prop::option::of(id()), 0..9_u64, any::<bool>(), prop::collection::vec(range(), 0..3));
    (id(), 0..6_u16, flags, rest).prop_map(|(id, at, [pfail, fail, handshake, noaddr], rest)| ViewLine {
        id,
        address: address(at),
        flags: ViewFlags { myself: false, pfail, fail, handshake, noaddr },
        master: rest.0,
        config_epoch: Epoch(rest.1),
        connected: rest.2,
        slots: rest.3,
    })
}

fn open() -> impl Strategy<Value = OpenSlot> {
    let state = prop_oneof![id().prop_map(OpenState::MigratingTo), id().prop_map(OpenState::ImportingFrom)];
    (0..16384_u16, state, fact(0..3_u64)).prop_map(|(slot, state, keys)| OpenSlot {
        slot: Slot::new(slot).unwrap(),
        state,
        keys,
    })
}

fn replication() -> impl Strategy<Value = Replication> {
    let links = [
        ReplicaLink::NotReplica,
        ReplicaLink::Up,
        ReplicaLink::Syncing,
        ReplicaLink::Down,
        ReplicaLink::NeverUp,
    ];
    let link = prop::sample::select(links.to_vec());
    (0..5_u64, link, prop::option::of(0..20_u64)).prop_map(|(offset, link, down_s)| Replication {
        offset,
        link,
        down_s,
    })
}

fn unreachable() -> impl Strategy<Value = Option<Vec<Unreachable>>> {
    let entry = (id(), prop::option::of(0..20_u64)).prop_map(|(id, served_s)| Unreachable { id, served_s });
    prop::option::of(prop::collection::vec(entry, 0..3))
}

fn report() -> impl Strategy<Value = NodeReport> {
    let strays = fact(Just(vec![SlotKeys { slot: Slot::FIRST, keys: 1 }]));
    let slots =
        (prop::collection::vec(line(), 0..7), prop::collection::vec(open(), 0..3), strays, unreachable());
    (id(), role(), 0..9_u64, any::<[bool; 3]>(), fact(0..3_u64), replication(), slots).prop_map(
        |(id, role, epoch, flags, keys, replication, (view, open_slots, stray_keys, unreachable))| {
            let [cluster_ok, closed_empty, no_copy] = flags;
            NodeReport {
                id,
                role,
                current_epoch: Epoch(epoch),
                config_epoch: Epoch(epoch),
                cluster_ok,
                closed_empty,
                no_copy,
                unreachable,
                keys,
                replication,
                view,
                open_slots,
                stray_keys,
                capabilities: Capabilities::default(),
            }
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    let life = prop_oneof![
        4 => Just(Life::Running),
        1 => Just(Life::Starting("creating".into())),
        1 => Just(Life::Pending("image".into())),
        1 => Just(Life::Terminated(Proof::Terminated)),
        1 => Just(Life::Unknown("kubelet".into())),
    ];
    let flags = (any::<bool>(), any::<bool>());
    (0..6_u16, life, flags, prop::option::of(id()), fact(report())).prop_map(
        |(at, life, (leaving, on_volume), last_id, node)| Member {
            uid: at.to_string(),
            address: address(at),
            life,
            leaving,
            on_volume,
            last_id,
            node,
        },
    )
}

fn observed() -> impl Strategy<Value = Observed> {
    let name = (0..4_u16, 0..3_u16).prop_map(|(s, o)| MemberId::new(s, o));
    let gone = (id(), name.clone()).prop_map(|(id, member)| Gone { id, member, proof: Proof::Terminated });
    let members: BoxedStrategy<BTreeMap<_, _>> = prop::collection::btree_map(name, member(), 0..7).boxed();
    (fact(members), prop::collection::vec(gone, 0..3)).prop_map(|(members, gone)| Observed { members, gone })
}

fn declared() -> impl Strategy<Value = Desired> {
    (1..5_u16, 0..3_u16).prop_map(|(masters, replicas)| desired(masters, replicas))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn always_an_answer_and_the_same(desired in declared(), observed in observed()) {
        let planned = plan(&desired, &observed);
        prop_assert_eq!(&planned, &plan(&desired, &observed));
        let words = explain(&desired, &observed, &planned).to_string();
        prop_assert!(!words.is_empty());
        let _: Vec<_> = check(&desired, &observed);
        planned.steps.iter().for_each(|s| drop(s.step.commands()));
    }

    #[test]
    fn a_dumped_state_reads_back(observed in observed()) {
        let text = serde_yaml::to_string(&observed).unwrap();
        let back: Observed = serde_yaml::from_str(&text).unwrap();
        prop_assert_eq!(back, observed);
    }
}

#[test]
fn a_platform_that_says_nothing_gets_no_steps() {
    let observed = Observed { members: Fact::Unknown(Why::TimedOut), gone: Vec::new() };
    let planned = plan(&desired(3, 1), &observed);
    assert!(planned.steps.is_empty() && planned.waiting.len() == 1);
    assert_eq!(check(&desired(3, 1), &observed).len(), 1);
}

#[test]
fn a_members_name() {
    assert_eq!(MemberId::new(0, 1).name("demo"), "demo-0-1");
    assert_eq!(MemberId::from_name("demo", "demo-10-2"), Some(MemberId::new(10, 2)));
    for other in ["demo-1", "other-0-0", "demo-01-0", "demo-0-0-0", "demo2-0-0"] {
        assert_eq!(MemberId::from_name("demo", other), None, "{other}");
    }
}

#[test]
fn paused_is_only_shown() {
    let spec = operator_planner::Spec {
        name: "demo".into(),
        masters: 3,
        replicas_per_master: 1,
        distribution: operator_planner::Distribution::Balanced,
        allow_data_loss: false,
        paused: true,
    };
    let desired = Desired::parse(spec).unwrap();
    let planned = plan(&desired, &Model::new().observe());
    assert!(planned.due().is_empty() && planned.steps.len() == 6);
    assert!(explain(&desired, &Model::new().observe(), &planned).to_string().starts_with("next (paused"));
}
