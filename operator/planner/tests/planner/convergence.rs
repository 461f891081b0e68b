//! Plan and apply reach what is declared, from anywhere, and lose nothing on the way.

use crate::model::{Model, desired};
use node_server_protocol::{Slot, SlotSet};
use operator_planner::observed::OpenState;
use operator_planner::{Distribution, MemberId, Step, plan};

const THREE: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];

fn ranges(model: &Model) -> Vec<String> {
    model.ranges().into_values().collect()
}

fn m(shard: u16, ordinal: u16) -> MemberId {
    MemberId::new(shard, ordinal)
}

#[test]
fn the_tutorials_story() {
    let mut model = Model::formed(&desired(3, 1));
    let keys = model.keys();
    assert_eq!(ranges(&model), THREE);
    model.converge(&desired(4, 1));
    let four = ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"];
    assert_eq!(ranges(&model), four);
    model.converge(&desired(3, 1));
    assert_eq!(ranges(&model), THREE);
    assert_eq!(model.keys(), keys);
    assert_eq!(model.members.len(), 6);
}

#[test]
fn a_fresh_cluster_of_any_shape() {
    for (masters, replicas) in [(1, 0), (1, 1), (2, 0), (3, 2), (5, 1)] {
        let mut model = Model::new();
        let rounds = model.converge(&desired(masters, replicas));
        assert!(model.orphaned().is_empty());
        assert!(rounds <= 6, "{masters}x{replicas}: {rounds} rounds");
    }
}

#[test]
fn replicas_up_and_down() {
    let mut model = Model::formed(&desired(3, 1));
    let keys = model.keys();
    for replicas in [2, 0, 1] {
        model.converge(&desired(3, replicas));
        assert_eq!(model.members.len(), 3 * (1 + usize::from(replicas)));
        assert_eq!(model.keys(), keys);
    }
}

#[test]
fn several_edits_in_a_row() {
    let mut model = Model::formed(&desired(3, 1));
    let keys = model.keys();
    for masters in [6, 4, 5] {
        for _ in 0..3 {
            model.round(&desired(masters, 2));
        }
    }
    model.converge(&desired(5, 1));
    assert_eq!(model.keys(), keys);
    assert_eq!(model.members.len(), 10);
}

#[test]
fn a_drain_taken_back() {
    for drained_follows in [false, true] {
        let mut model = Model::formed(&desired(4, 1));
        model.drained_follows = drained_follows;
        let keys = model.keys();
        while model.ranges().get(&m(3, 0)).is_some_and(|slots| slots != "-") {
            model.round(&desired(3, 1));
        }
        model.converge(&desired(4, 1));
        assert_eq!(model.keys(), keys);
    }
}

/// Masters that give away all that they have, and get something else, never are without a slot: one that is follows the
/// taker as a replica.
#[test]
fn ranges_that_change_hands_leave_every_master_a_slot() {
    let declared = |ranges: [[(u16, u16); 2]; 3]| {
        let range = |(low, high): (u16, u16)| (low..high).filter_map(Slot::new);
        let sets = ranges.map(|two| two.into_iter().flat_map(range).collect::<SlotSet>());
        crate::model::spec(3, 1, Distribution::Declared(sets.into()), false)
    };
    let small = declared([[(0, 100), (0, 0)], [(100, 12_001), (0, 0)], [(12_001, 16_384), (0, 0)]]);
    let turned = declared([[(5461, 5462), (10_923, 16_384)], [(0, 5461), (0, 0)], [(5462, 10_923), (0, 0)]]);
    let lone = declared([[(0, 1), (0, 0)], [(1, 2), (0, 0)], [(2, 16_384), (0, 0)]]);
    let lone_turned = declared([[(2, 16_384), (0, 0)], [(0, 1), (0, 0)], [(1, 2), (0, 0)]]);
    let mut model = Model::formed(&small);
    model.drained_follows = true;
    let keys = model.keys();
    for next in [&turned, &small, &lone, &lone_turned, &turned] {
        model.converge(next);
        assert_eq!(model.keys(), keys);
    }
    let never_promoted = |m: &MemberId| m.ordinal == 0;
    assert!(model.ranges().keys().all(never_promoted), "{:?}", model.ranges());
}

#[test]
fn scale_down_where_a_drained_master_follows_the_taker() {
    let mut model = Model::formed(&desired(3, 1));
    model.drained_follows = true;
    let keys = model.keys();
    model.converge(&desired(4, 1));
    model.converge(&desired(3, 1));
    assert_eq!((ranges(&model), model.keys()), (THREE.map(String::from).to_vec(), keys));
}

