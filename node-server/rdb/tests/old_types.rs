//! Types that the servers at hand do not write: bytes made by hand, which redis-server 7.0.15 restores too, where it
//! knows the type.

mod common;

use common::build::{Zip, intset, length, listpack, packed, string, ziplist, zipmap};
use common::corpus::cases;
use common::server::{Reply, Server, redis_server};
use common::text::text;
use node_server_rdb::{Item, Value, decode_dump};

const LONG: &[u8] = &[b'x'; 300];
const VERY_LONG: &[u8] = &[b'y'; 20_000];
const ENTRIES: [Zip<'static>; 16] = [
    Zip::Text(b""),
    Zip::Text(b"text"),
    Zip::Text(LONG),
    Zip::Text(b"behind a long one"),
    Zip::Text(VERY_LONG),
    Zip::Integer(0),
    Zip::Integer(12),
    Zip::Integer(13),
    Zip::Integer(-1),
    Zip::Integer(-129),
    Zip::Integer(32_767),
    Zip::Integer(-32_769),
    Zip::Integer(8_388_607),
    Zip::Integer(-8_388_609),
    Zip::Integer(2_147_483_648),
    Zip::Integer(i64::MIN),
];

fn strings(entries: &[Zip<'_>]) -> Vec<Vec<u8>> {
    let string = |entry: &Zip<'_>| match entry {
        Zip::Text(text) => text.to_vec(),
        Zip::Integer(n) => n.to_string().into_bytes(),
    };
    entries.iter().map(string).collect()
}

/// We decode the body to what is expected, and so does redis-server, by what it writes of it.
fn check(body: &[u8], expected: &str) {
    let payload = common::payload(body, 6);
    let value = decode_dump(&payload).unwrap_or_else(|error| panic!("type {}: {error}", body[0]));
    assert_eq!(text(&value), expected, "type {}", body[0]);
    let mut server = Server::start(&redis_server(), None, &[]).expect("the server starts");
    let answer = server.ask(&[b"RESTORE", b"k", b"0", &payload]);
    assert_eq!(answer, Reply::Bytes(b"OK".to_vec()), "type {}", body[0]);
    let Reply::Bytes(again) = server.ask(&[b"DUMP", b"k"]) else { panic!("the key is gone") };
    assert_eq!(text(&decode_dump(&again).expect("redis-server's")), expected, "type {}", body[0]);
}

#[test]
fn lists_of_ziplists() {
    let expected = text(&Value::List(strings(&ENTRIES)));
    check(&packed(10, &ziplist(&ENTRIES)), &expected);
    let nodes = [string(&ziplist(&ENTRIES[..5])), string(&ziplist(&ENTRIES[5..]))].concat();
    check(&[&[14, 2][..], &nodes].concat(), &expected);
    // An empty node is passed over.
    let nodes = [string(&ziplist(&[])), nodes].concat();
    check(&[&[14, 3][..], &nodes].concat(), &expected);
}

#[test]
fn hashes_and_sorted_sets_of_ziplists() {
    let pairs = [Zip::Text(b"f"), Zip::Text(LONG), Zip::Integer(7), Zip::Text(b"")];
    check(&packed(13, &ziplist(&pairs)), &format!("hash 37= 66=78*{}", LONG.len()));
    let scored = [
        Zip::Text(b"a"),
        Zip::Text(b"-inf"),
        Zip::Integer(7),
        Zip::Text(b"0.5"),
        Zip::Text(b"c"),
        Zip::Integer(3),
    ];
    check(&packed(12, &ziplist(&scored)), "zset 37=3fe0000000000000 61=fff0000000000000 63=4008000000000000");
}

#[test]
fn zipmaps() {
    let fields: [(&[u8], &[u8]); 3] = [(b"f", b"v"), (b"", LONG), (LONG, b"")];
    for unused in [0, 3] {
        check(&packed(9, &zipmap(&fields, unused)), "hash 66=76 78*300= =78*300");
    }
}

#[test]
fn intsets() {
    check(&packed(11, &intset(2, &[-5, 0, 32_767])), "set 2d35 30 3332373637");
    check(&packed(11, &intset(4, &[i64::from(i32::MIN), 9])), "set 2d32313437343833363438 39");
    check(
        &packed(11, &intset(8, &[i64::MIN, i64::MAX])),
        &text(&Value::Set(strings(&[Zip::Integer(i64::MIN), Zip::Integer(i64::MAX)]))),
    );
}

#[test]
fn plain_types() {
    check(&[&[1, 2][..], &string(b"a"), &string(b"")].concat(), "list 61 ");
    check(&[&[2, 2][..], &string(b"a"), &string(b"12")].concat(), "set 3132 61");
    check(&[&[4, 1][..], &string(b"f"), &string(b"v")].concat(), "hash 66=76");
    // Scores as text, and as the lengths that stand for infinities.
    let members = [&string(b"a")[..], b"\x031.5", &string(b"b"), &[254], &string(b"c"), &[255]].concat();
    check(
        &[&[3, 3][..], &members].concat(),
        "zset 61=3ff8000000000000 62=7ff0000000000000 63=fff0000000000000",
    );
}

