//! The pause of writes, the barrier, demotion under a write, expiration.

use crate::support::*;
use node_server_engine::log::{History, NO_REPLID};
use node_server_engine::{Options, Outcome};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Millis, Role, SlotSet};
use node_server_rdb::Dialect;
use std::sync::Arc;

#[test]
fn a_pause_parks_writers_and_freezes_the_log() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1 PX 50");
    node.engine.pause_writes(Millis(NOW.0 + 1000));
    let end = node.engine.writes_settled().expect("nobody writes");
    assert_eq!(client.outcome(&["SET", "a", "2"]), Outcome::Park);
    assert_eq!(client.outcome(&["DEL", "a"]), Outcome::Park);
    let mut reader = node.client();
    assert_eq!(reader.line("GET a"), bulk("1"));
    reader.now = Millis(NOW.0 + 100);
    assert_eq!(reader.line("GET a"), Reply::Null, "expired, but hidden only");
    assert_eq!(node.engine.tick(Millis(NOW.0 + 100), 100), 0);
    assert!(!node.engine.append_ping());
    assert_eq!(node.engine.append_record(&[b"CLUSTER", b"SETSLOT"]), None);
    assert_eq!(node.engine.log().end(), end);
    assert_eq!(node.host.woken(), []);
    assert_eq!(node.engine.tick(Millis(NOW.0 + 1000), 100), 1, "the pause is over, the key goes");
    assert_eq!(node.host.woken(), [client.session.id]);
    assert_eq!(client.outcome(&["SET", "a", "2"]), Outcome::Done);
    assert!(node.engine.writes_settled().is_none());
}

#[test]
fn a_flush_waits_for_the_end_of_a_pause() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1");
    node.engine.pause_writes(Millis(NOW.0 + 1000));
    let mut out = Vec::new();
    let outcome = node.engine.execute_offloaded(&mut client.session, &[b"FLUSHALL"], NOW, &mut out);
    assert_eq!((outcome, out.len()), (Outcome::Park, 0));
    node.engine.resume_writes();
    assert_eq!(node.host.woken(), [client.session.id]);
    client.ok("FLUSHALL");
}

/// FLUSHALL had looked whether writes were paused, had its barrier and had not logged yet: a pause took effect, and the
/// log grew behind the offset that a replica was to reach before it took over.
#[test]
fn a_pause_takes_effect_behind_whoever_has_the_barrier() {
    let node = Node::master();
    let barrier = node.engine.try_barrier().unwrap();
    node.engine.pause_writes(Millis(u64::MAX));
    assert_eq!(node.engine.writes_settled(), None);
    drop(barrier);
    assert_eq!(node.engine.writes_settled(), Some(node.engine.log().end()));
}

#[test]
fn a_barrier_excludes_writers_and_other_barriers() {
    let node = Node::master();
    let mut client = node.client();
    let barrier = node.engine.try_barrier().expect("nobody writes");
    assert!(node.engine.try_barrier().is_none());
    assert_eq!(client.outcome(&["SET", "a", "1"]), Outcome::Park);
    assert_eq!(client.outcome(&["GET", "a"]), Outcome::Done);
    drop(barrier);
    assert_eq!(node.host.woken(), [client.session.id]);
    client.ok("SET a 1");
}

/// The demotion comes while the command runs: DEBUG's hook is not there, so a thread demotes at random moments and
/// every OK that a client got has to be in the log.
#[test]
fn a_command_overtaken_by_a_demotion_is_never_ok() {
    // Room for the whole log, however late the demotion comes.
    let replid = "a".repeat(40);
    let node = Node::with(Options { backlog_size: 64 << 20, replid, ..Options::default() });
    node.engine.publish_routing(Arc::new(routing(1, 1, &[])));
    let engine = node.engine.clone();
    let mut client = node.client();
    let writer = std::thread::spawn(move || {
        let mut acknowledged = 0;
        loop {
            let (outcome, out) = client.try_once(&[b"INCR", b"{a}n"]);
            match outcome {
                Outcome::Done if out.starts_with(b":") => acknowledged += 1,
                Outcome::Done => {
                    assert!(
                        out.starts_with(b"-MOVED 15495 127.0.0.2:7002"),
                        "{}",
                        String::from_utf8_lossy(&out)
                    );
                    return acknowledged;
                }
                Outcome::Close => return acknowledged,
                Outcome::Park => {}
                other => panic!("{other:?}"),
            }
        }
    });
    while engine.log().end() < 10_000 {
        std::thread::yield_now();
    }
    engine.publish_routing(Arc::new(routing(1, 2, &[("0-16383", 2)])));
    let acknowledged = writer.join().unwrap();
    let logged = node.records_from(0).iter().filter(|r| r.starts_with("INCR")).count();
    assert_eq!(acknowledged, logged);
}

