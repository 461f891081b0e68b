//! redis-server 7.0.15 and Valkey load our files, and we load theirs.

use super::*;
use std::process::{Child, Command, Stdio};

/// A server that is not ours; killed when dropped.
pub(crate) struct Foreign {
    child: Child,
    port: u16,
    pub(crate) dir: tempfile::TempDir,
    program: PathBuf,
}

fn valkey_program() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let built = PathBuf::from(home).join(".cache/slotkeeper/valkey/valkey-server");
    std::env::var_os("VALKEY_SERVER_BIN").map_or(built, PathBuf::from)
}

fn launch(program: &Path, port: u16, dir: &Path, args: &[&str]) -> Child {
    Command::new(program)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--logfile",
            "foreign.log",
            "--dir",
        ])
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

impl Foreign {
    pub(crate) fn redis() -> Self {
        Self::start("redis-server".into(), tempfile::tempdir().unwrap(), &[])
    }

    pub(crate) fn start(program: PathBuf, dir: tempfile::TempDir, args: &[&str]) -> Self {
        let port = common::free_port();
        let child = launch(&program, port, dir.path(), args);
        let mut server = Self { child, port, dir, program };
        server.wait();
        server
    }

    fn start_again(&mut self, args: &[&str]) {
        self.child = launch(&self.program, self.port, self.dir.path(), args);
        self.wait();
    }

    /// redis-server with save points, by default or by a file.
    pub(crate) fn redis_by(file: &str) -> Self {
        let (port, program, dir) =
            (common::free_port(), PathBuf::from("redis-server"), tempfile::tempdir().unwrap());
        let child = Command::new(&program)
            .args(Some(file).filter(|file| !file.is_empty()))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--logfile", "foreign.log", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, port, dir, program };
        server.wait();
        server
    }

    /// Starts redis-server on files that it may take long to load.
    pub(crate) fn redis_loading(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let (port, program) = (common::free_port(), PathBuf::from("redis-server"));
        let child = launch(&program, port, dir.path(), args);
        let mut server = Self { child, port, dir, program };
        server.wait_listening();
        server
    }

    fn wait(&mut self) {
        self.wait_listening();
        let mut client = self.client();
        until("it has loaded", || (!client.text(&["PING"]).starts_with("LOADING")).then_some(()));
    }

