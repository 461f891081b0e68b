//! `aof-timestamp-enabled`, and cutting a file at what it says.

use super::foreign::{Foreign, content, copy, others};
use super::*;
use std::process::Command;

/// The seconds that a file tells, in order.
fn seconds(file: &Path) -> Vec<u64> {
    let bytes = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter_map(|line| line.strip_prefix("#TS:")).map(|second| second.parse().unwrap()).collect()
}

/// Writes until the file tells one more second; how many keys there are before that and with it.
fn write_until_another_second(client: &mut Client, file: &Path, mut count: u64) -> (u64, u64) {
    let before = seconds(file).len();
    until("another second is told", || {
        assert_eq!(client.text(&["SET", &format!("key:{count}"), "a value"]), "OK");
        count += 1;
        (seconds(file).len() > before).then_some((count - 1, count))
    })
}

fn redis_check_aof(args: &[&str], manifest: &Path) {
    let output = Command::new("redis-check-aof").args(args).arg(manifest).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn ours(args: &[&str], manifest: &Path) -> bool {
    let all = [&["check", "aof"], args, &[manifest.to_str().unwrap()]].concat();
    common::run(&all, manifest.parent().unwrap(), "").status.success()
}

#[test]
fn seconds_are_told_from_config_set_on_and_read_over() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", "before"]), "OK");
    assert!(seconds(&last_increment(&appended(&server))).is_empty());
    assert_eq!(client.text(&["CONFIG", "SET", "aof-timestamp-enabled", "yes"]), "OK");
    assert_eq!(client.text(&["SET", "key", "told"]), "OK");
    let told = seconds(&last_increment(&appended(&server)));
    let time = unix_second();
    assert!(matches!(told[..], [second] if time - second < 60), "{told:?}, it is {time}");
    rewrite(&mut client);
    let file = last_increment(&appended(&server));
    let lines = std::fs::read(&file).unwrap();
    let first = lines.split(|b| *b == b'\n').find(|line| !line.starts_with(b"#OPEN:"));
    assert!(first.is_some_and(|line| line.starts_with(b"#TS:")), "an increment begins with its second");
    assert_eq!(client.text(&["CONFIG", "SET", "aof-timestamp-enabled", "no"]), "OK");
    let before = seconds(&file);
    assert_eq!(client.text(&["SET", "key", "after"]), "OK");
    assert_eq!(seconds(&file), before);
    server.kill();
    server.start_again(&[ALWAYS, &["--aof-timestamp-enabled", "yes"]].concat());
    assert_eq!(server.client().text(&["GET", "key"]), "after");
}

fn unix_second() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// With its program and with ours, and whoever loads it then.
#[test]
fn a_file_is_cut_at_its_seconds_as_by_redis() {
    let mut server = Server::start(&[ALWAYS, &["--aof-timestamp-enabled", "yes"]].concat());
    let mut client = server.client();
    wait_based(&mut client);
    let file = last_increment(&appended(&server));
    let (_, first) = write_until_another_second(&mut client, &file, 0);
    let (kept, all) = write_until_another_second(&mut client, &file, first);
    let told = seconds(&file);
    let until = told[told.len() - 2].to_string();
    server.kill();
    let manifest = appended(&server).join("appendonly.aof.manifest");
    redis_check_aof(&[], &manifest);
    for program in others() {
        let dir = tempfile::tempdir().unwrap();
        copy(&appended(&server), &dir.path().join("appendonlydir"));
        let mut other = Foreign::start(program, dir, EVERYSEC);
        assert_eq!(other.client().text(&["DBSIZE"]), all.to_string());
        other.kill();
    }
    let theirs = tempfile::tempdir().unwrap();
    let cut_by_redis = theirs.path().join("appendonlydir");
    copy(&appended(&server), &cut_by_redis);
    redis_check_aof(&["--truncate-to-timestamp", &until], &cut_by_redis.join("appendonly.aof.manifest"));
    assert!(!ours(&["--truncate-to-timestamp", "1000"], &manifest), "all of it is later");
    assert!(ours(&["--truncate-to-timestamp", &until], &manifest));
    let cut = std::fs::read(&file).unwrap();
    assert!(cut == std::fs::read(last_increment(&cut_by_redis)).unwrap());
    redis_check_aof(&[], &manifest);
    let mut other = Foreign::start("redis-server".into(), theirs, EVERYSEC);
    server.start_again(&[ALWAYS, &["--aof-load-truncated", "no"]].concat());
    let mut client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), kept.to_string());
    assert_eq!(content(&mut client), content(&mut other.client()));
    other.kill();
    // It is sealed to its end and goes on.
    assert_eq!(client.text(&["SET", "behind", "the cut"]), "OK");
    server.kill();
    assert!(ours(&[], &manifest));
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["DBSIZE"]), (kept + 1).to_string());
}
