//! DEBUG DIGEST, RELOAD and LOADAOF, and what redis-server and Valkey say to files that we wrote and we to theirs.

use super::foreign::{Foreign, copy, fill_types, others, strings};
use super::*;
use std::process::Command;

const DEBUG: &[&str] = &["--enable-debug-command", "yes", "--save", ""];

fn digest(client: &mut Client) -> String {
    let digest = client.text(&["DEBUG", "DIGEST"]);
    assert!(digest.len() == 40 && digest.bytes().any(|b| b != b'0'), "{digest}");
    digest
}

/// Every type, integers, a key that expires, a second database.
fn fill(client: &mut Client) {
    fill_types(client);
    strings(client);
    client.text(&["SELECT", "3"]);
    client.text(&["SET", "elsewhere", "x"]);
    client.text(&["SELECT", "0"]);
}

fn is_accepted_by_redis(program: &str, file: &Path) {
    let output = Command::new(program).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program}: {said}");
}

/// Theirs, ours made of theirs, and theirs made of ours are the same data, as RDB and as append-only file.
#[test]
fn digests_are_equal_whoever_wrote_the_file() {
    for program in others() {
        let on = [DEBUG, EVERYSEC].concat();
        let mut other = Foreign::start(program.clone(), tempfile::tempdir().unwrap(), &on);
        let mut client = other.client();
        fill(&mut client);
        let expected = digest(&mut client);
        assert_eq!(client.text(&["SAVE"]), "OK");
        other.stop();
        for appended_too in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            if appended_too {
                copy(&other.dir.path().join("appendonlydir"), &dir.path().join("appendonlydir"));
            } else {
                std::fs::copy(other.dir.path().join("dump.rdb"), dir.path().join("dump.rdb")).unwrap();
            }
            let args: &[&str] = if appended_too { &on } else { DEBUG };
            // What a type's command does not know yet can only stand in a base.
            if appended_too {
                rewrite_by(&program, &dir, &on);
            }
            let mut server = Server::start_in(dir, args);
            let mut client = server.client();
            assert_eq!(digest(&mut client), expected, "{} {appended_too}", program.display());
            assert_eq!(client.text(&["SAVE"]), "OK");
            if appended_too {
                rewrite(&mut client);
            }
            server.kill();
            is_accepted_by_redis("redis-check-rdb", &server.dir.path().join("dump.rdb"));
            let back = tempfile::tempdir().unwrap();
            if appended_too {
                is_accepted_by_redis("redis-check-aof", &appended(&server).join("appendonly.aof.manifest"));
                copy(&appended(&server), &back.path().join("appendonlydir"));
            } else {
                std::fs::copy(server.dir.path().join("dump.rdb"), back.path().join("dump.rdb")).unwrap();
            }
            let judge = Foreign::start(program.clone(), back, args);
            assert_eq!(digest(&mut judge.client()), expected, "{} {appended_too}", program.display());
        }
    }
}

/// Lets the other server put everything into the base.
fn rewrite_by(program: &Path, dir: &tempfile::TempDir, args: &[&str]) {
    let copied = tempfile::tempdir().unwrap();
    copy(&dir.path().join("appendonlydir"), &copied.path().join("appendonlydir"));
    let mut other = Foreign::start(program.to_owned(), copied, args);
    let mut client = other.client();
    client.text(&["BGREWRITEAOF"]);
    until("it is rewritten", || {
        let is_idle = client.info("persistence", "aof_rewrite_in_progress") == "0";
        (is_idle && client.info("persistence", "aof_rewrite_scheduled") == "0").then_some(())
    });
    other.kill();
    std::fs::remove_dir_all(dir.path().join("appendonlydir")).unwrap();
    copy(&other.dir.path().join("appendonlydir"), &dir.path().join("appendonlydir"));
}

#[test]
fn an_empty_data_set_has_no_digest_and_every_change_another() {
    let server = Server::start(DEBUG);
    let mut client = server.client();
    assert_eq!(client.text(&["DEBUG", "DIGEST"]), "0".repeat(40));
    let mut seen = std::collections::BTreeSet::new();
    let changes: [&[&str]; 5] = [
        &["SET", "key", "value"],
        &["SET", "key", "valuf"],
        &["PEXPIRE", "key", "100000000"],
        &["RENAME", "key", "kez"],
        &["SET", "key", "value"],
    ];
    for change in changes {
        client.text(change);
        assert!(seen.insert(digest(&mut client)), "{change:?}");
    }
    assert_eq!(client.text(&["FLUSHALL"]), "OK");
    assert_eq!(client.text(&["DEBUG", "DIGEST"]), "0".repeat(40));
}