#[test]
fn weights_and_declared_ranges() {
    let mut model = Model::formed(&desired(3, 1));
    let keys = model.keys();
    model.converge(&crate::model::spec(3, 1, Distribution::Weighted(vec![2, 1, 1]), false));
    assert_eq!(ranges(&model)[0], "0-6826,10923-12287");
    let sets: Vec<SlotSet> = ["5461-10922", "0-5460", "10923-16383"]
        .map(|r| [r.parse::<node_server_protocol::SlotRange>().unwrap()].into_iter().collect())
        .to_vec();
    model.converge(&crate::model::spec(3, 1, Distribution::Declared(sets), false));
    assert_eq!(ranges(&model), ["5461-10922", "0-5460", "10923-16383"]);
    assert_eq!(model.keys(), keys);
}

#[test]
fn each_member_dies_and_returns() {
    let desired = desired(3, 1);
    for member in desired.members() {
        let mut model = Model::formed(&desired);
        let keys = model.keys();
        model.kill(member, true);
        for _ in 0..5 {
            model.round(&desired);
        }
        assert!(model.orphaned().is_empty(), "{member}");
        model.restart(member);
        model.converge(&desired);
        assert_eq!(model.keys(), keys, "{member}");
    }
}

#[test]
fn a_master_without_disk_comes_back_at_once() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    model.kill(m(1, 0), false);
    model.restart(m(1, 0));
    assert!(model.node(m(1, 0)).closed_empty);
    model.converge(&desired);
    assert_eq!(model.keys(), keys);
    assert!(model.ranges().contains_key(&m(1, 1)));
}

#[test]
fn two_of_three_masters_die() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    model.kill(m(0, 0), true);
    model.kill(m(1, 0), true);
    for _ in 0..4 {
        model.round(&desired);
    }
    assert!(model.orphaned().is_empty());
    model.restart(m(0, 0));
    model.restart(m(1, 0));
    model.converge(&desired);
    assert_eq!(model.keys(), keys);
}

#[test]
fn a_silent_master_is_left_alone() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let log = model.log.len();
    model.silence(m(1, 0));
    for _ in 0..5 {
        model.round(&desired);
    }
    assert_eq!(model.log.len(), log, "{:?}", &model.log[log..]);
    model.restart(m(1, 0));
    model.converge(&desired);
}

#[test]
fn a_member_that_lost_its_identity_returns_as_a_replica_of_its_shard() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    let old = model.node(m(1, 0)).id;
    model.kill(m(1, 0), false);
    model.replace(m(1, 0));
    model.converge(&desired);
    assert_eq!(model.keys(), keys);
    assert!(model.ranges().contains_key(&m(1, 1)));
    assert!(model.reports().values().all(|r| r.line(old).is_none()), "the old id is forgotten");
}

#[test]
fn every_copy_lost() {
    let kill_all = |model: &mut Model| {
        for ordinal in [0, 1] {
            model.kill(m(1, ordinal), false);
            model.replace(m(1, ordinal));
        }
    };
    let careful = desired(3, 1);
    let mut model = Model::formed(&careful);
    kill_all(&mut model);
    for _ in 0..5 {
        model.round(&careful);
    }
    assert_eq!(model.orphaned().to_string(), "5461-10922", "nothing is given away without leave");
    let allowed = crate::model::spec(3, 1, Distribution::Balanced, true);
    model.converge(&allowed);
    assert!(model.log.iter().any(|l| l.contains("ReportLoss")));
}

#[test]
fn a_whole_shard_restarts_empty_in_place() {
    let allowed = crate::model::spec(3, 1, Distribution::Balanced, true);
    let mut model = Model::formed(&allowed);
    for ordinal in [0, 1] {
        model.kill(m(1, ordinal), false);
    }
    model.restart(m(1, 0));
    let steps = model.round(&allowed);
    assert!(!steps.iter().any(|s| matches!(s, Step::Reopen { .. })), "one copy is still unseen");
    model.restart(m(1, 1));
    model.converge(&allowed);
    let report = model.log.iter().position(|l| l.contains("ReportLoss")).unwrap();
    let reopen = model.log.iter().position(|l| l.contains("REOPEN")).unwrap();
    assert!(report < reopen);
}

