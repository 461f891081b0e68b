//! CLUSTER commands through the connections: pipelined ones go on together, their replies keep their places.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{Server, encode};
use node_server_protocol::resp::Reply;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn replies_keep_the_order_of_the_requests() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let mut client = server.client();
    let mut requests = encode(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    requests.extend(encode(&["CLUSTER", "KEYSLOT", "name"]));
    requests.extend(encode(&["CLUSTER", "NONSENSE"]));
    requests.extend(encode(&["CLUSTER", "MYID"]));
    requests.extend(encode(&["PING"]));
    requests.extend(encode(&["CLUSTER", "COUNTKEYSINSLOT", "5798"]));
    requests.extend(encode(&["CLUSTER", "INFO"]));
    requests.extend(encode(&["ECHO", "last"]));
    client.send_raw(&requests);
    assert_eq!(client.receive(), ok());
    assert_eq!(client.receive(), Reply::Integer(5798));
    let unknown = "ERR unknown subcommand 'NONSENSE'. Try CLUSTER HELP.";
    assert_eq!(client.receive(), Reply::Error(unknown.into()));
    assert!(matches!(client.receive(), Reply::Bulk(id) if id.len() == 40));
    assert_eq!(client.receive(), Reply::Simple("PONG".into()));
    assert_eq!(client.receive(), Reply::Integer(0));
    assert!(matches!(client.receive(), Reply::Bulk(text) if text.starts_with(b"cluster_state:")));
    assert_eq!(client.receive(), Reply::Bulk(b"last".to_vec()));
}

#[test]
fn more_pipelined_cluster_commands_than_may_be_pending_are_all_answered() {
    const COUNT: usize = 20_000;
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let mut client = server.client();
    let mut writer = client.stream.try_clone().unwrap();
    let requests = encode(&["CLUSTER", "MYID"]).repeat(COUNT);
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &requests).unwrap());
    for _ in 0..COUNT {
        assert!(matches!(client.receive(), Reply::Bulk(id) if id.len() == 40));
    }
    sender.join().unwrap();
    assert_eq!(client.text(&["PING"]), "PONG");
}

/// redis-cli --cluster fix sends DELSLOTS, ADDSLOTS, SETSLOT STABLE and BUMPEPOCH like this.
#[test]
fn cluster_commands_in_a_transaction() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let mut client = server.client();
    let queued = Reply::Simple("QUEUED".into());
    assert_eq!(client.call(&["MULTI"]), ok());
    for command in ["ADDSLOTS 1 2", "ADDSLOTS 2", "SETSLOT 1 STABLE", "BUMPEPOCH", "NODES"] {
        let words: Vec<&str> = ["CLUSTER"].into_iter().chain(command.split(' ')).collect();
        assert_eq!(client.call(&words), queued, "{command}");
    }
    let Reply::Array(replies) = client.call(&["EXEC"]) else { panic!("EXEC gives an array") };
    let busy = Reply::Error("ERR Slot 2 is already busy".into());
    assert_eq!(replies[..4], [ok(), busy, ok(), Reply::Simple("BUMPED 1".into())]);
    assert!(matches!(&replies[4], Reply::Bulk(text) if text.ends_with(b"1-2\n")));
    assert_eq!(client.text(&["PING"]), "PONG");

    assert_eq!(client.call(&["MULTI"]), ok());
    assert_eq!(client.call(&["CLUSTER", "MYID"]), queued);
    let mixed = Reply::Error("ERR a transaction has CLUSTER commands only, or none".into());
    assert_eq!(client.call(&["PING"]), mixed);
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(client.call(&["EXEC"]), Reply::Error(aborted.into()));
}

#[test]
fn cluster_is_refused_without_cluster_mode() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.text(&["CLUSTER", "INFO"]), "ERR This instance has cluster support disabled");
}
