//! Tables against std's maps. `tools/check-unsafe.sh` runs them under Miri, which sees every wrong use of memory.

use super::collection::Collection;
use super::hash::HashKeys;
use super::table::Table;
use super::value::{Content, EMBEDDED_BYTES_MAX, Text, Value, ValueRef};
use node_server_protocol::Millis;
use node_server_rdb::{self as rdb, Field};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

/// What a key is set to.
#[derive(Clone, Debug, PartialEq)]
enum Set {
    Int(i64),
    Bytes(usize),
    Grown(usize),
    Hash { field_expires: bool },
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, Set, Option<u64>),
    Append(u8),
    Increment(u8),
    Remove(u8),
    Expire(u8, Option<u64>),
    Touch(u8, u32),
}

impl Set {
    fn value(&self) -> Value {
        match *self {
            Self::Int(n) => Value::String(Text::Int(n)),
            Self::Bytes(len) => Value::String(Text::Raw(vec![b'v'; len])),
            Self::Grown(len) => {
                let mut text = Text::Raw(vec![b'g'; len]);
                text.edit(|bytes| bytes.push(b'+'));
                Value::String(text)
            }
            Self::Hash { field_expires } => {
                let expire_at = field_expires.then_some(7);
                let field = Field { name: b"f".to_vec(), value: b"v".to_vec(), expire_at };
                Value::Collection(Box::new(Collection::new(rdb::Value::Hash(vec![field]))))
            }
        }
    }
}

fn set() -> impl Strategy<Value = Set> {
    prop_oneof![
        2 => any::<i64>().prop_map(Set::Int),
        4 => (0_usize..80).prop_map(Set::Bytes),
        1 => prop_oneof![Just(255), Just(256), Just(EMBEDDED_BYTES_MAX), Just(EMBEDDED_BYTES_MAX + 1)].prop_map(Set::Bytes),
        1 => (0_usize..300).prop_map(Set::Grown),
        1 => any::<bool>().prop_map(|field_expires| Set::Hash { field_expires }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let at = || prop::option::of(1_u64..100);
    prop_oneof![
        6 => (any::<u8>(), set(), at()).prop_map(|(k, v, e)| Op::Insert(k, v, e)),
        1 => any::<u8>().prop_map(Op::Append),
        1 => any::<u8>().prop_map(Op::Increment),
        3 => any::<u8>().prop_map(Op::Remove),
        1 => (any::<u8>(), at()).prop_map(|(k, e)| Op::Expire(k, e)),
        1 => (any::<u8>(), any::<u32>()).prop_map(|(k, s)| Op::Touch(k, s)),
    ]
}

/// A poor one, so that probing is tried: sixteen tags for all keys, and some keys have even the same hash.
struct Poor;

impl HashKeys for Poor {
    fn hash(&self, key: &[u8]) -> u64 {
        let first = u64::from(key[0]);
        (first % 16) * 0x1111_0000_0000_0000 + (first / 64) * 0x0000_5555_5555_0000
    }
}

/// Names of one byte, and some that are too long for a short header.
fn name(k: u8) -> Vec<u8> {
    if k.is_multiple_of(7) { vec![k; 300] } else { vec![k] }
}

fn position(table: &Table, k: u8) -> Option<usize> {
    table.position(Poor.hash(&name(k)), &name(k))
}

struct Model {
    value: Value,
    expire_at: Option<u64>,
    used_s: u32,
}

/// As a key shows it.
fn stored(value: &Value) -> ValueRef<'_> {
    match value {
        Value::String(text) => ValueRef::String(text.as_ref()),
        Value::Collection(collection) => ValueRef::Collection(collection),
    }
}

fn append(value: &mut Value) {
    if let Value::String(text) = value {
        text.edit(|bytes| bytes.extend_from_slice(b"more"));
    }
}

fn increment(value: &mut Value) {
    if let Value::String(text @ Text::Int(_)) = value {
        let Text::Int(n) = *text else { return };
        *text = Text::Int(n.wrapping_add(1));
    }
}

fn step(table: &mut Table, model: &mut HashMap<u8, Model>, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Insert(k, v, e) => {
            let new = table.insert(&Poor, &name(k), v.value().into(), e.map(Millis), 5);
            let entry = Model { value: v.value(), expire_at: e, used_s: 5 };
            prop_assert_eq!(new, model.insert(k, entry).is_none());
        }
        Op::Append(k) => {
            if let Some(at) = position(table, k) {
                table.update_at(at, append);
            }
            model.entry(k).and_modify(|m| append(&mut m.value));
        }
        Op::Increment(k) => {
            if let Some(at) = position(table, k) {
                table.update_at(at, increment);
            }
            model.entry(k).and_modify(|m| increment(&mut m.value));
        }
        Op::Remove(k) => {
            let removed = position(table, k).and_then(|at| table.remove_at(&Poor, at));
            let expected = model.remove(&k).map(|m| m.value);
            prop_assert_eq!(removed.as_ref().map(|e| e.key().to_vec()), expected.as_ref().map(|_| name(k)));
            prop_assert_eq!(removed.map(super::Entry::into_value), expected);
        }
        Op::Expire(k, e) => {
            if let Some(at) = position(table, k) {
                table.set_expiry_at(at, e.map(Millis));
            }
            model.entry(k).and_modify(|m| m.expire_at = e);
        }
        Op::Touch(k, s) => {
            if let Some(at) = position(table, k) {
                table.touch_at(at, s);
            }
            model.entry(k).and_modify(|m| m.used_s = s);
        }
    }
    Ok(())
}

