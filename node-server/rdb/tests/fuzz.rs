//! Changes the corpus at random, with a seeded generator, for `FUZZ_SECONDS` (1) per decoder: nothing may panic, and
//! what is taken in spite of the change must be a value that is written and read again as the same. `FUZZ_SEED` makes
//! another run of it. A failure prints the payload.
#![allow(clippy::disallowed_methods, reason = "how long it runs is said in seconds")]

mod common;

use common::mutate::{Random, by_kind, changed, from_environment, seeds};
use common::strategy::without_activity;
use common::text::text;
use node_server_rdb::{Item, decode_dump, encode_dump};
use std::time::{Duration, Instant};

fn check(kind: u8, body: &[u8], version: u16) -> bool {
    let payload = common::payload(body, version);
    let decoded = std::panic::catch_unwind(|| decode_dump(&payload));
    let hex = || payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let Ok(decoded) = decoded else { panic!("type {kind} panics: {}", hex()) };
    let file = [b"\x00\x00\x01v".as_slice(), &[body[0], 0], &body[1..]].concat();
    let header = if version == 80 { b"VALKEY080" } else { b"REDIS0012" };
    let in_pieces = common::read(&common::file(header, &file), 3);
    let Ok(value) = decoded else { return false };
    // In a stream the same bytes are the same value.
    let items = in_pieces.unwrap_or_else(|error| panic!("type {kind}: {error}: {}", hex()));
    let found = items.iter().filter_map(|item| match item {
        Item::Key { key, value, .. } if key.is_empty() => Some(text(value)),
        _ => None,
    });
    assert!(found.into_iter().any(|found| found == text(&value)), "type {kind}: {}", hex());
    match encode_dump(&value) {
        Ok(again) => {
            let again = decode_dump(&again).expect("ours is good");
            assert_eq!(text(&again), text(&without_activity(value)), "type {kind}: {}", hex());
        }
        Err(error) => panic!("type {kind}: {error}: {}", hex()),
    }
    true
}

#[test]
fn changed_payloads() {
    let seconds = from_environment("FUZZ_SECONDS", 1);
    let mut random = Random(from_environment("FUZZ_SEED", 0x5107_5eed) | 1);
    for (kind, of_kind) in by_kind(&seeds()) {
        let end = Instant::now() + Duration::from_secs(seconds);
        let (mut runs, mut taken) = (0_u64, 0_u64);
        while Instant::now() < end {
            let (body, version) = changed(&mut random, kind, &of_kind);
            runs += 1;
            taken += u64::from(check(kind, &body, version));
        }
        eprintln!("type {kind}: {runs} runs, {taken} values");
    }
}
