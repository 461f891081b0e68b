//! No thread waits for a slot, and no wake-up is lost.

use crate::support::*;
use node_server_engine::Outcome;
use node_server_protocol::resp::Reply;
use std::sync::mpsc;

/// A worker holds the slot of `{a}` until told otherwise.
fn hold_slot(node: &Node) -> (mpsc::Sender<()>, std::thread::JoinHandle<Reply>) {
    let (release, released) = mpsc::channel::<()>();
    let (entered_tx, entered) = mpsc::channel();
    let released = std::sync::Mutex::new(released);
    node.host.on_pause(move |ms| {
        if ms == 2000 {
            entered_tx.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
    });
    let mut client = node.client();
    assert_eq!(client.outcome(&["DEBUG", "SLEEP-SLOT", "{a}", "2"]), Outcome::Offload);
    let worker = std::thread::spawn(move || client.line("DEBUG SLEEP-SLOT {a} 2"));
    entered.recv().unwrap();
    (release, worker)
}

#[test]
fn a_session_parks_on_a_busy_slot_and_is_woken_in_order() {
    let node = Node::master();
    let (release, worker) = hold_slot(&node);
    let (mut first, mut second, mut other) = (node.client(), node.client(), node.client());
    assert_eq!(first.outcome(&["SET", "{a}1", "x"]), Outcome::Park);
    assert_eq!(first.outcome(&["SET", "{a}1", "x"]), Outcome::Park, "asking twice is no harm");
    assert_eq!(second.outcome(&["GET", "{a}1"]), Outcome::Park);
    other.ok("SET b 1");
    assert_eq!(node.host.woken(), []);
    assert!(node.engine.log().end() > 0);
    release.send(()).unwrap();
    assert_eq!(worker.join().unwrap(), Reply::Simple("OK".into()));
    assert_eq!(node.host.woken(), [first.session.id, second.session.id]);
    assert_eq!(first.outcome(&["SET", "{a}1", "x"]), Outcome::Done);
    assert_eq!(second.line("GET {a}1"), bulk("x"));
}

#[test]
fn exec_scan_and_getkeysinslot_park_too() {
    let node = Node::master();
    node.client().ok("SET {a}1 x");
    let (release, worker) = hold_slot(&node);
    let (mut multi, mut keys) = (node.client(), node.client());
    multi.ok("MULTI");
    multi.line("INCR {a}n");
    assert_eq!(multi.outcome(&["EXEC"]), Outcome::Park);
    assert!(multi.session.in_multi(), "the queue is kept");
    assert_eq!(keys.outcome(&["CLUSTER", "GETKEYSINSLOT", "15495", "10"]), Outcome::Park);
    release.send(()).unwrap();
    worker.join().unwrap();
    assert_eq!(multi.line("EXEC"), Reply::Array(vec![int(1)]));
    assert!(matches!(keys.line("CLUSTER GETKEYSINSLOT 15495 10"), Reply::Array(k) if k.len() == 2));
}

#[test]
fn a_held_slot_delays_flushall_and_nobody_else() {
    let node = Node::master();
    let mut other = node.client();
    other.ok("SET b 1");
    let (release, worker) = hold_slot(&node);
    let (mut flusher, engine) = (node.client(), node.engine.clone());
    let flush = std::thread::spawn(move || flusher.line("FLUSHALL"));
    for n in 0..100 {
        assert_eq!(other.line("INCR b"), int(n + 2));
    }
    assert!(!engine.keyspace().is_empty());
    release.send(()).unwrap();
    worker.join().unwrap();
    assert_eq!(flush.join().unwrap(), Reply::Simple("OK".into()));
    assert_eq!(other.line("DBSIZE"), int(0));
}

/// Threads that fight for one slot: every increment counts, every parked session is woken.
#[test]
fn no_wake_up_is_lost() {
    const THREADS: i64 = 4;
    const EACH: i64 = 3000;
    let node = Node::master();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let mut client = node.client();
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    assert!(matches!(client.line("INCR {a}n"), Reply::Integer(_)));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(node.client().line("GET {a}n"), bulk(&(THREADS * EACH).to_string()));
    assert_eq!(node.engine.keyspace().len(), 1);
}
