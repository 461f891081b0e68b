//! `appendfsync always`: what waits for the disk; and writes that are refused because of it.

use crate::support::*;
use node_server_engine::{Chunk, Fate, MigrateBegin, MigrateRequest, Snapshot, SnapshotError};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use node_server_rdb::Dialect;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A master that holds replies for the disk.
fn holding() -> Node {
    let node = Node::master();
    node.engine.durability().set_holds(true);
    node
}

/// What the replies so far wait for.
fn disk(client: &mut Client) -> u64 {
    client.session.hold.take().map_or(0, |hold| hold.disk)
}

#[test]
fn a_reply_waits_for_what_it_tells_whoever_wrote_it() {
    let node = holding();
    let (mut client, mut other) = (node.client(), node.client());
    client.ok("SET a 1");
    let end = node.engine.log().end();
    assert_eq!(disk(&mut client), end);
    assert_eq!(other.line("GET a"), bulk("1"));
    assert_eq!(disk(&mut other), end);
    client.ok("SET b 1");
    assert_eq!(other.line("GET a"), bulk("1"));
    assert_eq!(disk(&mut other), end, "of its own slot alone");
    node.engine.durability().set_synced(node.engine.log().end());
    assert_eq!(other.line("GET b"), bulk("1"));
    assert_eq!(disk(&mut other), 0);
}

/// Found by reading: these told of what a crash of the machine would have taken back.
#[test]
fn counts_and_failed_transactions_wait_as_well() {
    let node = holding();
    let (mut client, mut other) = (node.client(), node.client());
    other.ok("WATCH a");
    client.ok("SET a 1");
    let end = node.engine.log().end();
    for line in ["DBSIZE", "CLUSTER COUNTKEYSINSLOT 15495"] {
        assert_eq!(node.client().line(line), int(1));
        let mut third = node.client();
        third.line(line);
        assert_eq!(disk(&mut third), end, "{line}");
    }
    other.ok("MULTI");
    other.line("SET b 1");
    assert_eq!(other.line("EXEC"), Reply::Null);
    assert_eq!(disk(&mut other), end);
    node.engine.durability().set_synced(end);
    other.line("DBSIZE");
    assert_eq!(disk(&mut other), 0);
}

#[test]
fn what_a_flush_took_away_is_told_when_it_is_on_the_disk() {
    for how in [&["FLUSHALL"][..], &["MULTI", "FLUSHALL", "EXEC"], &["MULTI", "SET b 1", "FLUSHALL", "EXEC"]]
    {
        let node = holding();
        let (mut client, mut other) = (node.client(), node.client());
        client.ok("SET {a}1 x");
        client.ok("SET b x");
        node.engine.durability().set_synced(node.engine.log().end());
        how.iter().for_each(|line| drop(client.line(line)));
        let end = node.engine.log().end();
        assert_eq!(disk(&mut client), end, "{how:?}");
        assert_eq!(other.line("GET {a}1"), Reply::Null);
        assert_eq!(disk(&mut other), end, "{how:?}");
    }
}

