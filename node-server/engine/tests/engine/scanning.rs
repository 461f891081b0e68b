//! SCAN, KEYS, RANDOMKEY, CLUSTER's questions about keys.

use crate::support::*;
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;
use std::collections::BTreeSet;

fn scan(client: &mut Client, options: &str) -> (Vec<String>, usize) {
    let (mut cursor, mut keys, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        calls += 1;
        let Reply::Array(parts) = client.line(format!("SCAN {cursor}{options}").trim()) else {
            panic!("an array")
        };
        let [Reply::Bulk(next), Reply::Array(found)] = parts.as_slice() else { panic!("cursor and keys") };
        for key in found {
            let Reply::Bulk(key) = key else { panic!("a key") };
            keys.push(String::from_utf8(key.clone()).unwrap());
        }
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            return (keys, calls);
        }
    }
}

#[test]
fn scan_returns_every_key() {
    for node in [Node::master(), Node::standalone()] {
        let mut client = node.client();
        let mut expected = BTreeSet::new();
        for n in 0..1000 {
            let key = if n % 3 == 0 { format!("{{tag}}{n}") } else { format!("key:{n}") };
            client.ok(&format!("SET {key} v"));
            expected.insert(key);
        }
        let (keys, calls) = scan(&mut client, "");
        assert_eq!(keys.len(), 1000, "nothing changed, so nothing comes twice");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(calls > 30, "{calls} calls for 1000 keys");
        let (keys, _) = scan(&mut client, " MATCH key:*9 COUNT 100");
        assert_eq!(keys.len(), expected.iter().filter(|k| k.starts_with("key:") && k.ends_with('9')).count());
        assert_eq!(scan(&mut client, " TYPE string COUNT 5000").0.len(), 1000);
        assert_eq!(scan(&mut client, " TYPE list").0.len(), 0);
        assert_eq!(client.error("SCAN x"), "ERR invalid cursor");
        assert_eq!(client.error("SCAN 0 COUNT 0"), "ERR syntax error");
        assert_eq!(client.error("SCAN 0 COUNT"), "ERR syntax error");
        let Reply::Array(keys) = client.line("KEYS {tag}*") else { panic!("an array") };
        assert_eq!(keys.len(), 334);
    }
}

#[test]
fn scan_misses_nothing_that_stays() {
    let node = Node::master();
    let mut client = node.client();
    for n in 0..500 {
        client.ok(&format!("SET {{tag}}{n} v"));
    }
    let (mut cursor, mut seen, mut n) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let Reply::Array(parts) = client.line(&format!("SCAN {cursor}")) else { panic!("an array") };
        let [Reply::Bulk(next), Reply::Array(found)] = parts.as_slice() else { panic!("cursor and keys") };
        seen.extend(found.iter().map(|k| match k {
            Reply::Bulk(key) => key.clone(),
            other => panic!("{other:?}"),
        }));
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
        // The table grows, then shrinks.
        for _ in 0..40 {
            n += 1;
            let line =
                if n < 1000 { format!("SET {{tag}}new{n} v") } else { format!("DEL {{tag}}new{}", n - 1000) };
            client.line(&line);
        }
    }
    for n in 0..500 {
        assert!(seen.contains(format!("{{tag}}{n}").as_bytes()), "{n} stayed and was not seen");
    }
}

#[test]
fn random_keys_and_expired_ones() {
    let node = Node::master();
    let mut client = node.client();
    assert_eq!(client.line("RANDOMKEY"), Reply::Null);
    client.ok("SET gone v PX 10");
    client.ok("SET a v");
    client.ok("SET b v");
    client.now = Millis(NOW.0 + 100);
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let Reply::Bulk(key) = client.line("RANDOMKEY") else { panic!("a key") };
        seen.insert(key);
    }
    assert_eq!(seen, [b"a".to_vec(), b"b".to_vec()].into());
    assert_eq!(scan(&mut client, "").0.len(), 2);
    client.line("DEL a");
    client.line("DEL b");
    assert_eq!(client.line("RANDOMKEY"), Reply::Null);
}

#[test]
fn cluster_questions() {
    let node = Node::master();
    let mut client = node.client();
    client.ok("MSET {a}1 x {a}2 y");
    assert_eq!(client.line("CLUSTER KEYSLOT {a}1"), int(15495));
    assert_eq!(client.line("CLUSTER COUNTKEYSINSLOT 15495"), int(2));
    assert!(matches!(client.line("CLUSTER GETKEYSINSLOT 15495 1"), Reply::Array(k) if k.len() == 1));
    assert_eq!(client.line("CLUSTER GETKEYSINSLOT 0 10"), Reply::Array(vec![]));
    assert_eq!(client.error("CLUSTER COUNTKEYSINSLOT 16384"), "ERR Invalid slot");
    assert_eq!(client.error("CLUSTER GETKEYSINSLOT 0 -1"), "ERR Invalid slot or number of keys");
    assert_eq!(client.error("CLUSTER WHAT"), "ERR unknown subcommand 'WHAT'. Try CLUSTER HELP.");
    assert_eq!(client.error("CLUSTER"), "ERR wrong number of arguments for 'cluster' command");
}
