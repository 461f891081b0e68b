//! Laws of the planner, on observations bent at random and operators killed at random.

use crate::model::{Model, desired};
use node_server_protocol::SlotSet;
use operator_planner::{Fact, Life, MemberId, Observed, Step, Why, check, plan};
use proptest::prelude::*;
use std::sync::OnceLock;

fn formed() -> Model {
    static FORMED: OnceLock<Model> = OnceLock::new();
    FORMED.get_or_init(|| Model::formed(&desired(3, 1))).clone()
}

fn member(index: usize) -> MemberId {
    MemberId::new(u16::try_from(index / 2).unwrap(), u16::try_from(index % 2).unwrap())
}

/// One way in which an observation can be worse than the truth.
#[derive(Clone, Debug)]
enum Blur {
    Silent(usize),
    LifeUnknown(usize),
    NoMemory(usize),
    Pending(usize),
    MissingLine(usize, usize),
    FailFlag(usize, usize),
    KeysUnknown(usize),
    ViewLosesSlots(usize, usize),
    MemberUnseen(usize),
}

fn blur() -> impl Strategy<Value = Blur> {
    let node = 0..6_usize;
    prop_oneof![
        node.clone().prop_map(Blur::Silent),
        node.clone().prop_map(Blur::LifeUnknown),
        node.clone().prop_map(Blur::NoMemory),
        node.clone().prop_map(Blur::Pending),
        (node.clone(), node.clone()).prop_map(|(a, b)| Blur::MissingLine(a, b)),
        (node.clone(), node.clone()).prop_map(|(a, b)| Blur::FailFlag(a, b)),
        node.clone().prop_map(Blur::KeysUnknown),
        (node.clone(), node.clone()).prop_map(|(a, b)| Blur::ViewLosesSlots(a, b)),
        node.prop_map(Blur::MemberUnseen),
    ]
}

fn apply(blur: &Blur, observed: &mut Observed) {
    let Fact::Known(members) = &mut observed.members else {
        return;
    };
    let ids: Vec<_> = (0..6).map(|i| node_server_protocol::NodeId::from_bytes([i + 1; 20])).collect();
    let index = match blur {
        Blur::Silent(i)
        | Blur::LifeUnknown(i)
        | Blur::NoMemory(i)
        | Blur::Pending(i)
        | Blur::KeysUnknown(i) => i,
        Blur::MissingLine(i, _) | Blur::FailFlag(i, _) | Blur::ViewLosesSlots(i, _) => i,
        Blur::MemberUnseen(i) => {
            members.remove(&member(*i));
            return;
        }
    };
    let Some(m) = members.get_mut(&member(*index)) else {
        return;
    };
    match blur {
        Blur::Silent(_) => m.node = Fact::Unknown(Why::TimedOut),
        Blur::LifeUnknown(_) => m.life = Life::Unknown("kubelet silent".into()),
        Blur::NoMemory(_) => m.last_id = None,
        Blur::Pending(_) => {
            (m.life, m.node) = (Life::Pending("image".into()), Fact::Unknown(Why::NotRunning))
        }
        _ => {}
    }
    let Fact::Known(report) = &mut m.node else {
        return;
    };
    match blur {
        Blur::MissingLine(a, b) if a != b => report.view.retain(|l| l.id != ids[*b]),
        Blur::FailFlag(a, b) if a != b => {
            report.view.iter_mut().filter(|l| l.id == ids[*b]).for_each(|l| {
                l.flags.fail = true;
                l.connected = false;
            });
        }
        Blur::KeysUnknown(_) => report.keys = Fact::Unknown(Why::TimedOut),
        Blur::ViewLosesSlots(a, b) if a != b => {
            report.view.iter_mut().filter(|l| l.id == ids[*b]).for_each(|l| l.slots.clear());
        }
        _ => {}
    }
}

