//! MULTI, EXEC, DISCARD, WATCH.

use crate::support::*;
use node_server_engine::{Applier, Fate, MigrateBegin, MigrateRequest};
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn queued() -> Reply {
    Reply::Simple("QUEUED".into())
}

#[test]
fn a_transaction_is_one_stretch_of_the_log() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MULTI");
    assert_eq!(client.line("SET {a}1 x"), queued());
    assert_eq!(client.line("INCR {a}2"), queued());
    assert_eq!(client.line("INCR {a}1"), queued());
    assert_eq!(client.line("GET {a}2"), queued());
    let Reply::Array(replies) = client.line("EXEC") else { panic!("EXEC gives an array") };
    assert_eq!(replies[1], int(1));
    assert_eq!(replies[2], Reply::Error("ERR value is not an integer or out of range".into()));
    assert_eq!(replies[3], bulk("1"));
    assert_eq!(node.records_from(0), ["SELECT 0", "MULTI", "SET {a}1 x", "INCR {a}2", "EXEC"]);
    assert_eq!(client.session.last_write, node.engine.log().end());
}

#[test]
fn refusals() {
    let node = Node::master();
    let mut client = node.client();
    assert_eq!(client.error("EXEC"), "ERR EXEC without MULTI");
    assert_eq!(client.error("DISCARD"), "ERR DISCARD without MULTI");
    client.ok("MULTI");
    assert_eq!(client.error("MULTI"), "ERR MULTI calls can not be nested");
    assert_eq!(client.error("WATCH a"), "ERR WATCH inside MULTI is not allowed");
    client.ok("DISCARD");
    client.ok("MULTI");
    assert!(client.error("GET").starts_with("ERR wrong number of arguments for 'get' command"));
    assert_eq!(client.error("EXEC"), "EXECABORT Transaction discarded because of previous errors.");
    client.ok("MULTI");
    assert_eq!(client.line("SET a 1"), queued());
    assert_eq!(client.line("SET b 1"), queued());
    assert_eq!(client.error("EXEC"), "CROSSSLOT Keys in request don't hash to the same slot");
    assert!(!client.session.in_multi());
    client.ok("MULTI");
    assert_eq!(client.line("PING"), queued());
    assert_eq!(client.error("CLUSTER INFO"), "ERR a transaction has CLUSTER commands only, or none");
    client.ok("DISCARD");
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    client.ok("MULTI");
    assert_eq!(client.error("SET a 1"), "MOVED 15495 127.0.0.2:7002");
    assert_eq!(client.error("EXEC"), "EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(node.engine.log().end(), 0);
}

/// As getNodeByQuery and queueMultiCommand have it in Redis.
#[test]
fn exec_looks_at_the_keys_before_it_says_that_it_was_aborted() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MULTI");
    assert_eq!(client.line("GET a"), queued());
    assert_eq!(client.line("GET b"), queued());
    client.error("GET");
    assert_eq!(client.error("EXEC"), "CROSSSLOT Keys in request don't hash to the same slot");
    assert!(!client.session.in_multi());
    // What comes behind the refused command is not kept, and neither is what comes behind a change of a watched key.
    client.ok("MULTI");
    assert_eq!(client.line("GET a"), queued());
    client.error("GET");
    assert_eq!(client.line("GET b"), queued());
    assert_eq!(client.error("EXEC"), "EXECABORT Transaction discarded because of previous errors.");
    client.ok("WATCH a");
    node.client().ok("SET a 1");
    client.ok("MULTI");
    assert_eq!(client.line("GET a"), queued());
    assert_eq!(client.line("GET b"), queued());
    assert_eq!(client.line("EXEC"), Reply::Null);
}

#[test]
fn exec_is_redirected_when_the_slot_moved_meanwhile() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MULTI");
    assert_eq!(client.line("SET a 1"), queued());
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    assert_eq!(client.error("EXEC"), "MOVED 15495 127.0.0.2:7002");
    assert!(!client.session.in_multi());
}

#[test]
fn watch_sees_changes_deletions_expiry_and_flushes() {
    let node = Node::master();
    let (mut client, mut other) = (node.client(), node.client());
    let changes: [(&str, &str); 5] = [
        ("SET a 1", "SET a 2"),
        ("SET a 1", "DEL a"),
        ("DEL a", "SET a 1"),
        ("SET a 1", "FLUSHALL"),
        ("SET a 1", "PEXPIRE a 5000"),
    ];
    for (before, change) in changes {
        other.line(before);
        client.ok("WATCH a");
        other.line(change);
        client.ok("MULTI");
        client.line("SET a mine");
        assert_eq!(client.line("EXEC"), Reply::Null, "{before}, then {change}");
    }
    // A key that is not there does not change when all the others go.
    other.ok("SET {a}2 1");
    other.line("DEL a");
    client.ok("WATCH a");
    other.ok("FLUSHALL");
    client.ok("MULTI");
    client.line("GET a");
    assert_eq!(client.line("EXEC"), Reply::Array(vec![Reply::Null]));
    other.ok("SET a 1 PX 100");
    client.ok("WATCH a");
    client.now = Millis(NOW.0 + 200);
    client.ok("MULTI");
    client.line("SET a mine");
    assert_eq!(client.line("EXEC"), Reply::Null, "it expired");
    client.ok("WATCH a");
    other.ok("SET b 1");
    client.ok("MULTI");
    client.line("SET a mine");
    assert_ne!(client.line("EXEC"), Reply::Null, "nobody touched it");
    client.ok("WATCH a");
    client.ok("UNWATCH");
    other.ok("SET a 2");
    client.ok("MULTI");
    client.line("SET a mine");
    assert_ne!(client.line("EXEC"), Reply::Null, "not watched any more");
}

