//! Who has a copy of a dead or closed master's data, and who only seems to. All of these were found by the simulation.

use crate::model::{Model, desired};
use node_server_protocol::{Slot, SlotSet};
use operator_planner::observed::OpenState;
use operator_planner::{Distribution, Fact, MemberId, Step, plan};

fn m(shard: u16, ordinal: u16) -> MemberId {
    MemberId::new(shard, ordinal)
}

/// The replica of a shard has become a second master, with these slots and their keys.
fn second_master(model: &mut Model, first: MemberId, second: MemberId, slots: &SlotSet) {
    let id = model.node(second).id;
    for member in model.members.keys().copied().collect::<Vec<_>>() {
        let node = model.node_mut(member);
        if let Some(line) = node.view.get_mut(&id) {
            line.master = None;
        }
        slots.iter().for_each(|slot| node.set_owner(slot, id));
    }
    let epoch = model.node(first).epoch() + 9;
    let node = model.node_mut(second);
    node.become_master();
    node.current_epoch = epoch;
    node.me_mut().epoch = epoch;
    node.keys.retain(|slot, _| slots.contains(*slot));
    model.node_mut(first).keys.retain(|slot, _| !slots.contains(*slot));
}

/// The copy on a member that was about to go, forgotten already, was the last one, and the
/// shard was reopened without it.
#[test]
fn a_copy_that_was_about_to_go_is_brought_back() {
    let allowed = crate::model::spec(2, 1, Distribution::Balanced, true);
    let mut model = Model::formed(&desired(3, 1));
    let keys = model.keys();
    // Shard 2 has given its slots away, and its replica has gone. Its master copies shard 1; everybody but itself has
    // forgotten it.
    while model.members.contains_key(&m(2, 1)) {
        model.round(&allowed);
    }
    let (saviour, master) = (m(2, 0), model.node(m(1, 0)).id);
    let (id, whole) = (model.node(saviour).id, model.node(m(1, 0)).keys.clone());
    let offset = model.node(m(1, 0)).offset;
    let node = model.node_mut(saviour);
    node.follow(master);
    (node.keys, node.offset) = (whole, offset);
    for other in model.members.keys().copied().filter(|x| *x != saviour).collect::<Vec<_>>() {
        let node = model.node_mut(other);
        node.view.remove(&id);
        node.banned.insert(id);
    }
    for ordinal in [0, 1] {
        model.kill(m(1, ordinal), false);
    }
    // While it is silent nobody can say that all is lost.
    model.silence(saviour);
    for ordinal in [0, 1] {
        model.restart(m(1, ordinal));
    }
    for _ in 0..3 {
        let steps = model.round(&allowed);
        assert!(!steps.iter().any(|s| matches!(s, Step::Reopen { .. })), "{steps:?}");
    }
    model.restart(saviour);
    model.converge(&allowed);
    assert_eq!(model.keys(), keys);
    assert_eq!(model.members.len(), 4);
}

/// A shard with two masters, each with slots of its own, waited for one of them to become a
/// replica before it took that one's slots.
#[test]
fn a_second_master_of_a_shard_gives_its_slots_to_the_first() {
    let desired = desired(2, 2);
    let mut model = Model::formed(&desired);
    let keys = model.keys();
    second_master(&mut model, m(1, 0), m(1, 1), &(9000..9500).filter_map(Slot::new).collect());
    model.settle();
    model.converge(&desired);
    assert_eq!(model.keys(), keys);
}

/// Of a shard with two masters one came back without its data. The other's keys, of slots of
/// its own, were taken for a copy, and its slots waited for those of the closed one.
#[test]
fn a_second_master_with_keys_is_no_copy_of_the_closed_one() {
    for wanted in [3, 2] {
        let allowed = crate::model::spec(wanted, 1, Distribution::Balanced, true);
        let mut model = Model::formed(&desired(3, 1));
        let moved: SlotSet = (16_000..16_384).filter_map(Slot::new).collect();
        second_master(&mut model, m(2, 0), m(2, 1), &moved);
        let kept = model.node(m(2, 1)).keys.len();
        assert!(kept > 0);
        model.kill(m(2, 0), false);
        model.restart(m(2, 0));
        assert!(model.node(m(2, 0)).closed_empty);
        model.converge(&allowed);
        assert!(model.log.iter().any(|l| l.contains("REOPEN")));
        assert_eq!(model.keys().keys().filter(|slot| moved.contains(**slot)).count(), kept);
    }
}

