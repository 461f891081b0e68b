//! Frames captured from real servers (tests/golden/README.md): what they say, and that encoding says it again.

#![allow(clippy::unwrap_used, reason = "a test, and clippy takes only test functions for one")]

use node_server_protocol::bus::{
    Body, DecodeError, Extension, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet, Publication,
    Update, decode, decode_light, frame_len, is_light,
};
use node_server_protocol::{Epoch, NodeId, Slot, SlotRange, SlotSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

fn frame(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().flat_map(line_bytes).collect()
}

/// `00*2000` stands for 2000 zero bytes.
fn line_bytes(line: &str) -> Vec<u8> {
    let (hex, times) = line.split_once('*').map_or((line, 1), |(hex, n)| (hex, n.parse().unwrap()));
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().repeat(times)
}

fn packet(name: &str) -> Packet {
    let frame = frame(name);
    assert_eq!(frame_len(&frame), Ok(Some(frame.len())), "{name}");
    let packet = decode(&frame).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(packet.encode() == frame, "{name}: encoding gives other bytes");
    packet
}

/// Nodes were named 1111…, 2222… for the capture.
fn id(digit: char) -> NodeId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn slots(first: u16, last: u16) -> SlotSet {
    SlotRange::new(Slot::new(first).unwrap(), Slot::new(last).unwrap()).into_iter().collect()
}

/// What node `n` of the capture says of itself as a master, with the flags that its server adds.
fn master(n: u16, first: u16, last: u16, epochs: (u64, u64), more: NodeFlags) -> Header {
    Header {
        sender: id(char::from_digit(u32::from(n), 10).unwrap()),
        port: 21000 + n,
        secondary_port: 0,
        bus_port: 21200 + n,
        ip: None,
        current_epoch: Epoch(epochs.0),
        config_epoch: Epoch(epochs.1),
        offset: 0,
        slots: slots(first, last),
        master: None,
        flags: NodeFlags::MASTER | NodeFlags::MYSELF | more,
        cluster_down: false,
        message_flags: MessageFlags::empty(),
        own: OwnFlags::empty(),
    }
}

const NONE: NodeFlags = NodeFlags::empty();

fn valkey() -> NodeFlags {
    NodeFlags::EXTENSIONS | NodeFlags::LIGHT_PUBLISH | NodeFlags::LIGHT_MODULE
}

#[test]
fn redis_ping_with_gossip_and_host_name() {
    let Packet { header, body: Body::Ping(heartbeat) } = packet("redis-7.0.15/ping") else { panic!() };
    let message_flags = MessageFlags::EXT_DATA;
    assert_eq!(header, Header { message_flags, ..master(2, 5461, 10922, (4, 2), NONE) });
    assert_eq!(heartbeat.extensions, [Extension::Hostname("node-2.example".into())]);
    let seen: Vec<_> = heartbeat.gossip.iter().map(|g| (g.id, g.port, g.bus_port, g.flags)).collect();
    let suspected = NodeFlags::MASTER | NodeFlags::PFAIL | NodeFlags::MIGRATE_TO;
    let expected = [
        (id('3'), 21003, 21203, NodeFlags::MASTER),
        (id('1'), 21001, 21201, NodeFlags::REPLICA),
        (id('4'), 21004, 21204, suspected),
    ];
    assert_eq!(seen, expected);
    let last = &heartbeat.gossip[2];
    assert_eq!((last.ping_sent_s, last.pong_received_s), (1_795_492_373, 1_795_492_372));
    assert_eq!(last.ip, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
}

#[test]
fn redis_pong_and_meet() {
    assert!(matches!(packet("redis-7.0.15/pong").body, Body::Pong(h) if h.gossip.len() == 3));
    let Packet { header, body: Body::Meet(heartbeat) } = packet("redis-7.0.15/meet") else { panic!() };
    let own = Header { cluster_down: true, ..master(1, 0, 5460, (3, 1), NONE) };
    assert_eq!(header, Header { message_flags: MessageFlags::EXT_DATA, ..own });
    assert_eq!(heartbeat.gossip.len(), 2);
}

#[test]
fn valkey_heartbeats() {
    let Packet { header, body: Body::Pong(heartbeat) } = packet("valkey-9.1.2/pong") else { panic!() };
    let own = Header { cluster_down: true, ..master(1, 0, 5460, (2, 1), valkey()) };
    assert_eq!(header, Header { message_flags: MessageFlags::EXT_DATA, ..own });
    let [Extension::Hostname(host), Extension::ShardId(shard)] = &heartbeat.extensions[..] else { panic!() };
    assert_eq!(host, "node-1.example");
    assert_eq!(shard.to_string(), "abd717adb0b9c4ec9ee8b33547bd438010675d7b");
    assert_eq!(heartbeat.gossip[0].flags, NodeFlags::MASTER | NodeFlags::MEET);
    assert!(matches!(packet("valkey-9.1.2/ping").body, Body::Ping(h) if h.gossip.len() == 2));
    assert_eq!(packet("valkey-9.1.2/meet").body, Body::Meet(Heartbeat::default()));
}

#[test]
fn fail() {
    for server in ["redis-7.0.15", "valkey-9.1.2"] {
        assert_eq!(packet(&format!("{server}/fail")).body, Body::Fail { node: id('4') });
    }
}

#[test]
fn votes_of_a_manual_failover() {
    for (server, offset, more) in [("redis-7.0.15", 0, NONE), ("valkey-9.1.2", 14, valkey())] {
        let replica = |epoch, message_flags| Header {
            master: Some(id('1')),
            flags: NodeFlags::REPLICA | NodeFlags::MYSELF | more,
            offset,
            message_flags,
            ..master(4, 0, 5460, (epoch, 1), NONE)
        };
        let start = Packet { header: replica(3, MessageFlags::empty()), body: Body::MfStart };
        assert_eq!(packet(&format!("{server}/mfstart")), start);
        let request = Packet { header: replica(4, MessageFlags::FORCE_ACK), body: Body::AuthRequest };
        assert_eq!(packet(&format!("{server}/auth-req")), request);
        let ack = Packet { header: master(3, 10923, 16383, (4, 3), more), body: Body::AuthAck };
        assert_eq!(packet(&format!("{server}/auth-ack")), ack);
    }
}

#[test]
fn update_after_a_stale_claim() {
    let update = |epoch, node| {
        Body::Update(Update { config_epoch: Epoch(epoch), node: id(node), slots: slots(0, 5460) })
    };
    let redis = packet("redis-7.0.15/update");
    assert_eq!(redis, Packet { header: master(3, 10923, 16383, (5, 3), NONE), body: update(5, '1') });
    let sender = Header { offset: 14, ..master(4, 0, 5460, (4, 4), valkey()) };
    assert_eq!(packet("valkey-9.1.2/update"), Packet { header: sender, body: update(4, '4') });
}

#[test]
fn publications_with_full_and_light_headers() {
    let news = Publication { channel: b"news".to_vec(), message: b"hello".to_vec() };
    let age = Publication { channel: b"age".to_vec(), message: b"hi".to_vec() };
    assert_eq!(packet("redis-7.0.15/publish").body, Body::Publish(news.clone()));
    assert_eq!(packet("redis-7.0.15/publishshard").body, Body::PublishShard(age.clone()));
    for (name, body) in [("publish", Body::Publish(news)), ("publishshard", Body::PublishShard(age))] {
        let frame = frame(&format!("valkey-9.1.2/{name}-light"));
        assert_eq!(frame_len(&frame), Ok(Some(frame.len())));
        assert!(is_light(&frame));
        assert_eq!(decode(&frame), Err(DecodeError::Light));
        assert_eq!(decode_light(&frame), Ok(body));
    }
}
