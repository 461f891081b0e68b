//! CONFIG SET of what is written.

use super::*;

#[test]
fn the_file_is_turned_on_and_off() {
    let mut server = Server::start(&["--save", ""]);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "before", "x"]), "OK");
    assert!(client.text(&["BGREWRITEAOF"]).starts_with("ERR appendonly is off"));
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "always"]), "OK");
    wait_based(&mut client);
    assert_eq!(client.info("persistence", "aof_enabled"), "1");
    assert_eq!(client.text(&["SET", "while on", "x"]), "OK");
    server.kill();
    server.start_again(ALWAYS);
    client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), "2");
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "no"]), "OK");
    until("it is off", || (client.info("persistence", "aof_enabled") == "0").then_some(()));
    assert_eq!(client.text(&["SET", "while off", "x"]), "OK");
    assert_eq!(client.text(&["DEL", "before"]), "1");
    // On again: what was missed is in the new base, not in the old files.
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
    until("it is on", || (client.info("persistence", "aof_enabled") == "1").then_some(()));
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "on again", "x"]), "OK");
    server.kill();
    server.start_again(ALWAYS);
    client = server.client();
    let Reply::Array(mut keys) = client.call(&["KEYS", "*"]) else { panic!("no array") };
    keys.sort_by_key(|key| format!("{key:?}"));
    let expected = ["on again", "while off", "while on"].map(|key| Reply::Bulk(key.into()));
    assert_eq!(keys, expected);
}

/// Killed right behind the switch: the old data or the new, and no mixture.
#[test]
fn a_crash_while_it_is_turned_on_leaves_the_old_file_or_the_new() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    set_many(&mut client, "old", 5000);
    for round in 0..6 {
        assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "no"]), "OK");
        until("it is off", || (client.info("persistence", "aof_enabled") == "0").then_some(()));
        assert_eq!(client.text(&["SET", "only with", &round.to_string()]), "OK");
        assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
        until("it is on", || (client.info("persistence", "aof_enabled") == "1").then_some(()));
        for _ in 0..round * 20 {
            assert!(client.text(&["INCR", "behind"]).parse::<u64>().is_ok());
        }
        server.kill();
        server.start_again(ALWAYS);
        client = server.client();
        let (with, behind) = (client.call(&["GET", "only with"]), number(&mut client, "behind"));
        let is_new = with == Reply::Bulk(round.to_string().into_bytes());
        assert!(is_new || behind == 0, "{with:?} {behind}: the old data with what came behind the new");
        for key in ["only with", "behind"] {
            client.text(&["DEL", key]);
        }
        assert_eq!(client.text(&["DBSIZE"]), "5000");
    }
}

#[test]
fn always_is_in_force_with_the_reply() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut client = server.client();
    wait_based(&mut client);
    for round in 0..5 {
        assert_eq!(client.text(&["CONFIG", "SET", "appendfsync", "always"]), "OK");
        for n in 0..20 {
            assert_eq!(client.text(&["SET", &format!("{round}:{n}"), "x"]), "OK");
        }
        server.kill();
        server.start_again(&["--appendonly", "yes", "--appendfsync", "no"]);
        client = server.client();
        assert_eq!(client.text(&["DBSIZE"]), (20 * (round + 1)).to_string());
    }
}

/// Something has the directory's name.
#[test]
fn a_directory_that_cannot_be_opened_is_tried_again() {
    let server = Server::start(&["--save", ""]);
    let mut client = server.client();
    let path = appended(&server);
    std::fs::write(&path, "in the way").unwrap();
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
    until("writes are refused", || client.text(&["SET", "key", "1"]).starts_with("MISCONF").then_some(()));
    assert!(server.log().contains("appendonlydir"), "{}", server.log());
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "no"]), "OK");
    until("writes are taken", || (client.text(&["SET", "key", "2"]) == "OK").then_some(()));
    assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
    until("writes are refused", || client.text(&["SET", "key", "3"]).starts_with("MISCONF").then_some(()));
    std::fs::remove_file(&path).unwrap();
    until("writes are taken", || (client.text(&["SET", "key", "4"]) == "OK").then_some(()));
    wait_based(&mut client);
}

/// BGREWRITEAOF right behind it, while a write was under way, found the files still open.
#[test]
fn what_config_set_has_answered_holds_for_the_next_command() {
    let server = Server::start(&["--save", "", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    for n in 0..5 {
        assert_eq!(client.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
        until("its base is complete", || {
            (client.info("persistence", "aof_rewrites") == (n + 1).to_string()).then_some(())
        });
        assert_eq!(client.text(&["DEBUG", "AOF-FLUSH-SLEEP", "200000"]), "OK");
        assert_eq!(client.text(&["SET", "key", "value"]), "OK");
        // Long enough for the write to begin.
        (0..500).for_each(|_| assert_eq!(client.text(&["PING"]), "PONG"));
        client.send(&["CONFIG", "SET", "appendonly", "no"]);
        client.send(&["BGREWRITEAOF"]);
        assert_eq!(client.receive(), Reply::Simple("OK".into()));
        assert!(
            matches!(client.receive(), Reply::Error(said) if said.starts_with("ERR appendonly is off")),
            "the files are off"
        );
        assert_eq!(client.text(&["DEBUG", "AOF-FLUSH-SLEEP", "0"]), "OK");
    }
}
