//! Masters that go, with and without a word.

use super::*;
use e2e::writer::{Options, Writer};

#[test]
fn a_killed_master_is_replaced_and_comes_back_as_itself() {
    let mut cluster = cluster(3, 1);
    let keys = keys_of(0, 3, "k", 300);
    let mut client = cluster.nodes[0].client().unwrap();
    set_all(&mut client, &keys);
    assert_eq!(client.call(&["WAIT", "1", "5000"]).unwrap(), Reply::Integer(1));
    let name = id(&cluster.nodes[0]);
    cluster.nodes[0].kill().unwrap();
    wait_role(&cluster.nodes[3], "master");
    wait::until("the new master serves", SOON, || {
        cluster.nodes[3].client().unwrap().command(&["SET", &keys[0], &format!("value-{}", keys[0])]).unwrap()
            == Reply::Simple("OK".into())
    })
    .unwrap();
    assert!(has_all(&mut cluster.nodes[3].client().unwrap(), &keys));
    cluster.nodes[0].restart().unwrap();
    assert_eq!(id(&cluster.nodes[0]), name);
    wait_role(&cluster.nodes[0], "slave");
    cluster.wait_synced().unwrap();
    wait_same_offset(&cluster.nodes[3], &cluster.nodes[0]);
    let mut reader = cluster.nodes[0].client().unwrap();
    reader.call(&["READONLY"]).unwrap();
    assert!(has_all(&mut reader, &keys));
}

/// A master that a busy machine has kept from answering may count as failed for a moment, and then it is refused.
fn start_failover(replica: &Server) {
    wait::until("a failover begins", SOON, || {
        let reply = replica.client().unwrap().command(&["CLUSTER", "FAILOVER"]).unwrap();
        reply == Reply::Simple("OK".into())
    })
    .unwrap();
}

/// Whether it is a master; asked to become one otherwise.
fn start_failover_unless_master(replica: &Server) -> bool {
    let is_master = info(replica, "replication", "role") == "master";
    if !is_master {
        // Refused while its master counts as failed, or when it has become one just now.
        replica.client().unwrap().command(&["CLUSTER", "FAILOVER"]).unwrap();
    }
    is_master
}

/// A handover keeps both histories: the old master goes on with the new one's log, and back.
#[test]
fn manual_failovers_resync_partially() {
    let cluster = cluster(3, 1);
    let keys = keys_of(0, 3, "k", 100);
    set_all(&mut cluster.nodes[0].client().unwrap(), &keys);
    for (from, to) in [(0, 3), (3, 0)] {
        wait::until("the replica has taken over", SOON, || {
            // Slow disks may take the time that one has; asked again, one that is under way goes on.
            start_failover_unless_master(&cluster.nodes[to])
        })
        .unwrap();
        wait_role(&cluster.nodes[from], "slave");
        wait::until("the old master's link is up", SOON, || {
            info(&cluster.nodes[from], "replication", "master_link_status") == "up"
        })
        .unwrap();
        wait_same_offset(&cluster.nodes[to], &cluster.nodes[from]);
        assert_eq!(info(&cluster.nodes[to], "stats", "sync_partial_ok"), "1");
        cluster.wait_roles(3).unwrap();
    }
    assert!(has_all(&mut cluster.nodes[0].client().unwrap(), &keys));
    assert_eq!(info(&cluster.nodes[3], "stats", "sync_full"), "0");
}

