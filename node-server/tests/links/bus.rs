//! The bus thread, as another node sees it.

use super::*;
use e2e::PortBlock;
use node_server_protocol::bus::{
    Body, FRAME_PREFIX_LEN, Header, Heartbeat, MessageFlags, NodeFlags, OwnFlags, Packet, decode, frame_len,
};
use node_server_protocol::{Epoch, SlotSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// How long the slot is held.
const HELD: Duration = Duration::from_secs(2);
/// What a PONG may take meanwhile.
const PONG_MAX: Duration = Duration::from_millis(100);
/// How many may take longer where the machine is busy with something else, and how many there are at least: a node that
/// waited for the slot would send one, after [`HELD`].
const LATE_MAX: usize = 2;
const PONGS_MIN: usize = 10;
/// How often it may be looked at.
const ATTEMPTS: usize = 3;

/// A node that says PING and no more.
fn ping() -> Vec<u8> {
    let header = Header {
        sender: NodeId::from_bytes([7; 20]),
        port: 1,
        secondary_port: 0,
        bus_port: 2,
        ip: None,
        current_epoch: Epoch(0),
        config_epoch: Epoch(0),
        offset: 0,
        slots: SlotSet::new(),
        master: None,
        flags: NodeFlags::MASTER,
        cluster_down: false,
        message_flags: MessageFlags::default(),
        own: OwnFlags::default(),
    };
    Packet { header, body: Body::Ping(Heartbeat::default()) }.encode()
}

fn read_frame(stream: &mut TcpStream) -> Packet {
    let mut frame = vec![0; FRAME_PREFIX_LEN];
    stream.read_exact(&mut frame).unwrap();
    let len = frame_len(&frame).unwrap().unwrap();
    frame.resize(len, 0);
    stream.read_exact(&mut frame[FRAME_PREFIX_LEN..]).unwrap();
    decode(&frame).unwrap()
}

#[test]
fn a_pong_is_never_late() {
    let ports = PortBlock::reserve(1).unwrap();
    let server = Server::start(lone(ports.port(0)).with("enable-debug-command", "yes")).unwrap();
    let mut holder = server.client().unwrap();
    holder.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("it serves", SOON, || {
        holder.command(&["SET", "a", "b"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    let slot = key_slot(b"a").to_string();
    let are_early = |times: &[Duration]| {
        let late = times.iter().filter(|took| **took >= PONG_MAX).count();
        println!("{} PONGs, {late} late, the latest after {:?}", times.len(), times.iter().max());
        times.len() >= PONGS_MIN && late <= LATE_MAX
    };
    assert!((0..ATTEMPTS).any(|_| are_early(&pongs_beside_a_held_slot(&server, &slot))), "PONGs are late");
}

/// How long each PONG took while the slot was held.
fn pongs_beside_a_held_slot(server: &Server, slot: &str) -> Vec<Duration> {
    let mut holder = server.client().unwrap();
    let mut waiting: Vec<Client> = (0..20).map(|_| server.client().unwrap()).collect();
    let mut bus = TcpStream::connect(("127.0.0.1", server.port() + 10_000)).unwrap();
    bus.set_nodelay(true).unwrap();
    let held = Instant::now();
    holder.send(&e2e::client::request(&["DEBUG", "SLEEP-SLOT", slot, &HELD.as_secs().to_string()])).unwrap();
    for client in &mut waiting {
        client.send(&e2e::client::request(&["INCR", "{a}n"])).unwrap();
    }
    let mut times = Vec::new();
    while held.elapsed() < HELD - Duration::from_millis(100) {
        let began = Instant::now();
        bus.write_all(&ping()).unwrap();
        assert!(matches!(read_frame(&mut bus).body, Body::Pong(_)));
        times.push(began.elapsed());
        // CLUSTER commands pass the same thread.
        server.client().unwrap().text(&["CLUSTER", "INFO"]).unwrap();
    }
    assert_eq!(holder.read_reply().unwrap(), Reply::Simple("OK".into()));
    assert!(held.elapsed() >= HELD);
    for client in &mut waiting {
        assert!(matches!(client.read_reply().unwrap(), Reply::Integer(_)));
    }
    times
}

#[test]
fn nonsense_on_the_bus_is_hung_up_on() {
    let ports = PortBlock::reserve(1).unwrap();
    let server = Server::start(lone(ports.port(0))).unwrap();
    let mut bus = TcpStream::connect(("127.0.0.1", server.port() + 10_000)).unwrap();
    bus.set_read_timeout(Some(SOON)).unwrap();
    bus.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let closed = std::iter::repeat_with(|| bus.read(&mut [0]))
        .find(|read| !matches!(read, Err(e) if e.kind() == std::io::ErrorKind::Interrupted));
    let closed = closed.unwrap();
    assert!(
        matches!(closed, Ok(0)) || closed.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(server.client().unwrap().text(&["PING"]).unwrap(), "PONG");
}
