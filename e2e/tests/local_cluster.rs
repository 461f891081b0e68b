//! The helpers against real Redis servers.

use e2e::{Binary, LocalCluster, Server, ServerSpec, Shape, cli, ports::PortBlock, wait};
use std::time::Duration;

#[test]
fn masters_and_replicas_agree_and_a_killed_master_is_replaced() {
    let mut cluster = LocalCluster::start(Binary::Redis, &Shape::new(3, 1)).unwrap();
    let port = cluster.nodes[0].port().to_string();
    let check = cli::redis_cli(&["--cluster", "check", &format!("127.0.0.1:{port}")]).unwrap();
    assert!(check.contains("[OK] All 16384 slots covered."), "{check}");
    cluster.nodes[0].kill().unwrap();
    wait::until("the replica takes over", Duration::from_secs(60), || {
        cluster.owner(1, node_server_protocol::Slot::FIRST).is_ok_and(|i| i == 3)
    })
    .unwrap();
    cluster.nodes[0].restart().unwrap();
    cluster.wait_agreed().unwrap();
    cluster.wait_synced().unwrap();
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let ports = PortBlock::reserve(1).unwrap();
    let spec = ServerSpec::new(Binary::Redis, ports.port(0)).with("appendfsync", "sometimes");
    let error = format!("{:#}", Server::start(spec).unwrap_err());
    assert!(error.contains("appendfsync"), "{error}");
}

#[test]
fn a_stopped_server_is_reaped_and_its_directory_goes() {
    let ports = PortBlock::reserve(1).unwrap();
    let mut server = Server::start(ServerSpec::new(Binary::Redis, ports.port(0))).unwrap();
    let dir = server.dir().to_owned();
    server.pause().unwrap();
    server.resume().unwrap();
    assert!(server.stop().unwrap().success());
    assert!(server.client().is_err() && server.log().contains("SIGTERM"));
    drop(server);
    assert!(!dir.exists());
}
