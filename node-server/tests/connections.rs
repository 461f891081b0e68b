//! Connections: pipelining, inline requests, broken ones, bounds, and the commands about them.

mod common;

use common::{Server, encode, until};
use node_server_protocol::resp::Reply;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.client();
    const COUNT: usize = 20_000;
    let mut requests = Vec::new();
    for i in 0..COUNT {
        requests.extend(encode(&["SET", &format!("key:{i}"), &i.to_string()]));
        requests.extend(encode(&["GET", &format!("key:{i}")]));
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    for i in 0..COUNT {
        assert_eq!(client.receive(), Reply::Simple("OK".into()));
        assert_eq!(client.receive(), bulk(&i.to_string()));
    }
    sender.join().unwrap();
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(COUNT as i64));
}

#[test]
fn requests_arrive_in_any_pieces() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut bytes = encode(&["SET", "k", "a\r\nb"]);
    bytes.extend(b"GET k\r\n  \r\n\r\nSET \"q\\x41\" 'single' \r\nget qA\r\n*0\r\n");
    bytes.extend(encode(&["PING"]));
    for byte in bytes {
        client.send_raw(&[byte]);
    }
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    assert_eq!(client.receive(), bulk("a\r\nb"));
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    assert_eq!(client.receive(), bulk("single"));
    assert_eq!(client.receive(), Reply::Simple("PONG".into()));
}

#[test]
fn large_values_go_in_and_out() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let value: String = (0..3_000_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    for _ in 0..3 {
        assert_eq!(client.text(&["SET", "big", &value]), "OK");
        assert!(client.text(&["GET", "big"]) == value);
    }
    assert_eq!(client.text(&["PING"]), "PONG");
}

