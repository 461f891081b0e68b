//! MIGRATE: reads pass, writers of marked keys wait, and what has crossed is deleted and logged once.

use crate::support::*;
use node_server_engine::options::{CROSSING_HOLD_MS, HOLD_MS};
use node_server_engine::{Fate, MigrateBegin, MigrateRequest, Migration, Outcome, ReplicaAck};
use node_server_protocol::resp::Reply;
use node_server_protocol::{Millis, key_slot};
use std::sync::Arc;

fn request(line: &str) -> MigrateRequest {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    MigrateRequest::parse(&args).unwrap()
}

fn begin(node: &Node, line: &str) -> Migration {
    match node.engine.migrate_begin(&request(line), 0, NOW).unwrap() {
        MigrateBegin::Send(migration) => migration,
        other => panic!("{other:?}"),
    }
}

/// The slot of `{a}` is moving to node 2 from now on.
fn open_slot(node: &Node) {
    let mut routing = routing(1, 3, &[]);
    routing.set_migrating(key_slot(b"a"), node_id(2));
    node.engine.publish_routing(Arc::new(routing));
}

const THREE: &str = "MIGRATE 127.0.0.2 7002  0 5000 REPLACE KEYS {a}1 {a}2 {a}3";

#[test]
fn parses_what_redis_cli_sends() {
    let one = request("MIGRATE h 7 key 0 10 COPY REPLACE AUTH2 user secret");
    assert_eq!((one.keys, one.copy, one.replace, one.timeout_ms), (vec![b"key".to_vec()], true, true, 10));
    assert_eq!(one.auth, Some((Some(b"user".to_vec()), b"secret".to_vec())));
    let many = request("MIGRATE h 7  0 0 AUTH secret KEYS a b");
    assert_eq!((many.keys.len(), many.timeout_ms), (2, 1000));
    let bad = |line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        MigrateRequest::parse(&args).unwrap_err().to_string()
    };
    assert_eq!(
        bad("MIGRATE h 7 k 0 10 KEYS a"),
        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
    );
    assert_eq!(bad("MIGRATE h 7 k 0 10 WHAT"), "ERR syntax error");
    assert_eq!(bad("MIGRATE h 7 k 0 x"), "ERR value is not an integer or out of range");
}

/// Half of an MSET crossed, and its source died before the replica had the other half.
#[test]
fn keys_are_sent_when_a_replica_has_all_that_was_written_before() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MSET {a}1 old {a}2 old");
    open_slot(&node);
    let may_send = |migration: &Migration, now| node.engine.may_send(migration, now);
    let alone = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    assert!(may_send(&alone, NOW), "no replica is in sync: nothing to wait for");
    assert_eq!(node.engine.migrate_end(alone, |_| Fate::Stayed, NOW).unwrap(), None);
    let ack = |offset| node.engine.acks().set(vec![ReplicaAck { offset, in_sync: true, on_disk: 0 }]);
    let before = node.engine.log().end();
    ack(before);
    client.ok("MSET {a}1 new {a}2 new");
    let end = node.engine.log().end();
    let migration = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    client.ok("SET {a}2 newer");
    assert!(!may_send(&migration, NOW));
    let copy = begin(&node, "MIGRATE 127.0.0.2 7002 {a}2 0 5000 COPY");
    assert!(may_send(&copy, NOW), "nothing is deleted here for a copy");
    ack(end - 1);
    assert!(!may_send(&migration, NOW.after(CROSSING_HOLD_MS - 1)));
    assert!(
        may_send(&migration, NOW.after(CROSSING_HOLD_MS)),
        "a replica that stands still holds nothing up for ever"
    );
    ack(end);
    assert!(may_send(&migration, NOW), "it need not have what came later");
    assert!(matches!(node.engine.still_answers_for(&migration), Some(Ok(()))));
    node.engine.publish_routing(Arc::new(routing(2, 3, &[])));
    let refused = node.engine.still_answers_for(&migration).unwrap().unwrap_err();
    assert_eq!(refused.to_string(), "MOVED 15495 127.0.0.1:7001");
    assert_eq!(node.engine.migrate_end(migration, |_| Fate::Stayed, NOW).unwrap(), None);
}

/// Found by a review: a key expired while it waited to be sent, a client was sent to the target to set it anew, and then
/// its old value came and replaced that.
#[test]
fn a_key_that_expires_on_its_way_is_not_asked_for_elsewhere() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 old PX 50");
    open_slot(&node);
    let migration = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    client.now = NOW.after(51);
    assert_eq!(client.line("GET {a}1"), Reply::Null);
    assert_eq!(client.outcome(&["SET", "{a}1", "new"]), Outcome::Park, "not ASK");
    assert_eq!(migration.keys[0].ttl_ms(client.now), None);
    node.engine.migrate_end(migration, |_| Fate::Arrived, client.now).unwrap();
    assert!(client.error("SET {a}1 new").starts_with("ASK "));
}

