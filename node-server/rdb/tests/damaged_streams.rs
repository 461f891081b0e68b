//! Streams that break one rule each, behind a right checksum; and that such streams are not written either.

mod common;

use common::build::{Zip, length, listpack, string};
use node_server_rdb::{
    Consumer, Entry, Group, Pending, RdbError, Stream, StreamId, Value, decode_dump, encode_dump,
};

fn check(body: &[u8], problem: &str) {
    let error = decode_dump(&common::payload(body, 10)).expect_err(problem).to_string();
    assert!(error.contains(problem), "{error:?} should say {problem:?}");
}

/// A stream of type 19 with one node of these elements: `length` entries, the last with this identifier.
fn stream(elements: &[Zip<'_>], len: u64, last_ms: u64) -> Vec<u8> {
    let node = [string(&[0; 16]), string(&listpack(elements))].concat();
    [&[19, 1][..], &node, &length(len), &length(last_ms), &[0, 1, 0, 0, 0], &length(len), &[0]].concat()
}

/// Two entries 1-0 and 2-0 of which the second is deleted.
const GOOD: [i64; 16] = [1, 1, 1, 102, 0, 2, 1, 0, 5, 4, 3, 2, 0, 6, 4, -1];

fn elements(change: &[(usize, i64)]) -> Vec<Zip<'static>> {
    let mut numbers = GOOD;
    for (at, number) in change {
        numbers[*at] = *number;
    }
    numbers.iter().filter(|n| **n >= 0).map(|n| Zip::Integer(*n)).collect()
}

#[test]
fn nodes() {
    let good = decode_dump(&common::payload(&stream(&elements(&[]), 1, 2), 10)).expect("it is good");
    assert_eq!(good.type_name(), "stream");
    check(&stream(&elements(&[(0, 2)]), 1, 2), "other counts");
    check(&stream(&elements(&[(1, 0)]), 1, 2), "other counts");
    check(&stream(&elements(&[(4, 1)]), 1, 2), "does not end in 0");
    check(&stream(&elements(&[(2, 100)]), 1, 2), "ends in the middle");
    check(&stream(&elements(&[(5, 4)]), 1, 2), "unknown flags");
    check(&stream(&elements(&[(9, 5)]), 1, 2), "another length");
    check(&stream(&elements(&[(14, -1)]), 1, 2), "ends in the middle");
    check(&stream(&elements(&[]), 2, 2), "length is not that of its entries");
    check(&stream(&elements(&[]), 1, 0), "behind the last identifier");
    check(&stream(&elements(&[(10, 2), (0, 2), (1, 0), (11, 1)]), 2, 2), "not in order");
    check(&stream(&[], 0, 2), "ends in the middle");
    let mut text = elements(&[]);
    text[6] = Zip::Text(b"x");
    check(&stream(&text, 1, 2), "text in a number's place");
    check(&[&[19, 1][..], &string(&[0; 15]), &string(&listpack(&[]))].concat(), "key of a stream's node");
}

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: 0 }
}

fn pending(ms: u64) -> Pending {
    Pending { id: id(ms), delivered_at: 7, deliveries: 1 }
}

fn consumer(name: &str, owned: &[u64]) -> Consumer {
    let pending = owned.iter().map(|ms| id(*ms)).collect();
    Consumer { name: name.into(), seen_at: 9, active_at: Some(9), pending }
}

fn group(listed: &[u64], consumers: &[Consumer]) -> Group {
    let pending = listed.iter().map(|ms| pending(*ms)).collect();
    Group { name: b"g".to_vec(), pending, consumers: consumers.to_vec(), ..Group::default() }
}

/// The groups as type 19 has them.
fn with_groups(groups: &[Group]) -> Vec<u8> {
    let mut out = [&[19, 0, 0, 9, 0, 0, 0, 0, 0, 0][..], &length(groups.len() as u64)].concat();
    for group in groups {
        out.extend([string(&group.name), vec![0, 0, 0], length(group.pending.len() as u64)].concat());
        for pending in &group.pending {
            out.extend([&pending.id.to_bytes()[..], &pending.delivered_at.to_le_bytes(), &[1]].concat());
        }
        out.extend(length(group.consumers.len() as u64));
        for consumer in &group.consumers {
            out.extend([string(&consumer.name), consumer.seen_at.to_le_bytes().to_vec()].concat());
            out.extend(length(consumer.pending.len() as u64));
            out.extend(consumer.pending.iter().flat_map(|id| id.to_bytes()));
        }
    }
    out
}

#[test]
fn groups() {
    let good = group(&[1, 2], &[consumer("a", &[2]), consumer("b", &[1])]);
    let written = with_groups(std::slice::from_ref(&good));
    decode_dump(&common::payload(&written, 10)).expect("it is good before it is damaged");
    let bad: [(&[Group], &str); 8] = [
        (&[good.clone(), good], "consumer group is there twice"),
        (&[group(&[2, 1], &[])], "pending entries are not in order"),
        (&[group(&[1, 1], &[consumer("a", &[1])])], "pending entries are not in order"),
        (&[group(&[1], &[])], "has no consumer"),
        (&[group(&[1], &[consumer("a", &[1]), consumer("b", &[1])])], "pending for two"),
        (&[group(&[1], &[consumer("a", &[1, 2])])], "not its group's"),
        (&[group(&[1, 2], &[consumer("a", &[2, 1])])], "not in order"),
        (&[group(&[], &[consumer("a", &[]), consumer("a", &[])])], "consumer is there twice"),
    ];
    for (groups, problem) in bad {
        check(&with_groups(groups), problem);
        let stream = Stream { last_id: id(9), groups: groups.to_vec(), ..Stream::default() };
        let error = encode_dump(&Value::Stream(Box::new(stream)));
        assert!(matches!(error, Err(RdbError::Unwritable { problem: said, .. }) if said.contains(problem)));
    }
}

#[test]
fn entries_that_are_not_in_order_are_not_written() {
    let entry = |ms| Entry { id: id(ms), fields: vec![(b"f".to_vec(), b"v".to_vec())] };
    for (entries, last_id) in [([entry(2), entry(1)], id(3)), ([entry(1), entry(2)], id(1))] {
        let stream = Stream { entries: entries.to_vec(), last_id, ..Stream::default() };
        let error = encode_dump(&Value::Stream(Box::new(stream))).expect_err("no server would take it");
        assert!(matches!(error, RdbError::Unwritable { kind: "stream", .. }), "{error}");
    }
}

#[test]
fn a_long_key_is_cut_in_an_error() {
    let body = [&[28][..], &string(&[b'k'; 100_000])].concat();
    let error = common::read(&common::file(b"REDIS0014", &body), 1000).expect_err("arrays are not held");
    assert!(error.to_string().len() < 300 && error.to_string().contains("kkk..."), "{error}");
}
