//! Replicas that go to a master whose own have failed.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, TIMEOUT_MS, header, id, logged};
use node_server_cluster::{Config, Output};
use node_server_protocol::Epoch;
use node_server_protocol::bus::{Body, Heartbeat, Packet};

/// Longer than an orphan waits, in milliseconds.
const LONG_MS: u64 = 6000;

fn config() -> Config {
    Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() }
}

/// Everybody answers but node 6, and node 5 says that it copies node 1.
fn alive(lone: &mut Lone) {
    for n in lone.to.clone().into_keys().filter(|n| *n < 6) {
        let mut header = header(n);
        if n == 5 {
            (header.master, header.config_epoch) = (Some(id(1)), Epoch(1));
            header.slots = lone::slots(0, 5460);
        }
        lone.receive(lone.to[&n], Packet { header, body: Body::Pong(Heartbeat::default()) });
    }
}

fn pass(lone: &mut Lone, ms: u64) -> Vec<Output> {
    let mut all = Vec::new();
    for _ in 0..ms / 100 {
        alive(lone);
        all.extend(lone.pass(100));
    }
    all
}

/// Node 1 has two replicas, 4 and 5; node 2 has none any more; node 3's has failed just now.
fn orphan(me: u8, config: Config) -> Lone {
    let mut lone = Lone::start(me, false, config);
    pass(&mut lone, 1000);
    lone.hear(header(2), Body::Fail { node: id(6) });
    lone.settle();
    lone
}

fn followed(outputs: &[Output]) -> Option<u8> {
    outputs.iter().rev().find_map(|output| match output {
        Output::Follow { master, .. } => Some(master.as_bytes()[0]),
        _ => None,
    })
}

#[test]
fn the_smallest_replica_goes_to_an_orphan() {
    let mut lone = orphan(4, config());
    assert_eq!(followed(&pass(&mut lone, 4000)), None, "not at once");
    let outputs = pass(&mut lone, 2000);
    assert!(logged(&outputs, &format!("Migrating to orphaned master {}", id(3))));
    assert_eq!(followed(&outputs), Some(3), "and not to node 2, whose replica went by itself");
    assert!(lone.line(4).contains(&format!("myself,slave {}", id(3))), "{}", lone.line(4));
    // Node 1 has one left, which stays; this one stays as well when the failed one is back.
    lone.hear(header(6), Body::Ping(Heartbeat::default()));
    assert_eq!(followed(&pass(&mut lone, LONG_MS)), None);
}

#[test]
fn nobody_goes_where_it_is_not_wanted() {
    let mut greater = orphan(5, config());
    assert_eq!(followed(&pass(&mut greater, LONG_MS)), None, "node 4 goes");
    for config in
        [Config { migration_barrier: 2, ..config() }, Config { allow_replica_migration: false, ..config() }]
    {
        let mut lone = orphan(4, config);
        assert_eq!(followed(&pass(&mut lone, LONG_MS)), None);
    }
    // Back before the time is over.
    let mut lone = orphan(4, config());
    pass(&mut lone, 3000);
    lone.hear(header(6), Body::Ping(Heartbeat::default()));
    lone.receive(lone.to[&6], Packet { header: header(6), body: Body::Pong(Heartbeat::default()) });
    assert_eq!(followed(&pass(&mut lone, 3000)), None);
}
