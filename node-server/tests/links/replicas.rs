//! What a master asks of its replicas, and what it gives up for them.

use super::*;
use e2e::PortBlock;
use passwords::{catches_up, has_valkey, known, pair};
use peer::{Peer, serving, serving_as};

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn writes_wait_for_good_replicas() {
    let shape = Shape::new(1, 1).with("cluster-node-timeout", 60_000).with("min-replicas-max-lag", 1);
    let cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    let (master, replica) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut client = master.client().unwrap();
    cluster.wait_synced().unwrap();
    assert!(!client.text(&["INFO", "replication"]).unwrap().contains("min_slaves_good_slaves"));
    client.call(&["CONFIG", "SET", "min-replicas-to-write", "1"]).unwrap();
    // An acknowledgement may be more than a second late on a busy machine.
    wait::until("writes are taken", SOON, || client.command(&["SET", "a", "1"]).unwrap() == ok()).unwrap();
    wait::until("the replica is good", SOON, || info(master, "replication", "min_slaves_good_slaves") == "1")
        .unwrap();
    replica.pause().unwrap();
    let refused = Reply::Error("NOREPLICAS Not enough good replicas to write.".into());
    wait::until("the replica is no good", SOON, || client.command(&["SET", "a", "2"]).unwrap() == refused)
        .unwrap();
    assert_eq!(info(master, "replication", "min_slaves_good_slaves"), "0");
    assert!(client.text(&["GET", "a"]).is_ok());
    replica.resume().unwrap();
    wait::until("it is good again", SOON, || client.command(&["SET", "a", "3"]).unwrap() == ok()).unwrap();
    // More than there are: at once, and gone at once.
    client.call(&["CONFIG", "SET", "min-replicas-to-write", "2"]).unwrap();
    assert_eq!(client.command(&["SET", "a", "4"]).unwrap(), refused);
    client.call(&["CONFIG", "SET", "min-replicas-max-lag", "0"]).unwrap();
    assert_eq!(client.command(&["SET", "a", "4"]).unwrap(), ok());
}

/// It sleeps; what waits for it beyond the kernel's buffers is more than the limit.
#[test]
fn a_replica_that_takes_nothing_is_given_up_at_the_limit() {
    let shape = Shape::new(1, 1)
        .with("cluster-node-timeout", 60_000)
        .with("repl-timeout", 60)
        .with("client-output-buffer-limit", "replica 2mb 0 0");
    let cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    let (master, replica) = (&cluster.nodes[0], &cluster.nodes[1]);
    cluster.wait_synced().unwrap();
    replica.pause().unwrap();
    let value = "x".repeat(1 << 20);
    let mut client = master.client().unwrap();
    for n in 0..24 {
        client.call(&["SET", &format!("k{n}"), &value]).unwrap();
    }
    wait::until("the master gives the replica up", SOON, || {
        info(master, "replication", "connected_slaves") == "0"
    })
    .unwrap();
    assert!(
        master.log().contains("bytes wait for it (client-output-buffer-limit replica)"),
        "{}",
        master.log()
    );
    replica.resume().unwrap();
    wait::until("it comes back", SOON, || info(master, "replication", "connected_slaves") == "1").unwrap();
    wait_same_offset(master, replica);
}

/// A full sync that begins at offset 0 counts like any other. The replica has its snapshot and does not say so.
#[test]
fn a_replica_that_is_still_synced_is_given_up_at_the_limit() {
    let ports = PortBlock::reserve(1).unwrap();
    let spec = ServerSpec::new(Binary::NodeServer, ports.port(0)).with("repl-timeout", 600);
    let server = Server::start(spec.with("client-output-buffer-limit", "replica 2mb 0 0")).unwrap();
    let mut peer = Peer::connect(&server);
    peer.say(&["REPLCONF", "capa", "eof"]);
    assert_eq!(peer.line(), "+OK");
    peer.say(&["PSYNC", "?", "-1"]);
    assert_eq!(peer.full().1, 0);
    assert!(peer.line().starts_with("$EOF:"));
    let mut client = server.client().unwrap();
    for n in 0..4 {
        client.call(&["SET", &format!("k{n}"), &"x".repeat(1 << 20)]).unwrap();
    }
    wait::until("the master gives the replica up", SOON, || {
        info(&server, "replication", "connected_slaves") == "0"
    })
    .unwrap();
    let why = "bytes wait for it (client-output-buffer-limit replica)";
    assert!(server.log().contains(why), "{}", server.log());
}

/// Also beside an append-only file, which reads the log all the time.
#[test]
fn a_backlog_that_nobody_needs_is_given_up() {
    for file in ["no", "yes"] {
        gives_up_its_backlog(file);
    }
}

