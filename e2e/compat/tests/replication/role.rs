//! REPLICAOF, ROLE, INFO and redis.conf outside of a cluster, held against redis-server's.

use crate::digest::wait_equal;
use crate::support::{
    DATABASES, SOON, alone, fill_types, follow, info, link, payloads, ports, preload, stat, wait_offset,
    wait_up,
};
use anyhow::{Context as _, Result, ensure};
use e2e::{Binary, Client, Server, ServerSpec, wait};
use node_server_protocol::resp::Reply;

/// Sent to both kinds in turn, while the master on the port `P` lives. `wait` waits for the link.
const CONVERSATION: &[&str] = &[
    "replicaof",
    "replicaof a b",
    "replicaof a 65536",
    "replicaof a -1",
    "slaveof a 99999999999999999999",
    "replicaof no two",
    "replicaof no one",
    "config get replicaof",
    "config get slaveof",
    "config set replicaof no one",
    "role",
    "replicaof 127.0.0.1 P",
    "replicaof 127.0.0.1 P",
    "slaveof 127.0.0.1 P",
    "config get replicaof",
    "config get slaveof",
    "wait",
    "get a",
    "set a 2",
    "del a",
    "flushall",
    "migrate 127.0.0.1 1 a 0 100",
    "wait 0 0",
    "multi",
    "set a 2",
    "exec",
    "multi",
    "get a",
    "exec",
    "dbsize",
    "select 3",
    "get b",
    "expire b 10",
    "select 0",
    "slaveof no one",
    "role",
    "set a 3",
    "get a",
    "config get replicaof",
];

fn answers(server: &Server, master: u16) -> Result<Vec<(String, Reply)>> {
    let mut client = server.client()?;
    let mut answers = Vec::new();
    for command in CONVERSATION {
        if *command == "wait" {
            wait_up(server)?;
            continue;
        }
        let text = command.replace('P', &master.to_string());
        let words: Vec<&str> = text.split(' ').collect();
        let reply = match client.command(&words)? {
            // The offset depends on when PINGs come.
            Reply::Array(mut items) if *command == "role" => {
                items.truncate(1);
                Reply::Array(items)
            }
            reply => reply,
        };
        answers.push((text, reply));
    }
    Ok(answers)
}

#[test]
fn replicaof_answers_as_redis_does() -> Result<()> {
    let ports = ports(3)?;
    let master = Server::start(alone(Binary::Redis, ports.port(0)))?;
    let mut client = master.client()?;
    client.call(&["SET", "a", "1"])?;
    client.call(&["SELECT", "3"])?;
    client.call(&["SET", "b", "1"])?;
    let ours = Server::start(alone(Binary::NodeServer, ports.port(1)))?;
    let theirs = Server::start(alone(Binary::Redis, ports.port(2)))?;
    let (ours, theirs) = (answers(&ours, master.port())?, answers(&theirs, master.port())?);
    let different: Vec<_> = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).collect();
    ensure!(different.is_empty(), "ours and theirs: {different:#?}");
    Ok(())
}

#[test]
fn in_a_cluster_replicaof_is_refused_as_in_redis() -> Result<()> {
    let ports = ports(2)?;
    let reply = |binary, port| -> Result<Vec<Reply>> {
        let server = Server::start(ServerSpec::cluster_node(binary, port))?;
        let mut client = server.client()?;
        let commands = [["REPLICAOF", "a", "b"], ["SLAVEOF", "NO", "ONE"], ["REPLICAOF", "127.0.0.1", "1"]];
        commands.iter().map(|command| client.command(command)).collect()
    };
    let ours = reply(Binary::NodeServer, ports.port(0))?;
    ensure!(ours == reply(Binary::Redis, ports.port(1))?, "{ours:?}");
    ensure!(ours[0] == Reply::Error("ERR REPLICAOF not allowed in cluster mode.".into()), "{ours:?}");
    Ok(())
}

/// Fields of INFO replication that both kinds have to have, and those whose values have to be the same.
fn fields(server: &Server) -> Result<(Vec<String>, Vec<String>)> {
    let text = server.client()?.text(&["INFO", "replication"])?;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(':')).collect();
    let names = lines.iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect();
    let same = ["role", "master_host", "master_link_status", "master_sync_in_progress", "slave_priority"];
    let same = [&same[..], &["slave_read_only", "replica_announced", "connected_slaves"]].concat();
    let is_same = |line: &&&str| same.iter().any(|name| line.starts_with(&format!("{name}:")));
    Ok((names, lines.iter().filter(is_same).map(|line| (*line).to_owned()).collect()))
}

