//! Nodes of a cluster that take long to read their files.

use super::*;
use std::time::Instant;

/// A tenth of a second behind each key.
const SLOWLY: u64 = 100_000;
const KEYS: usize = 1000;
/// Longer than a restart takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(4);

fn durable(masters: u16, replicas: u16) -> LocalCluster {
    let shape = Shape::new(masters, replicas)
        .with("appendonly", "yes")
        .with("appendfsync", "always")
        .with("cluster-replica-validity-factor", 0)
        .with("cluster-node-timeout", TIMEOUT.as_millis());
    LocalCluster::start(Binary::NodeServer, &shape).unwrap()
}

fn restart_slowly(server: &mut Server) {
    server.kill().unwrap();
    server.set("key-load-delay", SLOWLY);
    server.restart_loading().unwrap();
    assert_eq!(info(server, "persistence", "loading"), "1", "{}", server.log());
}

/// A full sync has the file written anew behind it: until then the old one, without a key, is the one
/// that a restart reads.
fn wait_all_in_file(replica: &Server) {
    wait::until("all of it is in the replica's file", SOON, || {
        info(replica, "persistence", "aof_rewrite_in_progress") == "0"
            && replica.log().matches("AOF rewrite finished").count() >= 2
    })
    .unwrap();
}

fn load_on(server: &Server) {
    server.client().unwrap().call(&["CONFIG", "SET", "key-load-delay", "0"]).unwrap();
    wait::until("its data is loaded", SOON, || info(server, "persistence", "loading") == "0").unwrap();
}

fn line_of(cluster: &LocalCluster, seen_by: usize, node: NodeId) -> NodeLine {
    cluster.view(seen_by).unwrap().into_iter().find(|line| line.id == node).unwrap()
}

/// It was silent, and replaced after the node timeout.
#[test]
fn a_master_that_loads_for_longer_than_the_node_timeout_keeps_its_slots() {
    let mut cluster = durable(3, 1);
    let keys = keys_of(0, 3, "k", KEYS);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    let (master, slots) = (id(&cluster.nodes[0]), line_of(&cluster, 1, id(&cluster.nodes[0])).slots);
    restart_slowly(&mut cluster.nodes[0]);
    let begun = Instant::now();
    let mut client = cluster.nodes[0].client().unwrap();
    let others = [keys_of(1, 3, "k", 1), keys_of(2, 3, "k", 1)].concat();
    while begun.elapsed() < TIMEOUT * 3 {
        for seen_by in [1, 2, 3] {
            let line = line_of(&cluster, seen_by, master);
            assert!(line.master.is_none() && line.slots == slots && !is_failed(&line), "{line}");
        }
        let mut get = |key: &str| match client.command(&["GET", key]).unwrap() {
            Reply::Error(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(get(&keys[0]), "LOADING Redis is loading the dataset in memory");
        assert!(others.iter().all(|key| get(key).starts_with("MOVED ")));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(info(&cluster.nodes[0], "persistence", "loading"), "1");
    load_on(&cluster.nodes[0]);
    wait::until("it serves", SOON, || {
        client.command(&["GET", &keys[0]]).unwrap() == Reply::Bulk(format!("value-{}", keys[0]).into_bytes())
    })
    .unwrap();
    assert!(has_all(&mut client, &keys));
    assert_eq!(line_of(&cluster, 1, master).slots, slots);
    cluster.wait_synced().unwrap();
    wait_role(&cluster.nodes[3], "slave");
    set_all(&mut client, &keys_of(0, 3, "new", 10));
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
}

/// Its data is what it has read so far.
#[test]
fn a_replica_that_loads_does_not_take_over_before_it_has_loaded() {
    let mut cluster = durable(3, 1);
    let keys = keys_of(0, 3, "k", KEYS);
    let mut client = cluster.nodes[0].client().unwrap();
    set_all(&mut client, &keys);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    wait_all_in_file(&cluster.nodes[3]);
    wait_on_replicas_disk(&mut client);
    let master = id(&cluster.nodes[0]);
    restart_slowly(&mut cluster.nodes[3]);
    wait_role(&cluster.nodes[3], "slave");
    assert_eq!(info(&cluster.nodes[3], "replication", "master_link_status"), "down");
    cluster.nodes[0].kill().unwrap();
    wait::until("the others give the master up", SOON, || is_failed(&line_of(&cluster, 1, master))).unwrap();
    // An election would have been over several times.
    std::thread::sleep(TIMEOUT);
    assert_eq!(info(&cluster.nodes[3], "replication", "role"), "slave");
    assert!(line_of(&cluster, 1, id_of_replica(&cluster)).master.is_some());
    load_on(&cluster.nodes[3]);
    wait_role_within(&cluster.nodes[3], "master", SOON + SOON);
    let mut client = cluster.nodes[3].client().unwrap();
    wait::until("it serves", SOON, || {
        client.command(&["GET", &keys[0]]).unwrap() == Reply::Bulk(format!("value-{}", keys[0]).into_bytes())
    })
    .unwrap();
    assert!(has_all(&mut client, &keys));
}

/// CLUSTER MYID is not answered while data is loaded.
fn id_of_replica(cluster: &LocalCluster) -> NodeId {
    let port = cluster.nodes[3].port();
    cluster.view(1).unwrap().into_iter().find(|line| line.address.port == port).unwrap().id
}

/// What a replica was written meanwhile comes behind what is in its file.
#[test]
fn a_replica_follows_when_it_has_loaded() {
    let mut cluster = durable(3, 1);
    let keys = keys_of(0, 3, "k", KEYS);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys[..KEYS / 2]);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    wait_all_in_file(&cluster.nodes[3]);
    restart_slowly(&mut cluster.nodes[3]);
    let mut writer = cluster.nodes[0].client().unwrap();
    set_all(&mut writer, &keys[KEYS / 2..]);
    load_on(&cluster.nodes[3]);
    cluster.wait_synced().unwrap();
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    let mut client = cluster.nodes[3].client().unwrap();
    client.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut client, &keys));
    // And is in the file behind it.
    wait_on_replicas_disk(&mut writer);
    cluster.nodes[3].kill().unwrap();
    cluster.nodes[3].set("key-load-delay", 0);
    cluster.nodes[3].restart().unwrap();
    cluster.wait_synced().unwrap();
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    let mut client = cluster.nodes[3].client().unwrap();
    client.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut client, &keys));
}