fn gives_up_its_backlog(append_only: &str) {
    let ports = PortBlock::reserve(1).unwrap();
    let mut server = serving_as(lone(ports.port(0)).with("appendonly", append_only));
    let mut peer = Peer::connect(&server);
    peer.say(&["PSYNC", "?", "-1"]);
    let (replid, offset) = peer.full();
    let mut client = server.client().unwrap();
    client.call(&["CONFIG", "SET", "repl-backlog-ttl", "1"]).unwrap();
    client.call(&["SET", "b", "1"]).unwrap();
    assert_eq!(info(&server, "replication", "master_replid"), replid);
    drop(peer);
    wait::until("the backlog has gone", SOON, || info(&server, "replication", "repl_backlog_active") == "0")
        .unwrap();
    client.call(&["SET", "b", "2"]).unwrap();
    assert_eq!(info(&server, "replication", "repl_backlog_histlen"), "0");
    assert_ne!(info(&server, "replication", "master_replid"), replid);
    assert!(server.log().contains("Replication backlog freed after 1 seconds without connected replicas."));
    let mut peer = Peer::connect(&server);
    peer.say(&["PSYNC", &replid, &(offset + 1).to_string()]);
    let (other, _) = peer.full();
    assert_ne!(other, replid);
    assert_eq!(info(&server, "replication", "repl_backlog_active"), "1");
    if append_only == "yes" {
        // The file has all of it, also what was written while nothing was kept.
        server.stop().unwrap();
        server.restart().unwrap();
        wait::until("it serves again", SOON, || {
            server.client().and_then(|mut c| c.text(&["GET", "b"])).is_ok_and(|value| value == "2")
        })
        .unwrap();
        assert_eq!(info(&server, "replication", "master_replid2"), other, "by its file");
    }
}

#[test]
fn a_replica_without_its_master_serves_stale_data_if_it_may() {
    let shape = Shape::new(1, 1).with("cluster-node-timeout", 60_000);
    let mut cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    cluster.nodes[0].client().unwrap().call(&["SET", "a", "1"]).unwrap();
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[1]);
    cluster.nodes[0].kill().unwrap();
    let replica = &cluster.nodes[1];
    wait::until("the link is down", SOON, || info(replica, "replication", "master_link_status") == "down")
        .unwrap();
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert_eq!(reader.text(&["GET", "a"]).unwrap(), "1");
    reader.call(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).unwrap();
    let refused = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    wait::until("it refuses", SOON, || {
        reader.command(&["GET", "a"]).unwrap() == Reply::Error(refused.into())
    })
    .unwrap();
    reader.text(&["INFO"]).unwrap();
}

/// DUMP of a hash with `f` = `v`, which expires in 2100, and `g` = `w`, by Valkey 9.1.2.
const EXPIRING: &[u8] = b"\x16\x02\x01f\x01v\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x01g\x01w\
    \xff\xff\xff\xff\xff\xff\xff\xff\x50\x00\xe6\x0a\x2f\x75\xe1\xb4\x5a\x59";

/// Valkey's replicas announce a version, Redis's do not.
#[test]
fn a_snapshot_has_the_form_that_the_replica_reads() {
    let ports = PortBlock::reserve(1).unwrap();
    let server = serving(ports.port(0));
    let header = |version: Option<&str>| {
        let mut peer = Peer::connect(&server);
        peer.say(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        assert_eq!(peer.line(), "+OK");
        if let Some(version) = version {
            peer.say(&["REPLCONF", "version", version]);
            assert_eq!(peer.line(), "+OK");
        }
        peer.say(&["PSYNC", "?", "-1"]);
        peer.full();
        assert!(peer.line().starts_with("$EOF:"));
        String::from_utf8(peer.take(9)).unwrap()
    };
    assert_eq!([header(None), header(Some("9.1.2"))], ["REDIS0010", "REDIS0010"]);
    let mut client = server.client().unwrap();
    assert_eq!(client.command(&[b"RESTORE".as_slice(), b"h", b"0", EXPIRING]).unwrap(), ok());
    assert_eq!([header(None), header(Some("9.1.2"))], ["REDIS0012", "VALKEY080"]);
}

#[test]
fn fields_that_expire_reach_valkey_and_come_from_it() {
    if !has_valkey() {
        return;
    }
    let restore = [b"RESTORE".as_slice(), b"h", b"0", EXPIRING];
    let ports = PortBlock::reserve(2).unwrap();
    let (master, replica) = pair(&ports, Binary::Valkey, Binary::NodeServer);
    assert_eq!(known(&master).command(&restore).unwrap(), ok());
    catches_up(&replica);
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert_eq!(reader.call(&["DUMP", "h"]).unwrap(), Reply::Bulk(EXPIRING.to_vec()));
    drop((master, replica));
    let (master, replica) = pair(&ports, Binary::NodeServer, Binary::Valkey);
    assert_eq!(known(&master).command(&restore).unwrap(), ok());
    catches_up(&replica);
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    let times = reader.call(&["HPEXPIRETIME", "h", "FIELDS", "2", "f", "g"]).unwrap();
    assert_eq!(times, Reply::Array(vec![Reply::Integer(4_102_444_800_000), Reply::Integer(-1)]));
}