/// Steps that take something away from somebody.
const fn removes(step: &Step) -> bool {
    matches!(
        step,
        Step::Forget { .. }
            | Step::RemoveMember { .. }
            | Step::Reset { .. }
            | Step::ReplaceOwner { .. }
            | Step::Reopen { .. }
            | Step::Failover { .. }
            | Step::AssignSlots { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn not_knowing_never_removes(blurs in prop::collection::vec(blur(), 0..8)) {
        let mut observed = formed().observe();
        blurs.iter().for_each(|b| apply(b, &mut observed));
        let planned = plan(&desired(3, 1), &observed);
        prop_assert_eq!(&planned, &plan(&desired(3, 1), &observed), "same input, same plan");
        let removing: Vec<_> = planned.steps.iter().filter(|s| removes(&s.step)).collect();
        prop_assert!(removing.is_empty(), "{:#?}", removing);
    }

    #[test]
    fn scaling_down_half_blind_removes_only_what_is_proven_empty(blurs in prop::collection::vec(blur(), 0..6)) {
        let mut observed = formed().observe();
        blurs.iter().for_each(|b| apply(b, &mut observed));
        let planned = plan(&desired(2, 0), &observed);
        for step in planned.steps.iter().map(|s| &s.step) {
            // Shard 2 has slots, so nobody of it goes yet; of the others only replicas may.
            match step {
                Step::RemoveMember { member, .. } | Step::Forget { member: Some(member), .. } => {
                    prop_assert!(member.shard < 2 && member.ordinal == 1, "{:?}", step);
                }
                other => prop_assert!(!removes(other) || matches!(other, Step::Failover { .. }), "{:?}", other),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// The operator is killed after so many commands, three times; in between the declaration may have changed.
    #[test]
    fn killed_anywhere_it_goes_on(kills in prop::collection::vec((1..5000_usize, 3..5_u16), 1..4)) {
        let mut model = formed();
        let keys = model.keys();
        for (fuel, masters) in &kills {
            model.fuel = Some(*fuel);
            while model.fuel != Some(0) && !plan(&desired(*masters, 1), &model.observe()).is_converged() {
                model.round(&desired(*masters, 1));
            }
        }
        model.fuel = None;
        model.converge(&desired(4, 1));
        prop_assert_eq!(model.keys(), keys);
        prop_assert_eq!(check(&desired(4, 1), &model.observe()), []);
    }

    /// As above, with one declaration: nothing is moved twice, whatever was interrupted.
    #[test]
    fn an_interrupted_reshard_moves_each_slot_once(kills in prop::collection::vec(1..4000_usize, 0..4)) {
        let mut model = formed();
        for fuel in &kills {
            model.fuel = Some(*fuel);
            for _ in 0..3 {
                model.round(&desired(4, 1));
            }
        }
        model.fuel = None;
        model.converge(&desired(4, 1));
        prop_assert_eq!(model.moves.len(), 4096);
        let ranges: Vec<String> = model.ranges().into_values().collect();
        prop_assert_eq!(ranges, ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"]);
    }

    /// The operator is killed while it creates the cluster.
    #[test]
    fn creation_killed_anywhere(fuel in 0..40_usize) {
        let mut model = Model::new();
        model.fuel = Some(fuel);
        for _ in 0..4 {
            model.round(&desired(3, 1));
        }
        model.fuel = None;
        model.converge(&desired(3, 1));
        prop_assert_eq!(check(&desired(3, 1), &model.observe()), []);
    }

    /// A member dies in the middle of a reshard whose operator is killed too.
    #[test]
    fn a_death_during_a_reshard(fuel in 1..6000_usize, victim in 0..8_usize, up in any::<bool>()) {
        let (from, to) = if up { (3, 4) } else { (4, 3) };
        let mut model = formed();
        let keys = model.keys();
        model.converge(&desired(from, 1));
        model.fuel = Some(fuel);
        for _ in 0..6 {
            model.round(&desired(to, 1));
        }
        model.fuel = None;
        let victim = member(victim);
        let exists = model.members.contains_key(&victim);
        if exists {
            model.kill(victim, true);
        }
        for _ in 0..4 {
            model.round(&desired(to, 1));
        }
        prop_assert_eq!(model.orphaned(), SlotSet::new());
        if exists && model.members.contains_key(&victim) {
            model.restart(victim);
        }
        model.converge(&desired(to, 1));
        prop_assert_eq!(model.keys(), keys);
        prop_assert_eq!(check(&desired(to, 1), &model.observe()), []);
    }
}

/// The deliberate defect shows here too: the law above would not hold.
#[cfg(feature = "mutants")]
#[test]
fn the_mutant_removes_what_is_silent() {
    let mut observed = formed().observe();
    apply(&Blur::Silent(2), &mut observed);
    let planned = plan::plan_with_defect(&desired(3, 1), &observed, plan::Defect::SilenceIsDeath);
    assert!(planned.steps.iter().any(|s| removes(&s.step)));
}