/// Found with the checked writer: the old master heard of the new one some milliseconds before that served, and sent
/// clients there, who were sent back.
#[test]
fn a_new_master_serves_before_the_old_one_sends_clients_there() {
    let cluster = cluster(3, 1);
    let key = &keys_of(0, 3, "k", 1)[0];
    let mut sent_back = 0;
    for (from, to) in [(0, 3), (3, 0)].into_iter().cycle().take(20) {
        let (mut old, mut new) = (cluster.nodes[from].client().unwrap(), cluster.nodes[to].client().unwrap());
        start_failover(&cluster.nodes[to]);
        let begun = Instant::now();
        while !matches!(old.command(&["GET", key]).unwrap(), Reply::Error(moved) if moved.starts_with("MOVED"))
        {
            assert!(begun.elapsed() < SOON, "no failover");
        }
        match new.command(&["SET", key, "v"]).unwrap() {
            Reply::Simple(text) if text == "OK" => {}
            Reply::Error(text) if text.starts_with("MOVED") => sent_back += 1,
            other => panic!("{other:?}"),
        }
        wait_role(&cluster.nodes[from], "slave");
        wait::until("the old master's link is up", SOON, || {
            info(&cluster.nodes[from], "replication", "master_link_status") == "up"
        })
        .unwrap();
        cluster.wait_roles(3).unwrap();
    }
    // A thread of the new master that a busy machine holds up may be late for once.
    assert!(sent_back <= 1, "{sent_back} of 20 times");
}

/// The state of an open slot is with the replica before SETSLOT's OK, also with one that came later.
#[test]
fn open_slots_survive_a_failover() {
    let mut cluster = cluster(3, 1);
    let (here, there) = (id(&cluster.nodes[0]), id(&cluster.nodes[1]));
    let mut client = cluster.nodes[0].client().unwrap();
    client.call(&["CLUSTER", "SETSLOT", "7", "MIGRATING", &there.to_string()]).unwrap();
    cluster.nodes[3].kill().unwrap();
    client.call(&["CLUSTER", "SETSLOT", "8", "MIGRATING", &there.to_string()]).unwrap();
    cluster.nodes[3].restart().unwrap();
    cluster.wait_synced().unwrap();
    client.call(&["CLUSTER", "SETSLOT", "9", "MIGRATING", &there.to_string()]).unwrap();
    cluster.nodes[0].kill().unwrap();
    wait_role(&cluster.nodes[3], "master");
    let nodes = cluster.nodes[3].client().unwrap().text(&["CLUSTER", "NODES"]).unwrap();
    let own = nodes.lines().find(|l| l.contains("myself")).unwrap();
    for slot in [7, 8, 9] {
        assert!(own.contains(&format!("[{slot}->-{there}]")), "{own}");
    }
    assert!(!own.contains(&here.to_string()), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_fails_no_write() {
    let mut cluster = cluster(3, 1);
    let writer = Writer::start(Options::new(&cluster.addresses())).await.unwrap();
    writer.wait_for_writes(1000, SOON).await.unwrap();
    for n in 0..3 {
        let status = cluster.nodes[n].stop().unwrap();
        assert!(status.success(), "{status}");
        assert!(cluster.nodes[n].log().contains("Handover: Done"), "{}", cluster.nodes[n].log());
        writer.wait_for_writes(1000, SOON).await.unwrap();
        cluster.nodes[n].restart().unwrap();
        cluster.wait_synced().unwrap();
        cluster.wait_agreed().unwrap();
    }
    let report = writer.finish().await.unwrap();
    report.assert_clean();
    report.assert_no_failures();
}

/// Nobody could take over, so nobody is waited for.
#[test]
fn sigterm_without_a_replica_does_not_wait() {
    let mut cluster = cluster(3, 0);
    let began = Instant::now();
    assert!(cluster.nodes[0].stop().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(cluster.nodes[0].log().contains("Handover: NotNeeded"), "{}", cluster.nodes[0].log());
}

#[test]
fn shutdown_hands_over_too() {
    let mut cluster = cluster(3, 1);
    // The connection ends without a reply.
    let _ = cluster.nodes[1].client().unwrap().command(&["SHUTDOWN"]);
    wait_role(&cluster.nodes[4], "master");
    wait::until("it has ended", SOON, || cluster.nodes[1].client().is_err()).unwrap();
    assert!(cluster.nodes[1].log().contains("Handover: Done"), "{}", cluster.nodes[1].log());
    cluster.nodes[1].kill().unwrap();
}