/// A deposed master that had not heard of it yet still claimed the slots of the one that had
/// taken over and had come back without its data; it had the last copy.
#[test]
fn a_deposed_master_that_does_not_know_it_yet_is_a_copy() {
    let allowed = crate::model::spec(3, 1, Distribution::Balanced, true);
    let mut model = Model::formed(&desired(3, 1));
    model.kill(m(0, 0), true);
    for _ in 0..3 {
        model.round(&allowed);
    }
    assert!(model.ranges().get(&m(0, 1)).is_some_and(|slots| slots == "0-5460"), "{:?}", model.ranges());
    model.kill(m(0, 1), false);
    model.restart(m(0, 1));
    assert!(model.node(m(0, 1)).closed_empty);
    // It runs again and has heard of nothing.
    model.node_mut(m(0, 0)).life = operator_planner::Life::Running;
    let planned = plan(&allowed, &model.observe());
    assert!(!planned.steps.iter().any(|p| matches!(p.step, Step::Reopen { .. })), "{:?}", planned.steps);
}

/// A drained master that had just begun to follow the taker, and had copied nothing yet, had the
/// higher offset, of its own log, and took over from the taker in place of its replica.
#[test]
fn who_follows_from_another_shard_does_not_take_over_before_a_replica_of_the_shard() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    let master = model.node(m(0, 0)).id;
    model.kill(m(0, 0), false);
    let offset = model.node(m(0, 1)).offset;
    let node = model.node_mut(m(2, 1));
    node.follow(master);
    node.offset = offset + 5000;
    for member in model.members.keys().copied().collect::<Vec<_>>() {
        let id = model.node(m(2, 1)).id;
        model.node_mut(member).view.get_mut(&id).unwrap().master = Some(master);
    }
    let planned = plan(&desired, &model.observe());
    let promoted = planned.steps.iter().find_map(|p| match &p.step {
        Step::Failover { replica, .. } => Some(replica.member),
        _ => None,
    });
    assert_eq!(promoted, Some(m(0, 1)), "{:?}", planned.steps);
}

fn assigns(desired: &operator_planner::Desired, model: &Model) -> bool {
    plan(desired, &model.observe()).steps.iter().any(|p| matches!(p.step, Step::AssignSlots { .. }))
}

/// New members had been introduced to one master and had only heard of the other. When both were silent, the other's
/// slots seemed to be nobody's and were given to the new ones.
#[test]
fn slots_of_a_silent_master_that_was_never_heard_are_not_nobodys() {
    let mut model = Model::formed(&desired(2, 0));
    let wanted = desired(3, 0);
    while !model.members.contains_key(&m(2, 0)) || model.node(m(2, 0)).view.len() < 3 {
        model.round(&wanted);
    }
    let other = model.node(m(1, 0)).id;
    model.silence(m(0, 0));
    model.silence(m(1, 0));
    assert!(!assigns(&wanted, &model));
    let line = model.node_mut(m(2, 0)).view.get_mut(&other).unwrap();
    (line.epoch, line.slots) = (0, SlotSet::new());
    assert!(!assigns(&wanted, &model), "it has only heard of it");
}

/// All masters were away when replicas were declared: their slots were given to the empty newcomers, as if a cluster were
/// being created.
#[test]
fn a_silent_cluster_is_not_created_anew() {
    for killed in [false, true] {
        let mut model = Model::formed(&desired(2, 0));
        let wanted = desired(2, 1);
        for shard in [0, 1] {
            if killed { model.kill(m(shard, 0), true) } else { model.silence(m(shard, 0)) }
        }
        for _ in 0..4 {
            model.round(&wanted);
        }
        assert!(model.members.contains_key(&m(0, 1)), "the newcomers are there");
        assert!(!assigns(&wanted, &model));
        assert!(model.node(m(0, 1)).slots().is_empty() && model.node(m(1, 1)).slots().is_empty());
    }
}

/// A slot was on its way to a new master that was silent for a moment. It was sent to the other one of that shard, which
/// had not begun to follow yet, while keys arrived at the first.
#[test]
fn a_slot_on_its_way_to_a_silent_node_goes_nowhere_else() {
    let wanted = desired(3, 1);
    let mut model = Model::formed(&desired(2, 1));
    while !model.members.contains_key(&m(2, 1)) || model.node(m(2, 1)).view.len() < 6 {
        model.round(&wanted);
    }
    let (source, target, blank) = (m(0, 0), m(2, 0), m(2, 1));
    let slot = Slot::new(97).unwrap();
    let (from, to) = (model.node(source).id, model.node(target).id);
    assert!(model.node(source).slots().contains(slot) && model.node(blank).role.is_master());
    model.node_mut(source).open.insert(slot, OpenState::MigratingTo(to));
    model.node_mut(target).open.insert(slot, OpenState::ImportingFrom(from));
    model.silence(target);
    let planned = plan(&wanted, &model.observe());
    let touches = |s: &Step| match s {
        Step::MigrateSlots { slots, .. } | Step::CloseSlots { slots, .. } => slots.contains(slot),
        _ => false,
    };
    assert!(!planned.steps.iter().any(|p| touches(&p.step)), "{:?}", planned.steps);
}

