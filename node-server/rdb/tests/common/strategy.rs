//! Arbitrary values of all types, as any server may hold them.

use node_server_rdb::{Consumer, Entry, Field, Group, Pending, Scored, Stream, StreamId, Value};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Text that a decoder might take for something else, and some bytes.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (-5000_i64..5000).prop_map(|n| n.to_string().into_bytes()),
        1 => vec(any::<u8>(), 60..70),
        1 => (any::<u8>(), 100_usize..20_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

/// A time that fits all dialects.
fn time() -> impl Strategy<Value = u64> {
    1_u64..1 << 48
}

fn score() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN is no score", |score| !score.is_nan())
}

/// A value whose fields do not expire.
pub(crate) fn plain_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        bytes().prop_map(Value::String),
        vec(bytes(), 1..30).prop_map(Value::List),
        btree_set(bytes(), 1..30).prop_map(|members| Value::Set(members.into_iter().collect())),
        btree_map(bytes(), score(), 1..30).prop_map(sorted_set),
        btree_map(bytes(), (bytes(), Just(None)), 1..30).prop_map(hash),
        stream().prop_map(|stream| Value::Stream(Box::new(stream))),
    ]
}

/// A hash of which fields may expire.
pub(crate) fn expiring_hash() -> impl Strategy<Value = Value> {
    btree_map(bytes(), (bytes(), prop::option::of(time())), 1..20).prop_map(hash)
}

fn sorted_set(members: BTreeMap<Vec<u8>, f64>) -> Value {
    Value::SortedSet(members.into_iter().map(|(member, score)| Scored { member, score }).collect())
}

fn hash(fields: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>) -> Value {
    let field = |(name, (value, expire_at))| Field { name, value, expire_at };
    Value::Hash(fields.into_iter().map(field).collect())
}

fn id() -> impl Strategy<Value = StreamId> {
    prop_oneof![
        4 => (1_700_000_000_000_u64..1_700_000_010_000, 0_u64..5),
        2 => (0_u64..5, 0_u64..300),
        1 => (any::<u64>(), any::<u64>()),
    ]
    .prop_map(|(ms, seq)| StreamId { ms, seq })
}

fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![Just(b"a".to_vec()), Just(b"b".to_vec()), bytes()];
    prop_oneof![
        vec((name, bytes()), 1..5),
        bytes().prop_map(|value| vec![(b"same".to_vec(), value), (b"fields".to_vec(), Vec::new())]),
    ]
}

/// A stream, also an empty one.
pub(crate) fn stream() -> impl Strategy<Value = Stream> {
    let entries = btree_map(id(), fields(), 0..150);
    let groups = btree_map(bytes(), group(), 0..4);
    (entries, groups, id(), id(), any::<u64>()).prop_map(|(entries, groups, last, deleted, added)| {
        let greatest = entries.keys().next_back().copied().unwrap_or_default();
        Stream {
            first_id: entries.keys().next().copied().unwrap_or_default(),
            last_id: greatest.max(last),
            max_deleted_id: deleted,
            entries_added: added,
            groups: groups.into_iter().map(|(name, group)| Group { name, ..group }).collect(),
            entries: entries.into_iter().map(|(id, fields)| Entry { id, fields }).collect(),
        }
    })
}

fn group() -> impl Strategy<Value = Group> {
    let pending = btree_map(id(), (0..i64::MAX as u64, any::<u64>(), any::<prop::sample::Index>()), 0..20);
    let consumers = btree_map(bytes(), (time(), prop::option::of(time())), 0..4);
    let read = prop::option::of(0..i64::MAX as u64);
    (id(), read, pending, consumers).prop_map(|(last_id, entries_read, pending, consumers)| {
        let mut owned = vec![BTreeSet::new(); consumers.len()];
        let mut all = Vec::new();
        for (id, (delivered_at, deliveries, owner)) in pending {
            if owned.is_empty() {
                break;
            }
            let owner = owner.index(owned.len());
            owned[owner].insert(id);
            all.push(Pending { id, delivered_at, deliveries });
        }
        let consumer = |((name, (seen_at, active_at)), owned): (_, BTreeSet<_>)| Consumer {
            name,
            seen_at,
            active_at,
            pending: owned.into_iter().collect(),
        };
        let consumers = consumers.into_iter().zip(owned).map(consumer).collect();
        Group { name: Vec::new(), last_id, entries_read, pending: all, consumers }
    })
}

/// What a stream is after version 10, which does not keep when a consumer was last active.
pub(crate) fn without_activity(mut value: Value) -> Value {
    if let Value::Stream(stream) = &mut value {
        let consumers = stream.groups.iter_mut().flat_map(|group| &mut group.consumers);
        consumers.for_each(|consumer| consumer.active_at = Some(consumer.seen_at));
    }
    value
}
