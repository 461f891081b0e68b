//! Replication without cluster mode: several databases in one stream, and a replica that takes no writes.

use crate::support::*;
use node_server_engine::log::put_command;
use node_server_engine::{Applier, Chunk, Deferred, Outcome};
use node_server_protocol::resp::Reply;
use node_server_rdb::Dialect;
use std::sync::Arc;

fn stream(commands: &[&[&[u8]]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| put_command(&mut bytes, command));
    bytes
}

fn snapshot(node: &Node) -> (Vec<u8>, u64) {
    let mut snapshot = node.engine.begin_snapshot(NOW, Dialect::Plain).unwrap();
    let Chunk::Bytes(bytes) = snapshot.next_chunk(1_000_000) else { panic!("it has bytes") };
    (bytes, snapshot.offset)
}

/// Another link, and another replica behind this one, go on in the database that was selected last.
#[test]
fn the_selected_database_outlives_the_link() {
    let replica = Node::standalone();
    replica.engine.set_replica(true);
    let first = stream(&[&[b"SELECT", b"3"], &[b"SET", b"a", b"3"]]);
    replica.engine.apply(&mut Applier::default(), &first, NOW).unwrap();
    let (bytes, offset) = snapshot(&replica);
    let behind = Node::standalone();
    let mut loader = behind.engine.begin_load(NOW);
    assert!(loader.feed(&bytes).unwrap());
    assert_eq!(loader.stream_db(), 3);
    loader.commit(&"c".repeat(40), offset).unwrap();
    let more = stream(&[&[b"SET", b"b", b"3"]]);
    for node in [&replica, &behind] {
        let mut applier = Applier::in_database(node.engine.log().database());
        assert_eq!(applier.database(), 3);
        node.engine.apply(&mut applier, &more, NOW).unwrap();
        let mut reader = node.client();
        assert_eq!(reader.line("GET b"), Reply::Null);
        reader.ok("SELECT 3");
        assert_eq!((reader.line("GET a"), reader.line("GET b")), (bulk("3"), bulk("3")));
    }
}

/// What cannot be applied yet is tried again from its beginning, in the database in which it begins.
#[test]
fn a_piece_that_waits_begins_in_its_database() {
    let replica = Node::standalone();
    let piece =
        stream(&[&[b"MULTI"], &[b"SET", b"a", b"0"], &[b"SELECT", b"5"], &[b"SET", b"a", b"5"], &[b"EXEC"]]);
    let mut applier = Applier::default();
    replica.engine.pause_writes(NOW.after(1000));
    assert!(replica.engine.apply(&mut applier, &piece, NOW).unwrap().busy);
    replica.engine.resume_writes();
    assert!(!replica.engine.apply(&mut applier, &piece, NOW).unwrap().busy);
    assert_eq!(replica.engine.log().database(), 5);
    let mut reader = replica.client();
    assert_eq!(reader.line("GET a"), bulk("0"));
    reader.ok("SELECT 5");
    assert_eq!(reader.line("GET a"), bulk("5"));
}

#[test]
fn a_replica_takes_no_writes_and_answers_reads() {
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("MULTI");
    client.line("SET a 2");
    let end = node.engine.log().end();
    node.engine.set_replica(true);
    let read_only = "READONLY You can't write against a read only replica.";
    assert_eq!(client.error("EXEC"), format!("EXECABORT Transaction discarded because of: {read_only}"));
    for write in ["SET a 2", "DEL a", "EXPIRE a 1", "FLUSHALL", "MIGRATE h 1 a 0 1"] {
        assert_eq!(client.error(write), read_only, "{write}");
    }
    assert_eq!(client.line("GET a"), bulk("1"));
    assert_eq!(client.line("DBSIZE"), Reply::Integer(1));
    assert_eq!(node.engine.log().end(), end);
    node.engine.set_replica(false);
    client.ok("SET a 2");
}

#[test]
fn waitaof_answers_at_once_where_it_can() {
    let node = Node::standalone();
    let mut client = node.client();
    let pair = |here, there| Reply::Array(vec![Reply::Integer(here), Reply::Integer(there)]);
    assert_eq!(client.line("WAITAOF 0 0 0"), pair(0, 0));
    assert!(client.error("WAITAOF 1 0 0").ends_with("appendonly is disabled."));
    node.engine.durability().set_on(true);
    client.ok("SET a 1");
    let end = node.engine.log().end();
    node.engine.durability().set_synced(end - 1);
    let waits = client.outcome(&["WAITAOF", "1", "0", "0"]);
    let expected = Deferred::Wait { replicas: 0, offset: end, deadline: None, local: Some(1) };
    assert_eq!(waits, Outcome::Defer(expected));
    node.engine.durability().set_synced(end);
    assert_eq!(client.line("WAITAOF 1 0 0"), pair(1, 0));
    let out_of_range = "ERR timeout is out of range";
    assert_eq!(client.error("WAITAOF 0 0 9223372036854775807"), out_of_range);
    assert_eq!(client.error("WAIT 0 9223372036854775807"), out_of_range);
    node.engine.set_replica(true);
    assert!(client.error("WAITAOF 0 0 0").starts_with("ERR WAITAOF cannot be used with replica instances."));
}

