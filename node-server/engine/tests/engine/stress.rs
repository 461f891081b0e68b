//! Many threads and everything that interferes with them at once. What has to hold at the end does not depend on who
//! was faster: no session sleeps for ever, nothing is logged while writes stand still, a replica that read the log has
//! the same keys, and what was acknowledged is in the log.

use crate::support::*;
use node_server_engine::{Applier, Chunk, Fate, MigrateBegin, MigrateRequest, Options, Outcome};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use node_server_protocol::{Millis, Role};
use node_server_rdb::Dialect;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const WRITERS: usize = 4;
/// Commands of one writer.
const EACH: usize = 600;
/// Room for the whole log.
const BACKLOG: usize = 64 * 1024 * 1024;

fn node(replica: bool) -> Node {
    let (me, replid) = if replica { (4, "b") } else { (1, "a") };
    let node = Node::with(Options { backlog_size: BACKLOG, replid: replid.repeat(40), ..Options::default() });
    node.engine.publish_routing(Arc::new(routing(me, 1, &[])));
    node
}

fn write(mut client: Client, seed: usize) {
    for n in 0..EACH {
        let dice = (n * 7919 + seed * 104_729) % 100;
        match dice {
            0..40 => drop(client.line("INCR {a}n")),
            40..60 => drop(client.line(&format!("SET {{a}}{} {n}", n % 7))),
            60..70 => drop(client.line(&format!("GETDEL {{a}}{}", n % 7))),
            70..80 => drop(client.line(&format!("APPEND other{} x", n % 50))),
            80..85 => drop(client.line("SET {a}soon x PX 1")),
            85..95 => {
                client.ok("MULTI");
                client.line("INCR {a}n");
                client.line(&format!("SET {{a}}{} multi", n % 7));
                assert!(matches!(client.line("EXEC"), Reply::Array(replies) if replies.len() == 2));
            }
            95..99 => drop(client.line("GET {a}n")),
            _ => client.ok("FLUSHALL"),
        }
        client.now = Millis(client.now.0 + 1);
    }
}

/// Pauses writes and looks whether they stand still.
fn pause(engine: &node_server_engine::Engine) {
    engine.pause_writes(Millis(u64::MAX));
    let end = loop {
        match engine.writes_settled() {
            Some(end) => break end,
            None => std::thread::yield_now(),
        }
    };
    for _ in 0..50 {
        std::thread::yield_now();
        assert_eq!(engine.log().end(), end, "something was logged while writes stood still");
        assert_eq!(engine.append_record(&[b"PING"]), None);
    }
    engine.resume_writes();
}

/// Marks keys and lets them go again; now and then one has crossed.
fn migrate(engine: &node_server_engine::Engine, round: usize) {
    let line = b"MIGRATE h 1  0 100 REPLACE KEYS {a}1 {a}n {a}2";
    let args: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let request = MigrateRequest::parse(&args).unwrap();
    let MigrateBegin::Send(migration) = engine.migrate_begin(&request, 0, NOW).unwrap() else { return };
    std::thread::yield_now();
    let fate = |n: usize| [Fate::Stayed, Fate::Unclear, Fate::Arrived][(n + round) % 3];
    let mut ended = engine.migrate_end(migration, fate, NOW);
    while let Err(held) = ended {
        std::thread::yield_now();
        ended = engine.migrate_end(held.0, fate, NOW);
    }
}

/// A full sync while others write; where the stream goes on.
fn full_sync(master: &Node, replica: &Node) {
    let mut snapshot = loop {
        match master.engine.begin_snapshot(NOW, Dialect::Valkey) {
            Ok(snapshot) => break snapshot,
            Err(_) => std::thread::yield_now(),
        }
    };
    let mut loader = replica.engine.begin_load(NOW);
    loop {
        match snapshot.next_chunk(100) {
            Chunk::Bytes(bytes) => drop(loader.feed(&bytes).unwrap()),
            Chunk::Busy => std::thread::yield_now(),
            Chunk::Failed(error) => panic!("{error}"),
            Chunk::End => break,
        }
    }
    loader.commit(&master.engine.log().history().replid, snapshot.offset).unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "this test's host is a shell with a worker thread: it may wait")]
