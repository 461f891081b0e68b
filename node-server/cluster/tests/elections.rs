//! Candidates, manual failovers, the closed master.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{
    Lone, TIMEOUT_MS, command, header, id, logged, names, packets, ping, replicate, request, slots,
    write_begun,
};
use node_server_cluster::{Config, Input, Output, ReplicationStatus};
use node_server_protocol::bus::{Body, MessageFlags, NodeFlags};
use node_server_protocol::{Epoch, Role, SlotSet};

/// Node 4 after its master failed: it has asked for votes in the epoch that is returned.
fn candidate() -> (Lone, Epoch) {
    let mut lone = Lone::new(4);
    replicate(&mut lone, 1000);
    lone.settle();
    lone.hear(header(2), Body::Fail { node: id(1) });
    let outputs = lone.settle();
    let requests: Vec<_> =
        packets(&outputs).into_iter().filter(|(_, p)| p.body == Body::AuthRequest).collect();
    assert_eq!(requests.len(), 5, "the only replica need not wait");
    assert!(requests[0].1.header.message_flags.contains(MessageFlags::FORCE_ACK));
    (lone, requests[0].1.header.current_epoch)
}

#[test]
fn an_election_is_won_by_different_masters_in_this_epoch() {
    let (mut lone, epoch) = candidate();
    let ack = |lone: &mut Lone, from: u8, epoch: u64| {
        lone.hear(request(from, epoch), Body::AuthAck);
        lone.settle()
    };
    ack(&mut lone, 2, epoch.0 - 1);
    ack(&mut lone, 2, epoch.0);
    ack(&mut lone, 2, epoch.0);
    ack(&mut lone, 5, epoch.0);
    assert_eq!(lone.core.role(), Role::Replica { of: id(1) }, "old, double and replicas' votes do not count");
    lone.hear(request(3, epoch.0), Body::AuthAck);
    assert_eq!(lone.core.role(), Role::Master);
    let before = lone.outputs();
    assert!(logged(&before, "Failover election won: I'm the new master."));
    let early = |o: &Output| matches!(o, Output::BecomeMaster | Output::Publish(_) | Output::Send { .. });
    assert!(!before.iter().any(early), "nothing before it is on disk");
    let seq = before.iter().find_map(|o| match o {
        Output::Persist { seq, .. } => Some(*seq),
        _ => None,
    });
    lone.input(Input::Persisted { seq: seq.unwrap() });
    let after = lone.settle();
    let order: Vec<&str> = after
        .iter()
        .filter_map(|o| match o {
            Output::BecomeMaster => Some("master"),
            Output::Publish(_) => Some("publish"),
            Output::Send { .. } => Some("send"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["master", "publish", "send", "send", "send", "send", "send"]);
    let (_, pong) = &packets(&after)[0];
    assert_eq!((pong.header.config_epoch, pong.header.master), (epoch, None));
    assert_eq!(pong.header.slots, slots(0, 5460));
}

/// A sibling may have been elected since; a vote that was late raised a second one.
#[test]
fn votes_count_while_the_attempt_lasts() {
    let (mut lone, epoch) = candidate();
    lone.hear(request(2, epoch.0), Body::AuthAck);
    lone.pass(2 * TIMEOUT_MS + 1);
    lone.hear(request(3, epoch.0), Body::AuthAck);
    assert_eq!(lone.core.role(), Role::Replica { of: id(1) });
}

/// Valkey 9.1 votes for both of two replicas that ask one after the other; Redis refuses one, and both ask again much later.
#[test]
fn a_replica_lets_a_sibling_that_has_asked_win() {
    let mut lone = Lone::new(4);
    let mut sibling = request(6, 4);
    (sibling.master, sibling.config_epoch, sibling.slots) = (Some(id(1)), Epoch(1), slots(0, 5460));
    lone.hear(sibling.clone(), ping());
    replicate(&mut lone, 1000);
    lone.settle();
    lone.hear(header(2), Body::Fail { node: id(1) });
    assert!(
        !names(&lone.settle()).contains(&"auth-req"),
        "the sibling has not said that it sees the failure"
    );
    lone.hear(sibling, Body::AuthRequest);
    assert!(!names(&lone.pass(499)).contains(&"auth-req"));
    assert!(names(&lone.pass(1)).contains(&"auth-req"));
}

/// Node 4, whose master has no slot and failed, as a replica that was told of a slot on its way.
fn replica_of_a_receiver(link_up: bool) -> Lone {
    let mut lone = Lone::new(4);
    let mut taker = header(2);
    (taker.config_epoch, taker.slots) = (Epoch(9), slots(0, 16_383));
    lone.hear(taker, ping());
    let mut receiver = header(3);
    receiver.slots = SlotSet::new();
    lone.hear(receiver, ping());
    command(&mut lone, &format!("REPLICATE {}", id(3)));
    let args = ["CLUSTER", "SETSLOT", "7", "IMPORTING", &id(2).to_string()];
    lone.input(Input::ReplicatedSetSlot { args: args.map(|a| a.as_bytes().to_vec()).to_vec() });
    replicate(&mut lone, 1000);
    let (master, last_master_io) = (Some(id(3)), Some(lone.now));
    let status =
        ReplicationStatus { offset: 1000, master, master_link_up: link_up, last_master_io, loading: false };
    lone.input(Input::Replication(status));
    lone.hear(header(2), Body::Fail { node: id(3) });
    lone
}

/// Found by the simulation: a node that had just been told to follow a master, which it had only heard had failed, stood
/// for election at once and became a second master without slots.
#[test]
fn nobody_stands_for_a_master_without_slots_whose_log_still_comes() {
    for link_up in [true, false] {
        let mut lone = replica_of_a_receiver(link_up);
        let mut outputs = lone.settle();
        outputs.extend(lone.pass(2000));
        assert_eq!(names(&outputs).contains(&"auth-req"), !link_up, "link up: {link_up}");
    }
}

#[test]
fn who_does_not_stand_for_election() {
    let fail = |lone: &mut Lone| {
        lone.hear(header(2), Body::Fail { node: id(1) });
        let mut outputs = lone.settle();
        outputs.extend(lone.pass(2000));
        names(&outputs).contains(&"auth-req")
    };
    let config = Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() };
    // Told not to.
    let mut lone = Lone::start(4, false, Config { replica_no_failover: true, ..config.clone() });
    replicate(&mut lone, 1000);
    assert!(!fail(&mut lone));
    // Never synced since its start.
    let mut lone = Lone::start(4, true, config.clone());
    assert!(!fail(&mut lone));
    // Not even where the age of the data does not matter: it is empty.
    let mut lone = Lone::start(4, true, Config { replica_validity_factor: 0, ..config.clone() });
    assert!(!fail(&mut lone));
    // Half a full sync.
    let mut lone = Lone::start(4, false, config.clone());
    let (master, last_master_io) = (Some(id(1)), Some(lone.now));
    let status =
        ReplicationStatus { offset: 9, master, master_link_up: false, last_master_io, loading: true };
    lone.input(Input::Replication(status));
    assert!(!fail(&mut lone));
    // Too old.
    let config = Config { replica_validity_factor: 1, repl_ping_period_ms: 1000, ..config };
    let mut lone = Lone::start(4, false, config);
    replicate(&mut lone, 1000);
    for _ in 0..TIMEOUT_MS * 3 / 100 {
        lone.alive();
        lone.pass(100);
    }
    assert!(!fail(&mut lone));
}

/// Node 4, which had node 1's data, was told to follow node 2 and is not in sync with it yet: its link, of which `link_of`
/// is the other end, has just been heard. Node 2 fails. What came of it within two seconds.
fn told_to_follow_another(link_of: u8, up: bool, config: Config) -> (Lone, Vec<Output>) {
    let mut lone = Lone::start(4, false, config);
    replicate(&mut lone, 1000);
    command(&mut lone, &format!("REPLICATE {}", id(2)));
    lone.settle();
    let (master, last_master_io) = (Some(id(link_of)), Some(lone.now));
    let status =
        ReplicationStatus { offset: 1000, master, master_link_up: up, last_master_io, loading: false };
    lone.input(Input::Replication(status));
    lone.hear(header(3), Body::Fail { node: id(2) });
    let mut outputs = lone.settle();
    outputs.extend(lone.pass(2000));
    (lone, outputs)
}

/// It has lost the link to its master, just now.
fn replicate_down(lone: &mut Lone) {
    let (master, last_master_io) = (lone.core.role().master(), Some(lone.now));
    let status =
        ReplicationStatus { offset: 1000, master, master_link_up: false, last_master_io, loading: false };
    lone.input(Input::Replication(status));
}

/// The data of a node that is told to follow a master of another shard is somebody else's until the first sync has ended.
/// It stood for election meanwhile, as fresh as the snapshot's last byte, and won the slots without one of their keys.
#[test]
fn nobody_stands_with_somebody_else_s_data() {
    let config = Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() };
    let whatever_age = Config { replica_validity_factor: 0, ..config.clone() };
    for config in [config, whatever_age] {
        // It has asked the new master, or the shell has not even left the former one.
        for (link_of, up) in [(2, false), (1, true)] {
            let (mut lone, outputs) = told_to_follow_another(link_of, up, config.clone());
            assert!(!names(&outputs).contains(&"auth-req"), "link to {link_of}");
            assert!(logged(&outputs, "My data is no copy of my master's"), "{outputs:?}");
            // Nor by force: only TAKEOVER asks nobody.
            command(&mut lone, "FAILOVER FORCE");
            let mut outputs = lone.settle();
            outputs.extend(lone.pass(1000));
            assert!(!names(&outputs).contains(&"auth-req"), "by force");
        }
        // Back to the former master, whose data it still has.
        let (mut lone, _) = told_to_follow_another(2, false, config.clone());
        command(&mut lone, &format!("REPLICATE {}", id(1)));
        replicate_down(&mut lone);
        lone.hear(header(3), Body::Fail { node: id(1) });
        let mut outputs = lone.settle();
        outputs.extend(lone.pass(2000));
        assert!(names(&outputs).contains(&"auth-req"), "it has gone back");
        let (_, outputs) = told_to_follow_another(2, true, config.clone());
        assert!(names(&outputs).contains(&"auth-req"), "in sync");
    }
}

