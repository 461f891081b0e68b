//! What nodes say of themselves beyond the common header goes both ways between our nodes and others, as far as each
//! understands it: host name (Redis 7.0 knows nothing else), name for people, shard id, what clients shall use,
//! availability zone, and which nodes to forget.

use anyhow::{Context, Result, ensure};
use e2e::{Binary, PortBlock, Server, ServerSpec, wait};
use e2e_compat::views::{self, SOON};
use std::fs;

/// What number `n` announces besides its host name.
fn announcements(n: u16) -> Vec<(&'static str, String)> {
    vec![
        ("cluster-announce-human-nodename", format!("name-{n}")),
        ("cluster-announce-client-ipv4", format!("192.0.2.{n}")),
        ("cluster-announce-client-ipv6", format!("2001:db8::{n}")),
        ("cluster-announce-client-port", format!("{}", 7000 + n)),
        ("availability-zone", format!("zone-{n}")),
    ]
}

fn node(binary: Binary, port: u16, n: u16) -> ServerSpec {
    let spec = ServerSpec::cluster_node(binary, port).with("cluster-node-timeout", "15000");
    spec.with("cluster-announce-hostname", format!("host-{n}.example"))
}

fn talkative(binary: Binary, port: u16, n: u16) -> ServerSpec {
    announcements(n).into_iter().fold(node(binary, port, n), |spec, (name, value)| spec.with(name, value))
}

/// The first introduces all others.
fn meet(servers: &[&Server]) -> Result<()> {
    let mut first = servers[0].client()?;
    for server in &servers[1..] {
        first.call(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string()])?;
    }
    let know = || servers.iter().all(|s| views::view(s.port()).is_ok_and(|v| v.len() == servers.len()));
    wait::until("all know all", SOON, know)
}

fn id(server: &Server) -> Result<String> {
    server.client()?.text(&["CLUSTER", "MYID"])
}

/// What `by` answers to a client about the node with that id.
fn line(by: &Server, id: &str) -> String {
    let text = by.client().and_then(|mut client| client.text(&["CLUSTER", "NODES"])).unwrap_or_default();
    text.lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned()
}

/// What it has on disk about it.
fn kept(by: &Server, id: &str) -> String {
    let text = fs::read_to_string(by.dir().join("nodes.conf")).unwrap_or_default();
    text.lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned()
}

fn wait_line(by: &Server, id: &str, part: &str) -> Result<()> {
    let what = format!("{} says {part:?} about {id}", by.port());
    wait::until(&what, SOON, || line(by, id).contains(part)).with_context(|| line(by, id))
}

fn wait_kept(by: &Server, id: &str, part: &str) -> Result<()> {
    let what = format!("{} keeps {part:?} about {id}", by.port());
    wait::until(&what, SOON, || kept(by, id).contains(part)).with_context(|| kept(by, id))
}

/// `by` knows all that number `n` announces, tells it to clients and keeps it on disk.
fn wait_known(by: &Server, of: &Server, n: u16) -> Result<()> {
    let other = id(of)?;
    let bus = of.port() + 10_000;
    wait_line(by, &other, &format!(" 192.0.2.{n}:{}@{bus},host-{n}.example ", 7000 + n))?;
    let shard = of.client()?.text(&["CLUSTER", "MYSHARDID"])?;
    let fields = [
        format!("{other} 127.0.0.1:{}@{bus},host-{n}.example,", of.port()),
        format!(",nodename=name-{n},"),
        format!(",client-ipv4=192.0.2.{n},"),
        format!(",client-ipv6=2001:db8::{n},"),
        format!(",client-tcp-port={},", 7000 + n),
        format!(",availability-zone=zone-{n},"),
        format!(",shard-id={shard} "),
    ];
    fields.iter().try_for_each(|field| wait_kept(by, &other, field))
}

