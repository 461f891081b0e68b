//! Append-only files in a cluster: of replicas, of masters that have lost them.

use super::*;

fn durable(masters: u16, replicas: u16) -> LocalCluster {
    let shape = Shape::new(masters, replicas).with("appendonly", "yes").with("appendfsync", "always");
    LocalCluster::start(Binary::NodeServer, &shape).unwrap()
}

fn reader(server: &Server) -> Client {
    let mut client = server.client().unwrap();
    client.call(&["READONLY"]).unwrap();
    client
}

/// Found by reading: SCAN on a replica was held for the disk, and a held reply on a replica closes its connection.
#[test]
fn replicas_answer_everything_while_they_write() {
    let cluster = durable(3, 1);
    let keys = keys_of(0, 3, "k", 2000);
    let mut client = reader(&cluster.nodes[3]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| set_all(&mut cluster.nodes[0].client().unwrap(), &keys));
        let mut rounds = 0;
        while !writer.is_finished() || rounds < 10 {
            for args in [&["SCAN", "0"][..], &["KEYS", "nothing"], &["RANDOMKEY"], &["GET", &keys[0]]] {
                let reply = client.command(args).unwrap();
                assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
            }
            rounds += 1;
        }
    });
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    assert!(has_all(&mut client, &keys));
}

#[test]
fn a_replica_goes_on_where_its_file_ends() {
    let mut cluster = durable(3, 1);
    let keys = keys_of(0, 3, "k", 500);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys[..250]);
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    wait::until("its file has its base", SOON, || {
        info(&cluster.nodes[3], "persistence", "aof_rewrite_in_progress") == "0"
            && cluster.nodes[3].log().matches("AOF rewrite finished").count() >= 2
    })
    .unwrap();
    let full = info(&cluster.nodes[0], "stats", "sync_full");
    cluster.nodes[3].kill().unwrap();
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys[250..]);
    cluster.nodes[3].restart().unwrap();
    cluster.wait_synced().unwrap();
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[3]);
    assert!(has_all(&mut reader(&cluster.nodes[3]), &keys));
    assert_eq!(info(&cluster.nodes[0], "stats", "sync_full"), full, "{}", cluster.nodes[3].log());
}

/// What tells a copy that was in sync from one that a file gave: the operator never lets the second replace a master whose
/// data is on a volume.
#[test]
fn a_replica_started_without_its_master_says_that_it_never_was_in_sync() {
    let mut cluster = durable(1, 1);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys_of(0, 1, "k", 50));
    wait_same_offset(&cluster.nodes[0], &cluster.nodes[1]);
    let down_since = |cluster: &LocalCluster| {
        assert_eq!(info(&cluster.nodes[1], "replication", "master_link_status"), "down");
        info(&cluster.nodes[1], "replication", "master_link_down_since_seconds").parse::<i64>().unwrap()
    };
    let lost =
        |cluster: &LocalCluster| info(&cluster.nodes[1], "replication", "master_link_status") == "down";
    cluster.nodes[0].kill().unwrap();
    wait::until("the link is lost", SOON, || lost(&cluster)).unwrap();
    assert!(down_since(&cluster) >= 0);
    // Whoever asked early enough was told of a master.
    for _ in 0..5 {
        cluster.nodes[1].kill().unwrap();
        cluster.nodes[1].restart().unwrap();
        assert_eq!(down_since(&cluster), -1);
    }
    cluster.nodes[0].restart().unwrap();
    cluster.wait_synced().unwrap();
    cluster.nodes[0].kill().unwrap();
    wait::until("the link is lost again", SOON, || lost(&cluster)).unwrap();
    assert!(down_since(&cluster) >= 0);
}

/// A replica that gets other data writes its file anew, and is killed at any moment of that.
#[test]
fn a_replica_that_was_given_other_data_has_no_mixture_in_its_file() {
    let mut cluster = durable(3, 1);
    let sets = [keys_of(0, 3, "k", 1500), keys_of(1, 3, "k", 1500)];
    for (master, keys) in sets.iter().enumerate() {
        set_all(&mut cluster.nodes[master].client().unwrap(), keys);
    }
    for round in 0..6 {
        let of = (round + 1) % 2;
        let master = id(&cluster.nodes[of]).to_string();
        let mut client = cluster.nodes[3].client().unwrap();
        wait::until("it follows the other master", SOON, || {
            client.command(&["CLUSTER", "REPLICATE", &master]).unwrap() == Reply::Simple("OK".into())
        })
        .unwrap();
        wait::until("it is synced", SOON, || {
            info(&cluster.nodes[3], "replication", "master_link_status") == "up"
        })
        .unwrap();
        set_all(&mut cluster.nodes[of].client().unwrap(), &sets[of][..100]);
        // The moment is what is tested: there is nothing to wait for.
        std::thread::sleep(Duration::from_millis(round as u64 * 7));
        cluster.nodes[3].kill().unwrap();
        let checked = std::process::Command::new(Binary::NodeServer.path().unwrap())
            .args(["check", "aof"])
            .arg(cluster.nodes[3].dir().join("appendonlydir/appendonly.aof.manifest"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() || said.contains("--fix"), "{said}");
        cluster.nodes[3].restart().unwrap();
        cluster.wait_synced().unwrap();
        wait_same_offset(&cluster.nodes[of], &cluster.nodes[3]);
        assert!(has_all(&mut reader(&cluster.nodes[3]), &sets[of]), "round {round}");
        let size = cluster.nodes[3].client().unwrap().call(&["DBSIZE"]).unwrap();
        assert_eq!(size, Reply::Integer(1500), "round {round}: keys of the other master");
    }
}

/// A master whose data is gone must not find an empty file of its own at its next start and serve that.
#[test]
fn an_empty_master_is_silent_at_every_start() {
    let ports = e2e::PortBlock::reserve(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let memory = ServerSpec { dir: Some(dir.path().to_owned()), ..lone(ports.port(0)) };
    let mut server = Server::start(memory.clone()).unwrap();
    let mut client = server.client().unwrap();
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("it serves", SOON, || {
        client.command(&["SET", "key", "value"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    server.kill().unwrap();
    let spec = memory.with("appendonly", "yes").with("appendfsync", "always").with("save", "3600 1");
    for round in 0..4 {
        let mut server = Server::start(spec.clone()).unwrap();
        let mut client = server.client().unwrap();
        // Long enough for everything that it might write.
        std::thread::sleep(Duration::from_millis(500));
        let reply = client.command(&["GET", "key"]).unwrap();
        assert!(
            matches!(&reply, Reply::Error(text) if text.starts_with("CLUSTERDOWN")),
            "{round}: {reply:?}"
        );
        assert!(matches!(client.command(&["SAVE"]).unwrap(), Reply::Error(_)));
        if round % 2 == 0 {
            server.kill().unwrap();
        } else {
            assert!(server.stop().unwrap().success(), "{}", server.log());
        }
        assert!(!dir.path().join("dump.rdb").exists());
    }
    let mut server = Server::start(spec.clone()).unwrap();
    let mut client = server.client().unwrap();
    client.call(&["CLUSTER", "REOPEN"]).unwrap();
    wait::until("it serves", SOON, || {
        client.command(&["SET", "key", "new"]).unwrap() == Reply::Simple("OK".into())
    })
    .unwrap();
    server.kill().unwrap();
    let server = Server::start(spec).unwrap();
    let mut client = server.client().unwrap();
    wait::until("it serves what it had", SOON, || {
        client.command(&["GET", "key"]).unwrap() == Reply::Bulk(b"new".to_vec())
    })
    .unwrap();
}