/// Sentinel sends it so. The role changes between the two others, and nobody holds a slot then.
#[test]
fn replicaof_in_a_transaction_waits_on_a_worker() {
    let node = Node::standalone();
    let mut client = node.client();
    let engine = Arc::clone(&node.engine);
    node.host.on_command(move || engine.set_replica(!engine.is_replica()));
    client.ok("MULTI");
    for line in ["WAIT 0 0", "REPLICAOF host 6379", "WAIT 0 0", "REPLICAOF host x"] {
        assert_eq!(client.line(line), Reply::Simple("QUEUED".into()));
    }
    assert_eq!(client.outcome(&["EXEC"]), Outcome::Offload);
    let Reply::Array(replies) = client.line("EXEC") else { panic!("EXEC gives an array") };
    assert_eq!(replies[..2], [Reply::Integer(0), Reply::Simple("host:6379".into())]);
    assert!(matches!(&replies[2], Reply::Error(text) if text.contains("WAIT cannot be used with replica")));
    assert_eq!(replies[3], Reply::Error("ERR Invalid master port".into()));
    for other in ["GET a", "DBSIZE", "SELECT 1"] {
        client.ok("MULTI");
        client.line("REPLICAOF NO ONE");
        client.line(other);
        let refused = client.line("EXEC");
        let apart = matches!(&refused, Reply::Error(text) if text.starts_with("EXECABORT "));
        assert_eq!(apart, other != "DBSIZE", "{other}: {refused:?}");
    }
}

/// A slow master may be left before its snapshot is complete.
#[test]
fn replicaof_is_taken_while_a_snapshot_is_loaded() {
    let node = Node::standalone();
    node.engine.set_replica(true);
    let loader = node.engine.begin_load(NOW);
    let mut client = node.client();
    assert!(client.error("GET a").starts_with("LOADING "));
    assert_eq!(client.outcome(&["REPLICAOF", "NO", "ONE"]), Outcome::Defer(Deferred::ReplicaOf(None)));
    drop(loader);
}

/// A master of another kind can copy to another database, which fails here: the transaction that it is in is not applied
/// at all, in memory as in the log.
#[test]
fn a_transaction_with_a_command_that_fails_is_not_applied() {
    let replica = Node::standalone();
    let mut client = replica.client();
    for command in ["SET a 1", "SET n 41", "SET gone 3", "SET short v PX 1000", "SELECT 5", "SET a 5"] {
        client.line(command);
    }
    replica.engine.set_replica(true);
    // The master has not deleted `short` yet.
    let later = NOW.after(2000);
    let watcher = |db: &str| {
        let mut client = replica.client();
        client.ok(db);
        [
            "GET a",
            "GET n",
            "GET gone",
            "GET new",
            "PEXPIRETIME a",
            "PEXPIRETIME n",
            "PEXPIRETIME short",
            "DBSIZE",
        ]
        .map(|command| client.line(command))
    };
    let seen = || (watcher("SELECT 0"), watcher("SELECT 5"), replica.engine.keyspace().volatile());
    let before = (seen(), replica.engine.log().standing());
    let changes: &[&[&[u8]]] = &[
        &[b"SELECT", b"0"],
        &[b"SET", b"new", b"1"],
        &[b"SET", b"a", b"2"],
        &[b"INCR", b"n"],
        &[b"PEXPIREAT", b"n", b"4000000000000"],
        &[b"DEL", b"gone"],
        &[b"APPEND", b"short", b"more"],
        &[b"PERSIST", b"short"],
        &[b"RENAME", b"a", b"gone"],
        &[b"MSET", b"a", b"x", b"n", b"y"],
        &[b"SELECT", b"5"],
        &[b"SET", b"a", b"6"],
    ];
    let failing: &[(&[&[u8]], &str)] = &[
        (&[b"COPY", b"a", b"b", b"DB", b"1"], "COPY"),
        (&[b"INCRBY", b"a", b"x"], "INCRBY"),
        (&[b"FLUSHALL", b"NOW"], "FLUSHALL"),
        (&[b"PING"], "PING"),
    ];
    let flushes: &[&[&[u8]]] = &[&[b"GET", b"a"], &[b"FLUSHDB"], &[b"FLUSHALL"]];
    for &(command, name) in failing {
        for &flush in flushes {
            let behind: &[&[&[u8]]] =
                &[flush, &[b"SET", b"new", b"2"], command, &[b"SET", b"a", b"7"], &[b"EXEC"]];
            let piece = stream(&[&[&[b"MULTI".as_slice()][..]], changes, behind].concat());
            let error = replica.engine.apply(&mut Applier::default(), &piece, later).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!((seen(), replica.engine.log().standing()), before, "{command:?} behind {flush:?}");
        }
    }
}
