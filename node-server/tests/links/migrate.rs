//! MIGRATE and what is built on it.

use super::peer::Peer;
use super::*;
use e2e::{PortBlock, cli};

#[test]
fn redis_cli_reshards_without_loss() {
    let cluster = steady(3, 0);
    // `{tag}` puts them all in one slot of the first master; the others are spread.
    let tag = keys_of(0, 3, "tag", 1).remove(0);
    let mut keys: Vec<String> = (0..150).map(|n| format!("{{{tag}}}:{n}")).collect();
    keys.extend(keys_of(0, 3, "k", 300));
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    let slot = key_slot(tag.as_bytes()).number();
    let (from, to) = (id(&cluster.nodes[0]).to_string(), id(&cluster.nodes[1]).to_string());
    let slots = (slot + 1).min(400).to_string();
    let entry = cluster.nodes[0].address().to_string();
    let args = [
        "--cluster",
        "reshard",
        &entry,
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        &slots,
        "--cluster-yes",
    ];
    cli::redis_cli(&args).unwrap();
    cluster.wait_agreed().unwrap();
    let moved = |key: &String| key_slot(key.as_bytes()).number() < slots.parse().unwrap();
    let (there, here): (Vec<String>, Vec<String>) = keys.into_iter().partition(moved);
    assert!(!there.is_empty() && !here.is_empty());
    assert!(has_all(&mut cluster.nodes[1].client().unwrap(), &there));
    assert!(has_all(&mut cluster.nodes[0].client().unwrap(), &here));
    let left = cluster.nodes[0].client().unwrap().call(&["DBSIZE"]).unwrap();
    assert_eq!(left, Reply::Integer(here.len() as i64));
}

struct Open {
    cluster: LocalCluster,
    tag: String,
    source: Client,
    target: Client,
    port: String,
}

/// A slot with keys `{tag}1` and so on, each with its number as value, on its way from the first to the second master.
fn open(keys: u32) -> Open {
    open_in(steady(3, 1), keys)
}

fn open_in(cluster: LocalCluster, keys: u32) -> Open {
    let tag = keys_of(0, 3, "tag", 1).remove(0);
    let slot = key_slot(tag.as_bytes()).to_string();
    let (from, to) = (id(&cluster.nodes[0]).to_string(), id(&cluster.nodes[1]).to_string());
    let (mut source, mut target) = (cluster.nodes[0].client().unwrap(), cluster.nodes[1].client().unwrap());
    for n in 1..=keys {
        source.call(&["SET", &format!("{{{tag}}}{n}"), &n.to_string()]).unwrap();
    }
    target.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).unwrap();
    source.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).unwrap();
    let port = cluster.nodes[1].port().to_string();
    Open { cluster, tag, source, target, port }
}

