//! nodes.conf.

use super::*;
use e2e::PortBlock;

#[test]
fn a_second_node_in_the_same_directory_is_refused() {
    let ports = PortBlock::reserve(2).unwrap();
    let first = Server::start(lone(ports.port(0))).unwrap();
    let spec = ServerSpec { dir: Some(first.dir().to_owned()), ..lone(ports.port(1)) };
    let error = format!("{:#}", Server::start(spec).unwrap_err());
    assert!(error.contains("nodes.conf") && error.contains("is used by another node"), "{error}");
    assert_eq!(first.client().unwrap().text(&["PING"]).unwrap(), "PONG");
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_kept() {
    let ports = PortBlock::reserve(1).unwrap();
    let mut server = Server::start(lone(ports.port(0))).unwrap();
    let name = id(&server);
    server.kill().unwrap();
    let file = server.dir().join("nodes.conf");
    let good = std::fs::read_to_string(&file).unwrap();
    assert!(good.contains(&name.to_string()), "{good}");
    let bad = good.replace("myself,master", "myself,mistress");
    std::fs::write(&file, &bad).unwrap();
    let error = format!("{:#}", server.restart().unwrap_err());
    assert!(error.contains("nodes.conf") && error.contains("line 1"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), bad);
    server.kill().unwrap();
    std::fs::write(&file, good).unwrap();
    server.restart().unwrap();
    assert_eq!(id(&server), name);
}

/// A node that cannot write down what it promises ends.
#[test]
fn a_directory_that_vanishes_ends_the_node() {
    let ports = PortBlock::reserve(1).unwrap();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let spec = lone(ports.port(0)).with("dir", dir.display());
    let server = Server::start(spec).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let mut client = server.client().unwrap();
    let reply = client.command(&["CLUSTER", "ADDSLOTS", "1"]);
    assert!(!reply.is_ok_and(|r| r == Reply::Simple("OK".into())), "it promised what is not on disk");
    wait::until("the node has ended", SOON, || server.client().is_err()).unwrap();
    assert!(server.log().contains("cluster configuration file"), "{}", server.log());
}
