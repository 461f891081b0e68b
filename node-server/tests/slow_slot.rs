//! A slot that is held for long delays nobody but its own clients (design.md, The node, 2), and no PONG (9).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test helpers, and figures for the reader")]

mod common;

use common::{Client, SOON, Server, encode, until};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the slot is held.
const HELD: Duration = Duration::from_secs(2);
/// Clients that queue on it.
const QUEUED: usize = 100;
/// What GETs of other slots may take at the 99th percentile.
const P99_MAX: Duration = Duration::from_millis(5);
/// How old an unanswered PING may be. Others would suspect the node after its node timeout.
const PONG_MAX_MS: u64 = 250;
const NODE_TIMEOUT_MS: &str = "1000";

#[test]
fn clients_of_other_slots_do_not_notice() {
    // Without cluster mode database n is slot n: database 0 is held, the others are not.
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut other = server.client();
    assert_eq!(other.text(&["SELECT", "1"]), "OK");
    assert_eq!(other.text(&["SET", "k", "v"]), "OK");
    hold_and_measure(&server, 0, &mut other, &["k"]);
}

#[test]
fn nor_do_clients_and_neighbours_in_a_cluster() {
    let options = [
        "--cluster-enabled",
        "yes",
        "--enable-debug-command",
        "yes",
        "--cluster-node-timeout",
        NODE_TIMEOUT_MS,
    ];
    let (busy, neighbour) = (Server::start(&options), Server::start(&options));
    let mut other = busy.client();
    assert_eq!(other.text(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    assert_eq!(other.text(&["CLUSTER", "MEET", "127.0.0.1", &neighbour.port.to_string()]), "OK");
    let id = other.text(&["CLUSTER", "MYID"]);
    let mut observer = neighbour.client();
    for client in [&mut other, &mut observer] {
        until("the cluster is up", || {
            let info = client.text(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")).then_some(())
        });
    }
    let keys: Vec<String> = (0..100).map(|i| format!("key:{i}")).collect();
    let held = key_slot(b"counter");
    let keys: Vec<&str> =
        keys.iter().map(String::as_str).filter(|k| key_slot(k.as_bytes()) != held).collect();
    for key in &keys {
        assert_eq!(other.text(&["SET", key, "v"]), "OK");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watching = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || watch_pongs(&mut observer, &id, &watching));
    hold_and_measure(&busy, held.number(), &mut other, &keys);
    stop.store(true, Ordering::Relaxed);
    let (oldest, pongs) = watcher.join().unwrap();
    println!("{pongs} PONGs, longest wait for one {oldest} ms");
    assert!(pongs >= 3, "only {pongs} PONGs in {HELD:?}");
    assert!(oldest <= PONG_MAX_MS, "a PONG took {oldest} ms");
}

/// Looks at the neighbour's view of node `id` all the time: the longest age of an unanswered PING in milliseconds, and
/// how many PONGs came.
fn watch_pongs(observer: &mut Client, id: &str, stop: &AtomicBool) -> (u64, usize) {
    let (mut oldest, mut pongs, mut last) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let nodes = observer.text(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|l| l.starts_with(id)).unwrap();
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(!fields[2].contains("fail"), "{line}");
        let (ping_sent, pong_received): (u64, u64) = (fields[4].parse().unwrap(), fields[5].parse().unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        if ping_sent > 0 {
            oldest = oldest.max(now.saturating_sub(ping_sent));
        }
        pongs += usize::from(pong_received != last);
        last = pong_received;
    }
    (oldest, pongs)
}

/// Holds `slot` of `server` while [`QUEUED`] clients write to it; meanwhile `other` reads `keys` of other slots.
fn hold_and_measure(server: &Server, slot: u16, other: &mut Client, keys: &[&str]) {
    let mut holder = server.client();
    let held = Instant::now();
    holder.send(&["DEBUG", "SLEEP-SLOT", &slot.to_string(), &HELD.as_secs().to_string()]);
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
        for key in keys {
            let started = Instant::now();
            assert_eq!(other.text(&["GET", key]), "v");
            latencies.push(started.elapsed());
        }
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
    client.stream.set_read_timeout(Some(SOON)).unwrap();
    if answered {
        assert_eq!(client.receive(), Reply::Simple("OK".into()));
    }
    answered
}
