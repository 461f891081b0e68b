//! Every message and what follows from it.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, TIMEOUT_MS, command, gossip, header, id, logged, names, packets, ping, slots};
use node_server_cluster::{Asker, DatasetInfo, Input, Output, Token};
use node_server_protocol::bus::{Body, Extension, Heartbeat, NodeFlags, Packet, Update};
use node_server_protocol::routing::Serving;
use node_server_protocol::{Epoch, Role};

/// Node 3 stops answering.
fn suspect(lone: &mut Lone) {
    for _ in 0..60 {
        for n in [1, 2, 4, 5, 6].into_iter().filter(|n| lone.to.contains_key(n)).collect::<Vec<_>>() {
            lone.pong_from(n);
        }
        lone.pass(100);
    }
    assert!(lone.line(3).contains("fail?"), "{}", lone.line(3));
}

#[test]
fn ping_is_answered_on_its_link() {
    let mut lone = Lone::new(1);
    let link = lone.hear(header(2), ping());
    let outputs = lone.settle();
    let sent = packets(&outputs);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1.body.name()), (link, "pong"));
    let told = &sent[0].1.header;
    assert_eq!((told.sender, told.config_epoch, told.master), (id(1), Epoch(1), None));
    assert_eq!(told.slots, slots(0, 5460));
}

#[test]
fn a_stranger_gets_a_pong_and_is_not_added() {
    let mut lone = Lone::new(1);
    let mut stranger = header(2);
    stranger.sender = id(9);
    lone.hear(stranger.clone(), ping());
    assert_eq!(names(&lone.settle()), ["pong"]);
    assert_eq!(lone.nodes().lines().count(), 6);
    // MEET adds it: a handshake, a connection back, a PING, and its name with the answer.
    lone.hear(stranger.clone(), Body::Meet(Heartbeat::default()));
    assert_eq!(names(&lone.settle()), ["pong"]);
    let connected = lone.pass(100);
    assert!(names(&connected).contains(&"ping"));
    let link = lone.to[&9];
    lone.receive(link, Packet { header: stranger, body: Body::Pong(Heartbeat::default()) });
    lone.settle();
    assert!(lone.line(9).contains("10.0.0.9:6379@16379 master"));
}

#[test]
fn a_handshake_without_answer_ends() {
    let mut lone = Lone::new(1);
    command(&mut lone, "MEET 10.0.0.9 6379");
    let outputs = lone.pass(100);
    assert!(names(&outputs).contains(&"meet"));
    assert_eq!(lone.nodes().lines().count(), 7);
    for _ in 0..TIMEOUT_MS / 100 + 1 {
        lone.alive();
        lone.pass(100);
    }
    assert_eq!(lone.nodes().lines().count(), 6);
}

#[test]
fn another_node_at_a_known_address() {
    let mut lone = Lone::new(1);
    let mut other = header(2);
    other.sender = id(9);
    let link = lone.to[&2];
    lone.receive(link, Packet { header: other, body: Body::Pong(Heartbeat::default()) });
    let outputs = lone.settle();
    assert!(outputs.iter().any(|o| matches!(o, Output::Close { link: closed } if *closed == link)));
    assert!(logged(&outputs, "PONG contains mismatching sender ID"));
    assert!(lone.line(2).contains(":0@0 master,noaddr"), "{}", lone.line(2));
}

#[test]
fn own_address_is_learned() {
    let mut lone = Lone::new(1);
    lone.hear(header(2), Body::Meet(Heartbeat::default()));
    assert!(logged(&lone.settle(), "IP address for this node updated to 10.0.0.77"));
    assert!(lone.line(1).contains("10.0.0.77:6379@16379 myself"));
}

#[test]
fn a_moved_node_is_followed() {
    let mut lone = Lone::new(4);
    let link = lone.accept(88);
    lone.receive(link, Packet { header: header(1), body: ping() });
    let outputs = lone.settle();
    assert!(lone.line(1).contains("10.0.0.88:6379@16379"));
    let follow = outputs.iter().find_map(|o| match o {
        Output::Follow { master, address, same_shard } => Some((*master, address.client(), *same_shard)),
        _ => None,
    });
    assert_eq!(follow, Some((id(1), ([10, 0, 0, 88], 6379).into(), true)));
}