/// What waited would otherwise be sent in the very pause in which a replica takes over.
#[test]
fn nothing_is_sent_while_writes_are_held_back() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 x");
    open_slot(&node);
    let migration = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    node.engine.pause_writes(NOW.after(1000));
    assert!(!node.engine.may_send(&migration, NOW));
    node.engine.resume_writes();
    assert!(node.engine.may_send(&migration, NOW));
}

/// A replica that has lost its link may be the master before it is back.
#[test]
fn a_replica_that_lives_is_waited_for_out_of_sync_too() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 x");
    let mut open = routing(1, 3, &[]);
    open.set_migrating(key_slot(b"a"), node_id(2));
    open.expects_replica = true;
    node.engine.publish_routing(Arc::new(open));
    let migration = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    assert!(!node.engine.may_send(&migration, NOW.after(HOLD_MS - 1)));
    assert!(node.engine.may_send(&migration, NOW.after(HOLD_MS)));
    let ack = ReplicaAck { offset: node.engine.log().end(), in_sync: true, on_disk: 0 };
    node.engine.acks().set(vec![ack]);
    assert!(node.engine.may_send(&migration, NOW));
}

/// It may have waited.
#[test]
fn time_to_live_is_counted_when_a_key_is_sent() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 x PX 5000");
    open_slot(&node);
    let migration = begin(&node, "MIGRATE 127.0.0.2 7002 {a}1 0 5000");
    let left = |later| migration.keys[0].ttl_ms(NOW.after(later));
    assert_eq!([left(0), left(3000), left(5000)], [Some(5000), Some(2000), None]);
}

