//! While a node reads its files.

use super::*;
use crate::foreign::Foreign;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const LOADING: &str = "LOADING Redis is loading the dataset in memory";
/// Enough for files of several pieces, and for an hour with the delay of the tests.
const KEYS: usize = 40_000;
/// A tenth of a second behind each key.
const SLOWLY: &[&str] = &["--key-load-delay", "100000"];

fn fill(client: &mut Client) {
    for portion in 0..KEYS / 20_000 {
        set_many(client, &format!("key:{portion}"), 20_000);
    }
}

/// Servers that were killed with data in the one file or the other, and the arguments to start them with again.
fn killed() -> [(Server, &'static [&'static str]); 2] {
    let (mut rdb, mut aof) = (Server::start(&["--save", ""]), Server::start(EVERYSEC));
    fill(&mut rdb.client());
    assert_eq!(rdb.client().text(&["SAVE"]), "OK");
    let mut client = aof.client();
    wait_based(&mut client);
    // A little that is sealed alone, so that a load has something to do before it has read the most. It is written over.
    set_many(&mut client, "key:0", 200);
    assert_eq!(client.text(&["CONFIG", "SET", "appendfsync", "always"]), "OK");
    assert_eq!(client.text(&["SET", "key:0:0", "the first"]), "OK");
    assert_eq!(client.text(&["CONFIG", "SET", "appendfsync", "everysec"]), "OK");
    fill(&mut client);
    assert_eq!(client.text(&["CONFIG", "SET", "appendfsync", "always"]), "OK");
    assert_eq!(client.text(&["SET", "key:0:0", "the last"]), "OK");
    rdb.kill();
    aof.kill();
    [(rdb, &["--save", ""]), (aof, EVERYSEC)]
}

fn info(client: &mut Client) -> BTreeMap<String, String> {
    let text = client.text(&["INFO", "persistence"]);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.trim().to_owned())
}

/// It bound its ports and answered nobody before everything was read.
#[test]
fn clients_and_probes_are_answered_while_the_files_are_read() {
    for (mut server, args) in killed() {
        let admin = common::free_port();
        let port = admin.to_string();
        server.start_loading(&[args, SLOWLY, &["--admin-port", &port]].concat());
        let mut client = server.client();
        for refused in [&["PING"][..], &["GET", "key:0:0"], &["SET", "a", "1"], &["DBSIZE"], &["SAVE"]] {
            assert_eq!(client.text(refused), LOADING, "{refused:?}");
        }
        let read = until("the first piece is read", || {
            let info = info(&mut client);
            (info["loading_loaded_bytes"] != "0").then_some(info)
        });
        assert_eq!((read["loading"].as_str(), read["async_loading"].as_str()), ("1", "0"));
        let number = |name: &str| read[name].parse::<f64>().unwrap();
        let percent = number("loading_loaded_bytes") * 100.0 / number("loading_total_bytes");
        assert!((number("loading_loaded_perc") - percent).abs() < 0.01 && percent < 50.0, "{read:?}");
        let started = client.info("server", "server_time_usec").parse::<f64>().unwrap() / 1e6;
        assert!((started - number("loading_start_time")).abs() < 100.0, "{read:?}");
        assert!(number("loading_eta_seconds") > 0.0, "{read:?}");
        assert_eq!(get(admin, "/livez"), (200, "alive".into()));
        let (status, why) = get(admin, "/readyz");
        assert!(status == 503 && why.starts_with("it is loading its data from the disk: "), "{status} {why}");
        assert_eq!(client.text(&["CONFIG", "SET", "key-load-delay", "0"]), "OK");
        server.wait_loaded();
        assert_eq!(client.text(&["DBSIZE"]), KEYS.to_string());
        let after = info(&mut client);
        assert!(after["loading"] == "0" && !after.contains_key("loading_total_bytes"), "{after:?}");
        assert_eq!(get(admin, "/readyz"), (200, "serves".into()));
        assert_eq!(client.text(&["SET", "key:0:1", "behind it"]), "OK");
        // What is written behind the load goes on in the same file.
        let expected = if args == EVERYSEC {
            "the last"
        } else {
            "a value of some length, so that it takes a moment to write"
        };
        assert_eq!(client.text(&["GET", "key:0:0"]), expected);
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        server.start_again(args);
        let rewritten = server.client().text(&["GET", "key:0:1"]) == "behind it";
        assert_eq!(rewritten, args == EVERYSEC);
    }
}

