//! FAILOVER outside of a cluster. With a real server as the target: `e2e/compat`.

use super::*;
use e2e::PortBlock;
use peer::Peer;
use standalone::{alone, ok, stat, wait_up};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// A master and its replicas.
fn star(ports: &PortBlock, replicas: u16) -> Vec<Server> {
    let servers: Vec<Server> = (0..=replicas).map(|n| alone(ports, n)).collect();
    for replica in &servers[1..] {
        follow(replica, &servers[0]);
    }
    servers
}

fn follow(replica: &Server, master: &Server) {
    let port = master.port().to_string();
    assert_eq!(replica.client().unwrap().call(&["REPLICAOF", "127.0.0.1", &port]).unwrap(), ok());
    wait_up(replica);
}

fn state(server: &Server) -> String {
    info(server, "replication", "master_failover_state")
}

fn wait_over(server: &Server) {
    wait::until("the failover has ended", SOON, || state(server) == "no-failover")
        .unwrap_or_else(|error| panic!("{error}:\n{}", server.log()));
}

fn ask(server: &Server, command: &[&str]) -> String {
    match server.client().unwrap().command(command).unwrap() {
        Reply::Simple(text) | Reply::Error(text) => text,
        other => panic!("{command:?} gave {other:?}"),
    }
}

fn role(server: &Server) -> String {
    info(server, "replication", "role")
}

/// Increments until it is refused; what the last increment said.
fn increment(mut client: Client) -> i64 {
    let mut last = 0;
    loop {
        match client.command(&["INCR", "n"]).unwrap() {
            Reply::Integer(n) => last = n,
            Reply::Error(text) if text.starts_with("READONLY ") => return last,
            other => panic!("INCR gave {other:?}"),
        }
    }
}

#[test]
fn a_replica_takes_over_with_everything_that_was_acknowledged() {
    let ports = PortBlock::reserve(3).unwrap();
    let servers = star(&ports, 2);
    let (a, b, c) = (&servers[0], &servers[1], &servers[2]);
    let writer = a.client().unwrap();
    let writer = std::thread::spawn(move || increment(writer));
    wait::until("it writes", SOON, || a.client().unwrap().text(&["GET", "n"]).is_ok_and(|n| n.len() > 2))
        .unwrap();
    assert_eq!(ask(a, &["FAILOVER", "TO", "127.0.0.1", &b.port().to_string(), "TIMEOUT", "20000"]), "OK");
    wait_over(a);
    let last = writer.join().unwrap();
    assert_eq!((role(a), role(b)), ("slave".into(), "master".into()));
    wait_up(a);
    follow(c, b);
    assert_eq!(b.client().unwrap().text(&["GET", "n"]).unwrap(), last.to_string());
    assert_eq!(b.client().unwrap().call(&["INCR", "n"]).unwrap(), Reply::Integer(last + 1));
    wait_same_offset(b, a);
    wait_same_offset(b, c);
    // Nobody has had to begin anew.
    assert_eq!((stat(b, "sync_full"), stat(b, "sync_partial_ok")), ("0".into(), "2".into()));

    // And again, to whoever is there first: not to the one that sleeps.
    a.pause().unwrap();
    b.client().unwrap().call(&["SET", "case", "1"]).unwrap();
    assert_eq!(ask(b, &["FAILOVER"]), "OK");
    wait_over(b);
    a.resume().unwrap();
    assert_eq!((role(b), role(c)), ("slave".into(), "master".into()));
    wait_up(b);
    assert_eq!(c.client().unwrap().text(&["GET", "case"]).unwrap(), "1");
}

#[test]
fn failover_is_refused_as_redis_does() {
    let ports = PortBlock::reserve(2).unwrap();
    let lone = alone(&ports, 0);
    assert_eq!(ask(&lone, &["FAILOVER", "ABORT"]), "ERR No failover in progress.");
    assert_eq!(ask(&lone, &["FAILOVER"]), "ERR FAILOVER requires connected replicas.");
    drop(lone);
    let servers = star(&ports, 1);
    let (a, b) = (&servers[0], &servers[1]);
    let (port, forced) = (b.port().to_string(), "requires both a timeout and target HOST and IP.");
    let line = |words: &str| words.replace("PORT", &port);
    for (command, expected) in [
        ("FAILOVER TO PORT", "ERR syntax error"),
        ("FAILOVER NOW", "ERR syntax error"),
        ("FAILOVER TIMEOUT 1 TIMEOUT 1", "ERR syntax error"),
        ("FAILOVER TIMEOUT 0", "ERR FAILOVER timeout must be greater than 0"),
        ("FAILOVER TIMEOUT x", "ERR value is not an integer or out of range"),
        ("FAILOVER TO 127.0.0.1 x", "ERR value is not an integer or out of range"),
        ("FAILOVER TO 127.0.0.1 1", "ERR FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO nowhere PORT", "ERR FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER FORCE TIMEOUT 100", &format!("ERR FAILOVER with force option {forced}")),
        ("FAILOVER TO 127.0.0.1 PORT FORCE", &format!("ERR FAILOVER with force option {forced}")),
    ] {
        let words = line(command);
        assert_eq!(ask(a, &words.split(' ').collect::<Vec<_>>()), expected, "{command}");
    }
    assert_eq!(ask(b, &["FAILOVER"]), "ERR FAILOVER is not valid when server is a replica.");
    assert_eq!((state(a), role(a), role(b)), ("no-failover".into(), "master".into(), "slave".into()));
}