#[test]
fn info_tells_of_a_replica_what_redis_tells() -> Result<()> {
    let ports = ports(3)?;
    let mut master = Server::start(alone(Binary::Redis, ports.port(0)))?;
    let ours = Server::start(alone(Binary::NodeServer, ports.port(1)))?;
    let theirs = Server::start(alone(Binary::Redis, ports.port(2)))?;
    for replica in [&ours, &theirs] {
        follow(replica, master.port())?;
        wait_up(replica)?;
        wait_offset(&master, replica)?;
    }
    let (ours_up, theirs_up) = (fields(&ours)?, fields(&theirs)?);
    ensure!(ours_up == theirs_up, "up: {ours_up:#?} and {theirs_up:#?}");
    let replid = |server: &Server| info(server, "replication", "master_replid");
    ensure!(replid(&ours)? == replid(&master)?);
    master.kill()?;
    for replica in [&ours, &theirs] {
        wait::until("the link is down", SOON, || link(replica) == "down")?;
    }
    let (ours_down, theirs_down) = (fields(&ours)?, fields(&theirs)?);
    ensure!(ours_down == theirs_down, "down: {ours_down:#?} and {theirs_down:#?}");
    Ok(())
}

/// redis.conf makes a replica before anybody is served, REPLICAOF NO ONE a master, and CONFIG REWRITE keeps it.
#[test]
fn redis_conf_names_the_master() -> Result<()> {
    let ports = ports(2)?;
    let master = Server::start(alone(Binary::NodeServer, ports.port(0)))?;
    master.client()?.call(&["SET", "a", "1"])?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("redis.conf");
    let port = ports.port(1);
    std::fs::write(&file, format!("port {port}\nslaveof localhost {}\nsave \"\"\n", master.port()))?;
    let start = || {
        let mut command = std::process::Command::new(Binary::NodeServer.path()?);
        let log = std::fs::File::options().create(true).append(true).open(dir.path().join("log"))?;
        command.current_dir(dir.path()).arg(&file).stdin(std::process::Stdio::null());
        Ok::<_, anyhow::Error>(Killed(command.stdout(log.try_clone()?).stderr(log).spawn()?))
    };
    let ask = |words: &[&str]| Client::local(port)?.command(words);
    let read_only = Reply::Error("READONLY You can't write against a read only replica.".into());
    let process = start()?;
    wait::until("it answers", SOON, || ask(&["PING"]).is_ok())?;
    ensure!(ask(&["SET", "a", "2"])? == read_only);
    wait::until("it has the key", SOON, || {
        ask(&["GET", "a"]).is_ok_and(|reply| reply == Reply::Bulk(b"1".to_vec()))
    })?;
    ensure!(ask(&["REPLICAOF", "NO", "ONE"])? == Reply::Simple("OK".into()));
    ensure!(ask(&["SET", "a", "2"])? == Reply::Simple("OK".into()));
    ensure!(ask(&["CONFIG", "REWRITE"])? == Reply::Simple("OK".into()));
    let text = std::fs::read_to_string(&file)?;
    ensure!(!text.contains("slaveof localhost"), "{text}");
    ensure!(ask(&["REPLICAOF", "127.0.0.1", &master.port().to_string()])? == Reply::Simple("OK".into()));
    ensure!(ask(&["CONFIG", "REWRITE"])? == Reply::Simple("OK".into()));
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains(&format!("replicaof 127.0.0.1 {}", master.port())), "{text}");
    drop(process);
    let _process = start()?;
    wait::until("it answers again", SOON, || ask(&["PING"]).is_ok())?;
    ensure!(ask(&["SET", "a", "3"])? == read_only);
    Ok(())
}

/// A process that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With a snapshot of known length and of unknown length, and with all ways in which a real replica reads ours.
#[test]
fn snapshots_cross_in_every_form() -> Result<()> {
    for real in [Binary::Redis, Binary::Valkey] {
        let ports = ports(3)?;
        let payloads = payloads(real, ports.port(2))?;
        for diskless in ["yes", "no"] {
            let master = Server::start(alone(real, ports.port(0)).with("repl-diskless-sync", diskless))?;
            preload(&master, false, &payloads)?;
            in_database(&master, "3")?;
            let replica = Server::start(alone(Binary::NodeServer, ports.port(1)))?;
            follow(&replica, master.port())?;
            wait_up(&replica)?;
            let digest = wait_equal(&master, &replica, &DATABASES)?;
            ensure!(digest.types().len() == 6, "{:?}", digest.types());
        }
        for load in ["disabled", "on-empty-db", "swapdb"] {
            let master = Server::start(alone(Binary::NodeServer, ports.port(0)))?;
            preload(&master, true, &payloads)?;
            in_database(&master, "9")?;
            let replica = Server::start(alone(real, ports.port(1)).with("repl-diskless-load", load))?;
            if load != "on-empty-db" {
                fill_types(&mut replica.client()?)?;
            }
            follow(&replica, master.port())?;
            wait_up(&replica)?;
            wait_equal(&master, &replica, &DATABASES)?;
        }
    }
    Ok(())
}

fn in_database(server: &Server, db: &str) -> Result<()> {
    let mut client = server.client()?;
    client.call(&["SELECT", db])?;
    client.call(&["SET", "{t}here", db])?;
    Ok(())
}

