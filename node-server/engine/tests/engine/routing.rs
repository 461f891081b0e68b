//! Who answers: MOVED, ASK, TRYAGAIN, CROSSSLOT, CLUSTERDOWN and READONLY in Redis's words, and the gate for ASK.

use crate::support::*;
use node_server_engine::options::{CROSSING_HOLD_MS, HOLD_MS};
use node_server_engine::{Outcome, ReplicaAck};
use node_server_protocol::routing::Serving;
use node_server_protocol::{Family, Slot, key_slot};
use std::sync::Arc;

// {a} is in slot 15495.
fn a() -> Slot {
    key_slot(b"a")
}

#[test]
fn moved_and_crossslot() {
    let node = Node::master();
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    let mut client = node.client();
    assert_eq!(client.error("GET a"), "MOVED 15495 127.0.0.2:7002");
    assert_eq!(client.error("SET a 1"), "MOVED 15495 127.0.0.2:7002");
    assert_eq!(client.error("MGET b c"), "CROSSSLOT Keys in request don't hash to the same slot");
    client.ok("SET b 1");
    assert_eq!(client.line("GET b"), bulk("1"));
    // A node may have another address for clients of IPv6; written as Valkey does, without brackets.
    client.session.family = Family::V6;
    assert_eq!(client.error("GET a"), "MOVED 15495 2001:db8::2:7002");
}

#[test]
fn down_and_unserved() {
    let node = Node::with(Default::default());
    let mut client = node.client();
    assert_eq!(client.error("GET a"), "CLUSTERDOWN Hash slot not served");
    assert_eq!(client.error("MGET a b"), "CLUSTERDOWN Hash slot not served", "before CROSSSLOT, as in Redis");
    let mut down = routing(1, 2, &[]);
    down.serving = Serving::Down { allow_reads: false };
    node.engine.publish_routing(Arc::new(down.clone()));
    assert_eq!(client.error("GET a"), "CLUSTERDOWN The cluster is down");
    down.serving = Serving::Down { allow_reads: true };
    node.engine.publish_routing(Arc::new(down.clone()));
    assert_eq!(client.line("GET a"), node_server_protocol::resp::Reply::Null);
    assert_eq!(client.error("SET a 1"), "CLUSTERDOWN The cluster is down and only accepts read commands");
    down.serving = Serving::ClosedEmpty;
    node.engine.publish_routing(Arc::new(down));
    assert_eq!(client.error("GET a"), "CLUSTERDOWN The cluster is down");
    assert_eq!(client.line("PING"), node_server_protocol::resp::Reply::Simple("PONG".into()));
}

#[test]
fn a_replica_reads_after_readonly_and_never_writes() {
    let node = Node::replica();
    let mut client = node.client();
    assert_eq!(client.error("GET a"), "MOVED 15495 127.0.0.1:7001");
    client.ok("READONLY");
    assert_eq!(client.line("GET a"), node_server_protocol::resp::Reply::Null);
    assert_eq!(client.error("SET a 1"), "MOVED 15495 127.0.0.1:7001");
    assert_eq!(client.error("FLUSHALL"), "READONLY You can't write against a read only replica.");
    client.ok("READWRITE");
    assert_eq!(client.error("GET a"), "MOVED 15495 127.0.0.1:7001");
}

