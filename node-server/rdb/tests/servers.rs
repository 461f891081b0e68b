//! redis-server 7.0.15 and Valkey 9.1.2 take what this crate writes, and hold what was meant: they check every payload
//! deeply (`sanitize-dump-payload yes`), and what they write of it is read again.

mod common;

use common::server::{Reply, Server, redis_server, valkey_server};
use common::strategy::{expiring_hash, plain_value, without_activity};
use common::text::text;
use node_server_rdb::writer::{put_key, put_string_key};
use node_server_rdb::{
    Dialect, Entry, Field, Form, Item, Reader, Scored, Stream, StreamId, Value, Writer, decode_dump,
    encode_dump, encode_dump_as,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::TcpListener;
use std::path::Path;

/// The same values in every run.
fn values(strategy: impl Strategy<Value = Value>, count: usize) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    let value = |_| strategy.new_tree(&mut runner).expect("the strategy rejects little").current();
    (0..count).map(value).map(without_negative_zero).collect()
}

/// Both servers make 0 of it in a small sorted set.
fn without_negative_zero(mut value: Value) -> Value {
    if let Value::SortedSet(members) = &mut value {
        members.iter_mut().for_each(|scored| scored.score += 0.0);
    }
    value
}

fn ok() -> Reply {
    Reply::Bytes(b"OK".to_vec())
}

/// What the server holds under a key, by its own DUMP.
fn held(server: &mut Server, key: &[u8]) -> Value {
    match server.ask(&[b"DUMP", key]) {
        Reply::Bytes(payload) => decode_dump(&payload).expect("the server's payload is read"),
        other => panic!("DUMP answers {other:?}"),
    }
}

/// RESTOREs values and compares what is held then.
fn restore(program: &Path, values: &[Value]) {
    let mut server = Server::start(program, None, &[]).expect("the server starts");
    for (n, value) in values.iter().enumerate() {
        let payload = encode_dump_as(value, n % 2 == 0).expect("it can be written");
        assert_eq!(server.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]), ok(), "{value:?}");
        let expected = without_activity(value.clone());
        assert_eq!(text(&held(&mut server, b"k")), text(&expected));
    }
}

/// Values of every type that become shorter when they are compressed.
fn long_values() -> Vec<Value> {
    let word = |n: usize| format!("word {n} ").repeat(n % 40 + 1).into_bytes();
    let text = |n: usize| (n..n + 50).flat_map(word).collect::<Vec<u8>>();
    let field = |n: usize| Field { name: word(n + 30), value: text(n), expire_at: None };
    let id = |n: u64| StreamId { ms: n, seq: 1 };
    let entry = |n: u64| Entry { id: id(n), fields: vec![(b"field".to_vec(), word(n as usize))] };
    let stream = Stream {
        entries: (1..300).map(entry).collect(),
        last_id: id(299),
        first_id: id(1),
        entries_added: 299,
        ..Stream::default()
    };
    vec![
        Value::String(text(0)),
        Value::String(vec![0; 3 << 20]),
        Value::String(vec![b'a'; 21]),
        Value::List((0..200).map(word).collect()),
        Value::Set((0..60).map(text).collect()),
        Value::SortedSet((0..60).map(|n| Scored { member: text(n), score: n as f64 }).collect()),
        Value::Hash((0..60).map(field).collect()),
        Value::Stream(Box::new(stream)),
    ]
}

/// And they hold no more than what was compressed.
#[test]
fn what_is_compressed_is_loaded_and_restored() {
    for program in [redis_server(), valkey_server()] {
        let mut server = Server::start(&program, None, &[]).expect("the server starts");
        for value in long_values() {
            let payload = encode_dump_as(&value, true).expect("it can be written");
            let plain = encode_dump(&value).expect("it can be written").len();
            assert!(payload.len() * 4 < plain * 3, "{} of {plain}", payload.len());
            assert_eq!(decode_dump(&payload).as_ref(), Ok(&value));
            assert_eq!(server.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]), ok());
            assert_eq!(text(&held(&mut server, b"k")), text(&value));
        }
        // In a file each second is compressed: all of them, then.
        let twice: Vec<Value> = long_values().into_iter().flat_map(|value| [value.clone(), value]).collect();
        load(&program, &twice, Dialect::Plain);
    }
}

