//! A snapshot shows one moment, whatever is written while it is taken.

use crate::support::*;
use node_server_engine::{Applier, Chunk, Outcome, Snapshot, SnapshotError};
use node_server_protocol::resp::Reply;
use node_server_rdb::Dialect;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn read_all(snapshot: &mut Snapshot, between: &mut dyn FnMut()) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match snapshot.next_chunk(512) {
            Chunk::Bytes(more) => bytes.extend(more),
            Chunk::Busy => std::thread::yield_now(),
            Chunk::Failed(error) => panic!("{error}"),
            Chunk::End => return bytes,
        }
        between();
    }
}

/// All that is on a node.
pub(crate) fn whole(node: &Node) -> Vec<u8> {
    read_all(&mut node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap(), &mut || {})
}

fn load(bytes: &[u8], offset: u64) -> Node {
    let replica = Node::replica();
    let mut loader = replica.engine.begin_load(NOW);
    assert!(loader.feed(bytes).unwrap());
    loader.commit(&"a".repeat(40), offset).unwrap();
    replica
}

#[test]
fn writes_during_a_snapshot_are_not_in_it_but_in_the_log_behind_it() {
    let node = Node::master();
    let mut client = node.client();
    for n in 0..2000 {
        client.ok(&format!("SET key:{n} {n}"));
    }
    client.ok("SET key:ttl x PX 100000");
    let before = node.content(NOW);
    let mut snapshot = node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    assert!(matches!(node.engine.begin_snapshot(NOW, Dialect::Valkey), Err(SnapshotError::UnderWay)));
    let mut n = 0;
    let bytes = read_all(&mut snapshot, &mut || {
        n += 1;
        client.line(&format!("INCR key:{}", n * 7 % 2500));
        client.line(&format!("DEL key:{}", n * 13 % 2000));
        if n == 20 {
            client.ok("FLUSHALL");
        }
    });
    assert!(n > 20);
    let replica = load(&bytes, snapshot.offset);
    assert_eq!(replica.content(NOW), before);
    let behind = node.log_from(snapshot.offset);
    assert!(behind.starts_with(b"*2\r\n$6\r\nSELECT"), "a reader that begins here knows its database");
    replica.engine.apply(&mut Applier::default(), &behind, NOW).unwrap();
    assert_eq!(replica.content(NOW), node.content(NOW));
    drop(snapshot);
    node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
}

/// Two counters that are always written together are equal in every snapshot, and the log goes on from there.
#[test]
fn snapshots_under_concurrent_writers() {
    let node = Node::master();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|w| {
            let mut client = node.client();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    client.ok("MULTI");
                    client.line(&format!("INCR {{{w}}}left"));
                    client.line(&format!("INCR {{{w}}}right"));
                    assert!(matches!(client.line("EXEC"), Reply::Array(_)));
                    client.ok(&format!("SET {{{w}}}{} {n}", n % 50));
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let mut snapshot = loop {
            match node.engine.begin_snapshot(NOW, Dialect::Valkey) {
                Ok(snapshot) => break snapshot,
                Err(SnapshotError::Busy) => std::thread::yield_now(),
                Err(other) => panic!("{other}"),
            }
        };
        let bytes = read_all(&mut snapshot, &mut || {});
        let replica = load(&bytes, snapshot.offset);
        let content = replica.content(NOW);
        for w in 0..2 {
            let value = |side: &str| content.get(format!("{{{w}}}{side}").as_bytes()).cloned();
            assert_eq!(value("left"), value("right"));
        }
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|w| w.join().unwrap());
    let mut snapshot = node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    let replica = load(&read_all(&mut snapshot, &mut || {}), snapshot.offset);
    assert_eq!(replica.content(NOW), node.content(NOW));
}

#[test]
fn databases_are_kept_apart() {
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("SET a 0");
    client.ok("SELECT 3");
    client.ok("SET a 3");
    let mut snapshot = node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    let bytes = read_all(&mut snapshot, &mut || {});
    let other = Node::standalone();
    let mut loader = other.engine.begin_load(NOW);
    assert!(loader.feed(&bytes).unwrap());
    assert_eq!(loader.commit(&"a".repeat(40), 5).unwrap(), 2);
    let mut client = other.client();
    assert_eq!(client.line("GET a"), bulk("0"));
    client.ok("SELECT 3");
    assert_eq!(client.line("GET a"), bulk("3"));
    assert_eq!(client.outcome(&["DBSIZE"]), Outcome::Done);
}

/// Two threads want one at the same moment. Both began, or the end of the first took away what writers had handed over to
/// the second: slots that were written before their turn were in neither.
#[test]
fn snapshots_that_begin_and_end_at_once_are_whole() {
    let node = Node::master();
    let mut client = node.client();
    (0..200).for_each(|n| client.ok(&format!("SET key{n} 0")));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (mut client, stop) = (node.client(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::SeqCst) {
                client.line(&format!("INCR key{}", n % 200));
                n += 1;
            }
        })
    };
    let savers: Vec<_> = (0..2)
        .map(|_| {
            let engine = Arc::clone(&node.engine);
            std::thread::spawn(move || {
                let mut whole = 0;
                while whole < 20 {
                    let Ok(mut snapshot) = engine.begin_snapshot(NOW, Dialect::Valkey) else { continue };
                    let offset = snapshot.offset;
                    let bytes = read_all(&mut snapshot, &mut std::thread::yield_now);
                    assert_eq!(load(&bytes, offset).engine.keyspace().len(), 200);
                    whole += 1;
                }
            })
        })
        .collect();
    savers.into_iter().for_each(|saver| saver.join().unwrap());
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
}
