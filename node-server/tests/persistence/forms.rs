//! `rdbcompression` and `rdbchecksum`: what files and payloads look like, and that everybody reads them.

use super::foreign::{Foreign, content, others};
use super::*;

/// Compresses well, and takes its place uncompressed.
fn long() -> String {
    "a value that repeats itself ".repeat(100)
}

fn saved(client: &mut Client, server: &Server) -> Vec<u8> {
    assert_eq!(client.text(&["SAVE"]), "OK");
    std::fs::read(server.dir.path().join("dump.rdb")).unwrap()
}

fn dump(client: &mut Client) -> Vec<u8> {
    match client.call(&["DUMP", "key"]) {
        Reply::Bulk(payload) => payload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn long_strings_are_compressed_unless_it_is_turned_off() {
    let mut server = Server::start(&["--save", "", "--appendonly", "yes"]);
    let mut client = server.client();
    wait_based(&mut client);
    assert_eq!(client.text(&["SET", "key", &long()]), "OK");
    rewrite(&mut client);
    let base = std::fs::read(appended(&server).join("appendonly.aof.2.base.rdb")).unwrap();
    let (file, payload) = (saved(&mut client, &server), dump(&mut client));
    for bytes in [&base, &file, &payload] {
        assert!(bytes.len() < 400, "{}", bytes.len());
    }
    for program in others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dump.rdb"), &file).unwrap();
        let mut other = Foreign::start(program, dir, &[]);
        let mut theirs = other.client();
        assert_eq!(content(&mut theirs), content(&mut client));
        let restored = call(&mut theirs, &[b"RESTORE", b"restored", b"0", &payload]);
        assert_eq!(restored, Reply::Simple("OK".into()));
        assert_eq!(theirs.text(&["GET", "restored"]), long());
        other.kill();
    }
    assert_eq!(client.text(&["CONFIG", "SET", "rdbcompression", "no"]), "OK");
    assert!(saved(&mut client, &server).len() > long().len() && dump(&mut client).len() > long().len());
    server.kill();
    server.start_again(&["--save", "", "--appendonly", "yes"]);
    assert_eq!(server.client().text(&["GET", "key"]), long());
}

#[test]
fn without_checksums_none_is_written_and_none_compared() {
    let without = &["--save", "", "--rdbchecksum", "no"];
    let mut server = Server::start(without);
    let mut client = server.client();
    assert_eq!(client.text(&["SET", "key", "value"]), "OK");
    let mut file = saved(&mut client, &server);
    assert!(file.ends_with(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0]));
    server.kill();
    // Whoever compares checksums takes none for right; who does not, a wrong one too.
    server.start_again(&["--save", ""]);
    assert_eq!(server.client().text(&["GET", "key"]), "value");
    server.kill();
    let last = file.len() - 1;
    file[last] = 1;
    std::fs::write(server.dir.path().join("dump.rdb"), &file).unwrap();
    let said = refused(&server, &["--save", ""]);
    assert!(said.contains("RDB CRC error"), "{said}");
    server.start_again(without);
    assert_eq!(server.client().text(&["GET", "key"]), "value");
}

/// Both ways, what a replica is sent is compressed as the files are.
#[test]
fn a_full_sync_is_compressed_too() {
    let master = Server::start(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let mut client = master.client();
    for n in 0..200 {
        assert_eq!(client.text(&["SET", &format!("key:{n}"), &long()]), "OK");
    }
    let expected = content(&mut client);
    let before: u64 = client.info("stats", "total_net_repl_output_bytes").parse().unwrap();
    let mut replica = Foreign::redis();
    let mut theirs = replica.client();
    assert_eq!(theirs.text(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]), "OK");
    until("it has synced", || (theirs.info("replication", "master_link_status") == "up").then_some(()));
    assert_eq!(content(&mut theirs), expected);
    let sent: u64 = client.info("stats", "total_net_repl_output_bytes").parse().unwrap();
    let plain = (200 * long().len()) as u64;
    assert!(sent > before && (sent - before) * 4 < plain, "{} of {plain}", sent - before);
    replica.kill();
}
