//! Files that are not as they were written.

use super::*;
use node_server_rdb::aof::{Replid, RunningCrc, seal, timestamp_line};
use std::io::Write as _;

/// A server that has been killed after some writes, with one stretch for each.
fn killed() -> Server {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    for n in 0..10 {
        assert_eq!(client.text(&["SET", &format!("key:{n}"), "a value"]), "OK");
    }
    server.kill();
    server
}

fn append(path: &Path, bytes: &[u8]) {
    std::fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_what_is_before_it_loaded() {
    let mut server = killed();
    let file = last_increment(&appended(&server));
    let whole = std::fs::read(&file).unwrap();
    append(&file, b"*3\r\n$3\r\nSET\r\n$5\r\nkey:x\r\n$100\r\nhalf");
    let said = refused(&server, &[ALWAYS, &["--aof-load-truncated", "no"]].concat());
    let reason = format!(
        "Unexpected end of file reading the append only file ./appendonlydir/{} at byte {}",
        file.file_name().unwrap().to_str().unwrap(),
        whole.len()
    );
    assert!(said.contains(&reason) && said.contains("node-server check aof"), "{said}");
    server.start_again(ALWAYS);
    let mut client = server.client();
    assert_eq!(client.text(&["DBSIZE"]), "10");
    assert!(server.log().contains(&format!("cut at byte {}", whole.len())), "{}", server.log());
    assert!(std::fs::read(&file).unwrap().starts_with(&whole));
    assert_eq!(client.text(&["SET", "key:10", "behind it"]), "OK");
    server.kill();
    server.start_again(&[ALWAYS, &["--aof-load-truncated", "no"]].concat());
    assert_eq!(server.client().text(&["DBSIZE"]), "11");
}

#[test]
fn a_flipped_bit_in_the_middle_is_refused_with_its_place() {
    let server = killed();
    let file = last_increment(&appended(&server));
    let whole = std::fs::read(&file).unwrap();
    let at = whole.windows(5).position(|w| w == b"key:4").unwrap();
    let mut flipped = whole.clone();
    flipped[at + 4] ^= 1;
    std::fs::write(&file, &flipped).unwrap();
    let before = whole[..at].windows(5).rposition(|w| w == b"#CRC:").unwrap();
    let from = before + whole[before..].iter().position(|b| *b == b'\n').unwrap() + 1;
    let said = refused(&server, ALWAYS);
    assert!(said.contains(&format!("bytes {from} to ")) && said.contains("checksum"), "{said}");
    assert!(said.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), flipped, "it is left as it was");
}

/// Nothing says that the last group was on the disk: it is what a loss of power may leave. But it is told, and kept.
#[test]
fn a_wrong_checksum_at_the_end_is_told_and_what_is_cut_off_is_kept() {
    let mut server = killed();
    let file = last_increment(&appended(&server));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(5).position(|w| w == b"key:9").unwrap();
    let from = bytes[..at].windows(6).rposition(|w| w == b"#OPEN:").unwrap();
    bytes[at + 4] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let checksum = "the checksum of what was sealed there is wrong";
    let said = refused(&server, &[ALWAYS, &["--aof-load-truncated", "no"]].concat());
    assert!(said.contains(checksum), "{said}");
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["DBSIZE"]), "9");
    let log = server.log();
    assert!(log.contains(&format!("cut at byte {from} ({checksum})")), "{log}");
    let kept = appended(&server).join("appendonly.aof.cut-off");
    assert!(log.contains("appendonlydir/appendonly.aof.cut-off"), "{log}");
    assert_eq!(std::fs::read(&kept).unwrap(), bytes[from..]);
    // The next one takes its place.
    server.kill();
    append(&last_increment(&appended(&server)), b"*3\r\n$3\r\nSE");
    server.start_again(ALWAYS);
    assert_eq!(server.client().text(&["DBSIZE"]), "9");
    assert_eq!(std::fs::read(&kept).unwrap(), b"*3\r\n$3\r\nSE");
}