/// Found by the simulation: a PING lost on a connection that stays was never asked again, and the suspicion stayed
/// although the node was heard all the time.
#[test]
fn a_connection_that_swallows_pings_is_made_anew() {
    let mut lone = Lone::new(1);
    suspect(&mut lone);
    let mut connects = 0;
    for _ in 0..TIMEOUT_MS * 2 / 100 {
        lone.hear(header(3), ping());
        let outputs = lone.pass(100);
        let to_it =
            |o: &&Output| matches!(o, Output::Connect { to, .. } if to.ip().to_string() == "10.0.0.3");
        connects += outputs.iter().filter(to_it).count();
    }
    assert!((1..=2).contains(&connects), "{connects}");
    lone.pong_from(3);
    assert!(!lone.line(3).contains("fail"), "{}", lone.line(3));
}

#[test]
fn fail_is_believed_if_the_sender_is_known() {
    let mut lone = Lone::new(1);
    let mut stranger = header(2);
    stranger.sender = id(9);
    lone.hear(stranger, Body::Fail { node: id(3) });
    assert!(logged(&lone.settle(), "Ignoring FAIL message from unknown node"));
    lone.hear(header(2), Body::Fail { node: id(3) });
    let outputs = lone.settle();
    assert!(logged(&outputs, &format!("FAIL message received from {} about {}", id(2), id(3))));
    assert!(lone.line(3).contains("master,fail "));
    assert_eq!(lone.core.routing().serving, Serving::Down { allow_reads: false });
    // About ourselves it is not.
    lone.hear(header(2), Body::Fail { node: id(1) });
    assert!(!lone.line(1).contains("fail"));
}

#[test]
fn a_majority_of_masters_agrees_on_a_failure() {
    let mut lone = Lone::new(1);
    suspect(&mut lone);
    // A replica's word does not count.
    lone.hear(header(5), gossip(3, NodeFlags::MASTER | NodeFlags::PFAIL));
    assert!(!logged(&lone.settle(), "Marking node"));
    lone.hear(header(2), gossip(3, NodeFlags::MASTER | NodeFlags::PFAIL));
    let outputs = lone.settle();
    assert!(logged(&outputs, &format!("Marking node {} as failing (quorum reached).", id(3))));
    let fails = packets(&outputs).iter().filter(|(_, p)| p.body == Body::Fail { node: id(3) }).count();
    assert_eq!(fails, 5);
    // With slots it stays failed for a while although it answers.
    lone.pong_from(3);
    assert!(lone.line(3).contains("fail"));
    for _ in 0..TIMEOUT_MS * 2 / 100 + 1 {
        lone.alive();
        lone.pass(100);
    }
    lone.pong_from(3);
    assert!(!lone.line(3).contains("fail"));
}

#[test]
fn reports_are_taken_back_and_expire() {
    let mut lone = Lone::new(1);
    lone.hear(header(2), gossip(3, NodeFlags::MASTER | NodeFlags::FAIL));
    assert!(logged(&lone.settle(), "as not reachable."));
    let reports = |lone: &mut Lone| {
        command(lone, &format!("COUNT-FAILURE-REPORTS {}", id(3)));
        lone.outputs().into_iter().find_map(|o| match o {
            Output::Reply { bytes, .. } => Some(String::from_utf8(bytes).unwrap()),
            _ => None,
        })
    };
    assert_eq!(reports(&mut lone).as_deref(), Some(":1\r\n"));
    lone.hear(header(2), gossip(3, NodeFlags::MASTER));
    assert!(logged(&lone.settle(), "is back online."));
    assert_eq!(reports(&mut lone).as_deref(), Some(":0\r\n"));
    lone.hear(header(2), gossip(3, NodeFlags::MASTER | NodeFlags::FAIL));
    for _ in 0..TIMEOUT_MS * 2 / 100 + 1 {
        lone.alive();
        lone.pass(100);
    }
    assert_eq!(reports(&mut lone).as_deref(), Some(":0\r\n"));
}

#[test]
fn gossip_of_a_known_node_adds_others() {
    let mut lone = Lone::new(1);
    lone.hear(header(2), gossip(8, NodeFlags::MASTER));
    lone.settle();
    assert!(lone.line(8).contains("10.0.0.8:6379@16379 master"));
    command(&mut lone, &format!("FORGET {}", id(8)));
    lone.settle();
    lone.hear(header(2), gossip(8, NodeFlags::MASTER));
    assert_eq!(lone.line(8), "");
}

