//! What a replica makes of its master's log: the same bytes, the same data.

use crate::support::*;
use node_server_engine::{Applied, Applier, ApplyError, Chunk, Loader};
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;
use node_server_rdb::Dialect;

/// Loads a full sync of `master` into `replica`; returns where the stream goes on.
fn full_sync(master: &Node, replica: &Node) -> u64 {
    let mut snapshot = master.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    let mut loader: Loader = replica.engine.begin_load(NOW);
    loop {
        match snapshot.next_chunk(100) {
            Chunk::Bytes(bytes) => {
                assert!(!loader.feed(&bytes).unwrap() || snapshot.next_chunk(1) == Chunk::End)
            }
            Chunk::Busy => panic!("nobody holds a slot"),
            Chunk::Failed(error) => panic!("{error}"),
            Chunk::End => break,
        }
    }
    let history = master.engine.log().history();
    loader.commit(&history.replid, snapshot.offset).unwrap();
    snapshot.offset
}

fn stream(master: &Node, replica: &Node, applier: &mut Applier) -> Applied {
    let bytes = master.log_from(replica.engine.log().end());
    replica.engine.apply(applier, &bytes, NOW).unwrap()
}

fn same(master: &Node, replica: &Node) {
    assert_eq!(master.content(NOW), replica.content(NOW));
    assert_eq!(master.engine.log().end(), replica.engine.log().end());
    let from = replica.engine.log().backlog().0.max(master.engine.log().backlog().0);
    assert_eq!(master.log_from(from), replica.log_from(from), "the log is the master's, byte for byte");
}

#[test]
fn a_replica_follows() {
    let (master, replica) = (Node::master(), Node::replica());
    let mut client = master.client();
    for n in 0..500 {
        client.ok(&format!("SET key:{n} {n}"));
    }
    client.ok("SET {a}ttl v PX 100000");
    let cut = full_sync(&master, &replica);
    same(&master, &replica);
    assert_eq!(replica.engine.log().history().replid, "a".repeat(40));
    let mut applier = Applier::default();
    client.line("INCR {a}n");
    client.line("INCRBYFLOAT {a}f 0.1");
    client.line("EXPIRE {a}n 100");
    client.line("GETEX {a}ttl PERSIST");
    client.line("APPEND {a}s tail");
    client.ok("MULTI");
    client.line("SET {a}x 1");
    client.line("DEL key:1");
    client.ok("DISCARD");
    client.ok("MULTI");
    client.line("SET {a}x 1");
    client.line("RENAME {a}x {a}y");
    client.line("EXEC");
    master.engine.append_ping();
    let applied = stream(&master, &replica, &mut applier);
    assert!(applied.consumed > 0 && !applied.get_ack && !applied.busy);
    same(&master, &replica);
    client.ok("FLUSHALL");
    client.ok("SET a 1");
    stream(&master, &replica, &mut applier);
    same(&master, &replica);
    assert!(cut > 0);
}

#[test]
fn getack_stops_and_setslot_is_handed_back() {
    let (master, replica) = (Node::master(), Node::replica());
    full_sync(&master, &replica);
    let mut applier = Applier::default();
    let mut client = master.client();
    client.ok("SET a 1");
    master.engine.append_record(&[b"CLUSTER", b"SETSLOT", b"5", b"STABLE"]).unwrap();
    assert!(master.engine.append_getack());
    let here = master.engine.log().end();
    client.ok("SET a 2");
    let applied = stream(&master, &replica, &mut applier);
    assert!(applied.get_ack);
    assert_eq!(replica.engine.log().end(), here, "the offset to answer with");
    let words = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(applied.set_slots, [words(&["CLUSTER", "SETSLOT", "5", "STABLE"])]);
    stream(&master, &replica, &mut applier);
    same(&master, &replica);
}

#[test]
fn half_a_command_and_half_a_transaction_wait_for_the_rest() {
    let (master, replica) = (Node::master(), Node::replica());
    let mut client = master.client();
    client.ok("SET {a}1 x");
    client.ok("MULTI");
    client.line("SET {a}2 y");
    client.line("SET {a}3 z");
    client.line("EXEC");
    let bytes = master.log_from(0);
    let mut applier = Applier::default();
    let mut at = 0;
    for end in 0..=bytes.len() {
        at += replica.engine.apply(&mut applier, &bytes[at..end], NOW).unwrap().consumed;
        let keys = replica.engine.keyspace().len();
        assert!(keys == 0 || keys == 1 || keys == 3, "a transaction is all or nothing");
    }
    same(&master, &replica);
}