#[test]
fn a_foreign_node_is_reported_and_left() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let log = model.log.len();
    let id = model.add_foreign();
    let planned = plan(&desired, &model.observe());
    assert!(planned.steps.is_empty());
    let named = |u: &operator_planner::Unsafe| matches!(u, operator_planner::Unsafe::ForeignNode { id: who, .. } if *who == id);
    assert!(planned.unsafe_.iter().any(named), "{planned:?}");
    model.round(&desired);
    assert_eq!(model.log.len(), log);
}

#[test]
fn forgotten_by_hand() {
    let desired = desired(3, 1);
    for everybody in [false, true] {
        let mut model = Model::formed(&desired);
        let keys = model.keys();
        let victim = model.node(m(1, 0)).id;
        let others: Vec<MemberId> = model.members.keys().copied().filter(|x| *x != m(1, 0)).collect();
        for other in others.iter().take(if everybody { 9 } else { 1 }) {
            let node = model.node_mut(*other);
            node.view.remove(&victim);
            node.banned.insert(victim);
        }
        model.converge(&desired);
        assert_eq!(model.keys(), keys);
    }
}

#[test]
fn slots_deleted_by_hand() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    let slots: SlotSet = (6000..6100).filter_map(Slot::new).collect();
    let me = model.node_mut(m(1, 0)).me_mut();
    me.slots = me.slots.difference(&slots);
    model.converge(&desired);
    assert_eq!((ranges(&model), model.keys()), (THREE.map(String::from).to_vec(), keys));
}

#[test]
fn two_owners_of_a_slot() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    let slot = Slot::new(6014).unwrap();
    let thief = model.node_mut(m(0, 0));
    let id = thief.id;
    thief.set_owner(slot, id);
    model.converge(&desired);
    assert_eq!((ranges(&model), model.keys()), (THREE.map(String::from).to_vec(), keys));
}

/// A master that has given everything away was forgotten while another one still sent clients there for its slots: they had no
/// owner there, and the cluster was down.
#[test]
fn nobody_is_forgotten_who_is_routed_to() {
    let three = desired(3, 1);
    let mut model = Model::formed(&three);
    model.converge(&desired(4, 1));
    let drained = model.node(m(3, 0)).id;
    while model.node(m(3, 0)).slots() != SlotSet::new() {
        model.round(&three);
    }
    let late = Slot::new(11_000).unwrap();
    model.node_mut(m(1, 0)).set_owner(late, drained);
    let concerns = |s: &Step| {
        matches!(s, Step::Forget { id, .. } if *id == drained)
            || matches!(s, Step::RemoveMember { member, .. } if *member == m(3, 0))
    };
    let planned = plan(&three, &model.observe());
    assert!(!planned.steps.iter().any(|p| concerns(&p.step)), "{planned:?}");
    let heir = model.node(m(2, 0)).id;
    model.node_mut(m(1, 0)).set_owner(late, heir);
    let planned = plan(&three, &model.observe());
    assert!(planned.steps.iter().any(|p| concerns(&p.step)), "{planned:?}");
}

/// The old operator was killed when the taker had the slot and the giver had not been told. The giver's epoch was the higher
/// one, and both ends sent clients to the other while the slot was taken back.
#[test]
fn a_slot_that_both_ends_claim_goes_where_it_went() {
    let (three, slot) = (desired(3, 1), Slot::new(11_000).unwrap());
    let mut model = Model::formed(&three);
    model.converge(&desired(4, 1));
    let keys = model.keys();
    let (giver, taker) = (model.node(m(3, 0)).id, model.node(m(2, 0)).id);
    let to_taker = OpenState::MigratingTo(taker);
    let crossed = model.node_mut(m(3, 0)).keys.remove(&slot);
    model.node_mut(m(3, 0)).open.insert(slot, to_taker);
    model.node_mut(m(2, 0)).set_owner(slot, taker);
    model.node_mut(m(2, 0)).keys.extend(crossed.map(|keys| (slot, keys)));
    assert!(model.node(m(3, 0)).epoch() > model.node(m(2, 0)).epoch());
    let owner = |model: &Model, member| model.node(member).owner(slot);
    assert_eq!((owner(&model, m(3, 0)), owner(&model, m(2, 0))), (Some(giver), Some(taker)));
    for _ in 0..50 {
        let steps = model.round(&three);
        let back = |step: &&Step| matches!(step, Step::MigrateSlots { slots, source, .. } if source.member == m(2, 0) && slots.contains(slot));
        assert_eq!(steps.iter().find(back), None);
    }
    assert_eq!((ranges(&model), model.keys()), (THREE.map(String::from).to_vec(), keys));
}

