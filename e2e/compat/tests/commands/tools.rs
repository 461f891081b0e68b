//! redis-cli's other `--cluster` commands, and redis-benchmark's cluster mode.

use e2e::cli::redis_cli_with_input;
use e2e::{Binary, LocalCluster, Server, Shape, wait};
use e2e_compat::cli;
use e2e_compat::views::{self, SOON};
use node_server_protocol::{Slot, key_slot};
use std::process::Command;

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

fn ids(cluster: &LocalCluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| views::id(node.port()).unwrap().to_string()).collect()
}

fn owned(cluster: &LocalCluster) -> Vec<usize> {
    cluster.nodes.iter().map(|node| views::myself(node.port()).unwrap().slots.len()).collect()
}

fn assert_checked(node: &Server) {
    let text = cli::cluster(&["check", &address(node)]).unwrap();
    assert!(text.contains("[OK] All nodes agree about slots configuration."), "{text}");
    assert!(text.contains("[OK] All 16384 slots covered.") && !text.contains("[WARNING]"), "{text}");
}

#[test]
fn rebalance_follows_the_weights_and_back() {
    const KEYS: u32 = 300;
    let cluster = LocalCluster::start(Binary::NodeServer, &Shape::new(3, 0).without_failover()).unwrap();
    let any = address(&cluster.nodes[0]);
    for i in 0..KEYS {
        let name = format!("key:{i}");
        let owner = cluster.owner(0, key_slot(name.as_bytes())).unwrap();
        cluster.nodes[owner].client().unwrap().call(&["SET", &name, "value"]).unwrap();
    }
    let ids = ids(&cluster);
    let weights = [format!("{}=1.05", ids[0]), format!("{}=0.95", ids[2])];
    let args = ["rebalance", &any, "--cluster-weight", &weights[0], &weights[1]];
    let text = cli::cluster(&args).unwrap();
    assert!(text.contains(">>> Rebalancing across 3 nodes. Total weight = 3.00"), "{text}");
    cluster.wait_agreed().unwrap();
    let slots = owned(&cluster);
    assert!(slots[0].abs_diff(5734) <= 2 && slots[1].abs_diff(5461) <= 2, "{slots:?}");
    assert!(slots[2].abs_diff(5188) <= 2 && slots.iter().sum::<usize>() == 16_384, "{slots:?}");
    cli::cluster(&["rebalance", &any]).unwrap();
    cluster.wait_agreed().unwrap();
    let slots = owned(&cluster);
    assert!(slots.iter().all(|count| count.abs_diff(5461) <= 2), "{slots:?}");
    let keys: i64 = cluster.nodes.iter().map(|node| views::keys(node.port()).unwrap()).sum();
    assert_eq!(keys, i64::from(KEYS));
    assert_checked(&cluster.nodes[0]);
}

fn set(node: &Server, name: &str) {
    node.client().unwrap().call(&["SET", name, "value"]).unwrap();
}

fn set_slot(node: &Server, slot: &str, state: &[&str]) {
    let mut words = vec!["CLUSTER", "SETSLOT", slot];
    words.extend(state);
    node.client().unwrap().call(&words).unwrap();
}

#[test]
fn fix_finishes_what_was_broken_off() {
    let cluster = LocalCluster::start(Binary::NodeServer, &Shape::new(3, 0).without_failover()).unwrap();
    let ids = ids(&cluster);
    let any = address(&cluster.nodes[0]);
    // Slot 741 is on its way from 0 to 1, and two of its three keys have arrived: redis-cli goes on to 1.
    for key in ["{age}1", "{age}2", "{age}3"] {
        set(&cluster.nodes[0], key);
    }
    set_slot(&cluster.nodes[1], "741", &["IMPORTING", &ids[0]]);
    set_slot(&cluster.nodes[0], "741", &["MIGRATING", &ids[1]]);
    let port = cluster.nodes[1].port().to_string();
    let mut source = cluster.nodes[0].client().unwrap();
    source.call(&["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", "{age}1", "{age}2"]).unwrap();
    // Slot 9000 of 1 was to go to 2, which was not told.
    set_slot(&cluster.nodes[1], "9000", &["MIGRATING", &ids[2]]);
    // Slot 15000 of 2 was to come to 0, and 2 was not told.
    set_slot(&cluster.nodes[0], "15000", &["IMPORTING", &ids[2]]);
    let open = cli::run(&["--cluster", "check", &any]).unwrap();
    assert!(open.text.contains("[WARNING] The following slots are open: "), "{}", open.text);
    let fixed = redis_cli_with_input(&["--cluster", "fix", &any], "").unwrap();
    assert!(fixed.ok, "{}", fixed.text);
    cluster.wait_agreed().unwrap();
    assert_checked(&cluster.nodes[0]);
    for (slot, owner) in [(741, 1), (9000, 1), (15_000, 2)] {
        assert_eq!(cluster.owner(0, Slot::new(slot).unwrap()).unwrap(), owner, "slot {slot}\n{}", fixed.text);
    }
    let mut target = cluster.nodes[1].client().unwrap();
    for key in ["{age}1", "{age}2", "{age}3"] {
        assert_eq!(target.text(&["GET", key]).unwrap(), "value", "{key}");
    }
    for node in &cluster.nodes {
        let me = views::myself(node.port()).unwrap();
        assert!(me.migrating.is_empty() && me.importing.is_empty(), "{me:?}");
    }
}

