//! Passwords, and writes that need replicas.

use crate::support::*;
use node_server_engine::Outcome;
use node_server_protocol::resp::Reply;
use std::sync::Arc;

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

fn guarded() -> Node {
    let node = Node::master();
    node.engine.set_password(b"secret");
    node
}

#[test]
fn a_stranger_may_say_who_it_is_and_nothing_else() {
    let node = guarded();
    let mut client = node.client();
    for line in [
        "GET a",
        "SET a 1",
        "PING",
        "MULTI",
        "INFO",
        "CLUSTER INFO",
        "PSYNC ? -1",
        "REPLCONF capa eof",
        "SHUTDOWN",
    ] {
        assert_eq!(client.error(line), NOAUTH, "{line}");
    }
    assert_eq!(client.error("EXEC"), format!("EXECABORT Transaction discarded because of: {NOAUTH}"));
    // As in Redis, what is no command at all is said first.
    assert_eq!(client.error("GET"), "ERR wrong number of arguments for 'get' command");
    assert!(
        client
            .error("HELLO 3")
            .starts_with("NOAUTH HELLO must be called with the client already authenticated, ")
    );
    assert_eq!(client.line("RESET"), Reply::Simple("RESET".into()));
    assert_eq!(client.outcome(&["QUIT"]), Outcome::Close);
}

#[test]
fn the_password_opens_and_reset_closes() {
    let node = guarded();
    let mut client = node.client();
    for line in [
        "AUTH wrong",
        "AUTH secretsecret",
        "AUTH default wrong",
        "AUTH other secret",
        "HELLO 3 AUTH default wrong",
    ] {
        assert_eq!(client.error(line), WRONGPASS, "{line}");
    }
    assert_eq!(client.error("PING"), NOAUTH);
    assert_eq!(client.error("AUTH a b c"), "ERR syntax error");
    client.ok("AUTH secret");
    client.ok("SET a 1");
    assert_eq!(client.error("AUTH wrong"), WRONGPASS);
    client.ok("SET a 2");
    client.line("RESET");
    assert_eq!(client.error("GET a"), NOAUTH);
    assert!(matches!(client.line("HELLO 3 AUTH default secret SETNAME me"), Reply::Map(_)));
    assert_eq!(client.session.name, b"me");
    client.ok("SET a 3");
}

#[test]
fn who_was_served_goes_on_being_served() {
    let node = Node::master();
    let mut early = node.client();
    early.ok("SET a 1");
    node.engine.set_password(b"secret");
    early.ok("SET a 2");
    let mut late = node.client();
    assert_eq!(late.error("SET a 3"), NOAUTH);
    node.engine.set_password(b"");
    late.ok("SET a 3");
    // It came when a password was asked for and never said it.
    node.engine.set_password(b"other");
    assert_eq!(late.error("SET a 4"), NOAUTH);
    early.ok("SET a 4");
}

#[test]
fn without_a_password_there_is_nothing_to_authenticate_with() {
    let node = Node::master();
    let mut client = node.client();
    assert!(client.error("AUTH x").starts_with("ERR AUTH <password> called without any password configured"));
    client.ok("AUTH default x");
    assert_eq!(client.error("AUTH other x"), WRONGPASS);
}

#[test]
fn writes_need_replicas_and_reads_do_not() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("SET a 1");
    node.engine.set_lacks_replicas(true);
    for line in ["SET a 2", "DEL a", "FLUSHALL", "EXPIRE a 1"] {
        assert_eq!(client.error(line), NOREPLICAS, "{line}");
    }
    assert_eq!(client.line("GET a"), bulk("1"));
    client.ok("MULTI");
    assert_eq!(client.error("SET a 2"), NOREPLICAS);
    assert_eq!(client.error("EXEC"), "EXECABORT Transaction discarded because of previous errors.");
    client.ok("MULTI");
    client.line("GET a");
    assert_eq!(client.line("EXEC"), Reply::Array(vec![bulk("1")]));
    node.engine.set_lacks_replicas(false);
    client.ok("SET a 2");
}

#[test]
fn a_transaction_that_was_queued_before_is_refused_as_a_whole() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("WATCH a");
    client.ok("MULTI");
    client.line("SET a 1");
    node.engine.set_lacks_replicas(true);
    assert_eq!(client.error("EXEC"), format!("EXECABORT Transaction discarded because of: {NOREPLICAS}"));
    assert!(!client.session.in_multi() && client.session.watching() == 0);
    assert_eq!(node.engine.log().end(), 0);
}

#[test]
fn who_is_to_go_elsewhere_is_told_that_first() {
    let node = Node::master();
    node.engine.set_lacks_replicas(true);
    node.engine.publish_routing(Arc::new(routing(1, 2, &[("15495", 2)])));
    assert_eq!(node.client().error("SET a 1"), "MOVED 15495 127.0.0.2:7002");
    let replica = Node::replica();
    replica.engine.set_lacks_replicas(true);
    assert!(replica.client().error("SET a 1").starts_with("MOVED "));
}
