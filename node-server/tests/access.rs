//! Who is served: passwords as Redis asks for them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{PROGRAM, Server, encode, process_title, until};
use node_server_protocol::resp::Reply;
use std::process::{Command, Output};

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn a_password_is_asked_for_and_shown_to_nobody() {
    let server = Server::start(&["--requirepass", "hush-hush", "--loglevel", "debug"]);
    let mut client = server.client();
    assert_eq!(client.text(&["PING"]), NOAUTH);
    assert_eq!(client.text(&["AUTH", "wrong-one"]), WRONGPASS);
    assert_eq!(client.text(&["CONFIG", "GET", "requirepass"]), NOAUTH);
    assert_eq!(client.text(&["AUTH", "default", "hush-hush"]), "OK");
    assert_eq!(client.text(&["SET", "a", "1"]), "OK");
    let shown = [Reply::Bulk(b"requirepass".to_vec()), Reply::Bulk(b"hush-hush".to_vec())];
    assert_eq!(client.call(&["CONFIG", "GET", "requirepass"]), Reply::Array(shown.to_vec()));
    assert_eq!(client.text(&["CONFIG", "SET", "requirepass", "hush-more", "masterauth", "hush-too"]), "OK");
    assert_eq!(client.text(&["PING"]), "PONG", "who is served goes on being served");
    let mut late = server.client();
    assert_eq!(late.text(&["AUTH", "hush-hush"]), WRONGPASS);
    assert_eq!(late.text(&["AUTH", "hush-more"]), "OK");
    let log = server.log();
    assert!(!log.contains("hush") && !log.contains("wrong-one"), "{log}");
    let title = process_title(server.child.id());
    assert!(!title.contains("hush"), "{title}");
}

#[test]
fn a_password_that_is_no_text_is_refused_and_not_changed() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send_raw(b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nrequirepass\r\n$2\r\n\xff\xfe\r\n");
    assert!(matches!(client.receive(), Reply::Error(text) if text.contains("'requirepass'")));
    assert_eq!(server.client().text(&["PING"]), "PONG");
}

/// Redis's bounds on those who have not said the password; they end with the password, in the same packet as well.
#[test]
fn strangers_may_not_send_much() {
    let server = Server::start(&["--requirepass", "pw"]);
    for (bytes, error) in [
        (b"*11\r\n".to_vec(), "ERR Protocol error: unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n".to_vec(), "ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut client = server.client();
        client.send_raw(&bytes);
        assert_eq!(client.receive(), Reply::Error(error.into()));
        assert_eq!(client.try_receive(), None);
    }
    let mut client = server.client();
    let value = "x".repeat(100_000);
    let more: Vec<&str> = std::iter::once("DEL").chain(std::iter::repeat_n("k", 20)).collect();
    let requests =
        [encode(&["AUTH", "pw"]), encode(&["SET", "k", &value]), encode(&more), encode(&["RESET"])];
    client.send_raw(&requests.concat());
    client.send_raw(&encode(&["SET", "k", "1"]));
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    assert_eq!(client.receive(), Reply::Integer(1));
    assert_eq!(client.receive(), Reply::Simple("RESET".into()));
    assert_eq!(client.receive(), Reply::Error(NOAUTH.into()));
}

fn cli(program: &str, args: &[&str], port: u16, environment: Option<&str>) -> Output {
    let mut command = Command::new(program);
    command.env_remove("REDISCLI_AUTH");
    if let Some(password) = environment {
        command.env("REDISCLI_AUTH", password);
    }
    command.args(args).args(["-p", &port.to_string(), "ping"]).output().unwrap()
}

/// What `node-server cli` prints, to both outputs, is what redis-cli prints.
#[test]
fn cli_says_the_password() {
    let server = Server::start(&["--requirepass", "pw"]);
    let silent = "--no-auth-warning";
    let cases: [(&[&str], Option<&str>, &str); 9] = [
        (&[], None, NOAUTH),
        (&["-a", "pw"], None, "PONG"),
        (&["--pass", "pw", silent], None, "PONG"),
        (&["-a", "bad"], None, NOAUTH),
        (&["-a", "", silent], None, NOAUTH),
        (&[], Some("pw"), "PONG"),
        (&[], Some("bad"), NOAUTH),
        (&["-a", "pw", "--user", "default"], Some("bad"), "PONG"),
        (&["--user", "other", "-a", "pw"], None, NOAUTH),
    ];
    for (args, environment, says) in cases {
        let ours = cli(PROGRAM, &[&["cli"], args].concat(), server.port, environment);
        let theirs = cli("/usr/bin/redis-cli", args, server.port, environment);
        assert_eq!(ours, theirs, "{args:?} {environment:?}");
        assert_eq!(String::from_utf8_lossy(&ours.stdout).trim(), says, "{args:?} {environment:?}");
    }
}

/// A node that is followed to says the password again.
#[test]
fn cli_says_the_password_to_everybody_it_is_sent_to() {
    let args = ["--cluster-enabled", "yes", "--requirepass", "pw"];
    let (one, two) = (Server::start(&args), Server::start(&args));
    let client = |server: &Server| {
        let mut client = server.client();
        assert_eq!(client.text(&["AUTH", "pw"]), "OK");
        client
    };
    assert_eq!(client(&one).text(&["CLUSTER", "ADDSLOTSRANGE", "0", "5000"]), "OK");
    assert_eq!(client(&two).text(&["CLUSTER", "SET-CONFIG-EPOCH", "9"]), "OK");
    assert_eq!(client(&two).text(&["CLUSTER", "ADDSLOTSRANGE", "5001", "16383"]), "OK");
    client(&one).text(&["CLUSTER", "MEET", "127.0.0.1", &two.port.to_string()]);
    for server in [&one, &two] {
        let is_ok = || client(server).text(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        until("they serve", || is_ok().then_some(()));
    }
    let port = one.port.to_string();
    let command = ["cli", "-c", "-p", &port, "set", "name", "somebody"];
    let out = Command::new(PROGRAM).env("REDISCLI_AUTH", "pw").args(command).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "OK\n");
}