#[test]
fn claims_with_higher_and_lower_epochs() {
    let mut lone = Lone::new(1);
    let mut claim = header(2);
    claim.slots = slots(5000, 10_922);
    claim.config_epoch = Epoch(1);
    lone.hear(claim.clone(), ping());
    assert!(lone.line(1).contains(" 0-5460"), "our epoch is not lower");
    claim.config_epoch = Epoch(9);
    claim.current_epoch = Epoch(9);
    lone.settle();
    lone.hear(claim, ping());
    let outputs = lone.settle();
    assert!(lone.line(1).ends_with(" 0-4999") && lone.line(2).ends_with(" 5000-10922"));
    let at = |wanted: fn(&Output) -> bool| outputs.iter().position(wanted).unwrap();
    let (publish, drop) =
        (at(|o| matches!(o, Output::Publish(_))), at(|o| matches!(o, Output::DropKeys { .. })));
    assert!(publish < drop);
    assert!(matches!(&outputs[drop], Output::DropKeys { slots: dropped } if *dropped == slots(5000, 5460)));
}

/// Found by `operator local`, where slots went both ways between two masters: the source of one move is the target of
/// another, gets a higher epoch by it, and claims with it what it has just given away and not been told of.
#[test]
fn a_source_that_has_not_heard_of_the_end_of_a_move_does_not_get_the_slot_back() {
    let mut lone = Lone::new(1);
    for word in ["IMPORTING", "NODE"] {
        let other = if word == "NODE" { id(1) } else { id(2) };
        command(&mut lone, &format!("SETSLOT 6000 {word} {other}"));
    }
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-5460 6000"), "{}", lone.line(1));
    let mut source = header(2);
    source.config_epoch = Epoch(20);
    source.current_epoch = Epoch(20);
    lone.hear(source.clone(), ping());
    let outputs = lone.settle();
    assert!(lone.line(1).ends_with(" 0-5460 6000"), "{}", lone.line(1));
    assert!(!outputs.iter().any(|o| matches!(o, Output::DropKeys { .. })));
    // All hear it with an epoch that beats the source's.
    let pongs = packets(&outputs).into_iter().filter(|(_, p)| matches!(p.body, Body::Pong(_)));
    assert!(pongs.filter(|(_, p)| p.header.config_epoch == Epoch(21)).count() >= 5);
    // What others say of the source is no newer than what it says itself.
    source.config_epoch = Epoch(22);
    let update = Update { node: id(2), config_epoch: Epoch(22), slots: source.slots.clone() };
    lone.hear(header(3), Body::Update(update));
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-5460 6000"), "{}", lone.line(1));
    // It has heard of it. From then on its claims count as anybody's do.
    source.slots = source.slots.difference(&slots(6000, 6000));
    lone.hear(source.clone(), ping());
    source.slots = slots(5461, 10_922);
    lone.hear(source.clone(), ping());
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-5460 6000"), "a claim of before that came late: {}", lone.line(1));
    source.config_epoch = Epoch(40);
    source.current_epoch = Epoch(40);
    lone.hear(source, ping());
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-5460"), "{}", lone.line(1));
}

/// Found by the simulation: the news of a slot's move was lost, then the old owner got a higher epoch by another move,
/// and the new owner's claim could never win in this view.
#[test]
fn a_slot_that_its_owner_long_gave_up_goes_to_who_claims_it() {
    let mut lone = Lone::new(1);
    let moved = slots(16_000, 16_383);
    let mut giver = header(3);
    giver.config_epoch = Epoch(5);
    giver.slots = giver.slots.difference(&moved);
    lone.hear(giver.clone(), ping());
    // Still routed to the giver, as nobody else claims it.
    assert!(lone.line(3).ends_with("10923-16383"), "{}", lone.line(3));
    let mut taker = header(2);
    taker.config_epoch = Epoch(4);
    // A claim of other slots leaves it at that.
    lone.hear(taker.clone(), ping());
    taker.slots = taker.slots.union(&moved);
    for _ in 0..4 {
        assert!(lone.line(3).ends_with("10923-16383"), "{}", lone.line(3));
        lone.pass(TIMEOUT_MS / 4);
        lone.hear(giver.clone(), ping());
        lone.settle();
        lone.hear(taker.clone(), ping());
    }
    let outputs = lone.settle();
    assert!(!names(&outputs).contains(&"update"), "{:?}", names(&outputs));
    assert!(lone.line(3).ends_with("10923-15999"), "{}", lone.line(3));
    assert!(lone.line(2).ends_with("5461-10922 16000-16383"), "{}", lone.line(2));
    // What is claimed by both goes by the epoch.
    let mut greedy = header(2);
    greedy.config_epoch = Epoch(4);
    greedy.slots = greedy.slots.union(&slots(15_000, 16_383));
    lone.hear(greedy, ping());
    assert!(lone.line(3).ends_with("10923-15999"), "{}", lone.line(3));
}

