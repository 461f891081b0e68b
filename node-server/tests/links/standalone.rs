//! Masters and replicas outside of a cluster: what Sentinel and an operator's tools do with them.

use super::*;
use e2e::PortBlock;
use rustix::process::Signal;

const OK: &str = "OK";
/// The reply to a SHUTDOWN that does not come about.
const REFUSED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

pub fn ok() -> Reply {
    Reply::Simple(OK.into())
}

pub fn alone(ports: &PortBlock, n: u16) -> Server {
    let spec = ServerSpec::new(Binary::NodeServer, ports.port(n)).with("enable-debug-command", "yes");
    Server::start(spec).unwrap()
}

/// `n` servers, each the replica of the one before.
fn chain(ports: &PortBlock, n: u16) -> Vec<Server> {
    let servers: Vec<Server> = (0..n).map(|n| alone(ports, n)).collect();
    for pair in servers.windows(2) {
        let port = pair[0].port().to_string();
        assert_eq!(pair[1].client().unwrap().call(&["REPLICAOF", "127.0.0.1", &port]).unwrap(), ok());
        wait_up(&pair[1]);
    }
    servers
}

pub fn wait_up(replica: &Server) {
    wait::until("the link is up", SOON, || info(replica, "replication", "master_link_status") == "up")
        .unwrap_or_else(|error| panic!("{error}:\n{}", replica.log()));
}

pub fn stat(server: &Server, name: &str) -> String {
    info(server, "stats", name)
}

fn listed(server: &Server, kind: &str) -> Vec<String> {
    let text = server.client().unwrap().text(&["CLIENT", "LIST", "TYPE", kind]).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn field<'l>(line: &'l str, name: &str) -> &'l str {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

/// CLIENT LIST and KILL knew only those who send requests.
#[test]
fn clients_are_also_replicas_and_the_master() {
    let ports = PortBlock::reserve(3).unwrap();
    let servers = chain(&ports, 3);
    let (top, middle) = (&servers[0], &servers[1]);
    let replica = listed(top, "replica");
    assert_eq!((replica.len(), field(&replica[0], "flags")), (1, "S"), "{replica:?}");
    assert_eq!(listed(top, "slave").len(), 1);
    let master = listed(middle, "master");
    assert_eq!((master.len(), field(&master[0], "flags")), (1, "M"), "{master:?}");
    // Two ends of one connection.
    assert_eq!(field(&replica[0], "addr"), field(&master[0], "laddr"));
    assert!(listed(top, "master").is_empty() && listed(top, "pubsub").is_empty());
    wait::until("a replica is no client there, as in Redis", SOON, || {
        info(top, "clients", "connected_clients") == "1"
    })
    .unwrap();

    // psync2-pingoff: the master cuts the link, and the replica's replica stays.
    let kill = |server: &Server, how: [&str; 2]| {
        server.client().unwrap().call(&["CLIENT", "KILL", how[0], how[1]]).unwrap()
    };
    assert_eq!(kill(top, ["TYPE", "replica"]), Reply::Integer(1));
    wait::until("it came back", SOON, || stat(top, "sync_partial_ok") == "1").unwrap();
    wait_up(middle);
    // The other end, by number.
    let id = field(&listed(middle, "master")[0], "id").to_owned();
    assert_eq!(kill(middle, ["ID", &id]), Reply::Integer(1));
    wait::until("it came back again", SOON, || stat(top, "sync_partial_ok") == "2").unwrap();
    wait_up(middle);
    assert_eq!(kill(top, ["TYPE", "master"]), Reply::Integer(0));
    assert_eq!((stat(middle, "sync_partial_ok"), stat(middle, "sync_full")), ("0".into(), "1".into()));
    top.client().unwrap().call(&["SET", "a", "1"]).unwrap();
    wait_same_offset(top, &servers[2]);
}

/// As in Redis, INFO commandstats on a replica counts what its master sends.
#[test]
fn what_a_master_sends_is_counted() {
    let ports = PortBlock::reserve(2).unwrap();
    let servers = chain(&ports, 2);
    let (master, replica) = (&servers[0], &servers[1]);
    replica.client().unwrap().call(&["CONFIG", "RESETSTAT"]).unwrap();
    let mut client = master.client().unwrap();
    for command in [&["SET", "a", "1"][..], &["GETSET", "a", "2"], &["SET", "a", "3", "GET"]] {
        client.call(command).unwrap();
    }
    wait_same_offset(master, replica);
    assert!(info(replica, "commandstats", "cmdstat_set").starts_with("calls=3,"));
    let text = replica.client().unwrap().text(&["INFO", "commandstats"]).unwrap();
    assert!(info_field(&text, "cmdstat_getset").is_none(), "{text}");
}

