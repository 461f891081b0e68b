//! Files of redis-server 7.0.15 are read, and ours are what its redis-check-rdb accepts.
#![allow(clippy::disallowed_methods, reason = "the test hands a file to another program")]

use node_server_rdb::writer::put_key;
use node_server_rdb::{Dialect, Field, Item, RdbError, Reader, Value, Writer};
use std::collections::BTreeMap;
use std::process::Command;

/// `SET`s of every encoding in databases 0 and 3, and a function library; saved by redis-server 7.0.15.
const FILE: &[u8] = include_bytes!("golden/redis-7.0.15.rdb");
/// One hash.
const HASH: &[u8] = include_bytes!("golden/hash-7.0.15.rdb");

fn read(bytes: &[u8], piece: usize) -> Result<Vec<Item>, RdbError> {
    let mut reader = Reader::new();
    let mut items = Vec::new();
    for part in bytes.chunks(piece) {
        reader.feed(part);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
    }
    Ok(items)
}

#[test]
fn a_file_of_redis_server() {
    for piece in [1, 7, 100, FILE.len()] {
        let items = read(FILE, piece).unwrap();
        assert_eq!(items.last(), Some(&Item::End));
        let is_version =
            |i: &Item| matches!(i, Item::Aux { name, value } if name == b"redis-ver" && value == b"7.0.15");
        assert!(items.iter().any(is_version));
        assert!(
            items.iter().any(|i| matches!(i, Item::Function(code) if code.starts_with(b"#!lua name=lib")))
        );
        check_keys(&items);
    }
}

fn check_keys(items: &[Item]) {
    let mut keys = BTreeMap::new();
    let mut database = 0;
    for item in items {
        match item {
            Item::Select(number) => database = *number,
            Item::Key { key, value: Value::String(value), expire_at } => {
                let key = String::from_utf8(key.clone()).expect("the keys are text");
                keys.insert((database, key), (value.clone(), *expire_at));
            }
            _ => {}
        }
    }
    let long = "ab".repeat(200);
    let expected: [(u64, &str, &str, Option<u64>); 9] = [
        (0, "text", "hello", None),
        (0, "int8", "-7", None),
        (0, "int16", "1234", None),
        (0, "int32", "-2000000000", None),
        (0, "int64", "9223372036854775807", None),
        (0, "long", &long, None),
        (0, "empty", "", None),
        (0, "expires", "v", Some(33_177_117_420_000)),
        (3, "in db 3", "x", None),
    ];
    assert_eq!(keys.len(), expected.len() + 1, "and one of random bytes");
    for (database, key, value, expire_at) in expected {
        let found = keys.get(&(database, key.to_owned()));
        assert_eq!(found, Some(&(value.as_bytes().to_vec(), expire_at)), "{key}");
    }
    assert_eq!(keys[&(0, "mid".to_owned())].0.len(), 1336);
}

#[test]
fn a_type_that_is_not_held_is_named_with_its_key() {
    let mut module = b"REDIS0010\x07\x06a hash".to_vec();
    // Nine times the letter A, version 1.
    module.push(1);
    let error = read(&module, 1).unwrap_err();
    assert_eq!(
        error,
        RdbError::Module { kind: 7, module: "AAAAAAAAA".into(), version: 1, key: "a hash".into() }
    );
    assert!(error.to_string().contains("\"a hash\"") && error.to_string().contains("AAAAAAAAA"));
    let error = read(b"REDIS0014\x1c\x01k", 1).unwrap_err();
    assert_eq!(error, RdbError::Type { kind: 28, key: "k".into() });
    assert!(error.to_string().contains("ARRAY"), "{error}");
}

#[test]
fn a_file_with_a_hash() {
    let items = read(HASH, 1).unwrap();
    let hash = Value::Hash(vec![Field { name: b"f".to_vec(), value: b"v".to_vec(), expire_at: None }]);
    let expected = Item::Key { key: b"a hash".to_vec(), value: hash, expire_at: None };
    assert!(items.contains(&expected), "{items:?}");
}

#[test]
fn damage_anywhere_in_a_file_is_an_error() {
    for at in 0..FILE.len() {
        let mut bytes = FILE.to_vec();
        bytes[at] ^= 0x10;
        // A length that became too large waits for more; everything else is an error.
        if let Ok(items) = read(&bytes, bytes.len()) {
            assert_ne!(items.last(), Some(&Item::End), "byte {at}");
        }
    }
}

/// Written in small pieces, as a snapshot is.
fn ours() -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Plain);
    writer.aux("redis-ver", "7.2.4");
    writer.aux("repl-offset", "12345678901");
    writer.select(0);
    let mut file = writer.take();
    for n in 0_u64..2000 {
        let value = match n % 4 {
            0 => (n * n * n).to_string().into_bytes(),
            1 => format!("-{n}").into_bytes(),
            2 => vec![n as u8; n as usize * 7],
            _ => Vec::new(),
        };
        let mut key = Vec::new();
        let expire_at = n.is_multiple_of(5).then_some(33_177_117_420_000 + n);
        put_key(&mut key, format!("key {n}").as_bytes(), &Value::String(value), expire_at, Dialect::Plain)
            .expect("a string can always be written");
        writer.keys(&key);
        file.extend(writer.take());
    }
    writer.finish();
    file.extend(writer.take());
    file
}

#[test]
fn redis_check_rdb_accepts_ours() {
    let file = ours();
    assert_eq!(read(&file, 1000).unwrap().last(), Some(&Item::End));
    let path = std::env::temp_dir().join(format!("slotkeeper-{}.rdb", std::process::id()));
    std::fs::write(&path, &file).unwrap();
    let output = Command::new("redis-check-rdb").arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    let output = output.expect("redis-check-rdb is needed: install redis-tools");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("RDB looks OK"), "{text}");
    assert!(text.contains("2000 keys read") && text.contains("400 expires"), "{text}");
}