/// The former master's link, which the shell has not ended yet, made what a replica had look fresh.
#[test]
fn the_link_of_a_former_master_says_nothing_of_the_new_one() {
    let config = Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() };
    let mut lone = Lone::start(4, false, config);
    let mut successor = header(5);
    (successor.master, successor.flags, successor.slots) = (None, NodeFlags::MASTER, slots(0, 5460));
    successor.config_epoch = Epoch(9);
    lone.hear(successor, ping());
    command(&mut lone, &format!("REPLICATE {}", id(5)));
    lone.settle();
    let status = ReplicationStatus {
        offset: 1000,
        master: Some(id(1)),
        master_link_up: true,
        last_master_io: Some(lone.now),
        loading: false,
    };
    lone.input(Input::Replication(status));
    lone.hear(header(2), Body::Fail { node: id(5) });
    let mut outputs = lone.settle();
    outputs.extend(lone.pass(2000));
    assert!(!names(&outputs).contains(&"auth-req"));
}

#[test]
fn a_manual_failover_pauses_the_master() {
    let mut lone = Lone::new(1);
    lone.hear(header(5), Body::MfStart);
    assert!(!lone.settle().iter().any(|o| matches!(o, Output::PauseWrites { .. })), "not its replica");
    lone.hear(header(4), Body::MfStart);
    let outputs = lone.settle();
    assert!(logged(&outputs, &format!("Manual failover requested by replica {}.", id(4))));
    assert!(outputs.iter().any(|o| matches!(o, Output::PauseWrites { .. })));
    assert!(packets(&outputs).is_empty(), "nothing is said before the writes stand still");
    lone.input(Input::WritesPaused { offset: 4711 });
    let (to, ping) = packets(&lone.settle()).remove(0);
    assert_eq!((to, ping.body.name(), ping.header.offset), (lone.to[&4], "ping", 4711));
    assert!(ping.header.message_flags.contains(MessageFlags::PAUSED));
    // Nobody takes over.
    let mut all = Vec::new();
    for _ in 0..60 {
        lone.alive();
        all.extend(lone.pass(100));
    }
    assert!(logged(&all, "Manual failover timed out."));
    assert_eq!(all.iter().filter(|o| matches!(o, Output::ResumeWrites)).count(), 1);
}