fn whatever_interferes_a_replica_has_what_its_master_has() {
    let (master, replica) = (node(false), node(true));
    master.host.on_pause(|ms| std::thread::sleep(std::time::Duration::from_millis(ms)));
    let running = Arc::new(AtomicUsize::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|seed| {
            let (client, running) = (master.client(), Arc::clone(&running));
            std::thread::spawn(move || {
                write(client, seed);
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    let interferer = |act: fn(&node_server_engine::Engine, usize)| {
        let (engine, running) = (Arc::clone(&master.engine), Arc::clone(&running));
        std::thread::spawn(move || {
            // Once in any case.
            for round in 0.. {
                act(&engine, round);
                if running.load(Ordering::SeqCst) == 0 {
                    break;
                }
                std::thread::yield_now();
            }
        })
    };
    let others = [
        interferer(|engine, _| pause(engine)),
        interferer(migrate),
        interferer(|engine, round| _ = engine.tick(Millis(NOW.0 + round as u64), 100)),
    ];
    for _ in 0..5 {
        full_sync(&master, &replica);
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    others.into_iter().for_each(|other| other.join().unwrap());
    let (mut applier, late) = (Applier::default(), Millis(NOW.0 + 1_000_000));
    let bytes = master.log_from(replica.engine.log().end());
    assert_eq!(replica.engine.apply(&mut applier, &bytes, late).unwrap().consumed, bytes.len());
    while master.engine.tick(late, 1000) > 0 {}
    let bytes = master.log_from(replica.engine.log().end());
    replica.engine.apply(&mut applier, &bytes, late).unwrap();
    assert_eq!(master.content(late), replica.content(late));
    assert_eq!(master.engine.log().end(), replica.engine.log().end());
}

/// The slot comes and goes. A command that was overtaken says MOVED, or nothing; what says OK is in the log.
#[test]
fn what_was_acknowledged_is_in_the_log_whenever_the_slot_was_lost() {
    let node = node(false);
    let done = Arc::new(AtomicBool::new(false));
    let flipper = {
        let (engine, done) = (Arc::clone(&node.engine), Arc::clone(&done));
        let slot = key_slot(b"a").number();
        std::thread::spawn(move || {
            let mut version = 2;
            while !done.load(Ordering::SeqCst) {
                let range = format!("{slot}-{slot}");
                let others: &[(&str, u8)] = if version % 2 == 0 { &[(&range, 2)] } else { &[] };
                engine.publish_routing(Arc::new(routing(1, version, others)));
                version += 1;
                std::thread::yield_now();
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut client = node.client();
            std::thread::spawn(move || {
                let (mut acknowledged, mut refused) = (0, 0);
                while acknowledged < EACH || refused < EACH {
                    let (outcome, out) = client.try_once(&[b"INCR", b"{a}n"]);
                    match outcome {
                        Outcome::Done if out.starts_with(b":") => acknowledged += 1,
                        Outcome::Done if out.starts_with(b"-MOVED") => refused += 1,
                        Outcome::Park => client.host.wait_for(client.session.id),
                        Outcome::Close => assert!(out.is_empty()),
                        other => panic!("{other:?} {}", out.escape_ascii()),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let acknowledged: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    done.store(true, Ordering::SeqCst);
    flipper.join().unwrap();
    let logged = node.records_from(0).iter().filter(|record| record.contains("{a}n")).count();
    assert_eq!(logged, acknowledged);
}

/// Writes until the node says OK. What was taken before the slot counted as its own was in memory and in no log.
fn write_until_ok(mut client: Client) {
    loop {
        let (outcome, out) = client.try_once(&[b"SET", b"{zz}n", b"1"]);
        match outcome {
            Outcome::Done if out == b"+OK\r\n" => return,
            Outcome::Done => assert!(out.starts_with(b"-MOVED") || out.starts_with(b"-READONLY")),
            Outcome::Park => client.host.wait_for(client.session.id),
            other => panic!("{other:?} {}", out.escape_ascii()),
        }
    }
}

fn promoted_again_and_again(node: &Node, change_role: impl Fn(bool)) {
    for _ in 0..100 {
        change_role(true);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let client = node.client();
                std::thread::spawn(move || write_until_ok(client))
            })
            .collect();
        change_role(false);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(!node.engine.needs_full_resync());
    }
}

#[test]
fn a_write_that_comes_with_a_promotion_is_logged_or_refused() {
    let node = node(true);
    let replica = Arc::new(routing(4, 1, &[]));
    let mut master = routing(4, 2, &[("0-16383", 4)]);
    master.role = Role::Master;
    let master = Arc::new(master);
    promoted_again_and_again(&node, |replicates| {
        node.engine.publish_routing(Arc::clone(if replicates { &replica } else { &master }));
    });
    let node = Node::standalone();
    promoted_again_and_again(&node, |replicates| node.engine.set_replica(replicates));
}

/// A replica's log grew in a pause, by PINGs, behind what was taken for its end.
#[test]
fn a_replica_that_applies_stands_still_in_a_pause() {
    const PAUSES: usize = 40;
    let replica = node(true);
    replica.engine.set_replica(true);
    let pieces: [&[u8]; 2] = [b"*2\r\n$4\r\nINCR\r\n$4\r\n{a}n\r\n", b"*1\r\n$4\r\nPING\r\n"];
    let (mut applier, mut applied) = (Applier::default(), 0);
    std::thread::scope(|scope| {
        let pauses = scope.spawn(|| (0..PAUSES).for_each(|_| pause(&replica.engine)));
        while !pauses.is_finished() {
            for piece in pieces {
                applied += replica.engine.apply(&mut applier, piece, NOW).unwrap().consumed;
            }
        }
        pauses.join().unwrap();
    });
    assert!(applied > 0);
    assert_eq!(replica.engine.log().end(), applied as u64);
}
