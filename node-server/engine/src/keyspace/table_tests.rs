use super::table::Table;
use super::value::{Text, Value};
use node_server_protocol::Millis;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u8, Option<u64>),
    Remove(u8),
    Expire(u8, Option<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<u8>(), any::<u8>(), prop::option::of(1_u64..100)).prop_map(|(k, v, e)| Op::Insert(k, v, e)),
        2 => any::<u8>().prop_map(Op::Remove),
        1 => (any::<u8>(), prop::option::of(1_u64..100)).prop_map(|(k, e)| Op::Expire(k, e)),
    ]
}

/// A poor hash, so that probing is tried.
fn hash(key: u8) -> u64 {
    u64::from(key % 16) * 0x9e37_79b9 + u64::from(key / 64)
}

fn text(v: u8) -> Value {
    Value::String(Text::Raw(vec![v]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn does_what_a_map_does(ops in prop::collection::vec(op(), 0..300)) {
        let mut table = Table::default();
        let mut model: BTreeMap<u8, (u8, Option<u64>)> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(k, v, e) => {
                    let new = table.insert(hash(k), &[k], text(v), e.map(Millis), 0);
                    prop_assert_eq!(new, model.insert(k, (v, e)).is_none());
                }
                Op::Remove(k) => {
                    prop_assert_eq!(table.remove(hash(k), &[k]).is_some(), model.remove(&k).is_some());
                }
                Op::Expire(k, e) => {
                    prop_assert_eq!(table.set_expiry(hash(k), &[k], e.map(Millis)), model.contains_key(&k));
                    model.entry(k).and_modify(|m| m.1 = e);
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.volatile(), model.values().filter(|m| m.1.is_some()).count());
        }
        for (k, (v, e)) in &model {
            let entry = table.get(hash(*k), &[*k]).expect("in the model");
            prop_assert_eq!(&entry.value, &text(*v));
            prop_assert_eq!(entry.expire_at(), e.map(Millis));
        }
        let expired: BTreeSet<u8> = table.expired(Millis(50), usize::MAX).iter().map(|k| k[0]).collect();
        let expected: BTreeSet<u8> = model.iter().filter(|(_, m)| m.1.is_some_and(|e| e <= 50)).map(|(k, _)| *k).collect();
        prop_assert_eq!(expired, expected);
    }

    #[test]
    fn a_scan_sees_all_that_stays(keys in prop::collection::btree_set(any::<u8>(), 1..200), gone in any::<u8>()) {
        let mut table = Table::default();
        for k in &keys {
            table.insert(hash(*k), &[*k], text(0), None, 0);
        }
        let mut seen = BTreeSet::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            cursor = table.scan(cursor, |e| { seen.insert(e.key()[0]); });
            calls += 1;
            prop_assert!(calls < 100_000, "the scan ends");
            if cursor == 0 {
                break;
            }
            // The table changes its size under the scan.
            if calls == 3 {
                for k in keys.iter().filter(|k| **k > gone) {
                    table.remove(hash(*k), &[*k]);
                }
            }
        }
        let stayed: Vec<u8> = keys.iter().copied().filter(|k| *k <= gone).collect();
        prop_assert!(stayed.iter().all(|k| seen.contains(k)));
    }
}
