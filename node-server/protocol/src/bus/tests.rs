use super::*;
use crate::{Slot, SlotRange};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_bytes)
}

fn ip() -> impl Strategy<Value = Option<IpAddr>> {
    proptest::option::of(any::<IpAddr>().prop_filter("is read as none", |ip| !ip.is_unspecified()))
}

fn slots() -> impl Strategy<Value = SlotSet> {
    vec((0..16_384u16, 0..100u16), 0..4).prop_map(|ranges| {
        let range = |(start, len): (u16, u16)| {
            SlotRange::new(Slot::new(start)?, Slot::new((start + len).min(16_383))?)
        };
        ranges.into_iter().filter_map(range).collect()
    })
}

fn header() -> impl Strategy<Value = Header> {
    let ids = (node_id(), proptest::option::of(node_id()));
    let numbers = (any::<[u16; 3]>(), any::<[u64; 3]>());
    let flags = (any::<u16>(), any::<bool>(), any::<u8>(), any::<u8>());
    (ids, numbers, ip(), slots(), flags).prop_map(|((sender, master), (ports, epochs), ip, slots, flags)| {
        Header {
            sender,
            port: ports[0],
            secondary_port: ports[1],
            bus_port: ports[2],
            ip,
            current_epoch: Epoch(epochs[0]),
            config_epoch: Epoch(epochs[1]),
            offset: epochs[2],
            slots,
            master,
            flags: NodeFlags::from_bits(flags.0),
            cluster_down: flags.1,
            message_flags: MessageFlags::from_bits(flags.2),
            own: OwnFlags::from_bits(flags.3),
        }
    })
}

fn gossip() -> impl Strategy<Value = GossipEntry> {
    (node_id(), any::<[u32; 2]>(), ip(), any::<[u16; 4]>()).prop_map(|(id, seconds, ip, fields)| {
        GossipEntry {
            id,
            ping_sent_s: seconds[0],
            pong_received_s: seconds[1],
            ip,
            port: fields[0],
            bus_port: fields[1],
            flags: NodeFlags::from_bits(fields[2]),
            secondary_port: fields[3],
        }
    })
}

fn extension() -> impl Strategy<Value = Extension> {
    let text = || "[a-z0-9.-]{0,30}";
    prop_oneof![
        text().prop_map(Extension::Hostname),
        text().prop_map(Extension::NodeName),
        (node_id(), any::<u64>()).prop_map(|(node, ttl_s)| Extension::ForgottenNode { node, ttl_s }),
        node_id().prop_map(Extension::ShardId),
        "[0-9a-fA-F]{40}".prop_map(|s| Extension::InternalSecret(s.into_bytes().try_into().unwrap())),
        text().prop_map(Extension::ClientIpv4),
        text().prop_map(Extension::ClientIpv6),
        any::<u16>().prop_map(Extension::ClientPort),
        any::<u16>().prop_map(Extension::ClientTlsPort),
        text().prop_map(Extension::AvailabilityZone),
        (9..=u16::MAX, vec(any::<[u8; 8]>(), 0..5))
            .prop_map(|(kind, words)| Extension::Unknown { kind, payload: words.concat() }),
    ]
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    (vec(gossip(), 0..5), vec(extension(), 0..5))
        .prop_map(|(gossip, extensions)| Heartbeat { gossip, extensions })
}

fn publication() -> impl Strategy<Value = Publication> {
    (vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50))
        .prop_map(|(channel, message)| Publication { channel, message })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        heartbeat().prop_map(Body::Ping),
        heartbeat().prop_map(Body::Pong),
        heartbeat().prop_map(Body::Meet),
        node_id().prop_map(|node| Body::Fail { node }),
        publication().prop_map(Body::Publish),
        publication().prop_map(Body::PublishShard),
        Just(Body::AuthRequest),
        Just(Body::AuthAck),
        Just(Body::MfStart),
        (any::<u64>(), node_id(), slots()).prop_map(|(epoch, node, slots)| {
            Body::Update(Update { config_epoch: Epoch(epoch), node, slots })
        }),
        (any::<[u8; 8]>(), any::<u8>(), vec(any::<u8>(), 0..50))
            .prop_map(|(module, kind, payload)| Body::Module(ModuleMessage { module, kind, payload })),
        (11..LIGHT_BIT, vec(any::<u8>(), 0..50)).prop_map(|(kind, data)| Body::Unknown { kind, data }),
    ]
}