/// A winner whose disk is slow says so late; what its old master took meanwhile was lost.
#[test]
fn a_master_whose_replica_has_asked_for_votes_holds_its_writes_longer() {
    let mut lone = Lone::new(1);
    lone.hear(header(4), Body::MfStart);
    lone.input(Input::WritesPaused { offset: 4711 });
    let mut forced = request(4, 4);
    forced.message_flags = MessageFlags::FORCE_ACK;
    lone.hear(forced, Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    let resumes = |lone: &mut Lone, ms: u64| {
        let mut all = Vec::new();
        for _ in 0..ms / 100 {
            lone.alive();
            all.extend(lone.pass(100));
        }
        all.iter().any(|o| matches!(o, Output::ResumeWrites))
    };
    assert!(!resumes(&mut lone, 1000));
    // Another one that is asked as well takes nothing from that.
    let mut second = header(5);
    (second.master, second.config_epoch, second.slots) = (Some(id(1)), Epoch(1), slots(0, 5460));
    lone.hear(second.clone(), ping());
    lone.hear(second, Body::MfStart);
    lone.input(Input::WritesPaused { offset: 4711 });
    assert!(!resumes(&mut lone, 7900));
    assert!(resumes(&mut lone, 200));
}

/// Found by the simulation: the successor did not know of all slots. The rest stayed paused until the failover's time was
/// over, and the keys of those that had gone were not deleted, since nothing could be logged.
#[test]
fn a_successor_that_takes_some_slots_ends_the_pause() {
    let mut lone = Lone::new(1);
    lone.hear(header(4), Body::MfStart);
    lone.input(Input::WritesPaused { offset: 4711 });
    lone.settle();
    let mut successor = header(4);
    (successor.master, successor.flags) = (None, NodeFlags::MASTER);
    (successor.config_epoch, successor.slots) = (Epoch(9), slots(0, 5000));
    lone.hear(successor, ping());
    let outputs = lone.settle();
    let resume = outputs.iter().position(|o| matches!(o, Output::ResumeWrites));
    let drop =
        outputs.iter().position(|o| matches!(o, Output::DropKeys { slots: s } if *s == slots(0, 5000)));
    assert!(resume.unwrap() < drop.unwrap(), "{outputs:?}");
    assert_eq!(lone.core.role(), Role::Master);
}

#[test]
fn a_manual_failover_waits_for_the_offset() {
    let mut lone = Lone::new(4);
    replicate(&mut lone, 900);
    command(&mut lone, "FAILOVER");
    assert!(names(&lone.settle()).contains(&"mfstart"));
    let mut paused = header(1);
    paused.message_flags = MessageFlags::PAUSED;
    paused.offset = 1000;
    lone.hear(paused, ping());
    assert!(!names(&lone.settle()).contains(&"auth-req"));
    replicate(&mut lone, 1000);
    let outputs = lone.settle();
    assert!(logged(&outputs, "All master replication stream processed, manual failover can start."));
    let request = packets(&outputs).into_iter().find(|(_, p)| p.body == Body::AuthRequest).unwrap().1;
    assert!(request.header.message_flags.contains(MessageFlags::FORCE_ACK));
}

/// Node 4, told to take over, at the end of its master's log.
fn caught_up_with_a_paused_master() -> Lone {
    let mut lone = Lone::new(4);
    replicate(&mut lone, 1000);
    command(&mut lone, "FAILOVER");
    lone.settle();
    let mut paused = header(1);
    (paused.message_flags, paused.offset) = (MessageFlags::PAUSED, 1000);
    lone.hear(paused, ping());
    lone
}

/// The candidate's epoch and each vote are on a disk before they are said. Where two writes took longer than a second, the
/// next attempt began before, threw the votes away, and so went every attempt.
#[test]
fn a_manual_failover_waits_for_slow_disks() {
    let mut lone = caught_up_with_a_paused_master();
    let asked = packets(&lone.settle()).into_iter().find(|(_, p)| p.body == Body::AuthRequest).unwrap().1;
    for _ in 0..20 {
        lone.alive();
        replicate(&mut lone, 1000);
        lone.pass(100);
    }
    for voter in [2, 3] {
        let mut vote = header(voter);
        vote.current_epoch = asked.header.current_epoch;
        lone.hear(vote, Body::AuthAck);
    }
    assert!(logged(&lone.settle(), "Failover election won: I'm the new master."));
    assert_eq!(lone.core.role(), Role::Master);
}

/// Votes cannot come before they are asked for: its own disk's time does not count.
#[test]
fn a_manual_failover_counts_from_when_its_request_has_left() {
    let mut lone = caught_up_with_a_paused_master();
    let write = write_begun(&lone.outputs());
    for _ in 0..26 {
        lone.now = lone.now.after(100);
        lone.alive();
        replicate(&mut lone, 1000);
        lone.core.handle_deadline(lone.now);
    }
    lone.outputs();
    lone.input(Input::Persisted { seq: write.unwrap() });
    let asked = packets(&lone.settle()).into_iter().find(|(_, p)| p.body == Body::AuthRequest).unwrap().1;
    for _ in 0..20 {
        lone.alive();
        replicate(&mut lone, 1000);
        lone.pass(100);
    }
    for voter in [2, 3] {
        lone.hear(request(voter, asked.header.current_epoch.0), Body::AuthAck);
    }
    assert_eq!(lone.core.role(), Role::Master);
}

#[test]
fn our_master_may_ask_for_a_failover() {
    let mut lone = Lone::new(4);
    replicate(&mut lone, 1000);
    lone.hear(header(1), Body::MfStart);
    assert!(names(&lone.settle()).contains(&"mfstart"));
}

#[test]
fn a_closed_master_is_silent_votes_and_says_that_it_failed() {
    let mut lone = Lone::start(1, true, Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() });
    assert!(lone.core.is_closed_empty(), "its replica answered: it has data");
    lone.hear(header(2), ping());
    assert!(!names(&lone.settle()).contains(&"pong"));
    let again = lone.pass(TIMEOUT_MS / 2 + 100);
    assert!(packets(&again).iter().any(|(_, p)| p.body == Body::Fail { node: id(1) }));
    lone.hear(header(4), Body::MfStart);
    assert!(!lone.settle().iter().any(|o| matches!(o, Output::PauseWrites { .. })), "it has nothing to give");
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.hear(request(5, 9), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    command(&mut lone, "REOPEN");
    assert!(names(&lone.settle()).contains(&"pong"), "the PING from before is answered now");
    lone.hear(header(2), ping());
    assert!(names(&lone.settle()).contains(&"pong"));
}

/// Found by the simulation: a master that had been replaced while it was away, and came back without its data, took a new
/// epoch at a collision with another master, and with that its slots back from its successor.
#[test]
fn a_closed_master_does_not_outbid_its_successor() {
    let mut lone = Lone::start(1, true, Config { node_timeout_ms: TIMEOUT_MS, ..Config::default() });
    let mut twin = header(2);
    twin.config_epoch = Epoch(1);
    lone.hear(twin, ping());
    assert!(!logged(&lone.settle(), "configEpoch collision"));
    let mut successor = header(4);
    successor.master = None;
    successor.flags = NodeFlags::MASTER;
    successor.slots = slots(0, 5460);
    successor.config_epoch = Epoch(1);
    lone.hear(successor, ping());
    assert!(logged(&lone.settle(), "Reconfiguring myself as a replica of"));
}
