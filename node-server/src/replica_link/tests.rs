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
