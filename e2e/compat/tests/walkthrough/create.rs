//! Steps 1 to 4: six processes become a cluster.

use e2e::wait;
use e2e_compat::installation::SIX;
use e2e_compat::views::SOON;
use e2e_compat::{Conversation, Installation, cli, process, views};

pub(crate) fn step_1_start(servers: &Installation) {
    for n in SIX {
        servers.start_from_above(n).unwrap();
    }
    for n in SIX {
        let id = servers.pid(n).expect("it runs");
        let title = format!("redis0{n}/bin/redis-server 0.0.0.0:{} [cluster]", servers.port(n));
        assert_eq!(process::title_in_ps(id).unwrap(), title);
        assert!(process::is_in_background(id).unwrap(), "{title}");
        let written = std::fs::read_to_string(servers.dir(n).join("log/redis.pid")).unwrap();
        assert_eq!(written, format!("{id}\n"));
        let ready = || servers.log(n).contains("Ready to accept connections");
        wait::until("its log says that it is ready", SOON, ready).unwrap();
        assert!(servers.dir(n).join("nodes.conf").is_file());
    }
}

pub(crate) fn step_2_create(servers: &Installation) {
    let addresses = SIX.map(|n| servers.address(n));
    let mut args = vec!["--cluster", "create"];
    args.extend(addresses.iter().map(String::as_str));
    args.extend(["--cluster-replicas", "1"]);
    let mut create = Conversation::start(&args).unwrap();
    create.answer("Can I set the above configuration? (type 'yes' to accept): ", "yes").unwrap();
    let text = create.finish().unwrap();
    let masters = "Master[0] -> Slots 0 - 5460\n\
                   Master[1] -> Slots 5461 - 10922\n\
                   Master[2] -> Slots 10923 - 16383\n";
    assert!(text.contains(masters), "{text}");
    let lines: Vec<&str> = text.trim_end().lines().collect();
    assert!(lines.contains(&"[OK] All nodes agree about slots configuration."), "{text}");
    assert_eq!(lines.last(), Some(&"[OK] All 16384 slots covered."), "{text}");
    servers.wait_agreed(&SIX).unwrap();
    for n in 1..=3 {
        replica_of(servers, n);
    }
}

/// The one replica of a master.
pub(crate) fn replica_of(servers: &Installation, master: u16) -> u16 {
    let of = Some(views::id(servers.port(master)).unwrap());
    let lines = views::view(servers.port(1)).unwrap();
    let replicas: Vec<u16> =
        lines.iter().filter(|line| line.master == of).map(|line| servers.number(line.address.port)).collect();
    assert_eq!(replicas.len(), 1, "replicas of {master}: {replicas:?}");
    replicas[0]
}

pub(crate) fn step_3_set_and_get(servers: &Installation) {
    let redirected = format!("-> Redirected to slot [5798] located at {}\n", servers.address(2));
    let said = cli::type_in(servers.port(1), "set name caimengzhi").unwrap();
    assert_eq!(said, format!("{redirected}OK"));
    for n in SIX {
        let said = cli::type_in(servers.port(n), "get name").unwrap();
        let redirected = if n == 2 { "" } else { &redirected };
        assert_eq!(said, format!("{redirected}\"caimengzhi\""), "from server {n}");
    }
}

pub(crate) fn step_4_check(servers: &Installation) {
    let text = cli::cluster(&["check", &servers.address(2)]).unwrap();
    assert!(text.contains(&summary(servers, 2, "1 keys | 5462 slots | 1 slaves.")), "{text}");
    assert!(text.contains("[OK] 1 keys in 3 masters."), "{text}");
    assert_all_is_well(&text);
}

/// A master's line at the top of `--cluster check`.
pub(crate) fn summary(servers: &Installation, n: u16, what: &str) -> String {
    let id = views::id(servers.port(n)).unwrap().to_string();
    format!("{} ({}...) -> {what}\n", servers.address(n), &id[..8])
}

/// The lines that end `--cluster check` when nothing is wrong.
pub(crate) fn assert_all_is_well(text: &str) {
    assert!(text.contains("[OK] All nodes agree about slots configuration."), "{text}");
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    assert!(!text.contains("[ERR]") && !text.contains("[WARNING]"), "{text}");
}
