//! What a replica has that is not in sync: somebody else's data, old data, less than it acknowledged.

use super::*;

/// So much behind each key that a full sync is under way until the test is over, in microseconds.
const SLOWLY: &str = "100000";

fn durable(shape: Shape) -> LocalCluster {
    let shape = shape.with("appendonly", "yes").with("appendfsync", "always");
    LocalCluster::start(Binary::NodeServer, &shape).unwrap()
}

fn configure(server: &Server, name: &str, value: &str) {
    server.client().unwrap().call(&["CONFIG", "SET", name, value]).unwrap();
}

fn wait_failed(cluster: &LocalCluster, seen_by: usize, node: NodeId) {
    wait::until("the others give it up", SOON, || {
        let lines = cluster.view(seen_by).unwrap();
        is_failed(&lines.into_iter().find(|line| line.id == node).unwrap())
    })
    .unwrap();
}

fn wait_syncing(replica: &Server) {
    wait::until("a full sync is under way", SOON, || {
        info(replica, "replication", "master_sync_in_progress") == "1"
            && replica.log().contains("receiving a snapshot")
    })
    .unwrap();
}

/// It does not win, says why, and the master is there again with everything.
fn stays_a_replica(cluster: &mut LocalCluster, master: usize, replica: usize, why: &str, keys: &[String]) {
    let name = id(&cluster.nodes[master]);
    cluster.nodes[master].kill().unwrap();
    wait_failed(cluster, 1 + usize::from(master == 1), name);
    wait::until("it says why it does not stand", SOON, || {
        let log = cluster.nodes[replica].log();
        assert!(!log.contains("Failover election won"), "{log}");
        log.contains(why)
    })
    .unwrap();
    assert_eq!(info(&cluster.nodes[replica], "replication", "role"), "slave");
    cluster.nodes[master].restart().unwrap();
    wait::until("the master serves", SOON, || {
        let first = cluster.nodes[master].client().unwrap().command(&["GET", &keys[0]]);
        matches!(first, Ok(Reply::Bulk(_)))
    })
    .unwrap();
    assert!(has_all(&mut cluster.nodes[master].client().unwrap(), keys));
    // In sync with a master that some still take for failed it may stand, and rightly.
    wait::until("nobody takes the master for failed", SOON, || {
        let mut running = (0..cluster.nodes.len()).filter(|n| cluster.nodes[*n].pid().is_some());
        running.all(|n| {
            let lines = cluster.view(n);
            lines.is_ok_and(|lines| lines.iter().all(|line| line.id != name || !is_failed(line)))
        })
    })
    .unwrap();
    // Not before: what is in the replica's buffer may be a whole snapshot, and whoever has that may stand.
    configure(&cluster.nodes[replica], "key-load-delay", "0");
    wait::until("the link is up", SOON, || {
        info(&cluster.nodes[replica], "replication", "master_link_status") == "up"
    })
    .unwrap();
}

/// A replica of another shard had been told to follow a master without one. That died while it sent the snapshot; the
/// snapshot's bytes had counted as news of the master, and the replica won its slots with none of its keys.
#[test]
fn a_replica_in_the_middle_of_its_first_sync_does_not_take_over() {
    let mut cluster = durable(Shape::new(3, 1));
    let sets = [keys_of(0, 3, "k", 1000), keys_of(1, 3, "k", 1000)];
    for (master, keys) in sets.iter().enumerate() {
        set_all(&mut cluster.nodes[master].client().unwrap(), keys);
        wait_same_offset(&cluster.nodes[master], &cluster.nodes[master + 3]);
    }
    cluster.nodes[3].kill().unwrap();
    configure(&cluster.nodes[4], "key-load-delay", SLOWLY);
    let orphan = id(&cluster.nodes[0]).to_string();
    let mut client = cluster.nodes[4].client().unwrap();
    assert_eq!(client.call(&["CLUSTER", "REPLICATE", &orphan]).unwrap(), Reply::Simple("OK".into()));
    wait_syncing(&cluster.nodes[4]);
    let no_copy = |cluster: &LocalCluster| {
        let text = cluster.nodes[4].client().unwrap().text(&["CLUSTER", "INFO"]).unwrap();
        info_field(&text, "cluster_no_copy").map(str::to_owned)
    };
    assert_eq!(no_copy(&cluster).as_deref(), Some("1"), "the operator does not force it");
    let why = "My data is no copy of my master's";
    stays_a_replica(&mut cluster, 0, 4, why, &sets[0]);
    wait::until("the operator is told of a copy", SOON, || no_copy(&cluster).is_none()).unwrap();
}

