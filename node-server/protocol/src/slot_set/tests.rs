use super::*;
use proptest::collection::btree_set;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn members() -> impl Strategy<Value = BTreeSet<u16>> {
    prop_oneof![btree_set(0..SLOT_COUNT, 0..40), btree_set(0..80u16, 0..80), Just((0..SLOT_COUNT).collect())]
}

fn set(members: &BTreeSet<u16>) -> SlotSet {
    members.iter().filter_map(|n| Slot::new(*n)).collect()
}

fn numbers(set: &SlotSet) -> BTreeSet<u16> {
    set.iter().map(Slot::number).collect()
}

#[test]
fn text() {
    assert_eq!(SlotSet::new().to_string(), "-");
    assert_eq!(SlotSet::full().to_string(), "0-16383");
    assert_eq!(set(&[0, 1, 2, 5, 16_383].into()).to_string(), "0-2,5,16383");
}

#[test]
fn lowest_slot_is_lowest_bit_of_first_byte() {
    let bitmap = set(&[0, 9, 16_383].into()).to_bitmap();
    assert_eq!((bitmap[0], bitmap[1], bitmap[2047]), (1, 2, 128));
    assert_eq!(SlotSet::full().to_bitmap(), [0xff; 2048]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn holds_what_was_put_in(members in members()) {
        let set = set(&members);
        prop_assert_eq!(numbers(&set), members.clone());
        prop_assert_eq!(set.len(), members.len());
        prop_assert_eq!(set.is_empty(), members.is_empty());
    }

    #[test]
    fn bitmap_round_trip(members in members()) {
        let set = set(&members);
        prop_assert_eq!(SlotSet::from_bitmap(&set.to_bitmap()), set);
    }

    #[test]
    fn ranges_are_the_set_and_never_touch(members in members()) {
        let set = set(&members);
        let ranges = set.ranges();
        for pair in ranges.windows(2) {
            prop_assert!(pair[0].end().number() + 1 < pair[1].start().number());
        }
        prop_assert_eq!(ranges.into_iter().collect::<SlotSet>(), set);
    }

    #[test]
    fn set_algebra(a in members(), b in members()) {
        let (x, y) = (set(&a), set(&b));
        prop_assert_eq!(numbers(&x.union(&y)), a.union(&b).copied().collect());
        prop_assert_eq!(numbers(&x.intersection(&y)), a.intersection(&b).copied().collect());
        prop_assert_eq!(numbers(&x.difference(&y)), a.difference(&b).copied().collect());
    }

    #[test]
    fn insert_and_remove_say_what_changed(members in members(), n in 0..SLOT_COUNT) {
        let mut set = set(&members);
        let slot = Slot::new(n).unwrap();
        prop_assert_eq!(set.insert(slot), !members.contains(&n));
        prop_assert!(set.contains(slot));
        prop_assert!(set.remove(slot) && !set.contains(slot) && !set.remove(slot));
    }
}
