//! What is on the disk: restarts, crashes of the process, damage, full disks, files of others.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod beside;
mod check;
mod crashes;
mod cuts;
mod damage;
mod foreign;
mod forms;
mod full_disk;
mod loading;
mod refusals;
mod reload;
mod restarts;
mod rewrites;
mod saves;
mod switching;
mod timestamps;

use common::{Client, Server, until};
use node_server_protocol::resp::Reply;
use std::path::{Path, PathBuf};

/// Every write on the disk before its reply.
const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
/// The append-only file as it is by default.
const EVERYSEC: &[&str] = &["--appendonly", "yes"];

/// A request of bytes.
fn call(client: &mut Client, args: &[&[u8]]) -> Reply {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    client.send_raw(&request);
    client.receive()
}

fn number(client: &mut Client, key: &str) -> u64 {
    match client.call(&["GET", key]) {
        Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
        Reply::Null => 0,
        other => panic!("{key}: {other:?}"),
    }
}

/// Sets `PREFIX:0` to `PREFIX:count - 1`: enough that a file of them takes a moment to write.
fn set_many(client: &mut Client, prefix: &str, count: usize) {
    for n in 0..count {
        let key = format!("{prefix}:{n}");
        client.send(&["SET", &key, "a value of some length, so that it takes a moment to write"]);
    }
    (0..count).for_each(|_| assert_eq!(client.receive(), Reply::Simple("OK".into())));
}

/// Waits until what was written last is in the files with a base of their own.
fn wait_based(client: &mut Client) {
    until("the first base is complete", || {
        let rewrites: u64 = client.info("persistence", "aof_rewrites").parse().unwrap();
        (rewrites > 0 && client.info("persistence", "aof_rewrite_in_progress") == "0").then_some(())
    });
}

/// BGREWRITEAOF, to its end.
fn rewrite(client: &mut Client) {
    let rewrites = |client: &mut Client| client.info("persistence", "aof_rewrites").parse::<u64>().unwrap();
    until("no rewrite is under way", || {
        (client.info("persistence", "aof_rewrite_in_progress") == "0").then_some(())
    });
    let before = rewrites(client);
    assert_eq!(client.text(&["BGREWRITEAOF"]), "Background append only file rewriting started");
    until("the rewrite has ended", || (rewrites(client) > before).then_some(()));
    assert_eq!(client.info("persistence", "aof_last_bgrewrite_status"), "ok");
}

fn appended(server: &Server) -> PathBuf {
    server.dir.path().join("appendonlydir")
}

/// Every sync takes so long, until the server or strace ends.
fn slow_syncs(server: &Server, length: std::time::Duration) -> std::process::Child {
    let delay = format!("inject=fdatasync:delay_enter={}", length.as_micros());
    let pid = server.child.id();
    let strace = std::process::Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-e", &delay, "-o", "/dev/null"])
        .args(["-p", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace is needed: apt-get install strace");
    // Threads are taken hold of one by one.
    until("strace has hold of every thread", || {
        let threads =
            std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path());
        // A thread may end meanwhile.
        let mut statuses = threads.filter_map(|thread| std::fs::read_to_string(thread.join("status")).ok());
        statuses.all(|status| !status.contains("TracerPid:\t0\n")).then_some(())
    });
    strace
}

/// The increment that is written to.
fn last_increment(dir: &Path) -> PathBuf {
    let manifest = std::fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
    let line = manifest.lines().rfind(|line| line.ends_with("type i")).unwrap();
    dir.join(line.split(' ').nth(1).unwrap())
}

/// Starts with a configuration that is to be refused; what it said.
fn refused(server: &Server, args: &[&str]) -> String {
    let dir = server.dir.path().to_str().unwrap();
    let port = server.port.to_string();
    let mut all = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", dir];
    all.extend(args);
    let output = common::run(&all, server.dir.path(), "");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}
