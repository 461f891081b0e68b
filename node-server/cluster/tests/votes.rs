//! Votes: who gets one, when, and what for.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, command, elected, header, id, logged, names, packets, ping, request, slots, write_begun};
use node_server_cluster::{Cluster, Config, Input, LinkId, NodesConf, Output, Start};
use node_server_protocol::bus::{Body, Header, MessageFlags, NodeFlags, Packet, Update};
use node_server_protocol::{Epoch, Millis};

#[test]
fn votes() {
    let mut lone = Lone::new(1);
    lone.hear(request(5, 4), Body::AuthRequest);
    assert!(logged(&lone.settle(), "its master is up"));
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    lone.hear(request(5, 3), Body::AuthRequest);
    assert!(logged(&lone.settle(), "reqEpoch (3) < curEpoch(4)"));
    lone.hear(request(3, 5), Body::AuthRequest);
    assert!(logged(&lone.settle(), "it is a master node"));
    // Not before it is on disk.
    lone.hear(request(5, 6), Body::AuthRequest);
    let before = lone.outputs();
    assert!(!names(&before).contains(&"auth-ack"));
    let written: Vec<u64> = before
        .iter()
        .filter_map(|o| match o {
            Output::Persist { seq, text } if text.contains("lastVoteEpoch 6") => Some(*seq),
            _ => None,
        })
        .collect();
    assert_eq!(written.len(), 1);
    lone.input(Input::Persisted { seq: written[0] });
    let after = lone.outputs();
    let acks: Vec<_> = packets(&after).into_iter().filter(|(_, p)| p.body == Body::AuthAck).collect();
    assert_eq!((acks.len(), acks[0].0, acks[0].1.header.current_epoch), (1, lone.to[&5], Epoch(6)));
    // Once in an epoch.
    lone.hear(request(5, 6), Body::AuthRequest);
    assert!(logged(&lone.settle(), "already voted for epoch 6"));
}

#[test]
fn a_vote_that_waited_says_the_epoch_it_was_given_in() {
    let mut lone = Lone::new(1);
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    lone.hear(request(5, 6), Body::AuthRequest);
    let seq = write_begun(&lone.outputs());
    lone.hear(request(3, 9), ping());
    lone.input(Input::Persisted { seq: seq.unwrap() });
    let outputs = lone.settle();
    let ack = packets(&outputs).into_iter().find(|(_, p)| p.body == Body::AuthAck).unwrap();
    assert_eq!(ack.1.header.current_epoch, Epoch(6));
}