#[test]
fn a_replica_hides_expired_keys_and_never_deletes_them() {
    let (master, replica) = (Node::master(), Node::replica());
    let mut client = master.client();
    client.ok("SET {a}1 5 PX 100");
    let mut applier = Applier::default();
    let bytes = master.log_from(0);
    replica.engine.apply(&mut applier, &bytes, NOW).unwrap();
    let later = Millis(NOW.0 + 1000);
    let mut reader = replica.client();
    reader.ok("READONLY");
    reader.now = later;
    assert_eq!(reader.line("GET {a}1"), Reply::Null);
    assert_eq!(replica.engine.tick(later, 100), 0);
    assert_eq!(replica.engine.keyspace().len(), 1);
    // For the master the key is still there: its INCR keeps the expiry and the value.
    client.line("INCR {a}1");
    client.line("PERSIST {a}1");
    let bytes = master.log_from(replica.engine.log().end());
    replica.engine.apply(&mut applier, &bytes, later).unwrap();
    assert_eq!(reader.line("GET {a}1"), bulk("6"));
}

#[test]
fn a_stream_that_cannot_be_applied_names_the_command() {
    let replica = Node::replica();
    let mut applier = Applier::default();
    let unknown = replica.engine.apply(&mut applier, b"*1\r\n$7\r\nNOVELTY\r\n", NOW).unwrap_err();
    assert_eq!(unknown, ApplyError::Unknown("NOVELTY".into()));
    let failed = replica.engine.apply(&mut applier, b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nx\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n", NOW);
    assert!(matches!(failed, Err(ApplyError::Failed { command, .. }) if command == "INCR"));
    assert!(replica.engine.log().end() > 0, "what stood before was applied");
    assert!(replica.engine.apply(&mut applier, b"nonsense\r\n", NOW).is_err());
}

#[test]
fn a_foreign_transaction_may_span_slots() {
    let replica = Node::replica();
    let mut stream = Vec::new();
    for command in
        [&[&b"MULTI"[..]][..], &[b"MSET", b"a", b"1", b"b", b"2"], &[b"SET", b"c", b"3"], &[b"EXEC"]]
    {
        node_server_engine::log::put_command(&mut stream, command);
    }
    // MSET of two slots is no command of ours, but DEL and SET of different slots in one transaction are.
    let mut fixed = Vec::new();
    for command in [&[&b"MULTI"[..]][..], &[b"SET", b"a", b"1"], &[b"SET", b"b", b"2"], &[b"EXEC"]] {
        node_server_engine::log::put_command(&mut fixed, command);
    }
    let applied = replica.engine.apply(&mut Applier::default(), &fixed, NOW).unwrap();
    assert_eq!(applied.consumed, fixed.len());
    assert_eq!(replica.engine.keyspace().len(), 2);
    assert!(replica.engine.apply(&mut Applier::default(), &stream, NOW).is_err());
}

#[test]
fn a_load_that_breaks_off_changes_nothing() {
    let (master, replica) = (Node::master(), Node::replica());
    master.client().ok("SET a new");
    let mut applier = Applier::default();
    let mut old = Vec::new();
    node_server_engine::log::put_command(&mut old, &[b"SET", b"a", b"old"]);
    replica.engine.apply(&mut applier, &old, NOW).unwrap();
    let mut snapshot = master.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    let Chunk::Bytes(bytes) = snapshot.next_chunk(1_000_000) else { panic!("it has bytes") };
    let mut loader = replica.engine.begin_load(NOW);
    assert!(!loader.feed(&bytes[..bytes.len() - 3]).unwrap());
    loader.commit("whatever", 7).unwrap_err();
    let mut reader = replica.client();
    reader.ok("READONLY");
    assert_eq!(reader.line("GET a"), bulk("old"));
    assert_eq!(replica.engine.log().end(), old.len() as u64);
}

#[test]
fn an_empty_replica_says_loading() {
    let replica = Node::replica();
    let loader = replica.engine.begin_load(NOW);
    let mut reader = replica.client();
    reader.ok("READONLY");
    assert_eq!(reader.error("GET a"), "LOADING Redis is loading the dataset in memory");
    // Whoever wants the master is told where it is all the same, as by Redis.
    let mut writer = replica.client();
    assert!(writer.error("SET a 1").starts_with("MOVED 15495 "));
    assert!(writer.error("GET a").starts_with("MOVED 15495 "));
    drop(loader);
    assert_eq!(reader.line("GET a"), Reply::Null);
    replica.engine.set_refuse_stale(true);
    assert!(writer.error("GET a").starts_with("MOVED 15495 "));
    assert!(
        reader.error("GET a").starts_with("MASTERDOWN Link with MASTER is down and replica-serve-stale-data")
    );
}