/// Separated by commas.
const REQUESTS: &str = "\
    PING, PING a, ECHO a, GET a, SET a 1, MGET a b, DEL a, EXISTS a, EXPIRE a 1, DBSIZE, KEYS *, SCAN 0, RANDOMKEY, \
    FLUSHALL, FLUSHDB, SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE EXTRA, WAIT 0 0, PSYNC ? -1, SYNC, DUMP a, RESTORE a 0 b, \
    OBJECT ENCODING a, WATCH a, UNWATCH, CLUSTER NODES, CLUSTER INFO, CLUSTER KEYSLOT a, CLUSTER NOSUCH, SELECT 1, \
    SELECT 0, NOSUCH, CLIENT GETNAME, CLIENT SETNAME name, CLIENT GETNAME, CLIENT NO-EVICT on, \
    CONFIG GET key-load-dela, CONFIG SET hz 20, COMMAND GETKEYS GET a, SHUTDOWN ABORT, SHUTDOWN NOSUCH, \
    DEBUG SLEEP 0, REPLCONF capa eof, AUTH a, MULTI, SET a 1, EXEC, MULTI, DISCARD, MULTI, EXEC, READONLY, FAILOVER, \
    SLOWLOG LEN, RESET, MIGRATE 127.0.0.1 1 a 0 1, HELLO 2 NOSUCH, GET";

/// Side by side on the same file.
#[test]
fn the_same_commands_are_answered_as_by_redis() {
    let [(mut ours, args), _] = killed();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(ours.dir.path().join("dump.rdb"), dir.path().join("dump.rdb")).unwrap();
    // It looks at clients between two stretches of the file only.
    let attentive = ["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"];
    let theirs = Foreign::redis_loading(dir, &[&attentive[..], &["--enable-debug-command", "yes"]].concat());
    ours.start_loading(&[args, SLOWLY, &["--enable-debug-command", "yes"]].concat());
    let (mut theirs, mut ours) = (theirs.client(), ours.client());
    for request in REQUESTS.split(", ") {
        let words: Vec<&str> = request.split(' ').collect();
        let (theirs, ours) = (theirs.call(&words), ours.call(&words));
        let detail = |reply: &Reply| matches!(reply, Reply::Error(text) if !text.starts_with("LOADING"));
        if detail(&theirs) && detail(&ours) {
            continue;
        }
        assert_eq!(ours, theirs, "{request}");
    }
}

fn files_of(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else if !path.ends_with("node.log") {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_process_that_is_ended_while_it_loads_writes_nothing() {
    for (mut server, args) in killed() {
        // A torn tail, which a load that is complete cuts off.
        if args == EVERYSEC {
            let file = last_increment(&appended(&server));
            std::fs::File::options().append(true).open(file).unwrap().write_all(b"*3\r\n$3\r\nSET").unwrap();
        }
        let before = files_of(server.dir.path());
        let points = [args, SLOWLY, &["--save", "1 1"]].concat();
        for how in ["TERM", "INT", "SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOSAVE"] {
            server.start_loading(&points);
            let mut client = server.client();
            assert_eq!(client.text(&["PING"]), LOADING);
            if how.starts_with("SHUTDOWN") {
                client.send(&how.split(' ').collect::<Vec<_>>());
                assert_eq!(client.try_receive(), None);
            } else {
                server.signal(how);
            }
            assert_eq!(server.wait(), Some(0), "{how}: {}", server.log());
            assert!(server.log().contains("nothing is written"), "{}", server.log());
            assert_eq!(files_of(server.dir.path()), before, "{how}");
        }
        server.start_again(args);
        assert_eq!(server.client().text(&["DBSIZE"]), KEYS.to_string());
    }
}

/// The thread that reads ends the process, whatever the others do.
#[test]
fn damage_that_is_found_late_ends_the_process() {
    let [(mut server, args), _] = killed();
    let file = server.dir.path().join("dump.rdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    server.start_loading(&[args, SLOWLY].concat());
    let mut client = server.client();
    assert_eq!(client.text(&["PING"]), LOADING);
    // It may end before it has replied.
    client.send(&["CONFIG", "SET", "key-load-delay", "0"]);
    while server.child.try_wait().unwrap().is_none() {
        if let Ok(mut client) = TcpStream::connect(("127.0.0.1", server.port)) {
            let mut reply = String::new();
            let asked =
                client.write_all(b"PING\r\nQUIT\r\n").and_then(|()| client.read_to_string(&mut reply));
            assert!(asked.is_err() || !reply.contains("PONG"), "{reply}");
        }
    }
    assert_eq!(server.wait(), Some(1));
    assert!(server.log().contains("dump.rdb"), "{}", server.log());
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}
