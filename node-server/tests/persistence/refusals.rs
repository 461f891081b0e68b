//! A disk that does not take what is written: read-only, of another owner, with directories that have gone. Needs root.

use super::full_disk::SmallDisk;
use super::*;
use crate::foreign::Foreign;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Output, Stdio};

/// Nobody's.
const STRANGER: u32 = 12_345;
const CANNOT_REWRITE: &str =
    "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.";

#[test]
fn a_start_on_a_read_only_file_system_says_what_it_cannot_write() {
    let disk = SmallDisk::new("size=4m");
    let path = disk.path.to_str().unwrap().to_owned();
    let mut server = Server::start(&[ALWAYS, &["--dir", &path]].concat());
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    server.kill();
    disk.remount("ro");
    let said = refused(&server, &[ALWAYS, &["--dir", &path]].concat());
    let words = "./appendonlydir/appendonly.aof.2.incr.aof: could not open the file: Read-only file system";
    assert!(
        said.contains(words) && said.contains("let the server's user write there, or change dir"),
        "{said}"
    );
    let said = refused(&server, &["--cluster-enabled", "yes", "--dir", &path]);
    assert!(said.contains("nodes.conf: could not open the cluster configuration file: Read-only"), "{said}");
    disk.remount("rw");
    server.start_again(&[ALWAYS, &["--dir", &path]].concat());
    assert_eq!(server.client().text(&["GET", "key"]), "value");
    server.kill();
}

