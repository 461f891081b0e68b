//! What a node says of itself beyond the header, to whom, and what it learns so of others.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, TIMEOUT_MS, command, gossip, header, id, logged, packets, parsed, ping, slots};
use node_server_cluster::{Asker, Config, DatasetInfo, Input, NodesConf, Output, Token};
use node_server_protocol::bus::{
    Body, Extension, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet,
};
use node_server_protocol::resp::Protocol;
use node_server_protocol::{Epoch, Family, Millis, NodeId};
use proptest::prelude::*;

/// Flags of Valkey 9.1.2.
const VALKEY: NodeFlags = NodeFlags::EXTENSIONS.with(NodeFlags::LIGHT_PUBLISH).with(NodeFlags::LIGHT_MODULE);

/// All that can be announced.
fn talkative(me: u8) -> Lone {
    let config = Config {
        node_timeout_ms: TIMEOUT_MS,
        announce_hostname: Some("h1.example".into()),
        announce_node_name: Some("one".into()),
        announce_client_ipv4: Some([192, 0, 2, 1].into()),
        announce_client_ipv6: Some("2001:db8::1".parse().unwrap()),
        announce_client_port: 7001,
        announce_client_tls_port: 8001,
        availability_zone: Some("eu-1".into()),
        ..Config::default()
    };
    Lone::start(me, false, config)
}

fn what_all_know() -> Vec<Extension> {
    vec![Extension::Hostname("h1.example".into()), Extension::NodeName("one".into())]
}

fn what_valkey_knows() -> Vec<Extension> {
    vec![
        Extension::ClientIpv4("192.0.2.1".into()),
        Extension::ClientIpv6("2001:db8::1".into()),
        Extension::ClientPort(7001),
        Extension::ClientTlsPort(8001),
        Extension::AvailabilityZone("eu-1".into()),
    ]
}

fn extended(header: Header, extensions: Vec<Extension>) -> Packet {
    let mut header = header;
    header.flags |= NodeFlags::EXTENSIONS;
    Packet { header, body: Body::Ping(Heartbeat { gossip: Vec::new(), extensions }) }
}

/// Node `n` says so on a connection of its own; the answer to it.
fn answer(lone: &mut Lone, n: u8, packet: Packet) -> Packet {
    let link = lone.accept(n);
    lone.receive(link, packet);
    let sent = packets(&lone.outputs());
    sent.into_iter().find(|(to, _)| *to == link).unwrap().1
}

fn shard_id(packet: &Packet) -> Option<NodeId> {
    packet.body.heartbeat()?.extensions.iter().find_map(|e| match e {
        Extension::ShardId(id) => Some(*id),
        _ => None,
    })
}

/// Found with Valkey 9.1.2: a node that had just become a replica said, until that was on disk, that it was a master of
/// its new master's shard. Valkey believed it, and with a higher epoch of before took all that followed for out of date.
#[test]
fn role_and_shard_change_in_one_packet() {
    let mut lone = Lone::new(4);
    command(&mut lone, &format!("REPLICATE {}", id(2)));
    let write = |o: &Output| if let Output::Persist { seq, .. } = o { Some(*seq) } else { None };
    let seq = lone.outputs().iter().find_map(write).unwrap();
    let hello = || extended(header(2), vec![Extension::ShardId(id(102))]);
    let before = answer(&mut lone, 2, hello());
    assert_eq!((before.header.master, shard_id(&before)), (Some(id(1)), Some(id(101))));
    lone.input(Input::Persisted { seq });
    lone.settle();
    let after = answer(&mut lone, 2, hello());
    assert_eq!((after.header.master, shard_id(&after)), (Some(id(2)), Some(id(102))));
}

/// A replica that followed a node known from gossip alone kept that one's made-up shard id for ever.
#[test]
fn a_replica_takes_its_masters_shard_id_when_that_is_told() {
    let mut lone = Lone::new(4);
    lone.hear(header(2), gossip(9, NodeFlags::MASTER));
    lone.settle();
    command(&mut lone, &format!("REPLICATE {}", id(9)));
    lone.settle();
    let mut master = header(2);
    (master.sender, master.slots) = (id(9), node_server_protocol::SlotSet::new());
    let link = lone.accept(9);
    lone.receive(link, extended(master, vec![Extension::ShardId(id(109))]));
    lone.settle();
    lone.hear(header(2), ping());
    let told = answer(&mut lone, 2, extended(header(2), vec![Extension::ShardId(id(102))]));
    assert_eq!((told.header.master, shard_id(&told)), (Some(id(9)), Some(id(109))));
}

