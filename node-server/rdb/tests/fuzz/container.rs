//! RDB streams around values: opcodes, auxiliary fields, expiry, databases, functions, the checksum.

use super::Target;
use super::common::build::{length, string};
use super::common::mutate::{Random, Seed, change};
use super::common::strategy::without_activity;
use super::common::text::text;
use node_server_rdb::crc64::crc64;
use node_server_rdb::writer::put_key;
use node_server_rdb::{Dialect, Item, RdbError, Reader};

/// Opcodes (reference/persistence §3.1).
const SLOT_IMPORT: u8 = 243;
const FUNCTION: u8 = 245;
const AUX: u8 = 250;
const SELECT: u8 = 254;

/// Longest value that is put between the opcodes.
const VALUE_MAX: usize = 200;

pub(crate) fn target(seeds: &[Seed]) -> Target<'_> {
    let small: Vec<&Seed> = seeds.iter().filter(|seed| seed.body.len() < VALUE_MAX).collect();
    Target { name: "container".into(), make: Box::new(move |random| file(random, &small)), check }
}

/// A header; most of them are good.
fn header(random: &mut Random) -> Vec<u8> {
    let mut header = match random.below(3) {
        0 => b"VALKEY080".to_vec(),
        1 => b"REDIS0010".to_vec(),
        _ => format!("REDIS{:04}", random.below(17)).into_bytes(),
    };
    if random.below(16) == 0 {
        change(random, &mut header, b"VALKEYREDIS0080");
    }
    header
}

/// Something between the header and the end.
fn piece(random: &mut Random, values: &[&Seed]) -> Vec<u8> {
    let number = |random: &mut Random| length(random.next() >> random.below(64));
    let value = |random: &mut Random| {
        let body = &values[random.below(values.len())].body;
        [&body[..1], &string(format!("key:{}", random.below(100)).as_bytes()), &body[1..]].concat()
    };
    match random.below(16) {
        0 => [&[AUX][..], &string(b"redis-ver"), &string(b"7.0.15")].concat(),
        1 => [&[AUX][..], &string(b"repl-offset"), &string(b"-12")].concat(),
        2 => [&[SELECT][..], &number(random)].concat(),
        3 => [&[251][..], &number(random), &number(random)].concat(),
        4 => [&[FUNCTION][..], &string(b"#!lua name=lib\nredis.register_function('f', f)")].concat(),
        5 => [&[244][..], &number(random), &number(random), &number(random)].concat(),
        6 => [&[SLOT_IMPORT][..], &string(b"job"), &[1, 0], &length(random.below(16_384) as u64)].concat(),
        7 if random.below(4) == 0 => [&[247][..], &number(random), &[0]].concat(),
        7 => [&[246][..], &string(b"f")].concat(),
        8 => [&[252][..], &random.next().to_le_bytes(), &value(random)].concat(),
        9 => [&[253][..], &random.next().to_le_bytes()[..4], &value(random)].concat(),
        10 => [&[248][..], &number(random), &value(random)].concat(),
        11 => [&[249, random.next() as u8][..], &value(random)].concat(),
        _ => value(random),
    }
}

fn file(random: &mut Random, values: &[&Seed]) -> Vec<u8> {
    let mut body: Vec<u8> = (0..random.below(6)).flat_map(|_| piece(random, values)).collect();
    if random.below(3) > 0 {
        let other = piece(random, values);
        change(random, &mut body, &other);
    }
    let mut file = [&header(random)[..], &body, &[0xff]].concat();
    let sum = match random.below(8) {
        0 => 0,
        1 => crc64(0, &file) ^ 1 << random.below(64),
        _ => crc64(0, &file),
    };
    file.extend(sum.to_le_bytes());
    match random.below(8) {
        0 => file.truncate(random.below(file.len())),
        1 => file.extend(b"*1\r\n"),
        _ => {}
    }
    file
}

/// Items, what they come to, and where that is.
type Outcome = (Vec<Item>, Result<bool, RdbError>, u64);

fn read(bytes: &[u8], piece: usize) -> (Outcome, Vec<u8>) {
    let mut reader = Reader::new();
    let mut items = Vec::new();
    let mut result = Ok(());
    for part in bytes.chunks(piece.max(1)) {
        reader.feed(part);
        while result.is_ok() {
            match reader.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => result = Err(error),
            }
        }
    }
    let result = result.and_then(|()| reader.end_of_input()).map(|()| reader.is_checksummed());
    ((items, result, reader.position()), reader.into_rest())
}

fn check(bytes: &[u8]) -> bool {
    let piece = 1 + (crc64(0, bytes) % 40) as usize;
    let (outcome, rest) = read(bytes, bytes.len());
    let (in_pieces, rest_of_pieces) = read(bytes, piece);
    // As text: no number is not equal to itself.
    assert_eq!(format!("{in_pieces:?}"), format!("{outcome:?}"), "in pieces of {piece}");
    let (items, Ok(is_checksummed), end) = outcome else { return false };
    assert_eq!((&rest, end), (&rest_of_pieces, (bytes.len() - rest.len()) as u64));
    assert_eq!(items.iter().filter(|item| **item == Item::End).count(), 1);
    assert_eq!(items.last(), Some(&Item::End));
    let whole = &bytes[..end as usize];
    if is_checksummed {
        check_damaged(whole);
    }
    check_rewritten(&items);
    items.len() > 1
}

/// A checksum that is looked at finds a changed bit, also in itself.
fn check_damaged(whole: &[u8]) {
    let mut damaged = whole.to_vec();
    let at = whole.len() - 1 - whole.len() % 8;
    damaged[at] ^= 1 << (whole.len() % 7);
    let (_, result, _) = read(&damaged, whole.len()).0;
    // All zeros say that there is none.
    let is_off = damaged.ends_with(&[0; 8]);
    assert!(is_off || matches!(result, Err(RdbError::Checksum { .. })), "{result:?}");
}

/// What was taken is written and read as the same.
fn check_rewritten(items: &[Item]) {
    let mut file = b"VALKEY080".to_vec();
    for item in items {
        match item {
            Item::Aux { name, value } => file.extend([&[AUX][..], &string(name), &string(value)].concat()),
            Item::Select(database) => file.extend([&[SELECT][..], &length(*database)].concat()),
            Item::Function(text) => file.extend([&[FUNCTION][..], &string(text)].concat()),
            Item::SlotImport { job, slots } => {
                let ranges =
                    slots.iter().flat_map(|(a, b)| [length((*a).into()), length((*b).into())].concat());
                file.extend([&[SLOT_IMPORT][..], &string(job), &length(slots.len() as u64)].concat());
                file.extend(ranges);
            }
            Item::Key { key, value, expire_at } => {
                put_key(&mut file, key, value, *expire_at, Dialect::Valkey).expect("it can be written");
            }
            Item::End => file.push(0xff),
        }
    }
    file.extend(crc64(0, &file).to_le_bytes());
    let (again, result, _) = read(&file, 17).0;
    assert_eq!(result, Ok(true));
    let lines = |items: &[Item]| items.iter().map(line).collect::<Vec<_>>();
    assert_eq!(lines(&again), lines(items));
}

fn line(item: &Item) -> String {
    match item {
        Item::Key { key, value, expire_at } => {
            format!("{key:?} {expire_at:?} {}", text(&without_activity(value.clone())))
        }
        other => format!("{other:?}"),
    }
}