/// As after an error of the file system, for which systems remount it.
#[test]
fn a_save_on_a_read_only_file_system_is_refused_by_name_until_it_can_be_written() {
    let disk = SmallDisk::new("size=4m");
    let path = disk.path.to_str().unwrap().to_owned();
    let mut server = Server::start(&["--save", "3600 1", "--dir", &path]);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "old"]), "OK");
    assert_eq!(client.text(&["SAVE"]), "OK");
    assert_eq!(client.text(&["SET", "key", "new"]), "OK");
    disk.remount("ro");
    let expected =
        format!("temp-{}.rdb: could not create the file: Read-only file system", server.child.id());
    let error = client.text(&["SAVE"]);
    assert!(error.starts_with(&format!("ERR {expected}")), "{error}");
    assert!(server.log().contains(&format!("Background saving error: {expected}")), "{}", server.log());
    assert!(client.text(&["SET", "key", "x"]).starts_with("MISCONF"));
    assert_eq!(client.text(&["GET", "key"]), "new");
    assert_eq!(client.text(&["SHUTDOWN"]), "ERR Errors trying to SHUTDOWN. Check logs.");
    disk.remount("rw");
    assert_eq!(client.text(&["SAVE"]), "OK");
    until("writes are taken", || (client.text(&["SET", "key", "newer"]) == "OK").then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

/// The node as somebody for whom file modes count, and who owns nothing in its directory.
fn as_stranger(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let caps = "-dac_override,-dac_read_search,-fowner";
    command.args([format!("--bounding-set={caps}"), format!("--inh-caps={caps}")]);
    command.arg(common::PROGRAM).args(["--bind", "127.0.0.1", "--dir"]).arg(dir).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn refused_to_stranger(args: &[&str], dir: &Path) -> String {
    let port = common::free_port().to_string();
    let output: Output = as_stranger(&[&["--port", &port], args].concat(), dir).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Gives it away: directories can be read, files have this mode.
fn give_away(path: &Path, mode: u32) {
    let is_dir = path.is_dir();
    if is_dir {
        std::fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path(), mode));
    }
    let mode = if is_dir { 0o755 } else { mode };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
}

#[test]
fn files_of_another_owner_are_named() {
    let dir = tempfile::tempdir().unwrap();
    give_away(dir.path(), 0o600);
    let (rdb, cluster) = (&["--save", "3600 1"][..], &["--cluster-enabled", "yes"][..]);
    let denied = |args: &[&str], dir: &Path, what: &str| {
        let said = refused_to_stranger(args, dir);
        assert!(said.contains(what) && said.to_lowercase().contains("permission denied"), "{what}: {said}");
        said
    };
    let said = denied(ALWAYS, dir.path(), "./appendonlydir: could not create the directory");
    assert!(said.contains("let the server's user write there"), "{said}");
    denied(cluster, dir.path(), "nodes.conf: could not open the cluster configuration file");
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    assert_eq!(client.text(&["SAVE"]), "OK");
    server.kill();
    let dir = server.dir.path();
    give_away(dir, 0o600);
    denied(ALWAYS, dir, "./appendonlydir/appendonly.aof.manifest: could not read the manifest");
    denied(rdb, dir, "could not open dump.rdb");
    give_away(dir, 0o444);
    denied(ALWAYS, dir, "./appendonlydir/appendonly.aof.2.incr.aof: could not open the file");
}

#[test]
fn a_save_into_a_directory_of_another_owner_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    give_away(dir.path(), 0o600);
    let port = common::free_port();
    let args = ["--port", &port.to_string(), "--save", "3600 1"];
    let mut command = as_stranger(&args, dir.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { child, port, dir };
    until("it answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    let error = client.text(&["SAVE"]);
    let expected =
        format!("ERR temp-{}.rdb: could not create the file: Permission denied", server.child.id());
    assert!(error.starts_with(&expected), "{error}");
    assert!(client.text(&["SET", "key", "x"]).starts_with("MISCONF"));
    assert_eq!(client.text(&["SHUTDOWN"]), "ERR Errors trying to SHUTDOWN. Check logs.");
    chown(server.dir.path(), Some(0), Some(0)).unwrap();
    assert_eq!(client.text(&["SAVE"]), "OK");
}

/// As Redis: writes go on into files that have no name any more, and the next rewrite makes everything good, or says why it
/// cannot.
#[test]
fn a_directory_that_was_removed_is_made_again_by_the_next_rewrite() {
    let mut server = Server::start(ALWAYS);
    let theirs = Foreign::start("redis-server".into(), tempfile::tempdir().unwrap(), ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    for (client, dir) in [(&mut client, server.dir.path()), (&mut theirs.client(), theirs.dir.path())] {
        let dir = dir.join("appendonlydir");
        assert_eq!(client.text(&["SET", "before", "value"]), "OK");
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(client.text(&["SET", "after", "value"]), "OK");
        assert_eq!(client.info("persistence", "aof_last_write_status"), "ok");
        std::fs::write(&dir, "in its place").unwrap();
        assert_eq!(client.text(&["BGREWRITEAOF"]), CANNOT_REWRITE);
        assert_eq!(client.info("persistence", "aof_last_bgrewrite_status"), "err");
        assert_eq!(client.text(&["SET", "later", "value"]), "OK");
        std::fs::remove_file(&dir).unwrap();
        let before = client.info("persistence", "aof_rewrites");
        assert_eq!(client.text(&["BGREWRITEAOF"]), "Background append only file rewriting started");
        until("it is rewritten", || (client.info("persistence", "aof_rewrites") != before).then_some(()));
        until("it went well", || {
            (client.info("persistence", "aof_last_bgrewrite_status") == "ok").then_some(())
        });
        assert_eq!(client.text(&["SET", "last", "value"]), "OK");
    }
    let words = "Can't rewrite append only file: ./appendonlydir: could not create the directory: ";
    let log = server.log();
    assert!(log.contains(words) && log.contains("move away what has this name"), "{log}");
    server.kill();
    server.start_again(ALWAYS);
    client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), "4");
    assert_eq!(client.text(&["SET", "again", "value"]), "OK");
    server.kill();
    // Of a start without it nobody can tell whether it is the first.
    std::fs::remove_dir_all(appended(&server)).unwrap();
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["DBSIZE"]), "0");
    let words = "There is no append only file in ./appendonlydir and no RDB file dump.rdb";
    assert!(server.log().contains(words), "{}", server.log());
}