fn told(lone: &mut Lone, n: u8, change: impl Fn(&mut Header)) -> Vec<Extension> {
    let mut header = header(n);
    change(&mut header);
    let packet = Packet { header, body: ping() };
    answer(lone, n, packet).body.heartbeat().unwrap().extensions.clone()
}

/// Each peer is told what it understands, and may turn into another server.
#[test]
fn extensions_are_for_those_who_know_them() {
    let mut lone = talkative(1);
    assert_eq!(told(&mut lone, 2, |_| ()), [], "nothing was shown");
    let host = told(&mut lone, 2, |h| h.message_flags |= MessageFlags::EXT_DATA);
    assert_eq!(host, what_all_know()[..1], "Redis 7.0 complains about any other");
    let shard = Extension::ShardId(id(101));
    let redis = told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS);
    assert_eq!(redis, [what_all_know(), vec![shard.clone()]].concat());
    let all = [what_all_know(), what_valkey_knows(), vec![shard]].concat();
    assert_eq!(told(&mut lone, 2, |h| h.flags |= VALKEY), all);
    assert_eq!(told(&mut lone, 2, |h| h.own = OwnFlags::READS_ALL), all, "one of ours");
    assert_eq!(told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS), redis);
    // A message without heartbeat does not show what Redis 7.0 knows.
    told(&mut lone, 3, |h| h.message_flags |= MessageFlags::EXT_DATA);
    lone.hear(header(3), Body::Fail { node: id(3) });
    lone.settle();
    let link = lone.to[&3];
    let sent = packets(&lone.pass(TIMEOUT_MS)).into_iter().find(|(to, _)| *to == link);
    assert_eq!(sent.unwrap().1.body.heartbeat().unwrap().extensions, what_all_know()[..1]);
}

/// Redis 8 drops a packet with a type 4 that is no secret of its own; its secret is no address either.
#[test]
fn a_secret_is_neither_believed_nor_sent() {
    let mut lone = talkative(1);
    let secret = Extension::InternalSecret([b'a'; 40]);
    let said = answer(&mut lone, 2, extended(header(2), vec![secret, Extension::ShardId(id(102))]));
    assert!(said.body.heartbeat().unwrap().extensions.iter().all(|e| e.kind() < 4));
    assert!(lone.line(2).contains(" 10.0.0.2:6379@16379 "), "{}", lone.line(2));
}

/// Gossip passes Valkey's flags on, so that its nodes are known before they speak.
#[test]
fn a_node_of_valkey_is_known_by_gossip() {
    let mut lone = talkative(1);
    lone.hear(header(2), gossip(9, NodeFlags::MASTER | VALKEY));
    let hello = packets(&lone.pass(200)).into_iter().find(|(to, _)| lone.to.get(&9) == Some(to)).unwrap().1;
    let told = &hello.body.heartbeat().unwrap().extensions;
    assert!(told.contains(&Extension::AvailabilityZone("eu-1".into())), "{told:?}");
}

/// Found by the test of mixed clusters: whoever has had a host name from Redis 7.0 marks it as one that has extensions, and
/// it complained of the shard id of those who heard of it from there.
#[test]
fn a_node_that_is_said_to_have_extensions_is_told_none_before_it_was_heard() {
    let mut lone = talkative(1);
    lone.hear(header(2), gossip(9, NodeFlags::MASTER | NodeFlags::EXTENSIONS));
    let hello = packets(&lone.pass(200)).into_iter().find(|(to, _)| lone.to.get(&9) == Some(to)).unwrap().1;
    assert_eq!(hello.body.heartbeat().unwrap().extensions, []);
}

