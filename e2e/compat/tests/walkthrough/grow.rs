//! Steps 7 to 9: a fourth master.

use e2e::{Client, wait};
use e2e_compat::views::{self, SOON};
use e2e_compat::{Conversation, Installation, cli};

pub(crate) const SEVEN: [u16; 7] = [1, 2, 3, 4, 5, 6, 7];

pub(crate) fn step_7_add_a_node(servers: &Installation) {
    let text = cli::cluster(&["add-node", &servers.address(7), &servers.address(2)]).unwrap();
    assert_eq!(text.trim_end().lines().last(), Some("[OK] New node added correctly."), "{text}");
    servers.wait_agreed(&SEVEN).unwrap();
    for n in SEVEN {
        let flags = if n == 7 { "myself,master" } else { "master" };
        wait::until(&format!("server {n} shows the new node as it should"), SOON, || {
            shows_empty_master(servers, n, flags)
        })
        .unwrap();
    }
}

/// `<id> 127.0.0.1:7007@17007 myself,master - 0 <ms> 0 connected`, and nothing after it.
fn shows_empty_master(servers: &Installation, n: u16, flags: &str) -> bool {
    let nodes = Client::local(servers.port(n)).and_then(|mut client| client.text(&["CLUSTER", "NODES"]));
    let id = views::id(servers.port(7)).map(|id| id.to_string()).unwrap_or_default();
    let address = format!("{}@{}", servers.address(7), servers.port(7) + 10_000);
    let nodes = nodes.unwrap_or_default();
    let line = nodes.lines().find(|line| line.starts_with(&id)).unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let [_, at, said, "-", "0", ms, "0", "connected"] = words[..] else { return false };
    at == address && said == flags && ms.parse::<u64>().is_ok()
}

pub(crate) fn step_8_reshard(servers: &Installation, heir: u16) {
    let receiver = views::id(servers.port(7)).unwrap().to_string();
    let mut reshard = Conversation::start(&["--cluster", "reshard", &servers.address(heir)]).unwrap();
    reshard.answer("How many slots do you want to move (from 1 to 16384)? ", "4096").unwrap();
    reshard.answer("What is the receiving node ID? ", &receiver).unwrap();
    reshard.answer("Source node #1: ", "all").unwrap();
    reshard.answer("Do you want to proceed with the proposed reshard plan (yes/no)? ", "yes").unwrap();
    let text = reshard.finish().unwrap();
    assert!(!text.contains("[ERR]"), "{text}");
    servers.wait_agreed(&SEVEN).unwrap();
    let expected =
        [(1, "1365-5460"), (heir, "6827-10922"), (3, "12288-16383"), (7, "0-1364,5461-6826,10923-12287")];
    for (n, slots) in expected {
        assert_eq!(views::slots(servers.port(2), servers.port(n)).unwrap(), slots, "server {n}");
        assert_eq!(views::myself(servers.port(n)).unwrap().slots.len(), 4096, "server {n}");
    }
}

pub(crate) fn step_9_use_it(servers: &Installation) {
    assert_eq!(cli::type_in(servers.port(7), "set age 30").unwrap(), "OK");
    let redirected = format!("-> Redirected to slot [741] located at {}", servers.address(7));
    assert_eq!(cli::type_in(servers.port(1), "get age").unwrap(), format!("{redirected}\n\"30\""));
}
