//! Passwords between nodes: a replica says its master's, MIGRATE the target's.

use super::*;
use e2e::PortBlock;

const PASSWORD: &str = "pw";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Whether somebody says where Valkey is, as `./test` does.
pub fn has_valkey() -> bool {
    std::env::var_os("VALKEY_SERVER_BIN").is_some()
}

/// A client that has said the password.
pub fn known(server: &Server) -> Client {
    let mut client = server.client().unwrap();
    // Refused where there is no password, which is as good.
    client.command(&["AUTH", "default", PASSWORD]).unwrap();
    client
}

fn link(replica: &Server) -> String {
    let text = known(replica).text(&["INFO", "replication"]).unwrap();
    info_field(&text, "master_link_status").unwrap_or("none").to_owned()
}

/// A master that asks for a password, and a node that follows it without knowing it.
pub fn pair(ports: &PortBlock, master: Binary, replica: Binary) -> (Server, Server) {
    let spec =
        |binary, n| ServerSpec::cluster_node(binary, ports.port(n)).with("repl-diskless-sync-delay", 0);
    let master = Server::start(spec(master, 0).with("requirepass", PASSWORD)).unwrap();
    let replica = Server::start(spec(replica, 1)).unwrap();
    let mut client = known(&master);
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("the master serves", SOON, || {
        client.command(&["SET", "a", "1"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    meet_and_follow(&mut client, &replica);
    (master, replica)
}

fn wait_log(server: &Server, text: &str) {
    let said = || server.log().contains(text);
    wait::until(&format!("the log says {text:?}"), SOON, said)
        .unwrap_or_else(|error| panic!("{error}:\n{}", server.log()));
}

/// Tells the replica the password and waits for the data.
pub fn catches_up(replica: &Server) {
    let mut client = replica.client().unwrap();
    client.call(&["CONFIG", "SET", "masterauth", PASSWORD]).unwrap();
    wait::until("the link is up", SOON, || link(replica) == "up")
        .unwrap_or_else(|error| panic!("{error}:\n{}", replica.log()));
    client.call(&["READONLY"]).unwrap();
    wait::until("it has the key", SOON, || {
        client.command(&["GET", "a"]).unwrap() == Reply::Bulk(b"1".to_vec())
    })
    .unwrap();
}

fn our_replica_follows(master: Binary) {
    let ports = PortBlock::reserve(2).unwrap();
    let (master, replica) = pair(&ports, master, Binary::NodeServer);
    wait_log(&replica, "the master asks for a password. Set masterauth");
    let mut client = replica.client().unwrap();
    client.call(&["CONFIG", "SET", "masterauth", "wrong-one"]).unwrap();
    wait_log(&replica, &format!("Unable to AUTH to MASTER: {WRONGPASS}"));
    client.call(&["CONFIG", "SET", "masterauth", PASSWORD, "masteruser", "nobody"]).unwrap();
    assert_eq!(link(&replica), "down");
    client.call(&["CONFIG", "SET", "masteruser", "default"]).unwrap();
    catches_up(&replica);
    assert!(!replica.log().contains("wrong-one"));
    // What it does not know of our introduction it may refuse, but not complain about.
    let complains = |line: &&str| line.contains("Unrecognized") || line.contains("CRITICAL");
    assert_eq!(master.log().lines().find(complains), None);
}

#[test]
fn our_replica_says_the_password_to_our_master() {
    our_replica_follows(Binary::NodeServer);
}

#[test]
fn our_replica_says_the_password_to_redis() {
    our_replica_follows(Binary::Redis);
}

/// `cargo test` alone does not find it; `./test` does.
#[test]
fn our_replica_says_the_password_to_valkey() {
    if has_valkey() {
        our_replica_follows(Binary::Valkey);
    }
}

fn follows_us(replica: Binary) {
    let ports = PortBlock::reserve(2).unwrap();
    let (_master, replica) = pair(&ports, Binary::NodeServer, replica);
    wait_log(&replica, "NOAUTH Authentication required.");
    assert_eq!(link(&replica), "down");
    catches_up(&replica);
}

#[test]
fn a_replica_of_redis_says_the_password_to_us() {
    follows_us(Binary::Redis);
}

#[test]
fn a_replica_of_valkey_says_the_password_to_us() {
    if has_valkey() {
        follows_us(Binary::Valkey);
    }
}

fn migrates_to(target: Binary) {
    let ports = PortBlock::reserve(2).unwrap();
    let source = Server::start(ServerSpec::new(Binary::NodeServer, ports.port(0))).unwrap();
    let target = Server::start(ServerSpec::new(target, ports.port(1)).with("requirepass", PASSWORD)).unwrap();
    let (mut here, mut there) = (source.client().unwrap(), known(&target));
    let port = target.port().to_string();
    let mut migrate = |auth: &[&str]| {
        here.call(&["SET", "k", "v"]).unwrap();
        there.call(&["DEL", "k"]).unwrap();
        let args = [&["MIGRATE", "127.0.0.1", &port, "k", "0", "5000"], auth].concat();
        let reply = match here.command(&args).unwrap() {
            Reply::Simple(text) | Reply::Error(text) => text,
            other => panic!("{other:?}"),
        };
        let is = |client: &mut Client| client.call(&["EXISTS", "k"]).unwrap() == Reply::Integer(1);
        (reply, is(&mut here), is(&mut there))
    };
    let refused = |text: &str| (format!("ERR Target instance replied with error: {text}"), true, false);
    let moved = ("OK".to_owned(), false, true);
    assert_eq!(migrate(&[]), refused("NOAUTH Authentication required."));
    assert_eq!(migrate(&["AUTH", PASSWORD]), moved);
    // Kept connections are for those who said the same.
    assert_eq!(migrate(&[]), refused("NOAUTH Authentication required."));
    assert_eq!(migrate(&["AUTH", "bad"]), refused(WRONGPASS));
    assert_eq!(migrate(&["AUTH2", "nobody", PASSWORD]), refused(WRONGPASS));
    assert_eq!(migrate(&["AUTH2", "default", PASSWORD]), moved);
    known(&target).call(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    let (reply, here, there) = migrate(&["AUTH", PASSWORD]);
    assert!(reply.contains("without any password configured"), "{reply}");
    assert!(here && there, "as with Redis as the source, the key is given up nowhere");
}

#[test]
fn keys_cross_to_who_asks_for_a_password() {
    migrates_to(Binary::NodeServer);
    migrates_to(Binary::Redis);
    if has_valkey() {
        migrates_to(Binary::Valkey);
    }
}