/// A deposed master still had keys of its successor, which had come back without any. It owned other slots, so that its
/// keys were not taken for a copy, and the successor was opened empty.
#[test]
fn the_slots_of_a_master_without_data_go_back_to_the_deposed_one_that_has_their_keys() {
    let allowed = crate::model::spec(2, 1, Distribution::Balanced, true);
    let mut model = Model::formed(&desired(2, 1));
    let keys = model.keys();
    let (old, new) = (m(1, 0), m(1, 1));
    let taken: SlotSet = (9000..16_384).filter_map(Slot::new).collect();
    let copy = model.node(old).keys.clone();
    second_master(&mut model, old, new, &taken);
    model.node_mut(old).keys = copy;
    model.kill(new, false);
    model.restart(new);
    assert!(model.node(new).closed_empty && !model.node(old).slots().is_empty());
    model.converge(&allowed);
    assert_eq!(model.keys(), keys);
    assert!(!model.log.iter().any(|l| l.contains("REOPEN")), "{:?}", model.log);
}

/// While the slots of a lost shard went to its new master, one by one, the rest went to another, at the same time.
#[test]
fn lost_slots_all_go_to_the_one_that_has_some() {
    let allowed = crate::model::spec(3, 1, Distribution::Balanced, true);
    let mut model = Model::formed(&desired(3, 1));
    for ordinal in [0, 1] {
        model.kill(m(1, ordinal), false);
        model.replace(m(1, ordinal));
    }
    let replaces = |steps: &[Step]| {
        let owner = |s: &Step| match s {
            Step::ReplaceOwner { owner, .. } => Some(owner.member),
            _ => None,
        };
        steps.iter().find_map(owner)
    };
    let upcoming = |model: &Model| {
        replaces(&plan(&allowed, &model.observe()).steps.into_iter().map(|p| p.step).collect::<Vec<_>>())
    };
    while upcoming(&model).is_none() {
        model.round(&allowed);
    }
    let first = upcoming(&model);
    model.fuel = Some(1000);
    model.round(&allowed);
    model.fuel = None;
    let has = model.node(first.unwrap()).slots().len();
    assert!(has > 0 && has < 5462, "{has} slots have gone");
    assert_eq!(upcoming(&model), first);
    model.converge(&allowed);
}

/// Two new members were told to follow each other at the same moment: the shard had no master, and nobody gave it one.
#[test]
fn members_that_follow_each_other_with_nothing_get_a_master() {
    let (four, first, second, third) = (desired(4, 2), m(3, 0), m(3, 1), m(3, 2));
    let mut model = Model::formed(&desired(3, 2));
    let keys = model.keys();
    while !model.members.contains_key(&third) {
        model.round(&four);
    }
    let id = |model: &Model, member| model.node(member).id;
    let (a, b) = (id(&model, first), id(&model, second));
    for (member, of) in [(first, b), (second, a), (third, b)] {
        let node = model.node_mut(member);
        assert!(node.slots().is_empty());
        node.follow(of);
    }
    model.converge(&four);
    assert_eq!(model.keys(), keys);
    assert!(!model.node(first).slots().is_empty());
}

/// What they have may be the last copy of something.
#[test]
fn members_that_follow_each_other_with_keys_are_left_alone() {
    let (four, first, second) = (desired(4, 1), m(3, 0), m(3, 1));
    let mut model = Model::formed(&desired(3, 1));
    while !model.members.contains_key(&second) {
        model.round(&four);
    }
    let (a, b) = (model.node(first).id, model.node(second).id);
    for (member, of) in [(first, b), (second, a)] {
        let node = model.node_mut(member);
        node.follow(of);
        node.keys.insert(Slot::FIRST, std::iter::once("last".to_owned()).collect());
    }
    for _ in 0..20 {
        let steps = model.round(&four);
        assert!(!steps.iter().any(|s| matches!(s, Step::Reset { .. })), "{steps:?}");
    }
}

