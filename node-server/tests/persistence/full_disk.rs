//! The disk is full, or fails: writes are refused, reads go on, and when there is room again the service does. Needs root.

use super::*;
use std::process::Command;

/// A file system of its own; unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) path: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    pub(crate) fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mount.success(), "this test has to be root to mount a small file system");
        Self { path, _dir: dir }
    }

    /// `ro` or `rw`; no file may be open for writing.
    pub(crate) fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &how]).arg(&self.path).status().unwrap().success());
    }

    /// Leaves no byte.
    fn fill(&self) -> PathBuf {
        let ballast = self.path.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        for len in [4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; len]).is_ok() {}
        }
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn writes_are_refused_until_there_is_room() {
    let disk = SmallDisk::new("size=4m");
    let path = disk.path.to_str().unwrap().to_owned();
    let args = [EVERYSEC, &["--dir", &path]].concat();
    let mut server = Server::start(&args);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "first", "value"]), "OK");
    let ballast = disk.fill();
    let mut taken = 0;
    let value = "v".repeat(1000);
    let refusal = until("writes are refused", || {
        let reply = client.text(&["SET", &format!("key:{taken}"), &value]);
        if reply == "OK" {
            taken += 1;
            return None;
        }
        Some(reply)
    });
    assert!(refusal.starts_with("MISCONF Errors writing to the AOF file"), "{refusal}");
    assert_eq!(client.info("persistence", "aof_last_write_status"), "err");
    assert!(client.text(&["PING"]).starts_with("MISCONF"));
    assert_eq!(client.text(&["MULTI"]), "OK");
    assert!(client.text(&["SET", "first", "x"]).starts_with("MISCONF"));
    assert!(client.text(&["EXEC"]).starts_with("EXECABORT"));
    assert_eq!(client.text(&["GET", "first"]), "value");
    assert_eq!(client.text(&["GET", "key:0"]), value);
    // A rewrite has no room either, and changes nothing for the worse.
    client.text(&["BGREWRITEAOF"]);
    until("the rewrite has failed", || {
        (client.info("persistence", "aof_last_bgrewrite_status") == "err").then_some(())
    });
    std::fs::remove_file(&ballast).unwrap();
    until("writes are taken again", || (client.text(&["SET", "last", "value"]) == "OK").then_some(()));
    until("it says so", || (client.info("persistence", "aof_last_write_status") == "ok").then_some(()));
    rewrite(&mut client);
    let keys = client.text(&["DBSIZE"]);
    assert_eq!(keys, (taken + 2).to_string(), "what was said to be written is there, and nothing else");
    assert!(
        server.log().contains("No space left") || server.log().contains("no storage space"),
        "{}",
        server.log()
    );
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(&args);
    client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), keys);
    assert_eq!(client.text(&["GET", "last"]), "value");
    server.kill();
}

/// As Redis: what was promised cannot be kept any more.
#[test]
fn with_always_the_process_ends_and_has_promised_nothing_that_is_not_there() {
    let disk = SmallDisk::new("size=1m");
    let path = disk.path.to_str().unwrap().to_owned();
    let args = [ALWAYS, &["--dir", &path]].concat();
    let mut server = Server::start(&args);
    let mut client = server.client();
    wait_based(&mut client);
    let ballast = disk.fill();
    let value = "v".repeat(500);
    let mut acknowledged = 0;
    loop {
        let request = common::encode(&["SET", &format!("key:{acknowledged}"), &value]);
        if std::io::Write::write_all(&mut client.stream, &request).is_err() {
            break;
        }
        match client.try_receive() {
            Some(Reply::Simple(_)) => acknowledged += 1,
            Some(Reply::Error(text)) => assert!(text.starts_with("MISCONF"), "{text}"),
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.wait(), Some(1), "{}", server.log());
    assert!(server.log().contains("AOF fsync policy is 'always'"), "{}", server.log());
    std::fs::remove_file(&ballast).unwrap();
    server.start_again(&args);
    let found: u64 = server.client().text(&["DBSIZE"]).parse().unwrap();
    assert!(found == acknowledged || found == acknowledged + 1, "{found} {acknowledged}");
    server.kill();
}

#[test]
fn a_save_without_room_keeps_the_old_file() {
    let disk = SmallDisk::new("size=1m");
    let path = disk.path.to_str().unwrap().to_owned();
    let args = ["--save", "3600 1", "--dir", &path];
    let mut server = Server::start(&args);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "old"]), "OK");
    assert_eq!(client.text(&["SAVE"]), "OK");
    let ballast = disk.fill();
    assert_eq!(client.text(&["SET", "key", &"new".repeat(5000)]), "OK");
    let error = client.text(&["SAVE"]);
    assert!(error.starts_with("ERR temp-") && error.contains(".rdb: could not write the file"), "{error}");
    assert!(client.text(&["SET", "key", "x"]).starts_with("MISCONF"));
    server.kill();
    server.start_again(&args);
    client = server.client();
    assert_eq!(client.text(&["GET", "key"]), "old");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(client.text(&["SAVE"]), "OK");
    server.kill();
}

