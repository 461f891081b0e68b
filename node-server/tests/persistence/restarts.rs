//! What was written is there after a restart.

use super::*;
use crate::foreign::Foreign;

/// Strings, expiries, and a key of each type that only RESTORE makes.
fn fill(client: &mut Client) -> Vec<(Vec<u8>, Vec<u8>)> {
    assert_eq!(client.text(&["SET", "plain", "a value"]), "OK");
    assert_eq!(call(client, &[b"SET", b"bin\0ary\r\n", b"\xff\r\n*3\r\n"]), Reply::Simple("OK".into()));
    assert_eq!(client.text(&["SET", "later", "x", "PXAT", "33177117420000"]), "OK");
    assert_eq!(client.text(&["SET", "soon", "x", "PX", "1"]), "OK");
    assert_eq!(client.text(&["INCRBYFLOAT", "float", "1.5"]), "1.5");
    assert_eq!(client.text(&["APPEND", "appended", "abc"]), "3");
    assert_eq!(client.text(&["SET", "gone", "x"]), "OK");
    assert_eq!(client.text(&["DEL", "gone"]), "1");
    assert_eq!(client.text(&["MULTI"]), "OK");
    assert_eq!(client.text(&["SET", "{t}1", "1"]), "QUEUED");
    assert_eq!(client.text(&["SET", "{t}2", "2"]), "QUEUED");
    assert!(matches!(client.call(&["EXEC"]), Reply::Array(_)));
    let payloads = Foreign::redis().dumps_of_every_type();
    for (key, payload) in &payloads {
        assert_eq!(call(client, &[b"RESTORE", key, b"0", payload]), Reply::Simple("OK".into()), "{key:?}");
    }
    payloads
}

fn check(client: &mut Client, payloads: &[(Vec<u8>, Vec<u8>)]) {
    assert_eq!(client.text(&["GET", "plain"]), "a value");
    assert_eq!(call(client, &[b"GET", b"bin\0ary\r\n"]), Reply::Bulk(b"\xff\r\n*3\r\n".to_vec()));
    assert_eq!(client.text(&["PEXPIRETIME", "later"]), "33177117420000");
    assert_eq!(client.call(&["GET", "soon"]), Reply::Null);
    assert_eq!(client.text(&["GET", "float"]), "1.5");
    assert_eq!(client.text(&["GET", "appended"]), "abc");
    assert_eq!(client.text(&["EXISTS", "gone"]), "0");
    assert_eq!((number(client, "{t}1"), number(client, "{t}2")), (1, 2));
    for (key, payload) in payloads {
        assert_eq!(call(client, &[b"DUMP", key]), Reply::Bulk(payload.clone()), "{key:?}");
    }
}

fn dumps(client: &mut Client, payloads: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let dump = |(key, _): &(Vec<u8>, Vec<u8>)| match call(client, &[b"DUMP", key]) {
        Reply::Bulk(payload) => (key.clone(), payload),
        other => panic!("{key:?}: {other:?}"),
    };
    payloads.iter().map(dump).collect()
}

#[test]
fn everything_is_there_again() {
    for (args, ends) in [
        (ALWAYS, &["KILL", "TERM", "KILL"][..]),
        (EVERYSEC, &["TERM", "TERM", "KILL"]),
        (&["--save", "3600 1"], &["TERM", "INT"]),
        (&["--appendonly", "yes", "--appendfsync", "no", "--save", "3600 1"], &["TERM"]),
    ] {
        let mut server = Server::start(args);
        let mut client = server.client();
        let payloads = fill(&mut client);
        let payloads = dumps(&mut client, &payloads);
        for (n, end) in ends.iter().enumerate() {
            server.signal(end);
            let code = server.wait();
            assert!(*end == "KILL" || code == Some(0), "{args:?} {code:?}: {}", server.log());
            server.start_again(args);
            client = server.client();
            check(&mut client, &payloads);
            if n == 0 && args.contains(&"--appendonly") {
                rewrite(&mut client);
            }
        }
    }
}

