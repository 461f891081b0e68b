//! What a node says of itself beyond the header, to whom, and what it learns so of others.
#![allow(clippy::unwrap_used, reason = "failures panic")]

mod lone;

use lone::{Lone, command, header, id, packets, ping};
use node_server_cluster::{Input, Output};
use node_server_protocol::NodeId;
use node_server_protocol::bus::{Body, Extension, Header, Heartbeat, NodeFlags, Packet};

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
    lone.hear(header(2), lone::gossip(9, NodeFlags::MASTER));
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
