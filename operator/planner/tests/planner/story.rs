//! The tutorial's story in the planner's words.

use crate::model::{Model, desired};
use node_server_protocol::Slot;
use operator_planner::{
    Desired, Destinations, Fact, MemberId, Observed, Step, Waiting, check, explain, plan,
};
use std::fmt::Write;

/// What the operator says from round to round until there is nothing to do.
fn tell(model: &mut Model, desired: &Desired, rounds: usize) -> String {
    let mut story = String::new();
    for round in 1..=rounds {
        let observed = model.observe();
        let planned = plan(desired, &observed);
        write!(story, "round {round}\n{}", explain(desired, &observed, &planned)).unwrap();
        if planned.is_converged() {
            break;
        }
        model.round(desired);
    }
    story
}

#[test]
fn create_three_masters() {
    let mut model = Model::new();
    insta::assert_snapshot!(tell(&mut model, &desired(3, 1), 9));
    assert_eq!(check(&desired(3, 1), &model.observe()), []);
}

#[test]
fn three_to_four_and_back() {
    let mut model = Model::formed(&desired(3, 1));
    insta::assert_snapshot!("three_to_four", tell(&mut model, &desired(4, 1), 20));
    assert_eq!(check(&desired(4, 1), &model.observe()), []);
    insta::assert_snapshot!("four_to_three", tell(&mut model, &desired(3, 1), 20));
    assert_eq!(check(&desired(3, 1), &model.observe()), []);
}

#[test]
fn a_master_is_killed_and_returns() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    model.kill(MemberId::new(1, 0), true);
    let mut story = tell(&mut model, &desired, 2);
    assert_ne!(check(&desired, &model.observe()), []);
    model.restart(MemberId::new(1, 0));
    story.push_str("demo-1-0 is back\n");
    story.push_str(&tell(&mut model, &desired, 4));
    insta::assert_snapshot!(story);
    assert_eq!(check(&desired, &model.observe()), []);
}

#[test]
fn a_silent_master_and_a_stranger() {
    let desired = desired(3, 1);
    let mut model = Model::formed(&desired);
    model.silence(MemberId::new(1, 0));
    model.add_foreign();
    insta::assert_snapshot!(tell(&mut model, &desired, 1));
}

/// A move that an earlier plan began to queue for is called off when its slots belong elsewhere by now; moves of the
/// plan itself never are.
#[test]
fn queued_moves_are_wanted_until_slots_belong_elsewhere() {
    let mut model = Model::formed(&desired(3, 1));
    let mut moves = Vec::new();
    while moves.is_empty() {
        let observed = model.observe();
        let planned = plan(&desired(4, 1), &observed);
        let destinations = Destinations::new(&desired(4, 1), &observed).unwrap();
        assert!(planned.steps.iter().all(|p| destinations.still_want(&p.step)));
        moves.extend(planned.steps.iter().map(|p| p.step.clone()).filter(is_move));
        if moves.is_empty() {
            model.round(&desired(4, 1));
        }
    }
    // Three masters are enough after all.
    let back = Destinations::new(&desired(3, 1), &model.observe()).unwrap();
    assert!(moves.iter().all(|step| !back.still_want(step)), "{moves:?}");
}

/// Seen on Kubernetes: the new master had not heard of the first one's slots yet, so the first slots to go there were the
/// second one's, and the distribution grew around those.
#[test]
fn a_new_master_that_has_not_heard_of_all_owners_gets_the_lowest_slots_all_the_same() {
    let four = desired(4, 1);
    let mut model = Model::formed(&desired(3, 1));
    let first_moves = |observed: &Observed| {
        let steps = plan(&four, observed).steps.into_iter().map(|p| p.step);
        steps.filter(is_move).collect::<Vec<_>>()
    };
    while first_moves(&model.observe()).is_empty() {
        model.round(&four);
    }
    let owner = model.node(MemberId::new(0, 0)).id;
    let mut observed = model.observe();
    let Fact::Known(members) = &mut observed.members else { panic!("the model knows its members") };
    let Fact::Known(newcomer) = &mut members.get_mut(&MemberId::new(3, 0)).unwrap().node else {
        panic!("the newcomer answers");
    };
    newcomer.view.iter_mut().filter(|line| line.id == owner).for_each(|line| line.slots.clear());
    assert_eq!(first_moves(&observed), []);
    assert!(plan(&four, &observed).waiting.iter().any(|w| matches!(w, Waiting::ViewsAgree { .. })));
    // It has heard: on it goes, from slot 0.
    let moves = first_moves(&model.observe());
    let lowest = moves.iter().find_map(|step| match step {
        Step::MigrateSlots { slots, .. } => slots.iter().next(),
        _ => None,
    });
    assert_eq!(lowest, Some(Slot::FIRST));
}

const fn is_move(step: &Step) -> bool {
    matches!(step, Step::MigrateSlots { .. })
}