/// Lets the system calls of a server fail as strace is told, until it is dropped.
struct Injection(std::process::Child);

impl Injection {
    /// The file that strace writes says when it is there.
    fn into(server: &Server, rule: &str) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-e", "trace=fdatasync", "-e", rule, "-o"])
            .arg(server.dir.path().join("strace"))
            .args(["-p", &server.child.id().to_string()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("strace is needed: apt-get install strace");
        Self(child)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Not a kill: strace has to let go of the threads.
        let _ = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .stderr(std::process::Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

/// The kernel says once that it lost something; whatever was not in the file before is in a new one.
#[test]
fn after_a_failed_sync_the_file_is_written_anew() {
    let mut server = Server::start(EVERYSEC);
    let mut client = server.client();
    wait_based(&mut client);
    let injection = Injection::into(&server, "inject=fdatasync:error=EIO:when=1");
    let mut written = 0;
    let refusal = until("writes are refused", || {
        let reply = client.text(&["SET", &format!("key:{written}"), "value"]);
        written += u64::from(reply == "OK");
        (reply != "OK").then_some(reply)
    });
    assert!(refusal.starts_with("MISCONF Errors writing to the AOF file"), "{refusal}");
    // The first sync of every thread fails, so no base is complete either, and nothing is taken.
    until("a rewrite has failed", || {
        (client.info("persistence", "aof_last_bgrewrite_status") == "err").then_some(())
    });
    assert!(client.text(&["SET", "last", "value"]).starts_with("MISCONF"));
    drop(injection);
    let reply = until("writes are taken again", || {
        let reply = client.text(&["SET", "last", "value"]);
        (!reply.starts_with("MISCONF")).then_some(reply)
    });
    assert_eq!(reply, "OK");
    assert!(server.log().contains("is written anew"), "{}", server.log());
    assert_eq!(client.text(&["DBSIZE"]), (written + 1).to_string());
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    server.start_again(EVERYSEC);
    assert_eq!(server.client().text(&["DBSIZE"]), (written + 1).to_string());
}

/// Replies and writes wait for the new base, and that does not wait for a replica that reads nothing.
#[test]
fn a_base_that_replies_wait_for_is_written_before_a_full_sync() {
    let server = Server::start(EVERYSEC);
    let mut client = server.client();
    wait_based(&mut client);
    saves::fill(&mut client, 24);
    let _peer = saves::silent_replica(&server);
    let injection = Injection::into(&server, "inject=fdatasync:error=EIO:when=1");
    until("writes are refused", || {
        client.text(&["SET", "key", "value"]).starts_with("MISCONF").then_some(())
    });
    drop(injection);
    until("writes are taken again", || (client.text(&["SET", "last", "value"]) == "OK").then_some(()));
    assert!(server.log().contains("a file is to be written first"), "{}", server.log());
}

#[test]
fn a_failed_sync_with_always_is_not_acknowledged() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    let injection = Injection::into(&server, "inject=fdatasync:error=EIO:when=5+");
    let mut acknowledged = 0;
    loop {
        let request = common::encode(&["INCR", "n"]);
        if std::io::Write::write_all(&mut client.stream, &request).is_err() {
            break;
        }
        match client.try_receive() {
            Some(Reply::Integer(n)) => acknowledged = n,
            Some(Reply::Error(text)) => assert!(text.starts_with("MISCONF"), "{text}"),
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.wait(), Some(1), "{}", server.log());
    drop(injection);
    assert!(server.log().contains("AOF fsync policy is 'always'"), "{}", server.log());
    server.start_again(ALWAYS);
    let found = number(&mut server.client(), "n") as i64;
    assert!(found == acknowledged || found == acknowledged + 1, "{found} {acknowledged}");
}
