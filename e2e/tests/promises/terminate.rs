//! SIGTERM of each master in turn, with the operator running: it sees the process end and starts it again. The handover
//! is the node's own business, so the operator could be away as well; that it is there and sees a dead process is the
//! harder case. Nothing fails, nothing is lost.

use crate::scene::{Scene, THREE, assert_owned};
use e2e::wait;
use e2e::writer::Keys;
use rustix::process::Signal;
use std::time::Duration;
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(30);
/// Every master, and then every master that took over from one.
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_of_each_master_in_turn() {
    let scene = Scene::three(vec![Keys::spread(10_000, 100)]).await;
    for shard in (0..3).cycle().take(3 * ROUNDS) {
        block_in_place(|| hand_over(&scene, shard));
        scene.converged().await;
    }
    assert_owned(&scene.cluster, &THREE);
    scene.finish_spotless().await;
}

/// SIGTERM of the master; returns when another process has its place and its replica the slots.
fn hand_over(scene: &Scene, shard: u16) {
    let cluster = &scene.cluster;
    let (master, replica) = (cluster.master_of(shard).unwrap(), cluster.replica_of(shard).unwrap());
    let before = cluster.place(master).unwrap();
    cluster.signal_member(master, Signal::TERM).unwrap();
    wait::until("the replica has taken over, and the process is another one", LIMIT, || {
        let owns = cluster.report(replica).is_ok_and(|r| !r.own_slots().is_empty());
        owns && cluster.place(master).is_ok_and(|now| now.pid.is_some() && now.pid != before.pid)
    })
    .unwrap();
}