/// The encoder says by a flag that extensions follow; without the flag the decoder does not look for any.
fn as_sent(mut packet: Packet) -> Packet {
    if packet.body.heartbeat().is_some_and(|h| !h.extensions.is_empty()) {
        packet.header.message_flags |= MessageFlags::EXT_DATA;
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn round_trip(header in header(), body in body()) {
        let packet = Packet { header, body };
        let frame = packet.encode();
        prop_assert_eq!(frame_len(&frame), Ok(Some(frame.len())));
        prop_assert_eq!(frame_len(&frame[..FRAME_PREFIX_LEN]), Ok(Some(frame.len())));
        prop_assert_eq!(decode(&frame), Ok(as_sent(packet)));
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..3000)) {
        let _ = frame_len(&bytes);
        let _ = decode(&bytes);
        let _ = decode_light(&bytes);
    }

    /// Bytes that get past the envelope.
    #[test]
    fn any_change(header in header(), body in body(), at in any::<prop::sample::Index>(), to: u8, cut in 0..200usize) {
        let mut frame = Packet { header, body }.encode();
        let index = at.index(frame.len());
        frame[index] = to;
        let _ = decode(&frame);
        // A frame that lost its end is never a message, unless its type is one that may have any length.
        frame.truncate(frame.len() - cut);
        let len = frame.len() as u32;
        if frame.len() >= 8 {
            frame[4..8].copy_from_slice(&len.to_be_bytes());
        }
        let _ = decode(&frame);
        let _ = decode_light(&frame);
    }

    #[test]
    fn every_length_counts(header in header(), body in body(), extra in 1..64usize) {
        prop_assume!(!matches!(body, Body::Unknown { .. }));
        let mut frame = Packet { header, body }.encode();
        frame.resize(frame.len() + extra, 0);
        prop_assert!(decode(&frame).is_err(), "longer than its length field says");
        let len = frame.len() as u32;
        frame[4..8].copy_from_slice(&len.to_be_bytes());
        prop_assert!(decode(&frame).is_err(), "longer than its type asks for");
    }
}

fn prefix(total_len: u32, kind: u16) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&total_len.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0]);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes
}

#[test]
fn frame_lengths() {
    assert_eq!(frame_len(b""), Ok(None));
    assert_eq!(frame_len(b"RCmb\0\0\x08"), Ok(None));
    assert_eq!(frame_len(b"RX"), Err(FrameError::Signature));
    assert_eq!(frame_len(b"GET / HTTP/1.1"), Err(FrameError::Signature));
    assert_eq!(frame_len(&prefix(2256, 5)[..8]), Ok(Some(2256)));
    assert_eq!(frame_len(&prefix(2255, 5)), Err(FrameError::TooShort(2255)));
    assert_eq!(frame_len(&prefix(2255, 5)[..13]), Ok(None));
    assert_eq!(frame_len(&prefix(16, LIGHT_BIT | 4)), Ok(Some(16)));
    assert_eq!(frame_len(&prefix(15, LIGHT_BIT | 4)), Err(FrameError::TooShort(15)));
    assert_eq!(frame_len(&prefix(MAX_FRAME_LEN as u32, 4)), Ok(Some(MAX_FRAME_LEN)));
    assert_eq!(frame_len(&prefix(u32::MAX, 4)), Err(FrameError::TooLong(u32::MAX as usize)));
}

fn some_header() -> Header {
    Header {
        sender: NodeId::from_bytes([7; 20]),
        port: 7001,
        secondary_port: 0,
        bus_port: 17001,
        ip: None,
        current_epoch: Epoch(1),
        config_epoch: Epoch(1),
        offset: 0,
        slots: SlotSet::new(),
        master: None,
        flags: NodeFlags::MASTER | NodeFlags::MYSELF,
        cluster_down: false,
        message_flags: MessageFlags::empty(),
        own: OwnFlags::empty(),
    }
}

/// What others leave there (zeros so far) is not taken for ours.
#[test]
fn our_flags_need_our_mark() {
    let own = OwnFlags::READS_ALL | OwnFlags::SAYS_ALL;
    let frame = Packet { header: Header { own, ..some_header() }, body: Body::AuthAck }.encode();
    assert_eq!((frame.len(), &frame[2244..2246]), (HEADER_LEN, &b"S\x03"[..]));
    let read = |mark: [u8; 2]| {
        let mut frame = frame.clone();
        frame[2244..2246].copy_from_slice(&mark);
        decode(&frame).unwrap().header.own
    };
    assert_eq!(read(*b"S\x03"), own);
    assert_eq!((read([0, 3]), read([0, 0]), read([b'X', 1])), Default::default());
}

/// A PING with one extension of that type and payload, as somebody else would write it.
fn ping_with(kind: u16, payload: &[u8]) -> Result<Extension, DecodeError> {
    let extension = Extension::Unknown { kind, payload: payload.to_vec() };
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions: vec![extension] });
    let packet = decode(&Packet { header: some_header(), body }.encode())?;
    Ok(packet.body.heartbeat().unwrap().extensions[0].clone())
}

