//! WAIT and WAITAOF with replicas of other kinds, and the signs of life between master and replica.

use crate::support::{SOON, alone, follow, info, ports, wait_offset, wait_up};
use anyhow::{Result, ensure};
use e2e::client::request;
use e2e::{Binary, Client, Server, wait};
use node_server_protocol::resp::Reply;

/// Milliseconds after which a WAIT that cannot succeed gives up.
const SHORT: &str = "200";
/// Milliseconds that no WAIT here needs; a client waits ten seconds for a reply.
const LONG: &str = "9000";

fn numbers(numbers: &[i64]) -> Reply {
    Reply::Array(numbers.iter().map(|n| Reply::Integer(*n)).collect())
}

fn pair(master: Binary, replica: Binary, ports: &e2e::PortBlock) -> Result<(Server, Server)> {
    let spec = |binary, port| alone(binary, port).with("appendonly", "yes").with("appendfsync", "everysec");
    let master = Server::start(spec(master, ports.port(0)))?;
    let replica = Server::start(spec(replica, ports.port(1)))?;
    follow(&replica, master.port())?;
    wait_up(&replica)?;
    wait_offset(&master, &replica)?;
    Ok((master, replica))
}

fn wait_counts(master: Binary, replica: Binary) -> Result<()> {
    let ports = ports(2)?;
    let (master, replica) = pair(master, replica, &ports)?;
    let mut client = master.client()?;
    for n in 0..20 {
        client.call(&["SET", "a", &n.to_string()])?;
        ensure!(client.call(&["WAIT", "1", LONG])? == Reply::Integer(1));
    }
    ensure!(client.call(&["WAIT", "2", SHORT])? == Reply::Integer(1));
    replica.pause()?;
    // It may still run for a moment.
    wait::until("a paused replica acknowledges nothing", SOON, || {
        let written = client.call(&["SET", "a", "b"]);
        written.is_ok() && client.call(&["WAIT", "1", SHORT]).is_ok_and(|reply| reply == Reply::Integer(0))
    })?;
    replica.resume()?;
    ensure!(client.call(&["WAIT", "1", LONG])? == Reply::Integer(1));
    Ok(())
}

#[test]
fn wait_counts_replicas_of_other_kinds() -> Result<()> {
    for real in [Binary::Redis, Binary::Valkey] {
        wait_counts(Binary::NodeServer, real)?;
        wait_counts(real, Binary::NodeServer)?;
    }
    Ok(())
}

/// What was written last gets to the master's own disk, and to nobody else's.
fn waits_in_vain(client: &mut Client) -> Result<()> {
    // First the master's alone, however long its disk takes.
    for (replicas, limit) in [("0", LONG), ("1", "500")] {
        let reply = client.call(&["WAITAOF", "1", replicas, limit])?;
        ensure!(reply == numbers(&[1, 0]), "WAITAOF 1 {replicas}: {reply:?}");
    }
    Ok(())
}

/// The replica's disk is behind what it acknowledges, and it says so.
fn waitaof_counts(master: Binary, replica: Binary) -> Result<()> {
    let ports = ports(2)?;
    let (master, replica) = pair(master, replica, &ports)?;
    let mut client = master.client()?;
    // The base of the sync takes a slow disk its time.
    wait::until("the replica's file is begun", SOON, || {
        let set = client.call(&["SET", "a", "first"]);
        set.and_then(|_| client.call(&["WAITAOF", "1", "1", "1000"])).is_ok_and(|r| r == numbers(&[1, 1]))
    })?;
    for n in 0..2 {
        client.call(&["SET", "a", &n.to_string()])?;
        let reply = client.call(&["WAITAOF", "1", "1", LONG])?;
        ensure!(reply == numbers(&[1, 1]), "{reply:?}\n{}", crate::digest::tail(&replica));
    }
    replica.client()?.call(&["CONFIG", "SET", "appendonly", "no"])?;
    client.call(&["SET", "a", "off"])?;
    waits_in_vain(&mut client)?;
    ensure!(client.call(&["WAIT", "1", LONG])? == Reply::Integer(1));
    Ok(())
}

#[test]
fn waitaof_counts_disks_of_valkey_and_valkey_ours() -> Result<()> {
    let pairs = [
        (Binary::NodeServer, Binary::Valkey),
        (Binary::Valkey, Binary::NodeServer),
        (Binary::NodeServer, Binary::NodeServer),
    ];
    at_once(pairs, waitaof_counts)
}

/// Redis 7.0 has no FACK: its replica is waited for in vain, and the master's own disk counts.
#[test]
fn a_replica_of_redis_tells_nothing_of_its_disk() -> Result<()> {
    let ports = ports(2)?;
    let (master, _replica) = pair(Binary::NodeServer, Binary::Redis, &ports)?;
    let mut client = master.client()?;
    client.call(&["SET", "a", "1"])?;
    waits_in_vain(&mut client)
}

