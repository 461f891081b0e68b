//! SIGKILL of each master in turn. What its replica had not received is lost: that is counted, printed, and must be a
//! suffix of each connection's writes to that master, within the replication lag. The replica takes writes within the
//! node timeout and a second: by the votes of the others alone, and with the operator, which knows that the process has
//! ended and need not wait for the timeout. Where other work takes the machine it may be later, so the best of three
//! counts.

use crate::lag::{LagWatch, millis};
use crate::scene::Scene;
use e2e::writer::{Keys, Loss, Report};
use e2e::{Declared, wait};
use node_server_protocol::key_slot;
use node_server_protocol::resp::Reply;
use operator_planner::MemberId;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const NODE_TIMEOUT: Duration = Duration::from_millis(2000);
/// What an election may take on top of the node timeout where the disk is slow: each of two nodes writes nodes.conf three times. A
/// second attempt would come after four node timeouts.
const ON_TOP: Duration = Duration::from_secs(4);
/// How long a busy machine may take.
const LIMIT: Duration = Duration::from_secs(30);
const SPEC: &str = "masters: 3, replicasPerMaster: 1, config: {cluster-node-timeout: 2000}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_master_in_turn_with_the_operator() {
    let scene = scene().await;
    let mut all = Vec::new();
    for shard in 0..3 {
        all.push(block_in_place(|| kill(&scene, shard)));
        scene.converged().await;
    }
    assert_in_time(&all);
    assert_within_lag(&scene.finish().await, &all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_master_in_turn_with_the_operator_away() {
    let mut scene = scene().await;
    let mut all = Vec::new();
    for shard in 0..3 {
        scene.cluster.kill_operator().unwrap();
        all.push(block_in_place(|| kill(&scene, shard)));
        scene.cluster.start_operator().unwrap();
        scene.converged().await;
    }
    assert_in_time(&all);
    assert_within_lag(&scene.finish().await, &all);
}

async fn scene() -> Scene {
    let cluster = Declared::with_spec(SPEC).unwrap();
    let keys = vec![Keys::spread(10_000, 100)];
    Scene::new(cluster, &crate::scene::THREE, Loss::Suffix, keys).await
}

/// A master that was killed, until when it can have lost nothing, and when its replica took writes.
struct Killed {
    master: String,
    safe_at: u64,
    took: Duration,
}

/// Kills the master of a shard and waits for the first write to its replica.
fn kill(scene: &Scene, shard: u16) -> Killed {
    let cluster = &scene.cluster;
    let (master, replica) = (cluster.master_of(shard).unwrap(), cluster.replica_of(shard).unwrap());
    let (from, to) = (cluster.place(master).unwrap(), cluster.place(replica).unwrap());
    let (key, started) = (key_in(cluster, master), scene.writer.started());
    let lag = LagWatch::start(started, from.client().unwrap(), to.client().unwrap());
    wait::until("the lag is known", LIMIT, || lag.is_known()).unwrap();
    let (killed, at) = (Instant::now(), millis(started));
    cluster.signal_member(master, Signal::KILL).unwrap();
    let safe_at = lag.safe_at();
    let mut client = to.client().unwrap();
    wait::until("the replica takes a write", LIMIT, || {
        matches!(client.command(&["SET", &key, "x"]), Ok(Reply::Simple(_)))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", cluster.said_tail()));
    let took = killed.elapsed();
    println!(
        "SIGKILL of {master}: {replica} takes writes after {} ms; it had everything until {} ms before",
        took.as_millis(),
        at.saturating_sub(safe_at)
    );
    Killed { master: from.address().to_string(), safe_at, took }
}

/// A key in a slot that the member owns.
fn key_in(cluster: &Declared, member: MemberId) -> String {
    let slots = cluster.report(member).unwrap().own_slots();
    let keys = (0..10_000).map(|i| format!("probe:{i}"));
    let owned = |key: &String| slots.contains(key_slot(key.as_bytes()));
    keys.into_iter().find(owned).unwrap()
}

fn assert_in_time(all: &[Killed]) {
    let best = all.iter().map(|killed| killed.took).min().unwrap();
    assert!(best <= NODE_TIMEOUT + ON_TOP, "the fastest took {} ms", best.as_millis());
}

fn assert_within_lag(report: &Report, all: &[Killed]) {
    for lost in &report.lost_writes {
        let killed = all.iter().find(|k| k.master == lost.master);
        let killed = killed.unwrap_or_else(|| panic!("{} was not killed: {report}", lost.master));
        assert!(lost.first_at_ms >= killed.safe_at, "the replica had that write: {lost:?}\n{report}");
    }
}