#[test]
fn a_failed_master_is_told_of_in_flags_to_those_who_have_that_flag() {
    let mut lone = Lone::new(4);
    lone.hear(header(2), Body::Fail { node: id(1) });
    lone.settle();
    let flags = |lone: &mut Lone, own: NodeFlags| {
        let mut header = header(3);
        header.flags |= own;
        answer(lone, 3, Packet { header, body: ping() }).header.flags
    };
    assert!(!flags(&mut lone, NodeFlags::EXTENSIONS).contains(NodeFlags::MY_MASTER_FAIL));
    assert!(flags(&mut lone, VALKEY).contains(NodeFlags::MY_MASTER_FAIL));
}

fn reply(lone: &mut Lone, line: &str, family: Family) -> String {
    let asker = Asker { protocol: Protocol::Resp2, family };
    let (token, keys, command) = (Token(7), DatasetInfo::default(), parsed(line));
    lone.input(Input::Command { token, command, asker, keys });
    let text = |o: Output| match o {
        Output::Reply { bytes, .. } => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    };
    lone.outputs().into_iter().find_map(text).unwrap()
}

/// What Valkey 9.1.2 answers to clients of each kind.
#[test]
fn clients_are_sent_where_the_node_wants_them() {
    let mut lone = Lone::new(1);
    let all = [what_all_know(), what_valkey_knows(), vec![Extension::ShardId(id(102))]].concat();
    let mut valkey = header(2);
    valkey.flags |= VALKEY;
    answer(&mut lone, 2, extended(valkey.clone(), all.clone()));
    lone.settle();
    for (family, ip) in [(Family::V4, "192.0.2.1"), (Family::V6, "2001:db8::1")] {
        let nodes = reply(&mut lone, "NODES", family);
        assert!(nodes.contains(&format!("{} {ip}:7001@16379,h1.example master", id(2))), "{nodes}");
        let bulk = format!("${}\r\n{ip}\r\n", ip.len());
        let extra = "$17\r\navailability-zone\r\n$4\r\neu-1\r\n";
        let slots = reply(&mut lone, "SLOTS", family);
        assert!(slots.contains(&format!(":10922\r\n*4\r\n{bulk}:7001\r\n")), "{slots}");
        assert!(slots.contains(extra), "{slots}");
        let shards = reply(&mut lone, "SHARDS", family);
        assert!(shards.contains(&format!(":7001\r\n$2\r\nip\r\n{bulk}$8\r\nendpoint\r\n{bulk}")), "{shards}");
        assert!(shards.contains(&format!("$6\r\nonline\r\n{extra}")), "{shards}");
        let routing = lone.core.routing();
        let node = routing.node(id(2)).unwrap();
        assert_eq!((node.endpoint_for(family), node.port), (ip, 7001));
        assert_eq!(node.address.client(), ([10, 0, 0, 2], 6379).into(), "nodes talk to each other as before");
    }
    // It has stopped to announce them.
    answer(&mut lone, 2, extended(valkey, vec![Extension::ShardId(id(102))]));
    assert!(reply(&mut lone, "NODES", Family::V6).contains(&format!("{} 10.0.0.2:6379@16379 master", id(2))));
}

/// A node of ours that does not know yet that this is one of ours leaves Valkey's part out; that takes nothing back.
#[test]
fn what_one_of_ours_left_out_still_holds() {
    let mut lone = Lone::new(1);
    let mut ours = header(2);
    ours.own = OwnFlags::READS_ALL | OwnFlags::SAYS_ALL;
    let shard = vec![Extension::ShardId(id(102))];
    answer(&mut lone, 2, extended(ours.clone(), [what_valkey_knows(), shard.clone()].concat()));
    ours.own = OwnFlags::READS_ALL;
    answer(&mut lone, 2, extended(ours.clone(), shard.clone()));
    assert!(lone.line(2).contains(" 192.0.2.1:7001@16379 "), "{}", lone.line(2));
    ours.own = OwnFlags::READS_ALL | OwnFlags::SAYS_ALL;
    answer(&mut lone, 2, extended(ours, shard));
    assert!(lone.line(2).contains(" 10.0.0.2:6379@16379 "), "{}", lone.line(2));
}

