//! A node that reads its files: it is there for the others, and does nothing that needs its data.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, TIMEOUT_MS, command, gossip, header, id, names, packets, ping, replicate, request, slots};
use node_server_cluster::{Config, HandOver, Input, Output};
use node_server_protocol::bus::{Body, NodeFlags};
use node_server_protocol::routing::Serving;
use node_server_protocol::{Epoch, Role, Slot, SlotSet};

fn config() -> Config {
    Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() }
}

fn loaded(lone: &mut Lone, occupied: &SlotSet) -> Vec<Output> {
    lone.input(Input::Loaded { occupied: occupied.clone() });
    lone.settle()
}

fn dropped(outputs: &[Output]) -> Option<&SlotSet> {
    outputs.iter().find_map(|o| match o {
        Output::DropKeys { slots } => Some(slots),
        _ => None,
    })
}

fn info(lone: &mut Lone) -> String {
    command(lone, "INFO");
    let reply = |o: Output| match o {
        Output::Reply { bytes, .. } => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    };
    lone.settle().into_iter().find_map(reply).unwrap()
}

/// It was told to follow this master and was ended before it had copied anything: its file is another shard's.
#[test]
fn a_replica_whose_file_has_none_of_its_master_s_keys_says_so_and_does_not_stand() {
    let config = Config { replica_validity_factor: 0, ..config() };
    for (occupied, copy) in [(slots(5461, 5470), false), (SlotSet::new(), false), (slots(5460, 5470), true)] {
        let mut lone = Lone::loading(4, config.clone());
        loaded(&mut lone, &occupied);
        assert_eq!(info(&mut lone).contains("cluster_no_copy:1"), !copy, "{occupied}");
        lone.hear(header(2), Body::Fail { node: id(1) });
        let mut outputs = lone.settle();
        outputs.extend(lone.pass(2000));
        assert_eq!(names(&outputs).contains(&"auth-req"), copy, "{occupied}");
    }
    let mut lone = Lone::loading(4, config);
    loaded(&mut lone, &slots(5461, 5470));
    replicate(&mut lone, 7);
    assert!(!info(&mut lone).contains("cluster_no_copy"), "it is in sync");
}

/// What tells the operator how long a replica was apart from a master that served: it counts from the last header that
/// said so, not from those of a master that only reads its files.
#[test]
fn masters_out_of_reach_are_told_with_the_time_since_they_served() {
    let told = |lone: &mut Lone| {
        let text = info(lone);
        let line = text.lines().find_map(|l| l.strip_prefix("cluster_unreachable_masters:")).unwrap();
        line.to_owned()
    };
    let mut lone = Lone::new(4);
    assert_eq!(told(&mut lone), "");
    lone.hear(header(1), ping());
    let mut loads = header(1);
    loads.cluster_down = true;
    for _ in 0..70 {
        lone.alive_but(1);
        lone.hear(loads.clone(), ping());
        lone.pass(100);
    }
    lone.input(Input::Closed { link: lone.to[&1] });
    assert_eq!(told(&mut lone), format!("{}=7", id(1)));
}