#[test]
fn resetstat_takes_back_the_counts_of_syncs() {
    let ports = PortBlock::reserve(2).unwrap();
    let servers = chain(&ports, 2);
    assert_eq!(stat(&servers[0], "sync_full"), "1");
    servers[0].client().unwrap().call(&["CONFIG", "RESETSTAT"]).unwrap();
    for name in ["sync_full", "sync_partial_ok", "sync_partial_err"] {
        assert_eq!(stat(&servers[0], name), "0", "{name}");
    }
}

/// There is no bus thread, and every CONFIG SET warned that it did not listen.
#[test]
fn a_changed_setting_is_no_reason_to_warn() {
    let ports = PortBlock::reserve(1).unwrap();
    let server = alone(&ports, 0);
    server.client().unwrap().call(&["CONFIG", "SET", "hz", "20"]).unwrap();
    assert!(!server.log().contains("did not take the changed configuration"), "{}", server.log());
}

fn transaction(server: &Server, commands: &[&[&str]]) -> Reply {
    let mut client = server.client().unwrap();
    client.call(&["MULTI"]).unwrap();
    for command in commands {
        assert_eq!(client.call(command).unwrap(), Reply::Simple("QUEUED".into()), "{command:?}");
    }
    client.command(&["EXEC"]).unwrap()
}

/// Sentinel changes roles so.
#[test]
fn replicaof_in_a_transaction() {
    let ports = PortBlock::reserve(3).unwrap();
    let servers = chain(&ports, 2);
    let (master, replica) = (&servers[0], &servers[1]);
    master.client().unwrap().call(&["SET", "a", "1"]).unwrap();
    wait_same_offset(master, replica);
    let mut bystander = replica.client().unwrap();
    bystander.call(&["PING"]).unwrap();
    let promote: &[&[&str]] = &[
        &["DEBUG", "SLEEP", "0.01"],
        &["SLAVEOF", "NO", "ONE"],
        &["ROLE"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
    ];
    let Reply::Array(replies) = transaction(replica, promote) else { panic!("EXEC gives an array") };
    assert_eq!(replies[..2], [ok(), ok()]);
    assert!(matches!(&replies[2], Reply::Array(role) if role[0] == Reply::Bulk(b"master".to_vec())));
    assert_eq!(replies[3..], [Reply::Integer(1), Reply::Integer(0)]);
    assert!(bystander.call(&["PING"]).is_err(), "it was closed");
    replica.client().unwrap().call(&["SET", "b", "2"]).unwrap();

    let port = replica.port().to_string();
    let demote: &[&[&str]] = &[&["SLAVEOF", "127.0.0.1", &port], &["REPLICAOF", "127.0.0.1", &port]];
    let already = Reply::Simple("OK Already connected to specified master".into());
    assert_eq!(transaction(master, demote), Reply::Array(vec![ok(), already]));
    wait_up(master);
    wait_same_offset(replica, master);
    assert_eq!(master.client().unwrap().text(&["GET", "b"]).unwrap(), "2");
    assert_eq!(stat(replica, "sync_partial_ok"), "1", "the old master goes on where it was");

    // Whoever changes the role waits for every slot to come free, so nobody may hold one meanwhile.
    let both: &[&[&str]] = &[&["REPLICAOF", "NO", "ONE"], &["GET", "a"]];
    let refused = transaction(master, both);
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with("EXECABORT ")), "{refused:?}");
    assert_eq!(info(master, "replication", "role"), "slave");
}

/// Whether it waits before it leaves.
fn waits(server: &Server) -> bool {
    let text = server.client().unwrap().text(&["INFO", "server"]).unwrap();
    info_field(&text, "shutdown_in_milliseconds").is_some_and(|ms| ms.parse::<u64>().unwrap() > 0)
}

/// What was acknowledged to clients is on replicas when the master leaves, as in Redis 7.
#[test]
fn a_master_that_leaves_waits_for_its_replicas() {
    let ports = PortBlock::reserve(2).unwrap();
    let mut servers = chain(&ports, 2);
    let mut client = servers[0].client().unwrap();
    client.call(&["CONFIG", "SET", "shutdown-timeout", "60"]).unwrap();
    servers[1].pause().unwrap();
    client.call(&["SET", "a", "1"]).unwrap();

    // First it is told to stay: both who asked hear of it, and writes go on.
    let mut askers = [servers[0].client().unwrap(), servers[0].client().unwrap()];
    askers.iter_mut().for_each(|asker| asker.send(&e2e::client::request(&["SHUTDOWN"])).unwrap());
    wait::until("it waits", SOON, || waits(&servers[0])).unwrap();
    wait::until("both wait", SOON, || info(&servers[0], "clients", "blocked_clients") == "2").unwrap();
    let mut writer = servers[0].client().unwrap();
    writer.send(&e2e::client::request(&["SET", "b", "1"])).unwrap();
    wait::until("writes wait", SOON, || info(&servers[0], "clients", "blocked_clients") == "3").unwrap();
    assert_eq!(servers[0].client().unwrap().call(&["SHUTDOWN", "ABORT"]).unwrap(), ok());
    for asker in &mut askers {
        assert_eq!(asker.read_reply().unwrap(), Reply::Error(REFUSED.into()));
    }
    assert_eq!(writer.read_reply().unwrap(), ok());
    assert!(!waits(&servers[0]));

    servers[0].signal(Signal::TERM).unwrap();
    wait::until("it waits again", SOON, || waits(&servers[0])).unwrap();
    servers[1].resume().unwrap();
    let status = servers[0].stop().unwrap();
    let log = servers[0].log();
    assert!(status.success() && log.contains("1 of 1 replicas are in sync when shutting down."), "{log}");
    assert!(!log.contains("Lagging replica"), "{log}");
    assert_eq!(servers[1].client().unwrap().text(&["GET", "b"]).unwrap(), "1");
}

