//! Values, as DUMP payloads and in streams.

use super::Target;
use super::common;
use super::common::mutate::{Random, Seed, by_kind, changed};
use super::common::strategy::without_activity;
use super::common::text::text;
use node_server_rdb::{Item, decode_dump, encode_dump};

/// One for each type.
pub(crate) fn targets(seeds: &[Seed]) -> Vec<Target<'_>> {
    by_kind(seeds).into_iter().map(|(kind, of_kind)| target(kind, of_kind)).collect()
}

fn target<'s>(kind: u8, of_kind: Vec<&'s Seed>) -> Target<'s> {
    let make = move |random: &mut Random| {
        let (body, version) = changed(random, kind, &of_kind);
        common::payload(&body, version)
    };
    Target { name: format!("type {kind}"), make: Box::new(make), check }
}

fn check(payload: &[u8]) -> bool {
    let (body, footer) = payload.split_at(payload.len() - 10);
    let header = if footer[0] == 80 { b"VALKEY080" } else { b"REDIS0012" };
    let decoded = decode_dump(payload);
    let file = [b"\x00\x00\x01v".as_slice(), &[body[0], 0], &body[1..]].concat();
    let in_pieces = common::read(&common::file(header, &file), 3);
    let Ok(value) = decoded else { return false };
    // In a stream the same bytes are the same value.
    let items = in_pieces.expect("it is good as a payload");
    let found = items.iter().filter_map(|item| match item {
        Item::Key { key, value, .. } if key.is_empty() => Some(text(value)),
        _ => None,
    });
    assert!(found.into_iter().any(|found| found == text(&value)));
    let again = decode_dump(&encode_dump(&value).expect("it can be written")).expect("ours is good");
    assert_eq!(text(&again), text(&without_activity(value)));
    true
}
