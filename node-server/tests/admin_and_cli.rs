//! The admin port as a kubelet sees it, and `node-server cli` beside redis-cli.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{PROGRAM, Server, free_port, until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// An answer that takes longer than the port allows is none: then once more.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let text = said_to(port, path)?;
    let text = if text.is_empty() { said_to(port, path)? } else { text };
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.trim().to_owned()))
}

fn said_to(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Some(text)
}

fn cluster_node(more: &[&str]) -> (Server, u16) {
    let admin = free_port();
    let port = admin.to_string();
    let mut args = vec!["--cluster-enabled", "yes", "--admin-port", &port];
    args.extend(more);
    (Server::start(&args), admin)
}

fn all_slots(server: &Server) {
    assert_eq!(server.client().text(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
}

#[test]
fn a_master_is_ready_when_it_serves() {
    let (server, admin) = cluster_node(&[]);
    assert_eq!(get(admin, "/livez").unwrap(), (200, "alive".into()));
    assert_eq!(get(admin, "/readyz").unwrap().0, 503, "nobody owns slots yet");
    assert_eq!(get(admin, "/nothing").unwrap().0, 404);
    all_slots(&server);
    until("it is ready", || (get(admin, "/readyz")?.0 == 200).then_some(()));
}

#[test]
fn a_replica_is_ready_when_it_has_its_copy() {
    let (master, _) = cluster_node(&[]);
    let (replica, admin) = cluster_node(&[]);
    all_slots(&master);
    let id = master.client().text(&["CLUSTER", "MYID"]);
    replica.client().text(&["CLUSTER", "MEET", "127.0.0.1", &master.port.to_string()]);
    until("it follows", || (replica.client().text(&["CLUSTER", "REPLICATE", &id]) == "OK").then_some(()));
    until("it is ready", || (get(admin, "/readyz")? == (200, "follows its master".into())).then_some(()));
    drop(master);
    until("without its master it is not", || (get(admin, "/readyz")?.0 == 503).then_some(()));
    assert_eq!(get(admin, "/livez").unwrap().0, 200);
}

#[test]
fn a_silent_request_keeps_nobody_from_asking() {
    let (_server, admin) = cluster_node(&[]);
    let _silent: Vec<_> = (0..16).map(|_| TcpStream::connect(("127.0.0.1", admin)).unwrap()).collect();
    assert_eq!(get(admin, "/livez").unwrap().0, 200);
}

fn output(program: &str, args: &[&str], port: u16, words: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(program).args(args).args(["-p", &port.to_string()]).args(words).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Said by both, with types and raw.
fn same(server: &Server, words: &[&str]) -> String {
    let mut last = String::new();
    for raw in ["--raw", "--no-raw"] {
        let ours = output(PROGRAM, &["cli", raw], server.port, words);
        assert_eq!(ours, output("/usr/bin/redis-cli", &[raw], server.port, words), "{raw} {words:?}");
        last = ours.1;
    }
    last
}

#[test]
fn cli_prints_what_redis_cli_prints() {
    let (server, _) = cluster_node(&[]);
    all_slots(&server);
    until("it serves", || (server.client().text(&["SET", "a", "1"]) == "OK").then_some(()));
    same(&server, &["SET", "a", "x\"\\\n\t\u{1}ü"]);
    same(&server, &["GET", "a"]);
    same(&server, &["GET", "none"]);
    same(&server, &["APPEND", "a", ""]);
    same(&server, &["MGET", "{x}1", "{x}2"]);
    same(&server, &["KEYS", "no*"]);
    same(&server, &["NOSUCH"]);
    same(&server, &["CLUSTER", "SLOTS"]);
    same(&server, &["COMMAND", "INFO", "get", "nosuch", "set"]);
    assert!(same(&server, &["CLUSTER", "COUNTKEYSINSLOT", "0"]).starts_with("(integer)"));
}

#[test]
fn cli_follows_redirections() {
    let (one, _) = cluster_node(&[]);
    let (two, _) = cluster_node(&[]);
    assert_eq!(one.client().text(&["CLUSTER", "ADDSLOTSRANGE", "0", "5000"]), "OK");
    assert_eq!(two.client().text(&["CLUSTER", "SET-CONFIG-EPOCH", "9"]), "OK");
    assert_eq!(two.client().text(&["CLUSTER", "ADDSLOTSRANGE", "5001", "16383"]), "OK");
    one.client().text(&["CLUSTER", "MEET", "127.0.0.1", &two.port.to_string()]);
    let ok = |s: &Server| s.client().text(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    until("they serve", || (ok(&one) && ok(&two)).then_some(()));
    let set = |program, args: &[&str]| output(program, args, one.port, &["set", "name", "caimengzhi"]);
    for raw in ["--raw", "--no-raw"] {
        let theirs = set("/usr/bin/redis-cli", &["-c", raw]);
        assert_eq!(set(PROGRAM, &["cli", "-c", raw]), theirs, "{raw}");
        assert_eq!(set(PROGRAM, &["cli", raw]), set("/usr/bin/redis-cli", &[raw]), "{raw}");
    }
}

/// What a program prints that reads its commands.
fn read_by(program: &str, args: &[&str], port: u16, commands: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .args(["-p", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn cli_reads_commands_from_standard_input() {
    let (server, _) = cluster_node(&[]);
    all_slots(&server);
    until("it serves", || (server.client().text(&["SET", "a", "1"]) == "OK").then_some(()));
    let commands = "set n 0\nset k \"a b\\n\"\nget k\n\n  incr n\nincr n\nnosuch\nmget {k} none{k}\n";
    let ours = read_by(PROGRAM, &["cli", "-c"], server.port, commands);
    assert!(ours.contains("a b\n\n1\n2\n"), "{ours}");
    assert_eq!(ours, read_by("/usr/bin/redis-cli", &["-c"], server.port, commands));
}

#[test]
fn cli_says_why_it_could_not_connect() {
    let port = free_port();
    let out = Command::new(PROGRAM).args(["cli", "-p", &port.to_string(), "ping"]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(said.trim(), format!("Could not connect to Redis at 127.0.0.1:{port}: Connection refused"));
}