/// What this connection has written.
fn wait_on_replicas_disk(writer: &mut Client) {
    wait::until("a replica has it on its disk", SOON, || {
        let reply = writer.call(&["WAITAOF", "0", "1", "1000"]).unwrap();
        matches!(&reply, Reply::Array(counts) if counts[1] == Reply::Integer(1))
    })
    .unwrap();
}

fn quarantine(server: &Server) -> (u64, u64) {
    let text = server.client().unwrap().text(&["CLUSTER", "INFO"]).unwrap();
    let number = |name| info_field(&text, name).unwrap().parse().unwrap();
    (number("cluster_quarantined_slots"), number("cluster_quarantined_keys"))
}

/// A slot's keys that nodes.conf says are another's: they stayed for ever, and nobody was told.
#[test]
fn keys_in_slots_of_others_are_kept_until_the_owner_serves() {
    let mut cluster = durable(3, 0);
    let tagged: Vec<String> = (0..50).map(|n| format!("{{{}}}{n}", keys_of(0, 3, "tag", 1)[0])).collect();
    let slot = key_slot(tagged[0].as_bytes());
    set_all(&mut cluster.nodes[0].client().unwrap(), &tagged);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys_of(0, 3, "k", 20));
    assert_eq!(quarantine(&cluster.nodes[0]), (0, 0));
    let (first, second) = (id(&cluster.nodes[0]).to_string(), id(&cluster.nodes[1]).to_string());
    cluster.nodes[0].kill().unwrap();
    let mut taker = cluster.nodes[1].client().unwrap();
    let number = slot.to_string();
    taker.call(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &first]).unwrap();
    taker.call(&["CLUSTER", "SETSLOT", &number, "NODE", &second]).unwrap();
    // The owner does not speak yet; node 0 knows of the move from its nodes.conf.
    wait::until("it is written down", SOON, || {
        let conf = std::fs::read_to_string(cluster.nodes[1].dir().join("nodes.conf")).unwrap_or_default();
        conf.lines().any(|line| line.starts_with(&second) && has_slot(line, slot))
    })
    .unwrap();
    let conf = std::fs::read_to_string(cluster.nodes[1].dir().join("nodes.conf")).unwrap();
    cluster.nodes[1].pause().unwrap();
    let conf = conf.replace("myself,", "");
    let conf: Vec<String> = conf
        .lines()
        .map(|line| {
            if line.starts_with(&first) {
                line.replace(" master", " myself,master").replace(",fail?", "").replace(",fail", "")
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(cluster.nodes[0].dir().join("nodes.conf"), conf.join("\n") + "\n").unwrap();
    cluster.nodes[0].restart().unwrap();
    wait::until("the core knows that the data is there", SOON, || quarantine(&cluster.nodes[0]) == (1, 50))
        .unwrap();
    let log = cluster.nodes[0].log();
    assert!(log.contains("50 keys in 1 slots that this node does not own were loaded"), "{log}");
    let lost = cluster.nodes[0].client().unwrap().text(&["CLUSTER", "INFO"]).unwrap();
    assert_eq!(info_field(&lost, "cluster_lost_slots"), Some(number.as_str()), "the operator counts them");
    cluster.nodes[1].resume().unwrap();
    wait::until("they are deleted", SOON + SOON, || quarantine(&cluster.nodes[0]) == (0, 0)).unwrap();
    let mut client = cluster.nodes[0].client().unwrap();
    assert_eq!(client.call(&["DBSIZE"]).unwrap(), Reply::Integer(20));
    wait::until("clients are sent on", SOON, || {
        let reply = client.command(&["GET", &tagged[0]]).unwrap();
        matches!(reply, Reply::Error(text) if text.starts_with("MOVED "))
    })
    .unwrap();
}

fn has_slot(line: &str, slot: Slot) -> bool {
    line.parse::<NodeLine>().is_ok_and(|line| line.slots.contains(slot))
}