/// A replica that had been cut off for longer than its data may be old passed for fresh as soon as a full sync had begun.
#[test]
fn a_replica_in_the_middle_of_another_sync_is_as_old_as_its_data() {
    // May be old for 2 s of silence until the failure, 2 s more and a PING.
    let shape = Shape::new(3, 1)
        .with("cluster-replica-validity-factor", 1)
        .with("repl-ping-replica-period", 1)
        .with("repl-backlog-size", "16kb");
    let mut cluster = durable(shape);
    // More than the sockets' buffers hold, at some MB a second: its bytes come until after the master's end.
    let keys = keys_of(0, 3, &"k".repeat(1000), 8000);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys[..100]);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    // It cannot come back to a master that asks for no password.
    configure(&cluster.nodes[3], "masterauth", "wrong");
    // Nor take over should the restart take longer than the node timeout.
    configure(&cluster.nodes[3], "cluster-replica-no-failover", "yes");
    configure(&cluster.nodes[3], "key-load-delay", "2000");
    cluster.nodes[0].kill().unwrap();
    cluster.nodes[0].restart().unwrap();
    wait::until("the master serves", SOON, || {
        let mut client = cluster.nodes[0].client().unwrap();
        client.command(&["SET", &keys[0], &format!("value-{}", keys[0])]).unwrap()
            == Reply::Simple("OK".into())
    })
    .unwrap();
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    wait::until("the link has been down for longer than data may be old", SOON, || {
        let since = info(&cluster.nodes[3], "replication", "master_link_down_since_seconds");
        since.parse::<i64>().unwrap() >= 7
    })
    .unwrap();
    configure(&cluster.nodes[3], "cluster-replica-no-failover", "no");
    configure(&cluster.nodes[3], "masterauth", "");
    wait_syncing(&cluster.nodes[3]);
    assert_eq!(info(&cluster.nodes[3], "replication", "master_sync_unfinished"), "1");
    let why = "Disconnected from master for longer than allowed";
    stays_a_replica(&mut cluster, 0, 3, why, &keys);
    let text = cluster.nodes[3].client().unwrap().text(&["INFO", "replication"]).unwrap();
    assert!(!text.contains("master_sync_unfinished"), "{text}");
}

/// A replica had acknowledged an open slot and was killed before its nodes.conf had it. It went on where its file ended,
/// behind that record.
#[test]
fn a_partial_sync_brings_open_slots_again() {
    let mut cluster = durable(Shape::new(3, 1));
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys_of(0, 3, "k", 100));
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    wait::until("its file has its base", SOON, || {
        info(&cluster.nodes[3], "persistence", "aof_rewrite_in_progress") == "0"
            && cluster.nodes[3].log().matches("AOF rewrite finished").count() >= 2
    })
    .unwrap();
    let there = id(&cluster.nodes[1]);
    let mut client = cluster.nodes[0].client().unwrap();
    client.call(&["CLUSTER", "SETSLOT", "8", "MIGRATING", &there.to_string()]).unwrap();
    let (file, open) = (cluster.nodes[3].dir().join("nodes.conf"), format!(" [8->-{there}]"));
    wait::until("it is in the replica's nodes.conf", SOON, || {
        std::fs::read_to_string(&file).unwrap_or_default().contains(&open)
    })
    .unwrap();
    let full = info(&cluster.nodes[0], "stats", "sync_full");
    cluster.nodes[3].kill().unwrap();
    let conf = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, conf.replace(&open, "")).unwrap();
    cluster.nodes[3].restart().unwrap();
    cluster.wait_synced().unwrap();
    wait::until("it is there again", SOON, || {
        std::fs::read_to_string(&file).unwrap_or_default().contains(&open)
    })
    .unwrap();
    assert_eq!(info(&cluster.nodes[0], "stats", "sync_full"), full, "{}", cluster.nodes[3].log());
}

/// A replica that did not know where its master is, and so followed nobody, wrote on under the master's replication id
/// after a takeover: the old master would have been given a continuation of what it did not have.
#[test]
fn a_promoted_replica_that_could_follow_nobody_begins_a_new_history() {
    // The master's line in nodes.conf is to say nothing of a failure.
    let mut cluster = durable(Shape::new(1, 1).with("cluster-node-timeout", 60_000));
    let keys = keys_of(0, 1, "k", 50);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[1]);
    wait::until("its file has its base", SOON, || {
        info(&cluster.nodes[1], "persistence", "aof_rewrite_in_progress") == "0"
            && cluster.nodes[1].log().matches("AOF rewrite finished").count() >= 2
    })
    .unwrap();
    let history = info(&cluster.nodes[0], "replication", "master_replid");
    let master = cluster.nodes[0].port();
    cluster.nodes[1].kill().unwrap();
    cluster.nodes[0].kill().unwrap();
    let file = cluster.nodes[1].dir().join("nodes.conf");
    let conf = std::fs::read_to_string(&file).unwrap();
    let lost = conf.replace(&format!("127.0.0.1:{master}@{}", master + 10_000), ":0@0");
    let lost = lost.replace(" master -", " master,noaddr -");
    assert!(lost.contains(":0@0") && lost.contains("noaddr"), "{conf}");
    std::fs::write(&file, lost).unwrap();
    cluster.nodes[1].restart().unwrap();
    assert_eq!(info(&cluster.nodes[1], "replication", "master_replid"), history);
    let mut client = cluster.nodes[1].client().unwrap();
    assert_eq!(client.call(&["CLUSTER", "FAILOVER", "TAKEOVER"]).unwrap(), Reply::Simple("OK".into()));
    wait::until("it serves", SOON, || {
        let reply = client.command(&["SET", &keys[0], "new"]);
        reply.unwrap_or_else(|error| panic!("{error}: {}", cluster.nodes[1].log()))
            == Reply::Simple("OK".into())
    })
    .unwrap();
    assert_ne!(info(&cluster.nodes[1], "replication", "master_replid"), history);
    assert_eq!(info(&cluster.nodes[1], "replication", "master_replid2"), history);
}
