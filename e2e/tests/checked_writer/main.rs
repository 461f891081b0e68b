//! The checked writer's own test: it passes where nothing is wrong, and fails on every planted fault.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and clippy takes only test functions for one"
)]

mod faults;
mod open_slot;
mod proxy;

use e2e::writer::{Keys, Loss, Options, Writer};
use e2e::{Binary, LocalCluster, Shape, cli};
use node_server_protocol::resp::Reply;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn masters() -> LocalCluster {
    LocalCluster::start(Binary::Redis, &Shape::new(3, 0).without_failover()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_run_is_clean() {
    let cluster = masters();
    let writer = Writer::start(Options::new(&cluster.addresses())).await.unwrap();
    writer.wait_for_writes(5000, LIMIT).await.unwrap();
    let report = writer.finish().await.unwrap();
    report.assert_no_failures();
    assert_eq!((report.lost, report.tally.unknown), (0, 0));
    assert!(report.keys_checked > 8 * 72 && report.tally.reads > 500, "{report}");
    assert_eq!(report.longest_gap_ms.len(), 3, "{report}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["redirections"]["moved"], 0);
    assert_eq!(json["violation_count"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_is_clean() {
    let cluster = masters();
    let options = Options::new(&cluster.addresses());
    Keys::spread(5000, 32).set(&options).await.unwrap();
    let writer = Writer::start(options.clone()).await.unwrap();
    writer.wait_for_writes(1000, LIMIT).await.unwrap();
    let (from, to) = (cluster.view(0).unwrap(), cluster.view(1).unwrap());
    let id = |lines: &[node_server_protocol::topology::NodeLine]| {
        lines.iter().find(|line| line.is_myself()).unwrap().id.to_string()
    };
    let (from, to, port) = (id(&from), id(&to), cluster.nodes[0].port());
    let moved = tokio::task::spawn_blocking(move || {
        let node = format!("127.0.0.1:{port}");
        let chosen =
            ["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", "1500", "--cluster-yes"];
        cli::redis_cli(&[&["--cluster", "reshard", &node][..], &chosen].concat())
    });
    moved.await.unwrap().unwrap();
    writer.wait_for_writes(1000, LIMIT).await.unwrap();
    let report = writer.finish().await.unwrap();
    println!("{report}");
    report.assert_no_failures();
    assert!(report.tally.redirections.moved > 0, "{report}");
    let keys = Keys::spread(5000, 32).verify(&options).await.unwrap();
    assert!(keys.is_complete(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_closed_in_between_are_no_failures() {
    let cluster = masters();
    let options = Options { operations_per_second: 40, ..Options::new(&cluster.addresses()) };
    let writer = Writer::start(options).await.unwrap();
    writer.wait_for_writes(40, LIMIT).await.unwrap();
    for node in &cluster.nodes {
        node.client().unwrap().call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    }
    writer.wait_for_writes(40, LIMIT).await.unwrap();
    let report = writer.finish().await.unwrap();
    report.assert_clean();
    assert!(report.tally.redirections.reconnects > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_may_lose_a_suffix_and_fails_commands() {
    let mut cluster = LocalCluster::start(Binary::Redis, &Shape::new(3, 1)).unwrap();
    let options = Options { loss: Loss::Suffix, ..Options::new(&cluster.addresses()) };
    let writer = Writer::start(options).await.unwrap();
    writer.wait_for_writes(3000, LIMIT).await.unwrap();
    // Of what is older than this the replica has everything, however busy the machine is.
    let mut client = cluster.nodes[0].client().unwrap();
    client.call(&["SET", "{06S}", "x"]).unwrap();
    assert_eq!(client.call(&["WAIT", "1", "9000"]).unwrap(), Reply::Integer(1));
    cluster.nodes[0].kill().unwrap();
    tokio::task::block_in_place(|| {
        e2e::wait::until("the replica takes over", LIMIT, || {
            cluster.owner(1, node_server_protocol::Slot::FIRST).is_ok_and(|i| i == 3)
        })
    })
    .unwrap();
    writer.wait_for_writes(3000, LIMIT).await.unwrap();
    let report = writer.finish().await.unwrap();
    println!("{report}");
    report.assert_clean();
    assert!(report.failed > 0 && report.longest_gap() > 1000, "{report}");
    assert!(report.lost_writes.iter().all(|lost| lost.span_ms < 5000), "{report}");
}

#[tokio::test]
async fn lost_keys_of_a_preload_are_named() {
    let cluster = masters();
    let options = Options::new(&cluster.addresses());
    let keys = Keys::spread(1000, 8);
    keys.set(&options).await.unwrap();
    assert!(keys.verify(&options).await.unwrap().is_complete());
    faults::call_owner(&cluster, b"preloaded:7", &[b"DEL", b"preloaded:7"]);
    faults::call_owner(&cluster, b"preloaded:8", &[b"SET", b"preloaded:8", b"x"]);
    let found = keys.verify(&options).await.unwrap();
    assert_eq!((found.missing, found.wrong), (1, 1));
    assert_eq!(found.named.len(), 2);
}
