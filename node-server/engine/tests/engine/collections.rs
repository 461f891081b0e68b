//! Keys of every type: they come by RESTORE and streams, and are kept, copied, moved, dumped and saved unchanged.

use crate::support::*;
use node_server_engine::Chunk;
use node_server_protocol::resp::Reply;
use node_server_rdb::{
    Consumer, Dialect, Entry, Field, Group, Pending, Scored, Stream, StreamId, Value, decode_dump,
    encode_dump,
};

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn field(name: &str, expire_at: Option<u64>) -> Field {
    Field { name: bytes(name), value: bytes("v"), expire_at }
}

fn stream() -> Value {
    let id = StreamId { ms: 5, seq: 1 };
    let group = Group {
        name: bytes("g"),
        last_id: id,
        entries_read: Some(1),
        pending: vec![Pending { id, delivered_at: 77, deliveries: 2 }],
        consumers: vec![Consumer { name: bytes("c"), seen_at: 78, active_at: Some(78), pending: vec![id] }],
    };
    Value::Stream(Box::new(Stream {
        entries: vec![Entry { id, fields: vec![(bytes("f"), bytes("v"))] }],
        last_id: id,
        first_id: id,
        max_deleted_id: StreamId { ms: 0, seq: 0 },
        entries_added: 1,
        groups: vec![group],
    }))
}

/// One of each type, with TYPE's and OBJECT ENCODING's words.
fn all() -> Vec<(&'static str, &'static str, Value)> {
    let scored = Scored { member: bytes("m"), score: 1.5 };
    vec![
        ("list", "listpack", Value::List(vec![bytes("a"), bytes("b"), bytes("a")])),
        ("set", "intset", Value::Set(vec![bytes("1"), bytes("2")])),
        ("zset", "listpack", Value::SortedSet(vec![scored])),
        ("hash", "listpack", Value::Hash(vec![field("f", None)])),
        ("stream", "stream", stream()),
    ]
}

fn dumped(client: &mut Client, key: &str) -> Value {
    let Reply::Bulk(payload) = client.run(&["DUMP", key]) else { panic!("{key} is there") };
    decode_dump(&payload).unwrap()
}

fn restore(client: &mut Client, key: &str, value: &Value) {
    let payload = encode_dump(value).unwrap();
    assert_eq!(client.call(&[b"RESTORE", key.as_bytes(), b"0", &payload]), Reply::Simple("OK".into()));
}

#[test]
fn every_type_is_restored_named_copied_renamed_and_dumped() {
    let node = Node::master();
    let mut client = node.client();
    for (kind, encoding, value) in all() {
        restore(&mut client, "{k}a", &value);
        assert_eq!(client.run(&["TYPE", "{k}a"]), Reply::Simple(kind.into()));
        assert_eq!(client.run(&["OBJECT", "ENCODING", "{k}a"]), Reply::Bulk(bytes(encoding)));
        let Reply::Error(error) = client.run(&["GET", "{k}a"]) else { panic!("a {kind} is no string") };
        assert!(error.starts_with("WRONGTYPE"), "{error}");
        assert_eq!(client.run(&["COPY", "{k}a", "{k}b"]), Reply::Integer(1));
        assert_eq!(client.run(&["RENAME", "{k}a", "{k}c"]), Reply::Simple("OK".into()));
        assert_eq!(client.run(&["PEXPIRE", "{k}c", "100000"]), Reply::Integer(1));
        for copy in ["{k}b", "{k}c"] {
            assert_eq!(dumped(&mut client, copy), value, "{kind} {copy}");
        }
        assert_eq!(client.run(&["SET", "{k}b", "now a string"]), Reply::Simple("OK".into()));
        assert_eq!(client.run(&["DEL", "{k}b", "{k}c"]), Reply::Integer(2));
        assert_eq!(node.engine.keyspace().len(), 0);
    }
}

/// The bytes of a snapshot.
fn snapshot(node: &Node) -> Vec<u8> {
    let mut snapshot = node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    let mut bytes = Vec::new();
    loop {
        match snapshot.next_chunk(100) {
            Chunk::Bytes(more) => bytes.extend(more),
            Chunk::End => return bytes,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_carries_every_type_and_is_a_newer_one_only_while_a_field_expires() {
    let node = Node::master();
    let mut client = node.client();
    for (kind, _, value) in all() {
        restore(&mut client, kind, &value);
    }
    assert!(snapshot(&node).starts_with(b"REDIS0010"));
    let expiring = Value::Hash(vec![field("f", Some(NOW.0 + 5000)), field("g", None)]);
    restore(&mut client, "expiring", &expiring);
    let newer = snapshot(&node);
    assert!(newer.starts_with(b"VALKEY080"));
    let replica = Node::replica();
    let mut loader = replica.engine.begin_load(NOW);
    assert!(loader.feed(&newer).unwrap());
    assert_eq!(loader.commit(&"a".repeat(40), 0), Ok(6));
    let mut reader = replica.client();
    reader.session.readonly = true;
    assert_eq!(dumped(&mut reader, "expiring"), expiring);
    for (kind, _, value) in all() {
        assert_eq!(dumped(&mut reader, kind), value);
    }
    client.run(&["DEL", "expiring"]);
    assert!(snapshot(&node).starts_with(b"REDIS0010"));
}
