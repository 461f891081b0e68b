//! PSYNC from both sides.

use super::*;
use e2e::{PortBlock, cli};
use peer::{Peer, serving};

#[test]
fn redis_cli_creates_a_cluster_whose_replicas_are_equal() {
    let ports = PortBlock::reserve(6).unwrap();
    let nodes: Vec<Server> = (0..6).map(|n| Server::start(lone(ports.port(n))).unwrap()).collect();
    let addresses: Vec<String> = nodes.iter().map(|n| n.address().to_string()).collect();
    let mut args = vec!["--cluster", "create"];
    args.extend(addresses.iter().map(String::as_str));
    args.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let output = cli::redis_cli(&args).unwrap();
    assert!(output.contains("[OK] All 16384 slots covered."), "{output}");
    wait::until("every replica's link is up", SOON, || {
        nodes[3..].iter().all(|n| {
            info(n, "replication", "role") == "slave" && info(n, "replication", "master_link_status") == "up"
        })
    })
    .unwrap();
    for (n, master) in nodes[..3].iter().enumerate() {
        let keys = keys_of(n as u32, 3, "k", 500);
        set_all(&mut master.client().unwrap(), &keys);
        let port = master.port().to_string();
        let replica = nodes[3..].iter().find(|r| info(r, "replication", "master_port") == port).unwrap();
        wait_same_offset(master, replica);
        let mut reader = replica.client().unwrap();
        reader.call(&["READONLY"]).unwrap();
        assert!(has_all(&mut reader, &keys));
        assert_eq!(reader.call(&["DBSIZE"]).unwrap(), Reply::Integer(500));
        let moved = replica.client().unwrap().command(&["GET", &keys[0]]).unwrap();
        assert!(matches!(moved, Reply::Error(text) if text.starts_with("MOVED ") && text.ends_with(&port)));
    }
}

/// What was written before comes by a snapshot, what is written meanwhile by the log.
#[test]
fn a_replica_that_joins_under_load_gets_everything() {
    let ports = PortBlock::reserve(2).unwrap();
    let (master, replica) =
        (Server::start(lone(ports.port(0))).unwrap(), Server::start(lone(ports.port(1))).unwrap());
    let mut client = master.client().unwrap();
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("the master serves", SOON, || {
        client.command(&["SET", "a", "b"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    let keys: Vec<String> = (0..20_000).map(|n| format!("before{n}")).collect();
    set_all(&mut client, &keys);
    meet_and_follow(&mut client, &replica);
    // Who is about to become a replica has no link to speak of.
    let is_up = || {
        let text = replica.client().unwrap().text(&["INFO", "replication"]).unwrap();
        info_field(&text, "master_link_status") == Some("up")
    };
    let mut written = Vec::new();
    while !is_up() || written.len() < 5 {
        let batch: Vec<String> = (0..200).map(|n| format!("during{}-{n}", written.len())).collect();
        set_all(&mut client, &batch);
        written.push(batch);
    }
    wait_same_offset(&master, &replica);
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut reader, &keys));
    assert!(written.iter().all(|batch| has_all(&mut reader, batch)));
    assert_eq!(info(&master, "stats", "sync_full"), "1");
}

/// Puts the replica to sleep until its master gives it up. Only the master is impatient, and only meanwhile: it says PING
/// every ten seconds, which is silence to a replica that waits for a second.
fn pause_until_given_up(master: &Server, replica: &Server) {
    let mut client = master.client().unwrap();
    replica.pause().unwrap();
    client.call(&["CONFIG", "SET", "repl-timeout", "1"]).unwrap();
    wait::until("the master gives the replica up", SOON, || {
        info(master, "replication", "connected_slaves") == "0"
    })
    .unwrap();
    client.call(&["CONFIG", "SET", "repl-timeout", "60"]).unwrap();
}

/// The replica sleeps until its master gives it up; what it missed is in the backlog.
#[test]
fn a_cut_link_goes_on_where_it_ended() {
    let shape = Shape::new(1, 1).with("cluster-node-timeout", 60_000);
    let cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    let (master, replica) = (&cluster.nodes[0], &cluster.nodes[1]);
    pause_until_given_up(master, replica);
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    set_all(&mut master.client().unwrap(), &keys);
    replica.resume().unwrap();
    wait::until("the link is up again", SOON, || info(master, "replication", "connected_slaves") == "1")
        .unwrap();
    wait_same_offset(master, replica);
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut reader, &keys));
    assert_eq!(
        (info(master, "stats", "sync_full"), info(master, "stats", "sync_partial_ok")),
        ("1".into(), "1".into())
    );
}

