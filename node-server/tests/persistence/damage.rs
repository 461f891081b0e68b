//! Files that are not as they were written.

use super::*;
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
    assert!(said.contains("base.rdb: the manifest names it and it is not there"), "{said}");
}

/// An increment between two others is shorter than it was, by whole stretches: nothing in it says so.
#[test]
fn a_hole_between_two_increments_is_refused() {
    let server = killed();
    let file = last_increment(&appended(&server));
    let whole = std::fs::read(&file).unwrap();
    let last = whole.windows(5).rposition(|w| w == b"#CRC:").unwrap();
    let seal = String::from_utf8(whole[last..].to_vec()).unwrap();
    let position = seal.trim_end().split_once(' ').unwrap().1.to_owned();
    let (offset, replid) = position.split_once(' ').unwrap();
    let end: u64 = offset.parse().unwrap();
    let dir = appended(&server);
    let mut next = Vec::new();
    let replid = node_server_rdb::aof::Replid::new(replid.as_bytes()).unwrap();
    next.extend(node_server_rdb::aof::seal(node_server_rdb::aof::RunningCrc::new(), end + 100, &replid));
    std::fs::write(dir.join("appendonly.aof.9.incr.aof"), next).unwrap();
    append(&dir.join("appendonly.aof.manifest"), b"file appendonly.aof.9.incr.aof seq 9 type i\n");
    let said = refused(&server, ALWAYS);
    assert!(
        said.contains(&format!("begins at log offset {}", end + 100)) && said.contains("bytes are missing"),
        "{said}"
    );
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
    assert!(said.contains("'NOSUCH'") && said.contains("BGREWRITEAOF"), "{said}");
}