/// What the table has counted is what it has.
fn check_books(table: &Table, model: &HashMap<u8, Model>) -> Result<(), TestCaseError> {
    prop_assert_eq!(table.len(), model.len());
    prop_assert_eq!(table.volatile(), model.values().filter(|m| m.expire_at.is_some()).count());
    let expires = |m: &&Model| matches!(&m.value, Value::Collection(c) if c.has_field_expiry());
    prop_assert_eq!(table.expiring_hashes(), model.values().filter(expires).count());
    prop_assert_eq!(table.entry_bytes(), table.iter().map(super::Entry::bytes).sum::<usize>());
    prop_assert!(table.soonest() <= model.values().filter_map(|m| m.expire_at).min());
    Ok(())
}

fn cases(many: u32) -> ProptestConfig {
    // Under Miri everything takes hundreds of times as long, and no file may be written.
    let config = ProptestConfig::with_cases(if cfg!(miri) { 2 } else { many });
    ProptestConfig {
        failure_persistence: if cfg!(miri) { None } else { config.failure_persistence.clone() },
        ..config
    }
}

const OPS_MAX: usize = if cfg!(miri) { 80 } else { 500 };

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn does_what_a_map_does(ops in prop::collection::vec(op(), 0..OPS_MAX)) {
        let mut table = Table::default();
        let mut model = HashMap::new();
        for op in ops {
            step(&mut table, &mut model, op)?;
            check_books(&table, &model)?;
        }
        for (k, m) in &model {
            let entry = table.get(Poor.hash(&name(*k)), &name(*k)).expect("in the model");
            prop_assert_eq!(&entry.value().to_owned(), &m.value);
            prop_assert_eq!(entry.value().encoding(), stored(&m.value).encoding());
            prop_assert_eq!(entry.expire_at(), m.expire_at.map(Millis));
            prop_assert_eq!(entry.idle_s(m.used_s.wrapping_add(3)), 3);
        }
        let expired: BTreeSet<Vec<u8>> = table.expired(Millis(50), usize::MAX).iter().map(|k| k.to_vec()).collect();
        let expected = model.iter().filter(|(_, m)| m.expire_at.is_some_and(|e| e <= 50)).map(|(k, _)| name(*k));
        prop_assert_eq!(expired, expected.collect::<BTreeSet<_>>());
    }

    #[test]
    fn a_scan_sees_all_that_stays(
        keys in prop::collection::btree_set(any::<u8>(), 1..200),
        gone in any::<u8>(),
        added in prop::collection::btree_set(any::<u8>(), 0..200),
        changes in 0..40,
    ) {
        let mut table = Table::default();
        let insert = |table: &mut Table, k: u8| {
            table.insert(&Poor, &name(k), Content::Int(0), None, 0);
        };
        keys.iter().for_each(|k| insert(&mut table, *k));
        let mut seen = BTreeSet::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            cursor = table.scan(&Poor, cursor, |e| { seen.insert(e.key()[0]); });
            calls += 1;
            prop_assert!(calls < 1000 && cursor < 1 << 48, "the scan ends");
            if cursor == 0 {
                break;
            }
            // The table changes its size under the scan.
            if calls == changes {
                for k in keys.iter().filter(|k| **k > gone) {
                    let at = position(&table, *k).expect("inserted");
                    table.remove_at(&Poor, at);
                }
            } else if calls == changes / 2 {
                added.iter().for_each(|k| insert(&mut table, *k));
            }
        }
        let stayed: Vec<u8> = keys.iter().copied().filter(|k| *k <= gone).collect();
        prop_assert!(stayed.iter().all(|k| seen.contains(k)), "{stayed:?} {seen:?}");
    }

    #[test]
    fn a_quiet_scan_sees_everything_once(keys in prop::collection::btree_set(any::<u8>(), 1..256)) {
        let mut table = Table::default();
        keys.iter().for_each(|k| { table.insert(&Poor, &name(*k), Content::Int(0), None, 0); });
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = table.scan(&Poor, cursor, |e| seen.push(e.key()[0]));
            if cursor == 0 {
                break;
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());
    }
}