/// Found by the simulation: SETSLOT told of a move, then headers came that had been under way since before it: the new
/// owner's, which lacked the slot, and the former owner's, which got it back.
#[test]
fn headers_from_before_a_move_do_not_undo_it() {
    let mut lone = Lone::new(1);
    command(&mut lone, &format!("SETSLOT 10923 NODE {}", id(2)));
    lone.settle();
    assert!(lone.line(2).ends_with("5461-10923"), "{}", lone.line(2));
    let mut owner = header(2);
    owner.config_epoch = Epoch(5);
    owner.current_epoch = Epoch(5);
    lone.hear(owner, ping());
    lone.hear(header(3), ping());
    lone.settle();
    assert!(lone.line(2).ends_with("5461-10923"), "{}", lone.line(2));
}

/// Found by the simulation: a replica that knew of its master's gain from the log gave it back to the former owner,
/// because the master's header was older.
#[test]
fn a_replica_keeps_what_its_masters_log_says() {
    let mut lone = Lone::new(6);
    let gained = format!("CLUSTER SETSLOT 100 NODE {} EPOCH 3", id(3));
    let args = gained.split(' ').map(|w| w.as_bytes().to_vec()).collect();
    lone.input(Input::ReplicatedSetSlot { args });
    lone.settle();
    assert!(lone.line(3).ends_with(" 100 10923-16383"), "{}", lone.line(3));
    lone.hear(header(3), ping());
    lone.hear(header(1), ping());
    lone.settle();
    assert!(lone.line(3).ends_with(" 100 10923-16383"), "{}", lone.line(3));
}

/// Found by the simulation: the log with the loss of a slot had passed a replica by, and it kept the slot for its master
/// for ever, against the claims of both masters.
#[test]
fn a_replica_believes_its_master_that_has_long_given_up_a_slot() {
    let mut lone = Lone::new(6);
    for words in [format!("IMPORTING {}", id(1)), format!("NODE {} EPOCH 3", id(3))] {
        let line = format!("CLUSTER SETSLOT 100 {words}");
        let args = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        lone.input(Input::ReplicatedSetSlot { args });
    }
    for _ in 0..4 {
        lone.hear(header(3), ping());
        lone.hear(header(1), ping());
        lone.pass(TIMEOUT_MS / 4);
    }
    assert!(lone.line(3).ends_with(" 100 10923-16383"), "{}", lone.line(3));
    lone.hear(header(3), ping());
    lone.hear(header(1), ping());
    lone.settle();
    assert!(lone.line(3).ends_with(" 10923-16383") && lone.line(1).ends_with("0-5460"), "{}", lone.nodes());
}

#[test]
fn a_stale_claim_is_answered_with_an_update() {
    let mut lone = Lone::new(1);
    let mut stale = header(2);
    stale.slots = slots(5461, 11_000);
    lone.hear(stale, ping());
    let outputs = lone.settle();
    assert!(logged(&outputs, "has old slots configuration, sending an UPDATE message about"));
    let (to, update) = packets(&outputs).into_iter().find(|(_, p)| p.body.name() == "update").unwrap();
    assert_eq!(to, lone.to[&2]);
    assert!(matches!(update.body, Body::Update(u) if u.node == id(3) && u.config_epoch == Epoch(3)));
}

#[test]
fn losing_the_last_slot_makes_a_replica() {
    let mut lone = Lone::new(1);
    let mut promoted = header(4);
    promoted.master = None;
    promoted.flags = NodeFlags::MASTER;
    promoted.config_epoch = Epoch(4);
    promoted.current_epoch = Epoch(4);
    lone.hear(promoted, ping());
    let outputs = lone.settle();
    assert!(logged(&outputs, &format!("Reconfiguring myself as a replica of {}", id(4))));
    assert_eq!(lone.core.role(), Role::Replica { of: id(4) });
    let publish = outputs.iter().position(|o| matches!(o, Output::Publish(r) if !r.role.is_master()));
    let follow = outputs.iter().position(|o| matches!(o, Output::Follow { same_shard: true, .. }));
    assert!(publish.unwrap() < follow.unwrap());
}