#[test]
fn a_slot_on_its_way() {
    let (source, target) = (Node::master(), Node::master());
    let mut at_source = routing(1, 2, &[]);
    let mut client = source.client();
    client.ok("SET {a}1 1");
    at_source.set_migrating(a(), node_id(2));
    source.engine.publish_routing(Arc::new(at_source));
    assert_eq!(client.line("GET {a}1"), bulk("1"));
    assert_eq!(client.error("GET {a}2"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(client.error("SET {a}2 x"), "ASK 15495 127.0.0.2:7002");
    assert_eq!(client.error("MGET {a}1 {a}2"), "TRYAGAIN Multiple keys request during rehashing of slot");

    let mut at_target = routing(2, 2, &[]);
    at_target.set_importing(a(), node_id(1));
    target.engine.publish_routing(Arc::new(at_target));
    let mut client = target.client();
    assert_eq!(client.error("SET {a}2 x"), "MOVED 15495 127.0.0.1:7001");
    client.ok("ASKING");
    client.ok("SET {a}2 x");
    assert_eq!(client.error("GET {a}2"), "MOVED 15495 127.0.0.1:7001", "ASKING is for one command");
    client.ok("ASKING");
    assert_eq!(client.line("GET {a}2"), bulk("x"));
    client.ok("ASKING");
    assert_eq!(client.error("MGET {a}2 {a}3"), "TRYAGAIN Multiple keys request during rehashing of slot");
    client.ok("ASKING");
    assert_eq!(client.error("NONSENSE").split(',').next(), Some("ERR unknown command 'NONSENSE'"));
    assert_eq!(client.error("GET {a}2"), "MOVED 15495 127.0.0.1:7001", "also for one that fails");
}

/// A target with its first slots on their way handed over and left, and its source sent everybody there until it heard of that.
#[test]
fn a_replica_sends_who_asks_on_to_the_target_that_replaced_it() {
    let node = Node::replica();
    let mut importing = routing(4, 2, &[("15495", 2)]);
    importing.set_importing(a(), node_id(2));
    node.engine.publish_routing(Arc::new(importing));
    let mut client = node.client();
    assert_eq!(client.error("SET {a} x"), "MOVED 15495 127.0.0.2:7002");
    client.ok("ASKING");
    assert_eq!(client.error("SET {a} x"), "ASK 15495 127.0.0.1:7001");
    client.ok("READONLY");
    client.ok("ASKING");
    assert_eq!(client.error("GET {a}"), "ASK 15495 127.0.0.1:7001");
}

#[test]
fn a_transaction_with_asking_may_create_a_key_and_use_it() {
    let node = Node::master();
    let mut importing = routing(2, 2, &[]);
    importing.set_importing(a(), node_id(1));
    node.engine.publish_routing(Arc::new(importing));
    let mut client = node.client();
    client.ok("ASKING");
    client.ok("MULTI");
    for line in ["SET {a} 1", "GET {a}"] {
        assert_eq!(client.line(line), node_server_protocol::resp::Reply::Simple("QUEUED".into()));
    }
    let ok = node_server_protocol::resp::Reply::Simple("OK".into());
    assert_eq!(client.line("EXEC"), node_server_protocol::resp::Reply::Array(vec![ok, bulk("1")]));
    assert!(!client.session.asking);
}

#[test]
fn restore_asking_is_held_until_a_replica_has_it() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET {a}x value");
    let node_server_protocol::resp::Reply::Bulk(payload) = client.line("DUMP {a}x") else { panic!() };
    let mut importing = routing(2, 2, &[]);
    importing.set_importing(a(), node_id(1));
    node.engine.publish_routing(Arc::new(importing.clone()));
    client.call(&[b"RESTORE-ASKING", b"{a}1", b"0", &payload]);
    assert_eq!(client.session.hold.take(), None, "no replica: nothing to wait for");
    // Found by the simulation: a master that had stood still, while its replica was elected, took keys before it heard
    // of that, and lost them when it did.
    importing.expects_replica = true;
    node.engine.publish_routing(Arc::new(importing));
    client.call(&[b"RESTORE-ASKING", b"{a}1", b"0", &payload, b"REPLACE"]);
    let hold = client.session.hold.take().expect("a replica that lives may be the master by now");
    assert_eq!(hold.deadline, NOW.after(HOLD_MS), "it may also be far from in sync");
    assert!(node.engine.acks().holds());
    node.engine.acks().set(vec![ReplicaAck { offset: 0, in_sync: true, on_disk: 0 }]);
    client.call(&[b"RESTORE-ASKING", b"{a}2", b"0", &payload]);
    let hold = client.session.hold.take().expect("a replica in sync has to have it first");
    assert_eq!(hold.offset, node.engine.log().end());
    assert_eq!(
        hold.deadline,
        NOW.after(CROSSING_HOLD_MS),
        "longer than one that stands still counts as in sync"
    );
    assert!(!node.engine.acks().reached(hold.offset));
    node.engine.acks().set(vec![ReplicaAck { offset: hold.offset, in_sync: true, on_disk: 0 }]);
    assert!(node.engine.acks().reached(hold.offset));
    client.ok("ASKING");
    client.ok("SET {a}3 x");
    assert_eq!(client.session.hold.take(), None, "only what crosses is held");
}

#[test]
fn without_cluster_mode() {
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("MSET a 1 b 2");
    assert_eq!(client.line("DBSIZE"), int(2));
    client.ok("SELECT 1");
    assert_eq!(client.line("DBSIZE"), int(0));
    client.ok("SET a other");
    assert_eq!(client.error("SELECT 16"), "ERR DB index is out of range");
    assert_eq!(client.error("ASKING"), "ERR This instance has cluster support disabled");
    assert_eq!(client.error("CLUSTER INFO"), "ERR This instance has cluster support disabled");
    client.ok("FLUSHDB");
    client.ok("SELECT 0");
    assert_eq!(client.line("GET a"), bulk("1"));
    assert_eq!(node.records_from(0), ["SELECT 0", "MSET a 1 b 2", "SELECT 1", "SET a other", "FLUSHDB"]);
    assert_eq!(client.outcome(&["QUIT"]), Outcome::Close);
}