fn last_conf(outputs: &[Output]) -> Option<String> {
    let text = |o: &Output| if let Output::Persist { text, .. } = o { Some(text.clone()) } else { None };
    outputs.iter().rev().find_map(text)
}

#[test]
fn nodes_conf_keeps_what_was_announced() {
    let mut lone = talkative(1);
    let mut valkey = header(2);
    valkey.flags |= VALKEY;
    let link = lone.accept(2);
    let all = [what_all_know(), what_valkey_knows(), vec![Extension::ShardId(id(102))]].concat();
    lone.receive(link, extended(valkey, all));
    let text = last_conf(&lone.settle()).unwrap();
    let fields = "availability-zone=eu-1,client-ipv4=192.0.2.1,client-ipv6=2001:db8::1,client-tcp-port=7001,\
                  client-tls-port=8001,nodename=one,shard-id=";
    for n in [1, 2] {
        assert!(text.contains(&format!(":6379@16379,h1.example,{fields}{}", id(100 + n))), "{text}");
    }
    // Read and written again, it says the same.
    let start = node_server_cluster::Start::Loaded(NodesConf::parse(&text).unwrap());
    let mut core = node_server_cluster::Cluster::new(Config::default(), start, false, 1, Millis(1));
    let outputs: Vec<Output> = std::iter::from_fn(|| core.poll_output()).collect();
    let again = last_conf(&outputs).unwrap();
    assert!(
        again.contains(&format!("{} 10.0.0.2:6379@16379,h1.example,{fields}{}", id(2), id(102))),
        "{again}"
    );
    for bad in ["client-ipv4=2001:db8::1", "client-ipv6=192.0.2.1", "client-tcp-port=70000"] {
        let (name, _) = bad.split_once('=').unwrap();
        let start = text.find(name).unwrap();
        let end = start + text[start..].find(',').unwrap();
        let error = NodesConf::parse(&text.replacen(&text[start..end], bad, 1)).unwrap_err();
        assert!(error.to_string().contains(&format!("{name} has a bad value")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Found by thinking of it: a host name with a blank, from any peer, made this node's file unreadable.
    #[test]
    fn no_peer_can_spoil_nodes_conf(texts in prop::array::uniform5("[ -~\n\t,=é]{0,20}")) {
        let mut lone = Lone::new(1);
        let [host, name, v4, v6, zone] = texts;
        let link = lone.accept(2);
        lone.receive(link, extended(header(2), vec![
            Extension::Hostname(host),
            Extension::NodeName(name),
            Extension::ClientIpv4(v4),
            Extension::ClientIpv6(v6),
            Extension::AvailabilityZone(zone),
        ]));
        command(&mut lone, "SAVECONFIG");
        let text = last_conf(&lone.settle()).unwrap();
        prop_assert!(NodesConf::parse(&text).is_ok(), "{text}");
    }
}

#[test]
fn log_lines_name_nodes_for_people() {
    let mut lone = Lone::new(1);
    answer(&mut lone, 3, extended(header(3), vec![Extension::NodeName("three".into())]));
    lone.hear(header(2), Body::Fail { node: id(3) });
    let outputs = lone.settle();
    let line = format!("FAIL message received from {} about {} (three)", id(2), id(3));
    assert!(logged(&outputs, &line));
}

/// CLUSTER FORGET goes round, with what is left of its time, to those who know such a thing.
#[test]
fn forgetting_is_told() {
    let mut lone = Lone::new(1);
    command(&mut lone, &format!("FORGET {}", id(6)));
    lone.settle();
    lone.pass(1500);
    let forgotten = |ttl_s| Extension::ForgottenNode { node: id(6), ttl_s };
    assert!(told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS).contains(&forgotten(58)));
    assert_eq!(told(&mut lone, 2, |h| h.message_flags |= MessageFlags::EXT_DATA), [], "not to Redis 7.0");
    lone.pass(58_000);
    assert!(!told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS).iter().any(|e| e.kind() == 2));
}

/// What is told goes on being told, and its time does not grow by going round.
#[test]
fn forgetting_is_passed_on_and_ends() {
    let mut lone = Lone::new(1);
    let shard = Extension::ShardId(id(102));
    let forget = |node, ttl_s| vec![Extension::ForgottenNode { node: id(node), ttl_s }, shard.clone()];
    let said = answer(&mut lone, 2, extended(header(2), forget(6, 20)));
    assert!(said.body.heartbeat().unwrap().extensions.len() == 1, "the PONG left before");
    assert_eq!(lone.line(6), "");
    lone.pass(900);
    let passed = told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS);
    assert!(passed.contains(&Extension::ForgottenNode { node: id(6), ttl_s: 19 }), "{passed:?}");
    // Nothing is learned of it until then, and it may come back after.
    lone.hear(header(2), gossip(6, NodeFlags::REPLICA));
    assert_eq!(lone.line(6), "");
    lone.pass(19_200);
    lone.hear(header(2), gossip(6, NodeFlags::REPLICA));
    assert_ne!(lone.line(6), "");
    // Not itself.
    answer(&mut lone, 2, extended(header(2), forget(1, 20)));
    assert!(lone.line(1).contains("myself"));
}