#[test]
fn open_slots_of_every_kind() {
    let slot = Slot::new(97).unwrap();
    for (at_source, at_target, crossed) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (true, true, true),
        (false, true, true),
    ] {
        let desired = desired(3, 1);
        let mut model = Model::formed(&desired);
        let keys = model.keys();
        let (source, target) = (model.node(m(0, 0)).id, model.node(m(2, 0)).id);
        if at_source {
            model.node_mut(m(0, 0)).open.insert(slot, OpenState::MigratingTo(target));
        }
        if at_target {
            model.node_mut(m(2, 0)).open.insert(slot, OpenState::ImportingFrom(source));
        }
        if crossed {
            let keys = model.node_mut(m(0, 0)).keys.remove(&slot).unwrap();
            model.node_mut(m(2, 0)).keys.insert(slot, keys);
        }
        model.settle();
        model.converge(&desired);
        assert_eq!((ranges(&model), model.keys()), (THREE.map(String::from).to_vec(), keys));
    }
}

#[test]
fn a_target_dies_in_the_middle_of_a_move() {
    for victim in [m(0, 0), m(3, 0)] {
        let mut model = Model::formed(&desired(3, 1));
        let keys = model.keys();
        while model.ranges().get(&m(3, 0)).is_none_or(|slots| slots == "-") {
            model.fuel = Some(500);
            model.round(&desired(4, 1));
        }
        model.kill(victim, true);
        model.fuel = None;
        for _ in 0..3 {
            model.round(&desired(4, 1));
        }
        model.restart(victim);
        model.converge(&desired(4, 1));
        assert_eq!(model.keys(), keys, "{victim}");
    }
}

/// Each of two masters took slots for the other's. ADDSLOTS is refused for those, and nothing went on.
#[test]
fn slots_that_nobody_claims_and_everybody_takes_for_anothers_get_an_owner() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let lost: SlotSet = (5000..=5127).filter_map(Slot::new).collect();
    let (first, second) = (model.node(m(0, 0)).id, model.node(m(1, 0)).id);
    for member in [m(0, 0), m(0, 1)] {
        let node = model.node_mut(member);
        lost.iter().for_each(|slot| node.set_owner(slot, second));
    }
    for member in [m(1, 0), m(1, 1)] {
        let node = model.node_mut(member);
        lost.iter().for_each(|slot| node.set_owner(slot, first));
    }
    model.formed = false; // They have no owner to begin with.
    model.converge(&desired);
}

fn pend(model: &mut Model, member: MemberId) {
    model.node_mut(member).life = operator_planner::Life::Pending("0/4 nodes are available".into());
}

/// On Kubernetes the second pod of a shard became its master when it answered first, on the machine of another master.
#[test]
fn a_creation_waits_for_a_first_member_that_is_starting_but_not_for_one_that_cannot_start() {
    let desired = desired(3, 1);
    let mut model = Model::new();
    for (number, member) in (0..).zip(desired.members()) {
        model.add(member, crate::model::address(number));
    }
    model.node_mut(m(1, 0)).life = operator_planner::Life::Starting("ContainerCreating".into());
    assert!(!model.round(&desired).iter().any(|s| matches!(s, Step::AssignSlots { .. })));
    pend(&mut model, m(1, 0));
    let steps = model.round(&desired);
    let owner = |s: &Step| matches!(s, Step::AssignSlots { owner, .. } if owner.member == m(1, 1));
    assert!(steps.iter().any(owner), "{steps:?}");
}

#[test]
fn a_member_that_cannot_start_delays_nobody_else() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    pend(&mut model, m(0, 1));
    model.kill(m(1, 0), true);
    let steps = model.round(&desired);
    assert!(steps.iter().any(|s| matches!(s, Step::Failover { .. })), "{steps:?}");
    assert!(model.orphaned().is_empty());
    assert_eq!(model.keys(), keys);
}

#[test]
fn creation_does_not_wait_for_a_replica_that_cannot_start() {
    let desired = desired(3, 1);
    let mut model = Model::new();
    model.round(&desired);
    pend(&mut model, m(0, 1));
    for _ in 0..4 {
        model.round(&desired);
    }
    assert!(model.orphaned().is_empty());
}

