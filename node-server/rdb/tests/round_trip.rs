//! What is written is read, in every dialect, in pieces of every size; damage is never a panic.

mod common;

use common::strategy::{bytes, expiring_hash, plain_value, without_activity};
use node_server_rdb::writer::put_key;
use node_server_rdb::{
    Dialect, Form, Item, RdbError, Value, Writer, decode_dump, encode_dump, encode_dump_as,
};
use proptest::prelude::*;

type Keys = Vec<(Vec<u8>, Value, Option<u64>)>;

fn keys() -> impl Strategy<Value = Keys> {
    prop::collection::vec((bytes(), plain_value(), prop::option::of(0..i64::MAX as u64)), 0..6)
}

fn write(keys: &Keys, dialect: Dialect) -> Vec<u8> {
    write_as(keys, dialect.into())
}

fn write_as(keys: &Keys, form: Form) -> Vec<u8> {
    let mut writer = Writer::new(form.dialect);
    writer.aux("redis-ver", "7.2.4");
    writer.select(0);
    let mut file = writer.take();
    for (key, value, expire_at) in keys {
        let mut one = Vec::new();
        put_key(&mut one, key, value, *expire_at, form).expect("it can be written");
        writer.keys(&one);
        file.extend(writer.take());
    }
    writer.finish();
    file.extend(writer.take());
    file
}

fn read(file: &[u8], piece: usize) -> Keys {
    let items = common::read(file, piece).expect("it is whole");
    assert_eq!(items.last(), Some(&Item::End));
    let key = |item| match item {
        Item::Key { key, value, expire_at } => Some((key, value, expire_at)),
        _ => None,
    };
    items.into_iter().filter_map(key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files(keys in keys(), piece in prop_oneof![1_usize..64, Just(1 << 20)]) {
        for dialect in [Dialect::Valkey, Dialect::Redis] {
            prop_assert_eq!(&read(&write(&keys, dialect), piece), &keys);
            let compressed = write_as(&keys, Form { dialect, compress: true });
            prop_assert!(compressed.len() <= write(&keys, dialect).len());
            prop_assert_eq!(&read(&compressed, piece), &keys);
        }
        let plain = read(&write(&keys, Dialect::Plain), piece);
        let expected: Keys = keys.into_iter().map(|(k, v, at)| (k, without_activity(v), at)).collect();
        prop_assert_eq!(plain, expected);
    }

    #[test]
    fn payloads(value in plain_value()) {
        let payload = encode_dump(&value).expect("it can be written");
        prop_assert_eq!(&payload[payload.len() - 10..payload.len() - 8], [10, 0]);
        let compressed = encode_dump_as(&value, true).expect("it can be written");
        let expected = without_activity(value);
        prop_assert_eq!(decode_dump(&payload), Ok(expected.clone()));
        prop_assert_eq!(decode_dump(&compressed), Ok(expected));
    }

    #[test]
    fn expiring_fields(hash in expiring_hash(), piece in 1_usize..64) {
        let keys = vec![(b"k".to_vec(), hash.clone(), None)];
        for dialect in [Dialect::Valkey, Dialect::Redis] {
            prop_assert_eq!(&read(&write(&keys, dialect), piece), &keys);
        }
        let payload = encode_dump(&hash).expect("it can be written");
        let version = if hash.has_field_expiry() { 80 } else { 10 };
        prop_assert_eq!(&payload[payload.len() - 10..payload.len() - 8], [version, 0]);
        prop_assert_eq!(decode_dump(&payload), Ok(hash.clone()));
        let mut out = b"before".to_vec();
        let plain = put_key(&mut out, b"k", &hash, None, Dialect::Plain);
        if hash.has_field_expiry() {
            let cause = Box::new(RdbError::FieldExpiry);
            prop_assert_eq!(plain, Err(RdbError::Key { key: "k".into(), cause }));
            prop_assert_eq!(out, b"before", "nothing is left of it");
        } else {
            prop_assert_eq!(plain, Ok(()));
        }
    }

    #[test]
    fn a_flipped_bit_is_found(value in plain_value(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut payload = encode_dump(&value).expect("it can be written");
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        prop_assert!(decode_dump(&payload).is_err());
    }

    #[test]
    fn changed_bytes_never_panic(
        value in prop_oneof![plain_value(), expiring_hash()],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let payload = encode_dump(&value).expect("it can be written");
        let mut body = payload[..payload.len() - 10].to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for version in [1, 10, 14, 80] {
            let _ = decode_dump(&common::payload(&body, version));
        }
    }

    /// Each type gets bytes for which only its decoder is asked; those of packed types also as one string.
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..64), inner in prop::collection::vec(any::<u8>(), 0..63)) {
        for kind in 0..=30 {
            for version in [10, 14, 80] {
                let direct = [&[kind][..], &body].concat();
                let _ = decode_dump(&common::payload(&direct, version));
                let _ = common::read(&common::file(b"REDIS0012", &[&[kind, 1, b'k'][..], &body].concat()), 5);
                let packed = [&[kind, inner.len() as u8][..], &inner].concat();
                let _ = decode_dump(&common::payload(&packed, version));
            }
        }
    }

    #[test]
    fn no_stream_panics(body in any::<Vec<u8>>(), piece in 1_usize..20) {
        for header in [b"REDIS0003", b"REDIS0014", b"VALKEY080"] {
            let _ = common::read(&[header, &body[..]].concat(), piece);
        }
        let _ = common::read(&body, piece);
    }

    #[test]
    fn the_size_of_a_value_is_at_least_its_bytes(value in plain_value()) {
        prop_assert!(value.heap_bytes() >= encode_dump(&value).expect("it can be written").len() / 20);
    }
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let problems = [
        Value::List(Vec::new()),
        Value::Hash(Vec::new()),
        Value::SortedSet(vec![node_server_rdb::Scored { member: b"m".to_vec(), score: f64::NAN }]),
    ];
    for value in problems {
        assert!(matches!(encode_dump(&value), Err(RdbError::Unwritable { .. })), "{value:?}");
    }
    let too_late =
        |at| Value::Hash(vec![node_server_rdb::Field { name: vec![], value: vec![], expire_at: Some(at) }]);
    for (at, dialect) in [(0, Dialect::Redis), (1 << 48, Dialect::Redis), (1 << 63, Dialect::Valkey)] {
        let error =
            put_key(&mut Vec::new(), b"k", &too_late(at), None, dialect).expect_err("it does not fit");
        assert!(error.to_string().contains("expiry"), "{error}");
    }
}
