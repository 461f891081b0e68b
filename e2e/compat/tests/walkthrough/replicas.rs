//! Step 10: replicas are added, of the master that lacks one and of one that is named.

use e2e::{Client, wait};
use e2e_compat::views::{self, SOON};
use e2e_compat::{Installation, cli};

pub(crate) const EIGHT: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
pub(crate) const NINE: [u16; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

pub(crate) fn step_10_add_replicas(servers: &Installation, heir: u16) {
    servers.start(8).unwrap();
    let text =
        cli::cluster(&["add-node", &servers.address(8), &servers.address(7), "--cluster-slave"]).unwrap();
    assert!(text.contains(&format!("Automatically selected master {}\n", servers.address(7))), "{text}");
    assert_added(servers, &text, 8, 7);
    servers.wait_agreed(&EIGHT).unwrap();
    let mut client = Client::local(servers.port(8)).unwrap();
    client.call(&["READONLY"]).unwrap();
    assert_eq!(client.text(&["GET", "age"]).unwrap(), "30");

    servers.start(9).unwrap();
    let master = views::id(servers.port(heir)).unwrap().to_string();
    let (newcomer, known) = (servers.address(9), servers.address(7));
    let text =
        cli::cluster(&["add-node", &newcomer, &known, "--cluster-slave", "--cluster-master-id", &master]);
    assert_added(servers, &text.unwrap(), 9, heir);
    servers.wait_agreed(&NINE).unwrap();
}

fn assert_added(servers: &Installation, text: &str, n: u16, master: u16) {
    assert!(
        text.contains(&format!(">>> Configure node as replica of {}.\n", servers.address(master))),
        "{text}"
    );
    assert_eq!(text.trim_end().lines().last(), Some("[OK] New node added correctly."), "{text}");
    wait::until(&format!("server {n} follows server {master}"), SOON, || {
        views::follows(servers.port(n), servers.port(master))
    })
    .unwrap();
}