#[test]
fn fix_covers_slots_that_nobody_owns() {
    let cluster = LocalCluster::start(Binary::NodeServer, &Shape::new(3, 0).without_failover()).unwrap();
    for node in &cluster.nodes {
        node.client().unwrap().call(&["CLUSTER", "DELSLOTS", "7", "8"]).unwrap();
    }
    // What 0 claimed last may still be on its way.
    let nobody = |node: &Server| {
        views::view(node.port())
            .is_ok_and(|lines| lines.iter().all(|l| !l.slots.contains(Slot::new(7).unwrap())))
    };
    wait::until("nobody owns slot 7", SOON, || cluster.nodes.iter().all(nobody)).unwrap();
    let any = address(&cluster.nodes[0]);
    let check = cli::run(&["--cluster", "check", &any]).unwrap();
    assert!(
        !check.ok && check.text.contains("[ERR] Not all 16384 slots are covered by nodes."),
        "{}",
        check.text
    );
    let fixed = redis_cli_with_input(&["--cluster", "fix", &any], "yes\n").unwrap();
    assert!(fixed.ok, "{}", fixed.text);
    cluster.wait_agreed().unwrap();
    assert_checked(&cluster.nodes[0]);
}

#[test]
fn call_and_info_ask_every_node() {
    let cluster = LocalCluster::start(Binary::NodeServer, &Shape::new(3, 1).without_failover()).unwrap();
    let any = address(&cluster.nodes[0]);
    let called = cli::cluster(&["call", &any, "PING"]).unwrap();
    for node in &cluster.nodes {
        assert!(called.contains(&format!("{}: PONG\n", address(node))), "{called}");
    }
    let replicas = cli::cluster(&["call", &any, "PING", "--cluster-only-replicas"]).unwrap();
    assert_eq!(replicas.matches("PONG").count(), 3, "{replicas}");
    let set = cli::cluster(&["call", &any, "CONFIG", "SET", "maxclients", "4000"]).unwrap();
    assert_eq!(set.matches(": OK\n").count(), 6, "{set}");
    let info = cli::cluster(&["info", &any]).unwrap();
    for (node, slots) in cluster.nodes[..3].iter().zip([5461, 5462, 5461]) {
        let expected = format!(" -> 0 keys | {slots} slots | 1 slaves.\n");
        let line = info.lines().find(|line| line.starts_with(&address(node))).unwrap();
        assert!(format!("{line}\n").ends_with(&expected), "{info}");
    }
    assert!(info.contains("[OK] 0 keys in 3 masters."), "{info}");
}

#[test]
fn redis_benchmark_runs_through() {
    let cluster = LocalCluster::start(Binary::NodeServer, &Shape::new(3, 1).without_failover()).unwrap();
    let port = cluster.nodes[1].port().to_string();
    for how in [&["-P", "1"][..], &["-P", "16"], &["-P", "4", "--threads", "2"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["--cluster", "-p", &port, "-q", "-n", "10000", "-c", "20", "-r", "1000"]);
        let output = command.args(["-t", "ping,set,get,incr,mset"]).args(how).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !text.contains("rror"), "{how:?}: {text}{errors}");
        for name in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
            let done = |line: &str| line.starts_with(name) && line.contains("requests per second");
            assert!(text.lines().any(done), "{how:?}, {name}: {text}{errors}");
        }
    }
    // Random keys reach every master.
    assert!(cluster.nodes[..3].iter().all(|node| views::keys(node.port()).unwrap() > 0));
}
