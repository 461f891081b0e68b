//! Changed payloads are given to the real servers too, for `FUZZ_SECONDS` (2) per server: what a server refuses with
//! all its checks on, this crate refuses, and what both take is the same value. The other way round the servers are
//! laxer: they take bytes behind the end and values that reach into the checksum, scores that only begin with a
//! number, streams whose entries are not in order.
#![allow(clippy::disallowed_methods, reason = "how long it runs is said in seconds")]

mod common;

use common::mutate::{Random, by_kind, changed, from_environment, seeds};
use common::server::{Reply, Server, redis_server, valkey_server};
use common::text::text;
use node_server_rdb::{Value, decode_dump};
use std::path::Path;
use std::time::{Duration, Instant};

fn compare(program: &Path, version: u16, newest: u8) {
    let mut random = Random(from_environment("FUZZ_SEED", 0x5107_5eed) | 1);
    let mut server = Server::start(program, None, &[]).expect("the server starts");
    let seeds = seeds();
    let kinds: Vec<_> = by_kind(&seeds).into_iter().filter(|(kind, _)| *kind <= newest).collect();
    let share = Duration::from_secs(from_environment("FUZZ_SECONDS", 2)) / kinds.len() as u32;
    for (kind, of_kind) in kinds {
        let end = Instant::now() + share;
        let (mut both, mut neither, mut only_server) = (0_u64, 0_u64, 0_u64);
        while Instant::now() < end {
            let (body, _) = changed(&mut random, kind, &of_kind);
            let payload = common::payload(&body, version);
            let answer = server.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
            match (decode_dump(&payload), answer) {
                (Ok(value), Reply::Bytes(_)) => {
                    same(&mut server, value, &payload);
                    both += 1;
                }
                (Ok(value), answer) => assert!(is_disputed(&value), "{answer:?} to {}", hex(&payload)),
                (Err(_), Reply::Error(_)) => neither += 1,
                (Err(_), _) => only_server += 1,
            }
        }
        eprintln!("type {kind}: both take {both}, neither {neither}, only the server {only_server}");
    }
}

fn hex(payload: &[u8]) -> String {
    payload.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The server holds the same as was decoded.
fn same(server: &mut Server, mut value: Value, payload: &[u8]) {
    let Reply::Bytes(again) = server.ask(&[b"DUMP", b"k"]) else { panic!("{} is gone", hex(payload)) };
    let mut again = decode_dump(&again).expect("what a server writes is read");
    for value in [&mut value, &mut again] {
        if let Value::Stream(stream) = value {
            // The servers keep these by name.
            stream.groups.sort_by(|one, other| one.name.cmp(&other.name));
            let consumers = |group: &mut node_server_rdb::Group| {
                group.consumers.sort_by(|one, other| one.name.cmp(&other.name));
            };
            stream.groups.iter_mut().for_each(consumers);
        }
    }
    assert_eq!(text(&again), text(&value), "{}", hex(payload));
}

/// Valkey refuses what Redis writes of an element of this length; see `tests/servers.rs`.
fn is_disputed(value: &Value) -> bool {
    matches!(value, Value::List(items) if items.iter().any(|item| item.len() == 16_378))
}

#[test]
fn redis_takes_what_we_take() {
    compare(&redis_server(), 10, 19);
}

#[test]
fn valkey_takes_what_we_take() {
    compare(&valkey_server(), 80, 22);
}
