//! Step 7, the wrong way: a server that is not empty is not added.

use e2e::{Client, wait};
use e2e_compat::views::{self, SOON};
use e2e_compat::{Installation, cli};

/// Leaves server 7 running and empty.
pub(crate) fn step_7_refuse_what_is_not_empty(servers: &Installation) {
    left_over_nodes_conf(servers);
    a_key(servers);
}

/// Server 7 was in a cluster with server 8 once.
fn left_over_nodes_conf(servers: &Installation) {
    let knows = |n, other| views::line(servers.port(n), servers.port(other)).is_ok_and(|line| line.connected);
    servers.start(7).unwrap();
    servers.start(8).unwrap();
    let mut client = Client::local(servers.port(7)).unwrap();
    client.call(&["CLUSTER", "MEET", "127.0.0.1", &servers.port(8).to_string()]).unwrap();
    wait::until("7 and 8 know each other", SOON, || knows(7, 8) && knows(8, 7)).unwrap();
    let other = views::id(servers.port(8)).unwrap().to_string();
    let file = servers.dir(7).join("nodes.conf");
    wait::until("7 has written it down", SOON, || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&other))
    })
    .unwrap();
    for n in [7, 8] {
        servers.kill(n).unwrap();
    }
    std::fs::remove_file(servers.dir(8).join("nodes.conf")).unwrap();
    servers.start(7).unwrap();
    assert_refused(servers);
    servers.kill(7).unwrap();
    std::fs::remove_file(servers.dir(7).join("nodes.conf")).unwrap();
    servers.start(7).unwrap();
}

/// Server 7 knows nobody but holds a key.
fn a_key(servers: &Installation) {
    let mut client = Client::local(servers.port(7)).unwrap();
    client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    wait::until("7 serves", SOON, || client.call(&["SET", "left", "over"]).is_ok()).unwrap();
    client.call(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]).unwrap();
    assert_eq!(views::cluster_info(servers.port(7), "cluster_known_nodes").unwrap(), "1");
    assert_refused(servers);
    client.call(&["FLUSHALL"]).unwrap();
}

fn assert_refused(servers: &Installation) {
    let newcomer = servers.address(7);
    let output = cli::run(&["--cluster", "add-node", &newcomer, &servers.address(2)]).unwrap();
    let refusal = format!(
        "[ERR] Node {newcomer} is not empty. Either the node already knows other nodes (check with CLUSTER NODES) \
         or contains some key in database 0."
    );
    assert!(!output.ok && output.text.contains(&refusal), "{}", output.text);
    assert!(views::line(servers.port(2), servers.port(7)).is_err(), "it was not added");
}
