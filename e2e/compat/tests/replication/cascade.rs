//! A replica of a replica, of mixed kinds: the same bytes go through, and the one in the middle may start again.

use crate::digest::{tail, wait_all_equal};
use crate::generate::Generator;
use crate::run::{Pair, write};
use crate::support::{
    DATABASES, alone, commands, follow, info, payloads, ports, preload, seed, stat, wait_base, wait_offset,
    wait_up,
};
use anyhow::{Context, Result, ensure};
use e2e::{Binary, Server, wait};

fn middle(binary: Binary, port: u16, master: u16) -> Result<Server> {
    let spec = alone(binary, port);
    let spec = match binary {
        Binary::NodeServer => spec.with("appendonly", "yes").with("replicaof", format!("127.0.0.1 {master}")),
        // Only its RDB file says where it stands. SHUTDOWN writes it where there are save points.
        _ => spec.with("save", "3600 1000000"),
    };
    Server::start(spec)
}

fn cascade(top: Binary, between: Binary, below: Binary) -> Result<()> {
    let ports = ports(4)?;
    let real = if top == Binary::NodeServer { between } else { top };
    let payloads = payloads(real, ports.port(3))?;
    let top_is_ours = top == Binary::NodeServer;
    let top = Server::start(alone(top, ports.port(0)))?;
    preload(&top, top_is_ours, &payloads)?;
    let mut between = middle(between, ports.port(1), top.port())?;
    follow_unless_configured(&between, top.port())?;
    wait_up(&between)?;
    let below = Server::start(alone(below, ports.port(2)))?;
    follow(&below, between.port())?;
    wait_up(&below)?;
    let mut generator = Generator::new(seed(), payloads, false);
    let count = commands() / 2;
    let pair = Pair { master: &top, replicas: &[&between, &below], databases: &DATABASES, link: None };
    let before = pair.run(&mut generator, count, 0)?;
    let replid = info(&top, "replication", "master_replid")?;
    for server in [&between, &below] {
        ensure!(info(server, "replication", "master_replid")? == replid, "one history for all");
    }
    if !is_real(&between) {
        wait_base(&between)?;
    }
    // A flush was the last thing, and who is behind is waited for no longer than `shutdown-timeout`.
    wait_offset(&top, &between)?;
    wait_offset(&between, &below)?;
    between.stop()?;
    write(&mut top.client()?, &mut generator, 100)?;
    between.restart()?;
    follow_unless_configured(&between, top.port())?;
    wait_up(&between)?;
    wait::until("the one below follows again", crate::support::SOON, || {
        info(&between, "replication", "connected_slaves").is_ok_and(|count| count == "1")
    })
    .with_context(|| tail(&below))?;
    let pair = Pair { master: &top, replicas: &[&between, &below], databases: &DATABASES, link: None };
    let after = pair.run(&mut generator, count, 0)?;
    wait_all_equal(&top, pair.replicas, &DATABASES)?;
    let syncs = (stat(&top, "sync_full")?, stat(&top, "sync_partial_ok")?);
    println!("before {before:?}, after {after:?}; full and partial syncs of the one above: {syncs:?}");
    if !is_real(&between) {
        ensure!(syncs == (1, 1), "full and partial syncs: {syncs:?}\n{}", tail(&top));
        let below = (stat(&between, "sync_full")?, stat(&between, "sync_partial_ok")?);
        ensure!(below == (0, 1), "full and partial syncs below: {below:?}\n{}", tail(&between));
    }
    Ok(())
}

/// Ours is told by redis.conf; a real one by REPLICAOF, which it does not know any more after a start.
fn follow_unless_configured(between: &Server, master: u16) -> Result<()> {
    if info(between, "replication", "role")? == "master" {
        follow(between, master)?;
    }
    Ok(())
}

/// A real server in the middle that starts without `replicaof` is a master at first, and its history ends there.
fn is_real(server: &Server) -> bool {
    !server.log().contains("Slotkeeper")
}

#[test]
fn redis_follows_ours_that_follows_redis() -> Result<()> {
    cascade(Binary::Redis, Binary::NodeServer, Binary::Redis)
}

#[test]
fn valkey_follows_ours_that_follows_valkey() -> Result<()> {
    cascade(Binary::Valkey, Binary::NodeServer, Binary::Valkey)
}

#[test]
fn ours_follows_redis_that_follows_ours() -> Result<()> {
    cascade(Binary::NodeServer, Binary::Redis, Binary::NodeServer)
}

#[test]
fn ours_follows_valkey_that_follows_ours() -> Result<()> {
    cascade(Binary::NodeServer, Binary::Valkey, Binary::NodeServer)
}