/// Whoever routed slots to it still had them without an owner, and the cluster down for its clients.
#[test]
fn who_is_needed_for_slots_is_forgotten_when_they_are_claimed() {
    let mut lone = Lone::new(1);
    let extensions = vec![Extension::ForgottenNode { node: id(3), ttl_s: 20 }, Extension::ShardId(id(102))];
    answer(&mut lone, 2, extended(header(2), extensions.clone()));
    assert!(lone.line(3).ends_with(" 10923-16383"), "{}", lone.line(3));
    let mut heir = header(2);
    (heir.config_epoch, heir.slots) = (Epoch(9), slots(5461, 16_383));
    answer(&mut lone, 2, extended(heir.clone(), extensions.clone()));
    answer(&mut lone, 2, extended(heir, extensions));
    assert_eq!(lone.line(3), "");
}

/// Found by the simulation: a node that was introduced again was forgotten again as long as others told of the first
/// time, and its slots went back to an owner of an older epoch.
#[test]
fn who_was_introduced_again_is_not_forgotten() {
    let mut lone = Lone::new(1);
    let forget = |ttl_s| vec![Extension::ForgottenNode { node: id(6), ttl_s }, Extension::ShardId(id(102))];
    command(&mut lone, &format!("FORGET {}", id(6)));
    lone.settle();
    lone.pass(10_000);
    // By itself, as after a MEET at the other end; an administrator's MEET here ends in the same handshake.
    lone.to.remove(&6);
    lone.hear(header(6), Body::Meet(Heartbeat::default()));
    lone.settle();
    lone.pass(100);
    let link = lone.to[&6];
    lone.receive(link, Packet { header: header(6), body: Body::Pong(Heartbeat::default()) });
    lone.settle();
    assert_ne!(lone.line(6), "");
    assert_eq!(told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS), [Extension::ShardId(id(101))]);
    lone.pass(1000);
    answer(&mut lone, 2, extended(header(2), forget(45)));
    assert_ne!(lone.line(6), "", "forgotten 15 s ago, introduced 1 s ago");
    lone.pass(5000);
    answer(&mut lone, 2, extended(header(2), forget(58)));
    assert_eq!(lone.line(6), "", "introduced 6 s ago, forgotten 2 s ago");
}

/// A heartbeat has room for so many; all get their turn.
#[test]
fn many_forgotten_nodes_are_told_in_turns() {
    let mut lone = Lone::new(1);
    for n in 10..110 {
        lone.hear(header(2), gossip(n, NodeFlags::MASTER));
        command(&mut lone, &format!("FORGET {}", id(n)));
    }
    lone.settle();
    let mut all = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let told = told(&mut lone, 2, |h| h.flags |= NodeFlags::EXTENSIONS);
        let nodes = told.iter().filter_map(|e| match e {
            Extension::ForgottenNode { node, .. } => Some(*node),
            _ => None,
        });
        let before = all.len();
        let nodes: Vec<NodeId> = nodes.collect();
        assert!(nodes.len() <= 64 && before <= 100);
        all.extend(nodes);
    }
    assert_eq!(all.len(), 100);
}
