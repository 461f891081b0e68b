//! Who follows whom, and with which slots, when that changes. All of these were found by the simulation.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, TIMEOUT_MS, command, elected, header, id, packets, ping, request, slots};
use node_server_cluster::{Config, Input, Output};
use node_server_protocol::bus::{Body, Extension, Header, Heartbeat, NodeFlags, Update};
use node_server_protocol::{Epoch, Role, SlotSet};

/// Whoever had not heard yet to whom a drained master's slots had gone gave all of them to the
/// one that took the last. They stay with the drained one until they are claimed, or until it has long given them up.
#[test]
fn a_drained_master_passes_nothing_on_to_another_shard() {
    let mut lone = Lone::new(1);
    let mut drained = header(2);
    drained.master = Some(id(3));
    drained.flags = NodeFlags::REPLICA | NodeFlags::EXTENSIONS;
    drained.config_epoch = Epoch(3);
    drained.slots = slots(10_923, 16_383);
    let extensions = vec![Extension::ShardId(id(103))];
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions });
    lone.hear(drained.clone(), body.clone());
    lone.settle();
    assert!(lone.line(2).ends_with(" 5461-10922"), "{}", lone.line(2));
    for _ in 0..=TIMEOUT_MS / 100 {
        lone.alive_but(2);
        lone.pass(100);
    }
    lone.hear(drained, body);
    lone.settle();
    assert!(lone.line(2).contains(&format!("slave {}", id(3))), "{}", lone.line(2));
    assert!(lone.line(3).ends_with(" 10923-16383"), "{}", lone.line(3));
}

/// A header from before its promotion took a master's slots from it, and an older claim got them.
#[test]
fn a_header_from_before_a_promotion_changes_nothing() {
    let mut lone = Lone::new(1);
    let mut promoted = header(5);
    (promoted.master, promoted.flags, promoted.config_epoch) = (None, NodeFlags::MASTER, Epoch(9));
    lone.hear(promoted, ping());
    lone.hear(header(5), ping());
    assert!(lone.line(5).contains(" master - ") && lone.line(5).ends_with(" 5461-10922"), "{}", lone.line(5));
    // What it goes on saying is so.
    for _ in 0..=TIMEOUT_MS / 100 {
        lone.alive_but(5);
        lone.pass(100);
    }
    lone.hear(header(5), ping());
    assert!(lone.line(5).contains(&format!(" slave {}", id(2))), "{}", lone.line(5));
}

/// Both replicas of a master that had only slots on their way to it were elected, one after the
/// other: the first one's claim took no slot from anybody.
#[test]
fn a_sibling_of_who_took_over_a_master_without_slots_follows() {
    let mut lone = Lone::new(4);
    let mut taker = header(2);
    (taker.config_epoch, taker.slots) = (Epoch(9), slots(0, 10_922));
    let mut sibling = header(6);
    (sibling.master, sibling.config_epoch, sibling.slots) = (Some(id(1)), Epoch(1), slots(0, 5460));
    lone.hear(sibling.clone(), ping());
    lone.hear(taker, ping());
    assert_eq!(lone.core.role(), Role::Replica { of: id(2) }, "it follows whoever takes the last slot");
    command(&mut lone, &format!("REPLICATE {}", id(1)));
    let args = ["CLUSTER", "SETSLOT", "7", "IMPORTING", &id(2).to_string()];
    lone.input(Input::ReplicatedSetSlot { args: args.map(|a| a.as_bytes().to_vec()).to_vec() });
    (sibling.master, sibling.flags) = (None, NodeFlags::MASTER);
    (sibling.config_epoch, sibling.slots) = (Epoch(12), SlotSet::new());
    lone.hear(sibling, ping());
    assert_eq!(lone.core.role(), Role::Replica { of: id(6) });
}

/// A second master of the shard had given its slots to the first and had become its replica.
/// Each time it took over, it was outbid for those slots, for ever.
#[test]
fn a_replica_that_once_gave_slots_may_succeed() {
    let mut lone = Lone::new(1);
    let mut second = header(4);
    second.master = None;
    second.flags = NodeFlags::MASTER;
    (second.config_epoch, second.slots) = (Epoch(9), slots(5000, 5460));
    lone.hear(second.clone(), ping());
    assert!(lone.line(1).contains(" 0-4999"));
    command(&mut lone, &format!("SETSLOT 5000 IMPORTING {}", id(4)));
    command(&mut lone, &format!("SETSLOT 5000 NODE {}", id(1)));
    let mut replica = header(4);
    (replica.config_epoch, replica.slots) = (Epoch(10), slots(0, 5000));
    lone.hear(replica, ping());
    lone.settle();
    (second.config_epoch, second.slots) = (Epoch(20), slots(0, 5000));
    lone.hear(second, ping());
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
}