/// `rdbchecksum no`: Redis loads it and says nothing against it.
#[test]
fn a_file_without_checksum_is_loaded() {
    let mut writer = Writer::new(Dialect::Plain).without_checksum();
    let mut bytes = writer.take();
    put_string_key(&mut bytes, b"key", &[b'a'; 100], None, true);
    writer.finish();
    bytes.extend(writer.take());
    assert!(bytes.ends_with(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
    for program in [redis_server(), valkey_server()] {
        let mut server = Server::start(&program, Some(&bytes), &[]).expect("it loads the file");
        assert_eq!(server.ask(&[b"GET", b"key"]), Reply::Bytes(vec![b'a'; 100]));
    }
    let mut reader = Reader::new();
    reader.feed(&bytes);
    while reader.next_item().expect("it is whole").is_some() {}
    assert!(reader.end_of_input().is_ok() && !reader.is_checksummed());
    let wrong = bytes.len() - 1;
    bytes[wrong] = 1;
    for (mut reader, is_good) in [(Reader::new(), false), (Reader::new().without_checksum(), true)] {
        reader.feed(&bytes);
        let read = std::iter::from_fn(|| reader.next_item().transpose()).collect::<Result<Vec<_>, _>>();
        assert_eq!(read.is_ok(), is_good);
    }
}

#[test]
fn redis_restores_ours() {
    restore(&redis_server(), &values(plain_value(), 300));
}

#[test]
fn valkey_restores_ours() {
    restore(&valkey_server(), &values(plain_value(), 300));
    restore(&valkey_server(), &in_the_future(values(expiring_hash(), 40)));
}

/// Fields whose time has passed are not held; these all expire later.
fn in_the_future(mut values: Vec<Value>) -> Vec<Value> {
    for value in &mut values {
        if let Value::Hash(fields) = value {
            let times = fields.iter_mut().filter_map(|field| field.expire_at.as_mut());
            times.for_each(|at| *at |= 1 << 45);
        }
    }
    values
}

/// A file in which key `n` has value `n`.
fn file(values: &[Value], dialect: Dialect) -> Vec<u8> {
    let mut writer = Writer::new(dialect);
    writer.aux("redis-ver", "7.2.4");
    writer.select(0);
    for (n, value) in values.iter().enumerate() {
        let mut key = Vec::new();
        let expire_at = n.is_multiple_of(3).then_some(33_177_117_420_000 + n as u64);
        let form = Form { dialect, compress: n % 2 == 0 };
        put_key(&mut key, n.to_string().as_bytes(), value, expire_at, form).expect("it can be written");
        writer.keys(&key);
    }
    writer.finish();
    writer.take()
}

/// The server loads our file, holds what is in it, and we read what it saves.
fn load(program: &Path, values: &[Value], dialect: Dialect) {
    let mut server = Server::start(program, Some(&file(values, dialect)), &[]).expect("it loads the file");
    assert_eq!(server.ask(&[b"DBSIZE"]), Reply::Integer(values.len() as i64));
    let saved = common::read(&server.save(), 1000).expect("what it saves is read");
    let mut found = 0;
    for item in &saved {
        let Item::Key { key, value, expire_at } = item else { continue };
        let n: usize = std::str::from_utf8(key).expect("a number").parse().expect("a number");
        assert_eq!(*expire_at, n.is_multiple_of(3).then_some(33_177_117_420_000 + n as u64));
        let keeps_activity = dialect != Dialect::Plain;
        let expected = if keeps_activity { values[n].clone() } else { without_activity(values[n].clone()) };
        assert_eq!(text(value), text(&expected));
        found += 1;
    }
    assert_eq!(found, values.len());
}

#[test]
fn redis_loads_ours() {
    load(&redis_server(), &values(plain_value(), 200), Dialect::Plain);
}

#[test]
fn valkey_loads_ours() {
    let plain = values(plain_value(), 200);
    load(&valkey_server(), &plain, Dialect::Plain);
    let mixed = [plain, in_the_future(values(expiring_hash(), 60))].concat();
    load(&valkey_server(), &mixed, Dialect::Valkey);
}

/// Valkey takes a file with a slot import as this crate reads it: a name, a count, ranges. It does so in cluster mode
/// only.
#[test]
fn valkey_reads_slot_imports_as_we_do() {
    let job = b"0123456789abcdef0123456789abcdef01234567";
    let body = [&[0xf3, 40][..], job, &[2, 5, 7, 9, 9], b"\xfe\x00\x00\x01k\x01v"].concat();
    let file = common::file(b"VALKEY080", &body);
    let items = common::read(&file, 3).expect("it is whole");
    let import = Item::SlotImport { job: job.to_vec(), slots: vec![(5, 7), (9, 9)] };
    assert_eq!(items[0], import);
    assert_eq!(items.len(), 4, "the import, the database, the key, the end");
    // A port that is free now may be taken when Valkey begins to listen: then the next.
    let mut ports = (0..10).map(|_| free_port().to_string());
    let start = |file: &[u8], port: &str| {
        let cluster = ["--cluster-enabled", "yes", "--cluster-port", port];
        Server::start(&valkey_server(), Some(file), &cluster)
    };
    assert!(ports.any(|port| start(&file, &port).is_some()));
    let cut = common::file(b"VALKEY080", &body[..44]);
    assert!(start(&cut, &free_port().to_string()).is_none());
}

/// A port of loopback that nobody uses.
fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    probe.local_addr().expect("it is bound").port()
}

fn stream_of(len: usize) -> Value {
    let id = StreamId { ms: 1, seq: 1 };
    let entries = vec![Entry { id, fields: vec![(b"f".to_vec(), vec![b'x'; len])] }];
    Value::Stream(Box::new(Stream {
        entries,
        last_id: id,
        first_id: id,
        entries_added: 1,
        ..Stream::default()
    }))
}

/// Redis and Valkey 9 disagree about elements of listpacks of some lengths. Each gets its own; the neighbours are the
/// same for both; and we read both.
#[test]
fn lengths_that_the_servers_disagree_about() {
    let mut redis = Server::start(&redis_server(), None, &[]).expect("the server starts");
    let mut valkey = Server::start(&valkey_server(), None, &[]).expect("the server starts");
    for limit in [16_378_usize, 2_097_146] {
        for len in limit - 1..=limit + 1 {
            let value = stream_of(len);
            let payload = encode_dump(&value).expect("it can be written");
            let restore: [&[u8]; 5] = [b"RESTORE", b"k", b"0", &payload, b"REPLACE"];
            assert_eq!(redis.ask(&restore), ok(), "{len}");
            assert_eq!(held(&mut redis, b"k"), value);
            // When this changes, the note at `Dialect::Plain` can go.
            assert_eq!(valkey.ask(&restore) == ok(), len != limit, "{len}");
            load(&valkey_server(), std::slice::from_ref(&value), Dialect::Valkey);
            let text = vec![b'x'; len];
            assert!(matches!(valkey.ask(&[b"DEL", b"s"]), Reply::Integer(_)));
            assert!(matches!(valkey.ask(&[b"XADD", b"s", b"1-1", b"f", &text]), Reply::Bytes(_)));
            assert_eq!(held(&mut valkey, b"s"), value);
        }
    }
}