#[test]
fn databases_are_kept_apart() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    for db in ["0", "3", "15"] {
        assert_eq!(client.text(&["SELECT", db]), "OK");
        assert_eq!(client.text(&["SET", "key", db]), "OK");
    }
    assert_eq!(client.text(&["SET", "only15", "x"]), "OK");
    for _ in 0..2 {
        server.kill();
        server.start_again(ALWAYS);
        client = server.client();
        for db in ["0", "3", "15"] {
            assert_eq!(client.text(&["SELECT", db]), "OK");
            assert_eq!(client.text(&["GET", "key"]), db);
        }
        assert_eq!(client.text(&["DBSIZE"]), "2");
        // In a new increment the first record has to say which database it is for.
        rewrite(&mut client);
        assert_eq!(client.text(&["SET", "only15", "y"]), "OK");
    }
    assert_eq!(client.text(&["FLUSHDB"]), "OK");
    server.kill();
    server.start_again(ALWAYS);
    client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), "1");
}

/// A first start with both: the RDB file is loaded and the append-only file begins with what was in it, or not at all.
#[test]
fn an_rdb_file_is_the_beginning_of_an_append_only_file() {
    let mut server = Server::start(&["--save", ""]);
    let mut client = server.client();
    set_many(&mut client, "key", 20_000);
    assert_eq!(client.text(&["SAVE"]), "OK");
    server.kill();
    for _ in 0..5 {
        server.start_again(ALWAYS);
        assert_eq!(server.client().text(&["DBSIZE"]), "20000", "{}", server.log());
        server.kill();
    }
    server.start_again(ALWAYS);
    client = server.client();
    // One of the starts before may have come to the end of it.
    let manifest = appended(&server).join("appendonly.aof.manifest");
    until("the base is there", || {
        std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains(" type b\n")).then_some(())
    });
    assert_eq!(client.text(&["SET", "one more", "x"]), "OK");
    server.kill();
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["DBSIZE"]), "20001");
}

/// What such a start leaves when it dies before its first base: an increment without a byte.
#[test]
fn an_increment_that_nobody_wrote_to_does_not_hide_an_rdb_file() {
    let mut server = Server::start(&["--save", ""]);
    assert_eq!(server.client().text(&["SET", "key", "value"]), "OK");
    assert_eq!(server.client().text(&["SAVE"]), "OK");
    server.kill();
    let dir = appended(&server);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("appendonly.aof.1.incr.aof"), "").unwrap();
    std::fs::write(dir.join("appendonly.aof.manifest"), "file appendonly.aof.1.incr.aof seq 1 type i\n")
        .unwrap();
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["GET", "key"]), "value");
}

#[test]
fn a_single_file_of_a_server_before_redis_7_is_taken_over() {
    let set = |n: u64| format!("*3\r\n$3\r\nSET\r\n$2\r\nk{n}\r\n$1\r\n{n}\r\n");
    for tail in ["", "*3\r\n$3\r\nSET\r\n$2\r\n"] {
        let dir = tempfile::tempdir().unwrap();
        let select = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
        std::fs::write(dir.path().join("appendonly.aof"), format!("{select}{}{}{tail}", set(1), set(2)))
            .unwrap();
        let mut server = Server::start_in(dir, ALWAYS);
        let mut client = server.client();
        assert_eq!((number(&mut client, "k1"), number(&mut client, "k2")), (1, 2));
        assert_eq!(client.text(&["SET", "k3", "3"]), "OK");
        for _ in 0..2 {
            server.kill();
            server.start_again(ALWAYS);
        }
        client = server.client();
        assert_eq!((number(&mut client, "k2"), number(&mut client, "k3")), (2, 3));
        assert!(
            !server.dir.path().join("appendonly.aof").exists()
                && appended(&server).join("appendonly.aof").exists()
        );
        rewrite(&mut client);
        until("the old file is gone", || (!appended(&server).join("appendonly.aof").exists()).then_some(()));
        server.kill();
        server.start_again(ALWAYS);
        assert_eq!(server.client().text(&["DBSIZE"]), "3");
    }
}