#[test]
fn a_master_speaks_the_protocol_of_redis() {
    let ports = PortBlock::reserve(1).unwrap();
    let server = serving(ports.port(0));
    let mut client = server.client().unwrap();
    // With a length, as a replica without `capa eof` wants it.
    let mut old = Peer::connect(&server);
    old.say(&["REPLCONF", "listening-port", "7777"]);
    assert_eq!(old.line(), "+OK");
    old.say(&["PSYNC", "?", "-1"]);
    let (replid, offset) = old.full();
    let len: usize = old.line().strip_prefix('$').unwrap().parse().unwrap();
    let rdb = old.take(len);
    assert!(rdb.starts_with(b"REDIS0010"), "{rdb:?}");
    // Of unknown length; the stream begins after the first acknowledgement.
    let mut new = Peer::connect(&server);
    new.say(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    assert_eq!(new.line(), "+OK");
    new.say(&["PSYNC", "?", "-1"]);
    let (_, second) = new.full();
    assert!(second >= offset);
    let mark = new.line().strip_prefix("$EOF:").unwrap().to_owned();
    let rdb = new.until(mark.as_bytes());
    assert!(rdb.starts_with(b"REDIS0010"));
    client.call(&["SET", "b", "2"]).unwrap();
    new.say(&["REPLCONF", "ACK", &second.to_string()]);
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    let stream = new.until(set);
    // On a busy machine the master's PING comes first.
    let stream = stream.strip_prefix(b"*1\r\n$4\r\nPING\r\n").unwrap_or(&stream);
    assert!(stream.starts_with(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"), "{}", String::from_utf8_lossy(stream));
    // WAIT asks those who do not acknowledge by themselves.
    client.send(&e2e::client::request(&["WAIT", "1", "20000"])).unwrap();
    new.until(b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
    new.say(&["REPLCONF", "ACK", &info(&server, "replication", "master_repl_offset")]);
    assert_eq!(client.read_reply().unwrap(), Reply::Integer(1));
    // Partial: from where the first one was, and not from where nobody has been.
    drop(old);
    let mut again = Peer::connect(&server);
    again.say(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    assert_eq!(again.line(), "+OK");
    again.say(&["PSYNC", &replid, &(offset + 1).to_string()]);
    assert_eq!(again.line(), format!("+CONTINUE {replid}"));
    let stream = again.until(set);
    let stream = stream.strip_prefix(b"*1\r\n$4\r\nPING\r\n").unwrap_or(&stream);
    assert!(stream.starts_with(b"*2\r\n$6\r\nSELECT"), "{}", String::from_utf8_lossy(stream));
    let mut ahead = Peer::connect(&server);
    ahead.say(&["PSYNC", &replid, &(offset + 1_000_000).to_string()]);
    ahead.full();
    assert_eq!(info(&server, "stats", "sync_partial_err"), "1");
}

/// Rule 12: a master that has lost its data gives nothing to replicas that still have it.
#[test]
fn a_closed_master_does_not_answer_psync() {
    let ports = PortBlock::reserve(1).unwrap();
    let mut server = serving(ports.port(0));
    server.kill().unwrap();
    server.restart().unwrap();
    let mut peer = Peer::connect(&server);
    peer.say(&["PSYNC", "?", "-1"]);
    assert_eq!(peer.line(), "-NOMASTERLINK Can't SYNC while not connected with my master");
    let mut client = server.client().unwrap();
    assert_eq!(info_field(&client.text(&["CLUSTER", "INFO"]).unwrap(), "cluster_closed_empty"), Some("1"));
    client.call(&["CLUSTER", "REOPEN"]).unwrap();
    let mut peer = Peer::connect(&server);
    peer.say(&["PSYNC", "?", "-1"]);
    peer.full();
}

#[test]
fn a_replica_that_is_reset_is_empty_when_it_says_ok() {
    let cluster = cluster(3, 1);
    let keys = keys_of(0, 3, "k", 2000);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    let mut client = cluster.nodes[3].client().unwrap();
    assert_eq!(client.call(&["DBSIZE"]).unwrap(), Reply::Integer(2000));
    client.call(&["CLUSTER", "RESET"]).unwrap();
    assert_eq!(client.call(&["DBSIZE"]).unwrap(), Reply::Integer(0));
    // Its data is no part of any history any more.
    assert_eq!(info(&cluster.nodes[3], "replication", "role"), "master");
    assert_eq!(info(&cluster.nodes[3], "replication", "master_repl_offset"), "0");
    assert!(has_all(&mut cluster.nodes[0].client().unwrap(), &keys));
}

/// The backlog is 16 kB here, and the replica misses more than that.
#[test]
fn a_replica_that_fell_out_of_the_backlog_syncs_fully() {
    let shape = Shape::new(1, 1).with("repl-backlog-size", "16kb").with("cluster-node-timeout", 60_000);
    let cluster = LocalCluster::start(Binary::NodeServer, &shape).unwrap();
    let (master, replica) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut client = master.client().unwrap();
    let old: Vec<String> = (0..100).map(|n| format!("old{n}")).collect();
    set_all(&mut client, &old);
    wait_same_offset(master, replica);
    pause_until_given_up(master, replica);
    let keys: Vec<String> = (0..5000).map(|n| format!("k{n}")).collect();
    set_all(&mut client, &keys);
    for key in &old {
        client.call(&["DEL", key]).unwrap();
    }
    replica.resume().unwrap();
    wait::until("the link is up again", SOON, || info(master, "replication", "connected_slaves") == "1")
        .unwrap();
    wait_same_offset(master, replica);
    let mut reader = replica.client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut reader, &keys));
    assert_eq!(reader.call(&["DBSIZE"]).unwrap(), client.call(&["DBSIZE"]).unwrap());
    assert_eq!(info(master, "stats", "sync_full"), "2");
}
