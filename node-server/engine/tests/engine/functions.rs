//! What other servers' data has that this version does not run, or cannot keep.

use crate::snapshots::whole;
use crate::support::*;
use node_server_engine::LoadError;
use node_server_rdb::writer::put_string_key;
use node_server_rdb::{Dialect, Item, Reader, Writer};

const MATH: &[u8] = b"#!lua name=math\nredis.register_function('one', function() return 1 end)";
/// Bytes that are no text are kept as they are.
const ODD: &[u8] = b"#!lua name=odd\n\xff\0";

fn stream(libraries: &[&[u8]], key: &str) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Plain);
    libraries.iter().for_each(|text| writer.function(text));
    let mut keys = Vec::new();
    put_string_key(&mut keys, key.as_bytes(), b"v", None, false);
    writer.select(0);
    writer.keys(&keys);
    writer.finish();
    writer.take()
}

fn libraries(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::new();
    reader.feed(stream);
    let mut found = Vec::new();
    let mut keys = 0;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Function(text) => {
                assert_eq!(keys, 0, "before the keys, as Redis writes them");
                found.push(text);
            }
            Item::Key { .. } => keys += 1,
            _ => {}
        }
    }
    found
}

#[test]
fn function_libraries_are_handed_on_as_they_came() {
    let node = Node::master();
    let mut loader = node.engine.begin_load(NOW);
    assert!(loader.feed(&stream(&[MATH, ODD], "k")).unwrap());
    assert_eq!((loader.libraries(), node.engine.libraries()), (2, 0), "nothing is changed before the end");
    loader.commit_file().unwrap();
    assert_eq!(libraries(&whole(&node)), [MATH, ODD]);
    node.client().ok("FLUSHALL");
    assert_eq!(libraries(&whole(&node)), [MATH, ODD], "FLUSHALL leaves them, as in Redis");
    let replica = Node::replica();
    let mut loader = replica.engine.begin_load(NOW);
    assert!(loader.feed(&whole(&node)).unwrap());
    loader.commit(&"a".repeat(40), 5).unwrap();
    assert_eq!(libraries(&whole(&replica)), [MATH, ODD], "a full sync brings them");
    for (stream, left) in [(stream(&[ODD], "k"), &[ODD][..]), (stream(&[], "k"), &[])] {
        let mut loader = replica.engine.begin_load(NOW);
        assert!(loader.feed(&stream).unwrap());
        loader.commit(&"b".repeat(40), 5).unwrap();
        assert_eq!(libraries(&whole(&replica)), left, "and takes the place of what was there");
    }
}

/// Valkey 9 writes these opcodes while it takes slots; the keys behind them may be half of what they will be.
#[test]
fn data_of_an_import_under_way_is_refused_by_name() {
    let mut writer = Writer::new(Dialect::Valkey);
    writer.keys(&[&[0xf3, 40][..], &[b'7'; 40], &[1, 5, 7], b"\xfe\x00\x00\x01k\x01v"].concat());
    writer.finish();
    let node = Node::master();
    let mut loader = node.engine.begin_load(NOW);
    let error = loader.feed(&writer.take()).unwrap_err();
    assert!(matches!(error, LoadError::SlotImport { .. }));
    assert!(error.to_string().contains(&format!("SLOT_IMPORT, job {}", "7".repeat(40))), "{error}");
    drop(loader);
    assert_eq!(node.engine.keyspace().len(), 0);
}
