//! `--cluster set-timeout`, which the tutorial does not have: every server changes and writes its redis.conf.

use e2e::Client;
use e2e_compat::installation::SIX;
use e2e_compat::{Installation, cli, views};

pub(crate) fn set_timeout(servers: &Installation) {
    let text = cli::cluster(&["set-timeout", &servers.address(1), "4321"]).unwrap();
    assert!(text.contains(">>> New node timeout set. 6 OK, 0 ERR."), "{text}");
    for n in SIX {
        let mut client = Client::local(servers.port(n)).unwrap();
        let config = client.call(&["CONFIG", "GET", "cluster-node-timeout"]).unwrap();
        assert!(format!("{config:?}").contains(&format!("{:?}", b"4321".to_vec())), "{config:?}");
        let file = std::fs::read_to_string(servers.dir(n).join("conf/redis.conf")).unwrap();
        assert!(file.lines().any(|line| line == "cluster-node-timeout 4321"), "{file}");
        assert!(file.lines().any(|line| line == "daemonize yes"), "{file}");
    }
    // What was written is a configuration that a server starts with.
    let id = views::id(servers.port(2)).unwrap();
    servers.kill(2).unwrap();
    servers.start(2).unwrap();
    assert_eq!(views::id(servers.port(2)).unwrap(), id);
    servers.wait_agreed(&SIX).unwrap();
}
