//! The files of the start are being read while clients ask.

use crate::support::{NOW, Node, node_id, routing};
use node_server_engine::{Applier, LoadStep};
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;
use node_server_protocol::routing::{Routing, Serving};
use std::sync::Arc;

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

#[test]
fn what_redis_does_not_answer_while_it_loads_is_refused() {
    let node = Node::standalone();
    node.engine.set_loading_files(true);
    let mut client = node.client();
    let refused = [
        "PING",
        "GET a",
        "SET a 1",
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
        "WAIT 0 0",
        "PSYNC ? -1",
        "CLUSTER NODES",
        "CLUSTER INFO",
        "CLUSTER KEYSLOT a",
        "CLUSTER RESET",
    ];
    for request in refused {
        assert_eq!(client.error(request), LOADING, "{request}");
    }
    for request in
        ["ECHO a", "SELECT 1", "UNWATCH", "CLIENT ID", "CONFIG GET x", "INFO", "COMMAND COUNT", "ROLE"]
    {
        let refused = matches!(client.line(request), Reply::Error(text) if text == LOADING);
        assert!(!refused, "{request}");
    }
    client.ok("MULTI");
    assert_eq!(client.error("SET a 1"), LOADING);
    assert!(client.error("EXEC").starts_with("EXECABORT"));
    node.engine.set_loading_files(false);
    client.ok("SET a 1");
}

/// The cluster is down, says a node that reads its files: it knows of its own slots alone.
#[test]
fn a_node_that_reads_its_files_still_says_who_serves_what() {
    let node = Node::master();
    node.engine.set_loading_files(true);
    let down = |mut routing: Routing| {
        routing.serving = Serving::Down { allow_reads: false };
        routing
    };
    node.engine.publish_routing(Arc::new(down(routing(1, 2, &[("15495", 2)]))));
    let mut client = node.client();
    assert!(client.error("GET a").starts_with("MOVED 15495 "));
    assert_eq!(client.error("GET b"), LOADING);
    assert_eq!(client.error("SET b 1"), LOADING);
    assert_eq!(client.error("CLUSTER NODES"), LOADING, "unlike during a full sync");
    let replica = Node::replica();
    replica.engine.set_loading_files(true);
    replica.engine.publish_routing(Arc::new(down(routing(4, 2, &[]))));
    let mut reader = replica.client();
    assert!(reader.error("GET a").starts_with("MOVED 15495 "));
    reader.ok("READONLY");
    assert_eq!(reader.error("GET a"), LOADING);
    assert!(reader.error("SET a 1").starts_with("MOVED 15495 "));
    assert_eq!(node.engine.routing().myself, node_id(1));
}

/// A key that is over in the middle of a file may be there again at its end.
#[test]
fn nothing_expires_and_nothing_is_logged_meanwhile() {
    let node = Node::master();
    node.engine.set_loading_files(true);
    let mut applier = Applier::default();
    let set: Vec<Vec<u8>> = ["SET", "a", "1", "PXAT", "1000"].map(|word| word.into()).to_vec();
    node.engine.replay(&mut applier, std::slice::from_ref(&set), NOW).unwrap();
    assert_eq!(node.engine.tick(NOW, 100), 0);
    assert!(!node.engine.append_ping());
    assert_eq!((node.engine.keyspace().len(), node.engine.log().end()), (1, 0));
    let persist: Vec<Vec<u8>> = vec!["PERSIST".into(), "a".into()];
    node.engine.replay(&mut applier, std::slice::from_ref(&persist), NOW).unwrap();
    node.engine.set_loading_files(false);
    assert_eq!(node.client().line("GET a"), Reply::Bulk(b"1".to_vec()));
    assert!(node.engine.append_ping());
}

/// DEBUG SLEEP-SLOT runs while data is loaded: the load has to wait for it.
#[test]
fn a_slot_that_somebody_holds_is_waited_for() {
    let node = Node::master();
    let barrier = std::sync::Mutex::new(Some(()));
    node.engine.pause_writes(NOW.after(1_000_000));
    let engine = Arc::clone(&node.engine);
    node.host.on_pause(move |ms| {
        assert_eq!(ms, 1);
        if barrier.lock().unwrap().take().is_some() {
            engine.resume_writes();
        }
    });
    let set: Vec<Vec<u8>> = ["SET", "a", "1"].map(|word| word.into()).to_vec();
    node.engine.replay(&mut Applier::default(), std::slice::from_ref(&set), NOW).unwrap();
    assert_eq!(node.engine.keyspace().len(), 1);
}

#[test]
fn a_stream_is_read_key_by_key() {
    let master = Node::master();
    let mut client = master.client();
    (0..3).for_each(|n| client.ok(&format!("SET k{n} x")));
    let bytes = crate::snapshots::whole(&master);
    let standby = Node::master();
    let mut loader = standby.engine.begin_load(Millis(NOW.0));
    let (first, second) = bytes.split_at(bytes.len() - 9);
    loader.push(first);
    let mut steps = Vec::new();
    while steps.last() != Some(&LoadStep::Hungry) {
        steps.push(loader.step().unwrap());
    }
    assert_eq!(steps, [LoadStep::Key, LoadStep::Key, LoadStep::Key, LoadStep::Hungry]);
    loader.push(second);
    assert_eq!(loader.step().unwrap(), LoadStep::Ended);
    loader.commit_file().unwrap();
    assert_eq!(standby.engine.keyspace().len(), 3);
}
