//! What a master sends and our node cannot keep: the link stops, the log names it, and nothing is skipped.

use crate::digest::tail;
use crate::support::{SOON, alone, follow, link, ports, wait_log, wait_offset, wait_up};
use anyhow::{Result, ensure};
use e2e::{Binary, Server, wait};
use node_server_protocol::resp::Reply;

/// A master and our node that follows it.
fn pair(master: Binary, ports: &e2e::PortBlock, databases: u16) -> Result<(Server, Server)> {
    let master = Server::start(alone(master, ports.port(0)))?;
    let replica = Server::start(alone(Binary::NodeServer, ports.port(1)).with("databases", databases))?;
    master.client()?.call(&["SET", "before", "1"])?;
    follow(&replica, master.port())?;
    wait_up(&replica)?;
    wait_offset(&master, &replica)?;
    Ok((master, replica))
}

/// The master runs `commands` and a SET behind them. Our node stops before the first of them, by name.
fn stops(master: Binary, commands: &[&[&str]], named: &str, databases: u16) -> Result<()> {
    let ports = ports(2)?;
    let (master, replica) = pair(master, &ports, databases)?;
    let mut client = master.client()?;
    for command in commands {
        client.call(command)?;
    }
    client.call(&["SET", "behind", "1"])?;
    wait::until("the link is down", SOON, || link(&replica) == "down")?;
    wait_log(&replica, named)?;
    let log = replica.log();
    let line = log.lines().find(|line| line.contains(named)).unwrap_or_default();
    ensure!(line.contains("ERROR") || line.contains(" # "), "not an error: {line}");
    // Nothing behind it was applied, and the link stays down: this is no pause of some milliseconds.
    let mut reader = replica.client()?;
    ensure!(reader.call(&["GET", "behind"])? == Reply::Null, "{}", tail(&replica));
    ensure!(reader.text(&["GET", "before"])? == "1");
    ensure!(link(&replica) == "down");
    let Reply::Array(role) = reader.call(&["ROLE"])? else { anyhow::bail!("ROLE is no array") };
    ensure!(role.get(3) == Some(&Reply::Bulk(b"connect".to_vec())), "{role:?}");
    // Another REPLICAOF brings everything, by a full sync.
    reader.call(&["REPLICAOF", "NO", "ONE"])?;
    follow(&replica, master.port())?;
    if databases == 16 {
        wait_up(&replica)?;
        wait_offset(&master, &replica)?;
        ensure!(reader.text(&["GET", "behind"])? == "1");
    }
    Ok(())
}

const HSET: &[&[&str]] = &[&["HSET", "h", "f", "v"]];

#[test]
fn a_command_that_we_do_not_know_stops_the_link_to_redis() -> Result<()> {
    stops(Binary::Redis, HSET, "'HSET'", 16)
}

#[test]
fn a_command_that_we_do_not_know_stops_the_link_to_valkey() -> Result<()> {
    stops(Binary::Valkey, HSET, "'HSET'", 16)
}

/// Not even what stands before it in the same transaction is applied.
#[test]
fn a_transaction_with_such_a_command_is_not_applied_by_halves() -> Result<()> {
    let transaction: &[&[&str]] = &[&["MULTI"], &["SET", "behind", "0"], &["LPUSH", "l", "a"], &["EXEC"]];
    stops(Binary::Redis, transaction, "'LPUSH'", 16)?;
    stops(Binary::Valkey, transaction, "'LPUSH'", 16)?;
    // Known, and refused only when it runs.
    let copy = &["COPY", "before", "there", "DB", "1"];
    let transaction: &[&[&str]] = &[&["MULTI"], &["SET", "behind", "0"], copy, &["EXEC"]];
    stops(Binary::Redis, transaction, "'COPY'", 16)?;
    stops(Binary::Valkey, transaction, "'COPY'", 16)
}

#[test]
fn what_changes_several_databases_stops_the_link() -> Result<()> {
    stops(Binary::Redis, &[&["SWAPDB", "0", "1"]], "'SWAPDB'", 16)?;
    stops(Binary::Redis, &[&["COPY", "before", "there", "DB", "1"]], "'COPY'", 16)
}

#[test]
fn a_database_that_we_do_not_have_stops_the_link() -> Result<()> {
    for master in [Binary::Redis, Binary::Valkey] {
        stops(master, &[&["SELECT", "9"], &["SET", "x", "1"], &["SELECT", "0"]], "'SELECT'", 4)?;
    }
    Ok(())
}