/// A file that was left in order says of its last group, too, that it was on the disk.
#[test]
fn a_flipped_bit_at_the_end_of_a_file_that_was_left_in_order_is_refused() {
    let mut server = Server::start(ALWAYS);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key:9", "a value"]), "OK");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
    let file = last_increment(&appended(&server));
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(5).position(|w| w == b"key:9").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let said = refused(&server, ALWAYS);
    assert!(said.contains("are not what was written (checksum)"), "{said}");
}

/// What no seal proves was promised to nobody, and a loss of power may have left a hole in it.
#[test]
fn a_group_that_was_not_finished_is_cut_however_whole_it_looks() {
    let mut server = killed();
    let file = last_increment(&appended(&server));
    let whole = std::fs::read(&file).unwrap();
    let mut value = vec![b'v'; 12_000];
    value[4096..8192].fill(0);
    let mut group = node_server_rdb::aof::opening(whole.len() as u64);
    group.extend(b"*3\r\n$3\r\nSET\r\n$5\r\nkey:x\r\n$12000\r\n");
    group.extend(&value);
    group.extend(b"\r\n");
    append(&file, &group);
    server.start_again(ALWAYS);
    let mut client = server.client();
    assert_eq!((client.text(&["DBSIZE"]), client.call(&["GET", "key:x"])), ("10".into(), Reply::Null));
    assert!(server.log().contains(&format!("cut at byte {}", whole.len())), "{}", server.log());
    assert_eq!(std::fs::read(appended(&server).join("appendonly.aof.cut-off")).unwrap(), group);
}

#[test]
fn a_base_that_is_torn_or_missing_is_refused() {
    let server = killed();
    let base = appended(&server).join("appendonly.aof.1.base.rdb");
    let bytes = std::fs::read(&base).unwrap();
    std::fs::write(&base, &bytes[..bytes.len() - 3]).unwrap();
    let said = refused(&server, ALWAYS);
    assert!(said.contains("base.rdb") && said.contains("ends before its end mark"), "{said}");
    std::fs::remove_file(&base).unwrap();
    let said = refused(&server, ALWAYS);
    assert!(said.contains("base.rdb length. stat: No such file or directory"), "{said}");
}

/// An increment between two others is shorter than it was, by whole stretches: nothing in it says so.
#[test]
fn a_hole_between_two_increments_is_refused() {
    let server = killed();
    let file = last_increment(&appended(&server));
    let whole = std::fs::read(&file).unwrap();
    let last = whole.windows(5).rposition(|w| w == b"#CRC:").unwrap();
    let last = String::from_utf8(whole[last..].to_vec()).unwrap();
    let position = last.trim_end().split_once(' ').unwrap().1.to_owned();
    let (offset, replid) = position.split_once(' ').unwrap();
    let end: u64 = offset.parse().unwrap();
    let dir = appended(&server);
    let replid = Replid::new(replid.as_bytes()).unwrap();
    append(&dir.join("appendonly.aof.manifest"), b"file appendonly.aof.9.incr.aof seq 9 type i\n");
    for first in [Vec::new(), timestamp_line(1_700_000_000)] {
        let mut crc = RunningCrc::new();
        crc.update(&first);
        let next = [first, seal(crc, end + 100, &replid)].concat();
        std::fs::write(dir.join("appendonly.aof.9.incr.aof"), next).unwrap();
        let said = refused(&server, ALWAYS);
        assert!(
            said.contains(&format!("begins at log offset {}", end + 100))
                && said.contains("bytes are missing"),
            "{said}"
        );
    }
}

#[test]
fn commands_that_are_not_known_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("appendonly.aof"), "*2\r\n$6\r\nNOSUCH\r\n$1\r\nk\r\n").unwrap();
    let output = common::run(
        &["--port", &common::free_port().to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"],
        dir.path(),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("unknown command 'NOSUCH'") && said.contains("BGREWRITEAOF"), "{said}");
}