#[test]
fn an_ask_waits_for_the_deletion_of_what_crossed() {
    let node = holding();
    let mut client = node.client();
    client.ok("SET {a}1 x");
    let mut routing = routing(1, 3, &[]);
    routing.set_migrating(key_slot(b"a"), node_id(2));
    node.engine.publish_routing(Arc::new(routing));
    let args: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.2", b"7002", b"{a}1", b"0", b"5000"];
    let request = MigrateRequest::parse(&args).unwrap();
    let MigrateBegin::Send(migration) = node.engine.migrate_begin(&request, 0, NOW).unwrap() else {
        panic!("not sent")
    };
    node.engine.durability().set_synced(node.engine.log().end());
    let end = node.engine.migrate_end(migration, |_| Fate::Arrived, NOW).unwrap().unwrap();
    disk(&mut client);
    assert_eq!(client.error("GET {a}1"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(disk(&mut client), end);
}

/// A gate on a replica closes the connection: there it would mean that this node was a master a moment ago.
#[test]
fn a_replica_holds_nothing() {
    let node = Node::replica();
    node.engine.log().restart(node.engine.durability(), "a".repeat(40), 1000, 0);
    node.engine.durability().set_holds(true);
    let mut client = node.client();
    client.session.readonly = true;
    for line in ["SCAN 0", "KEYS *", "RANDOMKEY", "GET a"] {
        client.line(line);
        assert_eq!(client.session.hold, None, "{line}");
    }
}

fn read_all(snapshot: &mut Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match snapshot.next_chunk(1 << 20) {
            Chunk::Bytes(more) => bytes.extend(more),
            Chunk::Busy => std::thread::yield_now(),
            Chunk::Failed(error) => panic!("{error}"),
            Chunk::End => return bytes,
        }
    }
}

/// An RDB stream of many keys that all have one value.
fn stream(value: &str) -> Vec<u8> {
    let node = Node::master();
    let mut client = node.client();
    (0..3000).for_each(|n| client.ok(&format!("SET key:{n} {value}")));
    read_all(&mut node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap())
}

/// A full sync may lead to a history with smaller offsets: those of the old one say nothing about it.
#[test]
fn offsets_of_an_old_history_are_forgotten() {
    let node = holding();
    let mut client = node.client();
    (0..100).for_each(|n| client.ok(&format!("SET key:{n} x")));
    node.engine.durability().set_synced(node.engine.log().end());
    let restarts = node.engine.log().standing().restarts;
    let mut loader = node.engine.begin_load(NOW);
    assert!(loader.feed(&stream("y")).unwrap());
    loader.commit(&"b".repeat(40), 5).unwrap();
    assert!(node.engine.log().standing().restarts > restarts);
    // A sync that had begun before is through.
    node.engine.set_synced_of(restarts, 5000);
    assert_eq!(node.engine.durability().on_disk().unwrap_or_default(), 0);
    assert_eq!(node.engine.durability().synced(), 0, "a replica would tell its master of it");
    node.engine.set_synced_of(node.engine.log().restarts(), 3);
    assert_eq!(node.engine.durability().synced(), 3);
    node.engine.durability().set_synced(0);
    disk(&mut client);
    assert_eq!(client.line("GET key:1"), bulk("y"));
    assert_eq!(disk(&mut client), 0, "it would be waited for for ever");
    client.ok("SET key:1 z");
    assert_eq!(disk(&mut client), node.engine.log().end(), "nothing of this history is on the disk");
}

/// Full syncs beside snapshots, and where no snapshot gets to run between them.
const LOADS: usize = 60;
const LOADS_MAX: usize = 6000;

/// Found by reading: a snapshot that began while a full sync was put in place showed a part of either, at an offset of
/// the old history.
#[test]
fn a_snapshot_shows_one_data_set_and_names_its_history() {
    let node = Node::replica();
    let histories = [("x", "a".repeat(40)), ("y", "b".repeat(40))];
    let streams = histories.clone().map(|(value, replid)| (stream(value), replid));
    let begin = |n: usize| {
        let (bytes, replid) = &streams[n % 2];
        let mut loader = node.engine.begin_load(NOW);
        assert!(loader.feed(bytes).unwrap());
        loader.commit(replid, 100).unwrap();
    };
    begin(0);
    let stop = AtomicBool::new(false);
    let seen = AtomicUsize::new(0);
    let is_seen = || seen.load(Ordering::Relaxed) > 2;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..LOADS_MAX).take_while(|n| *n < LOADS || !is_seen()).for_each(begin);
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let mut snapshot = match node.engine.begin_snapshot(NOW, Dialect::Valkey) {
                Ok(snapshot) => snapshot,
                Err(SnapshotError::Busy) => {
                    std::thread::yield_now();
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            let bytes = read_all(&mut snapshot);
            let shown = Node::replica();
            let mut loader = shown.engine.begin_load(NOW);
            assert!(loader.feed(&bytes).unwrap());
            assert_eq!(loader.history(), Some((snapshot.replid.as_str(), 100)));
            loader.commit(&snapshot.replid, 100).unwrap();
            let (value, _) = histories.iter().find(|(_, replid)| *replid == snapshot.replid).unwrap();
            let content = shown.content(NOW);
            assert_eq!(content.len(), 3000);
            assert!(content.values().all(|(found, _)| found == value.as_bytes()), "a mixture");
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(is_seen(), "{seen:?}");
}

#[test]
fn writes_are_refused_in_redis_words_and_redirected_first() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1");
    client.ok("MULTI");
    client.line("SET a 2");
    node.engine.durability().refuse_writes(Some("MISCONF no disk"));
    assert_eq!(client.error("EXEC"), "EXECABORT Transaction discarded because of: MISCONF no disk");
    assert_eq!(client.error("SET a 2"), "MISCONF no disk");
    assert_eq!(client.error("FLUSHALL"), "MISCONF no disk");
    assert_eq!(client.error("PING"), "MISCONF no disk");
    assert_eq!(client.line("GET a"), bulk("1"));
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495-15495", 2)])));
    assert_eq!(client.error("SET a 2"), "MOVED 15495 127.0.0.2:7002");
    node.engine.durability().refuse_writes(None);
    client.ok("SET b 2");
}