#[test]
fn updates() {
    let mut lone = Lone::new(1);
    let update = |epoch, node, owned| {
        Body::Update(Update { config_epoch: Epoch(epoch), node: id(node), slots: owned })
    };
    lone.hear(header(2), update(3, 3, slots(0, 16_383)));
    assert!(lone.line(1).contains(" 0-5460"), "not newer than what is known");
    lone.hear(header(2), update(8, 1, slots(0, 100)));
    assert!(lone.line(1).contains(" 0-5460"), "about ourselves we know better");
    lone.hear(header(2), update(8, 6, slots(10_923, 16_383)));
    lone.settle();
    assert!(lone.line(6).contains("master - ") && lone.line(6).ends_with(" 10923-16383"));
    // A replica that heard of the epoch with the first slot and was cut off then has to hear of the others.
    let mut lone = Lone::new(4);
    lone.hear(header(3), update(2, 2, slots(5000, 10_922)));
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-4999") && lone.line(2).ends_with(" 5000-10922"), "{}", lone.line(2));
    lone.hear(header(3), update(3, 3, slots(10_000, 10_100)));
    lone.hear(header(2), update(3, 3, slots(10_923, 10_923)));
    lone.settle();
    assert!(lone.line(3).ends_with(" 10000-10100 10923-16383"), "nothing is taken away: {}", lone.line(3));
    lone.hear(header(3), update(1, 1, slots(0, 16_383)));
    lone.settle();
    assert!(lone.line(1).ends_with(" 0-4999"), "a lower epoch: {}", lone.line(1));
    // A replica of the loser follows.
    let mut lone = Lone::new(6);
    lone.hear(header(2), update(8, 2, slots(5461, 16_383)));
    assert_eq!(lone.core.role(), Role::Replica { of: id(2) });
}

#[test]
fn the_smaller_name_settles_a_collision() {
    let mut lone = Lone::new(1);
    let mut twin = header(2);
    twin.config_epoch = Epoch(1);
    lone.hear(twin.clone(), ping());
    assert!(logged(&lone.settle(), "WARNING: configEpoch collision with node"));
    assert!(lone.line(1).contains(" 4 connected"));
    let mut lone = Lone::new(3);
    twin.config_epoch = Epoch(3);
    lone.hear(twin, ping());
    assert!(lone.line(3).contains(" 3 connected"), "the other one acts");
}

#[test]
fn extensions_of_both_dialects() {
    let mut lone = Lone::new(1);
    let mut of_valkey = header(2);
    of_valkey.flags = NodeFlags::MASTER | NodeFlags::EXTENSIONS;
    let extensions = vec![
        Extension::Hostname("two.example".into()),
        Extension::ShardId(id(200)),
        Extension::ClientIpv4("1.2.3.4".into()),
        Extension::ForgottenNode { node: id(6), ttl_s: 60 },
        Extension::Unknown { kind: 77, payload: vec![0; 8] },
    ];
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions });
    lone.hear(of_valkey.clone(), body);
    let outputs = lone.settle();
    assert!(lone.line(2).contains("1.2.3.4:6379@16379,two.example "));
    assert_eq!(lone.line(6), "", "forgotten");
    // Now it is known to understand extensions: it gets our shard id, and nothing of type 4.
    let sent = packets(&outputs);
    let told = sent.iter().find_map(|(_, p)| p.body.heartbeat()).unwrap();
    assert_eq!(told.extensions, [Extension::ShardId(id(101))]);
    // Redis 8's secret of the same type does no harm; without a host name it has none.
    let extensions = vec![Extension::InternalSecret([b'a'; 40])];
    lone.hear(of_valkey, Body::Ping(Heartbeat { gossip: Vec::new(), extensions }));
    assert!(!lone.line(2).contains("two.example"));
    // One that does not understand them gets none.
    lone.settle();
    lone.hear(header(3), ping());
    let sent = packets(&lone.settle());
    assert!(sent[0].1.body.heartbeat().unwrap().extensions.is_empty());
}

