//! What the tests of this crate share.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod build;
pub(crate) mod corpus;
pub(crate) mod mutate;
pub(crate) mod server;
pub(crate) mod strategy;
pub(crate) mod text;

use node_server_rdb::crc64::crc64;
use node_server_rdb::{Item, RdbError, Reader};

/// A DUMP payload of this body with a right checksum.
pub(crate) fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend(version.to_le_bytes());
    payload.extend(crc64(0, &payload).to_le_bytes());
    payload
}

/// A file of this header and body with its end and a right checksum.
pub(crate) fn file(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut file = [header, body, &[0xff]].concat();
    file.extend(crc64(0, &file).to_le_bytes());
    file
}

/// All items of a stream that comes in pieces of this length.
pub(crate) fn read(bytes: &[u8], piece: usize) -> Result<Vec<Item>, RdbError> {
    let mut reader = Reader::new();
    let mut items = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        reader.feed(part);
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
    }
    reader.end_of_input()?;
    Ok(items)
}