/// Node 1, which voted in epoch 6 for the one of the failed master's two replicas, 5; 6, the other, asks in epoch 7.
fn voter_of_two() -> (Lone, Vec<Output>) {
    let mut lone = Lone::new(1);
    lone.hear(of_second(header(6)), ping());
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    lone.hear(request(5, 6), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    lone.pass(8);
    lone.hear(of_second(request(6, 7)), Body::AuthRequest);
    let outputs = lone.settle();
    (lone, outputs)
}

/// Node 6 as a replica of node 2.
fn of_second(mut header: Header) -> Header {
    (header.master, header.config_epoch, header.slots) = (Some(id(2)), Epoch(2), slots(5461, 10_922));
    header
}

/// Found by the test of mixed clusters: two replicas of a master that asked within 8 ms were both elected, each in its epoch, and
/// the first was a master for a moment.
#[test]
fn a_second_replica_waits_for_what_comes_of_the_vote_for_the_first() {
    let (mut lone, mut outputs) = voter_of_two();
    assert!(logged(&outputs, &format!("waits for what comes of the vote for {}", id(5))));
    lone.hear(elected(request(5, 7), 6), ping());
    outputs.extend(lone.settle());
    outputs.extend(lone.pass(1000));
    assert!(logged(&outputs, &format!("Failover auth denied to {}: slots of {}", id(6), id(5))));
    assert!(!names(&outputs).contains(&"auth-ack"));
}

#[test]
fn a_second_replica_gets_the_vote_when_nothing_comes_of_the_first() {
    let (mut lone, outputs) = voter_of_two();
    let early = lone.pass(491);
    assert!(!names(&outputs).contains(&"auth-ack") && !names(&early).contains(&"auth-ack"));
    let acks: Vec<_> = packets(&lone.pass(1)).into_iter().filter(|(_, p)| p.body == Body::AuthAck).collect();
    assert_eq!((acks.len(), acks[0].0, acks[0].1.header.current_epoch), (1, lone.to[&6], Epoch(7)));
}

/// Others' moves and elections raise the epoch at any time; the candidate asks again after four node timeouts only.
#[test]
fn a_request_that_waits_keeps_its_epoch() {
    let (mut lone, _) = voter_of_two();
    lone.hear(request(3, 9), ping());
    let outputs = lone.pass(492);
    let acks: Vec<_> = packets(&outputs).into_iter().filter(|(_, p)| p.body == Body::AuthAck).collect();
    assert_eq!((acks.len(), acks[0].0, acks[0].1.header.current_epoch), (1, lone.to[&6], Epoch(7)));
    // And no vote in an epoch that is older than one in which it has voted.
    lone.hear(request(5, 9), Body::AuthRequest);
    assert!(names(&lone.pass(500)).contains(&"auth-ack"));
    lone.hear(of_second(request(6, 9)), Body::AuthRequest);
    let denied = lone.settle();
    assert!(logged(&denied, "already voted for epoch 9") && !names(&denied).contains(&"auth-ack"));
}

/// The first's vote lay on a slow disk; the second's left right behind it.
#[test]
fn a_second_replica_waits_from_when_the_first_vote_has_left() {
    let mut lone = Lone::new(1);
    lone.hear(of_second(header(6)), ping());
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    lone.hear(request(5, 6), Body::AuthRequest);
    let write = write_begun(&lone.outputs());
    lone.hear(of_second(request(6, 7)), Body::AuthRequest);
    // Others write as well meanwhile, but no write is done.
    for _ in 0..7 {
        lone.now = lone.now.after(100);
        lone.core.handle_deadline(lone.now);
    }
    assert!(!names(&lone.outputs()).contains(&"auth-ack"));
    lone.input(Input::Persisted { seq: write.unwrap() });
    let voted_for = |outputs: &[Output], lone: &Lone| -> Vec<u8> {
        let acks = packets(outputs).into_iter().filter(|(_, p)| p.body == Body::AuthAck);
        acks.filter_map(|(link, _)| lone.to.iter().find(|(_, l)| **l == link).map(|(n, _)| *n)).collect()
    };
    assert_eq!(voted_for(&lone.settle(), &lone), [5]);
    assert_eq!(voted_for(&lone.pass(499), &lone), []);
    assert_eq!(voted_for(&lone.pass(1), &lone), [6]);
}

/// This node was held up while the first replica won: its victory is read after the second's request.
#[test]
fn what_has_come_meanwhile_is_read_before_a_second_vote() {
    let (mut lone, _) = voter_of_two();
    lone.now = lone.now.after(2000);
    lone.hear(of_second(request(6, 8)), Body::AuthRequest);
    assert!(!names(&lone.settle()).contains(&"auth-ack"));
    assert!(lone.core.poll_deadline().is_some_and(|due| due <= lone.now));
    lone.hear(elected(request(5, 7), 6), ping());
    assert!(!names(&lone.pass(1000)).contains(&"auth-ack"));
}

/// A failed master took the epoch without a vote in which its replica was elected; another replica knew that one.
#[test]
fn an_elected_sibling_with_an_equal_epoch_is_newer() {
    let mut lone = Lone::new(1);
    lone.hear(of_second(header(6)), ping());
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.hear(elected(request(5, 6), 6), ping());
    lone.settle();
    let mut late = of_second(request(6, 7));
    late.config_epoch = Epoch(6);
    lone.hear(late, Body::AuthRequest);
    let denied = lone.settle();
    assert!(logged(&denied, "Failover auth denied") && !names(&denied).contains(&"auth-ack"));
}

/// Their master had only slots on their way to it, so the first owns none that would tell.
#[test]
fn an_elected_sibling_without_slots_is_newer() {
    let mut lone = Lone::new(1);
    for n in [5, 6] {
        let mut taker = of_second(header(n));
        (taker.config_epoch, taker.slots) = (Epoch(3), slots(0, 0));
        lone.hear(taker, ping());
    }
    let mut taken = header(3);
    (taken.config_epoch, taken.slots) = (Epoch(5), slots(5461, 16_383));
    lone.hear(taken, ping());
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    let empty = |n: u8, epoch: u64| {
        let mut header = of_second(request(n, epoch));
        header.slots = slots(1, 0);
        header
    };
    lone.hear(empty(5, 6), Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
    lone.hear(empty(6, 7), Body::AuthRequest);
    lone.hear(elected(empty(5, 7), 6), ping());
    assert!(!names(&lone.pass(1000)).contains(&"auth-ack"));
}

#[test]
fn forced_requests_and_stale_ones() {
    let mut lone = Lone::new(1);
    let mut stale = request(5, 4);
    stale.message_flags = MessageFlags::FORCE_ACK;
    stale.config_epoch = Epoch(1);
    lone.hear(stale, Body::AuthRequest);
    let outputs = lone.settle();
    let update = packets(&outputs).into_iter().find_map(|(_, p)| match p.body {
        Body::Update(update) => Some(update),
        _ => None,
    });
    assert_eq!(update, Some(Update { config_epoch: Epoch(2), node: id(2), slots: slots(5461, 10_922) }));
    let mut forced = request(5, 5);
    forced.message_flags = MessageFlags::FORCE_ACK;
    lone.hear(forced, Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
}

/// Found by the simulation: a collision had raised the epoch of a master that had given slots away; its replica had
/// missed the move and was elected with the old slots.
#[test]
fn no_vote_takes_moved_slots_back() {
    let mut lone = Lone::new(1);
    let mut taker = header(3);
    (taker.config_epoch, taker.slots) = (Epoch(4), slots(5461, 5500).union(&slots(10_923, 16_383)));
    lone.hear(taker, ping());
    let mut source = header(2);
    (source.config_epoch, source.slots) = (Epoch(9), slots(5501, 10_922));
    lone.hear(source, ping());
    lone.hear(header(3), Body::Fail { node: id(2) });
    lone.settle();
    let mut unaware = request(5, 10);
    unaware.config_epoch = Epoch(9);
    lone.hear(unaware.clone(), Body::AuthRequest);
    let denied = lone.settle();
    assert!(logged(&denied, "Failover auth denied") && !names(&denied).contains(&"auth-ack"));
    // With a claim of its master's that is news here it may know better.
    unaware.config_epoch = Epoch(10);
    lone.hear(unaware, Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
}

/// A drained master gave its slots to another one that died right after, and whoever had not heard that one's claim refused its
/// replica.
#[test]
fn what_its_owner_does_not_claim_any_more_keeps_nobody_from_a_vote() {
    let mut lone = Lone::new(1);
    let mut drained = header(2);
    (drained.master, drained.flags) = (Some(id(3)), NodeFlags::REPLICA | NodeFlags::EXTENSIONS);
    (drained.config_epoch, drained.slots) = (Epoch(3), slots(5461, 16_383));
    lone.hear(drained, ping());
    assert!(lone.line(2).ends_with(" 5461-10922"), "{}", lone.line(2));
    lone.hear(header(6), Body::Fail { node: id(3) });
    lone.settle();
    let mut heir = request(6, 10);
    (heir.config_epoch, heir.slots) = (Epoch(3), slots(5461, 16_383));
    lone.hear(heir, Body::AuthRequest);
    assert!(names(&lone.settle()).contains(&"auth-ack"));
}

#[test]
fn a_restarted_master_does_not_vote_at_once() {
    let text = {
        let mut lone = Lone::new(1);
        command(&mut lone, "SAVECONFIG");
        lone.outputs().into_iter().find_map(|o| match o {
            Output::Persist { text, .. } => Some(text),
            _ => None,
        })
    };
    let conf = NodesConf::parse(&text.unwrap()).unwrap();
    let now = Millis(5_000_000);
    let start = Start::Loaded(conf);
    let mut core = Cluster::new(Config::default(), start, false, 1, now);
    let link = LinkId(LinkId::INBOUND | 1);
    core.handle_input(
        now,
        Input::Accepted { link, peer: ([10, 0, 0, 5], 1).into(), local_ip: [10, 0, 0, 1].into() },
    );
    let mut forced = request(5, 9);
    forced.message_flags = MessageFlags::FORCE_ACK;
    let bytes = Packet { header: forced, body: Body::AuthRequest }.encode();
    core.handle_input(now, Input::Frame { link, bytes });
    let outputs: Vec<Output> = std::iter::from_fn(|| core.poll_output()).collect();
    assert!(
        !outputs
            .iter()
            .any(|o| matches!(o, Output::Persist { text, .. } if text.contains("lastVoteEpoch 9")))
    );
}