#[test]
fn headers_claim_what_is_on_disk() {
    let mut lone = Lone::new(1);
    command(&mut lone, "DELSLOTSRANGE 5461 5470");
    lone.settle();
    command(&mut lone, "ADDSLOTSRANGE 5461 5470");
    let seq = lone.outputs().into_iter().find_map(|o| match o {
        Output::Persist { seq, .. } => Some(seq),
        Output::Reply { .. } => panic!("OK before it is on disk"),
        _ => None,
    });
    lone.hear(header(3), ping());
    assert_eq!(packets(&lone.outputs())[0].1.header.slots, slots(0, 5460), "the PONG does not wait");
    // A second command waits for the next write.
    command(&mut lone, "BUMPEPOCH");
    assert!(lone.outputs().is_empty() || !lone.nodes().is_empty());
    lone.input(Input::Persisted { seq: seq.unwrap() });
    let after = lone.outputs();
    let replies = after.iter().filter(|o| matches!(o, Output::Reply { .. })).count();
    assert_eq!(replies, 1);
    assert!(
        after.iter().any(|o| matches!(o, Output::Persist { seq: next, .. } if *next == seq.unwrap() + 1))
    );
    assert!(after.iter().any(
        |o| matches!(o, Output::Publish(r) if r.is_mine(node_server_protocol::Slot::new(5470).unwrap()))
    ));
    lone.hear(header(3), ping());
    assert_eq!(packets(&lone.outputs())[0].1.header.slots, slots(0, 5470));
}

/// redis-cli --cluster fix: Redis looks at its state only when EXEC is over.
#[test]
fn a_transaction_is_one_change() {
    let mut lone = Lone::new(1);
    let keys = DatasetInfo::default();
    let commands: Vec<_> = ["DELSLOTS 7", "ADDSLOTS 7", "BUMPEPOCH"]
        .iter()
        .zip(1..)
        .map(|(text, n)| (Token(n), lone::parsed(text), keys))
        .collect();
    lone.input(Input::Transaction { commands, asker: Asker::default() });
    let outputs = lone.settle();
    let persists = outputs.iter().filter(|o| matches!(o, Output::Persist { .. })).count();
    let replies: Vec<&[u8]> = outputs
        .iter()
        .filter_map(|o| match o {
            Output::Reply { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!((persists, &replies[..]), (1, &[&b"+OK\r\n"[..], b"+OK\r\n", b"+BUMPED 4\r\n"][..]));
    let down = |o: &Output| matches!(o, Output::Publish(r) if r.serving != Serving::Ok);
    assert!(!outputs.iter().any(down), "it was never down");
}

#[test]
fn rubbish_is_dropped() {
    let mut lone = Lone::new(1);
    let link = lone.accept(2);
    for bytes in [Vec::new(), b"RCmb".to_vec(), vec![0; 3000]] {
        lone.input(Input::Frame { link, bytes });
    }
    let mut frame = Packet { header: header(2), body: ping() }.encode();
    frame.truncate(2300);
    frame[7] = 0xff;
    lone.input(Input::Frame { link, bytes: frame });
    assert!(packets(&lone.settle()).is_empty());
    assert_eq!(lone.nodes().lines().count(), 6);
}

#[test]
fn set_slot_goes_to_disk_and_then_to_the_replicas() {
    let mut lone = Lone::new(1);
    command(&mut lone, &format!("SETSLOT 5 MIGRATING {}", id(2)));
    let before = lone.outputs();
    let text = before.iter().find_map(|o| match o {
        Output::Persist { text, .. } => Some(text.clone()),
        _ => None,
    });
    assert!(text.unwrap().contains(&format!("[5->-{}]", id(2))));
    assert!(!before.iter().any(|o| matches!(o, Output::ReplicateThenReply { .. })));
    lone.input(Input::Persisted { seq: 1_000 });
    assert!(lone.outputs().is_empty(), "another write than the one under way");
    command(&mut lone, "SAVECONFIG");
    let mut lone = Lone::new(1);
    command(&mut lone, &format!("SETSLOT 5 MIGRATING {}", id(2)));
    let replicated = lone.settle().into_iter().find_map(|o| match o {
        Output::ReplicateThenReply { command, bytes, .. } => Some((command, bytes)),
        _ => None,
    });
    let (command_args, bytes) = replicated.unwrap();
    assert_eq!(bytes, b"+OK\r\n");
    // A replica of ours takes it from the stream, and keeps it on disk.
    let mut replica = Lone::new(4);
    replica.input(Input::ReplicatedSetSlot { args: command_args });
    assert!(
        replica.settle().iter().any(|o| matches!(o, Output::Persist { text, .. } if text.contains("[5->-")))
    );
    // What a full sync does not tell is put on the log again.
    lone.input(Input::ReplicaSynced);
    assert!(lone.settle().iter().any(|o| matches!(o, Output::Replicate { command } if command[2] == b"5")));
}