/// A stream of Redis 5: type 15 is 19 without first and deleted identifiers and counts.
#[test]
fn streams_of_redis_5() {
    let entries = [[1, 0, 9], [2, 5, 8]];
    let mut elements =
        vec![Zip::Integer(2), Zip::Integer(0), Zip::Integer(1), Zip::Text(b"f"), Zip::Integer(0)];
    for [ms, seq, value] in entries {
        let fields =
            [Zip::Integer(2), Zip::Integer(ms), Zip::Integer(seq), Zip::Integer(value), Zip::Integer(4)];
        elements.extend(fields);
    }
    let node = [string(&[0; 16]), string(&listpack(&elements))].concat();
    let id = |ms: u8, seq: u8| {
        let mut id = [0; 16];
        (id[7], id[15]) = (ms, seq);
        id
    };
    let pending = [&id(1, 0)[..], &77_u64.to_le_bytes(), &[3]].concat();
    let consumer = [&string(b"c")[..], &99_u64.to_le_bytes(), &[1], &id(1, 0)].concat();
    let group = [&string(b"g")[..], &[1, 0, 1], &pending, &[1], &consumer].concat();
    let behind = [&string(b"h")[..], &[2, 5, 0, 0]].concat();
    let unknown = [&string(b"i")[..], &[2, 1, 0, 0]].concat();
    let before = [&string(b"j")[..], &[0, 0, 0, 0]].concat();
    let body = [&[15, 1][..], &node, &[2, 2, 5], &[4], &group, &behind, &unknown, &before].concat();
    check(
        &body,
        "stream 2-5 1-0 0-0 2 ; 1-0 66=39 ; 2-5 66=38 \
         ; group 67 1-0 1 ; pending 1-0 77 3 ; consumer 63 99 99 ; owns 1-0 \
         ; group 68 2-5 2 ; group 69 2-1 - ; group 6a 0-0 0",
    );
    let empty = decode_dump(&common::payload(&[15, 0, 0, 7, 1, 0], 9)).expect("a stream may be empty");
    assert_eq!(text(&empty), "stream 7-1 0-0 0-0 0");
}

/// Redis 7.4 is not at hand: its layouts are those of reference/persistence §3.1. In version 80 the number 22 is
/// Valkey's.
#[test]
fn hashes_of_redis_7_4() {
    let triples = [("f", "v", 0), ("g", "w", 100), ("h", "", 107)];
    let expected = "hash 66=76 67=77@100 68=@107";
    let plain = |earliest: Option<u64>| -> Vec<u8> {
        let field = |(name, value, at): &(&str, &str, u64)| {
            let time = earliest.map_or(*at, |earliest| if *at == 0 { 0 } else { at - earliest + 1 });
            [length(time), string(name.as_bytes()), string(value.as_bytes())].concat()
        };
        triples.iter().flat_map(field).collect()
    };
    let elements: Vec<Zip<'_>> = triples
        .iter()
        .flat_map(|(name, value, at)| {
            [Zip::Text(name.as_bytes()), Zip::Text(value.as_bytes()), Zip::Integer(*at as i64)]
        })
        .collect();
    let earliest = 100_u64.to_le_bytes();
    let bodies = [
        [&[22, 3][..], &plain(None)].concat(),
        packed(23, &listpack(&elements)),
        [&[24][..], &earliest, &[3], &plain(Some(100))].concat(),
        [&[25][..], &earliest, &string(&listpack(&elements))].concat(),
    ];
    for body in bodies {
        let value = decode_dump(&common::payload(&body, 12));
        assert_eq!(value.as_ref().map(text), Ok(expected.to_owned()), "type {}", body[0]);
        let file = [&[body[0], 1, b'k'][..], &body[1..]].concat();
        let items = common::read(&common::file(b"REDIS0012", &file), 1).expect("it is good");
        assert!(matches!(&items[0], Item::Key { value, .. } if text(value) == expected));
    }
    let field = [string(b"f"), string(b"v"), (-1_i64).to_le_bytes().to_vec()].concat();
    let other = [string(b"g"), string(b"w"), 100_u64.to_le_bytes().to_vec()].concat();
    let valkey = [&[22, 2][..], &field, &other].concat();
    let value = decode_dump(&common::payload(&valkey, 80));
    assert_eq!(value.as_ref().map(text), Ok("hash 66=76 67=77@100".to_owned()));
    assert!(decode_dump(&common::payload(&valkey, 12)).is_err());
}

#[test]
fn the_lists_are_what_the_encoders_of_the_servers_make() {
    let case = cases().into_iter().find(|case| case.name == "redis-7.0.15 list-small").expect("it is there");
    let elements = [Zip::Text(b"a"), Zip::Text(b"b"), Zip::Text(b"a"), Zip::Text(b"")];
    let body = [&[18][..], &length(1), &length(2), &string(&listpack(&elements))].concat();
    let compressed = decode_dump(&case.payload);
    assert_eq!(decode_dump(&common::payload(&body, 10)), compressed);
}
