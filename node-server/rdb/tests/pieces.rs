//! Streams that arrive in pieces: where the reader stands, what it says of an end that comes too early, and that it
//! takes linear time.

mod common;

use common::build::{length, string};
use node_server_rdb::writer::put_key;
use node_server_rdb::{Dialect, Field, Item, RdbError, Reader, Value, Writer};

fn file(value: &Value) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Plain);
    let mut key = Vec::new();
    put_key(&mut key, b"large", value, None, Dialect::Plain).expect("it can be written");
    writer.keys(&key);
    writer.finish();
    writer.take()
}

/// What a large value consists of arrives in the smallest pieces. Were the value decoded from its beginning with each,
/// that would be 10^10 elements.
#[test]
fn a_large_value_in_small_pieces_is_decoded_once() {
    let member = |n: u32| n.to_string().into_bytes();
    let fields = (0..60_000).map(|n| Field { name: member(n), value: b"v".to_vec(), expire_at: None });
    let values = [
        Value::Set((0..100_000).map(member).collect()),
        Value::Hash(fields.collect()),
        Value::List(vec![vec![b'x'; 1 << 20]; 2]),
    ];
    for value in values {
        let items = common::read(&file(&value), 3).expect("it is whole");
        assert!(items.contains(&Item::Key { key: b"large".to_vec(), value, expire_at: None }));
    }
}

/// What precedes a key has no end that is known beforehand.
#[test]
fn endless_opcodes_are_not_kept() {
    let mut reader = Reader::new();
    reader.feed(b"REDIS0010");
    for _ in 0..500_000 {
        reader.feed(&[249, 7]);
        assert_eq!(reader.next_item(), Ok(None));
    }
    assert_eq!(reader.position(), 9 + 1_000_000);
}

#[test]
fn the_position_is_where_the_wrong_piece_begins() {
    let element = string(b"0123456789");
    let body = [&[1, 1, b'k', 3][..], &element, &element, &[0xff]].concat();
    for piece in [1, 5, 100] {
        let mut reader = Reader::new();
        let error = [b"REDIS0010", &body[..]].concat().chunks(piece).find_map(|part| {
            reader.feed(part);
            reader.next_item().err()
        });
        let cause = Box::new(RdbError::Encoding("an element of a list"));
        let expected = RdbError::Key { key: "k".into(), cause };
        assert_eq!(error, Some(expected.clone()));
        assert_eq!(reader.position(), 9 + 4 + 22, "before the third element");
        assert_eq!(reader.next_item(), Err(expected), "it does not go on behind an error");
    }
}

#[test]
fn an_end_that_comes_too_early_is_named() {
    let whole = file(&Value::List(vec![b"element".to_vec()]));
    let mut reader = Reader::new();
    assert_eq!(reader.end_of_input(), Err(RdbError::Truncated("the header")));
    let mut named = Vec::new();
    for (at, byte) in whole.iter().enumerate() {
        reader.feed(&[*byte]);
        let item = reader.next_item().expect("it is good");
        assert_eq!(item.is_some(), at == whole.len() - 10 || at == whole.len() - 1, "{at}");
        if let Err(RdbError::Truncated(what)) = reader.end_of_input() {
            named.push(what);
        }
    }
    named.dedup();
    let expected = ["the header", "an opcode", "a key", "the length of a collection", "an element of a list"];
    assert_eq!(named, [&expected[..], &["an opcode", "the checksum"]].concat());
    assert_eq!(reader.position(), whole.len() as u64);
    assert_eq!(reader.end_of_input(), Ok(()));
}

#[test]
fn what_comes_behind_the_end_is_given_back() {
    let mut bytes = file(&Value::String(b"v".to_vec()));
    let end = bytes.len() as u64;
    bytes.extend(b"*1\r\n$4\r\nPING\r\n");
    let mut reader = Reader::new();
    reader.feed(&bytes);
    while reader.next_item().expect("it is good").is_some() {}
    assert_eq!(reader.position(), end);
    assert_eq!(reader.into_rest(), b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn a_checksum_is_checked_unless_it_is_zero_or_too_old() {
    let body = [&[0, 1, b'k'][..], &string(b"v"), &[0xff]].concat();
    let read =
        |header: &[u8], checksum: &[u8]| common::read(&[header, &body, checksum].concat(), 4).map(|_| ());
    assert_eq!(read(b"REDIS0010", &[0; 8]), Ok(()));
    assert!(matches!(read(b"REDIS0010", &[1; 8]), Err(RdbError::Checksum { .. })));
    assert!(matches!(read(b"VALKEY080", &[1; 8]), Err(RdbError::Checksum { .. })));
    assert_eq!(read(b"REDIS0004", &[]), Ok(()));
    for (file, is_checksummed) in [
        ([b"REDIS0010", &body[..], &[0; 8]].concat(), false),
        ([b"REDIS0004", &body[..]].concat(), false),
        (common::file(b"REDIS0010", &body[..body.len() - 1]), true),
    ] {
        let mut reader = Reader::new();
        reader.feed(&file);
        while reader.next_item().expect("it is good").is_some() {}
        assert_eq!(reader.is_checksummed(), is_checksummed);
    }
}

#[test]
fn what_precedes_keys_is_read_and_unknown_fields_are_told() {
    let aux = [&[250][..], &string(b"of the future"), &string(b"12")].concat();
    let sizes = [&[251][..], &length(3), &length(1), &[244], &length(5), &length(2), &length(1)].concat();
    let key =
        [&[253][..], &7_i32.to_le_bytes(), &[248, 9, 249, 200], &[0], &string(b"k"), &string(b"v")].concat();
    let past = [&[252][..], &(-5_i64).to_le_bytes(), &[0], &string(b"p"), &string(b"v")].concat();
    let without = [&[0][..], &string(b"w"), &string(b"v")].concat();
    let body = [aux, vec![254, 3], sizes, key, past, without].concat();
    let items = common::read(&common::file(b"REDIS0012", &body), 1).expect("it is good");
    let string_key = |key: &[u8], expire_at| Item::Key {
        key: key.to_vec(),
        value: Value::String(b"v".to_vec()),
        expire_at,
    };
    let expected = [
        Item::Aux { name: b"of the future".to_vec(), value: b"12".to_vec() },
        Item::Select(3),
        string_key(b"k", Some(7000)),
        string_key(b"p", Some(0)),
        string_key(b"w", None),
        Item::End,
    ];
    assert_eq!(items, expected);
}
