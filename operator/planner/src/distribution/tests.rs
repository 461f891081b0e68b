use super::*;
use crate::desired::Spec;
use proptest::prelude::*;

fn desired(masters: u16, distribution: Distribution) -> Desired {
    let (name, replicas_per_master) = ("demo".into(), 0);
    Desired::parse(Spec {
        name,
        masters,
        replicas_per_master,
        distribution,
        allow_data_loss: false,
        paused: false,
    })
    .unwrap()
}

fn balanced(masters: u16, present: &[SlotSet]) -> Vec<SlotSet> {
    targets(&desired(masters, Distribution::Balanced), present)
}

fn texts(sets: &[SlotSet]) -> Vec<String> {
    sets.iter().map(ToString::to_string).collect()
}

fn moved(before: &[SlotSet], after: &[SlotSet]) -> SlotSet {
    let none = SlotSet::new();
    let gains = after.iter().enumerate().map(|(i, set)| set.difference(before.get(i).unwrap_or(&none)));
    gains.fold(SlotSet::new(), |all, gain| all.union(&gain))
}

const THREE: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];

#[test]
fn the_tutorials_ranges() {
    let three = balanced(3, &[]);
    assert_eq!(texts(&three), THREE);
    let four = balanced(4, &three);
    assert_eq!(texts(&four), ["1365-5460", "6827-10922", "12288-16383", "0-1364,5461-6826,10923-12287"]);
    assert_eq!(texts(&balanced(3, &four)), THREE);
}

#[test]
fn up_and_down_again_in_larger_steps() {
    for (low, high) in [(1, 2), (1, 3), (2, 3), (3, 5), (3, 6), (5, 9)] {
        let before = balanced(low, &[]);
        assert_eq!(
            texts(&balanced(low, &balanced(high, &before))),
            texts(&before),
            "{low} to {high} and back"
        );
    }
}

#[test]
fn weights() {
    let weighted =
        |w: &[u16], present: &[SlotSet]| targets(&desired(3, Distribution::Weighted(w.to_vec())), present);
    let fresh = weighted(&[2, 1, 1], &[]);
    assert_eq!(texts(&fresh), ["0-8191", "8192-12287", "12288-16383"]);
    let even = balanced(3, &[]);
    let shifted = weighted(&[2, 1, 1], &even);
    assert_eq!(texts(&shifted), ["0-6826,10923-12287", "6827-10922", "12288-16383"]);
}

#[test]
fn declared_is_as_declared() {
    let sets: Vec<SlotSet> = balanced(3, &[]).into_iter().rev().collect();
    let declared = desired(3, Distribution::Declared(sets.clone()));
    assert_eq!(targets(&declared, &balanced(3, &[])), sets);
}

#[test]
fn lost_slots_return_to_their_neighbour() {
    let mut present = balanced(3, &[]);
    present[1] = present[1].difference(&(100..200).filter_map(|n| Slot::new(5461 + n)).collect());
    assert_eq!(texts(&balanced(3, &present)), THREE);
}

fn arbitrary_present() -> impl Strategy<Value = Vec<SlotSet>> {
    let cuts = prop::collection::vec((0..16384_u16, 0..7_u16), 0..20);
    cuts.prop_map(|mut cuts| {
        cuts.sort_unstable();
        let mut sets = vec![SlotSet::new(); 6];
        for (i, (start, shard)) in cuts.iter().enumerate() {
            let end = cuts.get(i + 1).map_or(16384, |next| next.0);
            // Shard 6 stands for nobody.
            if let Some(set) = sets.get_mut(usize::from(*shard)) {
                set.extend((*start..end).filter_map(Slot::new));
            }
        }
        sets
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everything_once_even_and_stable(present in arbitrary_present(), masters in 1..9_u16) {
        let after = balanced(masters, &present);
        let all = after.iter().fold(SlotSet::new(), |all, set| all.union(set));
        let counts: Vec<usize> = after.iter().map(SlotSet::len).collect();
        prop_assert_eq!(all.len(), 16384);
        prop_assert_eq!(counts.iter().sum::<usize>(), 16384);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        prop_assert_eq!(texts(&balanced(masters, &after)), texts(&after));
    }

    #[test]
    fn no_more_moves_than_needed(present in arbitrary_present(), masters in 1..9_u16) {
        let after = balanced(masters, &present);
        let owned: usize = present.iter().take(usize::from(masters)).map(SlotSet::len).sum();
        let gains = moved(&present, &after).len();
        let base = 16384 / usize::from(masters);
        let extra = 16384 % usize::from(masters);
        let mut over: Vec<usize> = present.iter().take(usize::from(masters)).map(SlotSet::len).collect();
        over.retain(|have| *have > base);
        // Whoever keeps base + 1 saves one move; at most `extra` may.
        let leave: usize = over.iter().map(|have| have - base).sum::<usize>() - over.len().min(extra);
        prop_assert_eq!(gains, 16384 - owned + leave);
    }

    #[test]
    fn stopping_anywhere_leads_to_the_same_end(low in 1..6_u16, high in 1..8_u16, stop in 0..16384_usize) {
        let before = balanced(low, &[]);
        let after = balanced(high, &before);
        let done: SlotSet = moved(&before, &after).iter().take(stop).collect();
        let mut halfway = before.clone();
        halfway.resize(usize::from(low.max(high)), SlotSet::new());
        for (i, set) in halfway.iter_mut().enumerate() {
            let gained = after.get(i).map(|a| a.intersection(&done)).unwrap_or_default();
            *set = set.difference(&done).union(&gained);
        }
        prop_assert_eq!(texts(&balanced(high, &halfway)), texts(&after));
    }
}
