//! A slot that is held for long delays nobody but its own clients (design.md, The node, 2).
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{Client, Server, encode, until};
use node_server_protocol::resp::Reply;
use std::time::{Duration, Instant};

/// How long the slot is held.
const HELD: Duration = Duration::from_secs(2);
/// Clients that queue on it.
const QUEUED: usize = 100;
/// What GETs of other slots may take at the 99th percentile.
const P99_MAX: Duration = Duration::from_millis(5);

/// Without cluster mode database n is slot n: database 0 is held, the others are not.
#[test]
fn clients_of_other_slots_do_not_notice() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut other = server.client();
    assert_eq!(other.text(&["SELECT", "1"]), "OK");
    assert_eq!(other.text(&["SET", "k", "v"]), "OK");
    let mut holder = server.client();
    let held = Instant::now();
    holder.send(&["DEBUG", "SLEEP-SLOT", "0", &HELD.as_secs().to_string()]);
    let mut waiting: Vec<_> = (0..QUEUED).map(|_| server.client()).collect();
    let mut probe = server.client();
    until("the slot is held", || (!answers_within(&mut probe, Duration::from_millis(50))).then_some(()));
    for client in &mut waiting {
        client.send_raw(&encode(&["INCR", "counter"]));
    }
    until("they wait", || {
        let blocked: usize = other.info("clients", "blocked_clients").parse().unwrap();
        (blocked >= QUEUED + 2).then_some(())
    });
    let mut latencies = Vec::new();
    while held.elapsed() < HELD - Duration::from_millis(200) {
        let started = Instant::now();
        assert_eq!(other.text(&["GET", "k"]), "v");
        latencies.push(started.elapsed());
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("{} GETs, p99 {p99:?}, worst {:?}", latencies.len(), latencies.last());
    assert!(latencies.len() > 1000, "only {} GETs were answered", latencies.len());
    assert!(p99 <= P99_MAX, "p99 {p99:?}");
    assert_eq!(holder.receive(), Reply::Simple("OK".into()));
    assert!(held.elapsed() >= HELD);
    assert_eq!(probe.receive(), Reply::Simple("OK".into()));
    for client in &mut waiting {
        assert!(matches!(client.receive(), Reply::Integer(_)));
    }
}

/// Sends a write and looks whether its reply comes in time. If not, it is still to come.
fn answers_within(client: &mut Client, time: Duration) -> bool {
    client.send(&["SET", "counter", "0"]);
    client.stream.set_read_timeout(Some(time)).unwrap();
    let answered = client.stream.peek(&mut [0]).is_ok();
    client.stream.set_read_timeout(Some(common::SOON)).unwrap();
    if answered {
        assert_eq!(client.receive(), Reply::Simple("OK".into()));
    }
    answered
}
