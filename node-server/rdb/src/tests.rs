//! Round trips, damage, and what redis-server 7.0.15 wrote.
#![cfg(test)]

use crate::writer::put_key;
use crate::{Dialect, Item, RdbError, Reader, Value, Writer, decode_dump, encode_dump};
use proptest::prelude::*;

fn read_all(bytes: &[u8], piece: usize) -> Result<Vec<Item>, RdbError> {
    let mut reader = Reader::new();
    let mut items = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        reader.feed(part);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
    }
    Ok(items)
}

type Keys = Vec<(Vec<u8>, Vec<u8>, Option<u64>)>;

fn write(keys: &Keys) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Plain);
    writer.aux("redis-ver", "7.2.4");
    writer.select(0);
    let mut bytes = writer.take();
    for (key, value, expire_at) in keys {
        let mut one = Vec::new();
        put_key(&mut one, key, &Value::String(value.clone()), *expire_at, Dialect::Plain).unwrap();
        writer.keys(&one);
        bytes.extend(writer.take());
    }
    writer.finish();
    bytes.extend(writer.take());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        keys in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>(), prop::option::of(0..=i64::MAX as u64)), 0..20),
        piece in 1_usize..64,
    ) {
        let items = read_all(&write(&keys), piece).unwrap();
        let read: Keys = items.iter().filter_map(|item| match item {
            Item::Key { key, value: Value::String(value), expire_at } => Some((key.clone(), value.clone(), *expire_at)),
            _ => None,
        }).collect();
        prop_assert_eq!(read, keys);
        prop_assert_eq!(items.last(), Some(&Item::End));
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        let _ = decode_dump(&bytes);
        let mut with_header = b"REDIS0010".to_vec();
        with_header.extend(&bytes);
        let _ = read_all(&with_header, 7);
    }

    #[test]
    fn a_flipped_bit_is_found(value in prop::collection::vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut payload = encode_dump(&Value::String(value.clone())).unwrap();
        prop_assert_eq!(decode_dump(&payload), Ok(Value::String(value)));
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        prop_assert!(decode_dump(&payload).is_err());
    }

    #[test]
    fn numbers_survive(n in any::<i64>()) {
        let value = Value::String(n.to_string().into_bytes());
        prop_assert_eq!(decode_dump(&encode_dump(&value).unwrap()), Ok(value));
    }
}

#[test]
fn payloads_of_redis_server() {
    // redis-server 7.0.15: SET k VALUE, DUMP k.
    let golden: [(&[u8], &[u8]); 3] = [
        (b"hello", b"\x00\x05hello\n\x00cr\xdfve4 \n"),
        (b"1234", b"\x00\xc1\xd2\x04\n\x00\x00\x87\x08\xa1D\x82\\\xed"),
        (
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabb",
            b"\x00\xc3\t*\x01aa\xe0\x1d\x00\x01bb\n\x00:\x8c\xde\x1a\x93\x17\xbc\xd1",
        ),
    ];
    for (value, payload) in golden {
        assert_eq!(decode_dump(payload), Ok(Value::String(value.to_vec())));
    }
    for (value, payload) in &golden[..2] {
        assert_eq!(
            encode_dump(&Value::String(value.to_vec())).unwrap(),
            *payload,
            "ours is the same where nothing is compressed"
        );
    }
}