#[test]
fn type_four_in_both_dialects() {
    let secret = [b'a'; 40];
    assert_eq!(ping_with(4, &secret), Ok(Extension::InternalSecret(secret)));
    assert_eq!(ping_with(4, b"10.0.0.1\0\0\0\0\0\0\0\0"), Ok(Extension::ClientIpv4("10.0.0.1".into())));
    let forty_bytes_of_text = [&b"10.0.0.1"[..], &[0; 32]].concat();
    assert_eq!(ping_with(4, &forty_bytes_of_text), Ok(Extension::ClientIpv4("10.0.0.1".into())));
}

#[test]
fn payloads_of_the_wrong_form_are_skipped() {
    for (kind, payload) in
        [(3, vec![b'x'; 40]), (3, vec![b'a'; 32]), (2, vec![0; 48]), (6, vec![]), (0, vec![0xff; 8])]
    {
        assert_eq!(ping_with(kind, &payload), Ok(Extension::Unknown { kind, payload }));
    }
}

#[test]
fn extension_lengths() {
    let extensions = vec![Extension::ShardId(NodeId::from_bytes([1; 20]))];
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions });
    let frame = Packet { header: some_header(), body }.encode();
    for len in [0u32, 7, 44] {
        let mut bad = frame.clone();
        bad[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&len.to_be_bytes());
        assert_eq!(decode(&bad), Err(DecodeError::ExtensionLength { kind: 3, len }));
    }
    for len in [40u32, 56, u32::MAX - 7] {
        let mut bad = frame.clone();
        bad[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&len.to_be_bytes());
        assert!(matches!(decode(&bad), Err(DecodeError::Length { what: "ping", .. })), "{len}");
    }
}

/// Redis 7.0 looks for extensions only where the flag says so.
#[test]
fn extensions_need_their_flag() {
    let extensions = vec![Extension::Hostname("a".into())];
    let body = Body::Ping(Heartbeat { gossip: Vec::new(), extensions });
    let mut frame = Packet { header: some_header(), body }.encode();
    frame[2253] = 0;
    assert!(matches!(decode(&frame), Err(DecodeError::Length { what: "ping", .. })));
}

#[test]
fn other_versions_and_names() {
    let mut frame = Packet { header: some_header(), body: Body::AuthAck }.encode();
    frame[9] = 2;
    assert_eq!(decode(&frame), Err(DecodeError::Version(2)));
    frame[9] = 1;
    frame[40] = b'G';
    assert!(matches!(decode(&frame), Err(DecodeError::NodeId { field: "sender", .. })));
}

/// Redis takes any text as announced IP; what is none is as if nothing was announced.
#[test]
fn an_announced_host_name_is_no_ip() {
    let mut frame = Packet { header: some_header(), body: Body::AuthAck }.encode();
    frame[2168..2173].copy_from_slice(b"hosty");
    assert_eq!(decode(&frame).unwrap().header.ip, None);
}

#[test]
fn light_headers() {
    let light = |kind: u16, data: &[u8]| {
        let mut frame = prefix((LIGHT_HEADER_LEN + data.len()) as u32, kind);
        frame.extend_from_slice(&[0, 0]);
        frame.extend_from_slice(data);
        decode_light(&frame)
    };
    let data = b"\0\0\0\x01\0\0\0\x02cmm";
    let publication = Publication { channel: b"c".to_vec(), message: b"mm".to_vec() };
    assert_eq!(light(LIGHT_BIT | 4, data), Ok(Body::Publish(publication.clone())));
    assert_eq!(light(LIGHT_BIT | 10, data), Ok(Body::PublishShard(publication)));
    assert_eq!(light(4, data), Err(DecodeError::LightKind(4)));
    assert_eq!(light(LIGHT_BIT, data), Err(DecodeError::LightKind(LIGHT_BIT)));
    assert!(light(LIGHT_BIT | 4, &data[..10]).is_err());
    let module = ModuleMessage { module: *b"12345678", kind: 3, payload: b"xy".to_vec() };
    assert_eq!(light(LIGHT_BIT | 9, b"12345678\0\0\0\x02\x03xy"), Ok(Body::Module(module)));
}

#[test]
fn flags_in_words() {
    let flags = NodeFlags::from_bits(0x8011);
    assert_eq!(format!("{flags:?}"), "{master, myself, 0x8000}");
    assert_eq!(flags.without(NodeFlags::MYSELF).bits(), 0x8001);
    assert!(flags.contains(NodeFlags::MASTER) && !flags.contains(NodeFlags::MASTER | NodeFlags::FAIL));
    assert!(flags.intersects(NodeFlags::MASTER | NodeFlags::FAIL));
}
