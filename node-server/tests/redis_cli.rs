//! The real redis-cli and redis-benchmark 7.0.15 against the node.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::Server;
use std::process::Command;

fn redis_cli(server: &Server, args: &[&str]) -> String {
    let port = server.port.to_string();
    let output = Command::new("redis-cli").args(["-p", &port]).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_string()
}

#[test]
fn redis_cli_talks_to_it() {
    let server = Server::start(&[]);
    assert_eq!(redis_cli(&server, &["set", "name", "caimengzhi"]), "OK");
    assert_eq!(redis_cli(&server, &["get", "name"]), "caimengzhi");
    assert_eq!(redis_cli(&server, &["-3", "hello"]).lines().next(), Some("server redis"));
    assert_eq!(redis_cli(&server, &["--no-raw", "get", "none"]), "(nil)");
    assert!(redis_cli(&server, &["info", "server"]).starts_with("# Server"));
    assert!(redis_cli(&server, &["client", "list"]).contains("cmd=client|list"));
    assert_eq!(redis_cli(&server, &["cluster", "info"]), "ERR This instance has cluster support disabled");
    assert_eq!(redis_cli(&server, &["nonsense"]).split(',').next(), Some("ERR unknown command 'nonsense'"));
}

#[test]
fn redis_cli_loads_in_bulk() {
    let server = Server::start(&[]);
    let requests: String = (0..50_000).map(|i| format!("SET key:{i} value:{i}\r\n")).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("requests");
    std::fs::write(&file, requests).unwrap();
    let output = Command::new("redis-cli")
        .args(["-p", &server.port.to_string(), "--pipe"])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("errors: 0, replies: 50000"), "{text}");
}

#[test]
fn redis_benchmark_runs_through() {
    let server = Server::start(&[]);
    for pipeline in ["1", "16"] {
        let output = Command::new("redis-benchmark")
            .args([
                "-p",
                &server.port.to_string(),
                "-q",
                "-n",
                "20000",
                "-c",
                "50",
                "-r",
                "1000",
                "-P",
                pipeline,
            ])
            .args(["-t", "ping,set,get,incr,mset"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap().replace('\r', "\n");
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("rror"), "{text}");
        for name in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
            assert!(
                text.lines().any(|l| l.starts_with(name) && l.contains("requests per second")),
                "{name}: {text}"
            );
        }
    }
}