#[test]
fn a_master_that_loads_answers_keeps_its_slots_and_votes_and_serves_nothing() {
    let mut lone = Lone::loading(1, config());
    let link = lone.hear(header(2), ping());
    let outputs = lone.settle();
    let pongs = packets(&outputs);
    let (_, pong) = pongs.iter().find(|(l, p)| *l == link && p.body.name() == "pong").unwrap();
    assert_eq!((pong.header.master, &pong.header.slots), (None, &slots(0, 5460)));
    assert!(pong.header.cluster_down, "who keeps keys for it has to go on keeping them");
    assert_eq!(lone.core.routing().serving, Serving::Down { allow_reads: false });
    // The failure of another shard's master, and its replica's request.
    lone.hear(header(3), gossip(2, NodeFlags::FAIL.with(NodeFlags::MASTER)));
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.hear(request(5, 9), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    loaded(&mut lone, &slots(0, 5460));
    lone.alive();
    lone.pass(100);
    let link = lone.hear(header(3), ping());
    let outputs = lone.settle();
    let pongs = packets(&outputs);
    let (_, pong) = pongs.iter().find(|(l, p)| *l == link && p.body.name() == "pong").unwrap();
    assert_eq!(pong.header.slots, slots(0, 5460));
}

#[test]
fn it_serves_as_soon_as_it_has_loaded() {
    let mut lone = Lone::loading(1, config());
    assert_eq!(lone.core.routing().serving, Serving::Down { allow_reads: false });
    let outputs = loaded(&mut lone, &slots(0, 5460));
    assert_eq!(lone.core.routing().serving, Serving::Ok);
    assert!(dropped(&outputs).is_none());
    assert!(!info(&mut lone).contains("cluster_lost_slots"));
}

/// Its log has no end yet: the replica would take that for all there is.
#[test]
fn it_is_not_paused_for_a_failover_and_hands_nothing_over() {
    let mut lone = Lone::loading(1, config());
    let pauses = |lone: &mut Lone| {
        lone.hear(header(4), Body::MfStart);
        lone.settle().iter().any(|o| matches!(o, Output::PauseWrites { .. }))
    };
    assert!(!pauses(&mut lone));
    let (deadline, replicas) = (lone.now.after(1000), vec![([10, 0, 0, 4], 6379).into()]);
    lone.input(Input::HandOver { deadline, replicas });
    let outputs = lone.settle();
    assert!(outputs.iter().any(|o| matches!(o, Output::HandOver(HandOver::NotNeeded))));
    assert!(!names(&outputs).contains(&"mfstart"));
    loaded(&mut lone, &slots(0, 5460));
    assert!(pauses(&mut lone));
}

#[test]
fn a_replica_that_loads_does_not_stand() {
    let mut lone = Lone::loading(4, Config { replica_validity_factor: 0, ..config() });
    lone.hear(header(2), Body::Fail { node: id(1) });
    assert!(lone.line(1).contains("fail"), "{}", lone.line(1));
    let stood = |lone: &mut Lone| {
        let mut all = lone.settle();
        for _ in 0..20 {
            lone.alive_but(1);
            all.extend(lone.pass(100));
        }
        names(&all).contains(&"auth-req")
    };
    assert!(!stood(&mut lone));
    // Nor does it for its master's sake.
    lone.hear(header(1), Body::MfStart);
    replicate(&mut lone, 1000);
    assert!(!stood(&mut lone));
    assert!(names(&loaded(&mut lone, &slots(0, 5460))).contains(&"auth-req"));
}

/// Deleted while they were still being read, they would have come again.
#[test]
fn keys_of_slots_lost_meanwhile_are_deleted_when_they_are_read() {
    let mut lone = Lone::loading(1, config());
    let mut taker = header(2);
    (taker.config_epoch, taker.slots) = (Epoch(9), slots(0, 99).union(&slots(5461, 10_922)));
    lone.hear(taker.clone(), ping());
    lone.hear(taker, ping());
    assert!(dropped(&lone.settle()).is_none());
    let outputs = loaded(&mut lone, &slots(50, 200));
    assert_eq!(dropped(&outputs), Some(&slots(0, 99)));
}

#[test]
fn a_master_that_is_replaced_meanwhile_follows_its_successor() {
    let mut lone = Lone::loading(1, config());
    let mut successor = header(4);
    (successor.master, successor.flags, successor.config_epoch) = (None, NodeFlags::MASTER, Epoch(9));
    lone.hear(successor.clone(), ping());
    lone.settle();
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
    lone.hear(successor, ping());
    assert!(dropped(&loaded(&mut lone, &slots(0, 5460))).is_none(), "its master's stream says what goes");
}

/// They were kept for ever, and nobody was told.
#[test]
fn keys_that_were_found_in_slots_of_others_are_kept_until_the_owner_serves() {
    let mut lone = Lone::loading(1, config());
    let outputs = loaded(&mut lone, &slots(5000, 6000));
    assert!(dropped(&outputs).is_none());
    assert!(lone::logged(&outputs, "Keys of slots that are not mine were loaded and are kept: 5461-6000"));
    assert!(info(&mut lone).contains("cluster_lost_slots:5461-6000\r\n"));
    assert_eq!(lone.core.foreign_slots(), slots(5461, 16_383));
    let mut owner = header(2);
    owner.cluster_down = true;
    lone.hear(owner.clone(), ping());
    assert!(dropped(&lone.settle()).is_none(), "it has not its data yet");
    owner.cluster_down = false;
    lone.hear(owner, ping());
    assert_eq!(dropped(&lone.settle()), Some(&slots(5461, 6000)));
    assert!(!info(&mut lone).contains("cluster_lost_slots"));
}

#[test]
fn keys_of_slots_without_owner_are_kept_for_whoever_gets_them() {
    let mut lone = Lone::loading(1, config());
    command(&mut lone, "DELSLOTS 7 6000");
    lone.settle();
    let outputs = loaded(&mut lone, &slots(0, 10_000));
    assert!(dropped(&outputs).is_none());
    assert!(info(&mut lone).contains("cluster_lost_slots:7,5461-10000\r\n"), "{}", info(&mut lone));
    command(&mut lone, "ADDSLOTS 7");
    lone.settle();
    assert!(info(&mut lone).contains("cluster_lost_slots:5461-10000\r\n"));
    let mut owner = header(2);
    owner.slots.remove(Slot::new(6000).unwrap());
    lone.hear(owner, ping());
    let mut expected = slots(5461, 10_000);
    expected.remove(Slot::new(6000).unwrap());
    assert_eq!(dropped(&lone.settle()), Some(&expected));
    assert!(info(&mut lone).contains("cluster_lost_slots:6000\r\n"));
}

/// Keys on their way here are nobody else's.
#[test]
fn keys_of_a_move_under_way_are_not_foreign() {
    let mut lone = Lone::loading(1, config());
    command(&mut lone, &format!("SETSLOT 6000 IMPORTING {}", id(2)));
    lone.settle();
    let outputs = loaded(&mut lone, &slots(6000, 6000));
    assert!(!info(&mut lone).contains("cluster_lost_slots"));
    lone.hear(header(2), ping());
    assert!(dropped(&outputs).is_none() && dropped(&lone.settle()).is_none());
    assert!(!lone.core.foreign_slots().contains(Slot::new(6000).unwrap()));
}
