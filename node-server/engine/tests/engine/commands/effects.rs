//! What commands put into the log: results with absolute times, and nothing when nothing changed.

use crate::support::*;
use node_server_protocol::Millis;
use node_server_protocol::resp::Reply;

/// Runs lines and returns what each put into the log.
fn effects(lines: &[&str]) -> Vec<Vec<String>> {
    let node = Node::standalone();
    let mut client = node.client();
    let mut all = Vec::new();
    for line in lines {
        let before = node.engine.log().end();
        let reply = client.line(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        let records = node.records_from(before);
        all.push(records.into_iter().filter(|r| !r.starts_with("SELECT")).collect());
    }
    all
}

fn check(cases: &[(&str, &[&str])]) {
    let lines: Vec<&str> = cases.iter().map(|(line, _)| *line).collect();
    for ((line, expected), actual) in cases.iter().zip(effects(&lines)) {
        assert_eq!(actual, *expected, "{line}");
    }
}

#[test]
fn setting_strings() {
    check(&[
        ("SET a 1", &["SET a 1"]),
        ("SET a 2 NX", &[]),
        ("SET a 2 XX GET", &["SET a 2"]),
        ("SET a 3 EX 100", &["SET a 3 PXAT 1700000100000"]),
        ("SET a 4 KEEPTTL", &["SET a 4 KEEPTTL"]),
        ("SET a 4 PXAT 1700000000500", &["SET a 4 PXAT 1700000000500"]),
        ("SETEX a 10 x", &["SET a x PXAT 1700000010000"]),
        ("PSETEX a 10 x", &["SET a x PXAT 1700000000010"]),
        ("SETNX a x", &[]),
        ("SETNX b x", &["SET b x"]),
        ("GETSET b y", &["SET b y"]),
        ("MSET c 1 d 2", &["MSET c 1 d 2"]),
        ("MSETNX d 1 e 2", &[]),
        ("MSETNX e 1 f 2", &["MSET e 1 f 2"]),
    ]);
}

#[test]
fn reading_strings_with_consequences() {
    check(&[
        ("GETEX a EX 100", &[]),
        ("SET a 1", &["SET a 1"]),
        ("GETEX a", &[]),
        ("GETEX a EX 100", &["PEXPIREAT a 1700000100000"]),
        ("GETEX a PERSIST", &["PERSIST a"]),
        ("GETEX a PERSIST", &[]),
        ("GETEX a EXAT 1", &["DEL a"]),
        ("SET a 1", &["SET a 1"]),
        ("GETDEL a", &["DEL a"]),
        ("GETDEL a", &[]),
    ]);
}

#[test]
fn editing_strings() {
    check(&[
        ("APPEND a 1", &["APPEND a 1"]),
        ("SETRANGE a 2 x", &["SETRANGE a 2 x"]),
        ("INCR n", &["INCR n"]),
        ("DECRBY n 5", &["DECRBY n 5"]),
        ("INCRBYFLOAT n 0.5", &["SET n -3.5 KEEPTTL"]),
    ]);
}

#[test]
fn keys() {
    check(&[
        ("DEL a b", &[]),
        ("MSET a 1 b 2 c 3", &["MSET a 1 b 2 c 3"]),
        ("DEL a nothing b", &["DEL a b"]),
        ("UNLINK c c", &["DEL c"]),
        ("COPY a b", &[]),
        ("SET a 1", &["SET a 1"]),
        ("COPY a b", &["COPY a b REPLACE"]),
        ("COPY a b", &[]),
        ("RENAMENX a b", &[]),
        ("RENAMENX a c", &["RENAME a c"]),
        ("RENAME c c", &[]),
        ("TOUCH c", &[]),
    ]);
}

#[test]
fn expiry() {
    check(&[
        ("EXPIRE a 100", &[]),
        ("SET a 1", &["SET a 1"]),
        ("EXPIRE a 100", &["PEXPIREAT a 1700000100000"]),
        ("EXPIRE a 50 GT", &[]),
        ("EXPIREAT a 1700000200", &["PEXPIREAT a 1700000200000"]),
        ("PERSIST a", &["PERSIST a"]),
        ("PERSIST a", &[]),
        ("PEXPIRE a -1", &["DEL a"]),
    ]);
}

#[test]
fn restore() {
    let payload = "\u{0}\u{1}x";
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("SET a x");
    let Reply::Bulk(dump) = client.line("DUMP a") else { panic!("DUMP answers with bytes") };
    assert!(dump.starts_with(payload.as_bytes()));
    let before = node.engine.log().end();
    let reply = client.call(&[b"RESTORE", b"b", b"100", &dump]);
    assert_eq!(reply, Reply::Simple("OK".into()));
    let log = node.log_from(before);
    let at = b"$13\r\n1700000000100\r\n".as_slice();
    assert!(log.windows(at.len()).any(|w| w == at), "the moment, not the distance");
    assert!(log.ends_with(b"$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n"));
}

/// A key whose time has passed is deleted, and the log says so, before a command sees that it is not there.
#[test]
fn an_expired_key_is_deleted_first() {
    let node = Node::standalone();
    let mut client = node.client();
    client.ok("SET a 1 PX 10");
    client.now = Millis(NOW.0 + 10);
    let before = node.engine.log().end();
    assert_eq!(client.line("SET a 2 KEEPTTL"), Reply::Simple("OK".into()));
    assert_eq!(node.records_from(before), ["MULTI", "DEL a", "SET a 2 KEEPTTL", "EXEC"]);
    assert_eq!(client.line("TTL a"), int(-1));
}
