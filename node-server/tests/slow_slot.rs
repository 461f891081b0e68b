//! A slot that is held for long delays nobody but its own clients (design.md, The node, 2), and no PONG (9).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test helpers, and figures for the reader")]

mod common;

use common::{Client, Server, encode, until};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the slot is held.
const HELD: Duration = Duration::from_secs(5);
/// Clients that queue on it.
const QUEUED: usize = 100;
/// What GETs of other slots may take at the 99th percentile, or twice what they took on this machine just before.
const P99_MAX: Duration = Duration::from_millis(5);
/// For how long that is measured.
const CALM: Duration = Duration::from_secs(1);
/// How many of them there are at least.
const GETS_MIN: usize = 1000;
/// How old an unanswered PING may be. Others would suspect the node after its node timeout.
const PONG_MAX_MS: u64 = 250;
/// How many PONGs there are at least while the slot is held.
const PONGS_MIN: usize = 3;
/// Shorter than [`HELD`]: a node that waited for the slot would be suspected.
const NODE_TIMEOUT_MS: &str = "3000";
/// How often it may be looked at: the machine may be busy with something else for once.
const ATTEMPTS: usize = 3;

/// The tests measure, so they do not run beside each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn clients_of_other_slots_do_not_notice() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Without cluster mode database n is slot n: database 0 is held, the others are not.
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut other = server.client();
    assert_eq!(other.text(&["SELECT", "1"]), "OK");
    assert_eq!(other.text(&["SET", "k", "v"]), "OK");
    let mut attempt = || hold_and_measure(&server, 0, &mut other, &["k"]);
    assert!(
        (0..ATTEMPTS).any(|_| attempt().is_some_and(Measured::are_quick)),
        "GETs of other slots are slow"
    );
}

/// How long GETs took, sorted: before the slot was held, and meanwhile.
struct Measured {
    before: Vec<Duration>,
    meanwhile: Vec<Duration>,
}

impl Measured {
    fn are_quick(self) -> bool {
        let p99 =
            |latencies: &[Duration]| latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
        let (before, meanwhile) = (p99(&self.before), p99(&self.meanwhile));
        let (gets, worst) = (self.meanwhile.len(), self.meanwhile.last());
        println!("{gets} GETs, p99 {meanwhile:?}, {before:?} before, worst {worst:?}");
        gets > GETS_MIN && meanwhile <= P99_MAX.max(before * 2)
    }
}

/// Reads the keys one after the other until told to stop.
fn read(other: &mut Client, keys: &[&str], stop: impl Fn() -> bool) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while !stop() {
        for key in keys {
            let started = Instant::now();
            assert_eq!(other.text(&["GET", key]), "v");
            latencies.push(started.elapsed());
        }
    }
    latencies.sort_unstable();
    latencies
}

/// Two nodes that know each other; the first has all slots.
fn neighbours() -> (Server, Server) {
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
    for client in [&mut other, &mut neighbour.client()] {
        until("the cluster is up", || {
            let info = client.text(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")).then_some(())
        });
    }
    (busy, neighbour)
}

#[test]
fn nor_do_clients_and_neighbours_in_a_cluster() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (busy, neighbour) = neighbours();
    let mut other = busy.client();
    let id = other.text(&["CLUSTER", "MYID"]);
    let keys: Vec<String> = (0..100).map(|i| format!("key:{i}")).collect();
    let held = key_slot(b"counter");
    let keys: Vec<&str> =
        keys.iter().map(String::as_str).filter(|k| key_slot(k.as_bytes()) != held).collect();
    for key in &keys {
        assert_eq!(other.text(&["SET", key, "v"]), "OK");
    }
    let mut attempt = || {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut observer, id, watching) = (neighbour.client(), id.clone(), Arc::clone(&stop));
        let watcher = std::thread::spawn(move || watch_pongs(&mut observer, &id, &watching));
        let measured = hold_and_measure(&busy, held.number(), &mut other, &keys);
        stop.store(true, Ordering::Relaxed);
        let (oldest, pongs) = watcher.join().unwrap();
        println!("{pongs} PONGs, longest wait for one {oldest} ms");
        measured.is_some_and(Measured::are_quick) && pongs >= PONGS_MIN && oldest <= PONG_MAX_MS
    };
    assert!((0..ATTEMPTS).any(|_| attempt()), "GETs of other slots are slow, or PONGs late");
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

/// Holds `slot` of `server` while [`QUEUED`] clients write to it; before and meanwhile `other` reads `keys` of other
/// slots. `None`: the slot was free again before all of that had begun.
fn hold_and_measure(server: &Server, slot: u16, other: &mut Client, keys: &[&str]) -> Option<Measured> {
    let calm = Instant::now();
    let before = read(other, keys, || calm.elapsed() >= CALM);
    let (mut holder, mut probe) = (server.client(), server.client());
    let mut waiting: Vec<_> = (0..QUEUED).map(|_| server.client()).collect();
    let held = Instant::now();
    holder.send(&["DEBUG", "SLEEP-SLOT", &slot.to_string(), &HELD.as_secs().to_string()]);
    let is_late = || held.elapsed() >= HELD - Duration::from_millis(200);
    let mut is_held = false;
    while !is_held && !is_late() {
        is_held = waits(&mut probe, other);
    }
    for client in &mut waiting {
        client.send_raw(&encode(&["INCR", "counter"]));
    }
    until("they wait", || (blocked(other) >= QUEUED + 2 || is_late()).then_some(()));
    let meanwhile = read(other, keys, is_late);
    assert_eq!(holder.receive(), Reply::Simple("OK".into()));
    assert!(held.elapsed() >= HELD);
    if is_held {
        assert_eq!(probe.receive(), Reply::Simple("OK".into()));
    }
    for client in &mut waiting {
        assert!(matches!(client.receive(), Reply::Integer(_)));
    }
    (!meanwhile.is_empty()).then_some(Measured { before, meanwhile })
}

fn blocked(other: &mut Client) -> usize {
    other.info("clients", "blocked_clients").parse().unwrap()
}

/// Sends a write and looks whether it has to wait, beside whoever holds the slot. If so, its reply is still to come.
fn waits(client: &mut Client, other: &mut Client) -> bool {
    client.send(&["SET", "counter", "0"]);
    let waits = until("it is answered or waits", || match blocked(other) >= 2 {
        true => Some(true),
        false => client.is_closed().then_some(false),
    });
    if !waits {
        assert_eq!(client.receive(), Reply::Simple("OK".into()));
    }
    waits
}
