use super::*;
use crate::node::ReplicaLink;

fn replica(port: u16, state: &'static str, offset: u64, last_ack: u64) -> ReplicaLink {
    ReplicaLink { ip: "127.0.0.1".into(), port, state, offset, last_ack: Millis(last_ack) }
}

#[test]
fn candidates_are_online_and_fresh_and_the_best_comes_first() {
    let replicas = vec![
        replica(1, "online", 10, 10_000),
        replica(2, "online", 30, 10_000 - IN_SYNC_MS),
        replica(3, "send_bulk", 40, 10_000),
        replica(4, "online", 50, 10_000 - IN_SYNC_MS - 1),
        replica(5, "online", 20, 10_000),
        ReplicaLink { ip: "a.name".into(), ..replica(6, "online", 60, 10_000) },
    ];
    let status = ReplicationStatus { replicas, ..ReplicationStatus::default() };
    let ports: Vec<u16> = candidates(&status, Millis(10_000)).iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [2, 5, 1]);
}

/// Found by the simulation: a replica that was told of its master's new address no longer knew how old its copy was, and
/// neither stood nor was let take over when the master died before the next sync.
#[test]
fn a_copy_stays_as_old_as_it_is_where_its_master_moves() {
    let address = |port| MasterAddress { host: "127.0.0.1".into(), port };
    let mut link = MasterLink::begin(&address(7000));
    link.enter("connected", Millis(1000));
    link.last_io = Some(Millis(1500));
    link.move_to(&address(7001), Millis(2000));
    assert_eq!((link.port, link.state, link.last_io), (7001, "connect", Some(Millis(1500))));
    assert_eq!(link.down_since, Some(Millis(2000)));
    link.move_to(&address(7002), Millis(3000));
    assert_eq!(link.down_since, Some(Millis(2000)), "down since it was lost first");
    link.enter("sync", Millis(4000));
    link.move_to(&address(7003), Millis(5000));
    assert!(link.resync, "half a full sync is no copy");
}
