//! Steps 5 and 6: a master dies, its replica takes over, and it comes back as a replica.

use crate::create::{assert_all_is_well, replica_of, summary};
use e2e::{Client, wait};
use e2e_compat::installation::SIX;
use e2e_compat::views::{self, SOON};
use e2e_compat::{Installation, cli};

/// Returns the replica that took over: the tutorial's 7005.
pub(crate) fn step_5_kill_a_master(servers: &Installation) -> u16 {
    let heir = replica_of(servers, 2);
    let has_it = || views::keys(servers.port(heir)).is_ok_and(|keys| keys == 1);
    wait::until("the replica has the key", SOON, has_it).unwrap();
    servers.kill(2).unwrap();
    let is_heir = |port| views::slots(port, servers.port(heir)).is_ok_and(|slots| slots == "5461-10922");
    let is_ok = |port| views::cluster_info(port, "cluster_state").is_ok_and(|state| state == "ok");
    let living = || SIX.into_iter().filter(|n| *n != 2).map(|n| servers.port(n));
    wait::until("the replica has the slots and the cluster is ok", SOON, || {
        living().all(|port| is_heir(port) && is_ok(port))
    })
    .unwrap();
    assert_eq!(cli::type_in(servers.port(heir), "get name").unwrap(), "\"caimengzhi\"");
    let text = cli::cluster(&["check", &servers.address(heir)]).unwrap();
    assert!(text.contains(&summary(servers, heir, "1 keys | 5462 slots | 0 slaves.")), "{text}");
    assert!(text.contains("[OK] 1 keys in 3 masters."), "{text}");
    assert_all_is_well(&text);
    heir
}

pub(crate) fn step_6_start_it_again(servers: &Installation, heir: u16) {
    let id_before = views::line(servers.port(heir), servers.port(2)).unwrap().id;
    servers.start(2).unwrap();
    wait::until("it is a replica of its heir", SOON, || views::follows(servers.port(2), servers.port(heir)))
        .unwrap();
    assert_eq!(views::id(servers.port(2)).unwrap(), id_before);
    servers.wait_agreed(&SIX).unwrap();
    let mut client = Client::local(servers.port(2)).unwrap();
    client.call(&["READONLY"]).unwrap();
    assert_eq!(client.text(&["GET", "name"]).unwrap(), "caimengzhi");
}