/// Found by the simulation: a replica had answered a look before it was promoted, and its master behind its demotion. Nobody
/// seemed to own the shard's slots, an edit wanted them elsewhere, and they were given there without their keys.
#[test]
fn slots_that_changed_hands_during_a_look_are_not_nobodys() {
    let shares = [8192..16_384, 0..8192].map(|r: std::ops::Range<u16>| r.filter_map(Slot::new).collect());
    let swapped = crate::model::spec(2, 1, Distribution::Declared(shares.into()), false);
    let mut model = Model::formed(&desired(2, 1));
    let early = model.observe();
    let (master, replica) = (m(0, 0), m(0, 1));
    let taker = model.node(replica).id;
    let address = model.node(replica).address;
    let to = operator_planner::NodeRef { member: replica, id: taker, address };
    model.command(to, &["CLUSTER", "FAILOVER"].map(String::from)).unwrap();
    model.settle();
    assert!(model.node(master).slots().is_empty());
    let mut skewed = model.observe();
    let (Fact::Known(late), Fact::Known(early)) = (&mut skewed.members, &early.members) else { panic!() };
    late.insert(replica, early[&replica].clone());
    let planned = plan(&swapped, &skewed);
    let reports = model.reports();
    let assigned: Vec<_> =
        planned.steps.iter().filter(|p| matches!(p.step, Step::AssignSlots { .. })).collect();
    assert!(!assigned.is_empty(), "{planned:?}");
    for step in assigned {
        assert!(step.expect.iter().any(|e| e.violated_by(&reports[&e.member]).is_some()), "{step:?}");
    }
}

/// Found by the simulation: of a new shard the second member had joined and was given slots; then the first joined, and got the
/// same slots while their keys were on the way to the second.
#[test]
fn a_first_member_that_is_about_to_join_is_waited_for() {
    let (four, first, second) = (desired(4, 1), m(3, 0), m(3, 1));
    let mut model = Model::formed(&desired(3, 1));
    while !model.members.contains_key(&second) {
        model.round(&four);
    }
    let all: Vec<MemberId> = model.members.keys().copied().collect();
    for (i, a) in all.iter().enumerate() {
        for b in &all[..i] {
            model.introduce(model.members[a], model.members[b]);
        }
    }
    model.settle();
    // Whom the others of the shard follow, or slots go to.
    let chosen = |model: &Model| {
        plan(&four, &model.observe()).steps.into_iter().find_map(|p| match p.step {
            Step::MigrateSlots { target: node, .. } | Step::Replicate { master: node, .. } => {
                Some(node.member)
            }
            _ => None,
        })
    };
    assert_eq!(chosen(&model), Some(first));
    // It answers, and knows nobody yet.
    let id = model.node(first).id;
    let mut joining = model.clone();
    joining.node_mut(first).view.retain(|other, _| *other == id);
    for other in all.iter().filter(|member| **member != first) {
        joining.node_mut(*other).view.remove(&id);
    }
    assert_eq!(chosen(&joining), None);
    // One that does not answer is not waited for.
    let mut silent = model.clone();
    silent.silence(first);
    assert_eq!(chosen(&silent), Some(second));
    // Slots are on their way to the second: that one it is.
    let source = m(0, 0);
    let (from, to) = (model.node(source).id, model.node(second).id);
    let slot = model.node(source).slots().iter().next().unwrap();
    model.node_mut(second).open.insert(slot, OpenState::ImportingFrom(from));
    model.node_mut(source).open.insert(slot, OpenState::MigratingTo(to));
    assert_eq!(chosen(&model), Some(second));
    // And what another operator has begun just now is not begun again to somebody else.
    let planned = plan(&four, &silent.observe());
    let reports = model.reports();
    let begins = planned
        .steps
        .iter()
        .find(|p| matches!(p.step, Step::MigrateSlots { source: s, .. } if s.member == source));
    let expect = &begins.unwrap().expect;
    assert!(expect.iter().any(|e| e.violated_by(&reports[&e.member]).is_some()), "{expect:?}");
}

/// With a third member, which would follow the second at once.
#[test]
fn nobody_follows_the_second_member_while_the_first_is_about_to_join() {
    let (four, first, third) = (desired(4, 2), m(3, 0), m(3, 2));
    let mut model = Model::formed(&desired(3, 2));
    while !model.members.contains_key(&third) {
        model.round(&four);
    }
    let others: Vec<MemberId> = model.members.keys().copied().filter(|member| *member != first).collect();
    for (i, a) in others.iter().enumerate() {
        for b in &others[..i] {
            model.introduce(model.members[a], model.members[b]);
        }
    }
    model.settle();
    let id = model.node(first).id;
    model.node_mut(first).view.retain(|other, _| *other == id);
    for other in &others {
        model.node_mut(*other).view.remove(&id);
    }
    let follows = |model: &Model| {
        let steps = plan(&four, &model.observe()).steps;
        steps.iter().any(|p| matches!(p.step, Step::Replicate { replica, .. } if replica.member == third))
    };
    assert!(!follows(&model));
    model.silence(first);
    assert!(follows(&model), "one that does not answer is not waited for");
}