    fn wait_listening(&mut self) {
        let log = self.dir.path().join("foreign.log");
        until("the foreign server answers", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
            std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself, with all that it acknowledged in its append-only file: `everysec` may put writing off.
    pub(crate) fn stop(&mut self) {
        let mut client = self.client();
        client.send(&["SHUTDOWN", "NOSAVE"]);
        assert_eq!(client.try_receive(), None);
        self.child.wait().unwrap();
    }

    /// A key of each type with what DUMP says.
    pub(crate) fn dumps_of_every_type(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut client = self.client();
        fill_types(&mut client);
        let dump = |key: &&str| match client.call(&["DUMP", key]) {
            Reply::Bulk(payload) => (key.as_bytes().to_vec(), payload),
            other => panic!("{key}: {other:?}"),
        };
        // DUMP is not text.
        KEYS.iter().map(dump).collect()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KEYS: &[&str] =
    &["a list", "a set", "a hash", "a sorted set", "a stream", "a long list", "a large hash"];

pub(crate) fn fill_types(client: &mut Client) {
    client.text(&["RPUSH", "a list", "one", "2", "three"]);
    client.text(&["SADD", "a set", "one", "2", "three"]);
    client.text(&["HSET", "a hash", "field", "value", "2", "3"]);
    client.text(&["ZADD", "a sorted set", "1.5", "one", "-inf", "two"]);
    client.text(&["XADD", "a stream", "1-1", "field", "value"]);
    client.text(&["XGROUP", "CREATE", "a stream", "group", "0"]);
    for n in 0..500 {
        client.text(&["RPUSH", "a long list", &format!("element {n} of a list that has several nodes")]);
        client.text(&["HSET", "a large hash", &format!("field {n}"), "value"]);
    }
}

pub(crate) fn strings(client: &mut Client) {
    for n in 0..300 {
        assert_eq!(client.text(&["SET", &format!("key:{n}"), &format!("value {n}")]), "OK");
    }
    assert_eq!(client.text(&["SET", "later", "x", "PXAT", "33177117420000"]), "OK");
    assert_eq!(client.text(&["DEL", "key:0"]), "1");
    assert_eq!(client.text(&["MULTI"]), "OK");
    client.text(&["SET", "left", "1"]);
    client.text(&["SET", "right", "1"]);
    client.call(&["EXEC"]);
}

/// Name, kind, value or DUMP, expiry.
pub(crate) fn content(client: &mut Client) -> Vec<(String, String)> {
    let Reply::Array(keys) = client.call(&["KEYS", "*"]) else { panic!("no array") };
    let mut content = Vec::new();
    for key in keys {
        let Reply::Bulk(key) = key else { panic!("no key") };
        let key = String::from_utf8(key).unwrap();
        let kind = client.text(&["TYPE", &key]);
        let value = if kind == "string" { client.text(&["GET", &key]) } else { String::new() };
        content.push((key.clone(), format!("{kind} {value} {}", client.text(&["PEXPIRETIME", &key]))));
    }
    content.sort();
    content
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub(crate) fn others() -> Vec<PathBuf> {
    vec!["redis-server".into(), valkey_program()]
}

#[test]
fn others_load_our_append_only_file() {
    for program in others() {
        let mut server = Server::start(ALWAYS);
        let mut client = server.client();
        for (key, payload) in Foreign::redis().dumps_of_every_type() {
            assert_eq!(call(&mut client, &[b"RESTORE", &key, b"0", &payload]), Reply::Simple("OK".into()));
        }
        strings(&mut client);
        rewrite(&mut client);
        assert_eq!(client.text(&["SET", "behind the base", "x"]), "OK");
        assert_eq!(client.text(&["DEL", "key:1"]), "1");
        let expected = content(&mut client);
        server.kill();
        let dir = tempfile::tempdir().unwrap();
        copy(&appended(&server), &dir.path().join("appendonlydir"));
        let mut other = Foreign::start(program, dir, EVERYSEC);
        let mut client = other.client();
        assert_eq!(content(&mut client), expected);
        let Reply::Array(list) = client.call(&["LRANGE", "a long list", "0", "-1"]) else {
            panic!("no list")
        };
        assert_eq!(list.len(), 500);
        // It goes on in our files, and we in its.
        assert_eq!(client.text(&["SET", "by the other", "x"]), "OK");
        let expected = content(&mut client);
        client.send(&["SHUTDOWN"]);
        client.try_receive();
        other.child.wait().unwrap();
        let dir = tempfile::tempdir().unwrap();
        copy(&other.dir.path().join("appendonlydir"), &dir.path().join("appendonlydir"));
        let mut server = Server::start_in(dir, ALWAYS);
        let mut client = server.client();
        assert_eq!(content(&mut client), expected);
        assert_eq!(client.text(&["SET", "by us", "x"]), "OK");
        let expected = content(&mut client);
        server.kill();
        server.start_again(ALWAYS);
        assert_eq!(content(&mut server.client()), expected);
    }
}

#[test]
fn we_load_the_append_only_file_of_others() {
    for program in others() {
        let mut other = Foreign::start(program.clone(), tempfile::tempdir().unwrap(), EVERYSEC);
        let mut client = other.client();
        fill_types(&mut client);
        client.text(&["BGREWRITEAOF"]);
        until("it is rewritten", || {
            let is_idle = client.info("persistence", "aof_rewrite_in_progress") == "0";
            (is_idle && client.info("persistence", "aof_rewrite_scheduled") == "0").then_some(())
        });
        strings(&mut client);
        let expected = content(&mut client);
        let Reply::Bulk(list) = client.call(&["DUMP", "a list"]) else { panic!("no payload") };
        client.send(&["SHUTDOWN"]);
        client.try_receive();
        other.child.wait().unwrap();
        let dir = tempfile::tempdir().unwrap();
        copy(&other.dir.path().join("appendonlydir"), &dir.path().join("appendonlydir"));
        let server = Server::start_in(dir, ALWAYS);
        let mut client = server.client();
        assert_eq!(content(&mut client), expected, "{}", program.display());
        // What we make of its list is what it is: asked of the other.
        let Reply::Bulk(ours) = client.call(&["DUMP", "a list"]) else { panic!("no payload") };
        let mut judge = Foreign::start(program, tempfile::tempdir().unwrap(), &[]);
        let mut client = judge.client();
        for (key, payload) in [(&b"theirs"[..], &list), (b"ours", &ours)] {
            assert_eq!(call(&mut client, &[b"RESTORE", key, b"0", payload]), Reply::Simple("OK".into()));
        }
        let range = |client: &mut Client, key| client.call(&["LRANGE", key, "0", "-1"]);
        assert_eq!(range(&mut client, "ours"), range(&mut client, "theirs"));
        judge.kill();
    }
}

#[test]
fn rdb_files_go_both_ways() {
    for program in others() {
        let mut server = Server::start(&["--save", ""]);
        let mut client = server.client();
        strings(&mut client);
        assert_eq!(client.text(&["SAVE"]), "OK");
        let expected = content(&mut client);
        server.kill();
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(server.dir.path().join("dump.rdb"), dir.path().join("dump.rdb")).unwrap();
        let mut other = Foreign::start(program, dir, &[]);
        let mut client = other.client();
        assert_eq!(content(&mut client), expected);
        fill_types(&mut client);
        assert_eq!(client.text(&["SAVE"]), "OK");
        let expected = content(&mut client);
        other.kill();
        std::fs::copy(other.dir.path().join("dump.rdb"), server.dir.path().join("dump.rdb")).unwrap();
        server.start_again(&["--save", ""]);
        assert_eq!(content(&mut server.client()), expected);
        other.start_again(&[]);
    }
}

const LIBRARY: &str = "#!lua name=mylib\nredis.register_function('one', function() return 1 end)";

fn functions(client: &mut Client) -> String {
    match client.call(&["FUNCTION", "LIST", "WITHCODE"]) {
        Reply::Array(list) if list.len() == 1 => format!("{list:?}"),
        other => panic!("{other:?}"),
    }
}

/// This version runs no functions. What has them keeps them all the same: in files of both kinds, and through a full sync.
#[test]
fn function_libraries_pass_through_us() {
    let mut other = Foreign::redis();
    let mut client = other.client();
    assert_eq!(client.text(&["FUNCTION", "LOAD", LIBRARY]), "mylib");
    let expected = functions(&mut client);
    assert_eq!(client.text(&["SET", "k", "v"]), "OK");
    assert_eq!(client.text(&["SAVE"]), "OK");
    other.kill();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(other.dir.path().join("dump.rdb"), dir.path().join("dump.rdb")).unwrap();
    let mut server = Server::start_in(dir, &["--appendonly", "yes", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    wait_based(&mut client);
    let replica = Foreign::start(
        "redis-server".into(),
        tempfile::tempdir().unwrap(),
        &["--replicaof", "127.0.0.1", &server.port.to_string()],
    );
    until("it is in sync", || {
        (replica.client().info("replication", "master_link_status") == "up").then_some(())
    });
    assert_eq!(functions(&mut replica.client()), expected, "a full sync");
    for reload in ["RELOAD", "LOADAOF"] {
        assert_eq!(client.text(&["DEBUG", reload]), "OK");
        assert_eq!(client.text(&["FLUSHALL"]), "OK");
        assert_eq!(client.text(&["SAVE"]), "OK");
        rewrite(&mut client);
    }
    server.kill();
    for (file, args) in [("dump.rdb", &[][..]), ("appendonlydir", EVERYSEC)] {
        let dir = tempfile::tempdir().unwrap();
        let from = server.dir.path().join(file);
        match from.is_dir() {
            true => copy(&from, &dir.path().join(file)),
            false => _ = std::fs::copy(from, dir.path().join(file)).unwrap(),
        }
        let judge = Foreign::start("redis-server".into(), dir, args);
        assert_eq!(functions(&mut judge.client()), expected, "{file}");
    }
}