/// A replica heard of its master's successor, which had given the lowest slots away already, and then of who has those: it
/// followed that one, of another shard, and lost its copy.
#[test]
fn a_replica_follows_its_masters_successor_whoever_has_the_last_slot() {
    let mut lone = Lone::new(4);
    let mut successor = header(6);
    (successor.master, successor.config_epoch, successor.slots) = (Some(id(1)), Epoch(1), slots(0, 5460));
    let shard = vec![Extension::ShardId(id(101))];
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions: shard });
    lone.hear(successor.clone(), body.clone());
    (successor.master, successor.flags) = (None, NodeFlags::MASTER);
    (successor.config_epoch, successor.slots) = (Epoch(9), slots(128, 5460));
    lone.hear(successor, body);
    let mut taker = header(2);
    (taker.config_epoch, taker.slots) = (Epoch(10), slots(0, 127).union(&slots(5461, 10_922)));
    lone.hear(taker, ping());
    assert_eq!(lone.core.role(), Role::Replica { of: id(6) });
}

fn dropped(outputs: &[Output]) -> bool {
    outputs.iter().any(|o| matches!(o, Output::DropKeys { .. }))
}

/// A deposed master dropped the last copy for a successor that had come back without its data, or lost it by following
/// a master of another shard.
#[test]
fn keys_of_lost_slots_stay_until_their_owner_serves() {
    let mut lone = Lone::new(1);
    let mut successor = header(4);
    (successor.master, successor.flags, successor.cluster_down) = (None, NodeFlags::MASTER, true);
    (successor.config_epoch, successor.slots) = (Epoch(9), slots(0, 5000));
    lone.hear(successor.clone(), ping());
    assert!(!dropped(&lone.settle()));
    assert!(info(&mut lone).contains("cluster_lost_slots:0-5000\r\n"));
    successor.cluster_down = false;
    lone.hear(successor.clone(), ping());
    assert!(dropped(&lone.settle()));
    assert!(!info(&mut lone).contains("cluster_lost_slots"));
    // Without any slot left it follows the successor, with all keys, even if another shard has the last slot.
    let mut lone = Lone::new(1);
    successor.cluster_down = true;
    lone.hear(successor, ping());
    let mut taker = header(2);
    (taker.config_epoch, taker.slots) = (Epoch(10), slots(5001, 10_922));
    lone.hear(taker, ping());
    assert!(!dropped(&lone.settle()));
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
}

#[test]
fn keys_of_lost_slots_stay_when_a_header_lacks_them() {
    let mut lone = Lone::new(1);
    let mut taker = header(2);
    (taker.config_epoch, taker.cluster_down) = (Epoch(9), true);
    taker.slots = slots(5000, 10_922);
    lone.hear(taker.clone(), ping());
    (taker.cluster_down, taker.slots) = (false, slots(5001, 10_922));
    lone.hear(taker.clone(), ping());
    assert!(info(&mut lone).contains("cluster_lost_slots:5000\r\n"));
    taker.slots = slots(5000, 10_922);
    lone.hear(taker, ping());
    assert!(dropped(&lone.settle()));
    assert!(!info(&mut lone).contains("cluster_lost_slots"));
}

/// A header that was overtaken by another one brought a claim back to life, with the other's epoch.
#[test]
fn an_older_header_restores_no_claim() {
    let mut lone = Lone::new(1);
    let mut giver = header(2);
    (giver.config_epoch, giver.slots) = (Epoch(9), slots(5462, 10_922));
    lone.hear(giver, ping());
    lone.hear(header(2), ping());
    lone.settle();
    let mut taker = header(3);
    (taker.config_epoch, taker.slots) = (Epoch(4), slots(5461, 5461).union(&slots(10_923, 16_383)));
    lone.hear(taker, ping());
    let outputs = lone.settle();
    let told = packets(&outputs).into_iter().find(|(_, packet)| matches!(packet.body, Body::Update(_)));
    assert!(told.is_none(), "the giver owns it no more: {told:?}");
}

fn info(lone: &mut Lone) -> String {
    command(lone, "INFO");
    let reply = |o: Output| match o {
        Output::Reply { bytes, .. } => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    };
    lone.settle().into_iter().find_map(reply).unwrap()
}

/// It stayed failed with its slots, so its own replica replaced it at once, was failed itself, and so on.
#[test]
fn a_failed_replica_that_takes_over_is_alive() {
    let mut lone = Lone::new(1);
    lone.hear(header(2), Body::Fail { node: id(5) });
    assert!(lone.line(5).contains("slave,fail "), "{}", lone.line(5));
    let mut promoted = header(5);
    (promoted.master, promoted.flags, promoted.config_epoch) = (None, NodeFlags::MASTER, Epoch(9));
    lone.hear(promoted, ping());
    assert!(lone.line(5).contains(" master - ") && lone.line(5).ends_with(" 5461-10922"), "{}", lone.line(5));
}