#[test]
fn a_scale_up_that_cannot_start_is_taken_back() {
    let mut model = Model::formed(&desired(3, 1));
    model.round(&desired(5, 1));
    for shard in [3, 4] {
        pend(&mut model, m(shard, 0));
        pend(&mut model, m(shard, 1));
    }
    for _ in 0..3 {
        model.round(&desired(5, 1));
    }
    model.converge(&desired(3, 1));
    assert_eq!((ranges(&model), model.moves.len()), (THREE.map(String::from).to_vec(), 0));
}

#[test]
fn a_node_with_keys_stops_a_creation() {
    let desired = desired(3, 0);
    for member in [m(0, 0), m(2, 0)] {
        let mut model = Model::new();
        model.round(&desired);
        model.node_mut(member).keys.entry(Slot::FIRST).or_default().insert("left over".into());
        let steps = model.round(&desired);
        assert_eq!(steps, []);
        let refused = plan(&desired, &model.observe()).unsafe_;
        assert_eq!(refused, [operator_planner::Unsafe::NotEmpty { member, keys: 1 }]);
    }
}

#[test]
fn nobody_is_left_with_one_copy_to_save_a_pod() {
    let mut model = Model::formed(&desired(3, 2));
    model.silence(m(0, 1));
    for _ in 0..3 {
        model.round(&desired(3, 1));
    }
    assert!(model.members.contains_key(&m(0, 2)), "its sibling that stays is not in sync");
    assert!(!model.members.contains_key(&m(1, 2)));
}

#[test]
fn a_node_that_came_back_is_not_gone_because_it_once_was() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let id = model.node(m(1, 0)).id;
    model.gone.push(operator_planner::observed::Gone {
        id,
        member: m(1, 0),
        proof: operator_planner::Proof::Terminated,
    });
    model.silence(m(1, 0));
    assert_eq!(model.round(&desired), []);
}

/// Found by the simulation: who had the place of the forgotten node was not told to forget it.
#[test]
fn the_former_process_of_a_member_is_forgotten_by_its_successor_too() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let former = model.node(m(1, 1)).clone();
    model.kill(m(1, 1), false);
    model.replace(m(1, 1));
    model.converge(&desired);
    let line = former.me().clone();
    model.node_mut(m(1, 1)).view.insert(former.id, line);
    for _ in 0..3 {
        model.round(&desired);
    }
    assert!(!model.node(m(1, 1)).view.contains_key(&former.id));
}

/// Found by the simulation: slots on their way to a master that restarted empty were closed as if nothing had crossed,
/// and it stayed closed for good.
#[test]
fn a_receiving_master_that_lost_its_data_is_reopened() {
    let desired = crate::model::spec(3, 0, Distribution::Balanced, true);
    let mut model = Model::formed(&desired);
    let slot = Slot::FIRST;
    let source = model.node(m(0, 0)).id;
    let given: SlotSet = model.node(m(1, 0)).slots();
    for slot in given.iter() {
        for member in [m(0, 0), m(1, 0), m(2, 0)] {
            model.node_mut(member).set_owner(slot, source);
        }
    }
    model.node_mut(m(1, 0)).keys.clear();
    model.node_mut(m(1, 0)).open.insert(slot, OpenState::ImportingFrom(source));
    model.node_mut(m(1, 0)).closed_empty = true;
    let steps = model.round(&desired);
    assert!(!steps.iter().any(|s| matches!(s, Step::CloseSlots { .. })), "{steps:?}");
    assert!(steps.iter().any(|s| matches!(s, Step::Reopen { node } if node.member == m(1, 0))), "{steps:?}");
    model.converge(&desired);
}

/// Found by the simulation: with the news of a takeover on its way, a replica was made to take over from a master that
/// had nothing left, and stayed a master without slots.
#[test]
fn nobody_takes_over_from_a_master_without_slots() {
    let desired = desired(3, 2);
    let mut model = Model::formed(&desired);
    model.kill(m(0, 0), false);
    model.restart(m(0, 0));
    let plan = plan(&desired, &model.observe());
    let failover = plan.steps.iter().find(|s| matches!(s.step, Step::Failover { .. })).unwrap();
    let Step::Failover { replica, master, .. } = &failover.step else { unreachable!() };
    let mut report = model.reports()[&replica.member].clone();
    assert!(failover.expect.iter().all(|e| e.violated_by(&report).is_none()));
    let line = report.view.iter_mut().find(|l| l.id == *master).unwrap();
    line.slots.clear();
    assert!(failover.expect.iter().any(|e| e.violated_by(&report).is_some()));
}