#[test]
fn broken_requests_are_told_and_closed() {
    let server = Server::start(&[]);
    for (bytes, error) in [
        ("*3\r\n$3\r\nSET\r\nx", "ERR Protocol error: expected '$', got 'x'"),
        ("*abc\r\n", "ERR Protocol error: invalid multibulk length"),
        ("*2000000\r\n", "ERR Protocol error: invalid multibulk length"),
        ("*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
        ("*1\r\n$999999999999\r\n", "ERR Protocol error: invalid bulk length"),
        ("set \"a b\r\n", "ERR Protocol error: unbalanced quotes in request"),
    ] {
        let mut client = server.client();
        client.send(&["PING"]);
        client.send_raw(bytes.as_bytes());
        client.send_raw(&encode(&["SET", "never", "done"]));
        assert_eq!(client.receive(), Reply::Simple("PONG".into()));
        assert_eq!(client.receive(), Reply::Error(error.into()));
        assert_eq!(client.try_receive(), None);
    }
    let mut client = server.client();
    client.send_raw("x".repeat(70_000).as_bytes());
    assert_eq!(client.receive(), Reply::Error("ERR Protocol error: too big inline request".into()));
    let mut client = server.client();
    assert_eq!(client.call(&["EXISTS", "never"]), Reply::Integer(0));
    let unknown = "ERR unknown command 'nonsense', with args beginning with: 'a' 'b' ";
    assert_eq!(client.text(&["nonsense", "a", "b"]), unknown);
    assert_eq!(client.text(&["PING"]), "PONG");
}

#[test]
fn half_closed_clients_get_their_replies() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send_raw(b"SET a 1\r\nGET a\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.receive(), Reply::Simple("OK".into()));
    assert_eq!(client.receive(), bulk("1"));
    assert_eq!(client.try_receive(), None);
}

#[test]
fn maxclients_and_timeout_are_kept() {
    let server = Server::start(&["--maxclients", "3"]);
    let mut clients = vec![server.client()];
    until("the test's probe has gone", || {
        (clients[0].info("clients", "connected_clients") == "1").then_some(())
    });
    clients.extend((0..2).map(|_| server.client()));
    assert_eq!(clients[2].text(&["PING"]), "PONG");
    let mut fourth = server.client();
    assert_eq!(fourth.receive(), Reply::Error("ERR max number of clients reached".into()));
    assert_eq!(fourth.try_receive(), None);
    assert_eq!(clients[0].info("stats", "rejected_connections"), "1");
    // Not before: it would close those who are silent while the test is held up.
    assert_eq!(clients[0].text(&["CONFIG", "SET", "timeout", "1"]), "OK");
    let started = Instant::now();
    assert_eq!(clients[2].try_receive(), None, "idle for a second");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_client_that_does_not_read_costs_a_bounded_amount() {
    let server = Server::start(&[]);
    let mut reader = server.client();
    reader.text(&["SET", "v", &"x".repeat(1 << 20)]);
    let mut deaf = server.client();
    deaf.stream.set_nonblocking(true).unwrap();
    let request = encode(&["GET", "v"]).repeat(100);
    let started = Instant::now();
    // 64 MiB are buffered, then the server stops to read from it: a write blocks sooner or later.
    let mut written = 0;
    while started.elapsed() < Duration::from_secs(20) {
        match deaf.stream.write(&request) {
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if written > 100_000 && reader.text(&["PING"]) == "PONG" {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut buffered =
        || -> u64 { reader.info("clients", "client_recent_max_output_buffer").parse().unwrap() };
    let buffered = until("60 MiB are buffered", || Some(buffered()).filter(|bytes| *bytes >= 60 << 20));
    assert!(buffered < 70 << 20, "{buffered} bytes buffered");
    // It reads at last, and everything comes.
    deaf.stream.set_nonblocking(false).unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut received = 0;
    while received < 200 << 20 {
        received += match deaf.stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            read => read.unwrap(),
        };
    }
    assert_eq!(reader.text(&["PING"]), "PONG");
}

#[test]
fn the_output_buffer_limit_closes_clients() {
    let server = Server::start(&["--client-output-buffer-limit", "normal", "2mb", "0", "0"]);
    let mut client = server.client();
    client.text(&["SET", "v", &"x".repeat(1 << 20)]);
    client.send_raw(&encode(&["GET", "v"]).repeat(50));
    let mut chunk = vec![0; 1 << 16];
    let closed = until("the server closes it", || match client.stream.read(&mut chunk) {
        Ok(0) => Some(true),
        Err(error) if error.kind() != ErrorKind::Interrupted => Some(true),
        Ok(_) | Err(_) => None,
    });
    assert!(closed);
    assert!(server.log().contains("overcoming of output buffer limits"), "{}", server.log());
}

#[test]
fn client_subcommands_answer_as_redis_does() {
    let server = Server::start(&[]);
    let mut a = server.client();
    let id = a.text(&["CLIENT", "ID"]);
    assert_eq!(a.call(&["CLIENT", "GETNAME"]), Reply::Null);
    assert_eq!(a.text(&["client", "setname", "me"]), "OK");
    assert_eq!(a.text(&["CLIENT", "GETNAME"]), "me");
    let bad = "ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(a.text(&["CLIENT", "SETNAME", "a b"]), bad);
    assert_eq!(a.text(&["CLIENT", "SETINFO", "LIB-NAME", "lib"]), "OK");
    assert_eq!(a.text(&["CLIENT", "SETINFO", "LIB-VER", "1.2"]), "OK");
    assert!(a.text(&["CLIENT", "SETINFO", "X", "1"]).starts_with("ERR Unrecognized option"));
    let line = a.text(&["CLIENT", "INFO"]);
    for expected in
        [&format!("id={id} "), "name=me ", "cmd=client|info ", "lib-name=lib ", "lib-ver=1.2", "resp=2"]
    {
        assert!(line.contains(expected), "{expected:?} in {line}");
    }
    assert_eq!(a.text(&["CLIENT", "NO-EVICT", "on"]), "OK");
    assert_eq!(a.text(&["CLIENT", "NO-TOUCH", "maybe"]), "ERR syntax error");
    assert_eq!(a.text(&["CLIENT", "TRACKING", "OFF"]), "OK");
    assert_eq!(
        a.text(&["CLIENT", "MAINT_NOTIFICATIONS", "ON"]),
        "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    );
    let mut b = server.client();
    let other = b.text(&["CLIENT", "ID"]);
    let list = a.text(&["CLIENT", "LIST"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains(&format!("id={other} ")));
    assert_eq!(a.text(&["CLIENT", "LIST", "ID", &other]).lines().count(), 1);
    assert_eq!(a.text(&["CLIENT", "KILL", "ID", &other]), "1");
    assert_eq!(b.try_receive(), None);
    assert_eq!(a.text(&["CLIENT", "KILL", "1.2.3.4:5"]), "ERR No such client");
    assert_eq!(a.text(&["CLIENT", "KILL", "ID", &id, "SKIPME", "no"]), "1");
    assert_eq!(a.try_receive(), None);
}

#[test]
fn config_and_info_answer() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.text(&["CONFIG", "SET", "timeout", "100", "maxmemory", "1gb"]), "OK");
    let Reply::Array(pairs) = client.call(&["CONFIG", "GET", "time*", "MAXMEMORY"]) else {
        panic!("no array")
    };
    // A name without a pattern is repeated as it was asked for, as in Redis 7.
    assert_eq!(pairs, [bulk("timeout"), bulk("100"), bulk("MAXMEMORY"), bulk("1073741824")]);
    assert_eq!(
        client.text(&["CONFIG", "SET", "timeout"]),
        "ERR wrong number of arguments for 'config|set' command"
    );
    assert_eq!(client.text(&["CONFIG", "REWRITE"]), "ERR The server is running without a config file");
    assert_eq!(client.text(&["CONFIG", "NONSENSE"]), "ERR unknown subcommand 'NONSENSE'. Try CONFIG HELP.");
    let info = client.text(&["INFO", "everything"]);
    let headings: Vec<&str> = info.lines().filter(|l| l.starts_with('#')).collect();
    assert_eq!(
        headings,
        [
            "# Server",
            "# Clients",
            "# Memory",
            "# Persistence",
            "# Stats",
            "# Replication",
            "# CPU",
            "# Modules",
            "# Commandstats",
            "# Errorstats",
            "# Latencystats",
            "# Cluster",
            "# Keyspace"
        ]
    );
    assert!(info.contains("redis_version:7.2.4\r\n") && info.contains("slotkeeper_version:"), "{info}");
    assert!(info.contains("cluster_enabled:0\r\n") && info.contains("role:master\r\n"));
    assert_eq!(client.text(&["CONFIG", "RESETSTAT"]), "OK");
    let Reply::Array(time) = client.call(&["TIME"]) else { panic!("no array") };
    assert_eq!(time.len(), 2);
    let Reply::Array(role) = client.call(&["ROLE"]) else { panic!("no array") };
    assert_eq!(role[0], bulk("master"));
}

#[test]
fn several_data_threads_share_the_connections() {
    let server = Server::start(&["--io-threads", "3", "--enable-debug-command", "yes"]);
    let mut clients: Vec<_> = (0..9).map(|_| server.client()).collect();
    let ids: std::collections::BTreeSet<String> =
        clients.iter_mut().map(|c| c.text(&["CLIENT", "ID"])).collect();
    assert_eq!(ids.len(), clients.len(), "numbers are not shared");
    for round in 0..200 {
        for client in &mut clients {
            client.send(&["INCR", "counter"]);
        }
        let sum: i64 = clients
            .iter_mut()
            .map(|c| match c.receive() {
                Reply::Integer(n) => n,
                other => panic!("{other:?}"),
            })
            .sum();
        let first = round * 9;
        assert_eq!(sum, (first + 1..=first + 9).sum::<i64>());
    }
    // Commands on a worker come back to the thread of their connection, and a kill finds its way to any thread.
    for client in &mut clients {
        client.send(&["DEBUG", "SLEEP", "0.01"]);
    }
    clients.iter_mut().for_each(|c| assert_eq!(c.receive(), Reply::Simple("OK".into())));
    let victims = clients.split_off(1);
    assert_eq!(clients[0].text(&["CLIENT", "KILL", "TYPE", "normal"]), "8");
    for mut victim in victims {
        assert_eq!(victim.try_receive(), None);
    }
    assert_eq!(clients[0].text(&["GET", "counter"]), "1800");
}

#[test]
fn debug_is_refused_unless_enabled() {
    let server = Server::start(&[]);
    assert!(server.client().text(&["DEBUG", "SLEEP", "0"]).starts_with("ERR DEBUG command not allowed."));
    let server = Server::start(&["--enable-debug-command", "local"]);
    assert_eq!(server.client().text(&["DEBUG", "SLEEP", "0"]), "OK");
    assert_eq!(server.client().text(&["DEBUG", "LOG", "a message"]), "OK");
    assert!(server.log().contains("DEBUG LOG: a message"));
}
