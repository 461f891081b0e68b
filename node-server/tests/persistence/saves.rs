//! SAVE, BGSAVE, LASTSAVE, save points.

use super::*;
use crate::foreign::Foreign;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn last_save(client: &mut Client) -> u64 {
    client.text(&["LASTSAVE"]).parse().unwrap()
}

#[test]
fn save_and_bgsave_write_what_a_start_loads() {
    let mut server = Server::start(&["--save", ""]);
    let mut client = server.client();
    let started = last_save(&mut client);
    for (n, how) in ["SAVE", "BGSAVE", "BGSAVE SCHEDULE"].into_iter().enumerate() {
        assert_eq!(client.text(&["SET", "key", how]), "OK");
        assert_ne!(client.info("persistence", "rdb_changes_since_last_save"), "0");
        let reply = client.text(&how.split(' ').collect::<Vec<_>>());
        assert_eq!(reply, if n == 0 { "OK" } else { "Background saving started" });
        until("it is saved", || {
            (client.info("persistence", "rdb_saves") == (n + 1).to_string()).then_some(())
        });
        assert_eq!(client.info("persistence", "rdb_last_bgsave_status"), "ok");
        assert_eq!(client.info("persistence", "rdb_changes_since_last_save"), "0");
        assert!(last_save(&mut client) >= started);
        server.kill();
        server.start_again(&["--save", ""]);
        client = server.client();
        assert_eq!(client.text(&["GET", "key"]), how);
        (0..=n).for_each(|_| assert_eq!(client.text(&["SAVE"]), "OK"));
    }
    assert_eq!(client.text(&["BGSAVE", "NOW"]), "ERR syntax error");
    let left =
        std::fs::read_dir(server.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.ends_with(".rdb")).collect::<Vec<_>>(), ["dump.rdb"]);
}

/// Who was told that it has begun sees it, or its end.
#[test]
fn what_has_begun_is_seen_in_info() {
    let server = Server::start(EVERYSEC);
    let mut client = server.client();
    set_many(&mut client, "key", 1000);
    wait_based(&mut client);
    let number = |client: &mut Client, field: &str| client.info("persistence", field).parse::<u64>().unwrap();
    for n in 0..40 {
        let (command, running, ended) = match n % 2 {
            0 => ("BGSAVE", "rdb_bgsave_in_progress", "rdb_saves"),
            _ => ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_rewrites"),
        };
        let before = number(&mut client, ended);
        let said = client.text(&[command]);
        assert!(said.ends_with("started"), "{said}");
        let text = client.text(&["INFO", "persistence"]);
        let is_running = text.contains(&format!("{running}:1"));
        let has_ended = text.contains(&format!("{ended}:{}", before + 1));
        assert!(is_running || has_ended, "{command}: {text}");
        until("it has ended", || (number(&mut client, running) == 0).then_some(()));
    }
}

#[test]
fn save_answers_under_writes() {
    let server = Server::start(&["--save", "", "--io-threads", "2"]);
    let (mut client, mut writing) = (server.client(), server.client());
    let written = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let n = written.fetch_add(1, Ordering::Relaxed);
                assert_eq!(writing.text(&["SET", &format!("key:{}", n % 100), "x"]), "OK");
            }
        });
        for _ in 0..4 {
            let before = written.load(Ordering::Relaxed);
            until("it writes", || (written.load(Ordering::Relaxed) > before + 1).then_some(()));
            assert_eq!(client.text(&["SAVE"]), "OK");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn save_points_save_after_enough_changes() {
    let mut server = Server::start(&["--save", "1 5"]);
    let mut client = server.client();
    (0..4).for_each(|_| drop(client.text(&["INCR", "n"])));
    // Long enough for one that counted wrongly.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(client.info("persistence", "rdb_saves"), "0");
    client.text(&["INCR", "n"]);
    until("the save point saves", || (client.info("persistence", "rdb_saves") == "1").then_some(()));
    assert_eq!(client.text(&["CONFIG", "SET", "save", ""]), "OK");
    // The thread that saves answers this, and has seen the change then.
    assert!(client.text(&["BGREWRITEAOF"]).starts_with("ERR appendonly is off"));
    (0..10).for_each(|_| drop(client.text(&["INCR", "n"])));
    server.kill();
    server.start_again(&["--save", ""]);
    client = server.client();
    assert_eq!(client.text(&["GET", "n"]), "5");
    // Without save points nothing is saved at the end, with them everything is.
    for (args, expected) in [(&["--save", ""][..], "5"), (&["--save", "3600 1"], "6")] {
        server.kill();
        server.start_again(args);
        server.client().text(&["INCR", "n"]);
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        server.start_again(&["--save", ""]);
        assert_eq!(server.client().text(&["GET", "n"]), expected);
    }
    client = server.client();
    client.text(&["INCR", "n"]);
    client.send(&["SHUTDOWN", "SAVE"]);
    assert_eq!(client.try_receive(), None);
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(&["--save", "3600 1"]);
    client = server.client();
    assert_eq!(client.text(&["INCR", "n"]), "8");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(client.try_receive(), None);
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(&["--save", ""]);
    assert_eq!(server.client().text(&["GET", "n"]), "7");
}

#[test]
fn a_save_that_fails_is_told_and_refuses_writes_until_one_works() {
    let server = Server::start(&["--save", "3600 1"]);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    let there = server.dir.path().join("dump.rdb");
    std::fs::create_dir(&there).unwrap();
    let error = client.text(&["SAVE"]);
    assert!(error.starts_with("ERR temp-") && error.contains("could not rename the file"), "{error}");
    assert_eq!(client.info("persistence", "rdb_last_bgsave_status"), "err");
    for args in [&["SET", "key", "x"][..], &["PING"], &["FLUSHALL"]] {
        let error = client.text(args);
        assert!(error.starts_with("MISCONF Redis is configured to save RDB snapshots"), "{args:?}: {error}");
    }
    assert_eq!(client.text(&["GET", "key"]), "value");
    assert_eq!(client.text(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]), "OK");
    until("writes are taken", || (client.text(&["SET", "key", "2"]) == "OK").then_some(()));
    assert_eq!(client.text(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]), "OK");
    until("writes are refused", || client.text(&["SET", "key", "2"]).starts_with("MISCONF").then_some(()));
    std::fs::remove_dir(&there).unwrap();
    assert_eq!(client.text(&["SAVE"]), "OK");
    until("writes are taken", || (client.text(&["SET", "key", "3"]) == "OK").then_some(()));
}

