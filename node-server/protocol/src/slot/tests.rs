use super::*;
use crate::key_slot;
use proptest::prelude::*;

#[test]
fn bounds() {
    assert_eq!(Slot::new(16_383), Some(Slot::LAST));
    assert_eq!(Slot::new(16_384), None);
    assert_eq!(Slot::all().count(), 16_384);
    assert_eq!(SlotRange::new(Slot::LAST, Slot::FIRST), None);
}

#[test]
fn texts_that_are_no_range() {
    for text in ["", "-", "1-", "-1", "16384", "2-1", "+1", "1-2-3", "1 - 2", "a", "99999999999"] {
        assert_eq!(text.parse::<SlotRange>(), Err(BadSlotRange(text.into())));
    }
}

proptest! {
    #[test]
    fn range_round_trip(a in 0..SLOT_COUNT, b in 0..SLOT_COUNT) {
        let range = SlotRange::new(Slot(a.min(b)), Slot(a.max(b))).unwrap();
        prop_assert_eq!(range.to_string().parse(), Ok(range));
        prop_assert_eq!(range.iter().count(), usize::from(range.count()));
    }

    #[test]
    fn any_text(text in ".{0,20}") {
        let _ = text.parse::<SlotRange>();
    }

    #[test]
    fn only_the_tag_decides(prefix in "[^{]{0,9}", tag in "[^{}]{1,9}", suffix in ".{0,9}") {
        let key = format!("{prefix}{{{tag}}}{suffix}");
        prop_assert_eq!(key_slot(key.as_bytes()), key_slot(tag.as_bytes()));
    }

    #[test]
    fn every_key_has_a_slot(key in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(key_slot(&key) <= Slot::LAST);
    }
}