fn with_valkey() -> Result<()> {
    let ports = PortBlock::reserve(4)?;
    let ours = Server::start(talkative(Binary::NodeServer, ports.port(0), 1))?;
    let valkey = Server::start(talkative(Binary::Valkey, ports.port(1), 2))?;
    let others = [2u16, 3].map(|i| Server::start(node(Binary::NodeServer, ports.port(i), i + 1)));
    let [third, fourth] = others;
    let (third, fourth) = (third?, fourth?);
    meet(&[&valkey, &ours, &third, &fourth])?;
    wait_known(&ours, &valkey, 2)?;
    wait_known(&valkey, &ours, 1)?;
    // Among our own as well, and through a restart.
    wait_known(&third, &ours, 1)?;
    wait_known(&third, &valkey, 2)?;
    // Changed, and taken back.
    ours.client()?.call(&["CONFIG", "SET", "cluster-announce-human-nodename", "renamed"])?;
    wait_kept(&valkey, &id(&ours)?, ",nodename=renamed,")?;
    wait_kept(&third, &id(&ours)?, ",nodename=renamed,")?;
    ours.client()?.call(&["CONFIG", "SET", "cluster-announce-client-ipv4", ""])?;
    for by in [&valkey, &third] {
        wait_line(by, &id(&ours)?, &format!(" 127.0.0.1:7001@{},", ours.port() + 10_000))?;
    }
    forgets(&ours, &valkey, &third)?;
    forgets(&valkey, &ours, &fourth)?;
    for server in [&ours, &valkey] {
        ensure!(!server.log().contains("unknown extension"), "{}", server.log());
    }
    Ok(())
}

/// One is told to forget a node, and the other does so too.
fn forgets(told: &Server, hears: &Server, node: &Server) -> Result<()> {
    let gone = id(node)?;
    told.client()?.call(&["CLUSTER", "FORGET", &gone])?;
    wait::until(&format!("{} has heard of it", hears.port()), SOON, || line(hears, &gone).is_empty())
}

fn with_redis() -> Result<()> {
    let ports = PortBlock::reserve(3)?;
    let ours = Server::start(talkative(Binary::NodeServer, ports.port(0), 1))?;
    let redis = Server::start(node(Binary::Redis, ports.port(1), 2))?;
    let third = Server::start(node(Binary::NodeServer, ports.port(2), 3))?;
    meet(&[&ours, &redis, &third])?;
    wait_line(&ours, &id(&redis)?, ",host-2.example ")?;
    let own = format!(" 127.0.0.1:{}@{},host-1.example ", ours.port(), ours.port() + 10_000);
    wait_line(&redis, &id(&ours)?, &own)?;
    forgets_alone(&ours, &redis, &third)?;
    ensure!(!redis.log().contains("unknown extension"), "{}", redis.log());
    // Its host name goes, and comes again.
    for (name, part) in
        [("", format!("@{} ", redis.port() + 10_000)), ("again.example", ",again.example ".into())]
    {
        redis.client()?.call(&["CONFIG", "SET", "cluster-announce-hostname", name])?;
        wait_line(&ours, &id(&redis)?, &part)?;
    }
    Ok(())
}

/// Redis 7.0 is not told, since it would only complain; it goes on as if nothing had happened.
fn forgets_alone(told: &Server, other: &Server, node: &Server) -> Result<()> {
    let gone = id(node)?;
    told.client()?.call(&["CLUSTER", "FORGET", &gone])?;
    let pings = || -> Result<u64> {
        Ok(views::cluster_info(other.port(), "cluster_stats_messages_ping_received")?.parse()?)
    };
    // Redis shows no counter that is 0.
    wait::until("a heartbeat", SOON, || pings().is_ok())?;
    let before = pings()?;
    wait::until("some more heartbeats", SOON, || pings().is_ok_and(|now| now >= before + 5))?;
    ensure!(!line(other, &gone).is_empty(), "it knows nothing of such messages");
    Ok(())
}

#[test]
fn all_is_exchanged_with_valkey() {
    with_valkey().unwrap();
}

#[test]
fn host_names_are_exchanged_with_redis() {
    with_redis().unwrap();
}