#[test]
fn commands_about_all_keys_in_a_transaction() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("SET b 2");
    client.ok("MULTI");
    for line in ["KEYS *", "SET a 3", "FLUSHALL", "DBSIZE", "SET a 4", "PING"] {
        assert_eq!(client.line(line), queued());
    }
    let from = node.engine.log().end();
    let Reply::Array(replies) = client.line("EXEC") else { panic!("EXEC gives an array") };
    assert!(matches!(&replies[0], Reply::Array(keys) if keys.len() == 2));
    assert_eq!(replies[5], Reply::Simple("PONG".into()));
    assert_eq!(node.records_from(from), ["MULTI", "SET a 3", "FLUSHALL", "SET a 4", "EXEC"]);
    assert_eq!(client.line("DBSIZE"), int(1));
}

#[test]
fn a_transaction_sees_its_own_new_keys() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MULTI");
    for line in ["SET a 1", "DBSIZE", "SCAN 0 COUNT 100", "KEYS *", "FLUSHALL", "DBSIZE"] {
        assert_eq!(client.line(line), queued());
    }
    let Reply::Array(replies) = client.line("EXEC") else { panic!("EXEC gives an array") };
    let keys = Reply::Array(vec![bulk("a")]);
    assert_eq!(replies[1], int(1));
    assert_eq!(replies[2], Reply::Array(vec![bulk("0"), keys.clone()]));
    assert_eq!(replies[3], keys);
    assert_eq!(replies[5], int(0));
}

#[test]
fn select_in_a_transaction() {
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("MULTI");
    for line in ["SET a 0", "SELECT 1", "SET a 1", "SELECT 0", "INCR a"] {
        assert_eq!(client.line(line), queued());
    }
    assert!(matches!(client.line("EXEC"), Reply::Array(replies) if replies[4] == int(1)));
    let expected = ["SELECT 0", "MULTI", "SET a 0", "SELECT 1", "SET a 1", "SELECT 0", "INCR a", "EXEC"];
    assert_eq!(node.records_from(0), expected);
    client.ok("SELECT 1");
    client.ok("SET b 1");
    assert_eq!(node.records_from(0)[8..], ["SELECT 1", "SET b 1"]);
}

/// INCR hid the expired key and logged itself alone: a replica counted on from the old value.
#[test]
fn a_transaction_that_a_pause_overtakes_deletes_what_has_expired() {
    let (master, replica) = (Node::master(), Node::replica());
    let mut client = master.client();
    client.ok("SET n 7 PX 50");
    client.now = Millis(NOW.0 + 100);
    let engine = Arc::clone(&master.engine);
    master.host.on_command(move || engine.pause_writes(Millis(u64::MAX)));
    client.ok("MULTI");
    client.line("TIME");
    client.line("INCR n");
    assert!(matches!(client.line("EXEC"), Reply::Array(replies) if replies[1] == int(1)));
    master.engine.resume_writes();
    let bytes = master.log_from(0);
    replica.engine.apply(&mut Applier::default(), &bytes, client.now).unwrap();
    assert_eq!(replica.content(client.now), master.content(client.now));
}

/// The key came to life again at the target.
#[test]
#[allow(clippy::disallowed_methods, reason = "the host's worker thread may wait")]
fn a_flush_in_a_transaction_waits_for_keys_that_are_leaving() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1");
    let args: Vec<&[u8]> = b"MIGRATE h 1 a 0 100".split(|b| *b == b' ').collect();
    let request = MigrateRequest::parse(&args).unwrap();
    let MigrateBegin::Send(migration) = node.engine.migrate_begin(&request, 0, NOW).unwrap() else {
        panic!()
    };
    let (engine, left) = (Arc::clone(&node.engine), Mutex::new(Some(migration)));
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    node.host.on_pause(move |_| {
        if counted.fetch_add(1, Ordering::SeqCst) == 2 {
            let migration = left.lock().unwrap().take().unwrap();
            assert_eq!(engine.keyspace().len(), 1, "nothing was flushed yet");
            engine.migrate_end(migration, |_| Fate::Stayed, NOW).unwrap();
        }
    });
    client.ok("MULTI");
    client.line("FLUSHALL");
    assert!(matches!(client.line("EXEC"), Reply::Array(replies) if replies.len() == 1));
    assert_eq!((node.engine.keyspace().len(), seen.load(Ordering::SeqCst)), (0, 3));
}