/// Starts with an append-only file of `text` and the `manifest`; what it said.
fn refused_with(text: &str, manifest: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let parts = dir.path().join("appendonlydir");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("appendonly.aof.1.incr.aof"), text).unwrap();
    std::fs::write(parts.join("appendonly.aof.manifest"), manifest).unwrap();
    let port = common::free_port().to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes", "--pidfile", "node.pid"];
    let output = common::run(&args, dir.path(), "");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout).unwrap()
}

/// Tools and Valkey's tests look for these words, once, and for the line that comes before loading.
#[test]
fn refusals_are_told_in_the_words_of_redis() {
    const GOOD: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    for (text, manifest, words) in [
        ("", "", "Found an empty AOF manifest"),
        ("", "\n", "Invalid AOF manifest file format"),
        ("", "file a seq 1 type x\n", "Unknown AOF file type"),
        ("", "file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
        ("", "file b seq 2 type i\nfile a seq 1 type i\n", "Found a non-monotonic sequence number"),
        (
            "",
            &format!("file {} seq 1 type i\n", "a".repeat(1020)),
            "The AOF manifest file contains too long line",
        ),
        ("", "file gone.aof seq 1 type i\n", "gone.aof length. stat: No such file or directory"),
        (&format!("{set}!!!\r\n{set}"), GOOD, "Bad file format reading the append only file"),
        ("*2\r\n$3\r\nbla\r\n$1\r\nx\r\n", GOOD, "unknown command 'bla'"),
        ("*1\r\n$7\r\ncluster\r\n", GOOD, "wrong number of arguments for 'cluster' command"),
        ("*2\r\n$7\r\ncluster\r\n$6\r\nslotsx\r\n", GOOD, "unknown subcommand 'slotsx'"),
    ] {
        let said = refused_with(text, manifest);
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
        let initialized = said.find("Server initialized");
        assert!(initialized.is_some_and(|at| at < said.find(words).unwrap()), "{said}");
        assert!(said.trim_end().lines().last().unwrap().contains("Fatal error loading the DB"), "{said}");
    }
}

/// A list without elements, which no server of today makes and old ones did.
#[test]
fn keys_without_elements_are_named_when_they_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    // Version 4, which has no checksum: database 0, type 1 (list) of no elements, a string, the end.
    std::fs::write(dir.path().join("dump.rdb"), b"REDIS0004\xfe\x00\x01\x05empty\x00\x00\x01k\x01v\xff")
        .unwrap();
    let server = Server::start_in(dir, &["--save", ""]);
    let mut client = server.client();
    assert_eq!((client.text(&["DBSIZE"]), client.text(&["GET", "k"])), ("1".into(), "v".into()));
    let log = server.log();
    assert!(log.contains("skipping empty key: empty") && log.contains("empty keys skipped: 1"), "{log}");
}

#[test]
fn why_a_payload_is_refused_is_in_the_log() {
    let server = Server::start(&["--save", "", "--loglevel", "verbose"]);
    let mut client = server.client();
    // A quicklist of one ziplist of three bytes, for redis-server 6 (version 9).
    let mut payload = b"\x0e\x01\x03abc\x09\x00".to_vec();
    payload.extend(node_server_rdb::crc64::crc64(0, &payload).to_le_bytes());
    let refused = call(&mut client, &[b"RESTORE", b"key", b"0", &payload]);
    assert_eq!(refused, Reply::Error("ERR Bad data format".into()));
    let why = "RESTORE of key: Ziplist integrity check failed: ";
    until("the log says why", || server.log().contains(why).then_some(()));
}

#[test]
fn commands_that_change_nothing_are_passed_over_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        "*2\r\n$7\r\ncluster\r\n$5\r\nslots\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    std::fs::write(dir.path().join("appendonly.aof"), file).unwrap();
    let server = Server::start_in(dir, EVERYSEC);
    assert_eq!(server.client().text(&["GET", "k"]), "v");
}
