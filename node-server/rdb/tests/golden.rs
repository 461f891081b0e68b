//! What redis-server 7.0.15 and Valkey 9.1.2 wrote is read as what these servers say they hold. `make-golden.py` makes
//! the data again.

mod common;

use common::corpus::cases;
use common::text::text;
use node_server_rdb::{Item, RdbError, Value, decode_dump, encode_dump};
use std::collections::BTreeMap;

const REDIS: &[u8] = include_bytes!("golden/redis-7.0.15-all.rdb");
const VALKEY: &[u8] = include_bytes!("golden/valkey-9.1.2-all.rdb");

#[test]
fn payloads_are_what_the_servers_hold() {
    let cases = cases();
    assert_eq!(cases.len(), 60, "29 of Redis, 31 of Valkey");
    for case in &cases {
        let value = decode_dump(&case.payload).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(text(&value), case.held, "{}", case.name);
    }
}

#[test]
fn the_corpus_has_every_type_that_the_servers_write() {
    let mut kinds: Vec<u8> = cases().iter().map(|case| case.payload[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    // 18 is quicklist 2, 19 and 21 streams, 22 Valkey's hash with field expiry.
    assert_eq!(kinds, [0, 2, 4, 5, 11, 16, 17, 18, 19, 20, 21, 22]);
}

#[test]
fn payloads_survive_being_written_again() {
    for case in cases() {
        let mut value = decode_dump(&case.payload).expect("checked above");
        let again = decode_dump(&encode_dump(&value).expect("what was read can be written"));
        if let Value::Stream(stream) = &mut value {
            let consumers = stream.groups.iter_mut().flat_map(|group| &mut group.consumers);
            consumers.for_each(|consumer| consumer.active_at = Some(consumer.seen_at));
        }
        assert_eq!(again, Ok(value), "{}", case.name);
    }
}

#[test]
fn every_flipped_bit_of_every_payload_is_found() {
    for case in cases().iter().filter(|case| case.payload.len() < 500) {
        for bit in 0..case.payload.len() * 8 {
            let mut payload = case.payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_dump(&payload).is_err(), "{} bit {bit}", case.name);
        }
    }
}

#[test]
fn a_payload_cut_anywhere_is_an_error() {
    for case in cases() {
        for len in 0..case.payload.len() {
            assert!(decode_dump(&case.payload[..len]).is_err(), "{} at {len}", case.name);
            // The checksum finds that. Behind it, the decoders themselves:
            let body = &case.payload[..case.payload.len() - 10];
            if len < body.len() {
                let body = &body[..len];
                assert!(decode_dump(&common::payload(body, 80)).is_err(), "{} at {len}", case.name);
            }
        }
    }
}

fn check_file(file: &[u8], label: &str) {
    let expected: BTreeMap<_, _> = cases()
        .iter()
        .filter_map(|case| Some((case.name.strip_prefix(label)?.trim_start().as_bytes().to_vec(), case.held)))
        .collect();
    for piece in [1, 100, file.len()] {
        let items = common::read(file, piece).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(items.last(), Some(&Item::End));
        let mut keys = 0;
        let mut others = Vec::new();
        for item in &items {
            match item {
                Item::Key { key, value, .. } if expected.contains_key(key) => {
                    assert_eq!(text(value), expected[key], "{label} {}", String::from_utf8_lossy(key));
                    keys += 1;
                }
                Item::Key { key, expire_at, .. } => others.push((key.as_slice(), *expire_at)),
                _ => {}
            }
        }
        assert_eq!(keys, expected.len());
        assert_eq!(
            others,
            [(b"expires".as_slice(), Some(33_177_117_420_000)), (b"in db 3".as_slice(), None)]
        );
        assert!(items.iter().any(|item| matches!(item, Item::Function(code) if code.starts_with(b"#!lua"))));
    }
}

#[test]
fn a_file_of_redis() {
    assert!(REDIS.starts_with(b"REDIS0010"));
    check_file(REDIS, "redis-7.0.15");
}

#[test]
fn a_file_of_valkey() {
    assert!(VALKEY.starts_with(b"VALKEY080"));
    check_file(VALKEY, "valkey-9.1.2");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for file in [REDIS, VALKEY] {
        for len in (0..file.len()).step_by(13) {
            let error = common::read(&file[..len], file.len()).expect_err("it is not whole");
            assert!(matches!(error, RdbError::Truncated(_)), "{error} at {len}");
        }
    }
}

#[test]
fn the_wrong_name_for_a_version_is_refused() {
    let header = |header: &[u8; 9]| common::read(&common::file(header, b""), 9).map(|_| ());
    for right in [b"REDIS0001", b"REDIS0007", b"REDIS0014", b"VALKEY080"] {
        assert_eq!(header(right), Ok(()));
    }
    for (wrong, version) in [
        (b"REDIS0000", 0),
        (b"REDIS0015", 15),
        (b"REDIS0080", 80),
        (b"VALKEY011", 11),
        (b"VALKEY012", 12),
        (b"VALKEY079", 79),
        (b"VALKEY081", 81),
    ] {
        assert_eq!(header(wrong), Err(RdbError::Version(version)));
    }
    for no in [b"REDIS 010", b"REDIS+010", b"VALKEY08x", b"redis0010", b"VALKEYS80"] {
        assert_eq!(header(no), Err(RdbError::Magic));
    }
}