#[test]
fn a_write_that_cannot_be_logged_makes_a_full_sync_necessary() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 1");
    let end = node.engine.log().end();
    // The host's answer comes between the writes of the transaction and its log record: there it is demoted.
    let engine = node.engine.clone();
    node.host.on_command(move || engine.publish_routing(Arc::new(routing(1, 2, &[("0-16383", 2)]))));
    client.ok("MULTI");
    client.line("SET {a}1 2");
    client.line("INFO");
    assert!(!node.engine.needs_full_resync());
    assert_eq!(client.error("EXEC"), "MOVED 15495 127.0.0.2:7002");
    assert_eq!(node.engine.log().end(), end);
    assert!(node.engine.needs_full_resync());
}

/// A file written then named the history that the data is no part of, and a restart built on it; promoted before the
/// full sync, the node gave others a continuation of what they did not have.
#[test]
fn what_is_in_no_log_has_no_history() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 1");
    let (end, old) = (node.engine.log().end(), node.engine.log().history().replid);
    let engine = node.engine.clone();
    let mut demoted = routing(1, 2, &[("0-16383", 2)]);
    demoted.role = Role::Replica { of: node_id(2) };
    node.host.on_command(move || engine.publish_routing(Arc::new(demoted.clone())));
    for line in ["MULTI", "SET {a}1 2", "INFO"] {
        client.line(line);
    }
    assert_eq!(client.error("EXEC"), "MOVED 15495 127.0.0.2:7002");
    let snapshot = node.engine.begin_snapshot(NOW, Dialect::Valkey).unwrap();
    assert_eq!((snapshot.replid.as_str(), snapshot.offset), (NO_REPLID, end));
    drop(snapshot);
    let offset = i64::try_from(end).unwrap() + 1;
    for id in [old.as_bytes(), NO_REPLID.as_bytes()] {
        assert_eq!(node.engine.log().continue_from(id, offset), None);
    }
    let restarts = node.engine.log().standing().restarts;
    node.engine.promote("d".repeat(40));
    assert!(!node.engine.needs_full_resync());
    assert_eq!(node.engine.log().history(), History::new("d".repeat(40)));
    assert_eq!(node.engine.log().end(), end);
    // So files are written anew.
    assert_eq!(node.engine.log().standing().restarts, restarts + 1);
    assert_eq!(node.engine.log().continue_from(old.as_bytes(), offset), None);
}

#[test]
fn expired_keys_are_deleted_and_logged_by_a_master_only() {
    let node = Node::master();
    let mut client = node.client();
    for n in 0..1000 {
        client.ok(&format!("SET key:{n} v PX {}", 10 + n % 2 * 1000));
    }
    client.ok("SET {a}1 v PX 10");
    let from = node.engine.log().end();
    client.now = Millis(NOW.0 + 20);
    assert_eq!(client.line("GET {a}1"), Reply::Null);
    assert_eq!(node.records_from(from), ["DEL {a}1"]);
    assert_eq!(node.engine.tick(client.now, 200), 200);
    assert_eq!(node.engine.tick(client.now, 1000), 300);
    assert_eq!(node.engine.tick(client.now, 1000), 0);
    assert_eq!(node.engine.keyspace().len(), 500);
    assert_eq!(node.engine.keyspace().volatile(), 500);
    assert_eq!(node.engine.tick(Millis(NOW.0 + 5000), usize::MAX), 500);
    assert_eq!((node.engine.keyspace().len(), node.engine.keyspace().bytes()), (0, 0));
}

#[test]
fn keys_of_a_lost_slot_are_dropped_and_logged() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MSET {a}1 x {a}2 y");
    client.ok("SET b z");
    let slots: SlotSet = [node_server_protocol::key_slot(b"a")].into_iter().collect();
    assert_eq!(node.engine.drop_slots(&slots, NOW), 0, "still owned");
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    let from = node.engine.log().end();
    assert_eq!(node.engine.drop_slots(&slots, NOW), 2);
    assert_eq!(node.engine.keyspace().len(), 1);
    let records = node.records_from(from);
    assert!(records == ["DEL {a}1 {a}2"] || records == ["DEL {a}2 {a}1"], "{records:?}");
}

#[test]
fn writers_behind_a_pause_hear_of_a_demotion_at_once() {
    let node = Node::master();
    let mut client = node.client();
    node.engine.pause_writes(Millis(NOW.0 + 100_000));
    assert_eq!(client.outcome(&["SET", "a", "1"]), Outcome::Park);
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("0-16383", 2)])));
    assert_eq!(node.host.woken(), [client.session.id]);
    assert_eq!(client.error("SET a 1"), "MOVED 15495 127.0.0.2:7002");
}
