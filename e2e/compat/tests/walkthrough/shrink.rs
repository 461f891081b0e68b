//! Step 11: the reverse. The fourth master's slots go back, and it and the replicas leave.

use crate::replicas::NINE;
use e2e::wait;
use e2e_compat::installation::SIX;
use e2e_compat::views::{self, SOON};
use e2e_compat::{Conversation, Installation, cli};

pub(crate) fn step_11_take_them_away(servers: &Installation, heir: u16) {
    // redis-cli moves the lowest slots first, so in this order each master gets back what it gave.
    give_back(servers, 1, 1365);
    give_back(servers, heir, 1366);
    give_back(servers, 3, 1365);
    servers.wait_agreed(&NINE).unwrap();
    for (n, slots) in [(1, "0-5460"), (heir, "5461-10922"), (3, "10923-16383"), (7, "-")] {
        assert_eq!(views::slots(servers.port(2), servers.port(n)).unwrap(), slots, "server {n}");
    }
    // A master that gave its last slots away follows whom it gave them, and so does its replica.
    for n in [7, 8] {
        wait::until(&format!("server {n} follows server 3"), SOON, || {
            views::follows(servers.port(n), servers.port(3))
        })
        .unwrap();
    }
    for n in [8, 9, 7] {
        delete(servers, n);
    }
    servers.wait_agreed(&SIX).unwrap();
    for n in [7, 8, 9] {
        assert_is_reset(servers, n);
    }
}

fn give_back(servers: &Installation, to: u16, count: u16) {
    let id = |n| views::id(servers.port(n)).unwrap().to_string();
    let (from, to, count) = (id(7), id(to), count.to_string());
    // As a conversation, which does not wait for ever.
    let reshard = Conversation::start(&[
        "--cluster",
        "reshard",
        &servers.address(1),
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        &count,
        "--cluster-yes",
    ]);
    let text = reshard.unwrap().finish().unwrap();
    assert!(!text.contains("[ERR]"), "{text}");
    servers.wait_agreed(&NINE).unwrap();
}

fn delete(servers: &Installation, n: u16) {
    let id = views::id(servers.port(n)).unwrap().to_string();
    let text = cli::cluster(&["del-node", &servers.address(1), &id]).unwrap();
    assert!(text.contains(">>> Sending CLUSTER FORGET messages to the cluster...\n"), "{text}");
    assert!(text.contains(">>> Sending CLUSTER RESET SOFT to the deleted node.\n"), "{text}");
    for other in SIX {
        wait::until(&format!("server {other} has forgotten server {n}"), SOON, || {
            views::view(servers.port(other))
                .is_ok_and(|lines| lines.iter().all(|line| line.id.to_string() != id))
        })
        .unwrap();
    }
}

/// It is an empty master that knows nobody.
fn assert_is_reset(servers: &Installation, n: u16) {
    let port = servers.port(n);
    let me = views::myself(port).unwrap();
    assert!(me.master.is_none() && me.slots.is_empty(), "{me:?}");
    assert_eq!(views::cluster_info(port, "cluster_known_nodes").unwrap(), "1");
    assert_eq!(views::keys(port).unwrap(), 0);
}