/// A good hash: tables grow and shrink through all sizes, by tags and by hashes.
#[test]
fn every_size_up_and_down() {
    let hasher = super::hash::KeyHasher::new(1);
    let mut table = Table::default();
    let count = if cfg!(miri) { 70_u32 } else { 5000 };
    for n in 0..count {
        assert!(table.insert(&hasher, &n.to_le_bytes(), Content::Int(n.into()), None, 0));
    }
    for n in 0..count {
        for other in [n, count - 1] {
            let entry = table.get(hasher.hash(&other.to_le_bytes()), &other.to_le_bytes());
            assert_eq!(entry.map(|e| e.value().to_owned()), Some(Value::String(Text::Int(other.into()))));
        }
        let at = table.position(hasher.hash(&n.to_le_bytes()), &n.to_le_bytes()).expect("inserted");
        table.prefetch_entry(hasher.hash(&n.to_le_bytes()));
        assert!(table.remove_at(&hasher, at).is_some());
        if n == count - 2 {
            assert!(table.bytes() < 200, "a table of one key is small: {}", table.bytes());
        }
    }
    assert_eq!((table.bytes(), table.hint()), (0, 0));
}

/// What the sizes of names and values that are most common cost: a header of 6 bytes fits in.
#[test]
fn common_sizes_fill_their_classes() {
    for (len, bytes) in [(3, 32), (16, 32), (64, 80)] {
        let mut table = Table::default();
        table.insert(&Poor, b"key:123456", Content::text(&vec![b'x'; len]), None, 0);
        assert_eq!(table.entry_bytes(), bytes, "of {len} bytes");
    }
}

#[test]
fn entries_go_to_other_threads() {
    let mut table = Table::default();
    table.insert(&Poor, b"k", Set::Grown(3).value().into(), None, 0);
    let len = std::thread::spawn(move || table.get(Poor.hash(b"k"), b"k").map(|e| e.key().len())).join();
    assert_eq!(len.unwrap(), Some(1));
}
