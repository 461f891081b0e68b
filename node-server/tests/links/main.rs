//! Real processes as one cluster: bus, replication, handover, MIGRATE, nodes.conf.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod bus;
mod copies;
mod durable;
mod failover;
mod files;
mod hand_over;
mod loading;
mod migrate;
mod orphan;
mod passwords;
mod peer;
mod replicas;
mod replication;
mod standalone;

use e2e::{Binary, Client, LocalCluster, Server, ServerSpec, Shape, client::info_field, wait};
use node_server_protocol::resp::Reply;
use node_server_protocol::topology::NodeLine;
use node_server_protocol::{NodeId, Slot, key_slot};
use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// A cluster in which every node knows who replicates whom.
pub fn cluster(masters: u16, replicas: u16) -> LocalCluster {
    LocalCluster::start(Binary::NodeServer, &Shape::new(masters, replicas)).unwrap()
}

/// The same, and a node that a busy machine holds up is not given up.
pub fn steady(masters: u16, replicas: u16) -> LocalCluster {
    LocalCluster::start(Binary::NodeServer, &Shape::new(masters, replicas).without_failover()).unwrap()
}

/// A node of no cluster yet.
pub fn lone(port: u16) -> ServerSpec {
    ServerSpec::cluster_node(Binary::NodeServer, port)
}

/// A field of INFO.
pub fn info(server: &Server, section: &str, field: &str) -> String {
    let text = server.client().unwrap().text(&["INFO", section]).unwrap();
    info_field(&text, field).unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

/// How often MEET is said: a handshake that a busy machine holds up is given up, and nobody says it again.
const MEET_EVERY: Duration = Duration::from_millis(500);

/// Makes `replica` follow the master behind a connection as soon as it knows that one.
pub fn meet_and_follow(master: &mut Client, replica: &Server) {
    let (name, port) = (master.text(&["CLUSTER", "MYID"]).unwrap(), replica.port().to_string());
    let mut met: Option<Instant> = None;
    wait::until("the master may be followed", SOON, || {
        if met.is_none_or(|at| at.elapsed() >= MEET_EVERY) {
            master.call(&["CLUSTER", "MEET", "127.0.0.1", &port]).unwrap();
            met = Some(Instant::now());
        }
        let reply = replica.client().unwrap().command(&["CLUSTER", "REPLICATE", &name]);
        reply.unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
}

/// Whether a line says that the node has failed.
pub fn is_failed(line: &NodeLine) -> bool {
    line.flags.contains(node_server_protocol::bus::NodeFlags::FAIL)
}

pub fn id(server: &Server) -> NodeId {
    server.client().unwrap().text(&["CLUSTER", "MYID"]).unwrap().parse().unwrap()
}

/// Keys `prefix0` and so on that lie in the slots of a master of `of` with even shares.
pub fn keys_of(master: u32, of: u32, prefix: &str, count: usize) -> Vec<String> {
    let owner = |slot: Slot| u32::from(slot.number()) * of / 16_384;
    let names = (0..).map(|n| format!("{prefix}{n}"));
    names.filter(|key| owner(key_slot(key.as_bytes())) == master).take(count).collect()
}

/// Sets keys to `value-KEY`, pipelined.
pub fn set_all(client: &mut Client, keys: &[String]) {
    let requests: Vec<u8> =
        keys.iter().flat_map(|key| e2e::client::request(&["SET", key, &format!("value-{key}")])).collect();
    client.send(&requests).unwrap();
    for key in keys {
        assert_eq!(client.read_reply().unwrap(), Reply::Simple("OK".into()), "{key}");
    }
}

/// Whether all keys have the values of [`set_all`] on this node.
pub fn has_all(client: &mut Client, keys: &[String]) -> bool {
    let requests: Vec<u8> = keys.iter().flat_map(|key| e2e::client::request(&["GET", key])).collect();
    client.send(&requests).unwrap();
    let right =
        |key: &String| client.read_reply().unwrap() == Reply::Bulk(format!("value-{key}").into_bytes());
    // No short cut: every reply has to be read.
    keys.iter().map(right).filter(|right| *right).count() == keys.len()
}

/// Waits until both have the same end of the log.
pub fn wait_same_offset(master: &Server, replica: &Server) {
    wait::until("the replica has all of the log", SOON, || {
        info(master, "replication", "master_repl_offset")
            == info(replica, "replication", "master_repl_offset")
    })
    .unwrap();
}

pub fn wait_role(server: &Server, role: &str) {
    wait_role_within(server, role, SOON);
}

pub fn wait_role_within(server: &Server, role: &str, limit: Duration) {
    wait::until(&format!("port {} is {role}", server.port()), limit, || {
        server.client().and_then(|mut c| c.call(&["ROLE"])).is_ok_and(
            |reply| matches!(&reply, Reply::Array(items) if items.first() == Some(&Reply::Bulk(role.into()))),
        )
    })
    .unwrap_or_else(|error| panic!("{error}; its log:\n{}", server.log()));
}