/// Sent to both kinds, master and replica, with the append-only file off.
const ERRORS: &[&str] = &[
    "waitaof 2 0 0",
    "waitaof -1 0 0",
    "waitaof x 0 0",
    "waitaof 0 -1 0",
    "waitaof 0 x 0",
    "waitaof 0 0 x",
    "waitaof 0 0 -1",
    "waitaof 1 -1 x",
    "waitaof 1 0 0",
    "waitaof 1 0 x",
    "waitaof 0 0 9223372036854775807",
    "waitaof 0 99999999999999999999 50",
    "waitaof 0 0",
    "waitaof 0 0 0",
    "waitaof 0 1 50",
    "multi",
    "set a 1",
    "waitaof 0 1 1000",
    "exec",
];
/// The same for redis-server, whose words for WAIT on a replica are others than Valkey's.
const ERRORS_OF_WAIT: &[&str] =
    &["wait 0 -1", "wait 0 x", "wait x 0", "wait -1 0", "wait 0", "multi", "set a 1", "wait 1 1000", "exec"];

fn same_errors(commands: &[&str], binary: Binary) -> Result<()> {
    let ports = ports(2)?;
    let answers = |server: &Server| -> Result<Vec<Reply>> {
        let mut client = server.client()?;
        commands.iter().map(|text| client.command(&text.split(' ').collect::<Vec<_>>())).collect()
    };
    let ours = Server::start(alone(Binary::NodeServer, ports.port(0)))?;
    let theirs = Server::start(alone(binary, ports.port(1)))?;
    for role in ["master", "replica"] {
        let different: Vec<_> = commands
            .iter()
            .zip(answers(&ours)?.into_iter().zip(answers(&theirs)?))
            .filter(|(_, (ours, theirs))| ours != theirs)
            .collect();
        ensure!(different.is_empty(), "{role}, ours and theirs: {different:#?}");
        // Nobody listens there.
        follow(&ours, 1)?;
        follow(&theirs, 1)?;
    }
    Ok(())
}

#[test]
fn errors_of_waiting_are_those_of_redis_and_valkey() -> Result<()> {
    same_errors(ERRORS, Binary::Valkey)?;
    same_errors(ERRORS_OF_WAIT, Binary::Redis)
}

/// Who waits is told, and parted from, when the master is one no more or the file is turned off.
#[test]
fn who_waits_is_told_of_changes() -> Result<()> {
    for binary in [Binary::NodeServer, Binary::Valkey] {
        let ports = ports(1)?;
        let server = Server::start(alone(binary, ports.port(0)).with("appendonly", "yes"))?;
        let waits = |words: &[&str]| -> Result<Client> {
            let mut client = server.client()?;
            client.call(&["SET", "a", "1"])?;
            client.send(&request(words))?;
            let blocked = || info(&server, "clients", "blocked_clients").is_ok_and(|count| count == "1");
            wait::until("it waits", SOON, blocked)?;
            Ok(client)
        };
        let mut aof = waits(&["WAITAOF", "1", "1", "0"])?;
        server.client()?.call(&["CONFIG", "SET", "appendonly", "no"])?;
        let no_file = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        let reply = aof.read_reply()?;
        ensure!(reply == Reply::Error(no_file.into()), "{binary:?}: {reply:?}");
        for words in [&["WAITAOF", "0", "1", "0"][..], &["WAIT", "1", "0"]] {
            let mut client = waits(words)?;
            server.client()?.call(&["REPLICAOF", "127.0.0.1", "1"])?;
            let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
            let reply = client.read_reply()?;
            ensure!(reply == Reply::Error(text.into()), "{binary:?}: {reply:?}");
            ensure!(client.read_reply().is_err(), "{binary:?} closes the connection");
            server.client()?.call(&["REPLICAOF", "NO", "ONE"])?;
        }
    }
    Ok(())
}

/// A master without writes sends PINGs, and its replicas of the other kind acknowledge them.
#[test]
fn signs_of_life_go_both_ways() -> Result<()> {
    let pairs = [(Binary::NodeServer, Binary::Redis), (Binary::Redis, Binary::NodeServer)];
    at_once(pairs, both_live)
}

/// Each of them lasts some seconds in which nothing happens.
fn at_once<const N: usize>(
    pairs: [(Binary, Binary); N],
    test: fn(Binary, Binary) -> Result<()>,
) -> Result<()> {
    let tests = pairs.map(|(master, replica)| std::thread::spawn(move || test(master, replica)));
    tests.into_iter().try_for_each(|test| test.join().map_err(|_| anyhow::anyhow!("a panic"))?)
}

fn both_live(master: Binary, replica: Binary) -> Result<()> {
    let ports = ports(2)?;
    let spec =
        |binary, port| alone(binary, port).with("repl-ping-replica-period", 1).with("repl-timeout", 10);
    let master = Server::start(spec(master, ports.port(0)))?;
    let replica = Server::start(spec(replica, ports.port(1)))?;
    follow(&replica, master.port())?;
    wait_up(&replica)?;
    let offset = || -> Result<u64> { Ok(info(&master, "replication", "master_repl_offset")?.parse()?) };
    let acknowledged = |least: u64| {
        let line = info(&master, "replication", "slave0").unwrap_or_default();
        let offset = line.split(',').find_map(|part| part.strip_prefix("offset=")?.parse::<u64>().ok());
        offset.is_some_and(|offset| offset >= least)
    };
    let begin = offset()?;
    // Longer than `repl-timeout`, after which either would have given the other up.
    wait::until("the log has grown by 12 PINGs", SOON, || offset().is_ok_and(|now| now >= begin + 12 * 14))?;
    let end = offset()?;
    wait::until("the replica has acknowledged them", SOON, || acknowledged(end))?;
    ensure!(info(&master, "stats", "sync_full")? == "1" && info(&master, "stats", "sync_partial_ok")? == "0");
    Ok(())
}
