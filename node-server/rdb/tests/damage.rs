//! Damage that a right checksum hides: each rule of each encoding is broken once, and the error names it.

mod common;

use common::build::{Zip, intset, length, listpack, packed, string, ziplist, zipmap};
use node_server_rdb::{RdbError, decode_dump};

fn error(body: &[u8], version: u16) -> String {
    match decode_dump(&common::payload(body, version)) {
        Ok(value) => panic!("{body:?} is taken as {value:?}"),
        Err(error) => error.to_string(),
    }
}

fn check(body: &[u8], problem: &str) {
    let error = error(body, 10);
    assert!(error.contains(problem), "{error:?} should say {problem:?} of {body:?}");
}

/// The container with one byte changed.
fn with(container: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = container.to_vec();
    changed[at] = byte;
    changed
}

const PAIR: [Zip<'static>; 2] = [Zip::Text(b"ab"), Zip::Integer(5)];

#[test]
fn listpacks() {
    let good = listpack(&PAIR);
    decode_dump(&common::payload(&packed(17, &good), 10)).expect("it is good before it is damaged");
    // 6 header, 1 + 2 text, back-length at 9, number at 10, back-length at 11, end at 12.
    check(&packed(17, &with(&good, 0, 14)), "another length");
    check(&packed(17, &with(&good, 4, 3)), "another count");
    check(&packed(17, &with(&good, 9, 2)), "back-length");
    check(&packed(17, &with(&good, 11, 9)), "back-length");
    check(&packed(17, &with(&good, 6, 0xbf)), "ends early");
    check(&packed(17, &with(&good, 6, 0xf0)), "ends early");
    check(&packed(17, &with(&good, 6, 0xf7)), "no known encoding");
    check(&packed(17, &with(&good, 12, 0)), "back-length");
    check(&packed(17, &with(&good, 10, 0xff)), "behind its end");
    check(&packed(17, &good[..3]), "ends early");
    check(&packed(16, &listpack(&PAIR[..1])), "multiple");
    check(&packed(17, &listpack(&PAIR[..1])), "multiple");
    // A count of 65535 says that it must be counted.
    let uncounted = with(&with(&good, 4, 0xff), 5, 0xff);
    decode_dump(&common::payload(&packed(17, &uncounted), 10)).expect("it is counted");
}

#[test]
fn ziplists() {
    let good = ziplist(&PAIR);
    decode_dump(&common::payload(&packed(12, &good), 10)).expect("it is good before it is damaged");
    // 10 header, previous length at 10, length at 11, text, previous length at 14, number at 15, end at 16.
    check(&packed(12, &with(&good, 0, 99)), "another length");
    check(&packed(12, &with(&good, 4, 10)), "another last entry");
    check(&packed(12, &with(&good, 8, 1)), "another count");
    check(&packed(12, &with(&good, 10, 1)), "the one before");
    check(&packed(12, &with(&good, 14, 3)), "the one before");
    check(&packed(12, &with(&good, 11, 0x3f)), "ends early");
    check(&packed(12, &with(&good, 11, 0x80)), "ends early");
    check(&packed(12, &with(&good, 15, 0xff)), "no known encoding");
    check(&packed(12, &with(&good, 14, 0xff)), "behind its end");
    check(&packed(13, &ziplist(&PAIR[..1])), "multiple");
}

#[test]
fn intsets() {
    check(&packed(11, &intset(2, &[2, 1])), "not ascending");
    check(&packed(11, &intset(2, &[1, 1])), "not ascending");
    check(&packed(11, &intset(2, &[])), "another length");
    check(&packed(11, &intset(3, &[1])), "2, 4 or 8");
    check(&packed(11, &with(&intset(4, &[1, 2]), 4, 3)), "another length");
    check(&packed(11, &with(&intset(8, &[1, 2]), 7, 0xff)), "another length");
}

#[test]
fn zipmaps() {
    let good = zipmap(&[(b"f", b"v")], 1);
    // Count, 1 f, 1 1 v ?, end.
    check(&packed(9, &with(&good, 0, 2)), "another count");
    check(&packed(9, &with(&good, 1, 200)), "ends early");
    check(&packed(9, &with(&good, 3, 0xff)), "no value");
    check(&packed(9, &with(&good, 3, 0xfe)), "ends early");
    check(&packed(9, &with(&good, 4, 99)), "ends early");
    check(&packed(9, &with(&good, 1, 0xff)), "behind its end");
    check(&packed(9, &zipmap(&[(b"f", b"v"), (b"f", b"w")], 0)), "twice");
    check(&packed(9, b""), "ends early");
}

#[test]
fn members_and_fields_that_are_there_twice() {
    let twice = [Zip::Text(b"a"), Zip::Integer(1), Zip::Text(b"a"), Zip::Integer(2)];
    check(&[&[2, 2][..], &string(b"a"), &string(b"a")].concat(), "twice");
    check(&packed(20, &listpack(&twice)), "twice");
    for kind in [16, 17] {
        check(&packed(kind, &listpack(&twice)), "twice");
    }
    for kind in [12, 13] {
        check(&packed(kind, &ziplist(&twice)), "twice");
    }
    let pair = [string(b"a"), string(b"v")].concat();
    check(&[&[4, 2][..], &pair, &pair].concat(), "twice");
    let scored = [string(b"a"), 1_f64.to_le_bytes().to_vec()].concat();
    check(&[&[5, 2][..], &scored, &scored].concat(), "twice");
    // A number and the same as text are one member.
    check(&[&[2, 2][..], &string(b"1"), b"\x011"].concat(), "twice");
}

#[test]
fn scores_that_are_no_numbers() {
    check(&[&[5, 1][..], &string(b"a"), &f64::NAN.to_le_bytes()].concat(), "not a number");
    check(&[&[3, 1][..], &string(b"a"), &[253]].concat(), "not a number");
    check(&[&[3, 1][..], &string(b"a"), b"\x03nan"].concat(), "a score");
    check(&[&[3, 1][..], &string(b"a"), b"\x031,5"].concat(), "a score");
    check(&packed(17, &listpack(&[Zip::Text(b"a"), Zip::Text(b"nan")])), "not a number");
    check(&packed(12, &ziplist(&[Zip::Text(b"a"), Zip::Text(b"")])), "not a number");
}

#[test]
fn empty_collections() {
    for kind in [1, 2, 3, 4, 5, 14, 18] {
        check(&[kind, 0], "without elements");
    }
    for kind in [10, 12, 13] {
        check(&packed(kind, &ziplist(&[])), "without elements");
    }
    for kind in [16, 17, 20, 23] {
        check(&packed(kind, &listpack(&[])), "without elements");
    }
    check(&packed(9, &zipmap(&[], 0)), "without elements");
    // In a file such a key is passed over, as Redis does, and counted.
    let file = common::file(b"REDIS0010", &[&[1, 1, b'k', 0][..], &[0, 1, b'l', 1, b'v']].concat());
    let items = common::read(&file, 1).expect("the file is good");
    assert_eq!(items.len(), 2);
    let mut reader = node_server_rdb::Reader::new();
    reader.feed(&file);
    while reader.next_item().expect("the file is good").is_some() {}
    assert_eq!(reader.empty_keys(), 1);
}

#[test]
fn nodes_of_lists() {
    let node = |container: u64, bytes: &[u8]| [&[18, 1][..], &length(container), &string(bytes)].concat();
    check(&node(1, b""), "a node of a list");
    check(&node(0, b"x"), "a node of a list");
    check(&node(3, &listpack(&PAIR)), "a node of a list");
    check(&node(2, b"x"), "ends early");
    check(&[&[14, 1][..], &string(b"")].concat(), "ends early");
}

#[test]
fn lengths_that_lie_take_no_memory() {
    let many = length(u64::MAX / 2);
    for kind in [1, 2, 3, 4, 5, 14, 18, 15, 19, 21] {
        error(&[&[kind][..], &many, b"\x01a"].concat(), 10);
        assert!(error(&[&[kind][..], &many].concat(), 10).contains("ends in the middle"));
    }
    for kind in [22, 24] {
        error(&[&[kind][..], &many, &many, &many].concat(), 14);
        error(&[&[kind][..], &many, b"\x01a"].concat(), 80);
    }
    // 264 times what is there at most.
    check(&[&[0, 0xc3][..], &length(3), &length(1 << 40), b"\x00a\x00"].concat(), "LZF");
}

#[test]
fn expiries_that_cannot_be() {
    let field = [string(b"f"), string(b"v")].concat();
    let valkey = |time: i64| [&[22, 1][..], &field, &time.to_le_bytes()].concat();
    assert!(error(&valkey(-2), 80).contains("expiry"));
    let redis =
        |kind: u8, before: &[u8], time: u64| [&[kind][..], before, &[1], &length(time), &field].concat();
    assert!(error(&redis(22, &[], 1 << 48), 12).contains("expiry"));
    assert!(error(&redis(24, &((1_u64 << 48) - 1).to_le_bytes(), 2), 12).contains("expiry"));
    assert!(error(&redis(24, &i64::MAX.to_le_bytes(), u64::MAX), 12).contains("expiry"));
    let triple = [Zip::Text(b"f"), Zip::Text(b"v"), Zip::Text(b"soon")];
    let body = [&[25][..], &[0; 8], &string(&listpack(&triple))].concat();
    assert!(error(&body, 12).contains("expiry"));
}

#[test]
fn what_is_not_held_is_named() {
    let module = |kind: u8| [&[kind, 0x81][..], &(0x4040_u64 << 10 | 7).to_be_bytes(), b"rest"].concat();
    for kind in [6, 7] {
        let refused = error(&module(kind), 10);
        assert!(refused.contains("\"AAAAAAEBA\"") && refused.contains("version 7"), "{refused}");
    }
    for (kind, name) in
        [(26, "STREAM_LISTPACKS_4"), (27, "STREAM_LISTPACKS_5"), (28, "ARRAY"), (29, "GCRA"), (8, "unknown")]
    {
        let refused = error(&[kind, 0], 14);
        assert!(refused.contains(name) && refused.contains(&format!("type {kind}")), "{refused}");
    }
    let stream = |header: &[u8], body: &[u8]| common::read(&[header, body].concat(), 1).expect_err("refused");
    assert_eq!(stream(b"REDIS0013", &[243, 1]), RdbError::Opcode(243));
    assert_eq!(stream(b"REDIS0010", &[246, 1]), RdbError::Opcode(246));
    assert_eq!(stream(b"REDIS0012", &[200, 1]), RdbError::Opcode(200));
    let aux = stream(b"REDIS0010", &[247, 0, 2, 1]);
    assert_eq!(aux, RdbError::ModuleAux { module: "AAAAAAAAA".into() });
    assert!(stream(b"REDIS0013", &[243, 1]).to_string().contains("KEY_META"));
}