#[test]
fn files_are_read_back_in_the_place_of_the_data() {
    let on = [DEBUG, ALWAYS].concat();
    let mut server = Server::start(&on);
    let mut client = server.client();
    strings(&mut client);
    let before = digest(&mut client);
    for what in [&["DEBUG", "LOADAOF"][..], &["DEBUG", "RELOAD"]] {
        assert_eq!(client.text(what), "OK");
        assert_eq!(digest(&mut client), before, "{what:?}");
    }
    // The file is older than what is in memory; the log has both.
    assert_eq!(client.text(&["SET", "behind the file", "x"]), "OK");
    assert_eq!(client.text(&["DEBUG", "RELOAD", "NOSAVE"]), "OK");
    assert_eq!(client.text(&["EXISTS", "behind the file"]), "0");
    assert_eq!(digest(&mut client), before);
    assert_eq!(client.text(&["DEBUG", "LOADAOF"]), "OK");
    assert_eq!(client.text(&["GET", "behind the file"]), "x");
    assert_eq!(client.text(&["SET", "afterwards", "x"]), "OK");
    let last = digest(&mut client);
    server.kill();
    server.start_again(&on);
    assert_eq!(digest(&mut server.client()), last);
}

/// What is written between the save and the reading back must not be lost.
#[test]
fn writes_during_a_reload_are_kept() {
    let server = Server::start(&[DEBUG, &["--io-threads", "2"]].concat());
    let (mut client, mut writing) = (server.client(), server.client());
    let writer = std::thread::spawn(move || {
        (0..3000).for_each(|n| assert_eq!(writing.text(&["SET", &format!("key:{n}"), "x"]), "OK"));
    });
    // Once in any case.
    loop {
        let said = client.text(&["DEBUG", "RELOAD"]);
        assert!(said == "OK" || said.contains("clients go on writing"), "{said}");
        if writer.is_finished() {
            break;
        }
    }
    writer.join().unwrap();
    assert_eq!(client.text(&["DEBUG", "RELOAD"]), "OK");
    assert_eq!(client.text(&["DBSIZE"]), "3000");
}

#[test]
fn checksums_of_payloads_are_left_out_when_asked_for() {
    let on = [DEBUG, ALWAYS].concat();
    let mut server = Server::start(&on);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    let Reply::Bulk(mut payload) = client.call(&["DUMP", "key"]) else { panic!("no payload") };
    *payload.last_mut().unwrap() ^= 1;
    let restore = |client: &mut Client, payload: &[u8]| {
        call(client, &[b"RESTORE", b"other", b"0", payload, b"REPLACE"])
    };
    let wrong = Reply::Error("ERR DUMP payload version or checksum are wrong".into());
    assert_eq!(restore(&mut client, &payload), wrong);
    assert_eq!(client.text(&["DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1"]), "OK");
    assert_eq!(restore(&mut client, &payload), Reply::Simple("OK".into()));
    assert_eq!(client.text(&["GET", "other"]), "value");
    // What does not decode is refused all the same.
    payload[0] = 14;
    assert_eq!(restore(&mut client, &payload), Reply::Error("ERR Bad data format".into()));
    assert_eq!(client.text(&["DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "0"]), "OK");
    assert_eq!(restore(&mut client, &payload), wrong);
    // What was taken is in the file with a checksum that is right.
    server.kill();
    server.start_again(&on);
    assert_eq!(server.client().text(&["GET", "other"]), "value");
}

/// With `always` no reply comes before its write is in the file, however slow that is.
#[test]
fn a_slow_flush_holds_replies_back() {
    let server = Server::start(&[DEBUG, ALWAYS].concat());
    let mut client = server.client();
    wait_based(&mut client);
    let file = last_increment(&appended(&server));
    let len = || std::fs::metadata(&file).unwrap().len();
    assert_eq!(client.text(&["DEBUG", "AOF-FLUSH-SLEEP", "200000"]), "OK");
    for _ in 0..3 {
        let (before, began) = (len(), std::time::Instant::now());
        assert_eq!(client.text(&["SET", "key", "value"]), "OK");
        assert!(len() > before && began.elapsed().as_millis() >= 200);
    }
    assert_eq!(client.text(&["DEBUG", "AOF-FLUSH-SLEEP", "0"]), "OK");
    assert!(client.text(&["DEBUG", "AOF-FLUSH-SLEEP", "-1"]).contains("out of range"));
}

#[test]
fn what_cannot_be_read_back_changes_nothing() {
    let server = Server::start(DEBUG);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    assert!(client.text(&["DEBUG", "LOADAOF"]).contains("appendonly is off"));
    assert!(client.text(&["DEBUG", "RELOAD", "NOSAVE"]).contains("there is no such file"));
    assert!(client.text(&["DEBUG", "RELOAD", "MERGE"]).contains("NOSAVE"));
    std::fs::write(server.dir.path().join("dump.rdb"), "REDIS0987").unwrap();
    let said = client.text(&["DEBUG", "RELOAD", "NOSAVE"]);
    assert!(said.contains("Can't handle RDB format version 987"), "{said}");
    assert_eq!(client.text(&["GET", "key"]), "value");
    assert_eq!(client.text(&["SET", "key", "goes on"]), "OK");
    client.text(&["MULTI"]);
    client.text(&["DEBUG", "DIGEST"]);
    client.text(&["DEBUG", "RELOAD"]);
    let Reply::Array(replies) = client.call(&["EXEC"]) else { panic!("no array") };
    let refused =
        |reply: &Reply| matches!(reply, Reply::Error(text) if text.contains("inside a transaction"));
    assert!(replies.len() == 2 && replies.iter().all(refused), "{replies:?}");
}