#[test]
fn keys_cross() {
    let node = Node::master();
    let (mut client, mut other) = (node.client(), node.client());
    client.ok("MSET {a}1 one {a}2 two");
    assert_eq!(client.line("PEXPIRE {a}2 60000"), int(1));
    open_slot(&node);
    let migration = begin(&node, THREE);
    assert_eq!(migration.keys.iter().map(|k| k.key.as_slice()).collect::<Vec<_>>(), [b"{a}1", b"{a}2"]);
    assert_eq!(migration.keys.iter().map(|k| k.ttl_ms(NOW)).collect::<Vec<_>>(), [Some(0), Some(60000)]);
    assert!(matches!(node.engine.migrate_begin(&request(THREE), 0, NOW).unwrap(), MigrateBegin::Busy));
    assert_eq!(other.line("GET {a}1"), bulk("one"), "reads pass");
    assert_eq!(client.outcome(&["SET", "{a}1", "x"]), Outcome::Park);
    assert_eq!(other.line("GET {a}1"), bulk("one"), "letting the slot go does not wake the writer");
    assert_eq!(node.host.woken(), []);
    let from = node.engine.log().end();
    // The second key's outcome is unclear: it stays.
    let end = node.engine.migrate_end(migration, |n| n == 0, NOW).unwrap().expect("one key has crossed");
    assert_eq!(node.records_from(from), ["DEL {a}1"]);
    assert_eq!(end, node.engine.log().end());
    assert_eq!(node.host.woken(), [client.session.id]);
    assert_eq!(client.error("SET {a}1 x"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(other.line("GET {a}2"), bulk("two"));
    client.ok("SET {a}2 three");
}

/// A copy that a try of unknown outcome left at the target never comes to life: not while the slot moves, and not when
/// it has moved.
#[test]
fn a_key_deleted_after_an_unclear_try_is_deleted_at_the_target_too() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MSET {a}1 one {a}2 two {a}3 three");
    open_slot(&node);
    let slot = key_slot(b"a").number();
    let fates = [Fate::Unclear, Fate::Stayed, Fate::Unclear];
    assert_eq!(node.engine.migrate_end(begin(&node, THREE), |n| fates[n], NOW).unwrap(), None);
    assert_eq!(client.line("DEL {a}1 {a}3"), int(2));
    assert_eq!(client.line("GET {a}1"), Reply::Null, "no ASK: the target may have what was deleted");
    assert_eq!(client.error("GET {a}9"), "ASK 15495 127.0.0.2:7002");
    client.ok("SET {a}3 again");
    assert_eq!(
        client.line(&format!("CLUSTER COUNTKEYSINSLOT {slot}")),
        int(4),
        "two keys, two to be settled"
    );
    let listed = client.line(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
    let Reply::Array(listed) = listed else { panic!("{listed:?}") };
    assert!(listed.len() == 3 && listed.contains(&bulk("{a}1")), "{listed:?}");
    let migration = begin(&node, THREE);
    let told: Vec<_> = migration.keys.iter().map(|k| (k.key.as_slice(), k.replace, k.gone)).collect();
    let wanted: [(&[u8], bool, bool); 3] =
        [(b"{a}1", true, true), (b"{a}2", false, false), (b"{a}3", true, false)];
    assert_eq!(told, wanted);
    assert_eq!(client.outcome(&["SET", "{a}1", "x"]), Outcome::Park, "a deletion on its way is waited for");
    let from = node.engine.log().end();
    node.engine.migrate_end(migration, |_| Fate::Arrived, NOW).unwrap().expect("two keys have crossed");
    assert_eq!(node.records_from(from), ["DEL {a}2 {a}3"]);
    assert_eq!(client.error("GET {a}1"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(client.line(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), int(0));
}

#[test]
fn the_first_ask_is_held_until_a_replica_has_the_deletion() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MSET {a}1 one {a}2 two");
    open_slot(&node);
    node.engine.acks().set(vec![ReplicaAck { offset: 0, in_sync: true, on_disk: 0 }]);
    let migration = begin(&node, THREE);
    assert_eq!(client.error("GET {a}9"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(client.session.hold.take(), None, "nothing has crossed yet");
    let end = node.engine.migrate_end(migration, |_| true, NOW).unwrap().unwrap();
    assert_eq!(client.error("GET {a}1"), "ASK 15495 127.0.0.2:7002");
    let hold = client.session.hold.take().expect("no replica has the deletion");
    let to = node_id(2);
    assert_eq!((hold.offset, hold.asks), (end, Some((key_slot(b"a"), to))));
    // A master that has lost its last slot tells nobody of anything any more with it: the client was cut off.
    assert!(!node.engine.is_owned_by(key_slot(b"a"), to));
    node.engine.publish_routing(Arc::new(routing(1, 4, &[("15495", 2)])));
    assert!(node.engine.is_owned_by(key_slot(b"a"), to));
    open_slot(&node);
    node.engine.acks().set(vec![ReplicaAck { offset: end, in_sync: true, on_disk: 0 }]);
    assert_eq!(client.error("GET {a}1"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(client.session.hold.take(), None);
}

#[test]
fn no_key_copies_and_foreign_slots() {
    let node = Node::master();
    let mut client = node.client();
    assert!(matches!(node.engine.migrate_begin(&request(THREE), 0, NOW).unwrap(), MigrateBegin::NoKey));
    client.ok("SET {a}1 one PX 100");
    let late = Millis(NOW.0 + 200);
    assert!(matches!(node.engine.migrate_begin(&request(THREE), 0, late).unwrap(), MigrateBegin::NoKey));
    client.ok("SET {a}1 one");
    let copy = begin(&node, "MIGRATE h 7  0 5 COPY KEYS {a}1 {a}1");
    assert_eq!(copy.keys.len(), 2);
    client.ok("SET {a}1 two");
    assert_eq!(node.engine.migrate_end(copy, |_| true, NOW).unwrap(), None);
    assert_eq!(client.line("GET {a}1"), bulk("two"));
    let twice = begin(&node, "MIGRATE h 7  0 5 KEYS {a}1 {a}1");
    assert_eq!(twice.keys.len(), 1);
    assert!(node.engine.migrate_end(twice, |_| true, NOW).unwrap().is_some());
    assert_eq!(client.line("GET {a}1"), Reply::Null);
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    let refused = node.engine.migrate_begin(&request(THREE), 0, NOW).unwrap_err();
    assert_eq!(refused.to_string(), "MOVED 15495 127.0.0.2:7002");
}

#[test]
fn the_deletion_waits_for_the_end_of_a_pause_and_never_happens_after_a_demotion() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 one");
    let migration = begin(&node, THREE);
    node.engine.pause_writes(Millis(NOW.0 + 100));
    let end = node.engine.log().end();
    let held = node.engine.migrate_end(migration, |_| true, NOW).unwrap_err();
    assert_eq!(node.engine.log().end(), end);
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("0-16383", 2)])));
    assert_eq!(node.engine.migrate_end(held.0, |_| true, NOW).unwrap(), None);
    assert_eq!(node.engine.log().end(), end);
    assert_eq!(node.engine.keyspace().len(), 1);
}

#[test]
fn a_flush_waits_for_keys_on_their_way() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 one");
    client.ok("SET b two");
    let migration = std::sync::Mutex::new(Some(begin(&node, THREE)));
    let engine = node.engine.clone();
    // The worker's first wait is long enough for the target to answer.
    node.host.on_pause(move |_| {
        if let Some(migration) = migration.lock().unwrap().take() {
            assert_eq!(engine.keyspace().len(), 2, "nothing is flushed before");
            engine.migrate_end(migration, |_| true, NOW).unwrap();
        }
    });
    client.ok("FLUSHALL");
    assert_eq!(node.records_from(0)[3..], ["DEL {a}1", "FLUSHALL"]);
}

/// Its expiry was taken off the list while it was on its way; it stayed, was hidden, and the slot was never empty.
#[test]
fn a_key_that_expires_on_its_way_and_stays_is_deleted() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}1 one PX 50");
    open_slot(&node);
    let migration = begin(&node, THREE);
    let late = Millis(NOW.0 + 100);
    assert_eq!(node.engine.tick(late, 100), 0, "it is on its way");
    node.engine.migrate_end(migration, |_| Fate::Stayed, late).unwrap();
    assert_eq!(node.engine.tick(late, 100), 1);
    assert_eq!(node.engine.keyspace().len(), 0);
}