/// There were none.
#[test]
fn save_points_are_those_of_redis_unless_the_file_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("redis.conf");
    let file = conf.to_str().unwrap().to_owned();
    let default = "3600 1 300 100 60 10000";
    for (text, points) in [("", default), ("save 900 1\nsave 300 10\n", "900 1 300 10"), ("save \"\"\n", "")]
    {
        std::fs::write(&conf, text).unwrap();
        let mut server = Server::start(&[&file]);
        let theirs = Foreign::redis_by(&file);
        for client in [&mut server.client(), &mut theirs.client()] {
            let Reply::Array(pair) = client.call(&["CONFIG", "GET", "save"]) else { panic!("a pair") };
            assert_eq!(pair[1], Reply::Bulk(points.into()), "{text:?}");
            assert_eq!(client.text(&["SET", "key", "value"]), "OK");
        }
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        assert_eq!(server.dir.path().join("dump.rdb").exists(), !points.is_empty(), "{text:?}");
        server.start_again(&[&file]);
        let kept = server.client().call(&["GET", "key"]) == Reply::Bulk("value".into());
        assert_eq!(kept, !points.is_empty(), "{text:?}");
    }
}

/// It ended with 1, and what was in memory was gone.
#[test]
fn a_save_that_fails_at_the_end_is_a_reason_to_stay() {
    let args = ["--save", "3600 1"];
    let mut server = Server::start(&args);
    let theirs = Foreign::redis_by("");
    let refused = "ERR Errors trying to SHUTDOWN. Check logs.";
    for (client, dir) in
        [(&mut theirs.client(), theirs.dir.path()), (&mut server.client(), server.dir.path())]
    {
        assert_eq!(client.text(&["SET", "key", "value"]), "OK");
        std::fs::create_dir(dir.join("dump.rdb")).unwrap();
        for how in [&["SHUTDOWN"][..], &["SHUTDOWN", "SAVE"], &["SHUTDOWN", "NOW"]] {
            assert_eq!(client.text(how), refused, "{how:?}");
        }
        assert_eq!(client.text(&["GET", "key"]), "value");
    }
    let stays = |server: &Server| server.log().matches("can't exit").count();
    for name in ["TERM", "INT"] {
        let before = stays(&server);
        server.signal(name);
        until("it says that it stays", || (stays(&server) > before).then_some(()));
        assert_eq!(server.client().text(&["GET", "key"]), "value");
    }
    std::fs::remove_dir(server.dir.path().join("dump.rdb")).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(&args);
    let mut client = server.client();
    assert_eq!(client.text(&["GET", "key"]), "value");
    std::fs::remove_file(server.dir.path().join("dump.rdb")).unwrap();
    std::fs::create_dir(server.dir.path().join("dump.rdb")).unwrap();
    client.send(&["SHUTDOWN", "FORCE"]);
    assert_eq!(client.try_receive(), None);
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

/// What is written while the last save runs is saved as well.
#[test]
fn nothing_that_was_acknowledged_is_missing_after_the_last_save() {
    let args = ["--save", "3600 1"];
    let mut server = Server::start(&args);
    set_many(&mut server.client(), "key", 20_000);
    let mut client = server.client();
    let writer = std::thread::spawn(move || {
        let mut acknowledged = 0_u64;
        loop {
            client.send(&["INCR", "n"]);
            match client.try_receive() {
                Some(Reply::Integer(n)) => acknowledged = n as u64,
                _ => return acknowledged,
            }
        }
    });
    until("it writes", || (number(&mut server.client(), "n") > 100).then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    let acknowledged = writer.join().unwrap();
    server.start_again(&args);
    let found = number(&mut server.client(), "n");
    assert!(found == acknowledged || found == acknowledged + 1, "{found} {acknowledged}");
}

/// A transaction could not have them.
#[test]
fn a_transaction_schedules_them_as_in_redis() {
    let server = Server::start(EVERYSEC);
    let theirs = Foreign::redis_by("");
    let mut client = server.client();
    wait_based(&mut client);
    let mut theirs = theirs.client();
    assert_eq!(theirs.text(&["CONFIG", "SET", "appendonly", "yes"]), "OK");
    until("no rewrite is under way there", || {
        (theirs.info("persistence", "aof_rewrite_in_progress") == "0").then_some(())
    });
    let (saves, rewrites) =
        (client.info("persistence", "rdb_saves"), client.info("persistence", "aof_rewrites"));
    let wanted =
        ["MULTI", "SET key value", "BGSAVE", "BGREWRITEAOF", "BGSAVE SCHEDULE", "BGSAVE NOW", "EXEC"];
    let [ours, theirs] = [&mut client, &mut theirs]
        .map(|client| wanted.map(|request| client.call(&request.split(' ').collect::<Vec<_>>())));
    assert_eq!(ours, theirs);
    assert!(matches!(&ours[6], Reply::Array(replies) if replies.len() == 5), "{ours:?}");
    assert!(client.text(&["MULTI"]) == "OK" && client.text(&["SAVE"]).starts_with("ERR Command not allowed"));
    assert!(client.text(&["EXEC"]).starts_with("EXECABORT"));
    until("both are through", || {
        let saved = client.info("persistence", "rdb_saves") != saves;
        (saved && client.info("persistence", "aof_rewrites") != rewrites).then_some(())
    });
}

/// A command holds a slot, so no snapshot can begin: SAVE waits for it.
#[test]
fn save_waits_for_a_command_that_is_in_its_way() {
    let server = Server::start(&["--save", "", "--enable-debug-command", "yes"]);
    let (mut client, mut other) = (server.client(), server.client());
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    other.send(&["DEBUG", "SLEEP-SLOT", "0", "3"]);
    until("the slot is held", || {
        client.send(&["GET", "key"]);
        client.stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let held = client.stream.peek(&mut [0]).is_err();
        client.stream.set_read_timeout(Some(common::SOON)).unwrap();
        client.receive();
        held.then_some(())
    });
    other.send(&["DEBUG", "SLEEP-SLOT", "0", "0.7"]);
    assert_eq!(client.text(&["SAVE"]), "OK");
    assert!(server.dir.path().join("dump.rdb").exists());
}

/// The last save comes behind one under way, not into its file.
#[test]
fn leaving_during_a_save_leaves_a_whole_file() {
    let args = ["--save", "3600 1"];
    let mut server = Server::start(&args);
    let mut client = server.client();
    set_many(&mut client, "key", 20_000);
    for round in 0..4 {
        assert_eq!(client.text(&["SET", "round", &round.to_string()]), "OK");
        assert_eq!(client.text(&["BGSAVE"]), "Background saving started");
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        server.start_again(&args);
        client = server.client();
        assert_eq!(client.text(&["DBSIZE"]), "20001");
        assert_eq!(client.text(&["GET", "round"]), round.to_string());
    }
}

/// A replica that asks for everything and reads nothing. The data must be more than sockets hold.
pub(crate) fn silent_replica(server: &Server) -> Client {
    let mut peer = server.client();
    assert_eq!(peer.text(&["REPLCONF", "capa", "eof"]), "OK");
    peer.send(&["PSYNC", "?", "-1"]);
    until("its full sync is under way", || server.log().contains("begins at offset").then_some(()));
    peer
}

pub(crate) fn fill(client: &mut Client, megabytes: usize) {
    let value = "v".repeat(1 << 20);
    (0..megabytes).for_each(|n| assert_eq!(client.text(&["SET", &format!("large:{n}"), &value]), "OK"));
}

/// There is one snapshot at a time, and its full sync would have it until `repl-timeout`.
#[test]
fn a_replica_that_does_not_read_does_not_keep_the_process_from_leaving() {
    let mut server = Server::start(&["--save", "3600 1", "--shutdown-timeout", "1"]);
    fill(&mut server.client(), 24);
    let peer = silent_replica(&server);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    drop(peer);
    assert!(server.log().contains("a file is to be written first"), "{}", server.log());
    server.start_again(&["--save", ""]);
    assert_eq!(server.client().text(&["DBSIZE"]), "24");
}