#[test]
fn a_master_that_leaves_waits_no_longer_than_it_is_told() {
    let ports = PortBlock::reserve(2).unwrap();
    let mut servers = chain(&ports, 2);
    let mut client = servers[0].client().unwrap();
    client.call(&["CONFIG", "SET", "shutdown-timeout", "1"]).unwrap();
    servers[1].pause().unwrap();
    client.call(&["SET", "a", "1"]).unwrap();
    let status = servers[0].stop().unwrap();
    servers[1].resume().unwrap();
    let log = servers[0].log();
    assert!(status.success() && log.contains("0 of 1 replicas are in sync when shutting down."), "{log}");
    assert!(log.contains("Lagging replica 127.0.0.1:"), "{log}");
}

/// It left with more in its file than its own replica had, which had to copy everything when both went on.
#[test]
fn a_replica_that_leaves_waits_for_its_own_replicas() {
    let ports = PortBlock::reserve(3).unwrap();
    let spec = |n| ServerSpec::new(Binary::NodeServer, ports.port(n)).with("repl-ping-replica-period", 1);
    let master = |n| format!("127.0.0.1 {}", ports.port(n));
    let top = Server::start(spec(0)).unwrap();
    let durable = spec(1).with("replicaof", master(0)).with("appendonly", "yes");
    let mut middle = Server::start(durable).unwrap();
    wait_up(&middle);
    let history = info(&top, "replication", "master_replid");
    wait::until("its file has its base", SOON, || middle.has_base_of(&history)).unwrap();
    let below = Server::start(spec(2).with("replicaof", master(1))).unwrap();
    wait_up(&below);
    let offset = |server: &Server| info(server, "replication", "master_repl_offset").parse::<u64>().unwrap();
    let mut writer = top.client().unwrap();
    below.pause().unwrap();
    writer.call(&["SET", "a", "1"]).unwrap();
    wait::until("it has the key", SOON, || {
        middle.client().unwrap().call(&["EXISTS", "a"]).unwrap() == Reply::Integer(1)
    })
    .unwrap();

    // First it is told to stay: what its master has sent meanwhile is applied.
    let mut asker = middle.client().unwrap();
    asker.send(&e2e::client::request(&["SHUTDOWN"])).unwrap();
    wait::until("it waits", SOON, || waits(&middle)).unwrap();
    writer.call(&["SET", "b", "1"]).unwrap();
    assert_eq!(middle.client().unwrap().call(&["SHUTDOWN", "ABORT"]).unwrap(), ok());
    assert_eq!(asker.read_reply().unwrap(), Reply::Error(REFUSED.into()));
    wait::until("it goes on", SOON, || {
        middle.client().unwrap().call(&["EXISTS", "b"]).unwrap() == Reply::Integer(1)
    })
    .unwrap();

    middle.signal(Signal::TERM).unwrap();
    // It says so when nothing is applied any more.
    let said = |server: &Server| server.log().matches("Waiting for replicas before shutting down.").count();
    wait::until("it waits again", SOON, || waits(&middle) && said(&middle) == 2).unwrap();
    let end = offset(&middle);
    writer.call(&["SET", "c", "1"]).unwrap();
    let sent = offset(&top);
    wait::until("a PING comes as well", SOON, || offset(&top) > sent).unwrap();
    assert_eq!(offset(&middle), end, "nothing is applied any more");
    below.resume().unwrap();
    let status = middle.stop().unwrap();
    let log = middle.log();
    assert!(status.success() && log.contains("1 of 1 replicas are in sync when shutting down."), "{log}");

    middle.restart().unwrap();
    wait::until("all of it has arrived", SOON, || {
        below.client().unwrap().call(&["EXISTS", "a", "b", "c"]).unwrap() == Reply::Integer(3)
    })
    .unwrap();
    let syncs = |server: &Server| (stat(server, "sync_full"), stat(server, "sync_partial_ok"));
    assert_eq!(syncs(&top), ("1".into(), "1".into()), "{}", middle.log());
    assert_eq!(syncs(&middle), ("0".into(), "1".into()), "{}", middle.log());
}