fn epoch(lone: &Lone) -> u64 {
    lone.line(1).split(' ').nth(6).unwrap().parse().unwrap()
}

fn import(lone: &mut Lone, slot: u16) {
    command(lone, &format!("SETSLOT {slot} IMPORTING {}", id(2)));
    command(lone, &format!("SETSLOT {slot} NODE {}", id(1)));
    lone.settle();
}

/// A claim of the second node with a higher epoch.
fn claim(slots: SlotSet) -> Header {
    let mut claim = header(2);
    (claim.config_epoch, claim.slots) = (Epoch(9), slots);
    claim
}

/// One of Redis would have dropped the keys of a slot that it had just taken back: it was outbid for its sake because of
/// another slot, which it had given away.
#[test]
fn nobody_is_outbid_while_a_slot_may_have_gone_back() {
    let mut lone = Lone::new(1);
    import(&mut lone, 6000);
    import(&mut lone, 6001);
    command(&mut lone, &format!("SETSLOT 6000 MIGRATING {}", id(2)));
    let taken_back = claim(slots(5461, 6000).union(&slots(6002, 10_922)));
    lone.hear(taken_back.clone(), ping());
    lone.settle();
    assert!(epoch(&lone) < 9, "{}", lone.line(1));
    command(&mut lone, &format!("SETSLOT 6000 NODE {}", id(2)));
    lone.hear(taken_back, ping());
    lone.settle();
    assert!(epoch(&lone) > 9 && lone.line(1).ends_with(" 0-5460 6001"), "{}", lone.line(1));
}

/// Each of two masters had a slot from the other, which had not been told: both outbid the other before they looked what they
/// had lost, without end.
#[test]
fn what_is_outbid_for_one_slot_is_lost_for_another() {
    let mut lone = Lone::new(1);
    import(&mut lone, 6000);
    lone.hear(claim(slots(5461, 10_922).union(&slots(5, 5))), ping());
    lone.settle();
    assert!(epoch(&lone) > 9, "{}", lone.line(1));
    assert!(lone.line(1).ends_with(" 0-4 6-5460 6000"), "{}", lone.line(1));
}

/// Cut off, a master ended a move and took an epoch without a vote, in which its replica was elected. What that one had
/// acknowledged was lost when the old master took the next epoch because of the collision.
#[test]
fn a_master_concedes_to_its_replica_that_was_elected_in_its_own_epoch() {
    let mut lone = Lone::new(1);
    command(&mut lone, "BUMPEPOCH");
    lone.settle();
    assert!(lone.line(1).contains(" 4 connected "), "{}", lone.line(1));
    lone.hear(elected(request(4, 4), 4), ping());
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
    assert!(lone.line(4).ends_with(" 4 connected 0-5460"), "{}", lone.line(4));
}

/// A master that had bumped its epoch has conceded already; a header from before, on another connection, is read last.
#[test]
fn a_late_claim_of_a_master_that_has_conceded_takes_nothing_back() {
    let mut lone = Lone::new(1);
    command(&mut lone, "BUMPEPOCH");
    let mut conceded = header(4);
    (conceded.current_epoch, conceded.config_epoch) = (Epoch(4), Epoch(4));
    lone.hear(conceded, ping());
    lone.hear(elected(request(4, 4), 4), ping());
    assert_eq!(lone.core.role(), Role::Master);
    assert!(lone.line(1).ends_with(" 0-5460"), "{}", lone.line(1));
}

/// So does everybody else who had heard of the old master's epoch.
#[test]
fn the_slots_are_those_of_the_elected_replica_whoever_had_heard_of_its_master_s_epoch() {
    let mut lone = Lone::new(2);
    let mut bumped = header(1);
    (bumped.current_epoch, bumped.config_epoch) = (Epoch(4), Epoch(4));
    lone.hear(bumped.clone(), ping());
    lone.hear(elected(request(4, 4), 4), ping());
    assert!(lone.line(4).ends_with(" 4 connected 0-5460"), "{}", lone.line(4));
    // The old master's claim is no newer one.
    lone.hear(bumped, ping());
    assert!(lone.line(4).ends_with(" 4 connected 0-5460"), "{}", lone.line(4));
}

/// Found by the test of mixed clusters: a replica that knew its master from gossip alone told it a shard that it had made
/// up. The master was killed, came back empty, and did not follow its successor, which it took for another shard's.
#[test]
fn a_replica_is_of_its_master_s_shard_whatever_it_says() {
    let config = Config { node_timeout_ms: TIMEOUT_MS, allow_replica_migration: false, ..Config::default() };
    let mut lone = Lone::start(1, false, config);
    let extensions = vec![Extension::ShardId(id(222))];
    lone.hear(header(4), Body::Ping(Heartbeat { gossip: Vec::new(), extensions }));
    let update = Update { config_epoch: Epoch(6), node: id(4), slots: slots(0, 5460) };
    lone.hear(request(2, 6), Body::Update(update));
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
}