#[test]
fn a_failover_that_is_not_to_be_leaves_everything_as_it_was() {
    let ports = PortBlock::reserve(2).unwrap();
    let servers = star(&ports, 1);
    let (a, b) = (&servers[0], &servers[1]);
    b.pause().unwrap();
    let mut client = a.client().unwrap();
    client.call(&["SET", "a", "1"]).unwrap();

    assert_eq!(ask(a, &["FAILOVER", "TIMEOUT", "60000"]), "OK");
    assert_eq!(state(a), "waiting-for-sync");
    assert_eq!(ask(a, &["FAILOVER"]), "ERR FAILOVER already in progress.");
    assert_eq!(ask(a, &["REPLICAOF", "NO", "ONE"]), "ERR REPLICAOF not allowed while failing over.");
    assert_eq!(client.text(&["GET", "a"]).unwrap(), "1");
    client.send(&e2e::client::request(&["SET", "a", "2"])).unwrap();
    wait::until("the write waits", SOON, || info(a, "clients", "blocked_clients") == "1").unwrap();
    assert_eq!(ask(a, &["FAILOVER", "ABORT"]), "OK");
    assert_eq!(state(a), "no-failover");
    assert_eq!(client.read_reply().unwrap(), ok());

    assert_eq!(ask(a, &["FAILOVER", "TIMEOUT", "200"]), "OK");
    wait_over(a);
    assert!(
        a.log().contains("while waiting-for-sync: Replica never caught up before timeout"),
        "{}",
        a.log()
    );
    b.resume().unwrap();
    client.call(&["SET", "a", "3"]).unwrap();
    wait_same_offset(a, b);
    assert_eq!((role(a), stat(a, "sync_full")), ("master".into(), "1".into()));
}

/// It is told to take over although it may lack something, as an operator may want before a machine is switched off.
#[test]
fn force_hands_over_at_the_timeout() {
    let ports = PortBlock::reserve(2).unwrap();
    let servers = star(&ports, 1);
    let (a, b) = (&servers[0], &servers[1]);
    b.pause().unwrap();
    a.client().unwrap().call(&["SET", "a", "1"]).unwrap();
    let port = b.port().to_string();
    assert_eq!(ask(a, &["FAILOVER", "TO", "127.0.0.1", &port, "TIMEOUT", "100", "FORCE"]), "OK");
    wait::until("the timeout is over", SOON, || state(a) == "failover-in-progress").unwrap();
    // There are never two masters.
    assert_eq!(role(a), "slave");
    b.resume().unwrap();
    wait_over(a);
    wait_up(a);
    assert_eq!(role(b), "master");
    assert!(a.log().contains("time out exceeded, failing over."), "{}", a.log());
    b.client().unwrap().call(&["SET", "b", "1"]).unwrap();
    wait_same_offset(b, a);
}

/// A replica that has everything and refuses to take over.
#[test]
fn a_target_that_refuses_leaves_the_master_what_it_was() {
    let ports = PortBlock::reserve(1).unwrap();
    // A PING of the master's would be more than the replica has.
    let spec = ServerSpec::new(Binary::NodeServer, ports.port(0)).with("repl-ping-replica-period", 3600);
    let a = Server::start(spec).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut peer = Peer::connect(&a);
    peer.say(&["REPLCONF", "listening-port", &port]);
    assert_eq!(peer.line(), "+OK");
    peer.say(&["PSYNC", "?", "-1"]);
    let (_, offset) = peer.full();
    peer.say(&["REPLCONF", "ACK", &offset.to_string()]);
    wait::until("it is online", SOON, || {
        let text = a.client().unwrap().text(&["INFO", "replication"]).unwrap();
        text.contains(&format!("port={port},state=online,offset={offset},"))
    })
    .unwrap();
    let refuser = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut chunk = [0; 4096];
        loop {
            let len = stream.read(&mut chunk).unwrap();
            let text = String::from_utf8_lossy(&chunk[..len]).into_owned();
            assert!(len > 0, "it is asked before the connection ends");
            if text.contains("FAILOVER") {
                return stream.write_all(b"-ERR no\r\n").unwrap();
            }
            stream.write_all("+OK\r\n".repeat(text.matches('*').count()).as_bytes()).unwrap();
        }
    });
    assert_eq!(ask(&a, &["FAILOVER"]), "OK");
    wait_over(&a);
    refuser.join().unwrap();
    assert!(a.log().contains("Failover target rejected psync request"), "{}", a.log());
    assert_eq!(role(&a), "master");
    a.client().unwrap().call(&["SET", "a", "1"]).unwrap();
}