/// A master of ours that becomes the replica of one that followed it goes on where it stands, and so does a second
/// replica (PSYNC2).
#[test]
fn roles_change_without_a_full_sync() -> Result<()> {
    for real in [Binary::Redis, Binary::Valkey] {
        let ports = ports(3)?;
        // A PING that only one of them has would make another one's log no beginning of its.
        let spec = |binary, n| alone(binary, ports.port(n)).with("repl-ping-replica-period", 3600);
        let start = |binary, n| Server::start(spec(binary, n).with("repl-timeout", 3600));
        let (a, b) = (start(Binary::NodeServer, 0)?, start(real, 1)?);
        let c = start(Binary::NodeServer, 2)?;
        for replica in [&b, &c] {
            follow(replica, a.port())?;
            wait_up(replica)?;
        }
        let mut client = a.client()?;
        client.call(&["SELECT", "9"])?;
        client.call(&["SET", "{t}a", "1"])?;
        wait_offset(&a, &b)?;
        wait_offset(&a, &c)?;
        b.client()?.call(&["REPLICAOF", "NO", "ONE"])?;
        for replica in [&a, &c] {
            follow(replica, b.port())?;
            wait_up(replica)?;
        }
        in_database(&b, "3")?;
        wait_equal(&b, &a, &DATABASES)?;
        wait_equal(&b, &c, &DATABASES)?;
        let syncs = (stat(&b, "sync_full")?, stat(&b, "sync_partial_ok")?);
        ensure!(
            syncs == (0, 2),
            "full and partial syncs of {real:?}: {syncs:?}\n{}",
            crate::digest::tail(&b)
        );
        // And back. On a busy machine the second replica came to `a` once more before it was told where to go.
        let partial = stat(&a, "sync_partial_ok")?;
        a.client()?.call(&["REPLICAOF", "NO", "ONE"])?;
        follow(&b, a.port())?;
        wait_up(&b)?;
        in_database(&a, "9")?;
        wait_equal(&a, &b, &DATABASES)?;
        let syncs = (stat(&a, "sync_full")?, stat(&a, "sync_partial_ok")?);
        ensure!(
            syncs == (2, partial + 1),
            "full and partial syncs of ours: {syncs:?}\n{}",
            crate::digest::tail(&a)
        );
    }
    Ok(())
}

/// `a` gets `b` as its replica and changes places with it when that has everything: one partial sync, nothing missing.
fn fail_over(a: &Server, b: &Server) -> Result<()> {
    follow(b, a.port())?;
    wait_up(b)?;
    in_database(a, "9")?;
    wait_offset(a, b)?;
    a.client()?.call(&["FAILOVER", "TO", "127.0.0.1", &b.port().to_string(), "TIMEOUT", "20000"])?;
    wait::until("the old master is a replica", SOON, || {
        info(a, "replication", "role").is_ok_and(|role| role == "slave") && link(a) == "up"
    })
    .with_context(|| crate::digest::tail(a))?;
    ensure!(info(b, "replication", "role")? == "master");
    in_database(b, "3")?;
    wait_equal(b, a, &DATABASES)?;
    let syncs = (stat(b, "sync_full")?, stat(b, "sync_partial_ok")?);
    ensure!(syncs == (0, 1), "full and partial syncs: {syncs:?}\n{}", crate::digest::tail(a));
    Ok(())
}

/// FAILOVER TO of a real master: its replica of ours takes over when it has everything, and the master follows it.
#[test]
fn a_real_master_changes_places_with_our_replica() -> Result<()> {
    for real in [Binary::Redis, Binary::Valkey] {
        let ports = ports(2)?;
        let (a, b) = (
            Server::start(alone(real, ports.port(0)))?,
            Server::start(alone(Binary::NodeServer, ports.port(1)))?,
        );
        fail_over(&a, &b)?;
        ensure!(b.client()?.call(&["CONFIG", "GET", "replicaof"])? == config_reply("replicaof", ""));
    }
    Ok(())
}

/// The other way: FAILOVER of ours, to a real replica.
#[test]
fn our_master_changes_places_with_a_real_replica() -> Result<()> {
    for real in [Binary::Redis, Binary::Valkey] {
        let ports = ports(2)?;
        let (a, b) = (
            Server::start(alone(Binary::NodeServer, ports.port(0)))?,
            Server::start(alone(real, ports.port(1)))?,
        );
        fail_over(&a, &b)?;
        ensure!(info(&a, "replication", "master_failover_state")? == "no-failover");
        // And back.
        b.client()?.call(&["FAILOVER", "TIMEOUT", "20000"])?;
        wait::until("it is the master again", SOON, || {
            info(&a, "replication", "role").is_ok_and(|role| role == "master") && link(&b) == "up"
        })?;
        in_database(&a, "0")?;
        wait_equal(&a, &b, &DATABASES)?;
    }
    Ok(())
}

fn config_reply(name: &str, value: &str) -> Reply {
    Reply::Array(vec![Reply::Bulk(name.into()), Reply::Bulk(value.into())])
}