fn error(reply: Reply) -> String {
    match reply {
        Reply::Error(text) => text,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn keys_cross_with_their_expiry_and_are_replicated_on_both_sides() {
    let Open { cluster, tag, mut source, mut target, port } = open(2);
    let key = |n: u32| format!("{{{tag}}}{n}");
    source.call(&["PEXPIRE", &key(2), "100000"]).unwrap();
    let args = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", &key(1), &key(2), &key(3)];
    assert_eq!(source.command(&args).unwrap(), Reply::Simple("OK".into()));
    assert_eq!(source.command(&args).unwrap(), Reply::Simple("NOKEY".into()));
    let ask = error(source.command(&["GET", &key(1)]).unwrap());
    assert!(ask.starts_with("ASK ") && ask.ends_with(&port), "{ask}");
    target.call(&["ASKING"]).unwrap();
    assert_eq!(target.text(&["GET", &key(1)]).unwrap(), "1");
    target.call(&["ASKING"]).unwrap();
    let left = target.call(&["PTTL", &key(2)]).unwrap();
    assert!(matches!(left, Reply::Integer(1..=100_000)), "{left:?}");
    for (master, keys) in [(0, 0), (1, 2)] {
        let (master, replica) = (&cluster.nodes[master], &cluster.nodes[master + 3]);
        wait_same_offset(master, replica);
        assert_eq!(replica.client().unwrap().call(&["DBSIZE"]).unwrap(), Reply::Integer(keys));
    }
}

#[test]
fn what_the_target_refuses_stays_and_the_rest_goes() {
    let Open { cluster: _cluster, tag, mut source, mut target, port } = open(2);
    let key = |n: u32| format!("{{{tag}}}{n}");
    target.call(&["ASKING"]).unwrap();
    target.call(&["SET", &key(1), "already"]).unwrap();
    let (one, two) = (key(1), key(2));
    let args = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", &one, &two];
    let refused = error(source.command(&args).unwrap());
    assert_eq!(refused, "ERR Target instance replied with error: BUSYKEY Target key name already exists.");
    assert_eq!(
        source.call(&["CLUSTER", "COUNTKEYSINSLOT", &key_slot(tag.as_bytes()).to_string()]).unwrap(),
        Reply::Integer(1)
    );
    assert_eq!(source.text(&["GET", &one]).unwrap(), "1");
    let args = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "COPY", "REPLACE", "KEYS", &one];
    assert_eq!(source.command(&args).unwrap(), Reply::Simple("OK".into()));
    assert_eq!(source.text(&["GET", &one]).unwrap(), "1");
    target.call(&["ASKING"]).unwrap();
    assert_eq!(target.text(&["GET", &one]).unwrap(), "1");
}

#[test]
fn a_target_that_is_not_there_changes_nothing() {
    let ports = PortBlock::reserve(1).unwrap();
    let Open { cluster: _cluster, tag, mut source, .. } = open(1);
    let key = format!("{{{tag}}}1");
    let args = ["MIGRATE", "127.0.0.1", &ports.port(0).to_string(), &key, "0", "300"];
    assert_eq!(error(source.command(&args).unwrap()), "IOERR error or timeout writing to target instance");
    // One that accepts and says nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let args = ["MIGRATE", "127.0.0.1", &port, &key, "0", "300"];
    assert_eq!(error(source.command(&args).unwrap()), "IOERR error or timeout reading to target instance");
    assert_eq!(source.text(&["GET", &key]).unwrap(), "1");
    assert_eq!(source.text(&["SET", &key, "two"]).unwrap(), "OK");
}

/// How long a replica that says nothing is waited for (`IN_SYNC_MS`).
const IN_SYNC: Duration = Duration::from_secs(3);

/// Otherwise what was written together with it could be lost with the source. The replica is one as Redis's: it
/// acknowledges when it is asked.
#[test]
fn a_key_crosses_when_a_replica_of_its_source_has_it() {
    let Open { cluster, tag, mut source, mut target, port } = open_in(steady(3, 0), 1);
    let (key, slot) = (format!("{{{tag}}}1"), key_slot(tag.as_bytes()).to_string());
    let mut peer = Peer::connect(&cluster.nodes[0]);
    peer.say(&["PSYNC", "?", "-1"]);
    let (_, offset) = peer.full();
    let acknowledged = Instant::now();
    peer.say(&["REPLCONF", "ACK", &offset.to_string()]);
    wait::until("it is online", SOON, || {
        info(&cluster.nodes[0], "replication", "slave0").contains(&format!("state=online,offset={offset},"))
    })
    .unwrap();
    source.call(&["SET", &key, "new"]).unwrap();
    let moved =
        std::thread::spawn(move || source.command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]));
    peer.until(b"GETACK\r\n$1\r\n*\r\n");
    let crossed = target.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).unwrap();
    let silent = acknowledged.elapsed();
    assert!(crossed == Reply::Integer(0) || silent > IN_SYNC, "{crossed:?} after {silent:?}");
    let end = info(&cluster.nodes[0], "replication", "master_repl_offset");
    peer.say(&["REPLCONF", "ACK", &end]);
    assert_eq!(moved.join().unwrap().unwrap(), Reply::Simple("OK".into()));
    assert_eq!(target.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).unwrap(), Reply::Integer(1));
}
